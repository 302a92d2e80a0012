//! The outbox: read and emptied by one cloud at a time, which holds an advisory lock on a connection
//! of its own. When that connection is lost the lock is too, and another cloud may have it.

use std::collections::BTreeMap;

use tokio::sync::Mutex;
use tokio_postgres::{Client, Config};

use super::{connect, lane_of, signed, unsigned};
use crate::store::{Outgoing, StoreError};

/// The advisory lock of the one that publishes: `linli` and a number.
const LOCK: i64 = 0x6c69_6e6c_6900_0002;

/// The connection, while this cloud has the lock.
#[derive(Default)]
pub(super) struct Lease(Mutex<Option<Client>>);

impl Lease {
    /// The oldest rows with their items; `None` if another cloud has the lock.
    pub(super) async fn oldest(
        &self,
        config: &Config,
        limit: usize,
    ) -> Result<Option<Vec<Outgoing>>, StoreError> {
        let mut leased = self.0.lock().await;
        let client = match leased.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => match lease(config).await? {
                Some(client) => client,
                None => return Ok(None),
            },
        };
        let outgoing = read(&client, limit).await?;
        *leased = Some(client);
        Ok(Some(outgoing))
    }

    /// Takes rows out.
    pub(super) async fn told(&self, ids: &[u64]) -> Result<(), StoreError> {
        let mut leased = self.0.lock().await;
        let Some(client) = leased.take() else {
            let why = "the outbox was lost to another cloud: read it again".to_string();
            return Err(StoreError::Busy(why));
        };
        let ids: Vec<i64> = ids.iter().map(|id| signed(*id)).collect();
        client
            .execute("DELETE FROM outbox WHERE id = ANY($1)", &[&ids])
            .await?;
        *leased = Some(client);
        Ok(())
    }

    /// Lets go of the lock.
    pub(super) async fn release(&self) {
        drop(self.0.lock().await.take());
    }
}

async fn lease(config: &Config) -> Result<Option<Client>, StoreError> {
    let client = connect::single(config).await?;
    let row = client
        .query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK])
        .await?;
    let held: bool = row.get(0);
    Ok(held.then_some(client))
}

async fn read(client: &Client, limit: usize) -> Result<Vec<Outgoing>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = client
        .query(
            "SELECT waits.id, gateway, epoch, lane, seq, body
             FROM (SELECT * FROM outbox ORDER BY id LIMIT $1) AS waits
             JOIN item USING (gateway, epoch, lane)
             WHERE seq BETWEEN waits.first AND waits.last",
            &[&limit],
        )
        .await?;
    let mut outgoing: BTreeMap<i64, Outgoing> = BTreeMap::new();
    for row in rows {
        let id: i64 = row.get(0);
        let lane = lane_of(row.get(3))?;
        let entry = outgoing.entry(id).or_insert_with(|| Outgoing {
            id: unsigned(id),
            gateway: row.get(1),
            epoch: unsigned(row.get(2)),
            lane,
            items: Vec::new(),
        });
        entry.items.push((unsigned(row.get(4)), row.get(5)));
    }
    for entry in outgoing.values_mut() {
        entry.items.sort_unstable_by_key(|(seq, _)| *seq);
    }
    Ok(outgoing.into_values().collect())
}
