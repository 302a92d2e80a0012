//! The composition root: opens what there is, starts every part, watches over them, and stops them
//! in order: links stop taking, the journal commits what waits, the uplink gets a moment.
//!
//! A part that fails later is started again with a growing pause and shown in `linli status`; one
//! that can't start at all (port taken, store locked, key missing) stops the daemon with the
//! reason, since a technician is then there to read it.

mod backend;
mod opened;
mod parts;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::audit::{Auditing, keep_verifying};
use crate::clock::Clock;
use crate::cloud::{CloudConfig, CloudStatus, LineConfig, Requests, TlsFiles};
use crate::config::Config;
use crate::control;
use crate::disk::{Disk, Duty};
use crate::intake::Intake;
use crate::journal::{self, Journal};
use crate::links::DeviceIntake;
use crate::links::mapped::{self, Mapped};
use crate::links::serial::Ports;
use crate::links::serial::plan::PortPlan;
use crate::pace::Pace;
use crate::store::read::Reader;
use crate::store::store_file;

pub use opened::{Opened, open};

use backend::DaemonBackend;
use parts::{PartsStatus, Router};

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
    journal: Journal,
    stop_links: watch::Sender<bool>,
    stop_cloud: watch::Sender<bool>,
    stop_control: watch::Sender<bool>,
    links: Vec<JoinHandle<()>>,
    cloud: Option<JoinHandle<()>>,
    control: JoinHandle<()>,
    auditing: Arc<Auditing>,
    verifying: JoinHandle<()>,
}

/// Runs the daemon of a configuration file until it is told to stop (SIGTERM or SIGINT).
pub fn run(config_path: &Path) -> anyhow::Result<()> {
    let config = Config::read(config_path)?;
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("linli")
        .max_blocking_threads(8)
        .enable_all()
        .build()
        .context("starting the async runtime")?;
    runtime.block_on(async {
        let mut stop = stop_signal()?;
        let running = start(config, Clock::system()).await?;
        for address in &running.mqtt {
            tracing::info!(%address, "taking devices");
        }
        tracing::info!(socket = %running.control_socket.display(), "linli runs");
        let failed = tokio::select! {
            () = running.journal_ended() => true,
            _ = stop.recv() => false,
        };
        tracing::info!("stopping");
        running.shutdown().await;
        anyhow::ensure!(!failed, "the journal's thread ended: see the log above");
        Ok(())
    })
}

/// Starts a gateway. Resolves once it takes events.
pub async fn start(config: Config, clock: Clock) -> anyhow::Result<Running> {
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
    let ports = Arc::new(start_ports(&config, &intake, &pace, &links_stopped)?);
    let makers = Arc::new(start_mapped(&config, &intake, &clock)?);
    let router = Router::new(Arc::clone(&ports));
    let routing = tokio::spawn(router.clone().run(from_journal));
    let running = PartsStatus::default();
    let (link, mqtt, serving) = parts::start_link(
        &config,
        intake.clone(),
        Arc::clone(&pace),
        Arc::clone(&makers),
        router,
        (running.clone(), disk.clone()),
        links_stopped,
    )
    .await?;

    let (stop_cloud, cloud_stopped) = watch::channel(false);
    let cloud_status = config
        .cloud
        .as_ref()
        .map(|_| Arc::new(CloudStatus::default()));
    let requests = Arc::<Requests>::default();
    let cloud = match (cloud_config, &cloud_status) {
        (Some(cloud_config), Some(status)) => {
            let part = parts::Cloud {
                config: cloud_config,
                ledger: Arc::new(ledger),
                status: Arc::clone(status),
                nudge,
                requests: Arc::clone(&requests),
                clock: clock.clone(),
                parts: running.clone(),
            };
            Some(tokio::spawn(part.supervise(cloud_stopped)))
        }
        _ => None,
    };

    let (stop_control, control_stopped) = watch::channel(false);
    let verifying = tokio::spawn(keep_verifying(
        Arc::clone(&auditing),
        store_file(&config.state_dir),
        clock.clone(),
        control_stopped.clone(),
    ));
    let control_socket = config.socket();
    let backend = Arc::new(DaemonBackend {
        store: store_file(&config.state_dir),
        layout,
        clock,
        inbox: journal.inbox.clone(),
        intake,
        parts: running,
        journal: Arc::clone(&journal.status),
        link,
        ports: Arc::clone(&ports),
        mapped: makers,
        presence,
        pace,
        cloud: cloud_status.clone(),
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
    let control = parts::watched("control", serving_control, is_ready).await?;
    Ok(Running {
        mqtt,
        control_socket,
        journal_status: Arc::clone(&journal.status),
        cloud_status,
        ports,
        journal,
        stop_links,
        stop_cloud,
        stop_control,
        links: vec![serving, routing],
        cloud,
        control,
        auditing,
        verifying,
    })
}

/// Starts the serial ports.
fn start_ports(
    config: &Config,
    intake: &Intake,
    pace: &Arc<Pace>,
    stopped: &watch::Receiver<bool>,
) -> anyhow::Result<Ports> {
    if config.ports.is_empty() {
        return Ok(Ports::default());
    }
    let store = store_file(&config.state_dir);
    let boots = Reader::open(&store)
        .and_then(|reader| reader.next_boots())
        .context("reading the devices' boots")?;
    let plans = PortPlan::all(config, |device| boots.get(device).copied().unwrap_or(1));
    let intake: Arc<dyn DeviceIntake> = Arc::new(intake.clone());
    Ports::start(&plans, &intake, pace, stopped)
}

/// Starts what maps the devices of other makers. Their workers start when something comes.
fn start_mapped(config: &Config, intake: &Intake, clock: &Clock) -> anyhow::Result<Mapped> {
    let store = store_file(&config.state_dir);
    let boots = move || {
        Reader::open(&store)
            .and_then(|reader| reader.next_boots())
            .context("reading the devices' boots")
    };
    Mapped::start(
        config,
        PathBuf::from(mapped::EXE),
        Arc::new(intake.clone()),
        clock.clone(),
        Box::new(boots),
    )
}

fn cloud_config(config: &Config) -> anyhow::Result<Option<CloudConfig>> {
    let Some(section) = &config.cloud else {
        return Ok(None);
    };
    let gateway = section.gateway.as_ref().unwrap_or(&config.site);
    let line = &section.line;
    let client = section.client_certificate_file.clone();
    let mut cloud = CloudConfig::new(
        &section.url,
        gateway.clone(),
        config.state_dir.join("cloud"),
    )?;
    cloud.token_file = section.token_file.clone();
    cloud.tls = TlsFiles {
        ca: section.ca_file.clone(),
        client: client.zip(section.client_key_file.clone()),
    };
    let usual = if line.metered { 300 } else { 50 };
    cloud.wait = Duration::from_secs(line.wait_s.unwrap_or(usual).into());
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

    /// Stops in order; everything taken is on disk when it resolves.
    pub async fn shutdown(self) {
        self.stop_links.send_replace(true);
        let mut links = self.links.into_iter();
        if let Some(serving) = links.next() {
            // A link that panicked has stopped too.
            let _ = serving.await;
        }
        self.ports.ended().await;
        self.stop_cloud.send_replace(true);
        if let Some(cloud) = self.cloud {
            let abort = cloud.abort_handle();
            if tokio::time::timeout(UPLINK_MOMENT, cloud).await.is_err() {
                abort.abort();
            }
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
        links.for_each(|routing| routing.abort());
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
    use tokio::signal::unix::{SignalKind, signal};
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
