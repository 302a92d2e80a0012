//! SQLite: one file, one thread that owns it, one transaction for each job.
//!
//! Invariant: what a caller is told is on disk (WAL, `synchronous=FULL`; both are read back at
//! open). Jobs wait in a queue of [`QUEUE_MAX`]; when it is full, the request waits its turn.

mod audit;
mod downlink;
mod enrolment;
mod ingest;
mod outbox;
mod schema;
mod views;

use std::sync::Mutex;
use std::thread::JoinHandle;

use async_trait::async_trait;
use cloud_protocol::Received;
use cloud_protocol::uplink::DemandReport;
use firmware_protocols::value::Value;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use super::downlink_item::NewItem;
use super::polls::Polls;
use super::{
    AHEAD, AuditView, Enrolling, HealthView, Ingest, Keep, LanesView, Nonce, Outgoing, ParcelView,
    Standing, Store, StoreError, signed, unsigned,
};

/// The most jobs that wait for the store.
const QUEUE_MAX: usize = 256;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The handle of the thread.
pub(super) struct Sqlite {
    jobs: mpsc::Sender<Option<Job>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    polls: Polls,
}

impl Sqlite {
    /// Opens the store and brings its schema up to date.
    pub(super) async fn open(keep: Keep) -> Result<Self, StoreError> {
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
            polls: Polls::default(),
        })
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

#[async_trait]
impl Store for Sqlite {
    async fn ingest(
        &self,
        gateway: &str,
        batch: Received,
        request: &Nonce,
    ) -> Result<Ingest, StoreError> {
        let (gateway, request) = (gateway.to_string(), request.clone());
        self.run(move |connection| ingest::take(connection, &gateway, &batch, &request))
            .await
    }

    async fn fresh(&self, gateway: &str, request: &Nonce) -> Result<bool, StoreError> {
        let (gateway, request) = (gateway.to_string(), request.clone());
        self.run(move |connection| Ok(enrolment::fresh(connection, &gateway, &request)?))
            .await
    }

    async fn issue_token(
        &self,
        gateway: Option<&str>,
        token_digest: [u8; 32],
        valid_until_ms: i64,
    ) -> Result<(), StoreError> {
        let gateway = gateway.map(str::to_string);
        self.run(move |connection| {
            enrolment::issue(
                connection,
                gateway.as_deref(),
                &token_digest,
                valid_until_ms,
            )
        })
        .await
    }

    async fn enrol(&self, enrolling: &Enrolling) -> Result<bool, StoreError> {
        let enrolling = enrolling.clone();
        self.run(move |connection| enrolment::enrol(connection, &enrolling))
            .await
    }

    async fn keys(&self, gateway: &str) -> Result<Option<Vec<[u8; 32]>>, StoreError> {
        let gateway = gateway.to_string();
        self.run(move |connection| enrolment::keys(connection, &gateway))
            .await
    }

    async fn add_key(&self, gateway: &str, public_key: [u8; 32]) -> Result<(), StoreError> {
        let gateway = gateway.to_string();
        self.run(move |connection| enrolment::add_key(connection, &gateway, &public_key))
            .await
    }

    async fn key_used(&self, gateway: &str, public_key: [u8; 32]) -> Result<(), StoreError> {
        let gateway = gateway.to_string();
        self.run(move |connection| enrolment::key_used(connection, &gateway, &public_key))
            .await
    }

    async fn standing(&self, gateway: &str) -> Result<Standing, StoreError> {
        let gateway = gateway.to_string();
        self.run(move |connection| ingest::standing(connection, &gateway))
            .await
    }

    async fn downlink(&self, gateway: &str, after: u64) -> Result<Vec<Value>, StoreError> {
        let gateway = gateway.to_string();
        self.run(move |connection| downlink::after_cursor(connection, &gateway, after))
            .await
    }

    async fn push(&self, gateway: &str, item: Value) -> Result<u64, StoreError> {
        let item = NewItem::of(item)?;
        let to = gateway.to_string();
        let seq = self
            .run(move |connection| downlink::push(connection, &to, &item))
            .await?;
        self.polls.wake(gateway);
        Ok(seq)
    }

    fn pushed(&self, gateway: &str) -> watch::Receiver<()> {
        self.polls.of(gateway)
    }

    fn long_polls(&self) -> usize {
        self.polls.count()
    }

    async fn restored(&self) -> Result<(), StoreError> {
        self.run(|connection| {
            let ahead = "UPDATE gateway SET downlink_last = downlink_last + ?1";
            connection.execute(ahead, [AHEAD])?;
            Ok(())
        })
        .await
    }

    async fn gateways(&self) -> Result<Vec<String>, StoreError> {
        self.run(|connection| views::gateways(connection)).await
    }

    async fn parcels(
        &self,
        gateway: &str,
        only: Option<&str>,
    ) -> Result<Vec<ParcelView>, StoreError> {
        let (gateway, only) = (gateway.to_string(), only.map(str::to_string));
        self.run(move |connection| views::parcels(connection, &gateway, only.as_deref()))
            .await
    }

    async fn demand(&self, gateway: &str) -> Result<Vec<DemandReport>, StoreError> {
        let gateway = gateway.to_string();
        self.run(move |connection| views::demand(connection, &gateway))
            .await
    }

    async fn health(&self, gateway: &str) -> Result<Option<HealthView>, StoreError> {
        let gateway = gateway.to_string();
        self.run(move |connection| views::health(connection, &gateway))
            .await
    }

    async fn lanes(&self, gateway: &str) -> Result<LanesView, StoreError> {
        let gateway = gateway.to_string();
        self.run(move |connection| views::lanes(connection, &gateway))
            .await
    }

    async fn audit(&self, gateway: &str) -> Result<AuditView, StoreError> {
        let gateway = gateway.to_string();
        self.run(move |connection| audit::view(connection, &gateway))
            .await
    }

    async fn outbox(&self, limit: usize) -> Result<Option<Vec<Outgoing>>, StoreError> {
        self.run(move |connection| outbox::oldest(connection, limit).map(Some))
            .await
    }

    async fn told(&self, ids: &[u64]) -> Result<(), StoreError> {
        let ids = ids.to_vec();
        self.run(move |connection| outbox::told(connection, &ids))
            .await
    }

    async fn close(&self) {
        let _ = self.jobs.send(None).await;
        let thread = match self.thread.lock() {
            Ok(mut thread) => thread.take(),
            Err(_) => None,
        };
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}
