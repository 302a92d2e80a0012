//! PostgreSQL: any number of clouds beside each other on one database.
//!
//! Nothing is kept in a cloud that another cloud would have to know: positions, nonces, keys and the
//! downlink are rows, and who waits for a push is told through the database. Gateways don't wait for
//! each other: no statement holds a row that belongs to another gateway.
//!
//! Invariant: what a caller is told is committed and on the server's disk (`synchronous_commit` is
//! set on each session; a server without `fsync` is refused). When a connection is lost in the
//! middle of a commit, the caller gets an error and repeats.

mod connect;
mod downlink;
mod enrolment;
mod ingest;
mod listen;
mod meaning;
mod nonces;
mod outbox;
mod pipeline;
mod schema;
mod views;

use std::sync::Arc;

use async_trait::async_trait;
use cloud_protocol::uplink::DemandReport;
use cloud_protocol::{Lane, Received};
use deadpool_postgres::{Object, Pool};
use firmware_protocols::value::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::Config;

use super::downlink_item::NewItem;
use super::polls::Polls;
use super::{
    AHEAD, AuditView, Enrolling, HealthView, Ingest, LanesView, Nonce, Outgoing, ParcelView,
    PostgresAt, Standing, Store, StoreError, signed, unsigned,
};

/// The pool, and what goes on beside the calls.
pub(super) struct Postgres {
    pool: Pool,
    config: Config,
    polls: Arc<Polls>,
    lease: outbox::Lease,
    beside: [JoinHandle<()>; 2],
}

impl Postgres {
    /// Checks that the server is durable, and brings the schema up to date.
    pub(super) async fn open(at: &PostgresAt) -> Result<Self, StoreError> {
        let config = connect::config(at)?;
        let mut client = connect::single(&config).await?;
        connect::check_durable(&client).await?;
        schema::migrate(&mut client).await?;
        let pool = connect::pool(config.clone(), at.connections)?;
        let polls = Arc::new(Polls::default());
        let beside = [
            tokio::spawn(listen::wake(config.clone(), Arc::clone(&polls))),
            tokio::spawn(nonces::keep_clear(pool.clone())),
        ];
        Ok(Self {
            pool,
            config,
            polls,
            lease: outbox::Lease::default(),
            beside,
        })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.beside.iter().for_each(JoinHandle::abort);
    }
}

#[async_trait]
impl Store for Postgres {
    async fn ingest(
        &self,
        gateway: &str,
        batch: Received,
        request: &Nonce,
    ) -> Result<Ingest, StoreError> {
        let client = connect::of(&self.pool).await?;
        let (gateway, request) = (gateway.to_string(), request.clone());
        // A task of its own: a caller that goes away doesn't leave a transaction half done.
        let taking = tokio::spawn(async move {
            let outcome = ingest::take(&client, &gateway, &batch, &request).await;
            if outcome.is_err() {
                // It may be in the middle of a transaction: closed, not used again.
                drop(Object::take(client));
            }
            outcome
        });
        taking.await.map_err(|_| StoreError::Closed)?
    }

    async fn fresh(&self, gateway: &str, request: &Nonce) -> Result<bool, StoreError> {
        nonces::fresh(&self.pool, gateway, request).await
    }

    async fn issue_token(
        &self,
        gateway: Option<&str>,
        token_digest: [u8; 32],
        valid_until_ms: i64,
    ) -> Result<(), StoreError> {
        enrolment::issue(&self.pool, gateway, &token_digest, valid_until_ms).await
    }

    async fn enrol(&self, enrolling: &Enrolling) -> Result<bool, StoreError> {
        enrolment::enrol(&self.pool, enrolling).await
    }

    async fn keys(&self, gateway: &str) -> Result<Option<Vec<[u8; 32]>>, StoreError> {
        enrolment::keys(&self.pool, gateway).await
    }

    async fn add_key(&self, gateway: &str, public_key: [u8; 32]) -> Result<(), StoreError> {
        enrolment::add_key(&self.pool, gateway, &public_key).await
    }

    async fn key_used(&self, gateway: &str, public_key: [u8; 32]) -> Result<(), StoreError> {
        enrolment::key_used(&self.pool, gateway, &public_key).await
    }

    async fn standing(&self, gateway: &str) -> Result<Standing, StoreError> {
        views::standing(&self.pool, gateway).await
    }

    async fn downlink(&self, gateway: &str, after: u64) -> Result<Vec<Value>, StoreError> {
        downlink::after_cursor(&self.pool, gateway, after).await
    }

    async fn push(&self, gateway: &str, item: Value) -> Result<u64, StoreError> {
        let item = NewItem::of(item)?;
        let seq = downlink::push(&self.pool, gateway, &item).await?;
        // The database tells it to all clouds, this one too; here it needn't be waited for.
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
        let client = connect::of(&self.pool).await?;
        let ahead = "UPDATE gateway SET downlink_last = downlink_last + $1";
        client.execute(ahead, &[&AHEAD]).await?;
        Ok(())
    }

    async fn gateways(&self) -> Result<Vec<String>, StoreError> {
        views::gateways(&self.pool).await
    }

    async fn parcels(
        &self,
        gateway: &str,
        only: Option<&str>,
    ) -> Result<Vec<ParcelView>, StoreError> {
        views::parcels(&self.pool, gateway, only).await
    }

    async fn demand(&self, gateway: &str) -> Result<Vec<DemandReport>, StoreError> {
        views::demand(&self.pool, gateway).await
    }

    async fn health(&self, gateway: &str) -> Result<Option<HealthView>, StoreError> {
        views::health(&self.pool, gateway).await
    }

    async fn lanes(&self, gateway: &str) -> Result<LanesView, StoreError> {
        views::lanes(&self.pool, gateway).await
    }

    async fn audit(&self, gateway: &str) -> Result<AuditView, StoreError> {
        views::audit(&self.pool, gateway).await
    }

    async fn outbox(&self, limit: usize) -> Result<Option<Vec<Outgoing>>, StoreError> {
        self.lease.oldest(&self.config, limit).await
    }

    async fn told(&self, ids: &[u64]) -> Result<(), StoreError> {
        self.lease.told(ids).await
    }

    async fn close(&self) {
        self.beside.iter().for_each(JoinHandle::abort);
        self.lease.release().await;
        self.pool.close();
    }
}

/// A lane as a number: its place by urgency.
fn number_of(lane: Lane) -> i16 {
    match lane {
        Lane::Fulfilment => 0,
        Lane::Health => 1,
        Lane::Demand => 2,
    }
}

/// The lane of that number.
fn lane_of(number: i16) -> Result<Lane, StoreError> {
    let found = Lane::ALL
        .into_iter()
        .find(|lane| number_of(*lane) == number);
    found.ok_or_else(|| StoreError::Unreadable(format!("lane {number}")))
}
