//! What the staff asks about hand-overs: what is at the desks, which commands were made, and what
//! somebody should look at.

use rusqlite::{OptionalExtension as _, params};

use super::from_sql::{ledger, parcel};
use super::{
    COMMAND, CloudRefused, Concerns, GoingBack, LedgerRow, LeftOpenRow, LockedRow, PARCEL,
    ParcelRow, Reader, rows_max,
};
use crate::store::{StoreError, doing};

/// How long what the cloud said and couldn't be done is worth a word, ms.
const LATELY_MS: i64 = 24 * 3_600_000;

/// The most keypads, and the most doors, that are named.
const NAMED_MAX: usize = 100;

impl Reader {
    /// What waits at a desk, and what is expected there or was sent there, oldest first; at all of
    /// `desks` if more than one is named.
    pub fn at_desks(&self, desks: &[&str], limit: usize) -> Result<Vec<ParcelRow>, StoreError> {
        let sql = format!(
            "SELECT {PARCEL} FROM parcels WHERE archived = 0 AND (
                 (stage = 'deposited' AND desk IN (SELECT value FROM json_each(?1)))
                 OR (stage = 'expected' AND
                     (to_desk = 1 OR point IN (SELECT value FROM json_each(?1)))))
             ORDER BY since_ms, parcel LIMIT ?2"
        );
        let desks = serde_json::Value::from(desks).to_string();
        self.all(&sql, params![desks, rows_max(limit)], parcel)
    }

    /// Commands to open, newest first, at most `limit`; only those for `slot` (bank, number) if one
    /// is given. In the order of running time, so a clock that jumped doesn't mix them.
    pub fn commands(
        &self,
        slot: Option<(&str, u16)>,
        limit: usize,
    ) -> Result<Vec<LedgerRow>, StoreError> {
        // The step of the parcel's history that was written with the command says who it was.
        let sql = format!(
            "SELECT {COMMAND}, CASE WHEN operator IS NOT NULL THEN 'operator ' || operator ELSE
                 (SELECT who FROM trace t WHERE t.parcel = c.parcel AND t.at_ms = c.at_ms
                  ORDER BY t.id DESC LIMIT 1) END
             FROM commands c WHERE ?1 IS NULL OR (bank = ?1 AND compartment = ?2)
             ORDER BY expires_tick_ms DESC, id LIMIT ?3"
        );
        let (bank, number) = slot.unzip();
        self.all(&sql, params![bank, number, rows_max(limit)], ledger)
    }

    /// What somebody should look at, as of `now_ms` and `tick_ms`.
    pub fn concerns(&self, now_ms: i64, tick_ms: u64) -> Result<Concerns, StoreError> {
        let _snapshot = self.snapshot()?;
        Ok(Concerns {
            locked: self.locked(now_ms, tick_ms)?,
            left_open: self.left_open()?,
            going_back: self.going_back()?,
            cloud_refused: self.cloud_refused(now_ms)?,
        })
    }

    fn locked(&self, now_ms: i64, tick_ms: u64) -> Result<Vec<LockedRow>, StoreError> {
        let tick_ms = tick_ms.cast_signed();
        self.all(
            "SELECT keypad, locked_until_tick_ms - ?1 FROM keypads
             WHERE locked_until_tick_ms > ?1 ORDER BY keypad LIMIT ?2",
            params![tick_ms, rows_max(NAMED_MAX)],
            |row| {
                Ok(LockedRow {
                    keypad: row.get(0)?,
                    until_ms: now_ms.saturating_add(row.get(1)?),
                })
            },
        )
    }

    fn left_open(&self) -> Result<Vec<LeftOpenRow>, StoreError> {
        self.all(
            "SELECT bank, compartment, min(parcel), min(since_ms) FROM parcels
             WHERE archived = 0 AND alarmed = 1 AND stage IN ('depositing', 'collecting')
             GROUP BY bank, compartment ORDER BY bank, compartment LIMIT ?1",
            [rows_max(NAMED_MAX)],
            |row| {
                Ok(LeftOpenRow {
                    bank: row.get(0)?,
                    compartment: row.get(1)?,
                    parcel: row.get(2)?,
                    since_ms: row.get(3)?,
                })
            },
        )
    }

    fn going_back(&self) -> Result<Option<GoingBack>, StoreError> {
        self.conn
            .query_row(
                "SELECT count(*), coalesce(sum(back = 'overdue'), 0), min(since_ms) FROM parcels
                 WHERE archived = 0 AND back IS NOT NULL AND stage = 'deposited'",
                [],
                |row| {
                    let oldest: Option<i64> = row.get(2)?;
                    let (count, overdue) = (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?);
                    Ok(oldest.map(|oldest_ms| GoingBack {
                        count: count.cast_unsigned(),
                        overdue: overdue.cast_unsigned(),
                        oldest_ms,
                    }))
                },
            )
            .map_err(doing("read"))
    }

    fn cloud_refused(&self, now_ms: i64) -> Result<Option<CloudRefused>, StoreError> {
        self.conn
            .query_row(
                "SELECT reason, received_ms, (SELECT count(*) FROM quarantine
                     WHERE source = 'cloud' AND received_ms > ?1)
                 FROM quarantine WHERE source = 'cloud' AND received_ms > ?1
                 ORDER BY id DESC LIMIT 1",
                [now_ms.saturating_sub(LATELY_MS)],
                |row| {
                    Ok(CloudRefused {
                        newest_reason: row.get(0)?,
                        newest_ms: row.get(1)?,
                        count: row.get::<_, i64>(2)?.cast_unsigned(),
                    })
                },
            )
            .optional()
            .map_err(doing("read"))
    }
}

#[cfg(test)]
mod tests;
