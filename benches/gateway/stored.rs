//! Stores that hold many events: filled by SQL with rows as the gateway writes them, without
//! waiting for it to do so.

use crate::common::Setup;
use crate::payload::STORED_BYTES;
use crate::process;

/// Retention as good as off, so that nothing that was filled in goes again.
pub const KEEP_ALL: &str = "[retention]\naccess_days = 3650\nevents_days = 3650\n\
                            store_max_mib = 1000000\n";
/// Rows in one transaction of the filling.
const CHUNK: i64 = 200_000;
/// What a row takes in the file, generously.
const ROW_BYTES: u64 = 220;

/// Whether there is room for so many events, with as much again left free.
pub fn room_for(setup: &Setup, rows: u64) -> bool {
    process::free_bytes(setup.dir.path()) > 2 * rows * ROW_BYTES
}

/// Adds events of the first device until the store holds `rows`. The gateway must be stopped.
pub fn fill(setup: &Setup, rows: u64) {
    let mut conn = rusqlite::Connection::open(setup.store()).unwrap();
    // If this is interrupted, so is the bench.
    conn.pragma_update(None, "synchronous", "OFF").unwrap();
    let count = "SELECT count(*) FROM events";
    let mut there: i64 = conn.query_row(count, [], |row| row.get(0)).unwrap();
    let rows = i64::try_from(rows).unwrap();
    let now_ms = jiff::Timestamp::now().as_millisecond();
    while there < rows {
        let chunk = CHUNK.min(rows - there);
        let tx = conn.transaction().unwrap();
        tx.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
             INSERT INTO events
                 (device, boot, seq, kind, at_ms, at_by, received_ms, quality, body)
             SELECT (SELECT min(ref) FROM devices), 1, ?2 + i, 'reading', ?3, 'received', ?3, 2,
                    randomblob(?4) FROM n",
            (chunk, 1_000_000 + there, now_ms, STORED_BYTES as i64),
        )
        .unwrap();
        tx.commit().unwrap();
        there += chunk;
    }
}

/// The mean size of the bodies stored, bytes.
pub fn mean_body(setup: &Setup) -> f64 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let conn = rusqlite::Connection::open_with_flags(setup.store(), flags).unwrap();
    let sql = "SELECT avg(length(body)) FROM events";
    conn.query_row(sql, [], |row| row.get(0)).unwrap()
}
