//! What the journal writes: events, quarantine and the estate's changes, within one transaction.

use estate::change::Change;
use estate::demand::{Cell, CellKey};
use estate::device::{BootRow, DeviceRow};
use firmware_protocols::{Form, Ident};
use rusqlite::{Connection, params};

mod parcels;

use super::lanes::{self, LaneHead};
use super::trace::{self, TraceHead};
use super::{StoreError, doing};
use crate::keys::StoreKey;

/// An event's row.
#[derive(Debug)]
pub struct EventRow<'a> {
    /// Who.
    pub device: &'a Ident,
    /// The device's boot.
    pub boot: u32,
    /// Its number in that boot.
    pub seq: u64,
    /// The kind's word.
    pub kind: &'static str,
    /// When it happened, ms since the Unix epoch.
    pub at_ms: i64,
    /// Whose word that is: `device`, `age`, `received`, `implausible`.
    pub at_by: &'static str,
    /// When it was received, ms since the Unix epoch.
    pub received_ms: i64,
    /// How far that can be trusted.
    pub quality: estate::TimeQuality,
    /// CBOR map of the kind's own fields, nothing personal.
    pub body: &'a [u8],
}

/// A quarantine row.
#[derive(Debug, Clone)]
pub struct QuarantineRow {
    /// When, ms since the Unix epoch.
    pub received_ms: i64,
    /// A device's id, or `cloud`.
    pub source: String,
    /// Where it was sent.
    pub topic: String,
    /// Why it can't be taken.
    pub reason: String,
    /// How large it was.
    pub size_bytes: usize,
    /// Its beginning, masked.
    pub preview: String,
}

/// The most rows that quarantine keeps; the oldest go first.
pub const QUARANTINE_MAX_ROWS: i64 = 10_000;

/// Writes within the transaction that is open on `conn`.
pub struct Writer<'a> {
    conn: &'a Connection,
    key: &'a StoreKey,
    heads: &'a mut Heads,
}

/// Where each lane stands.
pub type LaneHeads = std::collections::BTreeMap<cloud_protocol::Lane, LaneHead>;

/// Where lanes and history stand, kept beside the connection so that a batch needn't read it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heads {
    /// The lanes to the cloud.
    pub lanes: LaneHeads,
    /// The id of the last row for the cloud.
    pub last_id: i64,
    /// The parcels' history.
    pub trace: TraceHead,
}

impl Heads {
    /// As they stand on disk.
    pub fn load(conn: &Connection) -> Result<Self, StoreError> {
        Ok(Self {
            lanes: lanes::heads(conn)?,
            last_id: lanes::last_id(conn)?,
            trace: TraceHead::load(conn)?,
        })
    }
}

/// The number of the history's last entry whose chain was written for the cloud, in `meta`.
pub const AUDIT_REPORTED: &str = "audit_reported";

impl<'a> Writer<'a> {
    /// A writer over an open transaction. `heads` is moved on as items are appended: throw it away
    /// with the transaction if that fails.
    pub fn new(conn: &'a Connection, key: &'a StoreKey, heads: &'a mut Heads) -> Self {
        Self { conn, key, heads }
    }

    /// Appends an event. Returns its row's id.
    pub fn event(&self, row: &EventRow<'_>) -> Result<i64, StoreError> {
        self.run(
            "writing an event",
            "INSERT INTO events (device, boot, seq, kind, at_ms, at_by, received_ms, quality, body)
             VALUES ((SELECT ref FROM devices WHERE device = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                row.device.as_str(),
                row.boot,
                bits(row.seq),
                row.kind,
                row.at_ms,
                row.at_by,
                row.received_ms,
                row.quality as u8,
                row.body,
            ],
        )?;
        Ok(self.conn.last_insert_rowid())
    }

    /// Puts something into quarantine and keeps it bounded.
    pub fn quarantine(&self, row: &QuarantineRow) -> Result<(), StoreError> {
        self.run(
            "writing the quarantine",
            "INSERT INTO quarantine (received_ms, source, topic, reason, size_bytes, preview)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                row.received_ms,
                row.source,
                row.topic,
                row.reason,
                row.size_bytes as i64,
                row.preview,
            ],
        )?;
        let newest = self.conn.last_insert_rowid();
        self.run(
            "bounding the quarantine",
            "DELETE FROM quarantine WHERE id <= ?1",
            [newest - QUARANTINE_MAX_ROWS],
        )
    }

    /// Sets a number in `meta`.
    pub fn meta(&self, name: &str, value: i64) -> Result<(), StoreError> {
        set_meta(self.conn, name, value)
    }

    /// Writes one of the estate's changes.
    pub fn change(&mut self, change: &Change) -> Result<(), StoreError> {
        match change {
            Change::Device(row) => self.device(row),
            Change::Boot(row) => self.boot(row),
            Change::BootGone { device, boot } => self.run(
                "dropping a boot",
                "DELETE FROM boots WHERE device = ?1 AND boot = ?2",
                params![device.as_str(), boot],
            ),
            Change::Compartment(row) => self.compartment(row),
            Change::Parcel(row) => self.parcel(row),
            Change::ParcelArchived(parcel) => self.run(
                "archiving a parcel",
                "UPDATE parcels SET archived = 1 WHERE parcel = ?1",
                [parcel],
            ),
            Change::Code(row) => self.code(row),
            Change::CodeGone { point, digest } => self.run(
                "dropping a code",
                "DELETE FROM codes WHERE point = ?1 AND digest = ?2",
                params![point.as_str(), digest],
            ),
            Change::Keypad(row) => self.keypad(row),
            Change::Courier(row) => self.courier(row),
            Change::CourierGone(proof) => self.run(
                "dropping a courier",
                "DELETE FROM couriers WHERE proof = ?1",
                [proof],
            ),
            Change::Command(row) => self.command(row),
            Change::CommandArchived(id) => self.run(
                "archiving a command",
                "UPDATE commands SET archived = 1 WHERE id = ?1",
                [id],
            ),
            Change::Cell(cell) => self.cell(cell),
            Change::CellHousehold { cell, household } => self.household(cell, *household),
            Change::CellGone(key) => self.cell_gone(key),
            Change::Trace(step) => trace::append(self.conn, &mut self.heads.trace, step),
            Change::Uplink { at_ms, report } => {
                lanes::append::append(self.conn, self.key, self.heads, *at_ms, report)
            }
            Change::Setting { name, value } => self.run(
                "writing a setting",
                "INSERT OR REPLACE INTO settings (name, value) VALUES (?1, ?2)",
                params![name, value],
            ),
        }
    }

    /// Makes sure that a device has its number, so that events can name it.
    pub fn ensure_device(&self, device: &Ident) -> Result<(), StoreError> {
        self.run(
            "naming a device",
            "INSERT INTO devices (device, form, received, stored, duplicate, quarantined,
                                  last_heard_ms, capabilities)
             VALUES (?1, 'cbor', 0, 0, 0, 0, 0, '[]') ON CONFLICT (device) DO NOTHING",
            [device.as_str()],
        )
    }

    fn device(&self, row: &DeviceRow) -> Result<(), StoreError> {
        self.run(
            "writing a device",
            "INSERT INTO devices (device, form, boot, received, stored, duplicate, quarantined,
                                  last_heard_ms, model, firmware, capabilities)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (device) DO UPDATE SET form = ?2, boot = ?3, received = ?4, stored = ?5,
                 duplicate = ?6, quarantined = ?7, last_heard_ms = ?8, model = ?9, firmware = ?10,
                 capabilities = ?11",
            params![
                row.device.as_str(),
                form_word(row.form),
                row.boot,
                bits(row.received),
                bits(row.stored),
                bits(row.duplicate),
                bits(row.quarantined),
                row.last_heard_ms,
                row.model,
                row.firmware,
                json(&row.capabilities),
            ],
        )
    }

    fn boot(&self, row: &BootRow) -> Result<(), StoreError> {
        self.run(
            "writing a boot",
            "INSERT OR REPLACE INTO boots
                 (device, boot, upto, ahead, given_up, first, reused, heard_tick_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                row.device.as_str(),
                row.boot,
                bits(row.upto),
                json(&row.ahead),
                json(&row.given_up),
                row.first.map(bits),
                row.reused,
                bits(row.heard_tick_ms),
            ],
        )
    }

    fn cell(&self, cell: &Cell) -> Result<(), StoreError> {
        self.run(
            "writing demand",
            "INSERT OR REPLACE INTO cells (start_ms, building, series, count)
             VALUES (?1, ?2, ?3, ?4)",
            params![
                cell.key.start_ms,
                building(&cell.key),
                cell.key.series,
                bits(cell.count),
            ],
        )
    }

    fn household(&self, key: &CellKey, household: u64) -> Result<(), StoreError> {
        self.run(
            "writing demand",
            "INSERT OR IGNORE INTO cell_households (start_ms, building, series, household)
             VALUES (?1, ?2, ?3, ?4)",
            params![key.start_ms, building(key), key.series, bits(household)],
        )
    }

    fn cell_gone(&self, key: &CellKey) -> Result<(), StoreError> {
        for table in ["cells", "cell_households"] {
            self.run(
                "dropping demand",
                &format!(
                    "DELETE FROM {table} WHERE start_ms = ?1 AND building = ?2 AND series = ?3"
                ),
                params![key.start_ms, building(key), key.series],
            )?;
        }
        Ok(())
    }

    fn run(
        &self,
        what: &'static str,
        sql: &str,
        params: impl rusqlite::Params,
    ) -> Result<(), StoreError> {
        self.conn
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params))
            .map(|_| ())
            .map_err(doing(what))
    }
}

/// Sets a number in `meta`.
pub(super) fn set_meta(conn: &Connection, name: &str, value: i64) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO meta (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .and_then(|mut statement| statement.execute(params![name, value]))
    .map(|_| ())
    .map_err(doing("writing meta"))
}

/// A u64 in SQLite's i64, by its bits.
pub(super) const fn bits(n: u64) -> i64 {
    n.cast_signed()
}

fn building(key: &CellKey) -> &str {
    key.building.as_ref().map_or("", Ident::as_str)
}

pub(super) const fn form_word(form: Form) -> &'static str {
    match form {
        Form::Cbor => "cbor",
        Form::Json => "json",
    }
}

fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "[]".to_owned())
}
