//! Opening the store: pragmas that durability rests on, migrations, the epoch.

use std::cell::Cell;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{StoreError, doing};

/// One script a version, in order. A script that has been released is never changed.
const MIGRATIONS: [&str; 1] = [include_str!("0001.sql")];

/// Opens the one writing connection and brings the schema up to date.
///
/// `wall_ms` is the time now, for the epoch of a new store (WIRE: Unix seconds).
pub fn open_writer(path: &Path, wall_ms: i64) -> Result<Connection, StoreError> {
    let mut conn = Connection::open(path).map_err(doing("opened"))?;
    conn.busy_timeout(Duration::from_secs(5))
        .map_err(doing("opened"))?;
    refuse_newer(&conn, path)?;
    set_pragmas(&conn, path)?;
    migrate(&mut conn, wall_ms)?;
    sync_folder(path)?;
    count_wal_pages(&conn);
    Ok(conn)
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

/// Pages in the write-ahead log since it was last reset, as of this thread's last commit.
pub fn wal_pages() -> i32 {
    WAL_PAGES.get()
}

/// Moves the write-ahead log into the database as far as readers allow.
pub fn checkpoint(conn: &Connection) -> Result<(), StoreError> {
    conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
        .map_err(doing("checkpointed"))?;
    WAL_PAGES.set(0);
    Ok(())
}

thread_local! {
    // SQLite's hook is a plain function; the writer stays on one thread, so this is its state.
    static WAL_PAGES: Cell<i32> = const { Cell::new(0) };
}

fn count_wal_pages(conn: &Connection) {
    WAL_PAGES.set(0);
    conn.wal_hook(Some(|_, pages| {
        WAL_PAGES.set(pages);
        Ok(())
    }));
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
        tx.pragma_update(None, "user_version", index as i64 + 1)
            .map_err(doing("migrated"))?;
        tx.commit().map_err(doing("migrated"))?;
    }
    Ok(())
}

/// A new file is only there for good once its folder is synced.
fn sync_folder(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| StoreError::Io {
            doing: "synced",
            path: folder.to_path_buf(),
            source,
        })
}
