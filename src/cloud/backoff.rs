//! Pauses after failures: full jitter under a ceiling that doubles.
//!
//! The ceiling starts at 1 s and doubles to 5 min; the pause is anywhere below it. So a thousand
//! gateways that lost the same cloud come back spread out.

use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};

/// The ceilings of the pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffRange {
    /// The ceiling of the first pause.
    pub first: Duration,
    /// The highest ceiling.
    pub longest: Duration,
}

impl Default for BackoffRange {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(300),
        }
    }
}

/// Counts failures in a row.
#[derive(Debug)]
pub struct Backoff {
    range: BackoffRange,
    failures: u32,
}

impl Backoff {
    /// No failure yet.
    #[must_use]
    pub fn new(range: BackoffRange) -> Self {
        Self { range, failures: 0 }
    }

    /// One more failure; the pause before the next try, by the given `jitter` from 0 to 1.
    pub fn failed(&mut self, jitter: f64) -> Duration {
        let doubled = 2_u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        let ceiling = self.range.first.saturating_mul(doubled);
        ceiling
            .min(self.range.longest)
            .mul_f64(jitter.clamp(0.0, 1.0))
    }

    /// A success: the next pause is a first one again.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// How many failures there were since the last success.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

/// A number from 0 to 1 by the operating system's randomness. Without it, 1: the longest pause.
#[must_use]
pub fn jitter() -> f64 {
    let mut bytes = [0; 4];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_from_a_second_to_five_minutes() {
        let mut backoff = Backoff::new(BackoffRange::default());
        let ceilings: Vec<_> = (0..11).map(|_| backoff.failed(1.0).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        for _ in 0..100 {
            assert_eq!(backoff.failed(1.0).as_secs(), 300);
        }
        assert_eq!(backoff.failures(), 111);
        backoff.succeeded();
        assert_eq!(backoff.failed(1.0).as_secs(), 1);
    }

    #[test]
    fn the_pause_is_anywhere_below_the_ceiling() {
        let mut backoff = Backoff::new(BackoffRange::default());
        assert_eq!(backoff.failed(0.0), Duration::ZERO);
        assert_eq!(backoff.failed(0.5), Duration::from_secs(1));
        let drawn: Vec<_> = (0..1000).map(|_| jitter()).collect();
        assert!(drawn.iter().all(|j| (0.0..=1.0).contains(j)));
        let mean = drawn.iter().sum::<f64>() / 1000.0;
        assert!((0.4..0.6).contains(&mean), "{mean}");
    }
}
