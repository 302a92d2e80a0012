//! Commands to open: what was asked, and what became of it.

use alloc::string::String;

use firmware_protocols::Slot;

use crate::TimeQuality;

/// A command to open a compartment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRow {
    /// Its id, unique.
    pub id: String,
    /// What it opens.
    pub slot: Slot,
    /// What for.
    pub purpose: Purpose,
    /// When it was made, ms since the Unix epoch.
    pub at_ms: i64,
    /// How far that time can be trusted.
    pub quality: TimeQuality,
    /// When it ends, in ticks.
    pub expires_tick_ms: u64,
    /// What became of it.
    pub state: CommandState,
}

/// What a compartment is opened for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// A courier puts a parcel in.
    Deposit {
        /// The parcel.
        parcel: String,
    },
    /// A resident takes it out, or opens again within the grace.
    Collect {
        /// The parcel.
        parcel: String,
    },
    /// A technician opens it.
    ByHand {
        /// Who.
        operator: String,
        /// Why.
        reason: String,
    },
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandState {
    /// Handed to the link, not answered.
    Sent,
    /// The device says it was carried out.
    Done,
    /// The door was seen open.
    Opened,
    /// The device refused: too late, or repeated.
    Refused {
        /// In its words.
        reason: String,
    },
    /// The device tried in vain.
    Failed {
        /// In its words.
        reason: String,
    },
    /// No answer within its time: whether it opened isn't known.
    Expired,
}
