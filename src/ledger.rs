//! What the sync client knows of the store: batches are read from it and cut by the journal, and what
//! the cloud says goes through the journal like everything else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use cloud_protocol::{Acked, Batch, DownlinkItem, Lane};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::cloud::{BatchLimits, EpochAt, Ledger, LedgerError, LineUse, Standing};
use crate::disk::{Disk, Duty, chain};
use crate::journal::{Inbox, NotTaken, Work};
use crate::keys::Keys;
use crate::store::lanes::{Plan, Unplanned};
use crate::store::{StoreError, lanes, line, load, schema};

/// How often a plan is made anew because something changed while it was made: an item was replaced,
/// which happens once an hour.
const PLANS_MAX: u32 = 4;

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

    /// Reads what to send next, then seals and numbers it; the connection is free for others by then.
    async fn plan(&self, limits: BatchLimits) -> Result<Option<Plan>, LedgerError> {
        let reading = Arc::clone(&self.reading);
        let planned = tokio::task::spawn_blocking(move || {
            let read = reading.query(|conn, _| lanes::read(conn, &limits));
            let plan = read
                .map_err(Unplanned::from)
                .and_then(|waiting| waiting.plan(&reading.keys.store, &limits.seal));
            match &plan {
                Err(Unplanned::Store(e)) => reading.disk.refuses(Duty::Uplink, &chain(e)),
                // The key is the cloud's, not the disk's.
                Err(Unplanned::Sealing) | Ok(_) => reading.disk.serves(Duty::Uplink),
            }
            plan
        });
        match planned.await {
            Ok(Ok(plan)) => Ok(plan),
            Ok(Err(e)) => Err(LedgerError::Unavailable(chain(&e))),
            Err(_) => Err(LedgerError::Unavailable("stopping".to_owned())),
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
        for _ in 0..PLANS_MAX {
            let Some(Plan { batch, cut }) = self.plan(limits.clone()).await? else {
                return Ok(None);
            };
            let Some(cut) = cut else {
                return Ok(Some(batch));
            };
            let (reply, answer) = oneshot::channel();
            self.inbox.submit(Work::Cut { cut, reply });
            // Whoever stops waiting here finds the items cut the next time.
            if on_disk(answer).await? {
                return Ok(Some(batch));
            }
        }
        let what = "what waits changes faster than it can be read";
        Err(LedgerError::Unavailable(what.to_owned()))
    }

    async fn acked(&self, epoch: u64, acked: Acked) -> Result<(), LedgerError> {
        let heads = self
            .read(move |conn, _| {
                let same = lanes::epoch(conn)? == epoch;
                same.then(|| lanes::heads(conn)).transpose()
            })
            .await?;
        // The word for an epoch that is over says nothing of this one.
        let Some(heads) = heads else {
            return Ok(());
        };
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

    async fn new_epoch(&self, at: EpochAt) -> Result<u64, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.inbox.submit(Work::NewEpoch { at, reply });
        on_disk(answer).await
    }

    async fn line_used(&self, uses: Vec<LineUse>) -> Result<(), LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.inbox.submit(Work::LineUse { uses, reply });
        on_disk(answer).await
    }

    async fn line_use(&self) -> Result<Vec<LineUse>, LedgerError> {
        self.read(|conn, _| line::known(conn)).await
    }

    async fn standing(&self, at: BTreeMap<Lane, u64>) -> Result<Option<Standing>, LedgerError> {
        let stands = self.read(move |conn, _| lanes::standing(conn, &at));
        Ok(Some(stands.await?))
    }

    async fn backlog(&self) -> Result<Option<BTreeMap<Lane, u64>>, LedgerError> {
        let heads = self.read(|conn, _| lanes::heads(conn)).await?;
        let waiting = heads
            .into_iter()
            .map(|(lane, head)| (lane, head.waiting))
            .collect();
        Ok(Some(waiting))
    }
}

async fn on_disk<T>(answer: oneshot::Receiver<Result<T, NotTaken>>) -> Result<T, LedgerError> {
    match answer.await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(why)) => Err(LedgerError::Unavailable(why.to_string())),
        Err(_) => Err(LedgerError::Unavailable(NotTaken::Stopping.to_string())),
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
