//! The downlink of each gateway: numbering what is pushed, and finding what comes after a cursor.

use std::time::Duration;

use cloud_protocol::{Downlink, DownlinkItem, NUMBER_MAX};
use firmware_protocols::value::{Key, Value};
use rusqlite::{Transaction, params};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Store, StoreError, signed, unsigned};

/// The most items in one answer.
const ANSWER_MAX_ITEMS: i64 = 100;
/// An answer is closed with the item that takes it over this.
const ANSWER_BYTES: usize = 256 * 1024;
/// The largest item.
const ITEM_MAX_BYTES: usize = 64 * 1024;

impl Store {
    /// Gives `item` (its fields without `seq`) the next number; it will reach the gateway.
    pub async fn push(&self, gateway: String, item: Value) -> Result<u64, StoreError> {
        let Value::Map(mut entries) = item else {
            return Err(StoreError::NotAnItem(format!(
                "expected a map, got {}",
                item.kind()
            )));
        };
        entries.retain(|(key, _)| !is(key, "seq"));
        let announced = announced_parcel(&entries);
        let has_code = entries.iter().any(|(key, _)| is(key, "code"));
        let body = Value::Map(entries).to_cbor();
        if body.len() > ITEM_MAX_BYTES {
            return Err(StoreError::NotAnItem(format!(
                "over {ITEM_MAX_BYTES} bytes"
            )));
        }
        let seq = self
            .run(move |connection| {
                let tx = connection.transaction()?;
                let seq = next_number(&tx, &gateway)?;
                tx.execute(
                    "INSERT INTO downlink (gateway, seq, body, code) VALUES (?1, ?2, ?3, ?4)",
                    params![gateway, seq, body, has_code],
                )?;
                if let Some(parcel) = announced {
                    tx.execute(
                        "INSERT OR IGNORE INTO parcel (gateway, parcel) VALUES (?1, ?2)",
                        params![gateway, parcel],
                    )?;
                }
                tx.commit()?;
                Ok(unsigned(seq))
            })
            .await?;
        self.pushed.send_replace(());
        Ok(seq)
    }

    /// How many long polls wait.
    pub fn long_polls(&self) -> usize {
        self.pushed.receiver_count()
    }

    /// The items after `after`, waiting up to `wait` for the first, or until `stop`.
    pub async fn downlink(
        &self,
        gateway: String,
        after: u64,
        wait: Duration,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Vec<Value>, StoreError> {
        let until = Instant::now() + wait;
        let mut pushed = self.pushed.subscribe();
        loop {
            pushed.borrow_and_update();
            let gateway = gateway.clone();
            let items = self
                .run(move |connection| {
                    let tx = connection.transaction()?;
                    let items = after_cursor(&tx, &gateway, after)?;
                    tx.commit()?;
                    Ok(items)
                })
                .await?;
            if !items.is_empty() || *stop.borrow() {
                return Ok(items);
            }
            tokio::select! {
                _ = pushed.changed() => {}
                _ = stop.wait_for(|stop| *stop) => return Ok(Vec::new()),
                () = tokio::time::sleep_until(until) => return Ok(Vec::new()),
            }
        }
    }
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

fn after_cursor(tx: &Transaction<'_>, gateway: &str, after: u64) -> Result<Vec<Value>, StoreError> {
    // A gateway that has more than was given here: this store is an old copy. Numbering goes on
    // above what the gateway has, or it would take new items for ones it knows.
    tx.execute(
        "UPDATE gateway SET downlink_last = ?2 WHERE gateway = ?1 AND downlink_last < ?2",
        params![gateway, signed(after)],
    )?;
    forget_codes(tx, gateway, after)?;
    let mut select = tx.prepare(
        "SELECT seq, body FROM downlink WHERE gateway = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
    )?;
    let mut rows = select.query(params![gateway, signed(after), ANSWER_MAX_ITEMS])?;
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
        let Ok(Value::Map(mut entries)) = Value::from_cbor(&body) else {
            return Err(StoreError::Unreadable(format!("downlink item {seq}")));
        };
        entries.retain(|(key, _)| !is(key, "code"));
        tx.execute(
            "UPDATE downlink SET body = ?3, code = 0 WHERE gateway = ?1 AND seq = ?2",
            params![gateway, seq, Value::Map(entries).to_cbor()],
        )?;
    }
    Ok(())
}

fn numbered(seq: u64, body: &[u8]) -> Result<Value, StoreError> {
    match Value::from_cbor(body) {
        Ok(Value::Map(mut entries)) => {
            entries.push((Key::Text("seq".to_string()), seq.into()));
            Ok(Value::Map(entries))
        }
        _ => Err(StoreError::Unreadable(format!("downlink item {seq}"))),
    }
}

fn is(key: &Key, name: &str) -> bool {
    matches!(key, Key::Text(text) if text == name)
}

/// The parcel that an item announces, if it does.
fn announced_parcel(entries: &[(Key, Value)]) -> Option<String> {
    let mut item = entries.to_vec();
    item.push((Key::Text("seq".to_string()), 1_u64.into()));
    match DownlinkItem::from_value(&Value::Map(item)).ok()?.what {
        Ok(Downlink::ParcelExpected(parcel)) => Some(parcel.parcel),
        _ => None,
    }
}
