//! What devices and the gateway say to each other, whatever carries it.
//!
//! The crate holds the vocabulary of the wire: identifiers, topics, events, commands, receipts, and
//! their two encodings, CBOR (RFC 8949) and JSON (RFC 8259). It does no I/O and knows no clock, so
//! the gateway, the simulator and firmware share one definition.
//!
//! * [`value`] — the bounded tree both encodings are read into: duplicate keys are refused there.
//! * [`event`] — what devices report.
//! * [`command`] — what devices are asked to do, and the receipt they get.
//! * [`topic`] — where it travels on MQTT.
//! * [`frame`] — how frames are told from a stream of bytes on a serial line.
//! * [`link`] — the Linli link, our own protocol for serial lines.
//! * [`boards`] — locker boards of the market.
//!
//! Invariant: no byte string from outside makes anything in here panic, and the work done for a
//! payload is bounded by its length.
#![no_std]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

extern crate alloc;

pub mod boards;
pub mod command;
pub mod event;
pub mod fields;
pub mod frame;
pub mod ident;
pub mod link;
pub mod senml;
pub mod topic;
pub mod value;

pub use command::{Command, Order, Receipt, Tone};
pub use event::{Event, Kind};
pub use ident::{Ident, Slot};
pub use value::{Form, Value};

/// The largest payload that is looked at, in bytes. Larger ones are malformed.
pub const PAYLOAD_MAX_BYTES: usize = 64 * 1024;

/// The most events one payload may carry.
pub const EVENTS_PER_PAYLOAD_MAX: usize = 256;
