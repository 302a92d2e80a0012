//! The parts that can fail on their own: started, watched, started again.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::clock::Clock;
use crate::cloud::{self, CloudConfig, CloudStatus, Requests};
use crate::config::Config;
use crate::control::sync::SYNC_PART;
use crate::control::views::PartReport;
use crate::credentials::Credentials;
use crate::disk::{Disk, Duty};
use crate::intake::Intake;
use crate::knocks::Knocks;
use crate::ledger::StoreLedger;
use crate::links::embedded::{self, Clients, EmbeddedBroker, Roster, TlsAt, TlsHouse, TlsListener};
use crate::links::entrance::{Door, Entrance};
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
        /// The listener of MQTT over TLS, if there is one: its address is the last.
        tls: Option<Arc<TlsListener>>,
        /// Who is connected.
        roster: Arc<Roster>,
        /// Whether it works.
        status: Arc<LinkStatus>,
        /// Who comes in.
        entrance: Entrance,
    },
    /// Somebody else's broker.
    External {
        /// How it is reached.
        settings: external::Settings,
        /// Whether it works.
        status: Arc<LinkStatus>,
        /// Who would come in.
        entrance: Entrance,
    },
}

impl Link {
    /// Where devices come in.
    pub fn entrance(&self) -> &Entrance {
        match self {
            Self::Embedded { entrance, .. } | Self::External { entrance, .. } => entrance,
        }
    }

    /// The listener for MQTT over TLS, if there is one.
    pub fn tls(&self) -> Option<&Arc<TlsListener>> {
        match self {
            Self::Embedded { tls, .. } => tls.as_ref(),
            Self::External { .. } => None,
        }
    }

    /// Who is connected, if the broker is embedded.
    pub fn roster(&self) -> Option<Arc<Roster>> {
        match self {
            Self::Embedded { roster, .. } => Some(Arc::clone(roster)),
            Self::External { .. } => None,
        }
    }
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

    /// It isn't to run any more.
    fn gone(&self, name: &str) {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts.retain(|part| part.name != name);
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

/// A part that runs until it is told to end, or the runtime does.
pub struct Part {
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl Part {
    /// Starts it.
    fn start<F>(make: impl FnOnce(watch::Receiver<bool>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        Self {
            stop,
            task: Some(tokio::spawn(make(stopped))),
        }
    }

    /// Tells it to end and waits for that; breaks it off if that takes longer than `patience`.
    pub async fn end(&mut self, patience: Duration) {
        self.stop.send_replace(true);
        let Some(task) = self.task.take() else {
            return;
        };
        let abort = task.abort_handle();
        // One that panicked has ended too.
        if tokio::time::timeout(patience, task).await.is_err() {
            abort.abort();
        }
    }
}

/// What a link works with.
#[derive(Clone)]
pub struct LinkParts {
    /// Where what devices say is handed over.
    pub intake: Intake,
    /// Where the journal's messages come from.
    pub router: Router,
    /// Where it shows that it runs.
    pub parts: PartsStatus,
    /// What the disk refuses.
    pub disk: Disk,
    /// The box's clock.
    pub clock: Clock,
    /// Who isn't let in.
    pub knocks: Knocks,
    /// The devices of other makers.
    pub mapped: Arc<Mapped>,
}

/// A link that was started.
pub struct StartedLink {
    /// For the local API.
    pub link: Link,
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    /// The link itself.
    pub part: Part,
}

/// Starts the configured link. The first start must succeed; later ones are tried again.
pub async fn start_link(
    config: &Config,
    clients: Arc<Clients>,
    pace: Arc<Pace>,
    with: LinkParts,
) -> anyhow::Result<StartedLink> {
    match &config.external_broker {
        Some(section) => {
            let settings = external::Settings::new(section, &config.site, clients)?;
            let (link, part) = with.external(settings);
            Ok(StartedLink {
                link,
                addresses: Vec::new(),
                part,
            })
        }
        None => {
            let broker = embedded_broker(config, clients, pace);
            start_embedded(broker, config, with).await
        }
    }
}

impl LinkParts {
    /// Starts the link to somebody else's broker.
    pub fn external(&self, mut settings: external::Settings) -> (Link, Part) {
        settings.knocks = self.knocks.clone();
        settings.mapped = Arc::clone(&self.mapped);
        let status = Arc::new(LinkStatus::default());
        let link = Link::External {
            settings: settings.clone(),
            status: Arc::clone(&status),
            entrance: Entrance {
                knocks: self.knocks.clone(),
                door: None,
            },
        };
        let with = self.clone();
        let part = Part::start(|stopped| async move {
            let shown = Arc::clone(&status);
            let name = "the link to the external broker";
            supervise(name, &shown, &with.parts, stopped, |stopped| {
                let outbound = with.router.open();
                external::serve(
                    settings.clone(),
                    with.intake.clone(),
                    Arc::clone(&status),
                    outbound,
                    stopped,
                )
            })
            .await;
        });
        (link, part)
    }
}

/// How the embedded broker is set up.
fn embedded_broker(config: &Config, clients: Arc<Clients>, pace: Arc<Pace>) -> EmbeddedBroker {
    let section = config.broker.clone().unwrap_or_default();
    let mut broker = EmbeddedBroker::new([]);
    broker.listen = vec![section.listen];
    broker.clients = clients;
    broker.connections_max = section.max_connections;
    broker.pace = pace;
    broker
}

/// The listener of MQTT over TLS, if one is configured.
fn open_tls(
    config: &Config,
    clock: &Clock,
    disk: &Disk,
    knocks: &Knocks,
) -> anyhow::Result<Option<TlsAt>> {
    let section = config
        .broker
        .as_ref()
        .and_then(|broker| broker.tls.as_ref());
    let Some(section) = section else {
        return Ok(None);
    };
    let house = TlsHouse {
        state_dir: config.state_dir.clone(),
        site: config.site.clone(),
        clock: clock.clone(),
        disk: disk.clone(),
        knocks: knocks.clone(),
    };
    let listener = TlsListener::open(section, house).context("MQTT over TLS can't be set up")?;
    Ok(Some(TlsAt {
        listen: section.listen,
        listener: Arc::new(listener),
    }))
}

async fn start_embedded(
    mut broker: EmbeddedBroker,
    config: &Config,
    with: LinkParts,
) -> anyhow::Result<StartedLink> {
    let (stop, stopped) = watch::channel(false);
    let LinkParts {
        intake,
        router,
        parts,
        disk,
        clock,
        knocks,
        mapped,
    } = with;
    broker.knocks = knocks;
    broker.mapped = mapped;
    broker.tls = open_tls(config, &clock, &disk, &broker.knocks)?;
    if let Some(tls) = &broker.tls {
        tokio::spawn(Arc::clone(&tls.listener).keep(stopped.clone()));
    }
    let status = Arc::new(LinkStatus::default());
    let credentials = Credentials::open(&config.passwords())?.reporting_to(&disk);
    let credentials = Arc::new(credentials);
    tokio::spawn({
        let credentials = Arc::clone(&credentials);
        let again = move || drop(credentials.reload_if_changed());
        disk.keep_trying(Duty::Passwords, stopped.clone(), again)
    });
    tokio::spawn({
        let (credentials, stopped) = (Arc::clone(&credentials), stopped.clone());
        async move { credentials.keep_settling(stopped).await }
    });
    let entrance = Entrance {
        knocks: broker.knocks.clone(),
        door: Some(Door {
            pairing: broker.pairing.clone(),
            credentials: Arc::clone(&credentials),
            clients: Arc::clone(&broker.clients),
        }),
    };
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
    if let Some(tls) = &mut broker.tls
        && let Some(address) = broker.listen.pop()
    {
        tls.listen = address;
    }
    let link = Link::Embedded {
        addresses: addresses.clone(),
        tls: broker.tls.as_ref().map(|tls| Arc::clone(&tls.listener)),
        roster: Arc::clone(&roster),
        status: Arc::clone(&status),
        entrance,
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
    let task = Some(serving);
    Ok(StartedLink {
        link,
        addresses,
        part: Part { stop, task },
    })
}

/// What the sync client works with.
#[derive(Clone)]
pub struct CloudParts {
    /// What goes to the cloud, and where what comes from there goes.
    pub ledger: Arc<StoreLedger>,
    /// Wakes the uplink.
    pub nudge: Arc<Notify>,
    /// What technicians ask of it.
    pub requests: Arc<Requests>,
    /// The box's clock.
    pub clock: Clock,
    /// Where it shows that it runs.
    pub parts: PartsStatus,
}

/// A sync client that runs.
pub struct Cloud {
    /// How the cloud is.
    pub status: Arc<CloudStatus>,
    /// The client itself.
    pub part: Part,
}

impl CloudParts {
    /// Starts a sync client, and again if it fails. There may be one at a time.
    pub fn start(&self, config: CloudConfig) -> Cloud {
        let status = Arc::<CloudStatus>::default();
        let (with, told) = (self.clone(), Arc::clone(&status));
        let part = Part::start(|stopped| async move {
            let shown = LinkStatus::default();
            supervise(SYNC_PART, &shown, &with.parts, stopped, |stopped| {
                cloud::run(
                    config.clone(),
                    Arc::clone(&with.ledger) as Arc<dyn cloud::Ledger>,
                    Arc::clone(&told),
                    Arc::clone(&with.nudge),
                    Arc::clone(&with.requests),
                    with.clock.clone(),
                    stopped,
                )
            })
            .await;
        });
        Cloud { status, part }
    }

    /// There is none any more.
    pub fn gone(&self) {
        self.parts.gone(SYNC_PART);
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
        // In a task of its own, so that a panic in a library ends the part and not the daemon. It is
        // broken off with us.
        let mut task = JoinSet::new();
        task.spawn(make(stopped.clone()));
        let why = match task.join_next().await {
            Some(Ok(Ok(()))) | None => "it ended".to_owned(),
            Some(Ok(Err(e))) => format!("{e:#}"),
            Some(Err(e)) => e.to_string(),
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
