//! Keypads: wrong tries and the lockout that grows.
//!
//! A code of another point, typed here by mistake, counts mildly: every third one as one wrong code.
//! After `lockout_after` wrong codes a keypad is locked, first for `lockout_first_ms`, then for
//! twice as long each time, up to `lockout_longest_ms`. While it is locked nothing is looked at:
//! no code is good, and nothing is counted. A day without a lockout brings the first length back.
//!
//! A collection at the point forgives the wrong tries since the last lockout at its keypads. The
//! collection does, not the typing of a right code: each code collects once, so who has a code of
//! his own can't use it to clear the count between guesses again and again. For the same reason it
//! doesn't bring the first length back: [`tries_per_day`] holds whoever else is at the keypad.

use firmware_protocols::Ident;

use crate::estate::Estate;
use crate::layout::Rules;
use crate::turn::{Origin, Turn};
use crate::{Now, text};

/// Keypad entries and scans for a locker that are older than this when they arrive open nothing:
/// who made them may have left long ago. How the age is known: [`crate::freshness`]. Milliseconds.
pub const STALE_MS: i64 = 120_000;

/// So many codes of other points count as one wrong code.
pub const ASTRAY_PER_WRONG: u32 = 3;

/// How long without a lockout until the next one has the first length again, ms.
pub const QUIET_MS: u64 = 24 * 3_600_000;

/// A keypad's wrong tries. Survives restarts; runs on ticks, so the wall clock can't shorten it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeypadRow {
    /// The device that has the keypad.
    pub keypad: Ident,
    /// Wrong codes since the last collection at its point or the last lockout.
    pub wrong: u32,
    /// Codes of other points typed here since the last one that counted as wrong: they count only
    /// mildly.
    pub astray: u32,
    /// Lockouts since the last quiet day: the next one's length doubles with each.
    pub lockouts: u32,
    /// The end of the running or the last lockout, in ticks.
    pub locked_until_tick_ms: Option<u64>,
}

impl KeypadRow {
    const fn new(keypad: Ident) -> Self {
        Self {
            keypad,
            wrong: 0,
            astray: 0,
            lockouts: 0,
            locked_until_tick_ms: None,
        }
    }

    /// How long it is still locked, ms, if it is.
    pub fn locked_for_ms(&self, tick_ms: u64) -> Option<u64> {
        let left = self.locked_until_tick_ms?.saturating_sub(tick_ms);
        (left > 0).then_some(left)
    }
}

/// What a wrong code has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// So many more until the keypad locks.
    Left(u32),
    /// It locks for so long, ms.
    Locked(u64),
}

/// The most wrong codes that one keypad lets through in any 24 hours, without a collection.
///
/// `lockout_after × (m + 1)`, where m is the number of lockouts, from the first length up, that fit
/// into 24 hours one after the other. With the defaults: 1 + 2 + 4 + 8 minutes, then 95 of 15, so
/// 5 × (99 + 1) = 500.
pub fn tries_per_day(rules: &Rules) -> u64 {
    let longest = rules.lockout_longest_ms.max(1);
    let mut length = rules.lockout_first_ms.clamp(1, longest);
    let mut left = QUIET_MS;
    let mut lockouts: u64 = 0;
    while length < longest && length <= left {
        left -= length;
        lockouts += 1;
        length = length.saturating_mul(2).min(longest);
    }
    if length >= longest {
        lockouts += left / longest;
    }
    u64::from(rules.lockout_after.max(1)).saturating_mul(lockouts + 1)
}

impl Estate {
    /// How long a keypad is still locked, ms, if it is.
    pub(crate) fn locked_for_ms(&self, now: &Now, keypad: &Ident) -> Option<u64> {
        self.keypads.get(keypad)?.locked_for_ms(now.tick_ms)
    }

    /// Counts a wrong code and tells the person, with `what` if it wasn't simply wrong.
    pub(crate) fn wrong_code(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        what: Option<&str>,
    ) {
        let words = match self.count_wrong(&turn.now, &from.device, false) {
            Wrong::Left(left) => what.map_or_else(|| text::wrong(left), Into::into),
            Wrong::Locked(length) => text::locked(length),
        };
        self.show_error(turn, from, words);
    }

    /// Counts a wrong code at a keypad that isn't locked. `mild`: it is a code of another point.
    pub(crate) fn count_wrong(&mut self, now: &Now, keypad: &Ident, mild: bool) -> Wrong {
        let after = self.rules.lockout_after.max(1);
        let row = self
            .keypads
            .get_or_insert_with(keypad, || KeypadRow::new(keypad.clone()));
        if row
            .locked_until_tick_ms
            .is_some_and(|until| now.passed(until, QUIET_MS))
        {
            row.lockouts = 0;
            row.locked_until_tick_ms = None;
        }
        if mild && row.astray + 1 < ASTRAY_PER_WRONG {
            row.astray += 1;
            return Wrong::Left(after.saturating_sub(row.wrong));
        }
        if mild {
            row.astray = 0;
        }
        row.wrong += 1;
        if row.wrong < after {
            return Wrong::Left(after - row.wrong);
        }
        let length = lockout_ms(&self.rules, row.lockouts);
        row.wrong = 0;
        row.lockouts = row.lockouts.saturating_add(1);
        row.locked_until_tick_ms = Some(now.tick_in(length));
        Wrong::Locked(length)
    }

    /// A collection at `point` forgives the wrong tries at its keypads.
    pub(crate) fn forgive(&mut self, point: &Ident) {
        for keypad in self.places.parts(point) {
            if self.keypads.get(keypad).is_some_and(|row| row.wrong > 0)
                && let Some(row) = self.keypads.get_mut(keypad)
            {
                row.wrong = 0;
            }
        }
    }
}

/// The length of the lockout after `before` earlier ones, ms.
fn lockout_ms(rules: &Rules, before: u32) -> u64 {
    let factor = 1_u64.checked_shl(before).unwrap_or(u64::MAX);
    rules
        .lockout_first_ms
        .saturating_mul(factor)
        .clamp(1, rules.lockout_longest_ms.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_ladder_lets_500_tries_through_a_day() {
        assert_eq!(tries_per_day(&Rules::default()), 500);
    }

    #[test]
    fn tries_per_day_is_what_an_attacker_counts() {
        for (after, first, longest) in [
            (5, 60_000, 900_000),
            (3, 1_000, 1_000),
            (1, 7_000, 90_000_000),
            (4, 0, 0),
        ] {
            let rules = Rules {
                lockout_after: after,
                lockout_first_ms: first,
                lockout_longest_ms: longest,
                ..Rules::default()
            };
            let (mut tick, mut tries, mut lockouts) = (0, 0, 0);
            while tick <= QUIET_MS {
                tries += u64::from(after);
                tick += lockout_ms(&rules, lockouts);
                lockouts += 1;
                if lockouts > 100_000 && longest == 0 {
                    break;
                }
            }
            assert!(tries <= tries_per_day(&rules), "{rules:?}");
            if longest > 0 {
                assert_eq!(tries, tries_per_day(&rules), "{rules:?}");
            }
        }
    }
}
