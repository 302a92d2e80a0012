//! What the sync client knows of the store: batches are read from it, and what the cloud says goes
//! through the journal like everything else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use cloud_protocol::{Acked, Batch, DownlinkItem, Lane};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::cloud::{BatchLimits, Ledger, LedgerError, LineUse};
use crate::disk::{Disk, Duty, chain};
use crate::journal::{Inbox, NotTaken, Work};
use crate::keys::Keys;
use crate::store::{StoreError, lanes, load, schema};

/// The ledger of one store.
pub struct StoreLedger {
    reading: Arc<Reading>,
    inbox: Inbox,
}

struct Reading {
    store: PathBuf,
    keys: Arc<Keys>,
    disk: Disk,
    conn: Mutex<Option<Connection>>,
}

impl Reading {
    /// On a connection that is opened again after a failure.
    fn query<T>(
        &self,
        query: impl FnOnce(&Connection, &Keys) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut conn = self.conn.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match conn.take() {
            Some(open) => open,
            None => schema::open_reader(&self.store)?,
        };
        let result = query(&open, &self.keys);
        if result.is_ok() {
            *conn = Some(open);
        }
        result
    }
}

impl StoreLedger {
    /// The ledger of `store`, whose writer stands behind `inbox`.
    pub fn new(store: PathBuf, keys: Arc<Keys>, inbox: Inbox, disk: Disk) -> Self {
        let reading = Reading {
            store,
            keys,
            disk,
            conn: Mutex::new(None),
        };
        Self {
            reading: Arc::new(reading),
            inbox,
        }
    }

    /// Runs a query on the reading connection, away from the async threads.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection, &Keys) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let reading = Arc::clone(&self.reading);
        let read = tokio::task::spawn_blocking(move || {
            let result = reading.query(query);
            reading.disk.note(Duty::Uplink, &result);
            result
        });
        match read.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(e)) => Err(LedgerError::Unavailable(chain(&e))),
            Err(_) => Err(LedgerError::Unavailable("stopping".to_owned())),
        }
    }
}

#[async_trait]
impl Ledger for StoreLedger {
    async fn next_batch(&self, limits: BatchLimits) -> Result<Option<Batch>, LedgerError> {
        self.read(move |conn, keys| {
            lanes::next_batch(conn, &keys.store, limits.items, limits.bytes, &limits.held)
        })
        .await
    }

    async fn acked(&self, epoch: u64, acked: Acked) -> Result<(), LedgerError> {
        let heads = self.read(|conn, _| lanes::heads(conn)).await?;
        for (lane, seq) in &acked.0 {
            let last = heads.get(lane).map_or(0, |head| head.last_seq);
            if *seq > last {
                return Err(LedgerError::Ahead {
                    lane: *lane,
                    acked: *seq,
                    last,
                });
            }
        }
        let (reply, answer) = oneshot::channel();
        self.inbox.submit(Work::Acked {
            epoch,
            acked,
            reply,
        });
        on_disk(answer).await
    }

    async fn downlink_cursor(&self) -> Result<u64, LedgerError> {
        let cursor = self
            .read(|conn, _| load::meta(conn, "downlink_cursor"))
            .await?;
        Ok(cursor.unwrap_or(0).cast_unsigned())
    }

    async fn downlink(&self, items: Vec<DownlinkItem>) -> Result<(), LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.inbox.submit(Work::Downlink { items, reply });
        on_disk(answer).await
    }

    async fn new_epoch(&self) -> Result<u64, LedgerError> {
        Err(LedgerError::Unavailable("not yet".to_owned()))
    }

    async fn line_used(&self, _: Vec<LineUse>) -> Result<(), LedgerError> {
        Ok(())
    }

    async fn line_use(&self) -> Result<Vec<LineUse>, LedgerError> {
        Ok(Vec::new())
    }

    async fn backlog(&self) -> Result<Option<BTreeMap<Lane, u64>>, LedgerError> {
        let heads = self.read(|conn, _| lanes::heads(conn)).await?;
        let waiting = heads
            .into_iter()
            .map(|(lane, head)| (lane, head.last_seq - head.acked_seq))
            .collect();
        Ok(Some(waiting))
    }
}

async fn on_disk(answer: oneshot::Receiver<Result<(), NotTaken>>) -> Result<(), LedgerError> {
    match answer.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(why)) => Err(LedgerError::Unavailable(why.to_string())),
        Err(_) => Err(LedgerError::Unavailable(NotTaken::Stopping.to_string())),
    }
}
