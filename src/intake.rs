//! Where links hand over what devices say: decoded, everything personal digested, then on to the
//! journal. The answer comes once the outcome is on disk.
//!
//! Invariant: digits, credentials and households pass no further than this module as they are.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use estate::{Digest, Happening, Layout, Now, TimeQuality, Typed};
use firmware_protocols::event::{Event, Kind, Secret, When};
use firmware_protocols::fields::Malformed;
use firmware_protocols::value::{Value, map};
use firmware_protocols::{Form, Ident, event};
use tokio::sync::oneshot;

use crate::clock::{self, Clock};
use crate::journal::{Inbox, NotTaken, Work};
use crate::keys::{CodeKey, DayKeys, KeyError};
use crate::pace::{Pace, Weight};
use crate::presence::Presence;
use crate::store::write::QuarantineRow;

mod preview;

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
                    None => map([("symbol", Some(short(&badge)))]),
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
    codes: CodeKey,
    days: Arc<DayKeys>,
    presence: Presence,
    pace: Arc<Pace>,
    /// The point of each device that is one, or is a part of one.
    points: HashMap<Ident, Ident>,
    all_points: Vec<Ident>,
    site: Ident,
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
        let own = layout.banks.iter().map(|bank| (&bank.id, &bank.id));
        let own = own.chain(layout.desks.iter().map(|desk| (&desk.id, &desk.id)));
        let other = layout
            .devices
            .iter()
            .filter_map(|device| Some((&device.id, device.point.as_ref()?)));
        let points = own
            .chain(other)
            .map(|(device, point)| (device.clone(), point.clone()))
            .collect();
        Self(Arc::new(Inner {
            inbox,
            clock,
            codes,
            days,
            presence,
            pace,
            all_points: layout
                .banks
                .iter()
                .map(|bank| bank.id.clone())
                .chain(layout.desks.iter().map(|desk| desk.id.clone()))
                .collect(),
            site: layout.site.clone(),
            points,
        }))
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
        let events = match decoded {
            Ok(events) => events,
            Err(malformed) => {
                return self
                    .quarantine(device, "event", malformed.0, &payload)
                    .await;
            }
        };
        let mut pieces = Vec::with_capacity(events.len());
        let mut urgent = false;
        for event in events {
            match event {
                Ok(event) => {
                    urgent |= person_waits(&event.kind);
                    match self.prepare(device, event, now) {
                        Ok(prepared) => pieces.push(Piece::Event(prepared)),
                        Err(e) => return Answer::NotTaken(e.to_string()),
                    }
                }
                Err(event::Unreadable { why, number }) => pieces.push(Piece::Malformed {
                    number,
                    row: quarantine_row(now, device.as_str(), "event", why.0, &payload),
                }),
            }
        }
        let (reply, answer) = oneshot::channel();
        self.0.inbox.submit(Work::Device {
            device: device.clone(),
            form: Form::of(&payload),
            pieces,
            urgent,
            reply,
        });
        answered(answer).await
    }

    /// A publication of a logged-in device to a topic that isn't its own. Kept in quarantine.
    pub async fn foreign(&self, device: &Ident, topic: &str, payload: Bytes) {
        self.0.pace.of(device).charge(Weight::ONE, Instant::now());
        let reason = "published to a topic that isn't its own".to_owned();
        self.quarantine(device, topic, reason, &payload).await;
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
        use estate::context::CodeDigest as _;
        let codes = &self.0.codes;
        let others = self.0.all_points.iter().filter(|other| *other != point);
        Typed {
            code: codes.digest(point, digits.reveal()),
            elsewhere: others
                .map(|other| (other.clone(), codes.digest(other, digits.reveal())))
                .collect(),
            courier: codes.digest(&self.0.site, &format!("courier:{}", digits.reveal())),
            digits: u8::try_from(digits.reveal().len()).unwrap_or(u8::MAX),
        }
    }

    /// A link has handed a command to its device.
    pub fn command_sent(&self, command: String) {
        self.0.inbox.submit(Work::CommandSent { command });
    }

    /// The device's link went up or down, or it published its status.
    pub fn presence(&self, device: &Ident, online: bool) {
        self.0.presence.set(device, online);
    }

    async fn quarantine(
        &self,
        device: &Ident,
        topic: &str,
        reason: String,
        payload: &[u8],
    ) -> Answer {
        let now = self.0.clock.now();
        let (reply, answer) = oneshot::channel();
        self.0.inbox.submit(Work::Quarantine {
            device: Some(device.clone()),
            row: quarantine_row(now, device.as_str(), topic, reason, payload),
            reply,
        });
        answered(answer).await
    }

    fn prepare(&self, device: &Ident, event: Event, now: Now) -> Result<Prepared, KeyError> {
        let (at_ms, at_by) = happened(event.when, now);
        let said_ms = match event.when {
            When::At(at) if clock::plausible(at) => Some(at),
            When::Age(_) if at_by == "age" => Some(at_ms),
            _ => None,
        };
        let kind = event.kind.name();
        let (what, body, steady) = self.digest(device, event.kind, at_ms)?;
        Ok(Prepared {
            boot: event.boot,
            seq: event.seq,
            kind,
            at_ms,
            at_by,
            said_ms,
            received_ms: now.wall_ms,
            quality: now.quality,
            fingerprint: fingerprint(kind, &steady),
            what,
            body,
        })
    }

    /// What the estate hears, what the store keeps, and the part of it that is the same at every
    /// delivery.
    fn digest(
        &self,
        device: &Ident,
        kind: Kind,
        at_ms: i64,
    ) -> Result<(Said, Vec<u8>, Vec<u8>), KeyError> {
        let day = |domain: &str, secret: &Option<Secret>| {
            secret
                .as_ref()
                .map(|secret| self.0.days.digest(at_ms, domain, secret.reveal()))
                .transpose()
        };
        let point = self.0.points.get(device).unwrap_or(device);
        let same = |what: Happening, body: Value| {
            let body = body.to_cbor();
            (Said::Happening(what), body.clone(), body)
        };
        Ok(match kind {
            Kind::Access {
                door,
                outcome,
                direction,
                method,
                credential,
            } => {
                let credential = day("credential", &credential)?;
                let fields = |credential: Option<Value>| {
                    map([
                        ("door", Some(door.as_str().into())),
                        ("outcome", Some(outcome.word().into())),
                        ("direction", direction.map(|d| d.word().into())),
                        ("method", method.map(|m| m.word().into())),
                        ("credential", credential),
                    ])
                    .to_cbor()
                };
                let what = Happening::Access {
                    outcome,
                    direction,
                    method,
                    credential,
                };
                let body = fields(credential.as_ref().map(short));
                (Said::Happening(what), body, fields(None))
            }
            Kind::Reading { senml } => same(Happening::Reading, map([("senml", Some(senml))])),
            Kind::Keypad { code, opened } => {
                let typed = self.typed(point, &code);
                let body = map([
                    ("code", Some(short(&typed.code))),
                    ("digits", Some(typed.digits.into())),
                    ("opened", opened.map(Value::from)),
                ]);
                same(Happening::Keypad { typed, opened }, body)
            }
            Kind::Scan { symbol } => {
                let steady = cloud_protocol::badge_digest(symbol.reveal()).to_vec();
                (Said::Scan(symbol), Vec::new(), steady)
            }
            Kind::Compartment {
                compartment,
                door,
                occupied,
            } => {
                let body = map([
                    ("compartment", Some(compartment.into())),
                    ("door", Some(door.word().into())),
                    ("occupied", occupied.map(Value::from)),
                ]);
                let what = Happening::Compartment {
                    compartment,
                    door,
                    occupied,
                };
                same(what, body)
            }
            Kind::Intent {
                item,
                quantity,
                household,
            } => {
                let household = day("household", &household)?;
                let fields = |household: Option<Value>| {
                    map([
                        ("item", Some(item.as_str().into())),
                        ("quantity", Some(quantity.into())),
                        ("household", household),
                    ])
                    .to_cbor()
                };
                let (body, steady) = (fields(household.as_ref().map(short)), fields(None));
                let what = Happening::Intent {
                    item,
                    quantity,
                    household,
                };
                (Said::Happening(what), body, steady)
            }
            Kind::Result {
                command,
                outcome,
                reason,
            } => {
                let body = map([
                    ("command", Some(command.as_str().into())),
                    ("outcome", Some(outcome.word().into())),
                    ("reason", reason.as_deref().map(Value::from)),
                ]);
                let what = Happening::Result {
                    command,
                    outcome,
                    reason,
                };
                same(what, body)
            }
            Kind::Rating { score, parcel } => {
                let body = map([
                    ("score", Some(score.into())),
                    ("parcel", parcel.map(Value::from)),
                ]);
                same(Happening::Rating { score }, body)
            }
            Kind::Alarm { alarm, text } => {
                let body = map([
                    ("alarm", Some(alarm.as_str().into())),
                    ("text", text.map(Value::from)),
                ]);
                same(Happening::Alarm { alarm }, body)
            }
            Kind::Hello {
                model,
                firmware,
                capabilities,
            } => {
                let list = capabilities.iter().map(|c| c.as_str().into()).collect();
                let body = map([
                    ("model", Some(model.as_str().into())),
                    ("firmware", Some(firmware.as_str().into())),
                    ("capabilities", Some(Value::Array(list))),
                ]);
                let what = Happening::Hello {
                    model,
                    firmware,
                    capabilities,
                };
                same(what, body)
            }
        })
    }
}

/// What [`event::decode`] makes of a payload.
type Decoded = Result<Vec<Result<Event, event::Unreadable>>, Malformed>;

/// What a publication counts.
fn weigh(decoded: &Decoded) -> Weight {
    let Ok(events) = decoded else {
        return Weight::ONE;
    };
    let urgent = events.iter().flatten();
    let urgent = urgent.filter(|event| person_waits(&event.kind)).count();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Weight {
        events: count(events.len() - urgent),
        urgent: count(urgent),
        bytes: 0,
    }
}

/// The numbers of its events, as far as they can be read.
fn numbers(decoded: &Decoded) -> Vec<(u32, u64)> {
    let events = decoded.iter().flatten();
    events
        .filter_map(|event| match event {
            Ok(event) => Some((event.boot, event.seq)),
            Err(unreadable) => unreadable.number,
        })
        .collect()
}

/// Whether a person waits for something in a payload.
pub(crate) fn is_urgent(payload: &[u8]) -> bool {
    weigh(&event::decode(payload)).urgent > 0
}

/// What a person stands and waits for is never delayed.
fn person_waits(kind: &Kind) -> bool {
    match kind {
        Kind::Keypad { .. }
        | Kind::Scan { .. }
        | Kind::Compartment { .. }
        | Kind::Result { .. }
        | Kind::Alarm { .. } => true,
        Kind::Access { .. }
        | Kind::Reading { .. }
        | Kind::Intent { .. }
        | Kind::Rating { .. }
        | Kind::Hello { .. } => false,
    }
}

/// When an event happened, and whose word that is. A device's clock that stands in 1970 or runs
/// ahead of ours isn't believed; the event is.
fn happened(when: When, now: Now) -> (i64, &'static str) {
    const AHEAD_MS: i64 = 5 * 60_000;
    match when {
        When::At(at) if clock::plausible(at) => {
            if now.quality > TimeQuality::Unknown && at > now.wall_ms + AHEAD_MS {
                return (now.wall_ms, "implausible");
            }
            (at, "device")
        }
        When::At(_) => (now.wall_ms, "implausible"),
        When::Age(age) => match i64::try_from(age).map(|age| now.wall_ms - age) {
            Ok(at) if clock::plausible(at) => (at, "age"),
            _ => (now.wall_ms, "implausible"),
        },
        When::Unsaid => (now.wall_ms, "received"),
    }
}

/// Eight bytes of a digest are enough to tell in a listing whether two are the same.
fn short(digest: &Digest) -> Value {
    Value::Bytes(digest[..8].to_vec())
}

/// FNV-1a, 64 bits: not a secret, only a mark.
fn fingerprint(kind: &str, body: &[u8]) -> u64 {
    let bytes = kind.bytes().chain([0]).chain(body.iter().copied());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn quarantine_row(
    now: Now,
    source: &str,
    topic: &str,
    reason: String,
    payload: &[u8],
) -> QuarantineRow {
    QuarantineRow {
        received_ms: now.wall_ms,
        source: source.to_owned(),
        topic: topic.chars().take(256).collect(),
        reason,
        size_bytes: payload.len(),
        preview: preview::masked(payload),
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
