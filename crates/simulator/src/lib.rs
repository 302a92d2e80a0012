//! A simulated estate: devices that speak real MQTT or the Linli link, the people in front of them, and faults.
//!
//! * [`Device`] — a device with an outbox and a record of its own, over MQTT 3.1.1 or 5,
//!   or the Linli link; faults.
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
use std::net::SocketAddr;
use std::path::PathBuf;

use firmware_protocols::Ident;

pub use bank::Bank;
pub use desk::Desk;
pub use device::Device;
pub use latency::Latency;
pub use link::LinkMemory;
pub use load::Load;
pub use random::Random;
pub use tempo::Tempo;
pub use witness::{Sight, Witness};
pub use world::World;

/// How a device reaches the gateway.
#[derive(Debug, Clone)]
pub enum Way {
    /// Over MQTT, by this broker.
    Broker(SocketAddr),
    /// Over the Linli link.
    Line(Line),
}

impl From<SocketAddr> for Way {
    fn from(broker: SocketAddr) -> Self {
        Self::Broker(broker)
    }
}

impl From<Line> for Way {
    fn from(line: Line) -> Self {
        Self::Line(line)
    }
}

/// A device's end of a serial line.
#[derive(Debug, Clone)]
pub struct Line {
    /// Where it is.
    pub port: Port,
    /// Bits a second.
    pub baud: u32,
    /// The device's address on the line.
    pub address: u8,
    /// It shares the line, and speaks only when it is polled.
    pub multi_drop: bool,
    /// What the device remembers of its link while it runs.
    pub memory: LinkMemory,
}

impl Line {
    /// A line of its own, at 115,200 bits a second, with address 1.
    pub fn new(port: Port) -> Self {
        Self {
            port,
            baud: 115_200,
            address: 1,
            multi_drop: false,
            memory: LinkMemory::default(),
        }
    }
}

/// Where a device's serial line ends.
#[derive(Debug, Clone)]
pub enum Port {
    /// At a device file.
    Path(PathBuf),
    /// At a simulated wire.
    Outlet(serial::Outlet),
}

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
    /// The link's own acknowledgement: the PUBACK of the gateway's embedded broker, or that of the
    /// Linli link.
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
