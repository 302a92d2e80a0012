//! The sync client: uplink and downlink to the operator's cloud, whenever there is a connection.
//!
//! Three loops share one HTTP client, one contact with the cloud ([`contact`]) and one status:
//!
//! * [`tracks`] sends what the ledger has, batch by batch ([`uplink`]), and reports what the cloud has
//!   for good: parcels on a track of their own, health and demand on another.
//! * [`downlink`] holds a long poll and hands what comes to the ledger.
//!
//! None keeps anything that matters: what to send, what was acknowledged and the downlink's cursor
//! live in the ledger, so all can be stopped at any point, and everything may be sent again.
//!
//! What crosses the [`line`](self::line) is counted and held against its [`budget`].

mod account;
pub mod backoff;
mod budget;
mod client;
pub mod config;
mod contact;
mod downlink;
mod failure;
pub mod ledger;
mod line;
mod meter;
mod pace;
mod path;
pub mod requests;
mod size;
pub mod status;
mod tracks;
mod uplink;
mod urge;
pub mod views;

use std::sync::Arc;

use tokio::sync::{Notify, watch};

pub use backoff::BackoffRange;
pub use config::{CloudConfig, CloudUrl, ConfigError, LineConfig, TlsFiles};
pub use ledger::{BatchLimits, Ledger, LedgerError, LineUse, Seal, Traffic};
pub use meter::{Cost, Meter};
pub use requests::{REQUESTS_MAX, Request, Requests, Step, Told};
pub use status::{CloudSnapshot, CloudStatus, Direction, HeldLane};
pub use views::{CertificateView, CostView, Level, LineView, TrafficView};

use client::Client;
use contact::Contact;
use line::Line;
use path::{Path, Settling, TcpProbe};
use urge::Outcomes;

use crate::clock::Clock;

/// Keeps gateway and cloud in step until `shutdown` is true (or its sender is gone).
///
/// `nudge` says that items were added for the uplink. On shutdown the downlink ends at once; the
/// uplink, if it isn't in a pause, sends what waits for up to `config.drain`. An error means that
/// the client can't be set up on this machine.
pub async fn run(
    config: CloudConfig,
    ledger: Arc<dyn Ledger>,
    status: Arc<CloudStatus>,
    nudge: Arc<Notify>,
    requests: Arc<Requests>,
    clock: Clock,
    shutdown: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let config = Arc::new(config);
    let client = Client::new(Arc::clone(&config), Arc::clone(&status))?;
    status.started(config.url.as_url().as_str());
    let contact = contact(&config, &client, &status);
    let meter = client.meter().clone();
    let line = Line::new(
        config.line.clone(),
        clock.clone(),
        meter,
        Arc::clone(&status),
    );
    let shared = Shared {
        config,
        client,
        ledger,
        status,
        clock,
        contact,
        line,
        outcomes: Outcomes::default(),
    };
    let loops = async {
        tokio::join!(
            tracks::run(&shared, &nudge, shutdown.clone()),
            downlink::run(&shared, shutdown.clone()),
            serve(&shared, &requests, shutdown),
        )
    };
    tokio::select! {
        _ = loops => {}
        () = shared.line.keep(&*shared.ledger) => {}
    }
    shared.line.write(&*shared.ledger).await;
    Ok(())
}

fn contact(config: &CloudConfig, client: &Client, status: &Arc<CloudStatus>) -> Contact {
    let (host, port) = config.url.host();
    let probe = TcpProbe {
        names: client.names().clone(),
        host: host.to_owned(),
        port,
    };
    let settling = Settling::of_spread(config.line.spread);
    let path = Path::new(Box::new(probe), settling);
    Contact::new(config.backoff, path, Arc::clone(status))
}

/// Answers what technicians ask, until `shutdown`.
async fn serve(shared: &Shared, requests: &Requests, shutdown: watch::Receiver<bool>) {
    let asked = async {
        loop {
            if let Request::Now { account } = requests.next().await {
                account::run(shared, &account).await;
            }
        }
    };
    tokio::select! {
        () = asked => {}
        () = stopped(shutdown) => {}
    }
}

/// What all parts of the sync client have.
struct Shared {
    config: Arc<CloudConfig>,
    client: Client,
    ledger: Arc<dyn Ledger>,
    status: Arc<CloudStatus>,
    /// The box's clock.
    clock: Clock,
    /// What the loops know together of their contact with the cloud.
    contact: Contact,
    line: Line,
    /// What the loops did when a technician asked.
    outcomes: Outcomes,
}

/// Resolves when the gateway stops.
async fn stopped(mut shutdown: watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}
