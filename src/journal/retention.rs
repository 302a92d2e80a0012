//! Storage is bounded: events go by age, access events first, and by size. What the cloud hasn't
//! got, parcels and their histories are never touched here.

use rusqlite::Connection;

use crate::keys::DayKeys;
use crate::store::{StoreError, doing, load};

/// How long events are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Access events, days. Default 7. The keys of their digests go with them.
    pub access_days: u32,
    /// Everything else, days. Default 90.
    pub events_days: u32,
    /// The size of the database beyond which the oldest events go, MiB. Default 1,024.
    pub store_max_mib: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            access_days: 7,
            events_days: 90,
            store_max_mib: 1_024,
        }
    }
}

/// Rows looked at in one sweep: a few milliseconds, so that nobody waits for it.
const SWEEP_ROWS: i64 = 2_000;
const DAY_MS: i64 = 86_400_000;

/// Removes what is too old, a bounded piece at a time, in a transaction of its own. Returns whether
/// there is more to do. Does nothing while the wall clock isn't known.
pub fn sweep(
    conn: &mut Connection,
    retention: &Retention,
    days: &DayKeys,
    wall_ms: i64,
) -> Result<bool, StoreError> {
    let before = |days: u32| wall_ms - i64::from(days) * DAY_MS;
    let access_before = before(retention.access_days);
    let tx = conn.transaction().map_err(doing("swept"))?;
    let swept_to = load::meta(&tx, "access_swept_to")?.unwrap_or(0);
    let access = sweep_access(&tx, swept_to, access_before)?;
    let old = remove_oldest(&tx, "received_ms < ?1", before(retention.events_days))?;
    let mut large = 0;
    if size_mib(&tx)? > i64::from(retention.store_max_mib) {
        large = remove_oldest(&tx, "?1 = ?1", 0)?;
    }
    tx.commit().map_err(doing("swept"))?;
    if !access {
        // All access events before this day are gone, so nothing needs its key any more.
        days.destroy(access_before).map_err(StoreError::OldKeys)?;
    }
    Ok(access || old == SWEEP_ROWS || large == SWEEP_ROWS)
}

/// Walks the events by id behind a cursor of its own. Returns whether there is more behind.
fn sweep_access(conn: &Connection, from: i64, before_ms: i64) -> Result<bool, StoreError> {
    let to: Option<i64> = conn
        .prepare_cached(
            "SELECT max(id) FROM (SELECT id, received_ms FROM events WHERE id > ?1
                                  ORDER BY id LIMIT ?2) WHERE received_ms < ?3",
        )
        .and_then(|mut s| s.query_row((from, SWEEP_ROWS, before_ms), |row| row.get(0)))
        .map_err(doing("swept"))?;
    let Some(to) = to else {
        return Ok(false);
    };
    conn.prepare_cached(
        "DELETE FROM events WHERE id > ?1 AND id <= ?2 AND kind = 'access' AND received_ms < ?3",
    )
    .and_then(|mut s| s.execute((from, to, before_ms)))
    .map_err(doing("swept"))?;
    conn.prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES ('access_swept_to', ?1)")
        .and_then(|mut s| s.execute([to]))
        .map_err(doing("swept"))?;
    Ok(to - from >= SWEEP_ROWS)
}

/// Removes the oldest rows that match, up to the first that doesn't.
fn remove_oldest(conn: &Connection, matching: &str, value: i64) -> Result<i64, StoreError> {
    let sql = format!(
        "DELETE FROM events WHERE id IN
             (SELECT id FROM (SELECT id, received_ms FROM events ORDER BY id LIMIT {SWEEP_ROWS})
              WHERE {matching})"
    );
    conn.prepare_cached(&sql)
        .and_then(|mut s| s.execute([value]))
        .map(|rows| i64::try_from(rows).unwrap_or(i64::MAX))
        .map_err(doing("swept"))
}

/// The database's size without its free pages, MiB.
fn size_mib(conn: &Connection) -> Result<i64, StoreError> {
    let pragma = |name: &str| -> Result<i64, StoreError> {
        conn.pragma_query_value(None, name, |row| row.get(0))
            .map_err(doing("measured"))
    };
    let used = pragma("page_count")? - pragma("freelist_count")?;
    Ok(used * pragma("page_size")? / (1024 * 1024))
}
