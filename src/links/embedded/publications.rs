//! What a publication of a client that is in leads to, and what it gets for it.
//!
//! | publication | MQTT 5 | MQTT 3.1.1 |
//! |---|---|---|
//! | event, on disk | PUBACK 0x00 | PUBACK |
//! | event, malformed, in quarantine | PUBACK 0x99 | PUBACK |
//! | event, not taken | PUBACK 0x97 | closed |
//! | `online`, `offline` to its own status | PUBACK 0x00 | PUBACK |
//! | anything else to its own status, in quarantine | PUBACK 0x99 | PUBACK |
//! | any other topic, in quarantine | PUBACK 0x87 | closed |
//! | a topic that can't be one, a topic alias, a subscription identifier | closed | closed |
//! | of a bridge, or a device with a profile: on disk as events, in quarantine, or nothing to us | PUBACK 0x00 | PUBACK |
//! | the same, not taken | PUBACK 0x97 | closed |
//! | QoS 2 | closed (Maximum QoS is 1) | PUBREC where above is PUBACK |
//!
//! Topics are compared whole.

use std::future::{Future, poll_fn};
use std::num::NonZeroU16;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use firmware_protocols::Ident;
use firmware_protocols::topic::{self, Channel};
use rmqtt_codec::types::Publish;

use super::Shared;
use super::mailbox::Letter;
use super::roster::Place;
use super::wire::{AckReason, Out, QoS, Reason};
use crate::intake::{self, Answer};
use crate::links::mapped::{Publication, Retained};
use crate::pace::Weight;

/// What comes of something that a client said.
pub(super) enum Reply {
    /// No word.
    Nothing,
    /// A packet.
    Send(Out),
    /// The end of the connection.
    Close(Reason),
}

/// A reply, or the wait for it, or what has still to be handed on.
pub(super) enum Pending {
    Ready(Reply),
    Waiting(Pin<Box<dyn Future<Output = Reply> + Send>>),
    /// A publication that waits for its device's allowance; `urgent` when a person waits for it too.
    Parked {
        publish: Box<Publish>,
        urgent: bool,
    },
}

impl Pending {
    /// Starts the wait: what the future does before it first waits is done when this returns, so
    /// publications are handed on in the order in which they came.
    async fn start(reply: impl Future<Output = Reply> + Send + 'static) -> Self {
        let mut reply: Pin<Box<dyn Future<Output = Reply> + Send>> = Box::pin(reply);
        match poll_fn(|context| Poll::Ready(reply.as_mut().poll(context))).await {
            Poll::Ready(reply) => Self::Ready(reply),
            Poll::Pending => Self::Waiting(reply),
        }
    }
}

/// How a publication was made, which is all that its answer depends on.
#[derive(Clone, Copy)]
struct Terms {
    id: Option<NonZeroU16>,
    qos: QoS,
    five: bool,
}

/// Whether a person waits for something in a publication.
pub(super) fn is_urgent(publish: &Publish) -> bool {
    let channel = topic::parse(&publish.topic).map(|(_, channel)| channel);
    channel == Some(Channel::Event) && intake::is_urgent(&publish.payload)
}

/// Takes a publication.
pub(super) async fn publication(
    shared: &Arc<Shared>,
    device: &Ident,
    place: &Place,
    publish: Publish,
    five: bool,
) -> Pending {
    let terms = Terms {
        id: publish.packet_id,
        qos: publish.qos,
        five,
    };
    if shared.mapped.is_client(device) {
        return mapped(shared, device, publish, terms).await;
    }
    match topic::parse(&publish.topic) {
        Some((owner, Channel::Event)) if owner == *device => {
            let (shared, device) = (Arc::clone(shared), device.clone());
            let taken =
                async move { terms.event(shared.intake.events(&device, publish.payload).await) };
            Pending::start(taken).await
        }
        Some((owner, Channel::Status)) if owner == *device => {
            status(shared, device, place, publish, terms).await
        }
        _ => foreign(shared, device, publish, terms.foreign()).await,
    }
}

/// A client that speaks for devices of other makers.
async fn mapped(shared: &Arc<Shared>, client: &Ident, publish: Publish, terms: Terms) -> Pending {
    shared.pace.of(client).charge(Weight::ONE, Instant::now());
    let publication = Publication {
        topic: publish.topic.to_string(),
        payload: publish.payload,
        id: terms.id.map(NonZeroU16::get),
        again: publish.dup,
        retained: match publish.retain {
            true => Retained::Flagged,
            false => Retained::No,
        },
    };
    match shared.mapped.publication(client, publication) {
        Some(taking) => Pending::start(async move { terms.event(taking.await) }).await,
        None => Pending::Ready(terms.ack(AckReason::Success, None)),
    }
}

/// What no device may say: quarantine, then the reply.
async fn foreign(shared: &Arc<Shared>, device: &Ident, publish: Publish, reply: Reply) -> Pending {
    let (shared, device) = (Arc::clone(shared), device.clone());
    Pending::start(async move {
        shared
            .foreign(&device, &publish.topic, &publish.payload)
            .await;
        reply
    })
    .await
}

async fn status(
    shared: &Arc<Shared>,
    device: &Ident,
    place: &Place,
    publish: Publish,
    terms: Terms,
) -> Pending {
    let Some(online) = super::status(&publish.payload) else {
        let why = "a status is 'online' or 'offline'".to_owned();
        let reply = terms.ack(AckReason::PayloadFormatInvalid, Some(why));
        return foreign(shared, device, publish, reply).await;
    };
    shared.pace.of(device).charge(Weight::ONE, Instant::now());
    say_status(shared, device, place, online, publish.retain);
    let mut echo = Letter::new(Channel::Status, publish.payload, None);
    echo.retain = publish.retain;
    echo.own = true;
    place.mailbox.put(echo);
    Pending::Ready(terms.ack(AckReason::Success, None))
}

/// Reports a status, said or left as a will, unless another link has taken the device's place.
pub(super) fn say_status(
    shared: &Shared,
    device: &Ident,
    place: &Place,
    online: bool,
    retain: bool,
) {
    let reported = shared
        .roster
        .report(device, place, online, shared.intake.as_ref());
    if reported && retain {
        shared.retained.set(device, online);
    }
}

impl Terms {
    fn event(self, answer: Answer) -> Reply {
        match answer {
            Answer::Taken => self.ack(AckReason::Success, None),
            Answer::Malformed(why) => self.ack(AckReason::PayloadFormatInvalid, Some(why)),
            Answer::NotTaken(_) if !self.five && self.qos != QoS::AtMostOnce => {
                Reply::Close(Reason::QuotaExceeded)
            }
            Answer::NotTaken(why) => self.ack(AckReason::QuotaExceeded, Some(why)),
        }
    }

    fn foreign(self) -> Reply {
        match self.five {
            true => {
                let why = "not a topic of this device".to_owned();
                self.ack(AckReason::NotAuthorized, Some(why))
            }
            false => Reply::Close(Reason::NotAuthorized),
        }
    }

    fn ack(self, code: AckReason, reason: Option<String>) -> Reply {
        match self.id {
            Some(id) => Reply::Send(Out::Ack {
                id,
                qos: self.qos,
                code,
                reason,
            }),
            None => Reply::Nothing,
        }
    }
}
