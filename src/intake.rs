//! Where links hand over what devices say.
use bytes::Bytes;
use firmware_protocols::Ident;

/// What became of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// On disk: acknowledge.
    Taken,
    /// Malformed, kept in quarantine with its reason, on disk: acknowledge (MQTT 5: reason 0x99).
    Malformed(String),
    /// Not on disk (queue full, disk full, stopping): do not acknowledge (MQTT 5: reason 0x97; 3.1.1: close).
    NotTaken(String),
}

/// A handle for links. Cheap to clone.
#[derive(Clone)]
pub struct Intake;

impl Intake {
    /// The payload of one publication to the device's own event topic. Resolves once the outcome is on disk.
    pub async fn events(&self, _device: &Ident, _payload: Bytes) -> Answer {
        Answer::Taken
    }
    /// A publication of a logged-in device to a topic it may not publish to. Kept in quarantine.
    pub async fn foreign(&self, _device: &Ident, _topic: &str, _payload: Bytes) {}
    /// The device's link went up or down, or it published its status.
    pub fn presence(&self, _device: &Ident, _online: bool) {}
}
