//! How devices reach us.
pub mod embedded;

use bytes::Bytes;
use firmware_protocols::Ident;
use firmware_protocols::topic::Channel;

/// A message for a device, encoded, sent only after the commit that caused it.
#[derive(Debug, Clone)]
pub struct ToDevice {
    /// The device.
    pub device: Ident,
    /// `Command` or `Receipt`.
    pub channel: Channel,
    /// CBOR or JSON.
    pub payload: Bytes,
    /// How long a broker may hold it, ms (message expiry interval, commands only).
    pub expiry_ms: Option<u64>,
}
