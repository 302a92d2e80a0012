//! Whether a gesture happened just now, or is old and arrives late: an old one opens nothing, since
//! who made it may have left long ago.
//!
//! The plain answer is the wall clock's: an event is fresh if its device time is no further than
//! [`STALE_MS`] from the box's. But either clock may be wrong by a year while residents stand at the
//! keypad. So for each device a baseline is kept, in memory: how its clock stood to the running time,
//! which never jumps, at its fresh events. With it, an event of the same boot is
//!
//! * **fresh** if the device's clock and the running time still agree within [`STALE_MS`], whatever
//!   the wall says: it is the wall that has jumped, if one has;
//! * **stale** if it is later than that by a time that has really gone by since the baseline: a
//!   backlog, even if a wrong wall happens to fit it;
//! * otherwise the device's clock has jumped: **fresh** if the wall says so, or if a fresh event was
//!   heard within [`STALE_MS`] that has a lower number, since this one can't be older;
//!   **stale** if nobody can tell.
//!
//! Without a baseline of this boot (the box or the device has restarted) the wall decides. A stale
//! event begins a provisional baseline; an event at least [`CONFIRM_MS`] later by the running time,
//! which the device's clock confirms within [`AGREE_MS`], is fresh: somebody typed again. A backlog
//! isn't taken for that, because it is sent faster than it was made.
//!
//! An event that carries no time of its own counts as fresh. So does one of a device without a
//! baseline while the box doesn't know the time: nobody can tell.

use alloc::collections::BTreeMap;

use firmware_protocols::Ident;

use crate::estate::Estate;
use crate::keypad::STALE_MS;
use crate::turn::Origin;
use crate::{DeviceEvent, Now};

/// How much later a gesture must come to confirm the one before, in ticks, ms.
pub const CONFIRM_MS: u64 = 3_000;

/// How closely the device's clock must confirm the time between the two, ms.
pub const AGREE_MS: i64 = 2_000;

/// By how much an event may seem older than the baseline before the device's clock can't be right,
/// ms: the baseline itself may have arrived that late.
const SLACK_MS: i64 = 2 * STALE_MS;

/// What is known of the devices' clocks. One entry for each configured device at most.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clocks(BTreeMap<Ident, Clock>);

impl Clocks {
    /// Forgets the clocks of other devices.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Ident) -> bool) {
        self.0.retain(|device, _| keep(device));
    }
}

#[derive(Debug, Clone, Default)]
struct Clock {
    baseline: Option<Baseline>,
    provisional: Option<Baseline>,
}

/// How a device's clock stands to the running time.
#[derive(Debug, Clone, Copy)]
struct Baseline {
    boot: u32,
    /// The number of the latest event that it rests on.
    seq: u64,
    /// Running time minus device time, at the most punctual event.
    offset_ms: i64,
    /// When the last event that it rests on was received, in ticks.
    heard_tick_ms: u64,
}

/// What the box's wall clock says of an event.
enum Wall {
    Fresh,
    /// Too old, or too far ahead.
    Off {
        ahead: bool,
    },
    Unknown,
}

impl Estate {
    /// Whether an event that was just received is fresh. To be asked once for each event of a
    /// configured device: what it says of the device's clock is remembered.
    pub(crate) fn is_fresh(&mut self, now: &Now, event: &DeviceEvent) -> bool {
        let Some(said_ms) = event.said_ms else {
            return true;
        };
        let clock = self.clocks.0.entry(event.device.clone()).or_default();
        clock.hear(now, event, said_ms)
    }

    /// Whether a gesture is too old to open anything.
    pub(crate) const fn stale(from: &Origin) -> bool {
        !from.fresh
    }
}

impl Origin {
    /// How long ago it happened, as far as that is known, ms.
    pub(crate) fn age_ms(&self, now: &Now) -> u64 {
        let longest = if self.fresh { STALE_MS } else { i64::MAX };
        let shortest = if self.fresh { 0 } else { STALE_MS };
        let said = now.wall_ms.saturating_sub(self.at_ms);
        let said = if now.wall_known() { said } else { 0 };
        said.clamp(shortest, longest).unsigned_abs()
    }
}

impl Clock {
    fn hear(&mut self, now: &Now, event: &DeviceEvent, said_ms: i64) -> bool {
        let mut heard = Baseline {
            boot: event.boot,
            seq: event.seq,
            offset_ms: tick(now).saturating_sub(said_ms),
            heard_tick_ms: now.tick_ms,
        };
        let wall = Wall::of(now, said_ms);
        let by_wall = matches!(wall, Wall::Fresh);
        let Some(known) = self.baseline.filter(|known| known.boot == event.boot) else {
            return match wall {
                Wall::Fresh => self.trust(heard),
                Wall::Unknown => {
                    self.provisional = Some(heard);
                    true
                }
                Wall::Off { .. } => self.confirm(now, heard),
            };
        };
        let in_order = heard.seq > known.seq;
        heard.seq = heard.seq.max(known.seq);
        let late_ms = heard.offset_ms.saturating_sub(known.offset_ms);
        if late_ms.saturating_abs() <= STALE_MS {
            // Only the wall may say that the clock goes slow: lateness must not creep.
            let punctual_ms = known.offset_ms.min(heard.offset_ms);
            let offset_ms = if by_wall {
                heard.offset_ms
            } else {
                punctual_ms
            };
            return self.trust(Baseline { offset_ms, ..heard });
        }
        let believable = late_ms > 0 && late_ms <= known.longest_late_ms(now);
        let jumped = by_wall || (in_order && known.contradicted(now, late_ms, &wall));
        if !believable && jumped {
            return self.trust(heard);
        }
        self.confirm(now, heard)
    }

    /// The event is fresh.
    fn trust(&mut self, baseline: Baseline) -> bool {
        self.baseline = Some(baseline);
        self.provisional = None;
        true
    }

    /// Whether an earlier event is confirmed by this one. If they contradict each other, this one is
    /// the next to be confirmed.
    fn confirm(&mut self, now: &Now, heard: Baseline) -> bool {
        let agrees = |first: &Baseline| {
            let apart = heard.offset_ms.saturating_sub(first.offset_ms);
            first.boot == heard.boot && apart.saturating_abs() <= AGREE_MS
        };
        let Some(first) = self.provisional.filter(agrees) else {
            self.provisional = Some(heard);
            return false;
        };
        now.passed(first.heard_tick_ms, CONFIRM_MS) && self.trust(heard)
    }
}

impl Baseline {
    /// Whether the device's clock, which can't be right, has jumped so lately that the event isn't
    /// old.
    fn contradicted(&self, now: &Now, late_ms: i64, wall: &Wall) -> bool {
        let lately = !now.passed(self.heard_tick_ms, STALE_MS.unsigned_abs() + 1);
        let ahead_of_both = late_ms < 0 && !matches!(wall, Wall::Off { ahead: false });
        lately && (late_ms > 0 || ahead_of_both)
    }

    /// The most by which an event of this boot can be late: it isn't older than the baseline.
    fn longest_late_ms(&self, now: &Now) -> i64 {
        let since_ms = now.tick_ms.saturating_sub(self.heard_tick_ms);
        i64::try_from(since_ms).map_or(i64::MAX, |since_ms| since_ms.saturating_add(SLACK_MS))
    }
}

impl Wall {
    fn of(now: &Now, at_ms: i64) -> Self {
        let age_ms = now.wall_ms.saturating_sub(at_ms);
        if !now.wall_known() {
            Self::Unknown
        } else if age_ms.saturating_abs() <= STALE_MS {
            Self::Fresh
        } else {
            Self::Off { ahead: age_ms < 0 }
        }
    }
}

fn tick(now: &Now) -> i64 {
    i64::try_from(now.tick_ms).unwrap_or(i64::MAX)
}
