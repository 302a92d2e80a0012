//! A histogram of durations in microseconds, in fixed memory: 16 steps per power of two, so a
//! percentile is at most 6.25 % above the truth and never below it.

use std::time::Duration;

const STEPS: u64 = 16;
const BUCKETS: usize = 40 * 16;

/// Durations, counted by size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latency {
    counts: Vec<u64>,
    count: u64,
    max_us: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            count: 0,
            max_us: 0,
        }
    }
}

impl Latency {
    /// Counts one duration.
    pub fn add(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(us)) {
            *count += 1;
        }
        self.count += 1;
        self.max_us = self.max_us.max(us);
    }

    /// Takes in what another one counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max_us = self.max_us.max(other.max_us);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest, in microseconds; `None` if none was counted.
    pub fn max_us(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max_us)
    }

    /// The duration that `percent` of a hundred don't exceed, in microseconds; `None` if none was
    /// counted.
    pub fn percentile_us(&self, percent: f64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let rank = ((self.count as f64 * percent / 100.0).ceil() as u64).clamp(1, self.count);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(top_us(index).min(self.max_us));
            }
        }
        Some(self.max_us)
    }
}

/// The bucket of a duration: exact below 16 µs, then 16 steps per power of two.
fn bucket(us: u64) -> usize {
    if us < STEPS {
        return us as usize;
    }
    let power = u64::from(us.ilog2());
    let step = (us >> (power - 4)) & (STEPS - 1);
    (((power - 3) * STEPS + step) as usize).min(BUCKETS - 1)
}

/// The longest duration that falls into a bucket.
fn top_us(index: usize) -> u64 {
    let index = index as u64;
    if index < STEPS {
        return index;
    }
    let power = index / STEPS + 3;
    let step = index % STEPS;
    ((STEPS + step + 1) << (power - 4)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_falls_into_the_bucket_that_covers_it() {
        for us in (0..5_000).chain((5_000..90_000_000).step_by(7_919)) {
            let index = bucket(us);
            assert!(us <= top_us(index), "{us}");
            assert!(index == 0 || us > top_us(index - 1), "{us}");
            assert!(top_us(index) as f64 <= us as f64 * 1.0625 + 1.0, "{us}");
        }
    }

    #[test]
    fn percentiles_are_ranks() {
        let mut latency = Latency::default();
        assert_eq!(latency.percentile_us(50.0), None);
        for us in 1..=100 {
            latency.add(Duration::from_micros(us * 10));
        }
        let median = latency.percentile_us(50.0).unwrap();
        assert!((500..=531).contains(&median), "{median}");
        let p99 = latency.percentile_us(99.0).unwrap();
        assert!((990..=1_000).contains(&p99), "{p99}");
        assert_eq!(latency.percentile_us(100.0), Some(1_000));
        let mut both = Latency::default();
        both.merge(&latency);
        both.merge(&latency);
        assert_eq!(both.count(), 200);
        assert_eq!(both.percentile_us(50.0), latency.percentile_us(50.0));
    }
}
