//! When what isn't urgent goes: health and demand.
//!
//! Items come in waves: the buckets of an hour close at the hour, in every estate of a fleet. When a
//! lane that was empty has something, a wave begins, and it goes out after a random part of the
//! spread; one draw a wave, for all that joins it. Where the budget is short, a lane also rests for
//! hours after a wave. After a longer outage what waits is drawn anew, as a returning cloud has a
//! whole fleet before it; at most once an hour, so that a shaky line doesn't put it off for ever.

use std::collections::BTreeMap;
use std::time::Duration;

use cloud_protocol::Lane;
use tokio::time::Instant;

use super::views::Level;

/// What waits isn't drawn anew more often.
const REDRAWN_AT_MOST: Duration = Duration::from_secs(3600);
const HOUR: Duration = Duration::from_secs(3600);

/// The waves of the lanes that aren't urgent.
pub(super) struct Pace {
    spread: Duration,
    started: Instant,
    /// From 0 to 1: which part of a rest is over at the start, as it isn't known when the last wave was.
    draw: f64,
    waves: BTreeMap<Lane, Wave>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Wave {
    /// When something came up, or was drawn anew; `None` while nothing waits.
    since: Option<Instant>,
    /// From 0 to 1: which part of the spread it waits.
    draw: f64,
    redrawn: Option<Instant>,
    /// When the last wave was over.
    over: Option<Instant>,
}

impl Pace {
    /// `draw`: from 0 to 1.
    pub fn new(spread: Duration, now: Instant, draw: f64) -> Self {
        Self {
            spread,
            started: now,
            draw,
            waves: BTreeMap::new(),
        }
    }

    /// Whether a lane has something. A new wave takes the `draw`.
    pub fn sees(&mut self, lane: Lane, waits: bool, now: Instant, draw: f64) {
        let wave = self.waves.entry(lane).or_default();
        match (wave.since, waits) {
            (None, true) => {
                wave.since = Some(now);
                wave.draw = draw;
            }
            (Some(_), false) => {
                wave.since = None;
                wave.over = Some(now);
            }
            (None, false) | (Some(_), true) => {}
        }
    }

    /// An outage is over: what waits begins anew.
    pub fn draw_again(&mut self, now: Instant, mut draw: impl FnMut() -> f64) {
        for wave in self.waves.values_mut().filter(|wave| wave.since.is_some()) {
            let lately = |then: Instant| now.saturating_duration_since(then) < REDRAWN_AT_MOST;
            if wave.redrawn.is_some_and(lately) {
                continue;
            }
            wave.since = Some(now);
            wave.draw = draw();
            wave.redrawn = Some(now);
        }
    }

    /// When a lane's wave goes; `None` if nothing waits.
    pub fn due(&self, lane: Lane, level: Level) -> Option<Instant> {
        let wave = self.waves.get(&lane)?;
        let spread = self.spread.mul_f64(wave.draw);
        let due = wave.since? + spread;
        let Some(rest) = rest(lane, level) else {
            return Some(due);
        };
        let rested = match wave.over {
            Some(over) => over + rest + spread,
            None => self.started + rest.mul_f64(self.draw),
        };
        Some(due.max(rested))
    }

    /// Of the lanes that have something, those that go now.
    pub fn is_due(&self, lane: Lane, level: Level, now: Instant) -> bool {
        self.due(lane, level).is_some_and(|due| due <= now)
    }
}

/// How long a lane rests between two waves.
fn rest(lane: Lane, level: Level) -> Option<Duration> {
    match (lane, level) {
        (Lane::Demand, Level::Short) => Some(6 * HOUR),
        (Lane::Demand | Lane::Health, Level::Exhausted) => Some(24 * HOUR),
        _ => None,
    }
}

/// Over how many minutes demand is summed up.
pub(super) fn demand_minutes(level: Level) -> Option<u32> {
    match level {
        Level::Plenty => None,
        Level::Short => Some(60),
        Level::Exhausted => Some(1440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::backoff::jitter;

    const SPREAD: Duration = Duration::from_secs(900);
    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_wave_waits_its_part_of_the_spread_and_takes_along_what_joins() {
        let start = Instant::now();
        let mut pace = Pace::new(SPREAD, start, 0.0);
        assert_eq!(pace.due(Lane::Demand, Level::Plenty), None);
        pace.sees(Lane::Demand, true, start, 0.5);
        pace.sees(Lane::Demand, true, start + MINUTE, 0.9);
        let due = start + SPREAD / 2;
        assert_eq!(pace.due(Lane::Demand, Level::Plenty), Some(due));
        assert!(!pace.is_due(Lane::Demand, Level::Plenty, due - MINUTE));
        assert!(pace.is_due(Lane::Demand, Level::Plenty, due));
        assert_eq!(pace.due(Lane::Health, Level::Plenty), None);
        // While it goes out it stays due; the next wave has a draw of its own.
        assert!(pace.is_due(Lane::Demand, Level::Plenty, due + MINUTE));
        pace.sees(Lane::Demand, false, due + MINUTE, 0.3);
        pace.sees(Lane::Demand, true, due + HOUR, 0.1);
        let next = due + HOUR + SPREAD / 10;
        assert_eq!(pace.due(Lane::Demand, Level::Plenty), Some(next));
    }

    #[test]
    fn without_a_spread_it_goes_at_once() {
        let start = Instant::now();
        let mut pace = Pace::new(Duration::ZERO, start, 0.5);
        pace.sees(Lane::Health, true, start, 1.0);
        assert!(pace.is_due(Lane::Health, Level::Plenty, start));
    }

    #[test]
    fn a_short_budget_makes_a_lane_rest_after_a_wave() {
        let start = Instant::now();
        let mut pace = Pace::new(SPREAD, start, 0.0);
        for lane in [Lane::Demand, Lane::Health] {
            pace.sees(lane, true, start, 0.0);
            pace.sees(lane, false, start, 0.0);
            pace.sees(lane, true, start + MINUTE, 0.2);
        }
        let soon = start + MINUTE + SPREAD / 5;
        let after = |rest: u32| Some(start + rest * HOUR + SPREAD / 5);
        assert_eq!(pace.due(Lane::Health, Level::Short), Some(soon));
        assert_eq!(pace.due(Lane::Demand, Level::Short), after(6));
        assert_eq!(pace.due(Lane::Demand, Level::Exhausted), after(24));
        assert_eq!(pace.due(Lane::Health, Level::Exhausted), after(24));
        assert_eq!(pace.due(Lane::Demand, Level::Plenty), Some(soon));
    }

    #[test]
    fn a_box_that_is_often_restarted_still_sends_in_time() {
        let start = Instant::now();
        let mut pace = Pace::new(SPREAD, start, 0.25);
        pace.sees(Lane::Demand, true, start, 0.0);
        let due = pace.due(Lane::Demand, Level::Short);
        assert_eq!(due, Some(start + HOUR + HOUR / 2));
    }

    #[test]
    fn after_an_outage_it_is_drawn_anew_once_an_hour() {
        let start = Instant::now();
        let mut pace = Pace::new(SPREAD, start, 0.0);
        pace.sees(Lane::Demand, true, start, 0.5);
        pace.draw_again(start + HOUR, || 1.0);
        let due = |pace: &Pace| pace.due(Lane::Demand, Level::Plenty).unwrap() - start;
        assert_eq!(due(&pace), HOUR + SPREAD);
        pace.draw_again(start + HOUR + MINUTE, || 0.0);
        assert_eq!(due(&pace), HOUR + SPREAD);
        pace.draw_again(start + 2 * HOUR, || 0.0);
        assert_eq!(due(&pace), 2 * HOUR);
        assert_eq!(pace.due(Lane::Health, Level::Plenty), None);
    }

    /// The hour strikes for a thousand gateways at once.
    #[test]
    fn a_fleet_spreads_the_hour_over_the_quarter() {
        let hour = Instant::now();
        let mut minutes = [0; 15];
        for _ in 0..1000 {
            let mut pace = Pace::new(SPREAD, hour, jitter());
            pace.sees(Lane::Demand, true, hour, jitter());
            let due = pace.due(Lane::Demand, Level::Plenty).unwrap() - hour;
            let minute = usize::try_from(due.as_secs() / 60).unwrap();
            minutes[minute.min(14)] += 1;
        }
        // 67 on average; 20 or 130 would be more than seven standard deviations away.
        assert!(minutes.iter().all(|n| (20..130).contains(n)), "{minutes:?}");
    }
}
