//! The sync client: uplink and downlink to the operator's cloud, whenever there is a connection.
//!
//! Two loops share one HTTP client and one status:
//!
//! * [`uplink`] sends what the ledger has, batch by batch, and reports what the cloud has for good.
//! * [`downlink`] holds a long poll and hands what comes to the ledger.
//!
//! Neither keeps anything that matters: what to send, what was acknowledged and the downlink's cursor
//! live in the ledger, so both can be stopped at any point, and everything may be sent again.
//!
//! After a failure a loop pauses: full jitter below 1 s, 2 s, 4 s, … 5 min ([`backoff`]), a first
//! pause again after a success. Without an answer from the cloud the pause ends early when the way
//! to it opens ([`path`]), or when the other loop gets through after a failure of its own. A
//! `Retry-After` is always waited for.

mod account;
pub mod backoff;
mod client;
pub mod config;
mod downlink;
mod failure;
pub mod ledger;
mod meter;
mod path;
pub mod requests;
pub mod status;
mod uplink;
pub mod views;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

pub use backoff::BackoffRange;
pub use config::{CloudConfig, CloudUrl, ConfigError, LineConfig, TlsFiles};
pub use ledger::{BatchLimits, Ledger, LedgerError, LineUse, Seal, Traffic};
pub use meter::{Cost, Meter};
pub use requests::{REQUESTS_MAX, Request, Requests, Step, Told};
pub use status::{CloudSnapshot, CloudStatus, Direction, HeldLane};
pub use views::{CertificateView, CostView, Level, LineView, TrafficView};

use backoff::{Backoff, jitter};
use client::Client;
use failure::{Cause, Failure};
use status::Way;

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
    let shared = Shared {
        config,
        client,
        ledger,
        status,
        clock,
        back: watch::Sender::new(()),
    };
    tokio::join!(
        uplink::run(&shared, &nudge, shutdown.clone()),
        downlink::run(&shared, shutdown.clone()),
        serve(&shared, &requests, shutdown),
    );
    Ok(())
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
    /// Sent when a loop reaches the cloud after it couldn't.
    back: watch::Sender<()>,
}

/// The failures of one loop, and the pauses that follow from them.
struct Patience<'a> {
    shared: &'a Shared,
    way: Way,
    backoff: Backoff,
    /// Since when there has been no way to the cloud.
    unreachable: Option<Instant>,
    back: watch::Receiver<()>,
}

impl<'a> Patience<'a> {
    fn new(shared: &'a Shared, way: Way) -> Self {
        Self {
            shared,
            way,
            backoff: Backoff::new(shared.config.backoff),
            unreachable: None,
            back: shared.back.subscribe(),
        }
    }

    /// A call went through.
    fn succeeded(&mut self) {
        self.reached();
        self.shared.status.succeeded(self.way);
    }

    /// The cloud is there. Tells the other loop if that is news.
    fn reached(&mut self) {
        if self.unreachable.take().is_some() {
            self.shared.back.send_replace(());
            self.back.mark_unchanged();
        }
        self.backoff.succeeded();
        self.shared.status.reached(self.way);
    }

    /// Before an attempt: news of the other loop from now on ends the next pause.
    fn trying(&mut self) {
        self.back.mark_unchanged();
        self.shared.status.trying(self.way);
    }

    /// Resolves when the other loop reaches the cloud after it couldn't.
    async fn other_is_back(&mut self) {
        if self.back.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Shows the failure and pauses.
    async fn pause(&mut self, failure: &Failure) {
        let backed_off = self.backoff.failed(jitter());
        let pause = match failure {
            Failure::Busy {
                retry_after: Some(asked),
                ..
            } => *asked + self.shared.config.backoff.first.mul_f64(jitter()),
            _ => backed_off,
        };
        self.show(failure, pause);
        let Failure::Network { cause, .. } = failure else {
            self.unreachable = None;
            return tokio::time::sleep(pause).await;
        };
        let gone = *cause == Cause::NoWay;
        let since = *self.unreachable.get_or_insert_with(Instant::now);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = path::returned(self.shared.client.names(), self.shared.config.url.host(), since, gone) => {}
            () = self.other_is_back() => {}
        }
    }

    fn show(&self, failure: &Failure, pause: Duration) {
        if self.backoff.failures() == 1 {
            tracing::warn!(way = ?self.way, "{failure}");
        } else {
            tracing::debug!(way = ?self.way, "{failure}");
        }
        self.shared.status.failed(self.way, failure, pause);
    }
}

/// Resolves when the gateway stops.
async fn stopped(mut shutdown: watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}
