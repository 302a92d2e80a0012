//! A batch as the receiving side sees it: each item with the very value that its chain is made of.
//!
//! A cloud may be older than its gateways. So an item keeps the fields that this version doesn't
//! know (they are part of the hash chain), and an item of an unknown kind is still an item: it has
//! its number and its place in the chain, and doesn't block the lane.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use firmware_protocols::fields::{Fields, Malformed};
use firmware_protocols::value::{Key, Value};

use crate::read::{bytes, time, within};
use crate::uplink::{Batch, Item, Lane, LaneBatch, Report, unknown_lane};
use crate::{Chain, NUMBER_MAX};

/// A batch that is well-formed: each lane numbered without a gap, each known kind in its own lane.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// The sender's epoch.
    pub epoch: u64,
    /// By lane.
    pub lanes: BTreeMap<Lane, ReceivedLane>,
}

/// One lane's part.
#[derive(Debug, Clone, PartialEq)]
pub struct ReceivedLane {
    /// The last sequence number that the sender takes as acknowledged.
    pub after: u64,
    /// The chain up to and including `after`, as the sender has it.
    pub chain: Chain,
    /// `after + 1`, `after + 2`, …
    pub items: Vec<ReceivedItem>,
}

/// One item, and all that was said in it.
#[derive(Clone, PartialEq)]
pub struct ReceivedItem {
    /// From 1, without a gap within lane and epoch.
    pub seq: u64,
    /// When it was made, ms since the Unix epoch.
    pub at: i64,
    /// What it says; `None` if its kind is unknown to this version.
    pub report: Option<Report>,
    /// The item with all its fields, known or not; byte strings that JSON carries as text are byte
    /// strings here, as far as the fields are known.
    pub value: Value,
}

/// Without the value, which holds what the report keeps to itself.
impl fmt::Debug for ReceivedItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedItem")
            .field("seq", &self.seq)
            .field("at", &self.at)
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

/// Why a batch can't be read, and the lane that it is about if it is about one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct RefusedBatch {
    /// The lane's name on the wire, known or not.
    pub lane: Option<String>,
    /// What is wrong, with lane, item and field.
    pub reason: Malformed,
}

impl From<Malformed> for RefusedBatch {
    fn from(reason: Malformed) -> Self {
        Self { lane: None, reason }
    }
}

impl Received {
    /// Reads the body of `POST /v1/gateways/{gateway}/uplink`.
    pub fn from_value(value: &Value) -> Result<Self, RefusedBatch> {
        let f = Fields::of(value)?;
        let epoch = f.uint("epoch", 0, NUMBER_MAX)?;
        let parts = f.need("lanes")?;
        let Value::Map(parts) = parts else {
            return Err(Malformed::field("lanes", "a map by lane", parts.kind()).into());
        };
        let mut lanes = BTreeMap::new();
        for (name, part) in parts {
            let refused = |reason: Malformed| RefusedBatch {
                lane: Some(name.to_string().chars().take(32).collect()),
                reason,
            };
            let lane = lane_of(name).map_err(refused)?;
            let part = ReceivedLane::from_value(lane, part)
                .map_err(|e| refused(within(&format!("lane '{}'", lane.name()), &e)))?;
            lanes.insert(lane, part);
        }
        Ok(Self { epoch, lanes })
    }

    /// The plain batch; an error if it holds a kind that this version doesn't know.
    pub fn into_batch(self) -> Result<Batch, Malformed> {
        let mut lanes = BTreeMap::new();
        for (lane, part) in self.lanes {
            let items = part.items.into_iter().map(ReceivedItem::into_item);
            let part = LaneBatch {
                after: part.after,
                chain: part.chain,
                items: items.collect::<Result<_, _>>()?,
            };
            lanes.insert(lane, part);
        }
        Ok(Batch {
            epoch: self.epoch,
            lanes,
        })
    }
}

impl ReceivedLane {
    fn from_value(lane: Lane, value: &Value) -> Result<Self, Malformed> {
        let f = Fields::of(value)?;
        let after = f.uint("after", 0, NUMBER_MAX)?;
        let chain = Chain(bytes(f, "chain")?);
        let Value::Array(values) = f.need("items")? else {
            let got = f.need("items")?.kind();
            return Err(Malformed::field("items", "an array", got));
        };
        let mut items = Vec::with_capacity(values.len());
        for (expected, value) in (after + 1..).zip(values) {
            let item = ReceivedItem::from_value(lane, expected, value)
                .map_err(|e| within(&format!("item {expected}"), &e))?;
            items.push(item);
        }
        Ok(Self {
            after,
            chain,
            items,
        })
    }
}

impl ReceivedItem {
    fn from_value(lane: Lane, expected: u64, value: &Value) -> Result<Self, Malformed> {
        let f = Fields::of(value)?;
        let seq = f.uint("seq", 1, NUMBER_MAX)?;
        if seq != expected {
            let expected = format!("{expected} (items are numbered from after + 1 without a gap)");
            return Err(Malformed::field("seq", &expected, &seq.to_string()));
        }
        let at = time(f, "at")?;
        let kind = f.text("kind", 32)?;
        let mut value = value.clone();
        if !Report::KINDS.contains(&kind) {
            let report = None;
            return Ok(Self {
                seq,
                at,
                report,
                value,
            });
        }
        let report = Report::from_fields(f)?;
        if report.lane() != lane {
            let expected = format!("a kind of the lane '{}'", lane.name());
            return Err(Malformed::field("kind", &expected, &format!("'{kind}'")));
        }
        let item = Item { seq, at, report };
        restore_bytes(&mut value, &item.to_value());
        Ok(Self {
            seq,
            at,
            report: Some(item.report),
            value,
        })
    }

    /// The encoding that enters the lane's hash chain: see [`Chain::then_encoded`].
    #[must_use]
    pub fn encoded(&self) -> Vec<u8> {
        self.value.to_cbor()
    }

    /// The plain item; an error if its kind is unknown to this version.
    pub fn into_item(self) -> Result<Item, Malformed> {
        let Some(report) = self.report else {
            return Err(Malformed(format!("item {}: unknown kind", self.seq)));
        };
        Ok(Item {
            seq: self.seq,
            at: self.at,
            report,
        })
    }
}

fn lane_of(name: &Key) -> Result<Lane, Malformed> {
    let Key::Text(text) = name else {
        return Err(Malformed::field("lanes", "a lane's name", "an integer"));
    };
    Lane::from_name(text).ok_or_else(|| unknown_lane(text))
}

/// Makes the texts of `received` byte strings wherever `known` has byte strings.
fn restore_bytes(received: &mut Value, known: &Value) {
    match (received, known) {
        (Value::Map(entries), Value::Map(known)) => {
            let known: BTreeMap<&Key, &Value> =
                known.iter().map(|(key, value)| (key, value)).collect();
            for (key, value) in entries {
                if let Some(known) = known.get(key) {
                    restore_bytes(value, known);
                }
            }
        }
        (received @ Value::Text(_), Value::Bytes(bytes)) => *received = Value::Bytes(bytes.clone()),
        _ => {}
    }
}
