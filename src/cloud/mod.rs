//! The sync client: uplink and downlink to the operator's cloud, whenever there is a connection.
//!
//! First the gateway has to be enrolled ([`enrolment`]): by a one-time token, under the key that it
//! keeps ([`identity`]). Then three loops share one client, which signs every request, one contact
//! with the cloud ([`mod@contact`]) and one status:
//!
//! * [`tracks`] sends what the ledger has, batch by batch ([`uplink`]), and reports what the cloud has
//!   for good: parcels on a track of their own, health and demand on another.
//! * [`downlink`] holds a long poll and hands what comes to the ledger.
//!
//! None keeps anything that matters: what to send, what was acknowledged and the downlink's cursor
//! live in the ledger, so all can be stopped at any point, and everything may be sent again.
//!
//! What crosses the [`mod@line`] is counted and held against its [`budget`].

mod account;
mod answer;
pub mod backoff;
mod broken;
mod budget;
mod certificates;
mod client;
pub mod config;
mod connect;
mod contact;
mod downlink;
mod enrolment;
mod failure;
mod http;
mod identity;
pub mod ledger;
mod line;
mod meter;
mod pace;
mod path;
pub mod requests;
mod size;
pub mod standing;
pub mod status;
mod stream;
mod tls;
mod tracks;
mod uplink;
mod urge;
pub mod views;
pub mod way;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify, watch};

pub use backoff::BackoffRange;
pub use certificates::NEAR_ITS_END_DAYS;
pub use config::{CloudConfig, CloudUrl, ConfigError, LineConfig, TlsFiles};
pub use ledger::{BatchLimits, EpochAt, Ledger, LedgerError, LineUse, Seal, Traffic};
pub use meter::{Cost, Meter};
pub use requests::{REQUESTS_MAX, Request, Requests, Step, Told};
pub use standing::{LaneStanding, Standing};
pub use status::{CloudSnapshot, CloudStatus, Direction, HeldLane};
/// Connections to a cloud for who isn't the sync client: nothing of them is counted or shown.
pub(crate) mod connector {
    use std::sync::Arc;

    use super::certificates::Certificates;
    use super::config::CloudUrl;
    pub(crate) use super::connect::Connector;
    use super::meter::Meter;

    /// To the cloud at `url`, over TLS if `tls` says how.
    pub(crate) fn to(
        url: &CloudUrl,
        tls: Option<Arc<rustls::ClientConfig>>,
    ) -> anyhow::Result<Connector> {
        Connector::new(url, tls, false, Certificates::default(), Meter::default())
    }
}
pub use views::{CertificateView, CostView, Level, LineView, TrafficView};

use client::Client;
use contact::Contact;
use failure::Failure;
use line::Line;
use path::{Path, Settling, TcpProbe};
use urge::Outcomes;

use crate::clock::Clock;

/// How long the use of the line may take to be written at the stop.
const LAST_WRITE_TIME: Duration = Duration::from_secs(1);

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
    status.started(config.url.as_url().as_str(), &config.gateway);
    let client = Client::new(Arc::clone(&config), Arc::clone(&status), clock.clone())?;
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
        changing: Mutex::new(()),
        standing: watch::Sender::new(()),
    };
    let loops = async {
        tokio::join!(
            keep_in_step(&shared, &nudge, shutdown.clone()),
            until(shutdown, serve(&shared, &requests, &nudge)),
        )
    };
    tokio::select! {
        _ = loops => {}
        () = shared.line.keep(&*shared.ledger) => {}
    }
    // A journal that hangs doesn't keep the gateway from stopping.
    let written = shared.line.write(&*shared.ledger);
    let _ = tokio::time::timeout(LAST_WRITE_TIME, written).await;
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

/// Enrols if need be, and then sends and polls.
async fn keep_in_step(shared: &Shared, nudge: &Notify, shutdown: watch::Receiver<bool>) {
    until(shutdown.clone(), enrolment::until_enrolled(shared)).await;
    if shared.client.enrolled().is_none() {
        return;
    }
    tokio::join!(
        tracks::run(shared, nudge, shutdown.clone()),
        downlink::run(shared, shutdown.clone()),
        until(shutdown, enrolment::look_after(shared)),
    );
}

/// Answers what technicians ask, for ever.
async fn serve(shared: &Shared, requests: &Requests, nudge: &Notify) {
    loop {
        // An answer that nobody waits for any more is dropped.
        match requests.next().await {
            Request::Enrol { token, reply } => {
                let _ = reply.send(enrolment::enrol_by_hand(shared, &token).await);
            }
            Request::ChangeKey { reply } => {
                let _ = reply.send(enrolment::change_key(shared).await);
            }
            Request::NewEpoch { reply } => {
                let started = shared.ledger.new_epoch(EpochAt::SameCloud).await;
                if started.is_ok() {
                    // What was refused of the old one is no reason to wait any more.
                    shared.status.no_lane_is_held();
                    shared.contact.urge();
                }
                nudge.notify_one();
                let said = started.map(|epoch| {
                    format!("epoch {epoch} has begun: the cloud hears every parcel's state anew, but no code \
                         that it acknowledged before: it asks for new ones, or linli reissue does")
                });
                let _ = reply.send(said.map_err(|e| Told::from(Failure::from(e))));
            }
            Request::Now { account } => account::run(shared, &account).await,
        }
    }
}

/// Does it until the gateway stops.
async fn until(shutdown: watch::Receiver<bool>, doing: impl Future<Output = ()>) {
    tokio::select! {
        () = doing => {}
        () = stopped(shutdown) => {}
    }
}

impl From<Failure> for Told {
    fn from(failure: Failure) -> Self {
        Self {
            what: failure.to_string(),
            remedy: Some(failure.advice().to_owned()),
        }
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
    /// Held by who changes the enrolment or the key.
    changing: Mutex<()>,
    /// Sent when the enrolment changed, or a change of the key was cut short.
    standing: watch::Sender<()>,
}

/// Resolves when the gateway stops.
async fn stopped(mut shutdown: watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}
