//! Finds out what hangs on a port, for `linli serial scan`.
//!
//! First it listens: on a line with traffic of its own nothing is sent. Then it asks each protocol's
//! devices, address by address, for something that changes nothing: a status, a register, what they
//! are. What answers is asked once more before it counts, since a check of eight bits lets noise pass
//! now and then.
//!
//! * `plan` — what is asked, in which order, and how long that takes at most. Pure.
//! * `request` — the requests, and what counts as their answer. Pure.
//! * `overhear` — what a line with traffic of its own speaks. Pure.
//! * `run` — the port itself.
//!
//! Invariant: no request that can be planned opens, switches or sets anything, whatever protocol the
//! devices on the line really speak (`request`'s tests).

pub mod overhear;
pub mod plan;
pub mod request;
pub mod run;

pub use overhear::Overheard;
pub use plan::{Plan, Wanted};
pub use run::{Progress, scan};

use crate::config::serial::{Parity, Protocol};

/// How the bytes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Rate {
    /// Bits a second.
    pub baud: u32,
    /// Whether an even parity bit is sent; else none.
    pub even: bool,
}

impl Rate {
    /// Without a parity bit.
    pub const fn plain(baud: u32) -> Self {
        Self { baud, even: false }
    }

    /// The word of the configuration.
    pub const fn parity(self) -> Parity {
        match self.even {
            true => Parity::Even,
            false => Parity::None,
        }
    }
}

/// Something that answered.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// What it speaks.
    pub protocol: Protocol,
    /// How fast.
    #[serde(flatten)]
    pub rate: Rate,
    /// Its address.
    pub address: u8,
    /// What it says of itself, in words.
    pub says: String,
}

/// Bytes that came instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Unreadable {
    /// What was asked.
    pub protocol: Protocol,
    /// How fast.
    #[serde(flatten)]
    pub rate: Rate,
    /// Who was asked.
    pub address: u8,
    /// How many bytes came.
    pub bytes: usize,
}

/// What a scan came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Outcome {
    /// What the line spoke by itself; then nothing was asked.
    pub overheard: Option<Overheard>,
    /// What answered, in the order in which it was asked.
    pub found: Vec<Finding>,
    /// What came and couldn't be read; the first [`UNREADABLE_MAX`].
    pub unreadable: Vec<Unreadable>,
    /// The adapter hears what it sends.
    pub echo: bool,
    /// Requests that were sent.
    pub asked: u64,
    /// Everything that was planned was tried, or left out because the rate was found.
    pub complete: bool,
}

/// How many answers that can't be read are kept.
pub const UNREADABLE_MAX: usize = 32;

impl Outcome {
    /// Whether the findings contradict each other: a line has one protocol and one rate.
    pub fn is_ambiguous(&self) -> bool {
        let mut kinds = self.found.iter().map(|found| (found.protocol, found.rate));
        let Some(first) = kinds.next() else {
            return false;
        };
        kinds.any(|kind| kind != first)
    }
    /// Whether it is known what the line speaks, though nobody was asked.
    pub fn is_understood(&self) -> bool {
        let heard = self.overheard.as_ref();
        heard.is_some_and(|heard| heard.protocol.is_some())
    }
}
