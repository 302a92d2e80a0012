//! What people ask the store: queries for the control API, none of which can write.
//!
//! A [`Reader`] is opened for one request and dropped after it, so no snapshot is held for long and
//! the write-ahead log can always be folded back. It runs on SQLite's own read-only connection and
//! blocks: call it from a thread that may. A query that takes longer than [`TIME_MAX`] is
//! interrupted ([`is_too_slow`]).
//!
//! Invariant: no digest leaves this file. Byte strings of an event's body are left out, except in
//! sensor readings, where they are data.

mod from_sql;
mod handover;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cloud_protocol::uplink::Lane;
use firmware_protocols::Ident;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::lanes::{self, LaneHead};
use super::{StoreError, doing, schema};
use from_sql::{command, compartment, device, event, parcel, quarantine, trace};
pub use rows::{
    BootRow, CloudRefused, CommandRow, CompartmentRow, Concerns, DeviceRow, EventPage, EventRow,
    GoingBack, LaneRow, LanesRow, LedgerRow, LeftOpenRow, LockedRow, ParcelHistory, ParcelRow,
    QuarantineRow, StoreCounts, TraceRow,
};

/// The longest that one request's queries may take.
pub const TIME_MAX: Duration = Duration::from_secs(10);

/// The most rows that one query returns, whatever was asked for.
pub const ROWS_MAX: usize = 10_000;

/// Which events are wanted; `None` means any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this device.
    pub device: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
}

/// A connection for one request.
pub struct Reader {
    conn: Connection,
    path: PathBuf,
}

impl Reader {
    /// Opens the store for one request.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut conn = schema::open_reader(path)?;
        let end = Instant::now() + TIME_MAX;
        conn.progress_handler(10_000, Some(move || Instant::now() > end))
            .map_err(doing("opened for reading"))?;
        Ok(Self {
            conn,
            path: path.to_path_buf(),
        })
    }

    /// Every device that was ever heard, by id, with its ledger and the gaps in its sequences.
    pub fn devices(&self) -> Result<Vec<DeviceRow>, StoreError> {
        let mut devices = self.all(
            "SELECT device, form, boot, received, stored, duplicate, quarantined, last_heard_ms,
                    model, firmware, capabilities
             FROM devices ORDER BY device",
            [],
            device,
        )?;
        for (device, _) in &mut devices {
            device.boots = self.boots(&device.device)?;
        }
        devices
            .into_iter()
            .map(|(device, capabilities)| {
                let capabilities = json("devices", "capabilities", &capabilities)?;
                Ok(DeviceRow {
                    capabilities,
                    ..device
                })
            })
            .collect()
    }

    /// For each device that was ever heard, a boot number that isn't used yet.
    pub fn next_boots(&self) -> Result<HashMap<Ident, u32>, StoreError> {
        let sql = "SELECT device, max(boot) FROM boots GROUP BY device";
        let rows: Vec<(String, u32)> = self.all(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let next = rows.into_iter().filter_map(|(device, boot)| {
            // After the last number of all there are 16 others at most, so a small one will do.
            Some((Ident::new(&device).ok()?, boot.checked_add(1).unwrap_or(1)))
        });
        Ok(next.collect())
    }

    /// Every compartment that has a state, by bank and number.
    pub fn compartments(&self) -> Result<Vec<CompartmentRow>, StoreError> {
        self.all(
            "SELECT bank, compartment, contents, reserved, door, occupied, fault, disabled, openings
             FROM compartments ORDER BY bank, compartment",
            [],
            compartment,
        )
    }

    /// Parcels, those that changed last first, at most `limit`; only those in `state` if one is
    /// given: at that stage, or on their way back for that reason.
    pub fn parcels(&self, state: Option<&str>, limit: usize) -> Result<Vec<ParcelRow>, StoreError> {
        let sql = format!(
            "SELECT {PARCEL} FROM parcels WHERE ?1 IS NULL OR stage = ?1
                 OR (back = ?1 AND stage NOT IN ('collected', 'retrieved', 'cancelled'))
             ORDER BY since_ms DESC, parcel LIMIT ?2"
        );
        self.all(&sql, params![state, rows_max(limit)], parcel)
    }

    /// One parcel with every step and every command, oldest first. `None` if it isn't known.
    pub fn parcel(&self, id: &str) -> Result<Option<ParcelHistory>, StoreError> {
        let _snapshot = self.snapshot()?;
        let sql = format!("SELECT {PARCEL} FROM parcels WHERE parcel = ?1");
        let found = self
            .conn
            .query_row(&sql, [id], parcel)
            .optional()
            .map_err(doing("read"))?;
        let Some(parcel) = found else {
            return Ok(None);
        };
        let trace = self.all(
            "SELECT id, at_ms, quality, step, who, detail FROM trace
             WHERE parcel = ?1 ORDER BY id LIMIT 10000",
            [id],
            trace,
        )?;
        let sql = format!(
            "SELECT {COMMAND} FROM commands WHERE parcel = ?1 ORDER BY at_ms, id LIMIT 10000"
        );
        let commands = self.all(&sql, [id], command)?;
        Ok(Some(ParcelHistory {
            parcel,
            trace,
            commands,
        }))
    }

    /// One command.
    pub fn command(&self, id: &str) -> Result<Option<CommandRow>, StoreError> {
        let sql = format!("SELECT {COMMAND} FROM commands WHERE id = ?1");
        self.conn
            .query_row(&sql, [id], command)
            .optional()
            .map_err(doing("read"))
    }

    /// The id after which the newest `limit` events are.
    pub fn newest_after(&self, filter: &EventFilter, limit: usize) -> Result<i64, StoreError> {
        let _snapshot = self.snapshot()?;
        let newest = self.newest_event_id()?;
        let Some(device) = self.device_ref(filter)? else {
            return Ok(newest);
        };
        let first = self
            .conn
            .query_row(
                "SELECT min(id) FROM (SELECT id FROM events e
                 WHERE (?1 IS NULL OR e.device = ?1) AND (?2 IS NULL OR e.kind = ?2)
                 ORDER BY e.id DESC LIMIT ?3)",
                params![device, filter.kind, rows_max(limit)],
                |row| row.get::<_, Option<i64>>(0),
            )
            .map_err(doing("read"))?;
        Ok(first.map_or(newest, |first| first - 1))
    }

    /// The events after the one of that id, oldest first, at most `limit`.
    pub fn events_after(
        &self,
        filter: &EventFilter,
        after: i64,
        limit: usize,
    ) -> Result<EventPage, StoreError> {
        let _snapshot = self.snapshot()?;
        let newest = self.newest_event_id()?;
        let Some(device) = self.device_ref(filter)? else {
            return Ok(EventPage::empty(newest));
        };
        let sql = format!(
            "{EVENTS} WHERE e.id > ?4 AND (?1 IS NULL OR e.device = ?1)
             AND (?2 IS NULL OR e.kind = ?2) ORDER BY e.id LIMIT ?3"
        );
        let limit = rows_max(limit);
        let events = self.all(&sql, params![device, filter.kind, limit, after], event)?;
        let full = events.len() as i64 == limit;
        let upto = match events.last() {
            Some(last) if full => last.id,
            _ => newest.max(after),
        };
        Ok(EventPage { events, upto, full })
    }

    /// What was put into quarantine last, newest first, at most `limit`.
    pub fn quarantine(&self, limit: usize) -> Result<Vec<QuarantineRow>, StoreError> {
        self.all(
            "SELECT id, received_ms, source, topic, reason, size_bytes, preview
             FROM quarantine ORDER BY id DESC LIMIT ?1",
            [rows_max(limit)],
            quarantine,
        )
    }

    /// Where each lane to the cloud stands, most urgent first.
    pub fn lanes(&self) -> Result<LanesRow, StoreError> {
        let _snapshot = self.snapshot()?;
        let epoch = self
            .conn
            .query_row("SELECT value FROM meta WHERE name = 'epoch'", [], |row| {
                row.get::<_, i64>(0)
            })
            .optional()
            .map(|found| found.map(i64::cast_unsigned))
            .map_err(doing("read"))?;
        let lanes = lanes::heads(&self.conn)?
            .into_iter()
            .map(|(lane, head)| self.lane(lane, &head));
        Ok(LanesRow {
            epoch,
            lanes: lanes.collect::<Result<_, _>>()?,
        })
    }

    /// Figures for the status. None of them reads through the events: a million of them cost nothing.
    pub fn counts(&self) -> Result<StoreCounts, StoreError> {
        let _snapshot = self.snapshot()?;
        let one = |sql: &str| -> Result<Option<i64>, StoreError> {
            self.conn
                .query_row(sql, [], |row| row.get(0))
                .optional()
                .map(Option::flatten)
                .map_err(doing("read"))
        };
        let sum = |column: &str| -> Result<u64, StoreError> {
            let total = one(&format!("SELECT sum({column}) FROM devices"))?;
            Ok(total.map_or(0, i64::cast_unsigned))
        };
        let parcels: BTreeMap<String, u64> = self
            .all(
                "SELECT stage, count(*) FROM parcels WHERE archived = 0 GROUP BY stage",
                [],
                |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())),
            )?
            .into_iter()
            .collect();
        Ok(StoreCounts {
            received: sum("received")?,
            stored: sum("stored")?,
            duplicate: sum("duplicate")?,
            quarantined: sum("quarantined")?,
            newest_event_id: self.newest_event_id()?,
            oldest_event_ms: one("SELECT received_ms FROM events ORDER BY id LIMIT 1")?,
            newest_event_ms: one("SELECT received_ms FROM events ORDER BY id DESC LIMIT 1")?,
            newest_quarantine_ms: one(
                "SELECT received_ms FROM quarantine ORDER BY id DESC LIMIT 1",
            )?,
            parcels,
            size_bytes: size_bytes(&self.path),
        })
    }

    fn boots(&self, device: &str) -> Result<Vec<BootRow>, StoreError> {
        let rows = self.all(
            "SELECT boot, upto, ahead, given_up, reused FROM boots
             WHERE device = ?1 ORDER BY heard_tick_ms DESC",
            [device],
            |row| {
                Ok((
                    row.get::<_, u32>(0)?,
                    row.get::<_, i64>(1)?.cast_unsigned(),
                    row.get::<_, String>(2)?,
                    row.get::<_, String>(3)?,
                    row.get::<_, bool>(4)?,
                ))
            },
        )?;
        rows.into_iter()
            .map(|(boot, upto, ahead, given_up, reused)| {
                let ahead: Vec<(u64, u64)> = json("boots", "ahead", &ahead)?;
                let mut given_up: Vec<(u64, u64)> = json("boots", "given_up", &given_up)?;
                // The estate's mark of a boot that is over: all the rest is given up.
                let closed = given_up.pop_if(|(_, last)| *last == u64::MAX).is_some();
                Ok(BootRow {
                    boot,
                    upto,
                    missing: gaps(upto, &ahead),
                    given_up,
                    reused,
                    closed,
                })
            })
            .collect()
    }

    fn lane(&self, lane: Lane, head: &LaneHead) -> Result<LaneRow, StoreError> {
        let oldest = self
            .conn
            .query_row(
                "SELECT at_ms FROM uplink WHERE lane = ?1 ORDER BY id LIMIT 1",
                [lane.name()],
                |row| row.get(0),
            )
            .optional()
            .map_err(doing("read"))?;
        Ok(LaneRow {
            lane: lane.name().to_string(),
            last_seq: head.last_seq,
            acked_seq: head.acked_seq,
            waiting: head.waiting,
            oldest_waiting_ms: oldest,
        })
    }

    fn newest_event_id(&self) -> Result<i64, StoreError> {
        self.conn
            .query_row("SELECT max(id) FROM events", [], |row| {
                row.get::<_, Option<i64>>(0)
            })
            .map(Option::unwrap_or_default)
            .map_err(doing("read"))
    }

    /// The wanted device's number in the events: `Some(None)` if any will do, `None` if it was never heard.
    fn device_ref(&self, filter: &EventFilter) -> Result<Option<Option<i64>>, StoreError> {
        let Some(device) = &filter.device else {
            return Ok(Some(None));
        };
        let found = self
            .conn
            .query_row(
                "SELECT ref FROM devices WHERE device = ?1",
                [device],
                |row| row.get::<_, i64>(0),
            )
            .optional()
            .map_err(doing("read"))?;
        Ok(found.map(Some))
    }

    /// Several queries see one state of the store as long as this lives.
    fn snapshot(&self) -> Result<rusqlite::Transaction<'_>, StoreError> {
        self.conn.unchecked_transaction().map_err(doing("read"))
    }

    fn all<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.conn.prepare(sql).map_err(doing("read"))?;
        let rows = statement.query_map(params, read).map_err(doing("read"))?;
        rows.collect::<Result<_, _>>().map_err(doing("read"))
    }
}

/// Whether a query was interrupted because it took longer than [`TIME_MAX`].
pub fn is_too_slow(error: &StoreError) -> bool {
    let StoreError::Sqlite { source, .. } = error else {
        return false;
    };
    source.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted)
}

const PARCEL: &str = "parcel, size, zone, point, deadline_ms, consent, items, stage, bank, \
                      compartment, desk, courier, opened, alarmed, since_ms, archived, back, taker, \
                      unlisted, low, return_of, to_desk, due_ms";
const COMMAND: &str = "id, bank, compartment, purpose, parcel, operator, reason, at_ms, quality, state, answer, sent_ms, \
     opened_ms, closed_ms";
// The left join keeps the events on the outside, so they are read in the order of their ids.
const EVENTS: &str = "SELECT e.id, d.device, e.boot, e.seq, e.kind, e.at_ms, e.at_by, \
                      e.received_ms, e.quality, e.body \
                      FROM events e LEFT JOIN devices d ON d.ref = e.device";

/// What is missing between what was received without a gap and the ranges beyond.
fn gaps(upto: u64, ahead: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let starts = std::iter::once(upto).chain(ahead.iter().map(|(_, last)| *last));
    starts
        .zip(ahead)
        .map(|(before, (first, _))| (before.saturating_add(1), first.saturating_sub(1)))
        .filter(|(first, last)| first <= last)
        .collect()
}

fn json<T: serde::de::DeserializeOwned>(
    table: &'static str,
    column: &str,
    text: &str,
) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Damaged {
        table,
        what: format!("{column}: {e}"),
    })
}

fn rows_max(limit: usize) -> i64 {
    limit.min(ROWS_MAX) as i64
}

/// The store's file and its write-ahead log.
fn size_bytes(path: &Path) -> u64 {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    [path, Path::new(&wal)]
        .iter()
        .filter_map(|file| std::fs::metadata(file).ok())
        .map(|file| file.len())
        .sum()
}
