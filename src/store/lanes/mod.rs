//! The lanes to the cloud: appended in the transaction that caused them, cut into batches, removed
//! once the cloud has them for good.
//!
//! An item is made without a number. It gets its number, its place in the lane's hash chain and its
//! code's seal when it is first put into a batch: when it is *cut*. So a newer item may take the place
//! of one that wasn't cut yet, where only the latest state matters, and appending costs one row.
//!
//! * [`append`] — an item comes in; what it replaces goes.
//! * [`waiting`] — what to send next is read, and a batch planned of it.
//! * [`mod@cut`] — what was planned is written; then what the cloud has goes; a new epoch.
//! * [`mod@standing`] — where the lanes stand, to compare.
//! * [`demand`] — spans of demand, summed up where the line is short.
//! * [`body`] — an item as it stands in a row.
//!
//! Invariant: nothing is sent that isn't cut on disk.
//! Invariant: a cut item never changes: it is sent again byte for byte until it is acknowledged.
//! Invariant: within a lane and an epoch, numbers and chain have no gap, and follow the order of the
//! rows' ids; what is cut comes before what isn't.
//! Invariant: only what isn't cut is replaced or summed up, and never an item of `fulfilment`: each of
//! them is a fact about a delivery.
//! Invariant: no file holds the digits of a code. A row has them sealed to a key in a file of its own,
//! and, once cut, to the cloud's key; readers join and seal in memory.

pub mod append;
pub mod body;
pub mod cut;
pub mod demand;
mod standing;
pub mod waiting;

use cloud_protocol::{Chain, Lane};
use rusqlite::{Connection, params};

pub use cut::{Cut, acked, cut, new_epoch};
pub use standing::standing;
pub use waiting::{Plan, Unplanned, Waiting, read};

use super::write::{LaneHeads, bits};
use super::{StoreError, doing};

/// Where a lane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneHead {
    /// The last item that was cut.
    pub last_seq: u64,
    /// The chain up to it.
    pub last_chain: Chain,
    /// The last item that the cloud has for good.
    pub acked_seq: u64,
    /// The chain up to it.
    pub acked_chain: Chain,
    /// Items that wait, cut or not.
    pub waiting: u64,
    /// Up to which row they were counted on disk.
    counted_id: i64,
}

impl LaneHead {
    /// Items that are cut and not acknowledged.
    pub const fn unacknowledged(&self) -> u64 {
        self.last_seq.saturating_sub(self.acked_seq)
    }
}

/// Where every lane stands. Costs the same however much waits.
pub fn heads(conn: &Connection) -> Result<LaneHeads, StoreError> {
    let mut out: LaneHeads = Lane::ALL
        .into_iter()
        .map(|lane| (lane, LaneHead::default()))
        .collect();
    let mut statement = conn
        .prepare_cached(
            "SELECT lane, last_seq, last_chain, acked_seq, acked_chain, counted_id,
                    waiting + (SELECT count(*) FROM uplink u
                               WHERE u.lane = lanes.lane AND u.id > lanes.counted_id)
             FROM lanes",
        )
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
                    counted_id: row.get(5)?,
                    waiting: row.get::<_, i64>(6)?.cast_unsigned(),
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

/// The id of the last row that was ever appended.
pub fn last_id(conn: &Connection) -> Result<i64, StoreError> {
    conn.query_row(
        "SELECT max(coalesce((SELECT max(id) FROM uplink), 0),
                    coalesce((SELECT max(counted_id) FROM lanes), 0))",
        [],
        |row| row.get(0),
    )
    .map_err(doing("read"))
}

/// The epoch of this store.
pub fn epoch(conn: &Connection) -> Result<u64, StoreError> {
    conn.query_row("SELECT value FROM meta WHERE name = 'epoch'", [], |row| {
        row.get::<_, i64>(0)
    })
    .map(i64::cast_unsigned)
    .map_err(doing("read"))
}

/// Writes where a lane stands, and how much waits. Whoever removes rows does so, which is also what
/// keeps ids from being used again.
fn write_head(
    conn: &Connection,
    lane: Lane,
    head: &mut LaneHead,
    last_id: i64,
) -> Result<(), StoreError> {
    head.counted_id = last_id;
    conn.prepare_cached(
        "INSERT OR REPLACE INTO lanes
             (lane, last_seq, last_chain, acked_seq, acked_chain, waiting, counted_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )
    .and_then(|mut s| {
        s.execute(params![
            lane.name(),
            bits(head.last_seq),
            head.last_chain.0,
            bits(head.acked_seq),
            head.acked_chain.0,
            bits(head.waiting),
            head.counted_id,
        ])
    })
    .map(|_| ())
    .map_err(doing("written"))
}

/// What a row can't be.
fn damaged(what: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged {
        table: "uplink",
        what: what.to_string(),
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
pub(super) mod tests;
