//! What the box knows about the time: a wall clock of stated quality, and ticks that never go back.
//!
//! Ticks are the milliseconds that the estate has been running, over all its starts. While the same
//! kernel runs they follow `CLOCK_BOOTTIME`, so a restart of the daemon loses nothing; over a power
//! cut they go on by what the wall clock is known to have moved, or not at all.
//!
//! While the box's own wall clock can't be right, the cloud's word stands in for it, as an estimate
//! and within bounds ([`Clock::cloud_says`]): a date from outside must neither empty a store nor
//! end every deadline.

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use estate::{Now, TimeQuality};
use nix::time::{ClockId, clock_gettime};

/// Before this, a wall clock has not been set: 2024-01-01.
const PLAUSIBLE_FROM_MS: i64 = 1_704_067_200_000;
/// After this, it is wrong: 2100-01-01.
const PLAUSIBLE_TO_MS: i64 = 4_102_444_800_000;
/// A year: no power cut is believed to be longer.
const LONGEST_CUT_MS: i64 = 366 * 86_400_000;
/// When this version was made, unless the build says it better (`SOURCE_DATE_EPOCH`, seconds):
/// 2026-11-01. It was never earlier than that.
const MADE_MS: i64 = 1_793_491_200_000;
/// Nobody believes that a box was off for longer.
const LONGEST_AWAY_MS: i64 = 400 * 86_400_000;
/// The cloud's clock and ours are never quite in step.
const ABOUT_MS: i64 = 300_000;
/// How far the cloud may move a clock that it has set, in an hour.
const MOVED_IN_AN_HOUR_MS: i64 = 60_000;
/// systemd-timesyncd (and chrony's unit, by the same path) says here that it has the time.
const SYNCHRONISED_MARK: &str = "/run/systemd/timesync/synchronized";
/// How long the mark's presence is believed, ticks in ms.
const MARK_HOLDS_MS: u64 = 10_000;

/// A clock. Clones share it.
#[derive(Clone)]
pub struct Clock(Arc<Inner>);

struct Inner {
    source: Source,
    /// Added to the source's running time to give ticks.
    offset_ms: AtomicI64,
    mark_checked_ms: AtomicU64,
    mark_there: AtomicU64,
    /// A time that is past for sure, wall ms, as of the start.
    past_ms: AtomicI64,
    told: Mutex<Option<Told>>,
}

/// What the cloud said of the time.
#[derive(Debug, Clone, Copy)]
struct Told {
    /// Added to the source's running time it gives the wall clock.
    offset_ms: i64,
    /// The running time up to which its moves are counted.
    counted_ms: i64,
}

enum Source {
    System,
    /// A simulated evening: starts at a wall time and runs faster.
    Scaled {
        from: Instant,
        wall_ms: i64,
        factor: f64,
    },
    /// Simulated power cuts: moves only when it is told to.
    ByHand {
        from_ms: i64,
        gone_ms: AtomicI64,
    },
}

/// What is kept of the clock over a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Saved {
    /// Ticks then.
    pub tick_ms: u64,
    /// The source's running time then.
    pub running_ms: i64,
    /// Which run of the kernel that was.
    pub kernel: i64,
    /// The wall clock then.
    pub wall_ms: i64,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::over(Source::System)
    }

    /// A clock that starts at `wall_ms` and runs `factor` times as fast: for simulations.
    pub fn scaled(wall_ms: i64, factor: f64) -> Self {
        Self::over(Source::Scaled {
            from: Instant::now(),
            wall_ms,
            factor,
        })
    }

    /// A clock that starts at `wall_ms` and stands still but for [`Clock::advance`]: for simulations.
    pub fn by_hand(wall_ms: i64) -> Self {
        Self::over(Source::ByHand {
            from_ms: wall_ms,
            gone_ms: AtomicI64::new(0),
        })
    }

    /// Moves a clock that is set by hand; any other goes by itself.
    pub fn advance(&self, ms: u32) {
        if let Source::ByHand { gone_ms, .. } = &self.0.source {
            gone_ms.fetch_add(i64::from(ms), Ordering::Relaxed);
        }
    }

    fn over(source: Source) -> Self {
        Self(Arc::new(Inner {
            source,
            offset_ms: AtomicI64::new(0),
            mark_checked_ms: AtomicU64::new(0),
            mark_there: AtomicU64::new(0),
            past_ms: AtomicI64::new(made_ms()),
            told: Mutex::new(None),
        }))
    }

    /// The time now.
    pub fn now(&self) -> Now {
        let tick_ms = self.tick_ms();
        let wall_ms = self.wall_ms();
        Now {
            tick_ms,
            wall_ms,
            quality: self.quality(wall_ms, tick_ms),
        }
    }

    /// Goes on from where a former run stopped.
    pub fn resume(&self, saved: Saved) {
        self.was(saved.wall_ms);
        let away_ms = if saved.kernel == self.kernel() && saved.kernel != 0 {
            (self.running_ms() - saved.running_ms).max(0)
        } else if plausible(saved.wall_ms) && plausible(self.wall_ms()) {
            (self.wall_ms() - saved.wall_ms).clamp(0, LONGEST_CUT_MS)
        } else {
            0
        };
        let tick_ms = i64::try_from(saved.tick_ms).unwrap_or(i64::MAX / 2) + away_ms;
        let offset = tick_ms - self.running_ms();
        self.0.offset_ms.store(offset, Ordering::Relaxed);
    }

    /// The time was this, some time ago. Only the latest counts.
    pub fn was(&self, wall_ms: i64) {
        if plausible(wall_ms) {
            self.0.past_ms.fetch_max(wall_ms, Ordering::Relaxed);
        }
    }

    /// A wall time that isn't in the future: now, if the wall clock may be right, or else the latest
    /// time that is known to be past. For checking how long certificates hold.
    pub fn at_least_ms(&self) -> i64 {
        match self.wall_ms() {
            wall_ms if plausible(wall_ms) => wall_ms,
            _ => self.0.past_ms.load(Ordering::Relaxed),
        }
    }

    /// The cloud's clock shows `wall_ms`, says a connection that can be trusted. Returns whether
    /// this moved the wall clock.
    ///
    /// It never does while the box's own clock may be right. Else the first word counts if it lies
    /// between the latest time known to be past and 400 days later, and each later one moves the
    /// clock by at most 60 s for an hour of running since the last.
    pub fn cloud_says(&self, wall_ms: i64) -> bool {
        if plausible(self.own_wall_ms()) || !plausible(wall_ms) {
            return false;
        }
        let running_ms = self.running_ms();
        let mut told = self.told();
        let Some(before) = *told else {
            let past_ms = self.0.past_ms.load(Ordering::Relaxed);
            if !(past_ms - ABOUT_MS..=past_ms + LONGEST_AWAY_MS).contains(&wall_ms) {
                return false;
            }
            *told = Some(Told {
                offset_ms: wall_ms - running_ms,
                counted_ms: running_ms,
            });
            return true;
        };
        let wanted_ms = wall_ms - running_ms - before.offset_ms;
        let ran_ms = (running_ms - before.counted_ms).clamp(0, LONGEST_AWAY_MS);
        let most_ms = ran_ms / 3_600_000 * MOVED_IN_AN_HOUR_MS;
        let moved_ms = wanted_ms.clamp(-most_ms, most_ms);
        if moved_ms == 0 {
            return false;
        }
        *told = Some(Told {
            offset_ms: before.offset_ms + moved_ms,
            counted_ms: running_ms,
        });
        true
    }

    /// What to keep over a restart.
    pub fn save(&self) -> Saved {
        Saved {
            tick_ms: self.tick_ms(),
            running_ms: self.running_ms(),
            kernel: self.kernel(),
            wall_ms: self.wall_ms(),
        }
    }

    fn tick_ms(&self) -> u64 {
        let tick = self.running_ms() + self.0.offset_ms.load(Ordering::Relaxed);
        u64::try_from(tick).unwrap_or(0)
    }

    fn running_ms(&self) -> i64 {
        match &self.0.source {
            Source::System => clock_gettime(ClockId::CLOCK_BOOTTIME)
                .map_or(0, |t| t.tv_sec() * 1000 + t.tv_nsec() / 1_000_000),
            Source::Scaled { from, factor, .. } => scaled(*from, *factor),
            Source::ByHand { gone_ms, .. } => gone_ms.load(Ordering::Relaxed),
        }
    }

    /// What the cloud's clock should show: the wall clock. A simulated evening is hastened, and a cloud
    /// beside it isn't: there it is the machine's.
    pub fn at_cloud_ms(&self) -> i64 {
        match &self.0.source {
            Source::Scaled { .. } => machine_ms(),
            Source::System | Source::ByHand { .. } => self.wall_ms(),
        }
    }

    /// The box's own wall clock, or while that can't be right, what the cloud said.
    fn wall_ms(&self) -> i64 {
        let own_ms = self.own_wall_ms();
        if plausible(own_ms) {
            return own_ms;
        }
        let told = *self.told();
        told.map_or(own_ms, |told| self.running_ms() + told.offset_ms)
    }

    fn told(&self) -> MutexGuard<'_, Option<Told>> {
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn own_wall_ms(&self) -> i64 {
        match &self.0.source {
            Source::System => machine_ms(),
            Source::Scaled {
                from,
                wall_ms,
                factor,
            } => wall_ms + scaled(*from, *factor),
            Source::ByHand { from_ms, gone_ms } => from_ms + gone_ms.load(Ordering::Relaxed),
        }
    }

    fn kernel(&self) -> i64 {
        match &self.0.source {
            Source::System => kernel_run(),
            Source::Scaled { .. } | Source::ByHand { .. } => 0,
        }
    }

    fn quality(&self, wall_ms: i64, tick_ms: u64) -> TimeQuality {
        if !plausible(wall_ms) {
            return TimeQuality::Unknown;
        }
        match &self.0.source {
            _ if !plausible(self.own_wall_ms()) => TimeQuality::Estimated,
            Source::Scaled { .. } | Source::ByHand { .. } => TimeQuality::Synchronised,
            Source::System if self.synchronised(tick_ms) => TimeQuality::Synchronised,
            Source::System => TimeQuality::Estimated,
        }
    }

    /// Looks for the mark once in a while, not at every event.
    fn synchronised(&self, tick_ms: u64) -> bool {
        let checked = self.0.mark_checked_ms.load(Ordering::Relaxed);
        if checked == 0 || tick_ms.abs_diff(checked) > MARK_HOLDS_MS {
            let there = Path::new(SYNCHRONISED_MARK).exists();
            self.0.mark_there.store(there.into(), Ordering::Relaxed);
            self.0
                .mark_checked_ms
                .store(tick_ms.max(1), Ordering::Relaxed);
        }
        self.0.mark_there.load(Ordering::Relaxed) == 1
    }
}

/// Whether a wall clock can be right at all.
pub fn plausible(wall_ms: i64) -> bool {
    (PLAUSIBLE_FROM_MS..PLAUSIBLE_TO_MS).contains(&wall_ms)
}

/// When this version was made, wall ms.
fn made_ms() -> i64 {
    let said = option_env!("SOURCE_DATE_EPOCH").and_then(|s| s.parse::<i64>().ok());
    let said_ms = said.map(|s| s.saturating_mul(1000));
    said_ms.filter(|ms| plausible(*ms)).unwrap_or(MADE_MS)
}

fn machine_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

fn scaled(from: Instant, factor: f64) -> i64 {
    (from.elapsed().as_secs_f64() * 1000.0 * factor) as i64
}

/// A number for this run of the kernel; 0 where the system doesn't say.
fn kernel_run() -> i64 {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .ok()
        .and_then(|text| {
            let hex: String = text.chars().filter(char::is_ascii_hexdigit).collect();
            u64::from_str_radix(hex.get(..16)?, 16).ok()
        })
        .map_or(0, u64::cast_signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_go_on_over_a_restart_of_the_daemon() {
        let first = Clock::system();
        first.resume(Saved::default());
        let saved = first.save();
        let second = Clock::system();
        second.resume(saved);
        assert!(second.now().tick_ms >= saved.tick_ms);
        assert!(second.now().tick_ms - saved.tick_ms < 5_000);
    }

    #[test]
    fn a_power_cut_counts_as_far_as_it_is_known() {
        let now = Clock::system().now().wall_ms;
        let saved = |wall_ms| Saved {
            tick_ms: 1_000,
            running_ms: 0,
            kernel: 1,
            wall_ms,
        };
        let ticks_after = |wall_ms| {
            let clock = Clock::system();
            clock.resume(saved(wall_ms));
            clock.now().tick_ms
        };
        assert!((3_600_900..3_606_000).contains(&ticks_after(now - 3_600_000)));
        assert!(
            ticks_after(0) < 6_000,
            "a clock that was never set says nothing"
        );
        assert!(
            ticks_after(now + 86_400_000) < 6_000,
            "a clock that went back neither"
        );
    }

    const DAY_MS: i64 = 86_400_000;

    /// A box whose clock starts in 1970, and that knows a time that is past.
    fn unset(past_ms: i64) -> Clock {
        let clock = Clock::by_hand(0);
        clock.was(past_ms);
        clock
    }

    #[test]
    fn an_unset_clock_follows_the_cloud_as_an_estimate() {
        let past_ms = MADE_MS + 10 * DAY_MS;
        let clock = unset(past_ms);
        assert_eq!(clock.now().quality, TimeQuality::Unknown);
        assert_eq!(clock.at_least_ms(), past_ms);
        let said_ms = past_ms + 3 * DAY_MS;
        assert!(clock.cloud_says(said_ms));
        clock.advance(5_000);
        let now = clock.now();
        assert_eq!(
            (now.wall_ms, now.quality),
            (said_ms + 5_000, TimeQuality::Estimated)
        );
        assert_eq!(clock.at_least_ms(), now.wall_ms);
        assert_eq!(clock.save().wall_ms, now.wall_ms);
    }

    #[test]
    fn the_first_word_is_neither_before_what_is_past_nor_long_after() {
        let past_ms = MADE_MS + 10 * DAY_MS;
        for bad_ms in [
            0,
            past_ms - 400_000,
            past_ms + 401 * DAY_MS,
            PLAUSIBLE_TO_MS,
            i64::MAX,
            i64::MIN,
        ] {
            let clock = unset(past_ms);
            assert!(!clock.cloud_says(bad_ms), "{bad_ms}");
            assert_eq!(clock.now().quality, TimeQuality::Unknown);
        }
        assert!(unset(past_ms).cloud_says(past_ms - 1_000));
        assert!(unset(past_ms).cloud_says(past_ms + 400 * DAY_MS));
        // Without a saved time, what is past is when this version was made.
        assert!(!unset(0).cloud_says(made_ms() - DAY_MS));
        assert!(unset(0).cloud_says(made_ms() + DAY_MS));
    }

    #[test]
    fn later_words_move_it_by_a_minute_an_hour_at_most() {
        let clock = unset(0);
        let start_ms = made_ms() + DAY_MS;
        assert!(clock.cloud_says(start_ms));
        assert!(!clock.cloud_says(start_ms + DAY_MS), "at once: not at all");
        clock.advance(3_600_000);
        assert!(clock.cloud_says(start_ms + DAY_MS));
        assert_eq!(clock.now().wall_ms, start_ms + 3_660_000);
        assert!(!clock.cloud_says(start_ms + DAY_MS), "the hour is used up");
        clock.advance(7_200_000);
        assert!(clock.cloud_says(start_ms));
        assert_eq!(clock.now().wall_ms, start_ms + 3_660_000 + 7_080_000);
    }

    #[test]
    fn the_cloud_cannot_move_a_clock_that_may_be_right() {
        let clock = Clock::by_hand(MADE_MS);
        assert!(!clock.cloud_says(MADE_MS + DAY_MS));
        assert_eq!(clock.now().wall_ms, MADE_MS);
        assert_eq!(clock.now().quality, TimeQuality::Synchronised);
    }
}
