//! One connection of a device to its gateway: over either version of MQTT, by the rumqttc crates, or
//! over the Linli link on a serial line.
//!
//! A connection is made anew each time: what isn't acknowledged is kept by the device's own outbox,
//! not by the MQTT client, as in firmware that must survive its own power cuts.

mod linli;
mod v4;
mod v5;

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use firmware_protocols::Ident;
use firmware_protocols::topic::{self, Channel};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::device::Spec;
use crate::{Version, Way};
pub use linli::Memory as LinkMemory;

/// What a connection says.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The gateway knows it, and commands and receipts reach it.
    Up,
    /// A message for this device.
    Message { channel: Channel, payload: Bytes },
    /// It is over.
    Down(String),
}

/// What became of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// Acknowledged.
    Taken,
    /// Acknowledged as malformed (0x99): kept in quarantine.
    Quarantined,
    /// Not taken now (0x97): it stays with the device.
    Full,
    /// Refused for another reason.
    Refused,
    /// The connection was lost before the answer.
    Lost,
}

/// The answer to a publication, to be awaited.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Told> + Send>>;

/// The client's queue has no room; the caller keeps the event and tries later.
#[derive(Debug)]
pub(crate) struct NoRoom;

/// What a protocol can do for a connection.
trait Client: Send + Sync {
    fn publish(&self, channel: Channel, payload: Vec<u8>) -> Result<Answer, NoRoom>;
    fn disconnect(&self);
}

/// A connection. Dropping it closes the socket without a DISCONNECT, so the will is published; a
/// serial line falls silent.
pub(crate) struct Link {
    client: Box<dyn Client>,
    heard: mpsc::Receiver<Heard>,
    pump: JoinHandle<()>,
}

/// Publications that wait in the client; beyond it [`NoRoom`].
const REQUESTS_MAX: usize = 128;
/// Messages that wait for the device; beyond it the connection reads no further.
const HEARD_MAX: usize = 64;
/// The largest packet in either direction, bytes: a payload of 64 KiB and its topic.
const PACKET_MAX_BYTES: u32 = 66_000;
const KEEP_ALIVE_S: u16 = 30;

impl Link {
    /// Starts to connect; [`Heard::Up`] or [`Heard::Down`] comes first.
    pub(crate) fn open(way: &Way, spec: &Spec, boot: u32) -> Self {
        let (says, heard) = mpsc::channel(HEARD_MAX);
        let login = &spec.login;
        let (client, pump) = match (way, spec.version) {
            (Way::Broker(broker), Version::V311) => v4::open(*broker, login, says),
            (Way::Broker(broker), Version::V5) => v5::open(*broker, login, says),
            (Way::Line(line), _) => linli::open(line, spec, boot, says),
        };
        Self {
            client,
            heard,
            pump,
        }
    }

    /// What comes next.
    pub(crate) async fn heard(&mut self) -> Heard {
        let closed = || Heard::Down("closed".to_string());
        self.heard.recv().await.unwrap_or_else(closed)
    }

    /// Says something on one of the device's own channels; over MQTT it is published at QoS 1.
    pub(crate) fn publish(&self, channel: Channel, payload: Vec<u8>) -> Result<Answer, NoRoom> {
        self.client.publish(channel, payload)
    }

    /// Says goodbye and waits until the connection is over, two seconds at most.
    pub(crate) async fn close(mut self) {
        self.client.disconnect();
        let over = async { while !matches!(self.heard().await, Heard::Down(_)) {} };
        let _ = tokio::time::timeout(Duration::from_secs(2), over).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// The device's own topics that it listens to.
fn own_topics(device: &Ident) -> [String; 2] {
    [Channel::Command, Channel::Receipt].map(|channel| channel.topic(device))
}

/// A message, if it is on one of our topics.
fn message(topic: &[u8], payload: Bytes) -> Option<Heard> {
    let (_, channel) = topic::parse(std::str::from_utf8(topic).ok()?)?;
    Some(Heard::Message { channel, payload })
}
