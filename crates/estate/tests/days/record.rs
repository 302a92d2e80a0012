//! What an observer writes down, independent of the estate: who may open, which tries were let
//! through, what was received, which commands were made, and when a moment is really there.

use std::collections::{BTreeMap, BTreeSet};

use cloud_protocol::uplink::ParcelState;
use firmware_protocols::{Ident, Slot};

/// A rule that was broken: which, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub rule: &'static str,
    pub what: String,
}

pub type Kept = Result<(), Broken>;

/// Fails with the rule's name and the words unless the condition holds.
#[macro_export]
macro_rules! keep {
    ($rule:literal, $holds:expr, $($words:tt)*) => {
        if !$holds {
            return Err($crate::record::Broken { rule: $rule, what: format!($($words)*) });
        }
    };
}

/// When a gesture is too late.
pub const STALE_MS: u64 = 120_000;

pub const MINUTE_MS: u64 = 60_000;
pub const HOUR_MS: u64 = 60 * MINUTE_MS;
pub const DAY_MS: u64 = 24 * HOUR_MS;

/// Wrong tries of one keypad: five, then a minute; then twice as long each time, up to fifteen. A day
/// after the last lockout's end it begins anew.
#[derive(Clone, Debug, Default)]
pub struct Ladder {
    pub wrong: u32,
    pub astray: u32,
    pub lockouts: u32,
    pub until: Option<u64>,
}

impl Ladder {
    pub fn locked(&self, tick: u64) -> bool {
        self.until.is_some_and(|until| tick < until)
    }

    /// A try that was let through and was wrong. Whether it locks.
    pub fn wrong(&mut self, tick: u64) -> bool {
        if self.until.is_some_and(|until| tick >= until + DAY_MS) {
            self.lockouts = 0;
        }
        self.wrong += 1;
        if self.wrong < 5 {
            return false;
        }
        let minutes = [1, 2, 4, 8].get(self.lockouts as usize).copied();
        self.wrong = 0;
        self.lockouts += 1;
        self.until = Some(tick + minutes.unwrap_or(15) * MINUTE_MS);
        true
    }

    /// A code of another point. Whether it locks.
    pub fn astray(&mut self, tick: u64) -> bool {
        self.astray += 1;
        if self.astray < 3 {
            return false;
        }
        self.astray = 0;
        self.wrong(tick)
    }
}

#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub received: u64,
    pub stored: u64,
    pub duplicate: u64,
    pub quarantined: u64,
}

/// A moment that the cloud has named, in true time; `sure` if the box knew the time when it heard.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub at_ms: i64,
    pub sure: bool,
    /// The box's clock was ahead when it heard: it can't know better.
    pub excused: bool,
    /// Heard while the time was unknown, and not reckoned since.
    pub unreckoned: bool,
}

#[derive(Clone, Debug)]
pub struct Made {
    pub slot: Slot,
    pub until: u64,
    /// The start of the estate in which it was made.
    pub start: u32,
}

#[derive(Clone, Default)]
pub struct Record {
    pub ladders: BTreeMap<Ident, Ladder>,
    pub ledgers: BTreeMap<Ident, Ledger>,
    pub taken: BTreeSet<(Ident, u32, u64)>,
    /// By badge, and by `code:DIGITS`.
    pub couriers: BTreeMap<String, Moment>,
    /// The couriers who may be at a point, and until when without another gesture.
    pub sessions: BTreeMap<Ident, BTreeMap<String, u64>>,
    pub commands: BTreeMap<String, Made>,
    pub deadlines: BTreeMap<String, Moment>,
    pub starts: u32,
}

impl Record {
    pub fn moments(&mut self) -> impl Iterator<Item = &mut Moment> {
        self.deadlines
            .values_mut()
            .chain(self.couriers.values_mut())
    }
}

/// Whether the cloud may hear `to` after `from`.
pub fn follows(from: Option<ParcelState>, to: ParcelState) -> bool {
    use ParcelState::{
        Cancelled, Claimed, Collected, Deposited, Expected, Overdue, Refused, Retrieved,
    };
    match (from, to) {
        // Returns made of a claim at a desk are there at once; so is what nobody announced.
        (None, Expected | Deposited) => true,
        (None, _) => false,
        (Some(Expected), Expected | Deposited | Cancelled) => true,
        (Some(Deposited | Overdue), Expected) => false,
        (Some(Deposited | Overdue), _) => true,
        // Cancelled before its deposit it is over; after it, it goes back.
        (Some(Cancelled | Refused | Claimed), to) => {
            matches!(to, Cancelled | Refused | Claimed | Retrieved)
        }
        // What nobody announced is told again, as it stands, when it is announced.
        (Some(Collected), Claimed | Collected) | (Some(Retrieved), Retrieved) => true,
        _ => false,
    }
}
