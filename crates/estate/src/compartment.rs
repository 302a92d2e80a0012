//! Compartments: what each one is used for, and what its sensors say.

use alloc::string::String;

use firmware_protocols::Slot;
use firmware_protocols::event::Door;

/// A compartment's state. Its size and zone stand in the layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompartmentRow {
    /// Which one.
    pub slot: Slot,
    /// What it is used for.
    pub holds: Holds,
    /// What the door's sensor last said.
    pub door: Door,
    /// What the occupancy sensor last said; `None` if it never did, or there is none.
    pub occupied: Option<bool>,
    /// Why nothing is put in: an open that failed. Ends when the door is seen open.
    pub fault: Option<String>,
    /// How often it was told to open: wear is spread evenly.
    pub openings: u64,
}

/// What a compartment is used for. One parcel at most, by construction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Holds {
    /// Nothing.
    #[default]
    Nothing,
    /// Kept for a parcel whose deposit is under way.
    Reserved {
        /// The parcel.
        parcel: String,
    },
    /// A parcel.
    Parcel {
        /// The parcel.
        parcel: String,
    },
}
