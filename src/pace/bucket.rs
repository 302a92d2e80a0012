//! One allowance: it fills by the second up to its burst, and may be spent below zero.

use std::time::{Duration, Instant};

/// After an episode a bucket has rested when it holds so many seconds of its rate, or is full.
const REST_S: f64 = 10.0;

/// One allowance. A rate of 0 is no limit.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: f64,
    burst: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub(super) fn full(rate: u32, burst: u32, now: Instant) -> Self {
        Self {
            rate: f64::from(rate),
            burst: f64::from(burst),
            level: f64::from(burst),
            at: now,
        }
    }

    /// Another rate and burst from now on. What is left stays, as far as the burst goes; what had no limit
    /// begins full.
    pub(super) fn limit(&mut self, rate: u32, burst: u32, now: Instant) {
        self.fill(now);
        let (unlimited, burst) = (self.rate == 0.0, f64::from(burst));
        self.level = if unlimited {
            burst
        } else {
            self.level.min(burst)
        };
        (self.rate, self.burst) = (f64::from(rate), burst);
    }

    /// Takes `n` out, below zero if it must be.
    pub(super) fn spend(&mut self, n: u32, now: Instant) {
        if self.rate > 0.0 {
            self.fill(now);
            self.level -= f64::from(n);
        }
    }

    /// How long until it isn't below zero any more.
    pub(super) fn due(&mut self, now: Instant) -> Duration {
        self.fill(now);
        if self.rate > 0.0 && self.level < 0.0 {
            Duration::try_from_secs_f64(-self.level / self.rate).unwrap_or(Duration::MAX)
        } else {
            Duration::ZERO
        }
    }

    /// Whether there is some allowance again.
    pub(super) fn rested(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.rate == 0.0 || self.level >= self.burst.min(self.rate * REST_S)
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at);
        self.level = (self.level + passed.as_secs_f64() * self.rate).min(self.burst);
        self.at = self.at.max(now);
    }
}
