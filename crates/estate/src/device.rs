//! Devices: what they are, and the ledger of what was received from them.

use alloc::string::String;
use alloc::vec::Vec;

use firmware_protocols::{Form, Ident};

/// A device's ledger and description.
///
/// Invariant: `received = stored + duplicate + quarantined`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRow {
    /// Its id.
    pub device: Ident,
    /// The encoding that it last spoke.
    pub form: Form,
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
    /// When it was last heard, ms since the Unix epoch.
    pub last_heard_ms: i64,
    /// From its hello: model.
    pub model: Option<String>,
    /// From its hello: firmware.
    pub firmware: Option<String>,
    /// From its hello: capabilities.
    pub capabilities: Vec<String>,
}

/// The most ranges kept ahead of a gap. Beyond it the lowest gap is given up (see [`BootRow`]).
pub const RANGES_MAX: usize = 64;

/// The most boots of one device from which events are taken.
pub const BOOTS_MAX: usize = 8;

/// The most boots of one device that are kept beyond [`BOOTS_MAX`], closed: only to know their
/// events again.
pub const BOOTS_CLOSED_MAX: usize = 8;

/// How far one boot of a device has been received: what dedupe and receipts rest on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootRow {
    /// The device.
    pub device: Ident,
    /// Its boot.
    pub boot: u32,
    /// Everything up to here is stored, or named in `given_up`.
    pub upto: u64,
    /// Ranges (first, last) received beyond a gap, rising, not touching.
    pub ahead: Vec<(u64, u64)>,
    /// Ranges given up so that the list stays bounded, rising. An event that still comes for one
    /// of them can't be told from a duplicate any more, so it goes to quarantine, not away. A range
    /// up to `u64::MAX` closes the boot.
    pub given_up: Vec<(u64, u64)>,
    /// The fingerprint of event 1: when another event 1 comes, the device uses its boot number twice.
    pub first: Option<u64>,
    /// The device was seen to use this boot number twice; from then on what looks like a duplicate
    /// goes to quarantine instead.
    pub reused: bool,
    /// The tick at which it was last heard: the longest silent boot is closed first.
    pub heard_tick_ms: u64,
}
