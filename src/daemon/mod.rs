//! The composition root: opens what there is, starts every part, watches over them, and stops them
//! in order: links stop taking, the journal commits what waits, the uplink gets a moment.
//!
//! A part that fails later is started again with a growing pause and shown in `linli status`; one
//! that can't start at all (port taken, store locked, key missing) stops the daemon with the
//! reason, since a technician is then there to read it.

mod backend;
mod followers;
mod live;
mod opened;
mod parts;
pub mod service;
mod shown;
mod supervised;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::audit::{Auditing, keep_verifying};
use crate::clock::Clock;
use crate::cloud::{CloudConfig, CloudStatus, LineConfig, Requests, TlsFiles};
use crate::config::{Config, secret_path};
use crate::control;
use crate::control::reload::{ConfigurationReport, ReloadView};
use crate::disk::{Disk, Duty};
use crate::intake::Intake;
use crate::journal::{self, Journal};
use crate::knocks::Knocks;
use crate::links::embedded::{Admitted, Clients};
use crate::links::mapped::{self, Mapped};
use crate::links::serial::plan::PortPlan;
use crate::links::serial::{Around, Ports};
use crate::pace::Pace;
use crate::store::store_file;

pub use opened::{Opened, open};

use backend::DaemonBackend;
use live::Live;
use parts::{Cloud, CloudParts, LinkParts, Router, StartedLink};
use service::Failures;
use shown::Shown;
use supervised::PartsStatus;

/// How long the uplink may take to send what waits when the daemon stops.
const UPLINK_MOMENT: Duration = Duration::from_secs(3);

/// A running gateway.
pub struct Running {
    /// Where devices connect, if the broker is embedded.
    pub mqtt: Vec<SocketAddr>,
    /// The local API's socket.
    pub control_socket: PathBuf,
    /// How the journal is.
    pub journal_status: Arc<journal::Status>,
    /// How the cloud is, if one is configured.
    pub cloud_status: Option<Arc<CloudStatus>>,
    /// The serial ports.
    pub ports: Arc<Ports>,
    live: Arc<Live>,
    journal: Journal,
    stop_links: watch::Sender<bool>,
    stop_control: watch::Sender<bool>,
    routing: JoinHandle<()>,
    control: JoinHandle<()>,
    auditing: Arc<Auditing>,
    verifying: JoinHandle<()>,
}

/// Runs the daemon of a configuration file until it is told to stop (SIGTERM or SIGINT).
pub fn run(config_path: &Path) -> anyhow::Result<()> {
    let failures = Failures::of_service();
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("linli")
        .max_blocking_threads(8)
        .enable_all()
        .build()
        .context("starting the async runtime")?;
    let ran = runtime.block_on(async {
        let mut stop = stop_signal()?;
        if failures.wait(&mut stop).await {
            serve(config_path, &failures, &mut stop).await?;
        }
        failures.forget();
        Ok(())
    });
    if let Err(e) = &ran {
        service::status(&format!("failed: {e:#}"));
    }
    ran
}

/// Starts a gateway, and serves until it is told to stop.
async fn serve(
    config_path: &Path,
    failures: &Failures,
    stop: &mut mpsc::Receiver<()>,
) -> anyhow::Result<()> {
    let hangup = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
    service::status("starting: the store is read back");
    let config = Config::read(config_path)?;
    let running = start_from(Some(config_path), config, Clock::system()).await?;
    tokio::spawn(reload_at(hangup, Arc::clone(&running.live)));
    for address in &running.mqtt {
        tracing::info!(%address, "taking devices");
    }
    tracing::info!(socket = %running.control_socket.display(), "linli runs");
    service::ready(&told(&running.mqtt));
    let watchdog = tokio::spawn(service::feed_watchdog(Arc::clone(&running.journal_status)));
    let steady = tokio::spawn(failures.clone().forget_when_steady());
    let failed = tokio::select! {
        () = running.journal_ended() => true,
        _ = stop.recv() => false,
    };
    tracing::info!("stopping");
    service::stopping();
    running.shutdown().await;
    watchdog.abort();
    steady.abort();
    anyhow::ensure!(!failed, "the journal's thread ended: see the log above");
    Ok(())
}

/// Starts a gateway. Resolves once it takes events. Its configuration can't be reloaded.
pub async fn start(config: Config, clock: Clock) -> anyhow::Result<Running> {
    start_from(None, config, clock).await
}

/// Starts a gateway by the configuration that stands in `file`. Resolves once it takes events.
pub async fn start_from(
    file: Option<&Path>,
    config: Config,
    clock: Clock,
) -> anyhow::Result<Running> {
    let cloud_config = cloud_config(&config)?;
    let disk = Disk::new(clock.clone());
    let layout = config.layout();
    let pace = Arc::new(Pace::new(config.limits(), config.login_ids()));
    let settings = journal::Settings {
        gather_ms: config.journal.gather_ms,
        retention: config.retention(),
        weakness: None,
    };
    let Opened {
        journal,
        days,
        intake,
        presence,
        ledger,
        auditing,
        nudge,
        from_journal,
    } = open(&config.state_dir, &layout, settings, &clock, &pace, &disk)?;
    let (stop_links, links_stopped) = watch::channel(false);
    tokio::spawn({
        let (disk, clock) = (disk.clone(), clock.clone());
        let again = move || days.try_day(clock.now().wall_ms);
        disk.keep_trying(Duty::DayKeys, links_stopped.clone(), again)
    });
    let around = Around {
        intake: Arc::new(intake.clone()),
        pace: Arc::clone(&pace),
        stopped: links_stopped,
    };
    let ports = Arc::new(start_ports(&config, &around)?);
    let makers = Arc::new(start_mapped(&config, &intake, &clock)?);
    let router = Router::new(Arc::clone(&ports));
    let routing = tokio::spawn(router.clone().run(from_journal));
    let running = PartsStatus::default();
    let link_parts = LinkParts {
        intake: intake.clone(),
        mapped: Arc::clone(&makers),
        router,
        parts: running.clone(),
        disk: disk.clone(),
        clock: clock.clone(),
        knocks: Knocks::default(),
    };
    let clients = Arc::new(Clients::new(Admitted::of(&config)));
    let StartedLink {
        link,
        addresses: mqtt,
        part: link_part,
    } = parts::start_link(
        &config,
        Arc::clone(&clients),
        Arc::clone(&pace),
        link_parts.clone(),
    )
    .await?;

    let requests = Arc::<Requests>::default();
    let cloud_parts = CloudParts {
        ledger: Arc::new(ledger),
        nudge,
        requests: Arc::clone(&requests),
        clock: clock.clone(),
        parts: running.clone(),
    };
    let (cloud_status, cloud) = match cloud_config.map(|config| cloud_parts.start(config)) {
        Some(Cloud { status, part }) => (Some(status), Some(part)),
        None => (None, None),
    };

    let (stop_control, control_stopped) = watch::channel(false);
    let verifying = tokio::spawn(keep_verifying(
        Arc::clone(&auditing),
        store_file(&config.state_dir),
        clock.clone(),
        control_stopped.clone(),
    ));
    let control_socket = config.socket();
    let store = store_file(&config.state_dir);
    let configuration = ConfigurationReport {
        file: file.map(|file| file.display().to_string()),
        taken_ms: clock.now().wall_ms,
        ..ConfigurationReport::default()
    };
    let roster = link.roster();
    let tls = followers::tls(&link);
    let shown = Arc::new(Shown::new(
        layout,
        link,
        cloud_status.clone(),
        configuration,
    ));
    let live = Arc::new(Live::new(
        file,
        live::Parts {
            inbox: journal.inbox.clone(),
            intake: intake.clone(),
            pace: Arc::clone(&pace),
            presence: presence.clone(),
            clients,
            roster,
            ports: Arc::clone(&ports),
            around,
            link: link_parts,
            cloud: cloud_parts,
            disk: disk.clone(),
            clock: clock.clone(),
            followers: live::Followers {
                tls,
                mapped: Some(followers::mapped(Arc::clone(&makers))),
            },
            told: told(&mqtt),
        },
        Arc::clone(&shown),
        live::State {
            config,
            link: link_part,
            cloud,
        },
    ));
    let backend = Arc::new(DaemonBackend {
        store,
        shown,
        live: Arc::clone(&live),
        clock,
        inbox: journal.inbox.clone(),
        intake,
        parts: running,
        journal: Arc::clone(&journal.status),
        ports: Arc::clone(&ports),
        mapped: makers,
        presence,
        pace,
        requests,
        auditing: Arc::clone(&auditing),
        disk,
        started: Instant::now(),
    });
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let serving_control = {
        let socket = control_socket.clone();
        tokio::spawn(async move { control::serve(&socket, backend, control_stopped, ready).await })
    };
    let control = supervised::watched("control", serving_control, is_ready).await?;
    Ok(Running {
        mqtt,
        control_socket,
        journal_status: Arc::clone(&journal.status),
        cloud_status,
        ports,
        live,
        journal,
        stop_links,
        stop_control,
        routing,
        control,
        auditing,
        verifying,
    })
}

/// Starts the serial ports.
fn start_ports(config: &Config, around: &Around) -> anyhow::Result<Ports> {
    if config.ports.is_empty() {
        return Ok(Ports::default());
    }
    let boots = live::next_boots(&store_file(&config.state_dir))?;
    let plans = PortPlan::all(config, |device| boots.get(device).copied().unwrap_or(1));
    Ports::start(plans, around)
}

/// Starts what maps the devices of other makers. Their workers start when something comes.
fn start_mapped(config: &Config, intake: &Intake, clock: &Clock) -> anyhow::Result<Mapped> {
    let store = store_file(&config.state_dir);
    Mapped::start(
        config,
        PathBuf::from(mapped::EXE),
        Arc::new(intake.clone()),
        clock.clone(),
        Box::new(move || live::next_boots(&store)),
    )
}

/// How the cloud is spoken to, if there is one.
pub(crate) fn cloud_config(config: &Config) -> anyhow::Result<Option<CloudConfig>> {
    let Some(section) = &config.cloud else {
        return Ok(None);
    };
    let gateway = section.gateway.as_ref().unwrap_or(&config.site);
    let line = &section.line;
    let secret = |file: &Option<PathBuf>| file.as_deref().map(secret_path);
    let mut cloud = CloudConfig::new(
        &section.url,
        gateway.clone(),
        config.state_dir.join("cloud"),
    )?;
    cloud.token_file = secret(&section.token_file);
    cloud.tls = TlsFiles {
        ca: secret(&section.ca_file),
        client: secret(&section.client_certificate_file).zip(secret(&section.client_key_file)),
    };
    cloud.wait = Duration::from_secs(section.wait_s().into());
    cloud.line = LineConfig {
        metered: line.metered,
        monthly_bytes: (line.monthly_mib > 0).then(|| u64::from(line.monthly_mib) << 20),
        month_starts: line.month_starts,
        spread: Duration::from_secs(line.spread_s.into()),
    };
    Ok(Some(cloud))
}

impl Running {
    /// Resolves when the journal's thread has ended, which it only does when it panicked.
    pub async fn journal_ended(&self) {
        while !self.journal.ended() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Reads the configuration again and goes by it, for `by`.
    pub async fn reload(&self, by: &str) -> ReloadView {
        self.live.reload(by).await
    }

    /// Stops in order; everything taken is on disk when it resolves.
    pub async fn shutdown(self) {
        self.stop_links.send_replace(true);
        let cloud = self.live.end_link().await;
        self.ports.ended().await;
        if let Some(mut cloud) = cloud {
            cloud.end(UPLINK_MOMENT).await;
        }
        self.stop_control.send_replace(true);
        self.auditing.stop();
        // Broken off at its next page; one that panicked has ended too.
        let _ = self.verifying.await;
        let abort = self.control.abort_handle();
        if tokio::time::timeout(Duration::from_secs(1), self.control)
            .await
            .is_err()
        {
            abort.abort();
        }
        self.journal.stop().await;
        self.routing.abort();
    }
}

/// A file descriptor a device, and the soft limit is often 1,024: raised as far as the hard limit
/// lets us. Without that the broker takes fewer devices and says so.
fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    const WANTED: u64 = 8_192;
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let wanted = WANTED.min(hard).max(soft);
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)
    });
    if let Err(e) = raised {
        tracing::warn!(error = %e, "the limit of open files could not be raised");
    }
}

fn stop_signal() -> anyhow::Result<mpsc::Receiver<()>> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let (send, stop) = mpsc::channel(1);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // The receiver may be gone: then the daemon is stopping already.
        let _ = send.send(()).await;
    });
    Ok(stop)
}

/// A line for `systemctl status`: where devices are taken.
fn told(mqtt: &[SocketAddr]) -> String {
    let addresses: Vec<String> = mqtt.iter().map(SocketAddr::to_string).collect();
    match addresses.as_slice() {
        [] => "taking devices from the external broker".to_owned(),
        all => format!("taking devices at {}", all.join(", ")),
    }
}

/// Has the configuration reloaded at each SIGHUP, one after the other, as long as the runtime runs.
async fn reload_at(mut hangup: Signal, live: Arc<Live>) {
    while hangup.recv().await.is_some() {
        live.reload("SIGHUP").await;
    }
}
