//! What the world around the gateway knows, a line each, in the order in which it came to know it: so
//! that a cut at any point of the recording has its own past, and nothing that came later.

use serde::{Deserialize, Serialize};

/// A thing that the world knows from now on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "mark", rename_all = "kebab-case")]
pub enum Mark {
    /// The gateway is going to be started; what time it is.
    Starts { wall_ms: i64 },
    /// It has started.
    Started,
    /// It was stopped in order.
    Stopped,
    /// Time has passed.
    Time { wall_ms: i64 },
    /// A device has an event in its buffer, and is going to send it.
    Event(NewEvent),
    /// The gateway has acknowledged events.
    Acked {
        device: String,
        boot: u32,
        seqs: Vec<u64>,
    },
    /// The gateway has given a receipt.
    Receipt { device: String, boot: u32, seq: u64 },
    /// The device has started anew.
    Boot { device: String },
    /// The cloud has something for the gateway, and is going to say it.
    Says { say: Say },
    /// The gateway has taken all up to this number.
    SaysTaken { n: u64 },
    /// The cloud has items for good.
    Took {
        epoch: u64,
        lane: String,
        chains: Vec<String>,
        codes: Vec<(String, String)>,
        /// Entries and head of the parcels' history.
        heads: Vec<(u64, String)>,
    },
    /// A command has reached its device.
    Command { id: String, opens: bool },
    /// Somebody is about to handle a parcel: what the books say of it may change.
    Touched { parcel: String },
    /// What must never happen did, while the gateway ran.
    Wrong { what: String },
}

/// An event as a device keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewEvent {
    pub device: String,
    pub boot: u32,
    pub seq: u64,
    pub at_ms: i64,
    pub kind: String,
    /// The fields of its kind in JSON, without the braces.
    pub body: String,
    /// What has happened to a parcel, which this event tells.
    pub parcel: Option<Moved>,
}

/// A parcel is somewhere else.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Moved {
    pub parcel: String,
    pub to: Place,
}

/// Where a parcel really is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// With the courier.
    Outside,
    /// In this compartment of its bank.
    In(u16),
    /// Its recipient has it.
    Gone,
}

/// What the cloud says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Say {
    Courier {
        valid_until: i64,
    },
    Parcel {
        parcel: String,
        point: String,
        size: char,
        deadline: i64,
    },
    Cancelled {
        parcel: String,
    },
    Reissue {
        parcel: String,
    },
    Extended {
        parcel: String,
        deadline: i64,
    },
}
