//! The Linli link: our own protocol for devices on a UART or on RS-485. `LINK.md` specifies it.
//!
//! A frame is COBS between two zero bytes: a header of ten bytes, a payload, a CRC-32. The device's
//! events and the gateway's commands travel in it exactly as over MQTT. The acknowledgement of events
//! slides, and means 'on disk'.
//!
//! * [`cobs`] — bytes without a zero.
//! * [`wire`] — a frame, and how it is told from a stream of bytes.
//! * [`hello`] — what both sides say of themselves before anything else.
//! * [`gateway`] — the gateway's side for one device; [`commands`] is what it has for it.
//! * [`device`] — the device's side; the reference in `c/` does the same.
//!
//! Both sides do no I/O and know no clock: whoever drives them hands over frames and the time, in
//! milliseconds of any clock that only runs forward, and asks for what is to be sent.

pub mod cobs;
pub mod commands;
pub mod device;
pub mod gateway;
pub mod hello;
pub mod wire;

pub use commands::ToSend;
pub use device::{Device, Outbox};
pub use gateway::{Gateway, Ticket};
pub use hello::{Hello, Welcome};
pub use wire::{Frame, Kind, Link};

/// The version of the protocol that this speaks.
pub const VERSION: u8 = 1;

/// The most bytes in the payload of a frame.
pub const PAYLOAD_MAX_BYTES: usize = 1_024;

/// The least that a side may name as its own limit.
pub const PAYLOAD_LEAST_BYTES: usize = 256;

/// The most frames with events that may be unacknowledged.
pub const WINDOW_MAX: u8 = 8;

/// The largest command there is.
pub const COMMAND_MAX_BYTES: usize = crate::PAYLOAD_MAX_BYTES;

/// The highest address of a device; the lowest is 1.
pub const ADDRESS_MAX: u8 = 126;

/// Point to point: after so long without a frame to send the gateway sends one that asks for an
/// answer.
pub const BEAT_MS: u64 = 2_000;

/// After so long without a frame from it the other side counts as gone.
pub const ALIVE_MS: u64 = 6_000;

/// How often the gateway asks a device for its hello, point to point.
pub const ASK_MS: u64 = 1_000;

/// How long the gateway waits after the disk refused, before it wants the events again.
pub const REFUSED_MS: u64 = 1_000;

/// How long a device waits that was told that the gateway is busy, if it hears nothing more.
pub const BUSY_MS: u64 = 5_000;

/// The first and the longest pause between two hellos that nobody answers, point to point.
pub const HELLO_MS: (u64, u64) = (500, 8_000);

/// The longest pause before unacknowledged events are sent again, point to point.
pub const AGAIN_LONGEST_MS: u64 = 16_000;

/// How long a frame with so many bytes of payload takes on the line, at eight bits, no parity and
/// one stop bit, ms, rounded up.
pub const fn frame_ms(payload: usize, baud: u32) -> u64 {
    let bits = (wire::frame_bytes(payload) as u64) * 10 * 1_000;
    let baud = if baud == 0 { 1 } else { baud as u64 };
    bits.div_ceil(baud)
}

/// Point to point: after so long without an acknowledgement something is sent again, ms. The other
/// side may be in the middle of its longest frame.
pub const fn again_ms(baud: u32) -> u64 {
    200 + 2 * frame_ms(PAYLOAD_MAX_BYTES, baud)
}

/// The time by which `one` is later than `other`, if it is. Numbers of frames go round at 65,536.
pub(crate) const fn later(one: u16, other: u16) -> bool {
    one != other && one.wrapping_sub(other) < 0x8000
}
