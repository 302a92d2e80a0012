//! Serial ports of the real daemon, over pseudo-terminals.
//!
//! * `bed` — the daemon, its configuration, and the far ends of its lines.
//! * `modbus_peer` — pymodbus at the far end: sensors, a relay board.
//! * `faults` — ports that are away, taken, garbled, pulled out and put in again.
//! * `typed` — scanners and keypads that type lines.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bed;
mod faults;
mod modbus_peer;
mod typed;
