//! The store: what every call needs of it, behind which SQLite or PostgreSQL stands.
//!
//! * [`Store`] — the calls; [`open`] picks what is behind them.
//! * `sqlite` — one file and one thread: for a demo, a test, a small cloud.
//! * `postgres` — any number of clouds beside each other on one database.
//! * [`views`] — what the cloud knows, for people.
//! * `refusal`, `enrolment`, `meaning`, `downlink_item` — what both decide alike.
//! * [`polls`] — the long polls, and who wakes them.
//!
//! Invariant: what a caller is told is on disk. A batch's nonce, its positions and its data are one
//! transaction.

mod downlink_item;
mod enrolment;
mod meaning;
#[cfg(feature = "nats")]
pub mod nats;
pub mod polls;
mod postgres;
pub(crate) mod refusal;
mod sqlite;
pub mod views;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use cloud_protocol::uplink::DemandReport;
use cloud_protocol::{Acked, Lane, Problem, Received};
use firmware_protocols::event::Secret;
use firmware_protocols::value::Value;
use tokio::sync::watch;

pub use views::{AuditView, HeadView, HealthView, LaneView, LanesView, ParcelView, Told};

/// How long a nonce is remembered at least, seconds: twice what a request's time may be off.
pub const NONCE_KEPT_S: i64 = 600;
/// The most items in one answer of the downlink.
pub const ANSWER_MAX_ITEMS: usize = 100;
/// An answer of the downlink is closed with the item that takes it over this, bytes.
pub const ANSWER_BYTES: usize = 256 * 1024;

/// Where the cloud keeps what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// In memory: gone with the process.
    Memory,
    /// In this SQLite file, made if it isn't there.
    File(PathBuf),
    /// In this database, beside other clouds.
    Postgres(PostgresAt),
}

/// A PostgreSQL database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresAt {
    /// `postgres://user:password@host:port/database`, without TLS: on this machine, or over a
    /// trusted wire.
    pub url: Secret,
    /// The most connections for calls; two more are for notifications and the outbox.
    pub connections: usize,
}

impl PostgresAt {
    /// The database of that URL, with as many connections as a small cloud needs.
    #[must_use]
    pub fn new(url: Secret) -> Self {
        let connections = 16;
        Self { url, connections }
    }
}

/// What makes a signed request unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce {
    /// When the request was signed, seconds since the Unix epoch.
    pub created_s: i64,
    /// Never the same twice.
    pub nonce: String,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ingest {
    /// On disk up to here.
    Taken(Acked),
    /// Nothing of it was taken.
    Refused(Box<Problem>),
}

/// A gateway that enrols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolling {
    /// Its name.
    pub gateway: String,
    /// The digest of its token; `None` at a cloud where any token is good.
    pub token_digest: Option<[u8; 32]>,
    /// Its key, Ed25519.
    pub public_key: [u8; 32],
    /// The cloud's time, ms since the Unix epoch.
    pub now_ms: i64,
}

/// The epoch that the cloud has of a gateway (`None` before the first batch), and where its lanes
/// stand in it, as far as they have an item.
pub type Standing = (Option<u64>, BTreeMap<Lane, cloud_protocol::enrol::LaneView>);

/// Items of a lane that were taken and wait to be told to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Their place in the outbox; rises within a lane.
    pub id: u64,
    /// The gateway.
    pub gateway: String,
    /// Its epoch.
    pub epoch: u64,
    /// The lane.
    pub lane: Lane,
    /// The items by number, rising, in deterministic CBOR, as they are stored: without pickup codes.
    pub items: Vec<(u64, Vec<u8>)>,
}

/// Why the store can't do it. Nobody is told that anything was kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite's own reason.
    #[error("the store failed: check the disk's space and the file's permissions")]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL's own reason, or the connection's.
    #[error("PostgreSQL failed: check that it runs, that its disk has space, and the URL")]
    Postgres(#[from] tokio_postgres::Error),
    /// Written by a newer version.
    #[error("the store has schema {found}, this version knows up to {known}: use a newer version")]
    Newer {
        /// The store's schema.
        found: i64,
        /// The newest known.
        known: i64,
    },
    /// A store that can't give the promised durability.
    #[error("the store can't be durable here: {0}")]
    NotDurable(String),
    /// A stored row that can't be read.
    #[error("the store holds something unreadable: {0}")]
    Unreadable(String),
    /// What was to be sent isn't a downlink item.
    #[error("not a downlink item: {0}")]
    NotAnItem(String),
    /// Too much happens at once; the same call may succeed later.
    #[error("the store is busy: {0}")]
    Busy(String),
    /// The cloud is shut down.
    #[error("the store is closed")]
    Closed,
}

/// The store of a cloud. Every call that changes something resolves once the change is on disk; after
/// an error the change may be there or not, and the caller may repeat the call.
#[async_trait]
pub trait Store: Send + Sync {
    /// Takes a batch: nonce, positions and data in one transaction. A refusal takes nothing but the
    /// nonce; a nonce that was there before is refused (`replay`).
    async fn ingest(
        &self,
        gateway: &str,
        batch: Received,
        request: &Nonce,
    ) -> Result<Ingest, StoreError>;

    /// Remembers the nonce of any other call; `false` if it was there before.
    async fn fresh(&self, gateway: &str, request: &Nonce) -> Result<bool, StoreError>;

    /// Makes a token good: for one enrolment of this gateway (`None`: of any) until that time.
    async fn issue_token(
        &self,
        gateway: Option<&str>,
        token_digest: [u8; 32],
        valid_until_ms: i64,
    ) -> Result<(), StoreError>;

    /// Enrols a gateway, or gives it a new key; `false` if the token isn't good. The same token
    /// with the same gateway and key again changes nothing and is good.
    async fn enrol(&self, enrolling: &Enrolling) -> Result<bool, StoreError>;

    /// The keys that a gateway may sign with: the one in force, then the next. `None` if no such
    /// gateway is enrolled.
    async fn keys(&self, gateway: &str) -> Result<Option<Vec<[u8; 32]>>, StoreError>;

    /// Makes a key the next one of an enrolled gateway, in the place of an earlier next one.
    async fn add_key(&self, gateway: &str, public_key: [u8; 32]) -> Result<(), StoreError>;

    /// A request signed by this key was taken: if it is the next key, it is in force from now on and
    /// the one before is dead.
    async fn key_used(&self, gateway: &str, public_key: [u8; 32]) -> Result<(), StoreError>;

    /// Where a gateway's lanes stand.
    async fn standing(&self, gateway: &str) -> Result<Standing, StoreError>;

    /// The items of the downlink after `after`, at most [`ANSWER_MAX_ITEMS`] and about
    /// [`ANSWER_BYTES`]. The gateway has those up to `after` on disk: codes in them are forgotten,
    /// and numbering goes on above.
    async fn downlink(&self, gateway: &str, after: u64) -> Result<Vec<Value>, StoreError>;

    /// Gives `item` (its fields without `seq`) the next number; it will reach the gateway.
    async fn push(&self, gateway: &str, item: Value) -> Result<u64, StoreError>;

    /// The store was restored from an older copy: every downlink goes on [`AHEAD`] further, above
    /// what the gateways may have had from the lost one.
    async fn restored(&self) -> Result<(), StoreError>;

    /// Changes when something was pushed to this gateway, at any cloud on the same store; it may
    /// also change for nothing.
    fn pushed(&self, gateway: &str) -> watch::Receiver<()>;

    /// How many long polls wait at this cloud.
    fn long_polls(&self) -> usize;

    /// Every gateway that the cloud has heard of or speaks to.
    async fn gateways(&self) -> Result<Vec<String>, StoreError>;

    /// The parcels of a gateway by id, or the one of that id.
    async fn parcels(
        &self,
        gateway: &str,
        only: Option<&str>,
    ) -> Result<Vec<ParcelView>, StoreError>;

    /// The demand of a gateway by start, each bucket in its highest revision.
    async fn demand(&self, gateway: &str) -> Result<Vec<DemandReport>, StoreError>;

    /// What a gateway last said about itself.
    async fn health(&self, gateway: &str) -> Result<Option<HealthView>, StoreError>;

    /// How a gateway's lanes stand, with what was counted.
    async fn lanes(&self, gateway: &str) -> Result<LanesView, StoreError>;

    /// What is known of a gateway's history.
    async fn audit(&self, gateway: &str) -> Result<AuditView, StoreError>;

    /// What waits in the outbox, the oldest first, at most `limit`; a lane's items come in their
    /// order. `None` while another cloud on the same store has the outbox.
    async fn outbox(&self, limit: usize) -> Result<Option<Vec<Outgoing>>, StoreError>;

    /// Takes what others have been told, by id, out of the outbox.
    async fn told(&self, ids: &[u64]) -> Result<(), StoreError>;

    /// Lets go of the store; later calls get [`StoreError::Closed`].
    async fn close(&self);
}

/// More items than any gateway was ever told between two backups.
const AHEAD: i64 = 1_000_000;

/// Opens a store and brings its schema up to date.
pub async fn open(keep: Keep) -> Result<Arc<dyn Store>, StoreError> {
    match keep {
        Keep::Memory | Keep::File(_) => Ok(Arc::new(sqlite::Sqlite::open(keep).await?)),
        Keep::Postgres(at) => Ok(Arc::new(postgres::Postgres::open(&at).await?)),
    }
}

/// The databases' integers are signed; ours stay below 2⁵³ (`NUMBER_MAX`), so nothing is lost.
fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A stored number that is never negative.
fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}
