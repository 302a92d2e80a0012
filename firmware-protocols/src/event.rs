//! Events: what devices report, and how a payload becomes events.
//!
//! A payload is one event or an array of up to [`crate::EVENTS_PER_PAYLOAD_MAX`]. Each event is
//! judged on its own, so one bad event in an array doesn't take the good ones with it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::fields::{Fields, Malformed};
use crate::value::{Form, Value, map};
use crate::{EVENTS_PER_PAYLOAD_MAX, Ident, PAYLOAD_MAX_BYTES, senml};

/// One event: where it stands in its device's sequence, when it happened, what happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The start of the device that it belongs to; new at every start.
    pub boot: u32,
    /// +1 per event of a boot, from 1.
    pub seq: u64,
    /// When, as far as the device knows.
    pub when: When,
    /// What.
    pub kind: Kind,
}

/// When an event happened, in the device's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Milliseconds since the Unix epoch, by the device's clock.
    At(i64),
    /// Milliseconds before it was sent: a device without a clock.
    Age(u64),
    /// The device doesn't say: the receiving time stands for it.
    Unsaid,
}

/// A text that must not be printed: digits typed at a keypad, a card's number.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Digest it; don't store or log it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What a device reports.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Somebody at a door.
    Access {
        /// The door.
        door: Ident,
        /// What came of it.
        outcome: Outcome,
        /// Which way.
        direction: Option<Direction>,
        /// By what means.
        method: Option<Method>,
        /// What was presented: personal, digested on receipt.
        credential: Option<Secret>,
    },
    /// A SenML pack (RFC 8428) with text labels.
    Reading {
        /// The checked pack.
        senml: Value,
    },
    /// Digits typed at a keypad.
    Keypad {
        /// The digits, digested on receipt.
        code: Secret,
        /// The compartment that the bank has opened on its own for them: it checked the code itself
        /// while nobody answered.
        opened: Option<u16>,
    },
    /// Something read by a scanner: a waybill, or a courier's badge.
    Scan {
        /// The symbol read. A badge is a credential, so it is treated as one until known.
        symbol: Secret,
    },
    /// The state of a compartment.
    Compartment {
        /// Its number, from 1.
        compartment: u16,
        /// The door's sensor.
        door: Door,
        /// The occupancy sensor, if there is one.
        occupied: Option<bool>,
    },
    /// A wish to buy.
    Intent {
        /// A catalogue entry or a category.
        item: String,
        /// How many.
        quantity: u32,
        /// Who: digested on receipt.
        household: Option<Secret>,
    },
    /// What became of a command.
    Result {
        /// The command's id.
        command: String,
        /// What became of it.
        outcome: Done,
        /// Why, in the device's words.
        reason: Option<String>,
    },
    /// A resident's judgement.
    Rating {
        /// 0 to 10.
        score: u8,
        /// The parcel that it is about.
        parcel: Option<String>,
    },
    /// Something that a person should see to.
    Alarm {
        /// `tamper`, `power`, `door-left-open`, `jammed`, …
        alarm: String,
        /// More, in words.
        text: Option<String>,
    },
    /// What the device is.
    Hello {
        /// Its model.
        model: String,
        /// Its firmware's version.
        firmware: String,
        /// What it can do.
        capabilities: Vec<String>,
    },
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),* }
        impl $name {
            /// Every word with its meaning.
            pub const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),*];
            /// The word on the wire.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }
    };
}

words! {
    /// What came of an access attempt.
    Outcome { /// Let in.
        Granted = "granted", /// Turned away.
        Denied = "denied", /// Opened without a grant.
        Forced = "forced", /// Open for too long.
        HeldOpen = "held-open", /// Somebody showed a card or typed a number: whoever decides is elsewhere.
        Presented = "presented" }
}
words! {
    /// Which way through a door.
    Direction { /// Coming.
        In = "in", /// Going.
        Out = "out" }
}
words! {
    /// By what means a door was asked to open.
    Method { /// A card.
        Card = "card", /// A face.
        Face = "face", /// A number typed.
        Pin = "pin", /// A phone.
        Phone = "phone", /// From afar.
        Remote = "remote", /// The button inside.
        Button = "button" }
}
words! {
    /// What a door's sensor says.
    Door { /// Open.
        Open = "open", /// Closed.
        Closed = "closed", /// The sensor doesn't know.
        Unknown = "unknown" }
}
words! {
    /// What became of a command at the device.
    Done { /// Carried out.
        Done = "done", /// Past its expiry, or already carried out.
        Refused = "refused", /// Tried in vain.
        Failed = "failed" }
}

/// A part of a payload that isn't an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Why.
    pub why: Malformed,
    /// Its boot and number in that boot, if at least they could be read: so that the sequence goes
    /// on without a gap.
    pub number: Option<(u32, u64)>,
}

/// The events of a payload, each judged on its own, and the form they came in.
///
/// The outer error means that the payload as a whole can't be read.
pub fn decode(payload: &[u8]) -> Result<Vec<Result<Event, Unreadable>>, Malformed> {
    if payload.len() > PAYLOAD_MAX_BYTES {
        let got = payload.len();
        return Err(Malformed(format!(
            "payload of {got} bytes, at most {PAYLOAD_MAX_BYTES} are taken"
        )));
    }
    match Value::read(payload)? {
        Value::Array(items) if items.is_empty() => {
            Err(Malformed("an array without events".to_string()))
        }
        Value::Array(items) if items.len() > EVENTS_PER_PAYLOAD_MAX => {
            let got = items.len();
            Err(Malformed(format!(
                "{got} events in one payload, at most {EVENTS_PER_PAYLOAD_MAX} are taken"
            )))
        }
        Value::Array(items) => Ok(items.iter().map(read_one).collect()),
        one => Ok(alloc::vec![read_one(&one)]),
    }
}

fn read_one(value: &Value) -> Result<Event, Unreadable> {
    Event::from_value(value).map_err(|why| Unreadable {
        why,
        number: number(value),
    })
}

fn number(value: &Value) -> Option<(u32, u64)> {
    let f = Fields::of(value).ok()?;
    let boot = f.uint("boot", 0, u64::from(u32::MAX)).ok()?;
    let seq = f.uint("seq", 1, u64::MAX).ok()?;
    Some((u32::try_from(boot).ok()?, seq))
}

/// A payload of these events: one as a map, several as an array.
pub fn encode(events: &[Event], form: Form) -> Vec<u8> {
    match events {
        [one] => one.to_value().write(form),
        many => Value::Array(many.iter().map(Event::to_value).collect()).write(form),
    }
}

impl Event {
    /// Reads the envelope and the kind's own fields.
    pub fn from_value(value: &Value) -> Result<Self, Malformed> {
        let f = Fields::of(value)?;
        let kind = f.text("kind", 32)?;
        let boot = u32::try_from(f.uint("boot", 0, u64::from(u32::MAX))?).unwrap_or(u32::MAX);
        let seq = f.uint("seq", 1, u64::MAX)?;
        let when = match (f.get("at"), f.uint_opt("age", 0, u64::MAX)?) {
            (None, None) => When::Unsaid,
            (None, Some(age)) => When::Age(age),
            (Some(_), None) => When::At(
                i64::try_from(f.uint("at", 0, i64::MAX.unsigned_abs())?).unwrap_or(i64::MAX),
            ),
            (Some(_), Some(_)) => {
                return Err(Malformed("'at' and 'age' exclude each other".to_string()));
            }
        };
        let kind = Kind::from_fields(kind, f)?;
        Ok(Self {
            boot,
            seq,
            when,
            kind,
        })
    }

    /// The event as it travels. Contains secrets: for devices that send, not for storage.
    pub fn to_value(&self) -> Value {
        let (at, age) = match self.when {
            When::At(at) => (Some(at.into()), None),
            When::Age(age) => (None, Some(age.into())),
            When::Unsaid => (None, None),
        };
        let Value::Map(mut entries) = map([
            ("kind", Some(self.kind.name().into())),
            ("boot", Some(self.boot.into())),
            ("seq", Some(self.seq.into())),
            ("at", at),
            ("age", age),
        ]) else {
            return Value::Null;
        };
        if let Value::Map(own) = self.kind.to_value() {
            entries.extend(own);
        }
        Value::Map(entries)
    }
}

impl Kind {
    /// The word on the wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Access { .. } => "access",
            Self::Reading { .. } => "reading",
            Self::Keypad { .. } => "keypad",
            Self::Scan { .. } => "scan",
            Self::Compartment { .. } => "compartment",
            Self::Intent { .. } => "intent",
            Self::Result { .. } => "result",
            Self::Rating { .. } => "rating",
            Self::Alarm { .. } => "alarm",
            Self::Hello { .. } => "hello",
        }
    }

    fn from_fields(kind: &str, f: Fields<'_>) -> Result<Self, Malformed> {
        Ok(match kind {
            "access" => Self::Access {
                door: f.ident("door")?,
                outcome: f.word("outcome", Outcome::WORDS)?,
                direction: f.word_opt("direction", Direction::WORDS)?,
                method: f.word_opt("method", Method::WORDS)?,
                credential: f.text_opt("credential", 256)?.map(Secret::new),
            },
            "reading" => Self::Reading {
                senml: senml::normalise(f.need("senml")?)?,
            },
            "keypad" => Self::Keypad {
                code: keypad_code(f)?,
                opened: f
                    .uint_opt("opened", 1, 65_535)?
                    .and_then(|n| u16::try_from(n).ok()),
            },
            "scan" => Self::Scan {
                symbol: Secret::new(f.text("symbol", 128)?),
            },
            "compartment" => Self::Compartment {
                compartment: u16::try_from(f.uint("compartment", 1, 65_535)?).unwrap_or(u16::MAX),
                door: f.word("door", Door::WORDS)?,
                occupied: f.bool_opt("occupied")?,
            },
            "intent" => Self::Intent {
                item: f.text("item", 128)?.to_string(),
                quantity: u32::try_from(f.uint("quantity", 1, u64::from(u32::MAX))?)
                    .unwrap_or(u32::MAX),
                household: f.text_opt("household", 256)?.map(Secret::new),
            },
            "result" => Self::Result {
                command: f.text("command", 64)?.to_string(),
                outcome: f.word("outcome", Done::WORDS)?,
                reason: f.text_opt("reason", 256)?.map(String::from),
            },
            "rating" => Self::Rating {
                score: u8::try_from(f.uint("score", 0, 10)?).unwrap_or(10),
                parcel: f.text_opt("parcel", 128)?.map(String::from),
            },
            "alarm" => Self::Alarm {
                alarm: f.text("alarm", 64)?.to_string(),
                text: f.text_opt("text", 512)?.map(String::from),
            },
            "hello" => Self::Hello {
                model: f.text("model", 128)?.to_string(),
                firmware: f.text("firmware", 128)?.to_string(),
                capabilities: capabilities(f)?,
            },
            unknown => {
                return Err(Malformed(format!(
                    "unknown kind '{unknown}': see the events of linli/v1"
                )));
            }
        })
    }

    /// The kind's own fields, without the envelope. Contains secrets.
    fn to_value(&self) -> Value {
        let secret = |s: &Option<Secret>| s.as_ref().map(|s| s.reveal().into());
        match self {
            Self::Access {
                door,
                outcome,
                direction,
                method,
                credential,
            } => map([
                ("door", Some(door.as_str().into())),
                ("outcome", Some(outcome.word().into())),
                ("direction", direction.map(|d| d.word().into())),
                ("method", method.map(|m| m.word().into())),
                ("credential", secret(credential)),
            ]),
            Self::Reading { senml } => map([("senml", Some(senml.clone()))]),
            Self::Keypad { code, opened } => map([
                ("code", Some(code.reveal().into())),
                ("opened", opened.map(Value::from)),
            ]),
            Self::Scan { symbol } => map([("symbol", Some(symbol.reveal().into()))]),
            Self::Compartment {
                compartment,
                door,
                occupied,
            } => map([
                ("compartment", Some((*compartment).into())),
                ("door", Some(door.word().into())),
                ("occupied", occupied.map(Value::from)),
            ]),
            Self::Intent {
                item,
                quantity,
                household,
            } => map([
                ("item", Some(item.as_str().into())),
                ("quantity", Some((*quantity).into())),
                ("household", secret(household)),
            ]),
            Self::Result {
                command,
                outcome,
                reason,
            } => map([
                ("command", Some(command.as_str().into())),
                ("outcome", Some(outcome.word().into())),
                ("reason", reason.as_deref().map(Value::from)),
            ]),
            Self::Rating { score, parcel } => map([
                ("score", Some((*score).into())),
                ("parcel", parcel.as_deref().map(Value::from)),
            ]),
            Self::Alarm { alarm, text } => map([
                ("alarm", Some(alarm.as_str().into())),
                ("text", text.as_deref().map(Value::from)),
            ]),
            Self::Hello {
                model,
                firmware,
                capabilities,
            } => map([
                ("model", Some(model.as_str().into())),
                ("firmware", Some(firmware.as_str().into())),
                (
                    "capabilities",
                    Some(Value::Array(
                        capabilities.iter().map(|c| c.as_str().into()).collect(),
                    )),
                ),
            ]),
        }
    }
}

/// 1 to 16 digits. The error never repeats what was typed.
fn keypad_code(f: Fields<'_>) -> Result<Secret, Malformed> {
    let code = f.text("code", 16)?;
    if !code.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Malformed::field("code", "digits only", "something else"));
    }
    Ok(Secret::new(code))
}

fn capabilities(f: Fields<'_>) -> Result<Vec<String>, Malformed> {
    let expected = "an array of up to 32 texts";
    let Some(value) = f.get("capabilities") else {
        return Ok(Vec::new());
    };
    let Value::Array(items) = value else {
        return Err(Malformed::field("capabilities", expected, value.kind()));
    };
    if items.len() > 32 {
        let got = items.len().to_string();
        return Err(Malformed::field("capabilities", expected, &got));
    }
    items
        .iter()
        .map(|item| match item {
            Value::Text(text) if text.len() <= 64 => Ok(text.clone()),
            other => Err(Malformed::field("capabilities", expected, other.kind())),
        })
        .collect()
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
