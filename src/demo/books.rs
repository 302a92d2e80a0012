//! The gateway's books, read from its store by a connection of one's own that can't write: what is
//! drawn on the screen, and what the balance is held against.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use firmware_protocols::Value;
use rusqlite::{Connection, OpenFlags, Row};

/// An open store.
pub(super) struct Books(Connection);

/// A compartment as the gateway has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) holds: Holds,
    pub(super) open: bool,
    pub(super) faulty: bool,
}

/// What a compartment is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Nothing,
    Reserved,
    Parcel,
}

/// What the screen shows of the books.
#[derive(Debug, Clone, Default)]
pub(super) struct Glance {
    /// By bank and number from 1; only those that ever changed are in it.
    pub(super) cells: BTreeMap<(String, u16), Cell>,
    /// Items that wait for the cloud.
    pub(super) backlog: u64,
    /// Items that the cloud has.
    pub(super) delivered: u64,
    /// By keypad: the tick at which its last lockout ends.
    pub(super) locked_until: BTreeMap<String, u64>,
    /// How many parcels in each stage.
    pub(super) stages: BTreeMap<String, u64>,
}

/// A device's ledger, and the rows that stand for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ledger {
    pub(super) device: String,
    pub(super) received: u64,
    pub(super) stored: u64,
    pub(super) duplicate: u64,
    pub(super) quarantined: u64,
    /// Rows in the table of events.
    pub(super) rows: u64,
    /// Distinct (boot, seq) among them.
    pub(super) distinct: u64,
}

/// A parcel as the gateway has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parcel {
    pub(super) stage: String,
    pub(super) bank: Option<String>,
    pub(super) compartment: Option<u16>,
    pub(super) desk: Option<String>,
    /// Why it goes back, if it does.
    pub(super) back: Option<String>,
}

/// A lane to the cloud: the last item that was sent, the last that the cloud has, how many wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lane {
    pub(super) last: u64,
    pub(super) acked: u64,
    pub(super) waiting: u64,
}

impl Books {
    /// Opens a store for reading.
    pub(super) fn open(store: &Path) -> anyhow::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(store, flags)
            .with_context(|| format!("reading the store {}", store.display()))?;
        conn.busy_timeout(std::time::Duration::from_secs(2))?;
        Ok(Self(conn))
    }

    /// What the screen shows.
    pub(super) fn glance(&self) -> anyhow::Result<Glance> {
        let cell = |row: &Row<'_>| {
            let (holds, door): (String, String) = (row.get(2)?, row.get(3)?);
            let cell = Cell {
                holds: match holds.as_str() {
                    "reserved" => Holds::Reserved,
                    "parcel" => Holds::Parcel,
                    _ => Holds::Nothing,
                },
                open: door == "open",
                faulty: row.get(4)?,
            };
            Ok(((row.get(0)?, row.get(1)?), cell))
        };
        let lanes = self.lanes()?;
        Ok(Glance {
            cells: self.rows(
                "SELECT bank, compartment, iif(contents <> '[]', 'parcel', iif(reserved IS NULL, 'nothing', 'reserved')),
                        door, fault IS NOT NULL
                 FROM compartments",
                cell,
            )?,
            backlog: lanes.values().map(|lane| lane.waiting).sum(),
            delivered: lanes.values().map(|lane| lane.acked).sum(),
            locked_until: self.rows(
                "SELECT keypad, locked_until_tick_ms FROM keypads WHERE locked_until_tick_ms IS NOT NULL",
                pair,
            )?,
            stages: self.rows("SELECT stage, count(*) FROM parcels GROUP BY stage", pair)?,
        })
    }

    /// Every event: device, boot, sequence number; each as often as it stands there.
    pub(super) fn events(&self) -> anyhow::Result<Vec<(String, u32, u64)>> {
        let sql = "SELECT d.device, e.boot, e.seq FROM events e JOIN devices d ON d.ref = e.device";
        self.rows(sql, |row| {
            let seq: i64 = row.get(2)?;
            Ok((row.get(0)?, row.get(1)?, seq.cast_unsigned()))
        })
    }

    /// What a device said of a kind, in the order of its numbers: the fields of that kind.
    pub(super) fn bodies(&self, device: &str, kind: &str) -> anyhow::Result<Vec<Value>> {
        let sql = "SELECT e.body FROM events e JOIN devices d ON d.ref = e.device
            WHERE d.device = ?1 AND e.kind = ?2 ORDER BY e.boot, e.seq";
        let mut statement = self.0.prepare_cached(sql)?;
        let rows = statement.query_map([device, kind], |row| row.get::<_, Vec<u8>>(0))?;
        rows.map(|body| Value::from_cbor(&body?).context("reading an event's body"))
            .collect()
    }

    /// Every device's ledger.
    pub(super) fn ledgers(&self) -> anyhow::Result<Vec<Ledger>> {
        let sql = "SELECT d.device, d.received, d.stored, d.duplicate, d.quarantined,
                (SELECT count(*) FROM events e WHERE e.device = d.ref),
                (SELECT count(*) FROM (SELECT DISTINCT boot, seq FROM events e WHERE e.device = d.ref))
            FROM devices d ORDER BY d.device";
        self.rows(sql, |row| {
            Ok(Ledger {
                device: row.get(0)?,
                received: count(row, 1)?,
                stored: count(row, 2)?,
                duplicate: count(row, 3)?,
                quarantined: count(row, 4)?,
                rows: count(row, 5)?,
                distinct: count(row, 6)?,
            })
        })
    }

    /// Every parcel, archived ones too.
    pub(super) fn parcels(&self) -> anyhow::Result<BTreeMap<String, Parcel>> {
        let sql = "SELECT parcel, stage, bank, compartment, desk, back FROM parcels";
        self.rows(sql, |row| {
            let parcel = Parcel {
                stage: row.get(1)?,
                bank: row.get(2)?,
                compartment: row.get(3)?,
                desk: row.get(4)?,
                back: row.get(5)?,
            };
            Ok((row.get(0)?, parcel))
        })
    }

    /// Whether a parcel is announced here.
    pub(super) fn knows(&self, parcel: &str) -> anyhow::Result<bool> {
        let sql = "SELECT count(*) FROM parcels WHERE parcel = ?1";
        let count = self.0.query_row(sql, [parcel], |row| count(row, 0))?;
        Ok(count > 0)
    }

    /// What crossed the line to the cloud: bytes there, bytes back.
    pub(super) fn line_use(&self) -> anyhow::Result<(u64, u64)> {
        let sql = "SELECT coalesce(sum(sent), 0), coalesce(sum(received), 0) FROM line_use";
        let sums: Vec<(u64, u64)> = self.rows(sql, |row| {
            let number = |at| Ok::<_, rusqlite::Error>(row.get::<_, i64>(at)?.cast_unsigned());
            Ok((number(0)?, number(1)?))
        })?;
        Ok(sums.first().copied().unwrap_or_default())
    }

    /// The lanes to the cloud, by name.
    pub(super) fn lanes(&self) -> anyhow::Result<BTreeMap<String, Lane>> {
        let sql = "SELECT lane, last_seq, acked_seq,
                (SELECT count(*) FROM uplink u WHERE u.lane = l.lane)
            FROM lanes l";
        self.rows(sql, |row| {
            let lane = Lane {
                last: count(row, 1)?,
                acked: count(row, 2)?,
                waiting: count(row, 3)?,
            };
            Ok((row.get(0)?, lane))
        })
    }

    fn rows<T, C: FromIterator<T>>(
        &self,
        sql: &str,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> anyhow::Result<C> {
        let mut statement = self.0.prepare_cached(sql)?;
        let rows = statement.query_map([], read)?;
        rows.collect::<rusqlite::Result<C>>()
            .context("reading the store")
    }
}

fn pair(row: &Row<'_>) -> rusqlite::Result<(String, u64)> {
    Ok((row.get(0)?, count(row, 1)?))
}

/// A number that is stored as SQLite has them, signed, and never negative.
fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.cast_unsigned())
}
