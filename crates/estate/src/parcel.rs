//! Parcels: their life, the couriers who bring them, and the trace of every step.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use cloud_protocol::Report;
use cloud_protocol::downlink::ExpectedParcel;
use cloud_protocol::uplink::{CodeForResident, ParcelReport, ParcelState};
use firmware_protocols::{Ident, Slot};

use crate::compartment::Holds;
use crate::estate::Estate;
use crate::turn::Turn;
use crate::{Digest, Now, TimeQuality};

/// A parcel: what was announced, and where it stands in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParcelRow {
    /// What the cloud announced.
    pub parcel: ExpectedParcel,
    /// Where it stands.
    pub stage: Stage,
    /// Since when, ms since the Unix epoch, as the wall clock stood. A hand-over whose door is
    /// seen open counts from then.
    pub since_ms: i64,
    /// Since when, in ticks.
    pub since_tick_ms: u64,
}

/// Where a parcel stands in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Announced; its code is issued but not good yet.
    Expected,
    /// A courier is putting it in: compartment reserved, open commanded.
    Depositing {
        /// Where.
        slot: Slot,
        /// Who.
        courier: String,
        /// The open command.
        command: String,
        /// Whether the door was seen open since.
        opened: bool,
        /// Whether the alarm for a door left open was raised.
        alarmed: bool,
    },
    /// Waiting to be collected; its code is good.
    Deposited {
        /// Where.
        place: Place,
    },
    /// A resident is taking it out: code accepted, open commanded.
    Collecting {
        /// Where.
        slot: Slot,
        /// The open command.
        command: String,
        /// Whether the door was seen open since.
        opened: bool,
        /// Whether the alarm for a door left open was raised.
        alarmed: bool,
    },
    /// With its recipient. Its code opens `place` again until `reopen_until_tick_ms`.
    Collected {
        /// Where it was.
        place: Place,
        /// The end of the grace, in ticks.
        reopen_until_tick_ms: u64,
    },
    /// Cancelled before deposit.
    Cancelled,
}

/// Where a deposited parcel is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a compartment.
    Slot(Slot),
    /// At a desk.
    Desk(Ident),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot(slot) => slot.fmt(f),
            Self::Desk(desk) => desk.fmt(f),
        }
    }
}

impl Stage {
    /// The word for people and stores.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Expected => "expected",
            Self::Depositing { .. } => "depositing",
            Self::Deposited { .. } => "deposited",
            Self::Collecting { .. } => "collecting",
            Self::Collected { .. } => "collected",
            Self::Cancelled => "cancelled",
        }
    }

    /// What the cloud hears of it: hand-overs under way are the box's own business.
    pub const fn reported(&self) -> ParcelState {
        match self {
            Self::Expected | Self::Depositing { .. } => ParcelState::Expected,
            Self::Deposited { .. } | Self::Collecting { .. } => ParcelState::Deposited,
            Self::Collected { .. } => ParcelState::Collected,
            Self::Cancelled => ParcelState::Cancelled,
        }
    }

    /// The bank, compartment and desk that the cloud hears of.
    fn reported_place(&self) -> (Option<&Slot>, Option<&Ident>) {
        match self {
            Self::Deposited { place } | Self::Collected { place, .. } => match place {
                Place::Slot(slot) => (Some(slot), None),
                Place::Desk(desk) => (None, Some(desk)),
            },
            Self::Collecting { slot, .. } => (Some(slot), None),
            Self::Expected | Self::Depositing { .. } | Self::Cancelled => (None, None),
        }
    }

    /// Whether the parcel's life is over.
    pub const fn finished(&self) -> bool {
        matches!(self, Self::Collected { .. } | Self::Cancelled)
    }
}

/// A courier's badge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CourierRow {
    /// [`cloud_protocol::badge_digest`] of its symbol.
    pub badge: Digest,
    /// An opaque name for the record.
    pub courier: String,
    /// Until when it is good, ms since the Unix epoch.
    pub valid_until_ms: i64,
}

/// A step in a parcel's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceEntry {
    /// The parcel.
    pub parcel: String,
    /// When, ms since the Unix epoch.
    pub at_ms: i64,
    /// How far that time can be trusted.
    pub quality: TimeQuality,
    /// When, in ticks.
    pub tick_ms: u64,
    /// What: `announced`, `code-issued`, `deposit-started`, `deposited`, …
    pub step: &'static str,
    /// Who: `cloud`, `courier NAME`, `keypad bank-a`, `operator NAME`, `gateway`.
    pub who: String,
    /// More, in words; never a code.
    pub detail: Option<String>,
}

impl Estate {
    /// The only way in which a parcel's stage changes. A finished parcel stays as it is.
    pub(crate) fn set_stage(&mut self, now: &Now, parcel: &str, stage: Stage) {
        if let Some(row) = self.parcels.get_mut(parcel)
            && !row.stage.finished()
        {
            row.stage = stage;
            row.since_ms = now.wall_ms;
            row.since_tick_ms = now.tick_ms;
        }
    }

    /// The only way in which a compartment's use changes.
    pub(crate) fn set_holds(&mut self, slot: &Slot, holds: Holds) {
        if let Some(row) = self.compartments.get_mut(slot) {
            row.holds = holds;
        }
    }

    /// The parcel has come to where it waits.
    pub(crate) fn deposited(
        &mut self,
        turn: &mut Turn<'_, '_>,
        parcel: &str,
        place: Place,
        courier: &str,
    ) {
        let now = turn.now;
        let Some(row) = self.parcels.get(parcel) else {
            return;
        };
        let (point, recipient) = (row.parcel.point.clone(), row.parcel.recipient.clone());
        let detail = Some(place.to_string());
        self.set_stage(&now, parcel, Stage::Deposited { place });
        self.report(&now, parcel, None);
        self.trace(
            &now,
            parcel,
            "deposited",
            format!("courier {courier}"),
            detail,
        );
        self.count_parcel(turn, &point, "deposits", &recipient);
    }

    /// Tells the cloud where a parcel stands, with its code if that is new.
    pub(crate) fn report(&mut self, now: &Now, parcel: &str, code: Option<CodeForResident>) {
        let Some(row) = self.parcels.get(parcel) else {
            return;
        };
        let (slot, desk) = row.stage.reported_place();
        let report = ParcelReport {
            parcel: parcel.to_string(),
            state: row.stage.reported(),
            since: row.since_ms,
            bank: slot.map(|slot| slot.bank.clone()),
            compartment: slot.map(|slot| slot.compartment),
            desk: desk.cloned(),
            code,
        };
        self.uplinks.push((now.wall_ms, Report::Parcel(report)));
    }
}
