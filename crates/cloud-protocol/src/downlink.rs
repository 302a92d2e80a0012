//! The downlink: what the cloud tells the gateway, numbered, by long poll.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use firmware_protocols::Ident;
use firmware_protocols::event::Secret;
use firmware_protocols::fields::{Fields, Malformed};
use firmware_protocols::value::{Key, Value, map};

use crate::NUMBER_MAX;
use crate::read::{bytes, digits, name_of, text_opt, time};

/// One numbered item. An item that can't be read is kept as such, so that it never blocks the next.
#[derive(Debug, Clone, PartialEq)]
pub struct DownlinkItem {
    /// Its place in the gateway's downlink, rising.
    pub seq: u64,
    /// What it says, or why it can't be read.
    pub what: Result<Downlink, Malformed>,
}

/// What the cloud says.
#[derive(Debug, Clone, PartialEq)]
pub enum Downlink {
    /// `parcel.expected`: a parcel will come.
    ParcelExpected(ExpectedParcel),
    /// `parcel.cancelled`: it won't.
    ParcelCancelled {
        /// The parcel's id.
        parcel: String,
    },
    /// `parcel.extended`: it may stay longer.
    ParcelExtended {
        /// The parcel's id.
        parcel: String,
        /// The new deadline, ms since the Unix epoch.
        deadline: i64,
    },
    /// `code.reissue`: the code was lost; the old one dies.
    CodeReissue {
        /// The parcel's id.
        parcel: String,
    },
    /// `courier`: who may deposit and take back.
    Courier {
        /// An opaque name for the record.
        courier: String,
        /// What he identifies with.
        proof: Proof,
        /// Until when, ms since the Unix epoch.
        valid_until: i64,
    },
    /// `settings`: numbers by name.
    Settings(BTreeMap<String, i64>),
}

/// What a courier identifies with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// `badge`: [`crate::badge_digest`] of the badge's symbol.
    Badge([u8; 32]),
    /// `code`: digits to type at a keypad, 1 to 16. Kept by the gateway as a keyed digest only.
    Code(Secret),
}

/// A parcel that will come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedParcel {
    /// Its id, also the symbol on its waybill.
    pub parcel: String,
    /// Its recipient, an opaque token.
    pub recipient: String,
    /// The compartment it needs.
    pub size: Size,
    /// The temperature it needs.
    pub zone: Zone,
    /// The bank or desk where it will wait.
    pub point: Ident,
    /// Until when it may wait, ms since the Unix epoch.
    pub deadline: i64,
    /// Whether the recipient agreed to a locker.
    pub consent: bool,
    /// How many items are in it.
    pub items: Option<u32>,
    /// Whether the recipient needs a compartment within reach from a wheelchair.
    pub low: bool,
    /// The parcel of which this is the return: its code is for putting it in, and a courier takes
    /// it out.
    pub return_of: Option<String>,
}

/// Sizes of parcels and compartments, smallest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Size {
    /// Small.
    S,
    /// Medium.
    M,
    /// Large.
    L,
}

impl Size {
    /// Every word with its meaning.
    pub const WORDS: &'static [(&'static str, Self)] =
        &[("S", Self::S), ("M", Self::M), ("L", Self::L)];

    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::S => "S",
            Self::M => "M",
            Self::L => "L",
        }
    }
}

/// Temperature zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Zone {
    /// As it is.
    Ambient,
    /// 0 to 8 °C.
    Chilled,
    /// Below −18 °C.
    Frozen,
}

impl Zone {
    /// Every word with its meaning.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("ambient", Self::Ambient),
        ("chilled", Self::Chilled),
        ("frozen", Self::Frozen),
    ];

    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ambient => "ambient",
            Self::Chilled => "chilled",
            Self::Frozen => "frozen",
        }
    }
}

impl DownlinkItem {
    /// The item as it travels.
    pub fn to_value(&self) -> Value {
        let Ok(what) = &self.what else {
            return map([("seq", Some(self.seq.into()))]);
        };
        let Value::Map(mut entries) = map([
            ("seq", Some(self.seq.into())),
            ("kind", Some(what.kind().into())),
        ]) else {
            return Value::Null;
        };
        if let Value::Map(own) = what.to_value() {
            entries.extend(own);
        }
        Value::Map(entries)
    }

    /// Reads an item; only a missing or wrong `seq` is an error of the whole.
    pub fn from_value(value: &Value) -> Result<Self, Malformed> {
        let f = Fields::of(value)?;
        Ok(Self {
            seq: f.uint("seq", 1, NUMBER_MAX)?,
            what: Downlink::from_fields(f),
        })
    }

    /// The body of the answer to `GET /v1/gateways/{gateway}/downlink`.
    pub fn write_all(items: &[Self]) -> Value {
        let items = items.iter().map(Self::to_value).collect();
        map([("items", Some(Value::Array(items)))])
    }

    /// Reads the body of the answer.
    pub fn read_all(value: &Value) -> Result<Vec<Self>, Malformed> {
        match Fields::of(value)?.need("items")? {
            Value::Array(items) => items.iter().map(Self::from_value).collect(),
            other => Err(Malformed::field("items", "an array", other.kind())),
        }
    }
}

impl Downlink {
    /// The word on the wire.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::ParcelExpected(_) => "parcel.expected",
            Self::ParcelCancelled { .. } => "parcel.cancelled",
            Self::ParcelExtended { .. } => "parcel.extended",
            Self::CodeReissue { .. } => "code.reissue",
            Self::Courier { .. } => "courier",
            Self::Settings(_) => "settings",
        }
    }

    fn to_value(&self) -> Value {
        match self {
            Self::ParcelExpected(p) => map([
                ("parcel", Some(p.parcel.as_str().into())),
                ("recipient", Some(p.recipient.as_str().into())),
                ("size", Some(p.size.word().into())),
                ("zone", Some(p.zone.word().into())),
                ("point", Some(p.point.as_str().into())),
                ("deadline", Some(p.deadline.into())),
                ("consent", Some(p.consent.into())),
                ("items", p.items.map(Value::from)),
                ("low", p.low.then(|| true.into())),
                ("return_of", p.return_of.as_deref().map(Value::from)),
            ]),
            Self::ParcelCancelled { parcel } | Self::CodeReissue { parcel } => {
                map([("parcel", Some(parcel.as_str().into()))])
            }
            Self::ParcelExtended { parcel, deadline } => map([
                ("parcel", Some(parcel.as_str().into())),
                ("deadline", Some((*deadline).into())),
            ]),
            Self::Courier {
                courier,
                proof,
                valid_until,
            } => map([
                ("courier", Some(courier.as_str().into())),
                match proof {
                    Proof::Badge(badge) => ("badge", Some(Value::Bytes(badge.to_vec()))),
                    Proof::Code(digits) => ("code", Some(digits.reveal().into())),
                },
                ("valid_until", Some((*valid_until).into())),
            ]),
            Self::Settings(settings) => map([(
                "settings",
                Some(Value::Map(
                    settings
                        .iter()
                        .map(|(name, n)| (Key::Text(name.clone()), (*n).into()))
                        .collect(),
                )),
            )]),
        }
    }

    fn from_fields(f: Fields<'_>) -> Result<Self, Malformed> {
        let parcel = || f.text("parcel", 128).map(ToString::to_string);
        Ok(match f.text("kind", 32)? {
            "parcel.expected" => Self::ParcelExpected(ExpectedParcel {
                parcel: parcel()?,
                recipient: f.text("recipient", 128)?.to_string(),
                size: f.word("size", Size::WORDS)?,
                zone: f.word("zone", Zone::WORDS)?,
                point: f.ident("point")?,
                deadline: time(f, "deadline")?,
                consent: f
                    .bool_opt("consent")?
                    .ok_or_else(|| Malformed("field 'consent' is missing".to_string()))?,
                items: f
                    .uint_opt("items", 0, u64::from(u32::MAX))?
                    .and_then(|n| u32::try_from(n).ok()),
                low: f.bool_opt("low")?.unwrap_or(false),
                return_of: text_opt(f, "return_of")?,
            }),
            "parcel.cancelled" => Self::ParcelCancelled { parcel: parcel()? },
            "parcel.extended" => Self::ParcelExtended {
                parcel: parcel()?,
                deadline: time(f, "deadline")?,
            },
            "code.reissue" => Self::CodeReissue { parcel: parcel()? },
            "courier" => Self::Courier {
                courier: f.text("courier", 128)?.to_string(),
                proof: proof(f)?,
                valid_until: time(f, "valid_until")?,
            },
            "settings" => Self::Settings(settings(f)?),
            unknown => {
                return Err(Malformed(alloc::format!("unknown kind '{unknown}'")));
            }
        })
    }
}

/// Either a badge or a code. The error never repeats the digits.
fn proof(f: Fields<'_>) -> Result<Proof, Malformed> {
    match (f.get("badge"), f.get("code")) {
        (Some(_), None) => Ok(Proof::Badge(bytes(f, "badge")?)),
        (None, Some(_)) => digits(f, "code").map(Proof::Code),
        _ => Err(Malformed(
            "expected either 'badge' or 'code', got neither or both".to_string(),
        )),
    }
}

pub(crate) fn settings(f: Fields<'_>) -> Result<BTreeMap<String, i64>, Malformed> {
    let value = f.need("settings")?;
    let Value::Map(entries) = value else {
        return Err(Malformed::field("settings", "a map", value.kind()));
    };
    let mut out = BTreeMap::new();
    for (key, value) in entries {
        let Value::Int(n) = value else {
            return Err(Malformed::field("settings", "integers", value.kind()));
        };
        let n = i64::try_from(*n)
            .map_err(|_| Malformed::field("settings", "64-bit integers", "a larger one"))?;
        out.insert(name_of(key, "settings")?, n);
    }
    Ok(out)
}
