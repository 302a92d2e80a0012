//! The lanes to the cloud: appended in the transaction that caused them, read in batches, removed
//! once the cloud has them for good.
//!
//! A pickup code on its way to the resident's notice is parted from its item and sealed to a key in
//! a file of its own, so that the database, its log and its copies don't hold it. Readers that send
//! (`next_batch`) join the two again in memory.

use std::collections::BTreeMap;

use cloud_protocol::CodeForResident;
use cloud_protocol::uplink::LaneBatch;
use cloud_protocol::{Acked, Batch, Chain, Item, Lane, Report};
use firmware_protocols::Value;
use firmware_protocols::event::Secret;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::write::{LaneHeads, bits};
use super::{StoreError, doing};
use crate::keys::StoreKey;

/// Where a lane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneHead {
    /// The last item's number.
    pub last_seq: u64,
    /// The chain up to it.
    pub last_chain: Chain,
    /// The last item that the cloud has for good.
    pub acked_seq: u64,
    /// The chain up to it.
    pub acked_chain: Chain,
}

/// Where every lane stands.
pub fn heads(conn: &Connection) -> Result<LaneHeads, StoreError> {
    let mut out: LaneHeads = Lane::ALL
        .into_iter()
        .map(|lane| (lane, LaneHead::default()))
        .collect();
    let mut statement = conn
        .prepare_cached("SELECT lane, last_seq, last_chain, acked_seq, acked_chain FROM lanes")
        .map_err(doing("read"))?;
    let rows = statement
        .query_map([], |row| {
            Ok((
                row.get::<_, String>(0)?,
                LaneHead {
                    last_seq: row.get::<_, i64>(1)?.cast_unsigned(),
                    last_chain: Chain(row.get(2)?),
                    acked_seq: row.get::<_, i64>(3)?.cast_unsigned(),
                    acked_chain: Chain(row.get(4)?),
                },
            ))
        })
        .map_err(doing("read"))?;
    for row in rows {
        let (name, head) = row.map_err(doing("read"))?;
        if let Some(lane) = Lane::from_name(&name) {
            out.insert(lane, head);
        }
    }
    Ok(out)
}

/// The epoch of this store.
pub fn epoch(conn: &Connection) -> Result<u64, StoreError> {
    conn.query_row("SELECT value FROM meta WHERE name = 'epoch'", [], |row| {
        row.get::<_, i64>(0)
    })
    .map(i64::cast_unsigned)
    .map_err(doing("read"))
}

/// What to send next: the items after the last acknowledged one of each lane, most urgent lane
/// first, within `items_max` items and about `bytes_max` bytes. `None` when nothing waits.
///
/// A less urgent lane gets a place only once the more urgent ones are wholly in the batch. Lanes in
/// `held` are left out. A first item that is over `bytes_max` by itself is sent alone.
pub fn next_batch(
    conn: &Connection,
    key: &StoreKey,
    items_max: usize,
    bytes_max: usize,
    held: &[Lane],
) -> Result<Option<Batch>, StoreError> {
    let mut lanes = BTreeMap::new();
    let mut room = Room {
        items: items_max.max(1),
        bytes: bytes_max,
        started: false,
    };
    let heads = heads(conn)?;
    for lane in Lane::ALL {
        let head = heads.get(&lane).copied().unwrap_or_default();
        if head.last_seq == head.acked_seq || held.contains(&lane) {
            continue;
        }
        let items = lane_items(conn, key, lane, head.acked_seq, &mut room)?;
        let sent_all = items.last().is_some_and(|item| item.seq == head.last_seq);
        if !items.is_empty() {
            let part = LaneBatch {
                after: head.acked_seq,
                chain: head.acked_chain,
                items,
            };
            lanes.insert(lane, part);
        }
        if !sent_all {
            break;
        }
    }
    if lanes.is_empty() {
        return Ok(None);
    }
    let epoch = epoch(conn)?;
    Ok(Some(Batch { epoch, lanes }))
}

/// Takes the cloud's word for what it has: moves the lanes on and removes the rows. Runs in the
/// journal's transaction. A number beyond what was sent, or below what is acknowledged, changes
/// nothing.
pub fn acked(conn: &Connection, heads: &mut LaneHeads, acked: &Acked) -> Result<(), StoreError> {
    for (lane, seq) in &acked.0 {
        let Some(head) = heads.get_mut(lane) else {
            continue;
        };
        if *seq <= head.acked_seq || *seq > head.last_seq {
            continue;
        }
        let chain: Option<[u8; 32]> = conn
            .prepare_cached("SELECT chain FROM uplink WHERE lane = ?1 AND seq = ?2")
            .and_then(|mut s| {
                s.query_row(params![lane.name(), bits(*seq)], |row| row.get(0))
                    .optional()
            })
            .map_err(doing("read"))?;
        let Some(chain) = chain else {
            return Err(StoreError::Damaged {
                table: "uplink",
                what: format!("item {seq} of lane {} is missing", lane.name()),
            });
        };
        head.acked_seq = *seq;
        head.acked_chain = Chain(chain);
        write_head(conn, *lane, head)?;
        conn.prepare_cached("DELETE FROM uplink WHERE lane = ?1 AND seq <= ?2")
            .and_then(|mut s| s.execute(params![lane.name(), bits(*seq)]))
            .map_err(doing("written"))?;
    }
    Ok(())
}

/// Writes where a lane stands.
pub(super) fn write_head(conn: &Connection, lane: Lane, head: &LaneHead) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT OR REPLACE INTO lanes (lane, last_seq, last_chain, acked_seq, acked_chain)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .and_then(|mut s| {
        s.execute(params![
            lane.name(),
            bits(head.last_seq),
            head.last_chain.0,
            bits(head.acked_seq),
            head.acked_chain.0,
        ])
    })
    .map(|_| ())
    .map_err(doing("written"))
}

/// Parts an item from the code that it carries.
pub(super) fn part_from_code(mut item: Item) -> (Item, Option<Secret>) {
    let code = match &mut item.report {
        Report::Parcel(report) => match report.code.take() {
            Some(CodeForResident::Plain(digits)) => Some(digits),
            sealed => {
                report.code = sealed;
                None
            }
        },
        Report::Unplaceable(_)
        | Report::Claim(_)
        | Report::Demand(_)
        | Report::Health(_)
        | Report::Audit { .. } => None,
    };
    (item, code)
}

struct Room {
    items: usize,
    bytes: usize,
    started: bool,
}

fn lane_items(
    conn: &Connection,
    key: &StoreKey,
    lane: Lane,
    after: u64,
    room: &mut Room,
) -> Result<Vec<Item>, StoreError> {
    let mut statement = conn
        .prepare_cached(
            "SELECT body, secret FROM uplink WHERE lane = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
        )
        .map_err(doing("read"))?;
    let mut rows = statement
        .query(params![lane.name(), bits(after), room.items as i64])
        .map_err(doing("read"))?;
    let mut items = Vec::new();
    while let Some(row) = rows.next().map_err(doing("read"))? {
        let body: Vec<u8> = row.get(0).map_err(doing("read"))?;
        let secret: Option<Vec<u8>> = row.get(1).map_err(doing("read"))?;
        if room.bytes < body.len() && room.started {
            room.items = 0;
            break;
        }
        room.started = true;
        room.bytes = room.bytes.saturating_sub(body.len());
        room.items = room.items.saturating_sub(1);
        items.push(join_code(&body, secret.as_deref(), key)?);
    }
    Ok(items)
}

fn join_code(body: &[u8], secret: Option<&[u8]>, key: &StoreKey) -> Result<Item, StoreError> {
    let damaged = |what: String| StoreError::Damaged {
        table: "uplink",
        what,
    };
    let value = Value::from_cbor(body).map_err(|e| damaged(e.to_string()))?;
    let mut item = Item::from_value(&value).map_err(|e| damaged(e.to_string()))?;
    if let (Some(secret), Report::Parcel(report)) = (secret, &mut item.report) {
        let open = key.open(secret).map_err(|e| damaged(e.to_string()))?;
        let digits = String::from_utf8(open).map_err(|e| damaged(e.to_string()))?;
        report.code = Some(CodeForResident::Plain(Secret::new(digits)));
    }
    Ok(item)
}
