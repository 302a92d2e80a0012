//! What waits to be told to others: a row for each lane's part of a batch, naming the items.

use cloud_protocol::Lane;
use rusqlite::{Connection, Row, params};

use super::{Outgoing, StoreError, signed, unsigned};

/// Items `first` to `last` of a lane were taken.
pub(super) fn add(
    tx: &Connection,
    (gateway, epoch, lane): (&str, u64, Lane),
    (first, last): (u64, u64),
) -> Result<(), StoreError> {
    tx.prepare_cached(
        "INSERT INTO outbox (gateway, epoch, lane, first, last) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        gateway,
        signed(epoch),
        lane.name(),
        signed(first),
        signed(last),
    ])?;
    Ok(())
}

/// The oldest rows with their items.
pub(super) fn oldest(
    connection: &mut Connection,
    limit: usize,
) -> Result<Vec<Outgoing>, StoreError> {
    let tx = connection.transaction()?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut select = tx
        .prepare("SELECT id, gateway, epoch, lane, first, last FROM outbox ORDER BY id LIMIT ?1")?;
    let rows: Vec<_> = select
        .query_map([limit], row_of)?
        .collect::<Result<_, _>>()?;
    let mut items = tx.prepare(
        "SELECT seq, body FROM item
         WHERE gateway = ?1 AND epoch = ?2 AND lane = ?3 AND seq BETWEEN ?4 AND ?5 ORDER BY seq",
    )?;
    let mut outgoing = Vec::with_capacity(rows.len());
    for (id, gateway, epoch, lane, first, last) in rows {
        let Some(known) = Lane::from_name(&lane) else {
            return Err(StoreError::Unreadable(format!("outbox row {id}: {lane}")));
        };
        let items = items.query_map(params![gateway, epoch, lane, first, last], |row| {
            Ok((unsigned(row.get(0)?), row.get(1)?))
        })?;
        outgoing.push(Outgoing {
            id: unsigned(id),
            epoch: unsigned(epoch),
            lane: known,
            items: items.collect::<Result<_, _>>()?,
            gateway,
        });
    }
    Ok(outgoing)
}

type Named = (i64, String, i64, String, i64, i64);

fn row_of(row: &Row<'_>) -> rusqlite::Result<Named> {
    Ok((
        row.get(0)?,
        row.get(1)?,
        row.get(2)?,
        row.get(3)?,
        row.get(4)?,
        row.get(5)?,
    ))
}

/// These rows are told.
pub(super) fn told(connection: &mut Connection, ids: &[u64]) -> Result<(), StoreError> {
    let tx = connection.transaction()?;
    for id in ids {
        tx.prepare_cached("DELETE FROM outbox WHERE id = ?1")?
            .execute([signed(*id)])?;
    }
    tx.commit()?;
    Ok(())
}
