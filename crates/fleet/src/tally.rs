//! What is counted while the fleet is at work, and what must not happen.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Of what must not happen so many are kept in words; the others are counted.
const WORDS_MAX: usize = 20;
/// Times that are kept for the percentiles; further ones are left out.
const TIMES_MAX: usize = 2_000_000;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Count {
    /// Batches that were acknowledged.
    Batches,
    /// Items in them.
    Items,
    /// Requests sent, each attempt.
    Requests,
    /// Cut on the way up.
    Cut,
    /// Answers that were lost after the cloud had sent them.
    AnswersLost,
    /// Sent twice, to both clouds at the same time.
    Doubled,
    /// Sent late.
    Delayed,
    /// Connections that broke without our doing: the killed cloud's.
    Broken,
    /// A copy that the cloud refused as a replay.
    Replays,
    /// `fork`: a clone was noticed.
    Forks,
    /// 408, 425, 429, 5xx.
    NotNow,
    /// Something happened while the lane was full: left out.
    LaneFull,
    /// Bytes up of the requests that nothing befell.
    Up,
    /// Bytes down of them.
    Down,
    /// How many they are.
    Clean,
}

/// The counters of a phase.
#[derive(Debug, Default)]
pub struct Tally {
    counts: Mutex<BTreeMap<Count, u64>>,
    times_us: Mutex<Vec<u32>>,
    wrong: Mutex<Vec<String>>,
    wrong_count: AtomicU64,
}

impl Tally {
    /// One more.
    pub fn one(&self, what: Count) {
        self.add(what, 1);
    }

    /// So many more.
    pub fn add(&self, what: Count, n: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(what).or_default() += n;
    }

    /// How many.
    pub fn get(&self, what: Count) -> u64 {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(&what).copied().unwrap_or(0)
    }

    /// A request that nothing befell: from its first byte to its answer, and its bytes.
    pub fn clean(&self, took: Duration, (up, down): (u64, u64)) {
        self.one(Count::Clean);
        self.add(Count::Up, up);
        self.add(Count::Down, down);
        let mut times = self.times_us.lock().unwrap_or_else(PoisonError::into_inner);
        if times.len() < TIMES_MAX {
            times.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        }
    }

    /// The percentiles in ms, of those asked for (0 to 100).
    pub fn percentiles<const N: usize>(&self, of: [f64; N]) -> [f64; N] {
        let mut times = self
            .times_us
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        times.sort_unstable();
        of.map(|percent| {
            let last = times.len().saturating_sub(1);
            let index = (percent / 100.0 * last as f64).round() as usize;
            f64::from(times.get(index).copied().unwrap_or(0)) / 1_000.0
        })
    }

    /// Something happened that must not.
    pub fn wrong(&self, what: String) {
        self.wrong_count.fetch_add(1, Ordering::Relaxed);
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() < WORDS_MAX {
            wrong.push(what);
        }
    }

    /// What must not happen and did: how often, and the first of it in words.
    pub fn all_wrong(&self) -> (u64, Vec<String>) {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        (self.wrong_count.load(Ordering::Relaxed), wrong.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let tally = Tally::default();
        for ms in 1..=101 {
            tally.clean(Duration::from_millis(ms), (10, 5));
        }
        assert_eq!(tally.percentiles([0.0, 50.0, 99.0]), [1.0, 51.0, 100.0]);
        assert_eq!(
            (tally.get(Count::Clean), tally.get(Count::Up)),
            (101, 1_010)
        );
    }

    #[test]
    fn what_is_wrong_is_counted_beyond_what_is_kept() {
        let tally = Tally::default();
        (0..100).for_each(|n| tally.wrong(format!("{n}")));
        let (count, words) = tally.all_wrong();
        assert_eq!((count, words.len()), (100, WORDS_MAX));
    }
}
