//! Parcels: their life, the couriers who bring them, and the trace of every step.

use alloc::string::String;

use cloud_protocol::downlink::ExpectedParcel;
use firmware_protocols::{Ident, Slot};

use crate::{Digest, TimeQuality};

/// A parcel: what was announced, and where it stands in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParcelRow {
    /// What the cloud announced.
    pub parcel: ExpectedParcel,
    /// Where it stands.
    pub stage: Stage,
    /// Since when, ms since the Unix epoch, as the wall clock stood.
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
