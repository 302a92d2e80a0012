//! Pickup codes: issued, live, resting.

use alloc::string::String;

use firmware_protocols::Ident;

use crate::Digest;

/// A code of a point, by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeRow {
    /// The point.
    pub point: Ident,
    /// The keyed digest of its digits.
    pub digest: Digest,
    /// How many digits it has.
    pub digits: u8,
    /// Live or dead.
    pub state: CodeState,
}

/// Whether a code is good for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeState {
    /// Good for this parcel, from its deposit on.
    Live {
        /// The parcel.
        parcel: String,
    },
    /// Dead; not given again until then.
    Resting {
        /// The end of its rest, in ticks.
        until_tick_ms: u64,
    },
}
