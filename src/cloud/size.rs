//! How large a batch is: as large as it takes a set time to send, by what the line was seen to do.
//!
//! A full batch that took less than half of its time is followed by one of twice the size, one that
//! took half as long again as it should by one as much smaller. A batch that the cloud found too
//! large halves both bounds below what it was, one that didn't get through the bytes alone; they may
//! then double again with every eighth batch that is taken. Only full batches say something about the
//! line: a single item over a link with a long way takes as long as a hundred.

use std::time::Duration;

/// So many batches in a row must be taken before a halved bound is doubled again.
const TAKEN_BEFORE_GROWTH: u32 = 8;
/// A slow line alone doesn't make batches smaller than this.
const SMALLEST_BYTES: usize = 4096;
/// How much a new measurement counts.
const NEW_COUNTS: f64 = 0.3;

/// The bounds of the next batch.
#[derive(Debug)]
pub(super) struct BatchSize {
    most: Extent,
    /// How long a batch may take.
    target: Duration,
    /// No batch above it, after failures.
    ceiling: Extent,
    /// By what the line was seen to do.
    bytes: usize,
    taken: u32,
    rate: Option<f64>,
}

/// Items and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub items: usize,
    pub bytes: usize,
}

impl BatchSize {
    /// At most `most`; starts with `first` bytes.
    pub fn new(most: Extent, first_bytes: usize, target: Duration) -> Self {
        Self {
            most,
            target,
            ceiling: most,
            bytes: first_bytes,
            taken: 0,
            rate: None,
        }
    }

    /// The bounds of the next batch.
    pub fn limits(&self) -> Extent {
        Extent {
            items: self.ceiling.items.max(1),
            bytes: self.bytes.min(self.ceiling.bytes).max(1),
        }
    }

    /// What crosses the line in a second, as measured by larger batches.
    pub fn bytes_per_s(&self) -> Option<u64> {
        self.rate.map(|rate| rate as u64)
    }

    /// A batch was taken. `crossed`: the bytes that the request took on the line.
    pub fn taken(&mut self, batch: Extent, crossed: u64, took: Duration) {
        let limits = self.limits();
        let full = batch.bytes >= limits.bytes / 2 || batch.items >= limits.items;
        self.measure(crossed, took);
        if full && took < self.target / 2 {
            self.bytes = limits.bytes.saturating_mul(2).min(self.most.bytes);
        } else if full && took > self.target.mul_f64(1.5) {
            let part = self.target.as_secs_f64() / took.as_secs_f64();
            let smaller = (limits.bytes as f64 * part) as usize;
            self.bytes = smaller.max(SMALLEST_BYTES).min(limits.bytes);
        }
        self.taken += 1;
        if self.taken >= TAKEN_BEFORE_GROWTH {
            self.taken = 0;
            self.ceiling = Extent {
                items: self.ceiling.items.saturating_mul(2).min(self.most.items),
                bytes: self.ceiling.bytes.saturating_mul(2).min(self.most.bytes),
            };
        }
    }

    /// A batch ran out of time, or the connection broke under it.
    pub fn broke(&mut self, batch: Extent) {
        self.taken = 0;
        if batch.bytes <= SMALLEST_BYTES {
            return;
        }
        let half = self.limits().bytes.min(batch.bytes) / 2;
        self.ceiling.bytes = half.max(SMALLEST_BYTES);
        self.bytes = self.ceiling.bytes;
    }

    /// A batch was too large. Says whether there was something to halve.
    pub fn halve(&mut self, batch: Extent) -> bool {
        self.taken = 0;
        if batch.items <= 1 {
            return false;
        }
        let limits = self.limits();
        self.ceiling = Extent {
            items: limits.items.min(batch.items) / 2,
            bytes: (limits.bytes.min(batch.bytes) / 2).max(1),
        };
        self.bytes = self.ceiling.bytes;
        true
    }

    /// As if nothing was ever halved.
    pub fn reset(&mut self) {
        self.ceiling = self.most;
        self.bytes = self.bytes.max(SMALLEST_BYTES.min(self.most.bytes));
    }

    fn measure(&mut self, crossed: u64, took: Duration) {
        if crossed < SMALLEST_BYTES as u64 || took.is_zero() {
            return;
        }
        let rate = crossed as f64 / took.as_secs_f64();
        let known = self.rate.unwrap_or(rate);
        self.rate = Some(known + NEW_COUNTS * (rate - known));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Extent = Extent {
        items: 500,
        bytes: 256 * 1024,
    };
    const TARGET: Duration = Duration::from_secs(2);

    fn fresh() -> BatchSize {
        BatchSize::new(MOST, SMALLEST_BYTES, TARGET)
    }

    /// Full batches over a line of so many bytes a second, with so much for the way there and back.
    fn play(size: &mut BatchSize, batches: usize, bytes_per_s: f64, way: Duration) -> Duration {
        let mut took = Duration::ZERO;
        for _ in 0..batches {
            let bytes = size.limits().bytes;
            took = way + Duration::from_secs_f64(bytes as f64 / bytes_per_s);
            let batch = Extent { items: 40, bytes };
            size.taken(batch, bytes as u64, took);
        }
        took
    }

    #[test]
    fn batches_grow_to_the_bound_on_a_fast_line() {
        let mut size = fresh();
        assert_eq!(size.limits().bytes, 4096);
        play(&mut size, 6, 10e6, Duration::from_millis(40));
        assert_eq!(size.limits(), MOST);
    }

    #[test]
    fn batches_take_about_their_time_on_a_slow_line() {
        for bytes_per_s in [4e3, 8e3, 30e3, 100e3] {
            let mut size = fresh();
            let took = play(&mut size, 20, bytes_per_s, Duration::from_millis(300));
            assert!(took > TARGET / 2 && took < TARGET * 2, "{took:?}");
            let rate = size.bytes_per_s().unwrap() as f64;
            assert!((0.5..=1.01).contains(&(rate / bytes_per_s)), "{rate}");
        }
    }

    #[test]
    fn a_line_that_gets_slower_is_followed_down_to_the_smallest() {
        let mut size = fresh();
        play(&mut size, 10, 1e6, Duration::from_millis(40));
        let took = play(&mut size, 3, 8e3, Duration::from_millis(40));
        assert!(took < TARGET * 2, "{took:?}");
        play(&mut size, 10, 100.0, Duration::from_millis(40));
        assert_eq!(size.limits().bytes, 4096);
    }

    #[test]
    fn a_single_item_that_takes_long_says_nothing() {
        let mut size = fresh();
        play(&mut size, 10, 10e6, Duration::from_millis(40));
        let one = Extent {
            items: 1,
            bytes: 120,
        };
        size.taken(one, 800, Duration::from_secs(10));
        assert_eq!(size.limits(), MOST);
        assert!(size.bytes_per_s().unwrap() > 100_000);
    }

    #[test]
    fn failures_halve_down_to_one_item_and_successes_bring_it_back() {
        let mut size = fresh();
        play(&mut size, 10, 10e6, Duration::ZERO);
        let mut halvings = 0;
        while size.halve(size.limits()) {
            halvings += 1;
        }
        assert_eq!((halvings, size.limits().items), (8, 1));
        assert!(!size.halve(size.limits()), "one item can't be halved");
        let limits = size.limits();
        for _ in 0..TAKEN_BEFORE_GROWTH - 1 {
            size.taken(limits, limits.bytes as u64, Duration::from_millis(5));
            assert_eq!(size.limits(), limits);
        }
        for _ in 0..20 * TAKEN_BEFORE_GROWTH {
            let limits = size.limits();
            size.taken(limits, limits.bytes as u64, Duration::from_millis(5));
        }
        assert_eq!(size.limits(), MOST);
    }

    #[test]
    fn a_line_that_breaks_under_large_batches_gets_smaller_ones() {
        let mut size = fresh();
        play(&mut size, 10, 10e6, Duration::ZERO);
        let one = Extent {
            items: 1,
            bytes: 120,
        };
        size.broke(one);
        assert_eq!(size.limits(), MOST, "it didn't break of its size");
        for _ in 0..3 {
            size.broke(size.limits());
        }
        let eighth = Extent {
            bytes: MOST.bytes / 8,
            ..MOST
        };
        assert_eq!(size.limits(), eighth);
        play(&mut size, 7, 10e6, Duration::ZERO);
        assert_eq!(size.limits(), eighth);
        play(&mut size, 3 * 8, 10e6, Duration::ZERO);
        assert_eq!(size.limits(), MOST);
        for _ in 0..20 {
            size.broke(size.limits());
        }
        assert_eq!(size.limits().bytes, SMALLEST_BYTES);
    }

    #[test]
    fn what_was_too_large_halves_below_what_it_was() {
        let mut size = fresh();
        play(&mut size, 10, 10e6, Duration::ZERO);
        let small = Extent {
            items: 20,
            bytes: 2000,
        };
        assert!(size.halve(small));
        let halved = Extent {
            items: 10,
            bytes: 1000,
        };
        assert_eq!(size.limits(), halved);
        size.reset();
        assert_eq!(size.limits().items, 500);
    }
}
