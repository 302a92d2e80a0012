//! A small real receiver of the sync API: for the demo, the tests, and as an example to those who
//! write the operator's cloud. The contract is `SYNC.md` of the crate `cloud-protocol`.
//!
//! * [`store`] — taking batches exactly once, the downlink, keys and tokens, and what is known: in
//!   SQLite, or in PostgreSQL for several clouds beside each other.
//! * `signed` — who speaks: the signature of every call, checked before anything is read.
//! * `keys` — the gateways' keys, kept for a moment.
//! * `gateway_calls`, `enrolment` — the calls of a gateway.
//! * `sealing`, `tokens` — the cloud's own secrets.
//! * `admin` — the few calls of an operator, for this machine only.
//! * `body`, `answer` — content negotiation, bounds, compression, problems.
//! * `connections` — accepting, cutting, stopping.
//! * [`faults`] — what a demo or a test does to it.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod admin;
mod answer;
mod arguments;
mod body;
mod connections;
mod enrolment;
pub mod faults;
mod gateway_calls;
mod keys;
mod routes;
mod sealing;
mod signed;
pub mod store;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use cloud_protocol::downlink::ExpectedParcel;
use cloud_protocol::uplink::DemandReport;
use cloud_protocol::{Downlink, DownlinkItem, SealingKey};
use firmware_protocols::event::Secret;
use firmware_protocols::{Ident, Value};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::JoinHandle;

pub use arguments::Arguments;
pub use connections::{CONNECTIONS_MAX, HEAD_MAX_BYTES, HEAD_TIMEOUT};
pub use faults::{Faults, Refusal};
use sealing::SealingKeys;
pub use store::{
    AuditView, HeadView, HealthView, Keep, LaneView, LanesView, ParcelView, PostgresAt, StoreError,
    Told,
};

/// The most batches that are read and taken at a time; the next ones wait their turn.
const AT_WORK_MAX: usize = 64;

/// How a cloud is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where it listens; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Where it keeps what it has.
    pub store: Keep,
    /// The gateways that may speak to it; none: any that enrols.
    pub gateways: Vec<Ident>,
    /// Whether any token is good. For development only.
    pub open: bool,
    /// The URL at which gateways reach it, without the path, if it isn't `http://` and the header
    /// `Host`: what they sign has it.
    pub public_url: Option<String>,
    /// Where its keys for pickup codes are; none: beside the file of the store, or in memory with it.
    pub sealing_key_file: Option<PathBuf>,
    /// Whether gateways are to seal to a new key from now on; the ones before it still open.
    pub new_sealing_key: bool,
    /// Whether the store was restored from an older copy: the downlinks are numbered ahead of what
    /// gateways may have had, and what was signed before now is refused, as
    /// the nonces since the copy are lost.
    pub restored: bool,
    /// The most connections at a time.
    pub connections: usize,
}

impl Config {
    /// On a free loopback port, in memory, for any gateway with any token.
    #[must_use]
    pub fn in_memory() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            store: Keep::Memory,
            gateways: Vec::new(),
            open: true,
            public_url: None,
            sealing_key_file: None,
            new_sealing_key: false,
            restored: false,
            connections: CONNECTIONS_MAX,
        }
    }

    /// On a free loopback port, in this file, for any gateway with any token. Its keys for pickup
    /// codes are in a file beside it, whose name ends in `.sealing-keys`.
    #[must_use]
    pub fn in_file(path: impl Into<PathBuf>) -> Self {
        Self {
            store: Keep::File(path.into()),
            ..Self::in_memory()
        }
    }

    fn sealing_keys(&self) -> anyhow::Result<SealingKeys> {
        let file = match (&self.sealing_key_file, &self.store) {
            (Some(file), _) => file.clone(),
            (None, Keep::Memory) => return SealingKeys::in_memory(),
            (None, Keep::File(store)) => {
                let mut file = store.clone().into_os_string();
                file.push(".sealing-keys");
                file.into()
            }
            (None, Keep::Postgres(_)) => anyhow::bail!(
                "several clouds may share a database: give each the same file with --sealing-key-file"
            ),
        };
        SealingKeys::in_file(&file, self.new_sealing_key)
    }
}

/// A running cloud. Dropping it stops it; [`Cloud::shutdown`] also waits until it has stopped.
pub struct Cloud {
    address: SocketAddr,
    app: App,
    stop: watch::Sender<bool>,
    serving: Mutex<Option<JoinHandle<()>>>,
}

/// What every call has.
#[derive(Clone)]
pub(crate) struct App {
    store: Arc<dyn store::Store>,
    keys: keys::Keys,
    sealing: Arc<SealingKeys>,
    faults: Faults,
    gateways: Arc<BTreeSet<Ident>>,
    open: bool,
    public_url: Option<Arc<str>>,
    not_before_s: i64,
    at_work: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

/// Opens the store and starts to serve.
pub async fn serve(config: Config) -> anyhow::Result<Cloud> {
    let public_url = config.public_url.as_deref().map(base).transpose()?;
    let door = connections::Door::open(config.listen)
        .with_context(|| format!("cannot listen at {}: is it in use?", config.listen))?;
    let sealing = Arc::new(config.sealing_keys()?);
    let store = store::open(config.store.clone())
        .await
        .with_context(|| format!("cannot open the store {:?}", config.store))?;
    if config.restored {
        store.restored().await.context("cannot number ahead")?;
    }
    let (stop, stopped) = watch::channel(false);
    let app = App {
        store,
        keys: keys::Keys::default(),
        sealing,
        faults: Faults::default(),
        gateways: Arc::new(config.gateways.into_iter().collect()),
        open: config.open,
        public_url,
        not_before_s: match config.restored {
            true => signed::now_ms() / 1_000 + 1,
            false => 0,
        },
        at_work: Arc::new(Semaphore::new(AT_WORK_MAX)),
        stop: stopped.clone(),
    };
    let address = door.address();
    let serving = tokio::spawn(connections::serve(
        door,
        config.connections,
        routes::all(app.clone()),
        app.faults.clone(),
        stopped,
    ));
    Ok(Cloud {
        address,
        app,
        stop,
        serving: Mutex::new(Some(serving)),
    })
}

/// A public URL without a slash at its end.
fn base(url: &str) -> anyhow::Result<Arc<str>> {
    let host = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    ensure!(
        host.is_some_and(|host| !host.trim_matches('/').is_empty() && !host.contains(['?', '#'])),
        "the public URL must be as gateways are given it: https://cloud.example"
    );
    Ok(Arc::from(url.trim_end_matches('/')))
}

impl Cloud {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL for a gateway's configuration.
    #[must_use]
    pub fn url(&self) -> String {
        match &self.app.public_url {
            Some(url) => url.to_string(),
            None => format!("http://{}", self.address),
        }
    }

    /// What can be done to it.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.app.faults
    }

    /// Stops taking connections, ends the long polls, waits up to 2 s for running requests, and
    /// closes the store.
    pub async fn shutdown(&self) {
        self.stop.send_replace(true);
        if let Some(serving) = self.serving.lock().await.take() {
            let _ = serving.await;
        }
        self.app.store.close().await;
    }

    /// How many long polls wait for news at the moment.
    #[must_use]
    pub fn long_polls(&self) -> usize {
        self.app.store.long_polls()
    }

    /// A token with which this gateway can enrol within three days, once.
    pub async fn issue_token(&self, gateway: &Ident) -> Result<Secret, StoreError> {
        let issued = tokens::issue(&*self.app.store, Some(gateway), tokens::GOOD_FOR);
        Ok(issued.await?.0)
    }

    /// To what gateways seal pickup codes.
    #[must_use]
    pub fn sealing_key(&self) -> SealingKey {
        self.app.sealing.in_force()
    }

    /// Announces a parcel to a gateway; returns the number of the downlink item.
    pub async fn announce(
        &self,
        gateway: &Ident,
        parcel: &ExpectedParcel,
    ) -> Result<u64, StoreError> {
        self.push(gateway, &Downlink::ParcelExpected(parcel.clone()))
            .await
    }

    /// Tells a gateway something; returns the number of the downlink item.
    pub async fn push(&self, gateway: &Ident, what: &Downlink) -> Result<u64, StoreError> {
        let item = DownlinkItem {
            seq: 1,
            what: Ok(what.clone()),
        };
        self.push_value(gateway, item.to_value()).await
    }

    /// Tells a gateway anything that is a map, readable or not; `seq` is set here.
    pub async fn push_value(&self, gateway: &Ident, item: Value) -> Result<u64, StoreError> {
        self.app.store.push(gateway.as_str(), item).await
    }

    /// The parcels of a gateway, by id, with their codes sealed.
    pub async fn parcels(&self, gateway: &Ident) -> Result<Vec<ParcelView>, StoreError> {
        self.app.store.parcels(gateway.as_str(), None).await
    }

    /// One parcel, with its code sealed.
    pub async fn parcel(
        &self,
        gateway: &Ident,
        parcel: &str,
    ) -> Result<Option<ParcelView>, StoreError> {
        let found = self.app.store.parcels(gateway.as_str(), Some(parcel));
        Ok(found.await?.pop())
    }

    /// The live pickup codes by parcel, opened: what the residents are told.
    pub async fn codes(&self, gateway: &Ident) -> Result<BTreeMap<String, Secret>, StoreError> {
        let parcels = self.parcels(gateway).await?.into_iter();
        let opened = parcels.map(|parcel| self.app.sealing.opened(gateway.as_str(), parcel));
        Ok(opened
            .filter_map(|parcel| Some((parcel.parcel, parcel.digits?)))
            .collect())
    }

    /// The demand of a gateway by start, each bucket in its highest revision.
    pub async fn demand(&self, gateway: &Ident) -> Result<Vec<DemandReport>, StoreError> {
        self.app.store.demand(gateway.as_str()).await
    }

    /// What a gateway last said about itself.
    pub async fn health(&self, gateway: &Ident) -> Result<Option<HealthView>, StoreError> {
        self.app.store.health(gateway.as_str()).await
    }

    /// Where the chain over a gateway's history stands, and what contradicts it.
    pub async fn audit(&self, gateway: &Ident) -> Result<AuditView, StoreError> {
        self.app.store.audit(gateway.as_str()).await
    }

    /// How a gateway's lanes stand.
    pub async fn lanes(&self, gateway: &Ident) -> Result<LanesView, StoreError> {
        self.app.store.lanes(gateway.as_str()).await
    }
}
