//! The tables, and opening the file they are in.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rusqlite::Connection;

use super::{Keep, StoreError};

/// One step for each version; a store of version `n` has had the first `n` of them.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE gateway (
        gateway       TEXT PRIMARY KEY,
        epoch         INTEGER,                      -- NULL before its first batch
        downlink_last INTEGER NOT NULL DEFAULT 0    -- the last number given to a downlink item
    ) STRICT, WITHOUT ROWID;

    -- Where each lane stands. What is known of older epochs stays.
    CREATE TABLE lane (
        gateway    TEXT NOT NULL,
        epoch      INTEGER NOT NULL,
        lane       TEXT NOT NULL,
        last       INTEGER NOT NULL,
        chain      BLOB NOT NULL,
        duplicates INTEGER NOT NULL DEFAULT 0,      -- items that were sent again
        PRIMARY KEY (gateway, epoch, lane)
    ) STRICT, WITHOUT ROWID;

    -- Every item once, as it came, in deterministic CBOR; without a pickup code, which is a secret
    -- and kept in `notice` only. `chain` is over the item as it came, so resent items can be compared.
    CREATE TABLE item (
        gateway TEXT NOT NULL,
        epoch   INTEGER NOT NULL,
        lane    TEXT NOT NULL,
        seq     INTEGER NOT NULL,
        known   INTEGER NOT NULL,                   -- 0: a kind that this version doesn't know
        body    BLOB NOT NULL,
        chain   BLOB NOT NULL,
        PRIMARY KEY (gateway, epoch, lane, seq)
    ) STRICT, WITHOUT ROWID;

    -- What follows from the items: made in the transaction that takes them.
    CREATE TABLE parcel (
        gateway     TEXT NOT NULL,
        parcel      TEXT NOT NULL,
        state       TEXT,                           -- NULL: announced, the gateway hasn't said yet
        since       INTEGER,
        bank        TEXT,
        compartment INTEGER,
        desk        TEXT,
        PRIMARY KEY (gateway, parcel)
    ) STRICT, WITHOUT ROWID;

    -- The live code of a parcel, for the notice to its resident; gone when the parcel is.
    CREATE TABLE notice (
        gateway TEXT NOT NULL,
        parcel  TEXT NOT NULL,
        digits  TEXT NOT NULL,
        PRIMARY KEY (gateway, parcel)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE demand (
        gateway  TEXT NOT NULL,
        building TEXT NOT NULL,                     -- '' is the whole site
        start    INTEGER NOT NULL,
        minutes  INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        body     BLOB NOT NULL,
        PRIMARY KEY (gateway, building, start, minutes)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE health (
        gateway TEXT PRIMARY KEY,
        body    BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE downlink (
        gateway TEXT NOT NULL,
        seq     INTEGER NOT NULL,
        body    BLOB NOT NULL,
        PRIMARY KEY (gateway, seq)
    ) STRICT, WITHOUT ROWID;
", "
    -- Where the chain over a gateway's history stood, each head once, in the order in which it came.
    CREATE TABLE audit (
        gateway     TEXT NOT NULL,
        epoch       INTEGER NOT NULL,
        entries     INTEGER NOT NULL,
        head        BLOB NOT NULL,
        at          INTEGER NOT NULL,
        contradicts TEXT,                           -- what earlier head it contradicts, in words
        UNIQUE (gateway, epoch, entries, head)
    ) STRICT;
", "
    ALTER TABLE parcel ADD COLUMN unlisted INTEGER NOT NULL DEFAULT 0;  -- came without being announced
    ALTER TABLE parcel ADD COLUMN return_of TEXT;

    -- The items that say more of a parcel than its state: claims, and that no compartment took it.
    CREATE TABLE about (
        gateway TEXT NOT NULL,
        parcel  TEXT NOT NULL,
        epoch   INTEGER NOT NULL,
        seq     INTEGER NOT NULL,                   -- the item in the lane `fulfilment`
        PRIMARY KEY (gateway, parcel, epoch, seq)
    ) STRICT, WITHOUT ROWID;

    -- A courier's code stays in the item only until the gateway has it.
    ALTER TABLE downlink ADD COLUMN code INTEGER NOT NULL DEFAULT 0;    -- 1: `body` has a code
    CREATE INDEX downlink_code ON downlink (gateway, seq) WHERE code;
", "
    -- The live code of a parcel, sealed as it came; gone when the parcel is.
    DROP TABLE notice;
    CREATE TABLE notice (
        gateway TEXT NOT NULL,
        parcel  TEXT NOT NULL,
        sealed  BLOB NOT NULL,
        PRIMARY KEY (gateway, parcel)
    ) STRICT, WITHOUT ROWID;
", "
    -- Who may sign as a gateway: the key in force, and the one that takes its place when it is used.
    ALTER TABLE gateway ADD COLUMN public_key BLOB;     -- NULL: not enrolled
    ALTER TABLE gateway ADD COLUMN next_key BLOB;

    -- Each is good for one enrolment, which may be repeated with the same key.
    CREATE TABLE token (
        digest      BLOB PRIMARY KEY,               -- SHA-256
        gateway     TEXT,                           -- NULL: for any
        valid_until INTEGER NOT NULL,               -- ms since the Unix epoch
        used_by     TEXT,
        used_key    BLOB
    ) STRICT, WITHOUT ROWID;

    -- What made each signed request unique; kept for as long as it could come again.
    CREATE TABLE nonce (
        gateway TEXT NOT NULL,
        nonce   TEXT NOT NULL,
        created INTEGER NOT NULL,                   -- seconds since the Unix epoch
        PRIMARY KEY (gateway, nonce)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX nonce_created ON nonce (created);

    -- Items that wait to be told to others; gone when they are.
    CREATE TABLE outbox (
        id      INTEGER PRIMARY KEY AUTOINCREMENT,
        gateway TEXT NOT NULL,
        epoch   INTEGER NOT NULL,
        lane    TEXT NOT NULL,
        first   INTEGER NOT NULL,
        last    INTEGER NOT NULL
    ) STRICT;
"];

/// Opens the store, checks that it is durable, and migrates it.
pub fn open(keep: &Keep) -> Result<Connection, StoreError> {
    let mut connection = match keep {
        Keep::Memory => Connection::open_in_memory()?,
        Keep::File(path) => {
            make_private(path);
            Connection::open(path)?
        }
        Keep::Postgres(_) => return Err(StoreError::Closed),
    };
    connection.busy_timeout(std::time::Duration::from_secs(2))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // A code that is deleted leaves no trace in a free page.
    connection.pragma_update(None, "secure_delete", "ON")?;
    let journal: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    if matches!(keep, Keep::File(_)) && (journal != "wal" || synchronous != 2) {
        let got =
            format!("journal_mode={journal}, synchronous={synchronous}; put it on a local disk");
        return Err(StoreError::NotDurable(got));
    }
    migrate(&mut connection)?;
    Ok(connection)
}

/// A new file is its owner's only: couriers' codes stand in it until the gateway has them. What can't
/// be made here, SQLite says why.
fn make_private(path: &Path) {
    let _ = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
}

fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    let done = usize::try_from(found).unwrap_or(0);
    for step in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()?;
    Ok(())
}
