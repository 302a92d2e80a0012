//! Simulated serial devices: locker boards, a Modbus slave, scanners that type lines; on
//! pseudo-terminals with a line in between that takes its time and has faults.
//!
//! * [`Wire`] — a port: a stable path, a pseudo-terminal behind it, a line with [`Faults`].
//! * [`Board`] — a locker board of the market, over a bank's [`crate::compartments::Compartments`].
//! * [`ModbusSlave`] — registers, inputs, and relays with a board-timed flash.
//! * [`LineDevice`] — a scanner or keypad that types lines.
//! * [`Outlet`] — a place for a device that lives elsewhere: one that speaks the Linli link.
//! * [`Onlooker`] — hears all that goes over a wire, and keeps what was shown there.
//! * [`Slave`] — what hangs on a wire, for devices of one's own.
//!
//! All are written from what is known of the devices, and share no code with the gateway's drivers:
//! what both read wrong in the same way would else be right in the tests.

pub mod board;
pub mod eight_a;
pub mod kerong;
mod line;
pub mod lines;
pub mod modbus;
pub mod onlooker;
pub mod outlet;
mod pty;
pub mod wire;
pub mod wkly;

use std::time::{Duration, Instant};

pub use board::{Board, BoardSpec, Pulse, Quirk};
pub use line::Faults;
pub use lines::LineDevice;
pub use modbus::{ModbusSlave, Relays};
pub use onlooker::Onlooker;
pub use outlet::Outlet;
pub use wire::{Settings, Waker, Wire};

/// What a device says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Say {
    /// How long it thinks before that.
    pub after: Duration,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What hangs on a wire. On a line with several every one hears what the others say.
pub trait Slave: Send {
    /// It is connected; `waker` has the wire look at [`Self::due`] again.
    fn connected(&mut self, waker: Waker) {
        let _ = waker;
    }

    /// A byte came, whole at `at`. Returns what it says to that.
    fn hear(&mut self, byte: u8, at: Instant) -> Option<Say>;

    /// The same, with whether the gateway sent it, for who looks on and wants to know.
    fn hear_from(&mut self, gateway: bool, byte: u8, at: Instant) -> Option<Say> {
        let _ = gateway;
        self.hear(byte, at)
    }

    /// When it wants to do something without being asked; `None` for never.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// It is due. Returns what it says.
    fn act(&mut self, now: Instant) -> Option<Say> {
        let _ = now;
        None
    }
}
