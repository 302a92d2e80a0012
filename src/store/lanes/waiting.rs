//! What to send next: read on a connection that can't write, then planned without any.
//!
//! Of each lane, what was cut and isn't acknowledged goes first, as it was cut, and nothing beside it: so
//! what piles up while the cloud is away isn't cut, and the latest of it is enough. Otherwise the rows
//! that come next are planned to be cut. A less urgent lane gets a place only once the more urgent ones
//! are wholly in the batch.
//!
//! Codes are sealed here, far from the journal's thread. No more rows are in memory than a batch may
//! have items, however many wait; a sum adds up its parts, of which there are [`PARTS_MAX`] at most.
//!
//! [`PARTS_MAX`]: super::demand::PARTS_MAX

use std::collections::BTreeMap;

use cloud_protocol::secure::sealed::seal;
use cloud_protocol::uplink::LaneBatch;
use cloud_protocol::{BODY_MAX_BYTES, Batch, Chain, CodeForResident, Item, Lane, Report};
use firmware_protocols::Ident;
use rusqlite::{Connection, params};

use super::cut::{Cut, LaneCut, RowCut};
use super::demand::{Spans, Summed};
use super::{LaneHead, body, damaged, epoch, heads};
use crate::cloud::{BatchLimits, Seal};
use crate::keys::StoreKey;
use crate::store::{StoreError, doing};

/// The most items in a batch, whatever was asked for.
pub const ITEMS_MAX: usize = 10_000;
/// What an item's number takes in a batch, and a sealed code, bytes.
const SEQ_BYTES: usize = 10;
const SEALED_BYTES: usize = 128;

/// A batch, and what must be on disk before it is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What to send.
    pub batch: Batch,
    /// What to write first; `None` if all of it was cut before.
    pub cut: Option<Cut>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Unplanned {
    /// What was read can't be what was written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cloud's sealing key isn't one.
    #[error(
        "pickup codes can't be sealed to the cloud's key: ask the cloud's operator to set its sealing key right"
    )]
    Sealing,
}

/// What was read to be sent.
#[derive(Debug)]
pub struct Waiting {
    epoch: u64,
    parts: Vec<Part>,
}

/// What was read of a lane.
#[derive(Debug)]
struct Part {
    lane: Lane,
    head: LaneHead,
    rows: Vec<Row>,
}

/// A row to be sent.
#[derive(Debug)]
pub(super) struct Row {
    pub id: i64,
    pub subject: Option<String>,
    pub body: Vec<u8>,
    pub secret: Option<Vec<u8>>,
    pub seq: Option<u64>,
    pub chain: Option<Chain>,
    /// Whether the body is a sum, and not what stands in the row.
    pub summed: bool,
    /// The other rows that go into the sum.
    pub parts: Vec<i64>,
}

struct Room {
    items: usize,
    bytes: usize,
    started: bool,
}

/// Reads what to send next, within the limits. A first item that is over `limits.bytes` by itself is
/// given alone.
pub fn read(conn: &Connection, limits: &BatchLimits) -> Result<Waiting, StoreError> {
    // One state of the store; given back at the end, so that the log isn't held.
    let snapshot = conn.unchecked_transaction().map_err(doing("read"))?;
    let mut room = Room {
        items: limits.items.clamp(1, ITEMS_MAX),
        bytes: limits.bytes.min(BODY_MAX_BYTES),
        started: false,
    };
    let mut parts = Vec::new();
    let heads = heads(&snapshot)?;
    for lane in Lane::ALL {
        let head = heads.get(&lane).copied().unwrap_or_default();
        if head.waiting == 0 || limits.held.contains(&lane) {
            continue;
        }
        let mut spans = match limits.demand_minutes {
            Some(minutes) if lane == Lane::Demand => Some(Spans::load(&snapshot, minutes)?),
            _ => None,
        };
        let rows = rows(&snapshot, lane, &head, &mut room, spans.as_mut())?;
        let all = rows.len() as u64 == head.waiting;
        if !rows.is_empty() {
            parts.push(Part { lane, head, rows });
        }
        if !all {
            break;
        }
    }
    let epoch = epoch(&snapshot)?;
    Ok(Waiting { epoch, parts })
}

fn rows(
    conn: &Connection,
    lane: Lane,
    head: &LaneHead,
    room: &mut Room,
    mut spans: Option<&mut Spans<'_>>,
) -> Result<Vec<Row>, StoreError> {
    // What is cut comes first in the lane; without any, all that comes isn't.
    let most = match head.unacknowledged() {
        0 => room.items,
        cut => room.items.min(usize::try_from(cut).unwrap_or(usize::MAX)),
    };
    let spans_apply = head.unacknowledged() == 0;
    let mut statement = conn
        .prepare_cached(
            "SELECT id, subject, body, secret, seq, chain FROM uplink
             WHERE lane = ?1 ORDER BY id LIMIT ?2",
        )
        .map_err(doing("read"))?;
    let mut read = statement
        .query(params![lane.name(), most as i64])
        .map_err(doing("read"))?;
    let mut out = Vec::new();
    while let Some(row) = read.next().map_err(doing("read"))? {
        let mut row = row_of(row).map_err(doing("read"))?;
        if let Some(spans) = spans.as_mut().filter(|_| spans_apply) {
            row = match spans.take(row)? {
                Summed::Row(row) => row,
                Summed::InAnother => continue,
                Summed::Later => break,
            };
        }
        if !room.takes(&row) {
            break;
        }
        out.push(row);
    }
    Ok(out)
}

fn row_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        id: row.get(0)?,
        subject: row.get(1)?,
        body: row.get(2)?,
        secret: row.get(3)?,
        seq: row.get::<_, Option<i64>>(4)?.map(i64::cast_unsigned),
        chain: row.get::<_, Option<[u8; 32]>>(5)?.map(Chain),
        summed: false,
        parts: Vec::new(),
    })
}

impl Room {
    fn takes(&mut self, row: &Row) -> bool {
        let sealed = row.secret.as_ref().map_or(0, |_| SEALED_BYTES);
        let bytes = row.body.len() + SEQ_BYTES + sealed;
        if self.items == 0 || (self.bytes < bytes && self.started) {
            self.items = 0;
            return false;
        }
        self.started = true;
        self.bytes = self.bytes.saturating_sub(bytes);
        self.items -= 1;
        true
    }
}

impl Waiting {
    /// Plans the batch. `None` if nothing waits that may be sent.
    pub fn plan(self, key: &StoreKey, to: &Seal) -> Result<Option<Plan>, Unplanned> {
        let mut lanes = BTreeMap::new();
        let mut cuts = BTreeMap::new();
        for part in self.parts {
            let lane = part.lane;
            let (batch, cut) = if part.head.unacknowledged() > 0 {
                (part.sent_again()?, None)
            } else {
                let (batch, cut) = part.cut(key, to)?;
                (batch, Some(cut))
            };
            lanes.insert(lane, batch);
            cuts.extend(cut.map(|cut| (lane, cut)));
        }
        if lanes.is_empty() {
            return Ok(None);
        }
        let epoch = self.epoch;
        let cut = (!cuts.is_empty()).then_some(Cut { epoch, lanes: cuts });
        let batch = Batch { epoch, lanes };
        Ok(Some(Plan { batch, cut }))
    }
}

impl Part {
    /// What was cut, as it was.
    fn sent_again(self) -> Result<LaneBatch, StoreError> {
        let (after, before) = (self.head.acked_seq, self.head.acked_chain);
        let mut chain = before;
        let mut items = Vec::with_capacity(self.rows.len());
        for (row, seq) in self.rows.into_iter().zip(after + 1..) {
            let item = body::decode(&row.body, seq)?;
            chain = chain.then(&item);
            if (row.seq, row.chain) != (Some(seq), Some(chain)) {
                let lane = self.lane.name();
                return Err(damaged(format!(
                    "item {seq} of lane {lane} isn't the one that was cut ('linli sync restored' numbers the lanes anew)"
                )));
            }
            items.push(item);
        }
        Ok(LaneBatch {
            after,
            chain: before,
            items,
        })
    }

    /// The next items, numbered, sealed and chained.
    fn cut(self, key: &StoreKey, to: &Seal) -> Result<(LaneBatch, LaneCut), Unplanned> {
        let (after, before) = (self.head.last_seq, self.head.last_chain);
        let mut chain = before;
        let mut items = Vec::with_capacity(self.rows.len());
        let mut rows = Vec::with_capacity(self.rows.len());
        for (row, seq) in self.rows.into_iter().zip(after + 1..) {
            if row.seq.is_some() {
                return Err(damaged("an item is cut that the lane doesn't know of").into());
            }
            let mut item = body::decode(&row.body, seq)?;
            let sealed = seal_code(&mut item, row.secret.as_deref(), key, to)?;
            chain = chain.then(&item);
            let is_new = sealed || row.summed;
            rows.push(RowCut {
                id: row.id,
                chain,
                body: is_new.then(|| body::encode(&item)),
                parts: row.parts,
                bucket: bucket(&item.report),
            });
            items.push(item);
        }
        let batch = LaneBatch {
            after,
            chain: before,
            items,
        };
        let cut = LaneCut {
            after,
            chain: before,
            rows,
        };
        Ok((batch, cut))
    }
}

/// Seals the code of an item that has one to the cloud's key. Returns whether it has.
fn seal_code(
    item: &mut Item,
    secret: Option<&[u8]>,
    key: &StoreKey,
    to: &Seal,
) -> Result<bool, Unplanned> {
    let (Some(secret), Report::Parcel(report)) = (secret, &mut item.report) else {
        return Ok(false);
    };
    let digits = body::open(secret, key)?;
    let sealed = seal(&to.key, to.gateway.as_str(), &report.parcel, &digits)
        .map_err(|_| Unplanned::Sealing)?;
    report.code = Some(CodeForResident::Sealed(sealed));
    Ok(true)
}

/// Of demand: whose it is, and when its bucket ends.
fn bucket(report: &Report) -> Option<(String, i64)> {
    let Report::Demand(report) = report else {
        return None;
    };
    let building = report.building.as_ref().map_or("", Ident::as_str);
    Some((building.to_owned(), super::demand::end_ms(report)))
}
