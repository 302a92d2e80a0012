//! Compartments: what each one is used for, and what its sensors say.

use alloc::string::String;
use alloc::vec::Vec;

use firmware_protocols::Slot;
use firmware_protocols::event::Door;

/// A compartment's state. Its size and zone stand in the layout.
///
/// Invariant: all that is in it, and what is coming into it, is for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompartmentRow {
    /// Which one.
    pub slot: Slot,
    /// The parcels that are in it, in the order in which they came.
    pub contents: Vec<String>,
    /// The parcel whose deposit into it is under way.
    pub reserved: Option<String>,
    /// What the door's sensor last said.
    pub door: Door,
    /// What the occupancy sensor last said; `None` if it never did, or there is none.
    pub occupied: Option<bool>,
    /// Why nothing is put in: an open that failed. Ends when the door is seen open.
    pub fault: Option<String>,
    /// Why nothing is put in: a technician's word. Ends by a technician's word.
    pub disabled: Option<String>,
    /// How often it was told to open: wear is spread evenly.
    pub openings: u64,
}

impl CompartmentRow {
    /// One that was never used.
    pub const fn new(slot: Slot) -> Self {
        Self {
            slot,
            contents: Vec::new(),
            reserved: None,
            door: Door::Unknown,
            occupied: None,
            fault: None,
            disabled: None,
            openings: 0,
        }
    }

    /// Whether it holds nothing and is kept for nothing.
    pub const fn is_free(&self) -> bool {
        self.contents.is_empty() && self.reserved.is_none()
    }

    /// Whether something should lie in it behind a closed door, and the sensor says that it doesn't.
    pub fn is_said_empty(&self) -> bool {
        !self.contents.is_empty() && self.door == Door::Closed && self.occupied == Some(false)
    }

    /// What it is used for, in a word: `nothing`, `reserved`, `parcel`.
    pub const fn use_word(&self) -> &'static str {
        match (self.contents.is_empty(), &self.reserved) {
            (false, _) => "parcel",
            (true, Some(_)) => "reserved",
            (true, None) => "nothing",
        }
    }
}
