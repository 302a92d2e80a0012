//! Serial ports of the real daemon, over pseudo-terminals.
//!
//! * `bed` — the daemon, its configuration, and the far ends of its lines.
//! * `modbus_peer` — pymodbus at the far end: sensors, a relay board.
//! * `faults` — ports that are away, taken, garbled, pulled out and put in again.
//! * `osdp_config` — what must be right in the configuration of an OSDP reader.
//! * `osdp_peer` — OSDP readers by libosdp, from PyPI.
//! * `reload` — a new configuration while they run.
//! * `technician` — ports scanned and listened to from the command line.
//! * `typed` — scanners and keypads that type lines.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bed;
mod faults;
mod modbus_peer;
mod osdp_config;
#[cfg(feature = "osdp")]
mod osdp_peer;
mod reload;
mod technician;
mod typed;
