//! The time of the play: an evening may pass in a minute, and every wait of a device or a person
//! shrinks with it. What is measured (latency) is never scaled.

use std::time::{Duration, Instant};

/// A clock that starts at a chosen time and runs at a chosen speed. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Tempo {
    started: Instant,
    start_ms: i64,
    speed: f64,
}

impl Tempo {
    /// A clock that shows `start_ms` (ms since the Unix epoch) now and runs `speed` times as fast
    /// as the real one. A speed below 1 in 1,000 is taken as that.
    pub fn new(start_ms: i64, speed: f64) -> Self {
        Self {
            started: Instant::now(),
            start_ms,
            speed: speed.max(0.001),
        }
    }

    /// The real time, unscaled, from the system's clock.
    pub fn real() -> Self {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Self::new(i64::try_from(since.as_millis()).unwrap_or(0), 1.0)
    }

    /// The time shown, ms since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        let shown = self.started.elapsed().as_secs_f64() * 1_000.0 * self.speed;
        self.start_ms.saturating_add(shown as i64)
    }

    /// How many times as fast as the real time it runs.
    pub fn speed(&self) -> f64 {
        self.speed
    }

    /// How long `ms` of the play last in reality.
    pub fn real_of(&self, ms: u64) -> Duration {
        Duration::from_secs_f64(ms as f64 / 1_000.0 / self.speed)
    }

    /// Lets `ms` of the play pass.
    pub async fn pass(&self, ms: u64) {
        tokio::time::sleep(self.real_of(ms)).await;
    }

    /// Lets the play go on until `at_ms`; returns at once if that has passed.
    pub async fn until(&self, at_ms: i64) {
        let left = at_ms.saturating_sub(self.now_ms());
        if let Ok(left) = u64::try_from(left) {
            self.pass(left).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_hour_can_pass_in_a_moment() {
        let tempo = Tempo::new(1_000, 360_000.0);
        let begun = Instant::now();
        tempo.until(1_000 + 3_600_000).await;
        assert!(tempo.now_ms() >= 3_601_000);
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!(tempo.real_of(3_600_000), Duration::from_millis(10));
    }
}
