//! Opening the store: pragmas that durability rests on, migrations, the epoch.
//!
//! What a failed sync leaves behind. Linux reports a failed write-back once and then takes the page for
//! clean, so what is read back may not be on the disk, and a second sync says nothing about it. SQLite
//! answers a failed sync of the log by forgetting the transaction: the next one is written over the same
//! frames, in full, and synced; a checkpoint whose sync failed copies all its pages again. So the
//! connection is kept. Opening it anew would be the mistake: SQLite then takes from the log whatever
//! reads back well, and later commits would stand on frames that a power cut takes away. A daemon that
//! was killed after a failed sync must open it anew, so the log is first written over with itself and
//! synced (`renew_log`).

use std::fs::{File, Permissions};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::lanes::cut::next_epoch;
use super::write::{bits, set_meta};
use super::{StoreError, doing, parent_of, sync_folder};

/// One script a version, in order. A script that has been released is never changed.
const MIGRATIONS: [&str; 4] = [
    include_str!("0001.sql"),
    include_str!("0002.sql"),
    include_str!("0003.sql"),
    include_str!("0004.sql"),
];

/// A page of the log or the database, bytes: SQLite's default, which stores keep for life.
pub const PAGE_BYTES: u64 = 4_096;

/// Opens the one writing connection and brings the schema up to date.
///
/// `wall_ms` is the time now, for the epoch of a new store (WIRE: Unix seconds).
pub fn open_writer(path: &Path, wall_ms: i64) -> Result<WriterConnection, StoreError> {
    make_private(path)?;
    renew_log(path)?;
    let mut conn = Connection::open(path).map_err(doing("opened"))?;
    conn.busy_timeout(Duration::from_secs(5))
        .map_err(doing("opened"))?;
    refuse_newer(&conn, path)?;
    set_pragmas(&conn, path)?;
    migrate(&mut conn, wall_ms)?;
    must_be_writable(&conn, path)?;
    // A new file is only there for good once its folder is synced.
    let folder = parent_of(path);
    sync_folder(folder).map_err(|source| StoreError::Io {
        doing: "synced",
        path: folder.to_path_buf(),
        source,
    })?;
    conn.set_prepared_statement_cache_capacity(64);
    let wal_pages = count_wal_pages(&mut conn)?;
    Ok(WriterConnection { conn, wal_pages })
}

/// Opens a connection that can only read.
pub fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(doing("opened for reading"))?;
    conn.busy_timeout(Duration::from_secs(5))
        .and_then(|()| conn.pragma_update(None, "cache_size", -512))
        .map_err(doing("opened for reading"))?;
    refuse_newer(&conn, path)?;
    Ok(conn)
}

/// The one writing connection.
pub struct WriterConnection {
    /// The connection.
    pub conn: Connection,
    wal_pages: Arc<AtomicI32>,
}

impl WriterConnection {
    /// Pages in the write-ahead log that no checkpoint has moved yet.
    pub fn wal_pages(&self) -> i32 {
        self.wal_pages.load(Ordering::Relaxed)
    }

    /// Moves the write-ahead log into the database as far as readers allow.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        self.conn
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
            .map_err(doing("checkpointed"))?;
        self.wal_pages.store(0, Ordering::Relaxed);
        Ok(())
    }
}

impl WriterConnection {
    /// The last checkpoint: empties the log, so that the next start has nothing to read from it. Where
    /// somebody still reads, it is left as it is.
    pub fn checkpoint_at_the_end(&self) -> Result<(), StoreError> {
        self.checkpoint()?;
        self.conn
            .busy_timeout(Duration::ZERO)
            .and_then(|()| {
                let empty = "PRAGMA wal_checkpoint(TRUNCATE)";
                self.conn.query_row(empty, [], |_| Ok(()))
            })
            .map_err(doing("checkpointed"))
    }
}

/// Counts the pages in the write-ahead log after each commit.
fn count_wal_pages(conn: &mut Connection) -> Result<Arc<AtomicI32>, StoreError> {
    let pages = Arc::new(AtomicI32::new(0));
    let counter = Arc::clone(&pages);
    conn.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: i32| {
        counter.store(pages, Ordering::Relaxed);
        Ok(())
    }))
    .map_err(doing("configured"))?;
    Ok(pages)
}

fn set_pragmas(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let set = |name, value: &dyn rusqlite::ToSql| {
        conn.pragma_update(None, name, value)
            .map_err(doing("configured"))
    };
    set("journal_mode", &"WAL")?;
    set("synchronous", &"FULL")?;
    // Checkpoints are run by the journal, when nobody waits.
    set("wal_autocheckpoint", &0)?;
    set("cache_size", &-2048)?;
    set("foreign_keys", &false)?;
    set("temp_store", &"MEMORY")?;
    must_be(conn, path, "journal_mode", "wal")?;
    must_be(conn, path, "synchronous", "2")
}

/// Reads a pragma back: `PRAGMA` answers a value that it didn't take with the one that it kept.
fn must_be(
    conn: &Connection,
    path: &Path,
    pragma: &'static str,
    wanted: &'static str,
) -> Result<(), StoreError> {
    let found = conn
        .pragma_query_value(None, pragma, |row| {
            let value: rusqlite::types::Value = row.get(0)?;
            Ok(match value {
                rusqlite::types::Value::Integer(n) => n.to_string(),
                rusqlite::types::Value::Text(text) => text,
                other => format!("{other:?}"),
            })
        })
        .map_err(doing("configured"))?;
    if found == wanted {
        return Ok(());
    }
    Err(StoreError::Pragma {
        path: path.to_path_buf(),
        pragma,
        found,
        wanted,
    })
}

/// SQLite falls back to reading when a file can't be opened for writing, and stays with that.
fn must_be_writable(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    use rusqlite::ErrorCode::ReadOnly;
    let refused = || StoreError::ReadOnly {
        path: path.to_path_buf(),
    };
    // The database, which lets a transaction begin all the same; then the log.
    if conn.is_readonly("main").map_err(doing("looked at"))? {
        return Err(refused());
    }
    match conn.execute_batch("BEGIN IMMEDIATE; ROLLBACK") {
        Ok(()) => Ok(()),
        Err(e) if e.sqlite_error_code() == Some(ReadOnly) => Err(refused()),
        Err(e) => Err(doing("opened for writing")(e)),
    }
}

/// Writes the log over with what reads back from it, and syncs it: see above. After an orderly stop it
/// is empty.
fn renew_log(store: &Path) -> Result<(), StoreError> {
    let mut path = store.as_os_str().to_owned();
    path.push("-wal");
    let path = std::path::PathBuf::from(path);
    match path.metadata() {
        Ok(found) if found.len() > 0 => {}
        // What can't be looked at now fails in a moment, when SQLite opens it.
        _ => return Ok(()),
    }
    let log = File::options().read(true).write(true).open(&path);
    log.and_then(|log| write_over(&log))
        .map_err(|source| StoreError::Io {
            doing: "written over with itself",
            path,
            source,
        })
}

/// The header and the frames that carry its salt (SQLite's file format, § 4.1): what stands behind them is
/// of former rounds, and never read.
fn write_over(log: &File) -> std::io::Result<()> {
    use std::os::unix::fs::FileExt as _;
    const HEADER: usize = 32;
    const FRAME_HEADER: usize = 24;
    let whole = |piece: &mut [u8], offset| match log.read_exact_at(piece, offset) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    };
    let mut header = [0; HEADER];
    if !whole(&mut header, 0)? {
        return Ok(());
    }
    let page = u32::from_be_bytes([header[8], header[9], header[10], header[11]]) as usize;
    if !(512..=65_536).contains(&page) {
        return Ok(());
    }
    log.write_all_at(&header, 0)?;
    let mut frame = vec![0; FRAME_HEADER + page];
    let mut offset = HEADER as u64;
    while whole(&mut frame, offset)? && frame[8..16] == header[16..24] {
        log.write_all_at(&frame, offset)?;
        offset += frame.len() as u64;
    }
    log.sync_data()
}

fn version(conn: &Connection) -> Result<i64, StoreError> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(doing("read"))
}

fn refuse_newer(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let found = version(conn)?;
    let known = MIGRATIONS.len() as i64;
    if found <= known {
        return Ok(());
    }
    Err(StoreError::Newer {
        path: path.to_path_buf(),
        found,
        known,
    })
}

/// Runs the scripts that the store hasn't seen, each in a transaction with its version.
fn migrate(conn: &mut Connection, wall_ms: i64) -> Result<(), StoreError> {
    let from = usize::try_from(version(conn)?).unwrap_or(0);
    for (index, script) in MIGRATIONS.iter().enumerate().skip(from) {
        let tx = conn.transaction().map_err(doing("migrated"))?;
        tx.execute_batch(script).map_err(doing("migrated"))?;
        if index == 0 {
            tx.execute(
                "INSERT INTO meta (name, value) VALUES ('epoch', ?1)",
                [(wall_ms / 1000).max(1)],
            )
            .map_err(doing("migrated"))?;
        }
        if index == 1 {
            super::trace::chain_existing(&tx)?;
        }
        // What waits in a store that was used is numbered anew.
        if index == 3 && from > 0 {
            let epoch = next_epoch(super::lanes::epoch(&tx)?, wall_ms);
            set_meta(&tx, "epoch", bits(epoch))?;
        }
        tx.pragma_update(None, "user_version", index as i64 + 1)
            .map_err(doing("migrated"))?;
        tx.commit().map_err(doing("migrated"))?;
    }
    Ok(())
}

/// SQLite gives its log the mode of the database: nobody but the owner reads either.
fn make_private(path: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|file| file.set_permissions(Permissions::from_mode(0o600)))
        .map_err(|source| StoreError::Io {
            doing: "made private",
            path: path.to_path_buf(),
            source,
        })
}
