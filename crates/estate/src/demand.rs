//! Demand: counts per building and hour, released once and only when enough households share one.
//!
//! # What leaves the estate
//!
//! Each happening that says something about demand is counted in exactly one cell: of its hour, the
//! building of its device or point, and its series. A cell knows its distinct households, by a
//! keyed digest: the credential at a door, the household of an intent, the recipient of a parcel.
//! (A household with three cards counts as three at the doors: the box knows no names.) A parcel that
//! no compartment took counts once, in `unplaced:SIZE:ZONE` (`unplaced:S:chilled`), at its bank's
//! building: what a van needs to know before it comes, and an operator before he buys.
//!
//! An hour is closed `demand_lateness_ms` after its end, on a clock that somebody has told the time.
//! Then, once and for good:
//!
//! 1. Of each building, the series that hold at least k distinct households (`demand_k`, default 5)
//!    leave together in one item.
//! 2. The building's other series are folded into the site's cell of the same series and hour:
//!    counts added, households united. The site's series that then hold at least k distinct
//!    households leave together in one item.
//! 3. The rest is withheld for ever, and the cells are deleted.
//!
//! **Nobody can subtract his way to a small group.** The site's item holds what was folded, never a
//! total, so no two published figures contain the same happening: there is nothing to subtract one
//! from the other. Every figure covers at least k households. A series missing from a building's
//! item says that fewer than k took part there, and no more. What remains is inherent to k: who
//! knows the part of k − 1 households of a figure himself knows the last one's.
//!
//! A closed hour is remembered by a mark (a cell of the site without a series and with count 0), so
//! that a clock set back can't release an hour twice: what is dated into a closed hour is counted as
//! late ([`crate::Estate::demand_late`]) and no further. The event itself is stored all the same.
//! While the clock is unknown, no hour is known either, so nothing is counted. A time ahead of the
//! box's clock counts as now; hours more than a day ahead, left behind by a clock that was set back,
//! are withheld.

use alloc::format;
use alloc::string::String;

use cloud_protocol::Report;
use firmware_protocols::Ident;
use firmware_protocols::event::{Direction, Outcome};

use crate::estate::Estate;
use crate::turn::{Origin, Turn};
use crate::unlisted::is_nobody;
use crate::{Digest, Now};

/// The length of a bucket, ms.
pub const HOUR_MS: i64 = 3_600_000;

/// The most items of intents that are counted apart per building and hour; further ones are counted
/// together as `intent:other`.
pub const INTENTS_MAX: usize = 200;

/// The most distinct households that a cell remembers. It counts on, and has long enough for any k.
pub const HOUSEHOLDS_MAX: usize = 4_096;

/// The most closed hours that are remembered. What is dated before the oldest of as many is late.
pub const MARKS_MAX: usize = 744;

/// One count: of one series, in one scope, in one hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Which.
    pub key: CellKey,
    /// How many. 0 only in the mark of a closed hour.
    pub count: u64,
}

/// What a count is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CellKey {
    /// The start of the hour, ms since the Unix epoch.
    pub start_ms: i64,
    /// The building, or the whole estate: only in the mark of a closed hour.
    pub building: Option<Ident>,
    /// `comings`, `goings`, `deposits`, `collections`, `unplaced:SIZE:ZONE`, `intent:ITEM`; empty in
    /// the mark of a closed hour.
    pub series: String,
}

impl Estate {
    pub(crate) fn count_access(
        &mut self,
        now: &Now,
        from: &Origin,
        outcome: Outcome,
        direction: Option<Direction>,
        credential: Option<Digest>,
    ) {
        let series = match (outcome, direction) {
            (Outcome::Granted, Some(Direction::In)) => "comings",
            (Outcome::Granted, Some(Direction::Out)) => "goings",
            _ => return,
        };
        let household = credential.map(|digest| shorten(&digest));
        self.demand.count(
            now,
            &self.rules,
            from.at_ms,
            &from.building,
            series,
            1,
            household,
        );
    }

    pub(crate) fn count_intent(
        &mut self,
        now: &Now,
        from: &Origin,
        item: &str,
        quantity: u32,
        household: Option<Digest>,
    ) {
        let household = household.map(|digest| shorten(&digest));
        let series = format!("intent:{item}");
        let quantity = u64::from(quantity);
        self.demand.count(
            now,
            &self.rules,
            from.at_ms,
            &from.building,
            &series,
            quantity,
            household,
        );
    }

    /// Counts a deposit, a collection, or a parcel that found no room; its household is the recipient, digested with the key of
    /// the pickup codes. (Codes are digits, so the two can't be mistaken for each other.) A
    /// recipient whom nobody knows counts as no household: he may be one who was counted already.
    pub(crate) fn count_parcel(
        &mut self,
        turn: &Turn<'_, '_>,
        point: &Ident,
        series: &str,
        recipient: &str,
    ) {
        let Some(building) = self.places.building(point).cloned() else {
            return;
        };
        let digest = turn.digest(&self.layout.site, &format!("recipient:{recipient}"));
        let household = (!is_nobody(recipient)).then(|| shorten(&digest));
        let now = &turn.now;
        self.demand.count(
            now,
            &self.rules,
            now.wall_ms,
            &building,
            series,
            1,
            household,
        );
    }

    /// Closes the hours that are over.
    pub(crate) fn close_hours(&mut self, now: &Now) {
        let reports = self.demand.close(now, &self.rules);
        self.uplinks.extend(
            reports
                .into_iter()
                .map(|report| (now.wall_ms, Report::Demand(report))),
        );
    }
}

/// The first 8 bytes: enough to tell households of one hour apart.
fn shorten(digest: &Digest) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}
