//! The shapes of what the store is asked for: rows of the control API and of the CLI's `--json`.
//!
//! Times are integers, `_ms` since the Unix epoch; a `quality` is how far the box could trust its
//! clock then: `unknown`, `estimated`, `synchronised`. Fields without a value are `null`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A device that was heard, and the ledger of what was received from it:
/// `received = stored + duplicate + quarantined`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeviceRow {
    /// Its id.
    pub device: String,
    /// The encoding it last spoke: `cbor`, `json`.
    pub form: String,
    /// Its boot that was heard last.
    pub boot: Option<u32>,
    /// Events received, whatever became of them.
    pub received: u64,
    /// Events stored.
    pub stored: u64,
    /// Events that had been stored before.
    pub duplicate: u64,
    /// Events put into quarantine.
    pub quarantined: u64,
    /// When it was last heard.
    pub last_heard_ms: i64,
    /// Its model, by its own word.
    pub model: Option<String>,
    /// Its firmware, by its own word.
    pub firmware: Option<String>,
    /// What it can do, by its own word.
    pub capabilities: Vec<String>,
    /// Its boots, last heard first.
    pub boots: Vec<BootRow>,
}

/// How far one boot of a device was received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootRow {
    /// The boot.
    pub boot: u32,
    /// Everything up to here is on disk or given up.
    pub upto: u64,
    /// Gaps before later events: `[first, last]`, rising. The device should still send these.
    pub missing: Vec<(u64, u64)>,
    /// Gaps that are no longer waited for: `[first, last]`, rising.
    pub given_up: Vec<(u64, u64)>,
    /// The device used this boot number twice.
    pub reused: bool,
    /// Nothing more of this boot is taken.
    pub closed: bool,
}

/// What a compartment is used for, and what its sensors say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompartmentRow {
    /// Its bank.
    pub bank: String,
    /// Its number, from 1.
    pub compartment: u16,
    /// The parcels that are in it.
    pub parcels: Vec<String>,
    /// The parcel that is being put in.
    pub reserved: Option<String>,
    /// `open`, `closed`, `unknown`.
    pub door: String,
    /// What the occupancy sensor said, if there is one.
    pub occupied: Option<bool>,
    /// Why it isn't used: it failed to open.
    pub fault: Option<String>,
    /// Why it isn't used: in a technician's words.
    pub disabled: Option<String>,
    /// How often it was opened.
    pub openings: u64,
}

/// A parcel. Its recipient isn't shown: nobody at the box needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParcelRow {
    /// Its id.
    pub parcel: String,
    /// `S`, `M`, `L`.
    pub size: String,
    /// `ambient`, `chilled`, `frozen`.
    pub zone: String,
    /// The bank or desk where it is to wait.
    pub point: String,
    /// Until when it may wait, as the cloud announced it.
    pub deadline_ms: i64,
    /// Until when it may wait, as it stands now.
    pub due_ms: i64,
    /// Whether the recipient agreed to a locker.
    pub consent: bool,
    /// How many items are in it.
    pub items: Option<u32>,
    /// `expected`, `depositing`, `deposited`, `collecting`, `collected`, `retrieved`, `cancelled`.
    pub state: String,
    /// The bank that it is, was or is being put in.
    pub bank: Option<String>,
    /// The compartment, likewise.
    pub compartment: Option<u16>,
    /// The desk, likewise.
    pub desk: Option<String>,
    /// The courier's opaque name.
    pub courier: Option<String>,
    /// During a hand-over: whether the door was seen open.
    pub opened: bool,
    /// During a hand-over: whether the alarm for a door left open was raised.
    pub alarmed: bool,
    /// Since when it is in this state.
    pub since_ms: i64,
    /// Finished, and only kept for its history.
    pub archived: bool,
    /// Why it goes back: `overdue`, `cancelled`, `refused`, `claimed`, `return`.
    pub back: Option<String>,
    /// While it is being taken out, by whom: `recipient`, `courier`, `operator`, `desk`.
    pub taker: Option<String>,
    /// It came without having been announced.
    pub unlisted: bool,
    /// Its recipient needs a low compartment.
    pub low: bool,
    /// No compartment took it, or may: every desk takes it.
    pub to_desk: bool,
    /// The parcel of which it is the return.
    pub return_of: Option<String>,
}

impl ParcelRow {
    /// Its state at a glance: why it goes back, if it waits for that, else [`Self::state`].
    pub fn shown_state(&self) -> &str {
        match (self.state.as_str(), &self.back) {
            ("deposited", Some(back)) => back,
            (state, _) => state,
        }
    }

    /// Whether it goes back instead of to its recipient, and hasn't gone yet.
    pub fn goes_back(&self) -> bool {
        self.back.is_some() && !self.finished()
    }

    /// Whether its life is over.
    pub fn finished(&self) -> bool {
        matches!(self.state.as_str(), "collected" | "retrieved" | "cancelled")
    }
}

/// A step in a parcel's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceRow {
    /// Rising in the order of what happened.
    pub id: i64,
    /// When.
    pub at_ms: i64,
    /// How far that time can be trusted.
    pub quality: String,
    /// What: `announced`, `code-issued`, `deposited`, …
    pub step: String,
    /// Who: `cloud`, `courier NAME`, `keypad bank-a`, `operator NAME`, `gateway`.
    pub who: String,
    /// More, in words.
    pub detail: Option<String>,
}

/// A command to open a compartment, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRow {
    /// Its id.
    pub id: String,
    /// The bank.
    pub bank: String,
    /// The compartment.
    pub compartment: u16,
    /// `deposit`, `collect`, `retrieve`, `by-hand`.
    pub purpose: String,
    /// For which parcel.
    pub parcel: Option<String>,
    /// By whose hand.
    pub operator: Option<String>,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// When it was made.
    pub at_ms: i64,
    /// How far that time can be trusted.
    pub quality: String,
    /// `requested`, `sent`, `done`, `opened`, `closed`, `refused`, `failed`, `expired`, `unknown`.
    pub state: String,
    /// What the device said to it.
    pub answer: Option<String>,
    /// When it left the box.
    pub sent_ms: Option<i64>,
    /// When its door was seen open.
    pub opened_ms: Option<i64>,
    /// When its door was seen closed again.
    pub closed_ms: Option<i64>,
}

/// A command in the ledger of all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// The command.
    #[serde(flatten)]
    pub command: CommandRow,
    /// By whom, as the parcel's history has it: `courier NAME`, `keypad bank-a`, `operator NAME`.
    pub who: Option<String>,
}

/// A keypad that is locked after wrong codes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedRow {
    /// The device that has the keypad.
    pub keypad: String,
    /// When it unlocks.
    pub until_ms: i64,
}

/// A door that was left open during a hand-over, so that its alarm was raised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOpenRow {
    /// The bank.
    pub bank: String,
    /// The compartment.
    pub compartment: u16,
    /// A parcel of that hand-over.
    pub parcel: String,
    /// Since when.
    pub since_ms: i64,
}

/// Parcels that wait to go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoingBack {
    /// How many.
    pub count: u64,
    /// Of these, how many are overdue: their recipients may still come.
    pub overdue: u64,
    /// Since when the one that waits longest has been there.
    pub oldest_ms: i64,
}

/// What the cloud said lately that couldn't be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudRefused {
    /// How much of it.
    pub count: u64,
    /// When the newest came.
    pub newest_ms: i64,
    /// Why that can't be done.
    pub newest_reason: String,
}

/// What in the hand-overs somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Concerns {
    /// Keypads that are locked now.
    pub locked: Vec<LockedRow>,
    /// Doors left open.
    pub left_open: Vec<LeftOpenRow>,
    /// Parcels that wait to go back, if any.
    pub going_back: Option<GoingBack>,
    /// What the cloud said in the last 24 h that couldn't be done, if anything.
    pub cloud_refused: Option<CloudRefused>,
}

/// A parcel with its whole history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParcelHistory {
    /// The parcel's facts.
    #[serde(flatten)]
    pub parcel: ParcelRow,
    /// Every step, oldest first.
    pub trace: Vec<TraceRow>,
    /// Every command to open for it, oldest first.
    pub commands: Vec<CommandRow>,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventRow {
    /// Rising in the order in which events were taken.
    pub id: i64,
    /// Who reported it.
    pub device: String,
    /// The device's boot.
    pub boot: u32,
    /// Its number in that boot.
    pub seq: u64,
    /// `access`, `reading`, `keypad`, …
    pub kind: String,
    /// When it happened.
    pub at_ms: i64,
    /// Whose word that is: `device`, `age`, `received`, `implausible`.
    pub at_by: String,
    /// When it was received.
    pub received_ms: i64,
    /// How far the box could trust its clock then.
    pub quality: String,
    /// The kind's own fields, without anything personal.
    pub body: serde_json::Value,
}

/// Some events, and how far they reach.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPage {
    /// In the order in which they were taken.
    pub events: Vec<EventRow>,
    /// Every wanted event up to this id was seen: go on after it.
    pub upto: i64,
    /// As many as were asked for, so there may be more.
    pub full: bool,
}

impl EventPage {
    pub(super) fn empty(upto: i64) -> Self {
        Self {
            events: Vec::new(),
            upto,
            full: false,
        }
    }
}

/// Something that couldn't be an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineRow {
    /// Rising.
    pub id: i64,
    /// When it was received.
    pub received_ms: i64,
    /// A device's id, or `cloud`.
    pub source: String,
    /// Where it was published.
    pub topic: String,
    /// Why it can't be an event.
    pub reason: String,
    /// How large it was.
    pub size_bytes: u64,
    /// Its beginning, with personal fields and digits masked.
    pub preview: String,
}

/// Where the lanes to the cloud stand.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LanesRow {
    /// The store's epoch.
    pub epoch: Option<u64>,
    /// Most urgent first.
    pub lanes: Vec<LaneRow>,
}

/// Where one lane to the cloud stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneRow {
    /// `fulfilment`, `health`, `demand`.
    pub lane: String,
    /// The last item that has its number: it was put into a batch.
    pub last_seq: u64,
    /// The last item that the cloud has for good.
    pub acked_seq: u64,
    /// Items that wait, with a number or without.
    pub waiting: u64,
    /// When the oldest of them was made.
    pub oldest_waiting_ms: Option<i64>,
}

/// Figures of the whole store.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StoreCounts {
    /// Events received from all devices since the store was made.
    pub received: u64,
    /// Of these, stored.
    pub stored: u64,
    /// Of these, seen before.
    pub duplicate: u64,
    /// Of these, put into quarantine.
    pub quarantined: u64,
    /// The newest event's id, 0 if there is none.
    pub newest_event_id: i64,
    /// When the oldest event still kept was received.
    pub oldest_event_ms: Option<i64>,
    /// When the newest event was received.
    pub newest_event_ms: Option<i64>,
    /// When something last went into quarantine.
    pub newest_quarantine_ms: Option<i64>,
    /// Parcels that aren't archived, by state.
    pub parcels: BTreeMap<String, u64>,
    /// The store's file with its write-ahead log.
    pub size_bytes: u64,
}
