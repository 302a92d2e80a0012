//! The uplink: batches of items by lane, each lane numbered from 1 without a gap within an epoch.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use firmware_protocols::Ident;
use firmware_protocols::fields::{Fields, Malformed};
use firmware_protocols::value::{Key, Value, map};

use crate::code::CodeForResident;
use crate::downlink::{Size, Zone};
use crate::read::{bytes, name_of, text_opt, time, within};
use crate::received::Received;
use crate::{Chain, NUMBER_MAX};

/// The lanes, in the order of their urgency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Every state of every parcel.
    Fulfilment,
    /// How the gateway itself is.
    Health,
    /// Aggregated demand.
    Demand,
}

impl Lane {
    /// Every lane, most urgent first.
    pub const ALL: [Self; 3] = [Self::Fulfilment, Self::Health, Self::Demand];

    /// The lane's name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fulfilment => "fulfilment",
            Self::Health => "health",
            Self::Demand => "demand",
        }
    }

    /// The lane of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.name() == name)
    }
}

/// One item of a lane.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// From 1, without a gap within lane and epoch.
    pub seq: u64,
    /// When it was made, ms since the Unix epoch.
    pub at: i64,
    /// What it says.
    pub report: Report,
}

/// What an item says.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// A parcel's new state (lane `fulfilment`).
    Parcel(ParcelReport),
    /// A parcel that no compartment takes (lane `fulfilment`).
    Unplaceable(Unplaceable),
    /// A refusal or a claim for damage at the point (lane `fulfilment`).
    Claim(ClaimReport),
    /// A closed bucket of demand (lane `demand`).
    Demand(DemandReport),
    /// The gateway's own state (lane `health`): counters by name.
    Health(BTreeMap<String, u64>),
    /// Where the hash chain over the parcels' history stands (lane `health`).
    Audit {
        /// How many entries it has.
        entries: u64,
        /// The chain up to the last of them.
        head: [u8; 32],
    },
}

/// A parcel's new state.
#[derive(Debug, Clone, PartialEq)]
pub struct ParcelReport {
    /// The parcel's id.
    pub parcel: String,
    /// Its state.
    pub state: ParcelState,
    /// When it came into the state, ms since the Unix epoch.
    pub since: i64,
    /// The bank that holds it.
    pub bank: Option<Ident>,
    /// The compartment that holds it.
    pub compartment: Option<u16>,
    /// The desk that holds it.
    pub desk: Option<Ident>,
    /// Its pickup code, when it is new, for the notice to the resident.
    pub code: Option<CodeForResident>,
    /// Whether it came without having been announced.
    pub unlisted: bool,
    /// The parcel of which it is the return.
    pub return_of: Option<String>,
}

/// A courier stood before the bank with a parcel that no compartment takes now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unplaceable {
    /// The parcel's id.
    pub parcel: String,
    /// The bank.
    pub point: Ident,
    /// What it needs.
    pub size: Size,
    /// What it needs.
    pub zone: Zone,
    /// The desk that the courier was sent to, if there is one.
    pub desk: Option<Ident>,
}

/// What a person at a point had to complain of, and what was done about it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimReport {
    /// The parcel's id.
    pub parcel: String,
    /// What it is.
    pub claim: ClaimKind,
    /// Who took it down.
    pub operator: String,
    /// The desk.
    pub desk: Ident,
    /// In words.
    pub note: String,
    /// What the group leader paid on the spot, in fen (1/100 yuan).
    pub compensation_fen: Option<u64>,
    /// Whether the recipient keeps the goods.
    pub keeps: bool,
    /// The parcel in which the goods come back, if they do.
    pub returned_as: Option<String>,
}

/// What a claim is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClaimKind {
    /// The recipient doesn't take the parcel.
    Refused,
    /// The goods are damaged or spoilt.
    Damaged,
}

impl ClaimKind {
    /// Every word with its meaning.
    pub const WORDS: &'static [(&'static str, Self)] =
        &[("refused", Self::Refused), ("damaged", Self::Damaged)];

    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Damaged => "damaged",
        }
    }
}

/// The states of a parcel that the cloud hears of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ParcelState {
    /// Announced; its code is issued.
    Expected,
    /// In a compartment or at a desk; its code is good.
    Deposited,
    /// Past its deadline, still where it was; its code is still good.
    Overdue,
    /// Refused by its recipient; a courier takes it back.
    Refused,
    /// Claimed as damaged and not kept; a courier takes it back.
    Claimed,
    /// With its recipient.
    Collected,
    /// Taken back by a courier.
    Retrieved,
    /// Cancelled. If a place is named it is still there, and a courier takes it back.
    Cancelled,
}

impl ParcelState {
    /// Every word with its meaning.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("expected", Self::Expected),
        ("deposited", Self::Deposited),
        ("overdue", Self::Overdue),
        ("refused", Self::Refused),
        ("claimed", Self::Claimed),
        ("collected", Self::Collected),
        ("retrieved", Self::Retrieved),
        ("cancelled", Self::Cancelled),
    ];

    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Expected => "expected",
            Self::Deposited => "deposited",
            Self::Overdue => "overdue",
            Self::Refused => "refused",
            Self::Claimed => "claimed",
            Self::Collected => "collected",
            Self::Retrieved => "retrieved",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A whole closed bucket of demand, released once.
#[derive(Debug, Clone, PartialEq)]
pub struct DemandReport {
    /// The building, or the whole site if `None`.
    pub building: Option<Ident>,
    /// Its start, ms since the Unix epoch.
    pub start: i64,
    /// Its length in minutes.
    pub minutes: u32,
    /// 1; a correction has a higher one and replaces the earlier.
    pub revision: u32,
    /// Counts by series: `comings`, `goings`, `deposits`, `collections`, `intent:ITEM`.
    pub series: BTreeMap<String, u64>,
}

impl Item {
    /// The item as it travels.
    pub fn to_value(&self) -> Value {
        let Value::Map(mut entries) = map([
            ("seq", Some(self.seq.into())),
            ("at", Some(self.at.into())),
            ("kind", Some(self.report.kind().into())),
        ]) else {
            return Value::Null;
        };
        if let Value::Map(own) = self.report.to_value() {
            entries.extend(own);
        }
        Value::Map(entries)
    }

    /// Reads an item.
    pub fn from_value(value: &Value) -> Result<Self, Malformed> {
        let f = Fields::of(value)?;
        Ok(Self {
            seq: f.uint("seq", 1, NUMBER_MAX)?,
            at: time(f, "at")?,
            report: Report::from_fields(f)?,
        })
    }
}

impl Report {
    /// The word on the wire.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Parcel(_) => "parcel",
            Self::Unplaceable(_) => "unplaceable",
            Self::Claim(_) => "claim",
            Self::Demand(_) => "demand",
            Self::Health(_) => "health",
            Self::Audit { .. } => "audit",
        }
    }

    /// The lane it travels in.
    pub const fn lane(&self) -> Lane {
        match self {
            Self::Parcel(_) | Self::Unplaceable(_) | Self::Claim(_) => Lane::Fulfilment,
            Self::Demand(_) => Lane::Demand,
            Self::Health(_) | Self::Audit { .. } => Lane::Health,
        }
    }

    fn to_value(&self) -> Value {
        match self {
            Self::Parcel(p) => map([
                ("parcel", Some(p.parcel.as_str().into())),
                ("state", Some(p.state.word().into())),
                ("since", Some(p.since.into())),
                ("bank", p.bank.as_ref().map(|id| id.as_str().into())),
                ("compartment", p.compartment.map(Value::from)),
                ("desk", p.desk.as_ref().map(|id| id.as_str().into())),
                ("code", p.code.as_ref().and_then(CodeForResident::to_value)),
                ("unlisted", p.unlisted.then(|| true.into())),
                ("return_of", p.return_of.as_deref().map(Value::from)),
            ]),
            Self::Unplaceable(u) => map([
                ("parcel", Some(u.parcel.as_str().into())),
                ("point", Some(u.point.as_str().into())),
                ("size", Some(u.size.word().into())),
                ("zone", Some(u.zone.word().into())),
                ("desk", u.desk.as_ref().map(|id| id.as_str().into())),
            ]),
            Self::Claim(c) => map([
                ("parcel", Some(c.parcel.as_str().into())),
                ("claim", Some(c.claim.word().into())),
                ("operator", Some(c.operator.as_str().into())),
                ("desk", Some(c.desk.as_str().into())),
                ("note", Some(c.note.as_str().into())),
                ("compensation_fen", c.compensation_fen.map(Value::from)),
                ("keeps", Some(c.keeps.into())),
                ("returned_as", c.returned_as.as_deref().map(Value::from)),
            ]),
            Self::Demand(d) => map([
                (
                    "scope",
                    Some(match &d.building {
                        Some(building) => map([("building", Some(building.as_str().into()))]),
                        None => map([("site", Some(true.into()))]),
                    }),
                ),
                ("start", Some(d.start.into())),
                ("minutes", Some(d.minutes.into())),
                ("revision", Some(d.revision.into())),
                ("series", Some(counts_value(&d.series))),
            ]),
            Self::Health(counters) => map([("counters", Some(counts_value(counters)))]),
            Self::Audit { entries, head } => map([
                ("entries", Some((*entries).into())),
                ("head", Some(Value::Bytes(head.to_vec()))),
            ]),
        }
    }

    /// The kinds that this version knows.
    pub(crate) const KINDS: &'static [&'static str] = &[
        "parcel",
        "unplaceable",
        "claim",
        "demand",
        "health",
        "audit",
    ];

    pub(crate) fn from_fields(f: Fields<'_>) -> Result<Self, Malformed> {
        match f.text("kind", 32)? {
            "parcel" => Ok(Self::Parcel(ParcelReport {
                parcel: f.text("parcel", 128)?.to_string(),
                state: f.word("state", ParcelState::WORDS)?,
                since: time(f, "since")?,
                bank: f.get("bank").map(|_| f.ident("bank")).transpose()?,
                compartment: f
                    .uint_opt("compartment", 1, 65_535)?
                    .and_then(|n| u16::try_from(n).ok()),
                desk: f.get("desk").map(|_| f.ident("desk")).transpose()?,
                code: f.get("code").map(CodeForResident::from_value).transpose()?,
                unlisted: f.bool_opt("unlisted")?.unwrap_or(false),
                return_of: text_opt(f, "return_of")?,
            })),
            "unplaceable" => Ok(Self::Unplaceable(Unplaceable {
                parcel: f.text("parcel", 128)?.to_string(),
                point: f.ident("point")?,
                size: f.word("size", Size::WORDS)?,
                zone: f.word("zone", Zone::WORDS)?,
                desk: f.get("desk").map(|_| f.ident("desk")).transpose()?,
            })),
            "claim" => Ok(Self::Claim(ClaimReport {
                parcel: f.text("parcel", 128)?.to_string(),
                claim: f.word("claim", ClaimKind::WORDS)?,
                operator: f.text("operator", 256)?.to_string(),
                desk: f.ident("desk")?,
                note: f.text("note", 1_024)?.to_string(),
                compensation_fen: f.uint_opt("compensation_fen", 0, NUMBER_MAX)?,
                keeps: f
                    .bool_opt("keeps")?
                    .ok_or_else(|| Malformed("field 'keeps' is missing".to_string()))?,
                returned_as: text_opt(f, "returned_as")?,
            })),
            "demand" => Ok(Self::Demand(DemandReport {
                building: scope(f.need("scope")?)?,
                start: time(f, "start")?,
                minutes: u32::try_from(f.uint("minutes", 1, 44_640)?).unwrap_or(60),
                revision: u32::try_from(f.uint("revision", 1, u64::from(u32::MAX))?)
                    .unwrap_or(u32::MAX),
                series: counts(f, "series")?,
            })),
            "health" => Ok(Self::Health(counts(f, "counters")?)),
            "audit" => Ok(Self::Audit {
                entries: f.uint("entries", 0, NUMBER_MAX)?,
                head: bytes(f, "head")?,
            }),
            unknown => Err(Malformed(format!("unknown kind '{unknown}'"))),
        }
    }
}

/// A batch: for each lane that has something, the items after a position.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Set when the store was made or restored; a higher one starts over at `after: 0`.
    pub epoch: u64,
    /// By lane.
    pub lanes: BTreeMap<Lane, LaneBatch>,
}

/// One lane's part of a batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LaneBatch {
    /// The last sequence number that the sender takes as acknowledged.
    pub after: u64,
    /// The chain up to and including `after`.
    pub chain: Chain,
    /// `after + 1`, `after + 2`, …
    pub items: Vec<Item>,
}

impl Batch {
    /// The body of `POST /v1/gateways/{gateway}/uplink`.
    pub fn to_value(&self) -> Value {
        let lanes = self
            .lanes
            .iter()
            .map(|(lane, part)| {
                let items = part.items.iter().map(Item::to_value).collect();
                let part = map([
                    ("after", Some(part.after.into())),
                    ("chain", Some(Value::Bytes(part.chain.0.to_vec()))),
                    ("items", Some(Value::Array(items))),
                ]);
                (Key::Text(lane.name().to_string()), part)
            })
            .collect();
        map([
            ("epoch", Some(self.epoch.into())),
            ("lanes", Some(Value::Map(lanes))),
        ])
    }

    /// Reads the body.
    pub fn from_value(value: &Value) -> Result<Self, Malformed> {
        Received::from_value(value)
            .map_err(|refused| refused.reason)?
            .into_batch()
    }
}

/// The answer to a batch: per lane, the last item that the cloud has for good.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Acked(pub BTreeMap<Lane, u64>);

impl Acked {
    /// The body of the answer.
    pub fn to_value(&self) -> Value {
        let lanes = self
            .0
            .iter()
            .map(|(lane, seq)| (Key::Text(lane.name().to_string()), (*seq).into()))
            .collect();
        map([("acked", Some(Value::Map(lanes)))])
    }

    /// Reads the answer.
    pub fn from_value(value: &Value) -> Result<Self, Malformed> {
        let acked = Fields::of(value)?.need("acked")?;
        let mut out = BTreeMap::new();
        for (lane, seq) in lane_map(acked, "acked")? {
            let Value::Int(n) = seq else {
                return Err(Malformed::field("acked", "an integer a lane", seq.kind()));
            };
            let seq = u64::try_from(*n)
                .map_err(|_| Malformed::field("acked", "an unsigned integer", "a negative one"))?;
            out.insert(lane, seq);
        }
        Ok(Self(out))
    }
}

/// The entries of a map by lane.
fn lane_map<'a>(value: &'a Value, name: &str) -> Result<Vec<(Lane, &'a Value)>, Malformed> {
    let Value::Map(entries) = value else {
        return Err(Malformed::field(name, "a map by lane", value.kind()));
    };
    entries
        .iter()
        .map(|(key, value)| match key {
            Key::Text(text) => Lane::from_name(text)
                .map(|lane| (lane, value))
                .ok_or_else(|| unknown_lane(text)),
            Key::Int(_) => Err(Malformed::field(name, "a lane's name", "an integer")),
        })
        .collect()
}

/// Of a lane that this version doesn't know no more is repeated than can be shown.
pub(crate) fn unknown_lane(name: &str) -> Malformed {
    let name: String = name.chars().take(32).collect();
    Malformed(format!("unknown lane '{name}'"))
}

/// The building of a demand's scope, or `None` for the whole site.
fn scope(value: &Value) -> Result<Option<Ident>, Malformed> {
    let f = Fields::of(value).map_err(|e| within("field 'scope'", &e))?;
    match (f.get("building"), f.bool_opt("site")?) {
        (Some(_), None | Some(false)) => f.ident("building").map(Some),
        (None, Some(true)) => Ok(None),
        _ => Err(Malformed::field(
            "scope",
            "either {building: ID} or {site: true}",
            "neither or both",
        )),
    }
}

fn counts_value(counts: &BTreeMap<String, u64>) -> Value {
    Value::Map(
        counts
            .iter()
            .map(|(name, count)| (Key::Text(name.clone()), (*count).into()))
            .collect(),
    )
}

fn counts(f: Fields<'_>, name: &str) -> Result<BTreeMap<String, u64>, Malformed> {
    let value = f.need(name)?;
    let Value::Map(entries) = value else {
        return Err(Malformed::field(name, "a map of counts", value.kind()));
    };
    let mut out = BTreeMap::new();
    for (key, count) in entries {
        let Value::Int(n) = count else {
            return Err(Malformed::field(name, "integers", count.kind()));
        };
        let n = u64::try_from(*n)
            .map_err(|_| Malformed::field(name, "unsigned integers", "a negative one"))?;
        out.insert(name_of(key, name)?, n);
    }
    Ok(out)
}
