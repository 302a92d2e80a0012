//! Where links hand over what devices say: decoded, everything personal digested, then on to the
//! journal. The answer comes once the outcome is on disk.
//!
//! Invariant: digits, credentials and households pass no further than this module as they are.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use bytes::Bytes;
use estate::{Happening, Layout, TimeQuality, Typed};
use firmware_protocols::event::Secret;
use firmware_protocols::value::map;
use firmware_protocols::{Form, Ident, event};
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::journal::{Inbox, NotTaken, Work};
use crate::keys::{CodeKey, DayKeys};
use crate::pace::{Pace, Weight};
use crate::presence::Presence;
use crate::store::write::QuarantineRow;

mod preview;
mod reader;
mod weight;

use reader::quarantine_row;
pub use reader::{Decoded, Pieces, Reader};
pub(crate) use weight::is_urgent;
use weight::{numbers, weigh};

/// What became of a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// On disk: acknowledge.
    Taken,
    /// Malformed, kept in quarantine with its reason, on disk: acknowledge (MQTT 5: reason 0x99).
    Malformed(String),
    /// Not on disk: do not acknowledge (MQTT 5: reason 0x97; MQTT 3.1.1: close).
    NotTaken(String),
}

/// One part of a payload.
#[derive(Debug)]
pub enum Piece {
    /// An event.
    Event(Prepared),
    /// What couldn't be read as one.
    Malformed {
        /// Its boot and number in that boot, if they could be read.
        number: Option<(u32, u64)>,
        /// What is kept of it.
        row: QuarantineRow,
    },
}

/// An event with everything personal digested, ready for the journal.
#[derive(Debug)]
pub struct Prepared {
    /// The device's boot.
    pub boot: u32,
    /// Its number in that boot.
    pub seq: u64,
    /// The kind's word.
    pub kind: &'static str,
    /// When it happened, ms since the Unix epoch.
    pub at_ms: i64,
    /// Whose word that is.
    pub at_by: &'static str,
    /// See [`estate::DeviceEvent::said_ms`].
    pub said_ms: Option<i64>,
    /// When it was received, ms since the Unix epoch.
    pub received_ms: i64,
    /// How far that can be trusted.
    pub quality: TimeQuality,
    /// See [`estate::DeviceEvent::fingerprint`].
    pub fingerprint: u64,
    /// What it says.
    pub what: Said,
    /// For the store: a CBOR map of the kind's own fields. Empty for a scan, whose body is made
    /// once it is known whether the symbol is a parcel's.
    pub body: Vec<u8>,
}

/// What an event says.
#[derive(Debug)]
pub enum Said {
    /// Ready for the estate.
    Happening(Happening),
    /// A symbol: a parcel's id may be kept, a badge is only kept as a digest. The estate knows
    /// which it is.
    Scan(Secret),
}

impl Prepared {
    /// Completes a scan: `known` tells a parcel's id from any other symbol.
    pub fn settle(&mut self, known: impl Fn(&str) -> bool) -> Happening {
        match std::mem::replace(&mut self.what, Said::Happening(Happening::Reading)) {
            Said::Happening(happening) => happening,
            Said::Scan(symbol) => {
                let badge = cloud_protocol::badge_digest(symbol.reveal());
                let parcel = known(symbol.reveal()).then(|| symbol.reveal().to_owned());
                self.body = match &parcel {
                    Some(parcel) => map([("parcel", Some(parcel.as_str().into()))]),
                    None => map([("symbol", Some(reader::short(&badge)))]),
                }
                .to_cbor();
                Happening::Scan { parcel, badge }
            }
        }
    }
}

/// A handle for links. Cheap to clone.
#[derive(Clone)]
pub struct Intake(Arc<Inner>);

struct Inner {
    inbox: Inbox,
    clock: Clock,
    reader: RwLock<Arc<Reader>>,
    presence: Presence,
    pace: Arc<Pace>,
}

impl Intake {
    /// A handle for an estate's links.
    pub fn new(
        inbox: Inbox,
        clock: Clock,
        codes: CodeKey,
        days: Arc<DayKeys>,
        presence: Presence,
        pace: Arc<Pace>,
        layout: &Layout,
    ) -> Self {
        Self(Arc::new(Inner {
            inbox,
            clock,
            reader: RwLock::new(Arc::new(Reader::new(codes, days, layout))),
            presence,
            pace,
        }))
    }

    /// Digits typed are from now on of the points of another layout.
    pub fn relayout(&self, layout: &Layout) {
        let reader = Arc::new(self.reader().with_layout(layout));
        *self
            .0
            .reader
            .write()
            .unwrap_or_else(PoisonError::into_inner) = reader;
    }

    fn reader(&self) -> Arc<Reader> {
        let reader = self.0.reader.read();
        Arc::clone(&reader.unwrap_or_else(PoisonError::into_inner))
    }

    /// The payload of one publication to the device's own event topic. Resolves once the outcome is
    /// on disk.
    ///
    /// It is charged to the device's allowance, and taken whatever is left of that: for a link that
    /// can make one device wait.
    pub async fn events(&self, device: &Ident, payload: Bytes) -> Answer {
        let decoded = event::decode(&payload);
        let weight = weigh(&decoded);
        self.0.pace.of(device).charge(weight, Instant::now());
        self.decoded(device, decoded, payload).await
    }

    /// The same for a link that all devices share, so that none can be made to wait. `None`: it is
    /// over the device's limit and wasn't taken. There is no receipt for it then, so the device
    /// sends it again. Decided at once, in the order of the calls.
    pub fn events_if_due(
        &self,
        device: Ident,
        payload: Bytes,
    ) -> Option<impl Future<Output = Answer> + Send + 'static> {
        let decoded = event::decode(&payload);
        let weight = Weight {
            bytes: payload.len(),
            ..weigh(&decoded)
        };
        let gauge = self.0.pace.of(&device);
        if !gauge.takes(&numbers(&decoded), weight, Instant::now()) {
            return None;
        }
        let intake = self.clone();
        Some(async move { intake.decoded(&device, decoded, payload).await })
    }

    /// Whether something of a stranger is worth being kept in quarantine: all strangers together
    /// have one device's allowance.
    pub fn takes_stranger(&self, bytes: usize) -> bool {
        let weight = Weight {
            bytes,
            ..Weight::ONE
        };
        let strangers = self.0.pace.strangers();
        strangers.takes(&[], weight, Instant::now())
    }

    async fn decoded(&self, device: &Ident, decoded: Decoded, payload: Bytes) -> Answer {
        let now = self.0.clock.now();
        let pieces = match self.reader().pieces(now, device, decoded, &payload) {
            Ok(Ok(pieces)) => pieces,
            Ok(Err(row)) => return self.quarantine(device, row).await,
            Err(e) => return Answer::NotTaken(e.to_string()),
        };
        let (reply, answer) = oneshot::channel();
        self.0.inbox.submit(Work::Device {
            device: device.clone(),
            form: Form::of(&payload),
            pieces: pieces.all,
            urgent: pieces.urgent,
            reply,
        });
        answered(answer).await
    }

    /// A publication of a logged-in device to a topic that isn't its own. Kept in quarantine.
    pub async fn foreign(&self, device: &Ident, topic: &str, payload: Bytes) {
        self.0.pace.of(device).charge(Weight::ONE, Instant::now());
        let reason = "published to a topic that isn't its own".to_owned();
        let row = quarantine_row(self.0.clock.now(), device.as_str(), topic, reason, &payload);
        self.quarantine(device, row).await;
    }

    /// A payload of a device that its profile's program can't map. Kept in quarantine with the reason.
    pub async fn unmapped(
        &self,
        device: &Ident,
        topic: &str,
        reason: String,
        payload: Bytes,
    ) -> Answer {
        self.0.pace.of(device).charge(Weight::ONE, Instant::now());
        let row = quarantine_row(self.0.clock.now(), device.as_str(), topic, reason, &payload);
        self.quarantine(device, row).await
    }

    /// A publication by something that isn't one of our devices, through a broker that let it pass.
    /// Kept in quarantine, and acknowledged, so that it isn't sent for ever.
    pub async fn stranger(&self, topic: &str, payload: Bytes) -> Answer {
        let now = self.0.clock.now();
        let reason = "no device of this configuration: add it as [[device]], or stop it".to_owned();
        let (reply, answer) = oneshot::channel();
        self.0.inbox.submit(Work::Quarantine {
            device: None,
            row: quarantine_row(now, "stranger", topic, reason, &payload),
            reply,
        });
        answered(answer).await
    }

    /// Digits typed at a point, as all that may be known of them.
    pub fn typed(&self, point: &Ident, digits: &Secret) -> Typed {
        self.reader().typed(point, digits)
    }

    /// A link has handed a command to its device.
    pub fn command_sent(&self, command: String) {
        self.0.inbox.submit(Work::CommandSent { command });
    }

    /// The device's link went up or down, or it published its status.
    pub fn presence(&self, device: &Ident, online: bool) {
        self.0.presence.set(device, online);
    }

    async fn quarantine(&self, device: &Ident, row: QuarantineRow) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.0.inbox.submit(Work::Quarantine {
            device: Some(device.clone()),
            row,
            reply,
        });
        answered(answer).await
    }
}

async fn answered(answer: oneshot::Receiver<Answer>) -> Answer {
    match answer.await {
        Ok(answer) => answer,
        Err(_) => Answer::NotTaken(NotTaken::Stopping.to_string()),
    }
}

#[cfg(test)]
#[path = "intake_tests.rs"]
mod tests;
