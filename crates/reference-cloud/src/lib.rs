//! A small real receiver of the sync API: for the demo, the tests, and as an example to those who
//! write the operator's cloud. The contract is `SYNC.md` of the crate `cloud-protocol`.
//!
//! * [`store`] — SQLite or PostgreSQL: taking batches exactly once, the downlink, and what is known.
//! * `gateway_calls` — the two calls of a gateway.
//! * `admin` — the few calls of an operator, for this machine only.
//! * `body` — content negotiation, bounds, problems.
//! * `connections` — accepting, cutting, stopping.
//! * [`faults`] — what a demo or a test does to it.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod admin;
mod body;
mod connections;
pub mod faults;
mod gateway_calls;
pub mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::routing::{get, post};
use cloud_protocol::downlink::ExpectedParcel;
use cloud_protocol::uplink::DemandReport;
use cloud_protocol::{Downlink, DownlinkItem};
use firmware_protocols::event::Secret;
use firmware_protocols::{Ident, Value};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

pub use connections::{CONNECTIONS_MAX, HEAD_TIMEOUT};
pub use faults::{Faults, Refusal};
pub use store::{
    AuditView, HeadView, HealthView, Keep, LaneView, LanesView, ParcelView, PostgresAt, StoreError,
    Told,
};

/// How a cloud is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where it listens; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Where it keeps what it has.
    pub store: Keep,
    /// The gateways that may speak to it; none: any.
    pub gateways: Vec<Ident>,
}

impl Config {
    /// On a free loopback port, in memory, for any gateway.
    #[must_use]
    pub fn in_memory() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            store: Keep::Memory,
            gateways: Vec::new(),
        }
    }

    /// On a free loopback port, in this file, for any gateway.
    #[must_use]
    pub fn in_file(path: impl Into<PathBuf>) -> Self {
        Self {
            store: Keep::File(path.into()),
            ..Self::in_memory()
        }
    }
}

/// A running cloud. Dropping it stops it; [`Cloud::shutdown`] also waits until it has stopped.
pub struct Cloud {
    address: SocketAddr,
    store: Arc<dyn store::Store>,
    faults: Faults,
    stop: watch::Sender<bool>,
    serving: Mutex<Option<JoinHandle<()>>>,
}

/// What every call has.
#[derive(Clone)]
pub(crate) struct App {
    store: Arc<dyn store::Store>,
    faults: Faults,
    gateways: Arc<BTreeSet<Ident>>,
    stop: watch::Receiver<bool>,
}

/// Opens the store and starts to serve.
pub async fn serve(config: Config) -> anyhow::Result<Cloud> {
    let door = connections::Door::open(config.listen)
        .with_context(|| format!("cannot listen at {}: is it in use?", config.listen))?;
    let store = store::open(config.store.clone())
        .await
        .with_context(|| format!("cannot open the store {:?}", config.store))?;
    let faults = Faults::default();
    let (stop, stopped) = watch::channel(false);
    let app = App {
        store: Arc::clone(&store),
        faults: faults.clone(),
        gateways: Arc::new(config.gateways.into_iter().collect()),
        stop: stopped.clone(),
    };
    let router = Router::new()
        .route("/v1/gateways/{gateway}/uplink", post(gateway_calls::uplink))
        .route(
            "/v1/gateways/{gateway}/downlink",
            get(gateway_calls::downlink),
        )
        .merge(admin::calls())
        .with_state(app);
    let address = door.address();
    let serving = tokio::spawn(connections::serve(door, router, faults.clone(), stopped));
    Ok(Cloud {
        address,
        store,
        faults,
        stop,
        serving: Mutex::new(Some(serving)),
    })
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
        format!("http://{}", self.address)
    }

    /// What can be done to it.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Stops taking connections, ends the long polls, waits up to 2 s for running requests, and
    /// closes the store.
    pub async fn shutdown(&self) {
        self.stop.send_replace(true);
        if let Some(serving) = self.serving.lock().await.take() {
            let _ = serving.await;
        }
        self.store.close().await;
    }

    /// How many long polls wait for news at the moment.
    #[must_use]
    pub fn long_polls(&self) -> usize {
        self.store.long_polls()
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
        self.store.push(gateway.as_str(), item).await
    }

    /// The parcels of a gateway, by id.
    pub async fn parcels(&self, gateway: &Ident) -> Result<Vec<ParcelView>, StoreError> {
        self.store.parcels(gateway.as_str(), None).await
    }

    /// One parcel.
    pub async fn parcel(
        &self,
        gateway: &Ident,
        parcel: &str,
    ) -> Result<Option<ParcelView>, StoreError> {
        let found = self.store.parcels(gateway.as_str(), Some(parcel));
        let mut found = found.await?;
        Ok(found.pop())
    }

    /// The live pickup codes by parcel: what the residents have been told.
    pub async fn codes(&self, gateway: &Ident) -> Result<BTreeMap<String, Secret>, StoreError> {
        let parcels = self.parcels(gateway).await?;
        let live = parcels.into_iter();
        Ok(live.filter_map(|p| Some((p.parcel, p.digits?))).collect())
    }

    /// The demand of a gateway by start, each bucket in its highest revision.
    pub async fn demand(&self, gateway: &Ident) -> Result<Vec<DemandReport>, StoreError> {
        self.store.demand(gateway.as_str()).await
    }

    /// What a gateway last said about itself.
    pub async fn health(&self, gateway: &Ident) -> Result<Option<HealthView>, StoreError> {
        self.store.health(gateway.as_str()).await
    }

    /// Where the chain over a gateway's history stands, and what contradicts it.
    pub async fn audit(&self, gateway: &Ident) -> Result<AuditView, StoreError> {
        self.store.audit(gateway.as_str()).await
    }

    /// How a gateway's lanes stand.
    pub async fn lanes(&self, gateway: &Ident) -> Result<LanesView, StoreError> {
        self.store.lanes(gateway.as_str()).await
    }
}
