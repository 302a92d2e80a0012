//! What gateway and cloud say to each other: the sync API.
//!
//! Bodies travel as CBOR or JSON and are read through the same bounded, strict tree as device
//! payloads ([`firmware_protocols::value`]). The crate does no I/O and knows no clock.
//!
//! * [`uplink`] — lanes, items, batches and their answer.
//! * [`received`] — a batch as the receiving side sees it.
//! * [`downlink`] — what the cloud tells the gateway.
//! * [`chain`] — the hash chain over a lane's items.
//! * [`code`] — a pickup code on its way to its resident.
//! * [`enrol`] — enrolment, the change of a gateway's key, and what the cloud says of a gateway.
//! * `secure` — signatures, sealing, compression (feature `secure`, which needs `std`).
//! * [`problem`] — RFC 9457 problems and their types.
#![no_std]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

extern crate alloc;

#[cfg(feature = "secure")]
extern crate std;

pub mod chain;
pub mod code;
pub mod downlink;
pub mod enrol;
pub mod problem;
mod read;
pub mod received;
#[cfg(feature = "secure")]
pub mod secure;
pub mod uplink;

pub use chain::Chain;
pub use code::{CodeForResident, SealedCode, SealingKey};
pub use downlink::{Downlink, DownlinkItem};
pub use enrol::{Enrolment, GatewayView, KeyChange, LaneView};
pub use problem::{Problem, ProblemType};
pub use received::Received;
pub use uplink::{Acked, Batch, Item, Lane, LaneBatch, Report};

/// The media type of CBOR bodies (RFC 8949).
pub const CBOR: &str = "application/cbor";
/// The media type of JSON bodies (RFC 8259).
pub const JSON: &str = "application/json";
/// The media type of problems (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The largest sequence number, epoch or time: 2⁵³ − 1, so that every JSON reader holds it exactly.
pub const NUMBER_MAX: u64 = (1 << 53) - 1;

/// The largest body of a request or an answer, in bytes.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;

/// The longest that a request may ask a long poll to wait, in seconds; more counts as this.
pub const WAIT_MAX_SECONDS: u64 = 600;

/// The domain that separates the digest of a courier's badge from any other SHA-256.
pub const BADGE_DOMAIN: &[u8] = b"linli/v1/badge\0";

/// The digest by which gateway and cloud know a badge: SHA-256 over [`BADGE_DOMAIN`] and the
/// badge's symbol in UTF-8.
pub fn badge_digest(symbol: &str) -> [u8; 32] {
    use sha2::Digest as _;
    let mut hash = sha2::Sha256::new();
    hash.update(BADGE_DOMAIN);
    hash.update(symbol.as_bytes());
    hash.finalize().into()
}
