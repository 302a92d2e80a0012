//! The heads of a gateway's chain over its parcels' history: kept, and compared with each other.
//!
//! A head that contradicts an earlier one of the same epoch means that the past was rewritten in the
//! box. It is kept and shown to people, never refused: a batch must not wait for an inquiry.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{AuditView, StoreError, signed, unsigned};
use crate::store::views::{CONTRADICTIONS_SHOWN, HeadView};

/// Keeps a head. One that is known already changes nothing.
pub(super) fn keep(
    tx: &Connection,
    gateway: &str,
    at: i64,
    entries: u64,
    head: &[u8; 32],
) -> Result<(), StoreError> {
    let epoch: i64 = tx.query_row(
        "SELECT epoch FROM gateway WHERE gateway = ?1",
        [gateway],
        |row| row.get(0),
    )?;
    let contradicts = contradiction(tx, gateway, epoch, entries, head)?;
    if let Some(why) = &contradicts {
        tracing::error!(
            gateway,
            entries,
            "the gateway's history contradicts itself: {why}"
        );
    }
    tx.execute(
        "INSERT OR IGNORE INTO audit (gateway, epoch, entries, head, at, contradicts)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![gateway, epoch, signed(entries), head, at, contradicts],
    )?;
    Ok(())
}

fn contradiction(
    tx: &Connection,
    gateway: &str,
    epoch: i64,
    entries: u64,
    head: &[u8; 32],
) -> Result<Option<String>, StoreError> {
    let sound = "FROM audit WHERE gateway = ?1 AND epoch = ?2 AND contradicts IS NULL";
    let known: Option<[u8; 32]> = tx
        .query_row(
            &format!("SELECT head {sound} AND entries = ?3"),
            params![gateway, epoch, signed(entries)],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(known) = known {
        let same = known == *head;
        return Ok((!same).then(|| format!("another head was told for {entries} entries before")));
    }
    let most: Option<i64> = tx.query_row(
        &format!("SELECT max(entries) {sound}"),
        params![gateway, epoch],
        |row| row.get(0),
    )?;
    let most = most.map_or(0, unsigned);
    Ok((entries < most).then(|| format!("{most} entries were told before, now {entries}")))
}

/// What is known of a gateway's history.
pub(super) fn view(connection: &Connection, gateway: &str) -> Result<AuditView, StoreError> {
    let columns = "SELECT epoch, entries, head, at, contradicts FROM audit";
    let latest = connection
        .query_row(
            &format!(
                "{columns} WHERE gateway = ?1 AND contradicts IS NULL
                 ORDER BY epoch DESC, entries DESC LIMIT 1"
            ),
            [gateway],
            head_view,
        )
        .optional()?;
    let mut select = connection.prepare(&format!(
        "{columns} WHERE gateway = ?1 AND contradicts IS NOT NULL
         ORDER BY rowid DESC LIMIT ?2"
    ))?;
    let contradictions = select.query_map(params![gateway, CONTRADICTIONS_SHOWN], head_view)?;
    Ok(AuditView {
        latest,
        contradictions: contradictions.collect::<Result<_, _>>()?,
    })
}

fn head_view(row: &Row<'_>) -> rusqlite::Result<HeadView> {
    Ok(HeadView {
        epoch: unsigned(row.get(0)?),
        entries: unsigned(row.get(1)?),
        head: row.get(2)?,
        at: row.get(3)?,
        contradicts: row.get(4)?,
    })
}
