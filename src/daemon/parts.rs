//! The parts that can fail on their own: started, watched, started again.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::cloud::{self, CloudConfig, CloudStatus, Requests};
use crate::config::Config;
use crate::control::sync::SYNC_PART;
use crate::control::views::PartReport;
use crate::credentials::Credentials;
use crate::disk::{Disk, Duty};
use crate::intake::Intake;
use crate::ledger::StoreLedger;
use crate::links::embedded::{self, Admitted, EmbeddedBroker, Roster};
use crate::links::mapped::Mapped;
use crate::links::serial::Ports;
use crate::links::{DeviceIntake, LinkStatus, OUTBOUND_MAX, ToDevice, external};
use crate::pace::Pace;

const RESTART_FIRST: Duration = Duration::from_secs(1);
const RESTART_LONGEST: Duration = Duration::from_secs(60);

/// The link that devices come over, as far as the local API wants to know.
#[derive(Clone)]
pub enum Link {
    /// The embedded broker.
    Embedded {
        /// Where it listens.
        addresses: Vec<SocketAddr>,
        /// Who is connected.
        roster: Arc<Roster>,
        /// Whether it works.
        status: Arc<LinkStatus>,
    },
    /// Somebody else's broker.
    External {
        /// Its URL.
        url: String,
        /// Whether it works.
        status: Arc<LinkStatus>,
    },
}

/// Hands the journal's messages to the device's serial port, or to the MQTT link of the moment.
#[derive(Clone, Default)]
pub struct Router {
    ports: Arc<Ports>,
    mqtt: Arc<Mutex<Option<mpsc::Sender<ToDevice>>>>,
}

impl Router {
    /// To these ports, and to an MQTT link once there is one.
    pub fn new(ports: Arc<Ports>) -> Self {
        Self {
            ports,
            mqtt: Arc::default(),
        }
    }

    /// A fresh way to a link that starts.
    fn open(&self) -> mpsc::Receiver<ToDevice> {
        let (send, receive) = mpsc::channel(OUTBOUND_MAX);
        *self.mqtt.lock().unwrap_or_else(PoisonError::into_inner) = Some(send);
        receive
    }

    /// Passes messages on until the journal ends. While no link runs they are dropped: a receipt
    /// comes again with the next event, a command runs out.
    pub async fn run(self, mut from_journal: mpsc::Receiver<ToDevice>) {
        while let Some(message) = from_journal.recv().await {
            let Some(message) = self.ports.send(message) else {
                continue;
            };
            let link = self
                .mqtt
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            let Some(link) = link else {
                continue;
            };
            match link.try_send(message) {
                Ok(()) | Err(TrySendError::Closed(_)) => {}
                Err(TrySendError::Full(message)) => {
                    tracing::warn!(device = %message.device, "the link is full: message dropped");
                }
            }
        }
    }
}

/// How the parts are that are started again when they fail, for `linli status`. Clones share it.
#[derive(Clone, Default)]
pub struct PartsStatus(Arc<Mutex<Vec<PartReport>>>);

impl PartsStatus {
    /// Every part that was ever started.
    pub fn report(&self) -> Vec<PartReport> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// It runs, for the first time or again.
    fn started(&self, name: &str) {
        self.set(name, |part| part.running = true);
    }

    /// It ended, and is going to be started again.
    fn ended(&self, name: &str, why: &str) {
        self.set(name, |part| {
            part.running = false;
            part.restarts += 1;
            part.last_error = Some(why.to_owned());
        });
    }

    fn set(&self, name: &str, change: impl FnOnce(&mut PartReport)) {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(part) = parts.iter_mut().find(|part| part.name == name) {
            return change(part);
        }
        let mut part = PartReport {
            name: name.to_owned(),
            running: true,
            restarts: 0,
            last_error: None,
        };
        change(&mut part);
        parts.push(part);
    }
}

/// Starts the configured link. The first start must succeed; later ones are tried again.
pub async fn start_link(
    config: &Config,
    intake: Intake,
    pace: Arc<Pace>,
    mapped: Arc<Mapped>,
    router: Router,
    (parts, disk): (PartsStatus, Disk),
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<(Link, Vec<SocketAddr>, JoinHandle<()>)> {
    let status = Arc::new(LinkStatus::default());
    match &config.external_broker {
        Some(section) => {
            let mut settings =
                external::Settings::new(section, &config.site, config.mqtt_device_ids())?;
            settings.mapped = mapped;
            let link = Link::External {
                url: section.url.clone(),
                status: Arc::clone(&status),
            };
            let serving = tokio::spawn(async move {
                let shown = Arc::clone(&status);
                supervise(
                    "the link to the external broker",
                    &shown,
                    &parts,
                    stopped,
                    |stopped| {
                        let outbound = router.open();
                        external::serve(
                            settings.clone(),
                            intake.clone(),
                            Arc::clone(&status),
                            outbound,
                            stopped,
                        )
                    },
                )
                .await;
            });
            Ok((link, Vec::new(), serving))
        }
        None => {
            let broker = embedded_broker(config, pace, mapped);
            start_embedded(
                broker,
                config,
                intake,
                router,
                (status, parts, disk),
                stopped,
            )
            .await
        }
    }
}

/// How the embedded broker is set up.
fn embedded_broker(config: &Config, pace: Arc<Pace>, mapped: Arc<Mapped>) -> EmbeddedBroker {
    let section = config.broker.clone().unwrap_or_default();
    let mut broker = EmbeddedBroker::new(config.mqtt_device_ids());
    broker.listen = vec![section.listen];
    broker.clients.replace(Admitted::of(config));
    broker.connections_max = section.max_connections;
    broker.pace = pace;
    broker.mapped = mapped;
    broker
}

async fn start_embedded(
    mut broker: EmbeddedBroker,
    config: &Config,
    intake: Intake,
    router: Router,
    (status, parts, disk): (Arc<LinkStatus>, PartsStatus, Disk),
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<(Link, Vec<SocketAddr>, JoinHandle<()>)> {
    let credentials = Credentials::open(&config.passwords())?.reporting_to(&disk);
    let credentials = Arc::new(credentials);
    tokio::spawn({
        let credentials = Arc::clone(&credentials);
        let again = move || drop(credentials.reload_if_changed());
        disk.keep_trying(Duty::Passwords, stopped.clone(), again)
    });
    let roster = Arc::new(Roster::default());
    let intake: Arc<dyn DeviceIntake> = Arc::new(intake);

    let (ready, is_ready) = oneshot::channel();
    let serve = |broker: EmbeddedBroker, ready, stopped| {
        let (credentials, intake) = (Arc::clone(&credentials), Arc::clone(&intake));
        let (roster, outbound) = (Arc::clone(&roster), router.open());
        embedded::serve(
            broker,
            credentials,
            intake,
            roster,
            outbound,
            stopped,
            ready,
        )
    };
    let listen = config.broker.clone().unwrap_or_default().listen;
    let mut first = tokio::spawn(serve(broker.clone(), ready, stopped.clone()));
    let addresses = tokio::select! {
        // When it ends instead, its reason is what counts: the next branch has it.
        Ok(addresses) = is_ready => Some(addresses),
        ended = &mut first => {
            ended.context("the broker's task")?.with_context(|| {
                format!("the broker can't listen on {}: is another one running there? Set broker.listen, or stop it", listen)
            })?;
            None
        }
    };
    let addresses = addresses.context("the broker ended at once")?;
    status.up();
    // Started again it must be found where it was.
    broker.listen.clone_from(&addresses);
    let link = Link::Embedded {
        addresses: addresses.clone(),
        roster: Arc::clone(&roster),
        status: Arc::clone(&status),
    };
    let (credentials, intake) = (Arc::clone(&credentials), Arc::clone(&intake));
    let serving = tokio::spawn(async move {
        let mut first = Some(first);
        supervise("the embedded broker", &status, &parts, stopped, |stopped| {
            let first = first.take();
            let (broker, credentials) = (broker.clone(), Arc::clone(&credentials));
            let (intake, roster) = (Arc::clone(&intake), Arc::clone(&roster));
            let (router, status) = (router.clone(), Arc::clone(&status));
            async move {
                if let Some(first) = first {
                    return first.await.context("the broker's task")?;
                }
                let (ready, is_ready) = oneshot::channel();
                let up = async {
                    if is_ready.await.is_ok() {
                        status.up();
                    }
                };
                let outbound = router.open();
                let serve = embedded::serve(
                    broker,
                    credentials,
                    intake,
                    roster,
                    outbound,
                    stopped,
                    ready,
                );
                tokio::join!(serve, up).0
            }
        })
        .await;
    });
    Ok((link, addresses, serving))
}

/// The sync client with what it needs.
pub struct Cloud {
    /// Where the cloud is.
    pub config: CloudConfig,
    /// What goes there, and where what comes from there goes.
    pub ledger: Arc<StoreLedger>,
    /// How it is.
    pub status: Arc<CloudStatus>,
    /// Wakes the uplink.
    pub nudge: Arc<Notify>,
    /// What technicians ask of it.
    pub requests: Arc<Requests>,
    /// The box's clock.
    pub clock: Clock,
    /// Where it shows that it runs.
    pub parts: PartsStatus,
}

impl Cloud {
    /// Runs the sync client until `stopped`, and starts it again if it fails.
    pub async fn supervise(self, stopped: watch::Receiver<bool>) {
        let shown = LinkStatus::default();
        supervise(SYNC_PART, &shown, &self.parts, stopped, |stopped| {
            cloud::run(
                self.config.clone(),
                Arc::clone(&self.ledger) as Arc<dyn cloud::Ledger>,
                Arc::clone(&self.status),
                Arc::clone(&self.nudge),
                Arc::clone(&self.requests),
                self.clock.clone(),
                stopped,
            )
        })
        .await;
    }
}

/// Runs a part until `stopped`, and starts it again with a growing pause when it fails.
async fn supervise<F>(
    name: &str,
    status: &LinkStatus,
    parts: &PartsStatus,
    mut stopped: watch::Receiver<bool>,
    mut make: impl FnMut(watch::Receiver<bool>) -> F,
) where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut wait = RESTART_FIRST;
    loop {
        parts.started(name);
        // In a task of its own, so that a panic in a library ends the part and not the daemon.
        let why = match tokio::spawn(make(stopped.clone())).await {
            Ok(Ok(())) => "it ended".to_owned(),
            Ok(Err(e)) => format!("{e:#}"),
            Err(e) => e.to_string(),
        };
        if *stopped.borrow() {
            return;
        }
        status.down(&why);
        parts.ended(name, &why);
        tracing::error!(part = name, %why, wait_s = wait.as_secs(), "failed; starting it again");
        let stop = tokio::time::timeout(wait, stopped.wait_for(|stop| *stop)).await;
        if stop.is_ok() {
            return;
        }
        wait = (wait * 2).min(RESTART_LONGEST);
    }
}

/// Waits until a part says that it is ready; an error before that is ours.
pub async fn watched<T>(
    name: &'static str,
    mut serving: JoinHandle<anyhow::Result<()>>,
    ready: oneshot::Receiver<T>,
) -> anyhow::Result<JoinHandle<()>> {
    tokio::select! {
        ended = &mut serving => {
            ended.context(name)??;
            anyhow::bail!("{name} ended at once");
        }
        // When it ends instead, its reason is what counts: the branch above has it.
        Ok(_) = ready => {}
    }
    Ok(tokio::spawn(async move {
        match serving.await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => tracing::error!(part = name, error = %format!("{e:#}"), "ended"),
            Err(e) => tracing::error!(part = name, error = %e, "ended"),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_part_that_fails_is_shown_with_the_reason_and_runs_again() {
        let (parts, link) = (PartsStatus::default(), LinkStatus::default());
        let (stop, stopped) = watch::channel(false);
        let mut runs = 0;
        let shown = parts.clone();
        supervise("the part", &link, &parts, stopped, |mut stopped| {
            runs += 1;
            let (first, shown, stop) = (runs == 1, shown.clone(), stop.clone());
            async move {
                anyhow::ensure!(!first, "no address");
                let part = shown.report().remove(0);
                assert!(part.running && part.restarts == 1, "{part:?}");
                stop.send_replace(true);
                let _ = stopped.changed().await;
                Ok(())
            }
        })
        .await;
        let part = parts.report().remove(0);
        assert_eq!((part.name.as_str(), part.restarts), ("the part", 1));
        assert_eq!(part.last_error.as_deref(), Some("no address"));
    }
}
