//! Reads a payload: decoded, each event judged on its own, everything personal digested.
//!
//! A reader knows the estate's points and keys, and neither the clock nor the journal: the same
//! bytes at the same time give the same pieces.

use std::collections::HashMap;
use std::sync::Arc;

use estate::{Digest, Happening, Layout, Now, TimeQuality, Typed};
use firmware_protocols::event::{Event, Kind, Secret, When};
use firmware_protocols::fields::Malformed;
use firmware_protocols::value::{Value, map};
use firmware_protocols::{Ident, event};

use super::{Piece, Prepared, Said, preview};
use crate::clock;
use crate::keys::{CodeKey, DayKeys, KeyError};
use crate::store::write::QuarantineRow;

/// Reads the payloads of an estate's devices.
pub struct Reader {
    codes: CodeKey,
    days: Arc<DayKeys>,
    /// The point of each device that is one, or is a part of one.
    points: HashMap<Ident, Ident>,
    all_points: Vec<Ident>,
    site: Ident,
}

/// What [`event::decode`] makes of a payload.
pub type Decoded = Result<Vec<Result<Event, event::Unreadable>>, Malformed>;

/// What a payload holds.
#[derive(Debug)]
pub struct Pieces {
    /// Its events, and what can't be read as one, in their order.
    pub all: Vec<Piece>,
    /// Whether a person waits for one of them.
    pub urgent: bool,
}

impl Reader {
    /// A reader for an estate's devices.
    pub fn new(codes: CodeKey, days: Arc<DayKeys>, layout: &Layout) -> Self {
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
        let banks = layout.banks.iter().map(|bank| &bank.id);
        let desks = layout.desks.iter().map(|desk| &desk.id);
        Self {
            codes,
            days,
            points,
            all_points: banks.chain(desks).cloned().collect(),
            site: layout.site.clone(),
        }
    }

    /// The same reader for the devices of another layout.
    pub fn with_layout(&self, layout: &Layout) -> Self {
        Self::new(self.codes.clone(), Arc::clone(&self.days), layout)
    }

    /// The pieces of a payload that `device` published, received `now`; or, if none of it can be
    /// read, what is kept of it. Fails if a key can't be read or made.
    pub fn read(
        &self,
        now: Now,
        device: &Ident,
        payload: &[u8],
    ) -> Result<Result<Pieces, QuarantineRow>, KeyError> {
        self.pieces(now, device, event::decode(payload), payload)
    }

    /// The same of a payload that is decoded already.
    pub(super) fn pieces(
        &self,
        now: Now,
        device: &Ident,
        decoded: Decoded,
        payload: &[u8],
    ) -> Result<Result<Pieces, QuarantineRow>, KeyError> {
        let events = match decoded {
            Ok(events) => events,
            Err(malformed) => {
                let row = quarantine_row(now, device.as_str(), "event", malformed.0, payload);
                return Ok(Err(row));
            }
        };
        let mut pieces = Pieces {
            all: Vec::with_capacity(events.len()),
            urgent: false,
        };
        // Made once: a payload of many bad events would be read again for each.
        let mut kept: Option<QuarantineRow> = None;
        for event in events {
            pieces.all.push(match event {
                Ok(event) => {
                    pieces.urgent |= person_waits(&event.kind);
                    Piece::Event(self.prepare(device, event, now)?)
                }
                Err(event::Unreadable { why, number }) => Piece::Malformed {
                    number,
                    row: {
                        let row = kept.get_or_insert_with(|| {
                            quarantine_row(now, device.as_str(), "event", String::new(), payload)
                        });
                        QuarantineRow {
                            reason: why.0,
                            ..row.clone()
                        }
                    },
                },
            });
        }
        Ok(Ok(pieces))
    }

    /// Digits typed at a point, as all that may be known of them.
    pub fn typed(&self, point: &Ident, digits: &Secret) -> Typed {
        use estate::context::CodeDigest as _;
        let codes = &self.codes;
        let others = self.all_points.iter().filter(|other| *other != point);
        Typed {
            code: codes.digest(point, digits.reveal()),
            elsewhere: others
                .map(|other| (other.clone(), codes.digest(other, digits.reveal())))
                .collect(),
            courier: codes.digest(&self.site, &format!("courier:{}", digits.reveal())),
            digits: u8::try_from(digits.reveal().len()).unwrap_or(u8::MAX),
        }
    }

    fn prepare(&self, device: &Ident, event: Event, now: Now) -> Result<Prepared, KeyError> {
        let (at_ms, at_by) = happened(event.when, now);
        let said_ms = match event.when {
            When::At(at) if clock::plausible(at) => Some(at),
            When::Age(_) if at_by == "age" => Some(at_ms),
            _ => None,
        };
        let kind = event.kind.name();
        let (what, body, steady) = self.digest(device, event.kind, at_ms, now)?;
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
        now: Now,
    ) -> Result<(Said, Vec<u8>, Vec<u8>), KeyError> {
        // While the time isn't known nothing is counted, and our own days will do.
        let at_ms = match now.quality {
            TimeQuality::Unknown => now.wall_ms,
            TimeQuality::Estimated | TimeQuality::Synchronised => at_ms,
        };
        let day = |domain: &str, secret: &Option<Secret>| {
            let Some(secret) = secret else {
                return Ok(None);
            };
            self.days
                .digest(now.wall_ms, at_ms, domain, secret.reveal())
        };
        let point = self.points.get(device).unwrap_or(device);
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
                let named = credential.is_some();
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
                let body = fields(shown(named, credential.as_ref()));
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
                let named = household.is_some();
                let household = day("household", &household)?;
                let fields = |household: Option<Value>| {
                    map([
                        ("item", Some(item.as_str().into())),
                        ("quantity", Some(quantity.into())),
                        ("household", household),
                    ])
                    .to_cbor()
                };
                let (body, steady) = (fields(shown(named, household.as_ref())), fields(None));
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

/// What a person stands and waits for is never delayed.
pub(super) fn person_waits(kind: &Kind) -> bool {
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
pub(super) fn short(digest: &Digest) -> Value {
    Value::Bytes(digest[..8].to_vec())
}

/// What is kept of a credential or household, if one was `named`.
fn shown(named: bool, digest: Option<&Digest>) -> Option<Value> {
    match digest {
        Some(digest) => Some(short(digest)),
        None => named.then(|| "left out: its day's key is gone".into()),
    }
}

/// FNV-1a, 64 bits: not a secret, only a mark.
fn fingerprint(kind: &str, body: &[u8]) -> u64 {
    let bytes = kind.bytes().chain([0]).chain(body.iter().copied());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What is kept of a payload that can't be read.
pub(super) fn quarantine_row(
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
