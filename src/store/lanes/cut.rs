//! What was planned is written down before it is sent; then what the cloud has goes; a new epoch.
//!
//! All of it runs in the journal's transaction. `heads` is moved on: throw it away with the transaction
//! if that fails.

use std::collections::BTreeMap;

use cloud_protocol::{Acked, Chain, Lane, NUMBER_MAX};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{LaneHead, damaged, write_head};
use crate::store::write::{Heads, bits, set_meta};
use crate::store::{StoreError, doing};

/// What gives items their numbers: planned on a reading connection, written by the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The epoch it was planned in.
    pub epoch: u64,
    /// By lane.
    pub lanes: BTreeMap<Lane, LaneCut>,
}

/// One lane's part of a cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneCut {
    /// The last number that was given before.
    pub after: u64,
    /// The chain up to it.
    pub chain: Chain,
    /// `after + 1`, `after + 2`, …
    pub rows: Vec<RowCut>,
}

/// What is written into a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowCut {
    /// The row.
    pub id: i64,
    /// The chain up to and including it.
    pub chain: Chain,
    /// Its body, if it isn't the one that stands there: a code is sealed, or it is a sum.
    pub body: Option<Vec<u8>>,
    /// The rows that are summed up in it, and go.
    pub parts: Vec<i64>,
    /// Of demand: its building (empty for the whole estate), and when its bucket ends.
    pub bucket: Option<(String, i64)>,
}

/// Writes a cut. False, and nothing is written, if something has changed since it was planned: the
/// epoch, where a lane stands, or that its rows still wait.
pub fn cut(conn: &Connection, heads: &mut Heads, cut: &Cut) -> Result<bool, StoreError> {
    let stands = |(lane, part): (&Lane, &LaneCut)| {
        let head = heads.lanes.get(lane).copied().unwrap_or_default();
        (head.last_seq, head.last_chain) == (part.after, part.chain)
    };
    if cut.epoch != super::epoch(conn)? || !cut.lanes.iter().all(stands) {
        return Ok(false);
    }
    // Other work shares the transaction: it stays if this is taken back.
    let run = |sql| conn.execute_batch(sql).map_err(doing("written"));
    run("SAVEPOINT cut")?;
    let mut after = heads.lanes.clone();
    for (lane, part) in &cut.lanes {
        let head = after.entry(*lane).or_default();
        if !cut_lane(conn, *lane, head, part)? {
            run("ROLLBACK TO cut; RELEASE cut")?;
            return Ok(false);
        }
        write_head(conn, *lane, head, heads.last_id)?;
    }
    run("RELEASE cut")?;
    heads.lanes = after;
    Ok(true)
}

/// False if a row doesn't wait any more.
fn cut_lane(
    conn: &Connection,
    lane: Lane,
    head: &mut LaneHead,
    part: &LaneCut,
) -> Result<bool, StoreError> {
    let mut number = conn
        .prepare_cached(
            "UPDATE uplink SET seq = ?3, chain = ?4, body = coalesce(?5, body), subject = NULL
             WHERE id = ?1 AND lane = ?2 AND seq IS NULL",
        )
        .map_err(doing("written"))?;
    let mut remove = conn
        .prepare_cached("DELETE FROM uplink WHERE id = ?1 AND lane = ?2 AND seq IS NULL")
        .map_err(doing("written"))?;
    for row in &part.rows {
        let seq = head.last_seq + 1;
        let numbered = number
            .execute(params![
                row.id,
                lane.name(),
                bits(seq),
                row.chain.0,
                row.body
            ])
            .map_err(doing("written"))?;
        if numbered != 1 {
            return Ok(false);
        }
        head.last_seq = seq;
        head.last_chain = row.chain;
        for part in &row.parts {
            if remove
                .execute(params![part, lane.name()])
                .map_err(doing("written"))?
                != 1
            {
                return Ok(false);
            }
            head.waiting = head.waiting.saturating_sub(1);
        }
        if let Some((building, until_ms)) = &row.bucket {
            conn.prepare_cached(
                "INSERT INTO demand_cut (building, until_ms) VALUES (?1, ?2)
                 ON CONFLICT (building) DO UPDATE SET until_ms = max(until_ms, excluded.until_ms)",
            )
            .and_then(|mut s| s.execute(params![building, until_ms]))
            .map_err(doing("written"))?;
        }
    }
    Ok(true)
}

/// Takes the cloud's word for what it has: moves the lanes on and removes the rows. A number beyond
/// what was cut, or below what is acknowledged, changes nothing.
pub fn acked(conn: &Connection, heads: &mut Heads, acked: &Acked) -> Result<(), StoreError> {
    for (lane, seq) in &acked.0 {
        let Some(head) = heads.lanes.get_mut(lane) else {
            continue;
        };
        if *seq <= head.acked_seq || *seq > head.last_seq {
            continue;
        }
        // What is cut is the beginning of the lane's rows, without a gap.
        let (id, chain) = row_at(conn, *lane, *seq - head.acked_seq - 1, *seq)?;
        head.acked_seq = *seq;
        head.acked_chain = chain;
        let removed = conn
            .prepare_cached("DELETE FROM uplink WHERE lane = ?1 AND id <= ?2")
            .and_then(|mut s| s.execute(params![lane.name(), id]))
            .map_err(doing("written"))?;
        head.waiting = head.waiting.saturating_sub(removed as u64);
        write_head(conn, *lane, head, heads.last_id)?;
    }
    Ok(())
}

/// The row at that offset of a lane, which must have that number.
fn row_at(
    conn: &Connection,
    lane: Lane,
    offset: u64,
    seq: u64,
) -> Result<(i64, Chain), StoreError> {
    let found = conn
        .prepare_cached(
            "SELECT id, seq, chain FROM uplink WHERE lane = ?1 ORDER BY id LIMIT 1 OFFSET ?2",
        )
        .and_then(|mut s| {
            let row = |row: &rusqlite::Row<'_>| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, Option<i64>>(1)?,
                    row.get::<_, Option<[u8; 32]>>(2)?,
                ))
            };
            s.query_row(params![lane.name(), bits(offset)], row)
                .optional()
        })
        .map_err(doing("read"))?;
    match found {
        Some((id, Some(number), Some(chain))) if number == bits(seq) => Ok((id, Chain(chain))),
        _ => {
            let lane = lane.name();
            Err(damaged(format!("item {seq} of lane {lane} is missing")))
        }
    }
}

/// The epoch that follows `epoch` at this time (SYNC.md: Unix seconds, or one more).
pub fn next_epoch(epoch: u64, wall_ms: i64) -> u64 {
    let now_s = u64::try_from(wall_ms / 1_000).unwrap_or(0);
    now_s.max(epoch.saturating_add(1)).min(NUMBER_MAX)
}

/// Starts `epoch`: every lane stands at 0, and all that waits is numbered and sealed anew.
pub fn new_epoch(conn: &Connection, heads: &mut Heads, epoch: u64) -> Result<(), StoreError> {
    let last_id = heads.last_id;
    for (lane, head) in &mut heads.lanes {
        conn.prepare_cached(
            "UPDATE uplink SET seq = NULL, chain = NULL WHERE id IN
                 (SELECT id FROM uplink WHERE lane = ?1 ORDER BY id LIMIT ?2)",
        )
        .and_then(|mut s| s.execute(params![lane.name(), bits(head.unacknowledged())]))
        .map_err(doing("written"))?;
        *head = LaneHead {
            waiting: head.waiting,
            ..LaneHead::default()
        };
        write_head(conn, *lane, head, last_id)?;
    }
    set_meta(conn, "epoch", bits(epoch))
}
