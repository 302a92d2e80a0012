//! The rules of the estate: devices, compartments, parcels, pickup codes, lockout, demand.
//!
//! [`Estate`] is a plain value. It does no I/O and has no clock and no randomness of its own: both
//! come in with each input ([`Context`]), so a day can be replayed and a million days simulated.
//! The crate is `no_std`: the compiler proves that it can't touch the world.
//!
//! The order of calls, kept by the one who owns the estate (the journal):
//!
//! 1. [`Estate::load`] once, from what is on disk.
//! 2. For each input [`Estate::handle`]: changes memory, returns a verdict and the effects.
//! 3. After a batch of inputs [`Estate::take_changes`]: what must be written, coalesced.
//! 4. Once that is on disk: the effects, and [`Estate::take_receipts`].
//! 5. If writing failed: drop the estate and [`Estate::load`] again.
//!
//! Invariant: nothing that `handle` does can be seen outside before its changes are on disk.
//! Invariant: loading never causes an effect, so nothing fires again after a restart.
#![no_std]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

extern crate alloc;

pub mod announce;
pub mod bank_codes;
mod cancel;
pub mod change;
pub mod claim;
pub mod code;
mod collect;
pub mod command;
pub mod compartment;
pub mod context;
mod courier;
pub mod demand;
mod deposit;
mod desk;
pub mod device;
mod doors;
mod estate;
pub mod freshness;
mod hours;
pub mod input;
pub mod keypad;
mod keypad_entry;
pub mod layout;
mod ledger;
mod load;
mod mislaid;
pub mod opening;
mod overdue;
pub mod parcel;
mod places;
mod placing;
mod relayout;
mod results;
mod retries;
mod retrieval;
mod returns;
pub mod settings;
mod settle;
pub mod sweep;
mod text;
mod tracked;
mod transfer;
mod turn;
mod unlisted;
mod upkeep;

pub use change::{Change, Snapshot};
pub use context::{Context, Deadline, Digest, Now, TimeQuality};
pub use estate::Estate;
pub use input::{DeviceEvent, Effect, Happening, Input, Outcome, Told, Typed, Verdict};
pub use layout::Layout;
pub use places::LoadError;
pub use relayout::{Occupied, RelayoutError};
