//! The links and the sync client, started: parts that can fail on their own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::supervised::{Part, PartsStatus, supervise};
use crate::clock::Clock;
use crate::cloud::{self, CloudConfig, CloudStatus, Requests};
use crate::config::Config;
use crate::control::sync::SYNC_PART;
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
    let listener = TlsListener::open(&section.with_secrets(), house)
        .context("MQTT over TLS can't be set up")?;
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
