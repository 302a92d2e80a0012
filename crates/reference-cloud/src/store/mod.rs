//! The store: one SQLite file, one thread that owns it, one transaction for each job.
//!
//! Invariant: what a caller is told is on disk (WAL, `synchronous=FULL`; both are read back at
//! open). Jobs wait in a queue of [`QUEUE_MAX`]; when it is full, the request waits its turn.

mod audit;
mod downlink;
mod ingest;
mod schema;
mod views;

use std::path::PathBuf;
use std::sync::Mutex;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

pub use audit::{AuditView, HeadView};
pub(crate) use ingest::Ingest;
pub use views::{HealthView, LaneView, LanesView, ParcelView, Told};

/// The most jobs that wait for the store.
pub const QUEUE_MAX: usize = 256;

/// Where the cloud keeps what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// In memory: gone with the process.
    Memory,
    /// In this file, made if it isn't there.
    File(PathBuf),
}

/// Why the store can't do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite's own reason.
    #[error("the store failed: check the disk's space and the file's permissions")]
    Sqlite(#[from] rusqlite::Error),
    /// Written by a newer version.
    #[error("the store has schema {found}, this version knows up to {known}: use a newer version")]
    Newer {
        /// The file's schema.
        found: i64,
        /// The newest known.
        known: i64,
    },
    /// A file system that can't give the promised durability.
    #[error("the store can't be durable here ({0}): put it on a local disk")]
    NotDurable(String),
    /// A stored row that can't be read.
    #[error("the store holds something unreadable: {0}")]
    Unreadable(String),
    /// What was to be sent isn't a downlink item.
    #[error("not a downlink item: {0}")]
    NotAnItem(String),
    /// The cloud is shut down.
    #[error("the store is closed")]
    Closed,
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The handle of the thread.
pub(crate) struct Store {
    jobs: mpsc::Sender<Option<Job>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Changes with every new downlink item, of any gateway: wakes the long polls, which look again.
    pushed: watch::Sender<()>,
}

impl Store {
    /// Opens the store and brings its schema up to date.
    pub async fn open(keep: Keep) -> Result<Self, StoreError> {
        let (jobs, mut queue) = mpsc::channel::<Option<Job>>(QUEUE_MAX);
        let (opened, open) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("cloud-store".to_string())
            .spawn(move || {
                let mut connection = match schema::open(&keep) {
                    Ok(connection) => connection,
                    Err(e) => return drop(opened.send(Err(e))),
                };
                let _ = opened.send(Ok(()));
                while let Some(Some(job)) = queue.blocking_recv() {
                    job(&mut connection);
                }
            })
            .map_err(|_| StoreError::Closed)?;
        open.await.map_err(|_| StoreError::Closed)??;
        Ok(Self {
            jobs,
            thread: Mutex::new(Some(thread)),
            pushed: watch::Sender::new(()),
        })
    }

    /// Ends the thread after the jobs that wait; later ones get [`StoreError::Closed`].
    pub async fn close(&self) {
        let _ = self.jobs.send(None).await;
        let thread = match self.thread.lock() {
            Ok(mut thread) => thread.take(),
            Err(_) => None,
        };
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    /// Does `work` on the store's thread.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (done, outcome) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let _ = done.send(work(connection));
        });
        self.jobs
            .send(Some(job))
            .await
            .map_err(|_| StoreError::Closed)?;
        outcome.await.map_err(|_| StoreError::Closed)?
    }
}

/// SQLite's integers are signed; ours stay below 2⁵³ (`NUMBER_MAX`), so nothing is lost.
fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A stored number that is never negative.
fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}
