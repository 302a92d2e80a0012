//! What the store keeps of the clock: where ticks go on after a restart, and the anchor that keeps a
//! wrong clock from deleting anything.

use estate::{Now, TimeQuality};
use rusqlite::Connection;

use crate::clock::Saved;
use crate::store::write::Writer;
use crate::store::{StoreError, load};

/// A month: nobody vouches for a clock that went further ahead than that while the box was off.
const LONG_CUT_MS: i64 = 31 * 24 * 3_600_000;

/// The last time at which the wall clock was in step with the running time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Anchor {
    tick_ms: u64,
    wall_ms: i64,
}

impl Anchor {
    /// Whether the wall clock may decide that something is old enough to be deleted: it is
    /// synchronised, or has gone ahead of the running time by no more than a long power cut. A wrong
    /// year must not empty the store.
    pub fn may_delete_by(self, now: Now) -> bool {
        match now.quality {
            TimeQuality::Unknown => false,
            TimeQuality::Synchronised => true,
            TimeQuality::Estimated => {
                let ran_ms = now.tick_ms.saturating_sub(self.tick_ms);
                let ran_ms = i64::try_from(ran_ms).unwrap_or(i64::MAX);
                let moved_ms = now.wall_ms.saturating_sub(self.wall_ms);
                moved_ms <= ran_ms.saturating_add(LONG_CUT_MS)
            }
        }
    }

    /// A wall time that is past: what the box has been running since the anchor is certain.
    pub fn past_ms(self, now: Now) -> i64 {
        let ran_ms = now.tick_ms.saturating_sub(self.tick_ms);
        self.wall_ms
            .saturating_add(i64::try_from(ran_ms).unwrap_or(0))
    }

    /// The anchor after `now`: moved only by a clock that is in step.
    #[must_use]
    pub fn then(self, now: Now) -> Self {
        if !self.may_delete_by(now) {
            return self;
        }
        Self {
            tick_ms: now.tick_ms,
            wall_ms: now.wall_ms,
        }
    }
}

const CLOCK: [&str; 4] = ["tick_ms", "running_ms", "kernel", "wall_ms"];

/// Where the clock stood.
pub(super) fn load_clock(conn: &Connection) -> Result<Saved, StoreError> {
    let [tick_ms, running_ms, kernel, wall_ms] =
        CLOCK.map(|name| load::meta(conn, name).map(Option::unwrap_or_default));
    Ok(Saved {
        tick_ms: tick_ms?.cast_unsigned(),
        running_ms: running_ms?,
        kernel: kernel?,
        wall_ms: wall_ms?,
    })
}

/// Where the anchor stood.
pub(super) fn load_anchor(conn: &Connection, now: Now) -> Result<Anchor, StoreError> {
    let tick_ms = load::meta(conn, "anchor_tick_ms")?;
    let wall_ms = load::meta(conn, "anchor_wall_ms")?;
    // A new store has nothing to lose yet, so it begins with the clock there is.
    Ok(Anchor {
        tick_ms: tick_ms.map_or(now.tick_ms, i64::cast_unsigned),
        wall_ms: wall_ms.unwrap_or(now.wall_ms),
    })
}

/// Writes both down.
pub(super) fn write_clock(
    writer: &Writer<'_>,
    saved: Saved,
    anchor: Anchor,
) -> Result<(), StoreError> {
    writer.meta("anchor_tick_ms", anchor.tick_ms.cast_signed())?;
    writer.meta("anchor_wall_ms", anchor.wall_ms)?;
    let values = [
        saved.tick_ms.cast_signed(),
        saved.running_ms,
        saved.kernel,
        saved.wall_ms,
    ];
    CLOCK
        .into_iter()
        .zip(values)
        .try_for_each(|(name, value)| writer.meta(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_a_year_may_not_delete() {
        let at = |tick_ms, wall_ms, quality| Now {
            tick_ms,
            wall_ms,
            quality,
        };
        const DAY: i64 = 86_400_000;
        let start = 1_780_000_000_000;
        let anchor = Anchor {
            tick_ms: 0,
            wall_ms: start,
        };
        let estimated = TimeQuality::Estimated;
        let jumped = at(1_000, start + 365 * DAY, estimated);
        assert!(!anchor.may_delete_by(jumped));
        // It isn't believed the second time either.
        assert!(!anchor.then(jumped).may_delete_by(jumped));
        // In step, or after a power cut of a month, or with somebody's word for it.
        assert!(anchor.may_delete_by(at(365 * 86_400_000, start + 365 * DAY, estimated)));
        assert!(anchor.may_delete_by(at(1_000, start + 30 * DAY, estimated)));
        let vouched = at(1_000, start + 365 * DAY, TimeQuality::Synchronised);
        assert!(anchor.then(vouched).may_delete_by(jumped));
        assert!(!anchor.may_delete_by(at(1_000, start, TimeQuality::Unknown)));
    }
}
