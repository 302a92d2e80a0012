//! Commands to open: the ledger of what was asked, and what became of it.
//!
//! ```text
//! Requested ─▶ Sent ─▶ Done ─▶ Opened ─▶ Closed
//!     │          ├──────────────▲            (not every board says 'done')
//!     │          ├─▶ Refused, Failed          by the device's word
//!     │          └─▶ Unknown                  no answer within its time: it may have opened
//!     └─▶ Expired                             its time ended before it left the box
//! ```
//! A row is on disk as `Requested` before anything is sent. A door that is seen open later than the
//! end settles it all the same: the compartment knows better than we do what happened. An opening
//! that a bank decided by itself has a row too, which begins as `Opened` (`bank_codes.rs`).

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
    /// When it was requested, ms since the Unix epoch.
    pub at_ms: i64,
    /// How far that time can be trusted.
    pub quality: TimeQuality,
    /// When it ends, in ticks.
    pub expires_tick_ms: u64,
    /// What became of it.
    pub state: CommandState,
    /// When it left the box for the first time, ms since the Unix epoch.
    pub sent_ms: Option<i64>,
    /// When its door was seen open, ms since the Unix epoch.
    pub opened_ms: Option<i64>,
    /// When its door was seen closed after that, ms since the Unix epoch.
    pub closed_ms: Option<i64>,
}

/// What a compartment is opened for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// Somebody puts a parcel in: a courier, or a resident who returns it.
    Deposit {
        /// The parcel.
        parcel: String,
    },
    /// A resident takes it out, or opens again within the grace.
    Collect {
        /// The parcel whose code was given; others of the same recipient may lie with it.
        parcel: String,
    },
    /// A courier or the staff takes out what goes back, or to a desk.
    Retrieve {
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

impl Purpose {
    /// The word in stores and for people.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Deposit { .. } => "deposit",
            Self::Collect { .. } => "collect",
            Self::Retrieve { .. } => "retrieve",
            Self::ByHand { .. } => "by-hand",
        }
    }

    /// The parcel that it is about.
    pub const fn parcel(&self) -> Option<&String> {
        match self {
            Self::Deposit { parcel } | Self::Collect { parcel } | Self::Retrieve { parcel } => {
                Some(parcel)
            }
            Self::ByHand { .. } => None,
        }
    }
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandState {
    /// On disk; not known to have left the box.
    Requested,
    /// Handed to the device, not answered.
    Sent,
    /// The device says it was carried out; the door wasn't seen yet.
    Done,
    /// The door was seen open.
    Opened,
    /// The door was seen closed after that.
    Closed,
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
    /// Its time ended before it left the box: nothing opened.
    Expired,
    /// Sent, but not answered within its time: whether it opened isn't known.
    Unknown,
}

impl CommandState {
    /// The word in stores and for people.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Sent => "sent",
            Self::Done => "done",
            Self::Opened => "opened",
            Self::Closed => "closed",
            Self::Refused { .. } => "refused",
            Self::Failed { .. } => "failed",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
        }
    }

    /// Whether an answer is still waited for.
    pub const fn waiting(&self) -> bool {
        matches!(self, Self::Requested | Self::Sent)
    }
}
