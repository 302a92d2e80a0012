//! A simulated estate: devices that speak real MQTT, the people in front of them, and faults.
//!
//! * [`Device`] — a device with an outbox and a record of its own, over MQTT 3.1.1 or 5; faults.
//! * [`Bank`], [`Desk`] — points with keypad, scanner, display; [`reading`] — what sensors send.
//! * [`World`] — the estate: its points and devices, and where every parcel really is.
//! * [`people`] — couriers who bring and take back, residents who collect and return, a stranger,
//!   passers-by; [`Witness`] — who looks on.
//! * [`serial`] — locker boards, a Modbus slave and scanners on pseudo-terminals, with the line's faults.
//! * [`Load`] — many connections that publish and keep a record of what was acknowledged.
//!
//! Everything random comes from a seed ([`Random`]), everything timed from a [`Tempo`]; what is
//! measured ([`Latency`]) is real time.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod bank;
pub mod compartments;
pub mod desk;
pub mod device;
pub mod front;
pub mod latency;
mod link;
pub mod load;
pub mod people;
pub mod random;
pub mod reading;
pub mod serial;
pub mod tempo;
pub mod witness;
pub mod world;

use std::fmt;

use firmware_protocols::Ident;

pub use bank::Bank;
pub use desk::Desk;
pub use device::Device;
pub use latency::Latency;
pub use load::Load;
pub use random::Random;
pub use tempo::Tempo;
pub use witness::{Sight, Witness};
pub use world::World;

/// The version of MQTT that a device speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.
    V5,
}

/// What tells a device that an event is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// The PUBACK: with the gateway's embedded broker.
    Puback,
    /// The gateway's receipt: with any other broker.
    Receipt,
}

/// How a device logs in: its id is its user name and its client id.
#[derive(Clone)]
pub struct Login {
    /// Its id.
    pub device: Ident,
    /// Its password; `None` to log in without user name and password.
    pub password: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({})", self.device)
    }
}
