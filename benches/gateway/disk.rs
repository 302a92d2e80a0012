//! The baselines of the disk itself: one sync, and plain SQLite with the same durability.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::payload::STORED_BYTES;
use crate::process;

/// Appends 4 KiB and waits until they are on disk, `times` over.
pub fn syncs(folder: &Path, times: usize) -> Vec<Duration> {
    let mut file = File::create(folder.join("sync")).unwrap();
    let page = [7_u8; 4096];
    (0..times)
        .map(|_| {
            let from = Instant::now();
            file.write_all(&page).unwrap();
            file.sync_data().unwrap();
            from.elapsed()
        })
        .collect()
}

/// What plain SQLite does.
pub struct Plain {
    pub rows_per_second: f64,
    /// Written to the disk in all, checkpoints and the one at the end included.
    pub bytes_per_row: f64,
}

/// Plain SQLite in a WAL with `synchronous=FULL`, `batch` rows a transaction, rows with the columns
/// and the size of an event's. `once` adds the unique index that keeps an event from being stored
/// twice, which the gateway does by other means.
pub fn sqlite(folder: &Path, batch: usize, once: bool, at_least: Duration) -> Plain {
    let path = folder.join(format!("plain-{batch}-{once}.db"));
    let mut conn = rusqlite::Connection::open(&path).unwrap();
    conn.pragma_update(None, "journal_mode", "WAL").unwrap();
    conn.pragma_update(None, "synchronous", "FULL").unwrap();
    conn.execute_batch(
        "CREATE TABLE events (id INTEGER PRIMARY KEY, device INTEGER, boot INTEGER, seq INTEGER,
         kind TEXT, at_ms INTEGER, at_by TEXT, received_ms INTEGER, quality INTEGER, body BLOB)",
    )
    .unwrap();
    if once {
        conn.execute_batch("CREATE UNIQUE INDEX once ON events (device, boot, seq)")
            .unwrap();
    }
    let written = process::written_by_this_thread();
    let from = Instant::now();
    let mut rows = 0_i64;
    while from.elapsed() < at_least {
        insert(&mut conn, batch, &mut rows);
    }
    let took = from.elapsed();
    // Closing it runs the last checkpoint.
    drop(conn);
    let written = process::written_by_this_thread() - written;
    std::fs::remove_file(path).unwrap();
    Plain {
        rows_per_second: rows as f64 / took.as_secs_f64(),
        bytes_per_row: written as f64 / rows as f64,
    }
}

fn insert(conn: &mut rusqlite::Connection, batch: usize, rows: &mut i64) {
    let body = [3_u8; STORED_BYTES];
    let tx = conn.transaction().unwrap();
    {
        let mut insert = tx
            .prepare_cached(
                "INSERT INTO events (device, boot, seq, kind, at_ms, at_by, received_ms,
                 quality, body) VALUES (?1, 1, ?2, 'reading', ?3, 'received', ?3, 2, ?4)",
            )
            .unwrap();
        for _ in 0..batch {
            *rows += 1;
            let values = (*rows % 50, *rows, 1_780_000_000_000 + *rows, &body[..]);
            insert.execute(values).unwrap();
        }
    }
    tx.commit().unwrap();
}
