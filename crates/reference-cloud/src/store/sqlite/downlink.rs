//! The downlink of each gateway: numbering what is pushed, and finding what comes after a cursor.

use cloud_protocol::NUMBER_MAX;
use firmware_protocols::value::Value;
use rusqlite::{Connection, Transaction, params};

use super::{NewItem, StoreError, signed, unsigned};
use crate::store::downlink_item::{numbered, without_code};
use crate::store::{ANSWER_BYTES, ANSWER_MAX_ITEMS};

/// Stores an item under the next number.
pub(super) fn push(
    connection: &mut Connection,
    gateway: &str,
    item: &NewItem,
) -> Result<u64, StoreError> {
    let tx = connection.transaction()?;
    let seq = next_number(&tx, gateway)?;
    tx.execute(
        "INSERT INTO downlink (gateway, seq, body, code) VALUES (?1, ?2, ?3, ?4)",
        params![gateway, seq, item.body, item.has_code],
    )?;
    if let Some(parcel) = &item.announces {
        tx.execute(
            "INSERT OR IGNORE INTO parcel (gateway, parcel) VALUES (?1, ?2)",
            params![gateway, parcel],
        )?;
    }
    tx.commit()?;
    Ok(unsigned(seq))
}

fn next_number(tx: &Transaction<'_>, gateway: &str) -> Result<i64, StoreError> {
    Ok(tx.query_row(
        "INSERT INTO gateway (gateway, downlink_last) VALUES (?1, 1)
         ON CONFLICT (gateway) DO UPDATE SET downlink_last = downlink_last + 1
         WHERE downlink_last < ?2
         RETURNING downlink_last",
        params![gateway, signed(NUMBER_MAX)],
        |row| row.get(0),
    )?)
}

/// The items after a cursor.
pub(super) fn after_cursor(
    connection: &mut Connection,
    gateway: &str,
    after: u64,
) -> Result<Vec<Value>, StoreError> {
    let tx = connection.transaction()?;
    // A gateway that has more than was given here: this store is an old copy. Numbering goes on
    // above what the gateway has, or it would take new items for ones it knows.
    tx.execute(
        "UPDATE gateway SET downlink_last = ?2 WHERE gateway = ?1 AND downlink_last < ?2",
        params![gateway, signed(after)],
    )?;
    forget_codes(&tx, gateway, after)?;
    let limit = i64::try_from(ANSWER_MAX_ITEMS).unwrap_or(i64::MAX);
    let mut select = tx.prepare(
        "SELECT seq, body FROM downlink WHERE gateway = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
    )?;
    let mut rows = select.query(params![gateway, signed(after), limit])?;
    let mut items = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let body: Vec<u8> = row.get(1)?;
        bytes += body.len();
        items.push(numbered(unsigned(row.get(0)?), &body)?);
        if bytes > ANSWER_BYTES {
            break;
        }
    }
    drop(rows);
    drop(select);
    tx.commit()?;
    Ok(items)
}

/// The gateway has the items up to `after` on disk: couriers' codes in them are needed no longer.
fn forget_codes(tx: &Transaction<'_>, gateway: &str, after: u64) -> Result<(), StoreError> {
    let mut select =
        tx.prepare("SELECT seq, body FROM downlink WHERE gateway = ?1 AND seq <= ?2 AND code")?;
    let with_code: Vec<(i64, Vec<u8>)> = select
        .query_map(params![gateway, signed(after)], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    for (seq, body) in with_code {
        tx.execute(
            "UPDATE downlink SET body = ?3, code = 0 WHERE gateway = ?1 AND seq = ?2",
            params![gateway, seq, without_code(unsigned(seq), &body)?],
        )?;
    }
    Ok(())
}
