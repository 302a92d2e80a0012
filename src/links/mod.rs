//! How devices reach us. Links know the journal's inbox and not each other.

pub mod embedded;
pub mod entrance;
pub mod external;
pub mod mapped;
pub mod serial;
pub mod voice;

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use firmware_protocols::Ident;
use firmware_protocols::topic::Channel;

use crate::intake::{Answer, Intake};

/// How many messages may wait for the links. Beyond it the journal drops and counts them: a receipt
/// comes again with the next event, a command runs out and the person tries again.
pub const OUTBOUND_MAX: usize = 4_096;

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
    /// The id, if it is a command to open: the link says when it was handed over.
    pub open: Option<String>,
}

/// Where a link hands over what devices say.
#[async_trait]
pub trait DeviceIntake: Send + Sync + 'static {
    /// The payload of one publication to the device's own event topic. Resolves once the outcome
    /// is on disk; the link acknowledges after that, and not before.
    async fn events(&self, device: &Ident, payload: Bytes) -> Answer;
    /// A publication, or a will, of a logged-in device that it may not publish. Cut to
    /// [`embedded::limits::FOREIGN_TOPIC_MAX_BYTES`] and [`embedded::limits::FOREIGN_PAYLOAD_MAX_BYTES`].
    async fn foreign(&self, device: &Ident, topic: &str, payload: Bytes);
    /// A payload of a device that its profile's program can't map. Kept in quarantine with the reason;
    /// cut like the above. Resolves once that is on disk, or can't be.
    async fn unmapped(
        &self,
        device: &Ident,
        topic: &str,
        _reason: String,
        payload: Bytes,
    ) -> Answer {
        self.foreign(device, topic, payload).await;
        Answer::Taken
    }
    /// The device's link went up or down, or it said so itself. Called under a lock: must not
    /// block.
    fn presence(&self, device: &Ident, online: bool);
    /// A command to open was handed to its device.
    fn command_sent(&self, command: String);
}

#[async_trait]
impl DeviceIntake for Intake {
    async fn events(&self, device: &Ident, payload: Bytes) -> Answer {
        Intake::events(self, device, payload).await
    }
    async fn foreign(&self, device: &Ident, topic: &str, payload: Bytes) {
        Intake::foreign(self, device, topic, payload).await;
    }
    async fn unmapped(
        &self,
        device: &Ident,
        topic: &str,
        reason: String,
        payload: Bytes,
    ) -> Answer {
        Intake::unmapped(self, device, topic, reason, payload).await
    }
    fn presence(&self, device: &Ident, online: bool) {
        Intake::presence(self, device, online);
    }
    fn command_sent(&self, command: String) {
        Intake::command_sent(self, command);
    }
}

/// Whether a link works, for `linli status`.
#[derive(Debug, Default)]
pub struct LinkStatus(Mutex<LinkState>);

/// Whether a link works.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LinkState {
    /// It hasn't worked yet.
    #[default]
    Starting,
    /// It works.
    Up,
    /// It doesn't, and why.
    Down(String),
}

impl LinkStatus {
    /// How it is.
    pub fn state(&self) -> LinkState {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// It works.
    pub fn up(&self) {
        self.set(LinkState::Up);
    }

    /// It doesn't.
    pub fn down(&self, why: &str) {
        self.set(LinkState::Down(why.to_owned()));
    }

    fn set(&self, state: LinkState) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}
