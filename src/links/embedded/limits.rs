//! The bounds on what a client may do, in one place. All of them are fixed: a device that keeps to
//! the protocol never meets one.

use std::num::NonZeroU16;

/// The largest packet after login, in bytes: a payload of 64 KiB, its topic and properties.
pub const PACKET_MAX_BYTES: u32 = 70_000;
/// The deepest topic. Ours have 4 levels.
pub const TOPIC_LEVELS_MAX: usize = 8;
/// How many messages may wait for their acknowledgement, in each direction.
pub const IN_FLIGHT: u16 = 64;
/// How many messages may wait for a device whose window is full. The oldest is dropped for the
/// next.
pub const QUEUE_MAX: usize = 64;
/// How many topics a device may subscribe to. There are 3.
pub const SUBSCRIPTIONS_MAX: usize = 8;
/// The shortest keep-alive, in seconds. Shorter ones are raised to it.
pub const KEEP_ALIVE_MIN_S: u16 = 5;
/// The longest keep-alive, in seconds, and what a client gets that wants none. A link without a
/// sign of life for 1.5 times its keep-alive is closed.
pub const KEEP_ALIVE_MAX_S: u16 = 3600;
/// What the library counts as keep-alive: as good as none, since the door counts.
pub(super) const KEEP_ALIVE_BEHIND_S: u16 = u16::MAX;
/// How much of a publication to a foreign topic is kept, in bytes.
pub const FOREIGN_PAYLOAD_MAX_BYTES: usize = 4096;
/// How much of a foreign topic is kept, in bytes.
pub const FOREIGN_TOPIC_MAX_BYTES: usize = 256;
/// How many logged-in clients are connected through at a time. The others wait their turn.
pub(super) const ENTERING_MAX: usize = 8;
/// How many handshakes the broker behind lets run at a time.
pub(super) const HANDSHAKES_MAX: usize = 64;
/// How many handshakes may wait for that.
pub(super) const SESSIONS_MAX: usize = 10_000;

pub(super) fn in_flight() -> NonZeroU16 {
    NonZeroU16::new(IN_FLIGHT).unwrap_or(NonZeroU16::MIN)
}
