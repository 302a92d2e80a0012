//! What the local API sees of the daemon.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use estate::input::DeskAct;
use estate::{Layout, Told, Typed};
use firmware_protocols::event::Secret;
use firmware_protocols::{Ident, Slot};
use tokio::sync::{oneshot, watch};

use super::live::Live;
use super::parts::Link;
use super::shown::Shown;
use super::supervised::PartsStatus;
use crate::audit::Auditing;
use crate::clock::Clock;
use crate::cloud::Requests;
use crate::config::serial::Protocol;
use crate::control::profiles::{MappedView, ProfileDown};
use crate::control::reload::ReloadView;
use crate::control::views::{
    ClockReport, JournalReport, LimitsReport, LinksReport, SlowedView, StatusReport,
};
use crate::control::{Backend, memory_rss_bytes};
use crate::disk::{Disk, Duty};
use crate::intake::Intake;
use crate::journal::{self, Inbox, NotTaken, Work};
use crate::links::LinkState;
use crate::links::entrance::Entrance;
use crate::links::mapped::Mapped;
use crate::links::serial::Ports;
use crate::links::serial::tap::Tap;
use crate::pace::Pace;
use crate::presence::Presence;

/// The daemon, as the local API sees it.
pub struct DaemonBackend {
    /// The store's file.
    pub store: PathBuf,
    /// What a new configuration replaces.
    pub shown: Arc<Shown>,
    /// The configuration in force.
    pub live: Arc<Live>,
    /// The time.
    pub clock: Clock,
    /// The way into the journal.
    pub inbox: Inbox,
    /// Digests what is typed.
    pub intake: Intake,
    /// How the parts are that are started again when they fail.
    pub parts: PartsStatus,
    /// How the journal is.
    pub journal: Arc<journal::Status>,
    /// The serial ports.
    pub ports: Arc<Ports>,
    /// The devices of other makers.
    pub mapped: Arc<Mapped>,
    /// Which devices are there.
    pub presence: Presence,
    /// How much each may send.
    pub pace: Arc<Pace>,
    /// The way to the sync client.
    pub requests: Arc<Requests>,
    /// What verifies and signs the parcels' history.
    pub auditing: Arc<Auditing>,
    /// What the disk refuses.
    pub disk: Disk,
    /// When the daemon started.
    pub started: Instant,
}

impl DaemonBackend {
    /// Hands work over and waits for what came of it.
    async fn told(
        &self,
        work: impl FnOnce(oneshot::Sender<Result<Told, String>>) -> Work,
    ) -> Result<Told, String> {
        let (reply, answer) = oneshot::channel();
        self.inbox.submit(work(reply));
        match answer.await {
            Ok(answer) => answer,
            Err(_) => Err(NotTaken::Stopping.to_string()),
        }
    }

    fn links(&self) -> LinksReport {
        let why = |state| match state {
            LinkState::Up => None,
            LinkState::Starting => Some("not connected yet".to_owned()),
            LinkState::Down(why) => Some(why),
        };
        match &self.shown.link() {
            Link::Embedded {
                addresses,
                tls,
                roster,
                status,
                ..
            } => LinksReport {
                mode: "embedded".to_owned(),
                address: addresses_told(addresses, tls.is_some()),
                connected: roster.connected() as u64,
                last_error: why(status.state()),
                limits: self.limits(),
                profiles: ProfileDown::among(&self.mapped.views()),
                ..LinksReport::default()
            },
            Link::External {
                settings, status, ..
            } => LinksReport {
                mode: "external".to_owned(),
                address: settings.url.clone(),
                connected: self.presence.online() as u64,
                last_error: why(status.state()),
                limits: self.limits(),
                profiles: ProfileDown::among(&self.mapped.views()),
                ..LinksReport::default()
            },
        }
    }

    fn limits(&self) -> LimitsReport {
        let (now, wall_ms) = (Instant::now(), self.clock.now().wall_ms);
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let slowed = self.pace.slowed(now).into_iter().map(|slowed| SlowedView {
            device: slowed
                .device
                .map_or_else(|| "strangers".to_owned(), |device| device.to_string()),
            since_ms: wall_ms.saturating_sub_unsigned(ms(slowed.lasts)),
            over: slowed.over.word().to_owned(),
            held_ms: ms(slowed.held),
            put_off: slowed.put_off,
        });
        let totals = self.pace.totals();
        LimitsReport {
            slowed: slowed.collect(),
            episodes: totals.episodes,
            held_ms: ms(totals.held),
            put_off: totals.put_off,
        }
    }

    fn journal(&self) -> JournalReport {
        let read = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
        let refused = self.disk.refusal(Duty::Writing);
        JournalReport {
            writing: refused.is_none(),
            degraded_since_ms: refused.as_ref().map(|refused| refused.since_ms),
            last_error: refused.map(|refused| refused.error),
            commits: read(&self.journal.commits),
            events_taken: read(&self.journal.events),
            turned_away: read(&self.journal.turned_away),
            queue_depth: self.inbox.waiting() as u64,
            log_bytes: read(&self.journal.log_bytes),
        }
    }
}

#[async_trait]
impl Backend for DaemonBackend {
    fn store_path(&self) -> &Path {
        &self.store
    }

    fn layout(&self) -> Arc<Layout> {
        self.shown.layout()
    }

    async fn reload(&self, operator: String) -> ReloadView {
        let live = Arc::clone(&self.live);
        // In a task of its own: it isn't broken off when whoever asked has gone.
        let reloading = tokio::spawn(async move { live.reload(&operator).await });
        reloading.await.unwrap_or_else(|e| ReloadView {
            refused: Some(e.to_string()),
            ..ReloadView::default()
        })
    }

    fn status(&self) -> StatusReport {
        let now = self.clock.now();
        let cloud = self
            .shown
            .cloud()
            .and_then(|cloud| serde_json::to_value(cloud.snapshot()).ok());
        StatusReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            site: self.shown.layout().site.to_string(),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            journal: self.journal(),
            links: self.links(),
            parts: self.parts.report(),
            cloud: cloud.unwrap_or_default(),
            clock: ClockReport {
                wall_ms: now.wall_ms,
                quality: now.quality.word().to_owned(),
                tick_ms: now.tick_ms,
            },
            memory_rss_bytes: memory_rss_bytes(),
            audit: self.auditing.report(),
            disk: self.disk.refused(),
            serial: self.ports.views(),
            configuration: self.shown.configuration(),
        }
    }

    fn mapped(&self) -> Vec<MappedView> {
        self.mapped.views()
    }

    fn store_was_read(&self, outcome: Result<(), &str>) {
        match outcome {
            Ok(()) => self.disk.serves(Duty::Reading),
            Err(why) => self.disk.refuses(Duty::Reading, why),
        }
    }

    fn online(&self, device: &Ident) -> Option<bool> {
        self.presence.of(device)
    }

    async fn open(&self, slot: Slot, operator: String, reason: String) -> Result<String, String> {
        let (reply, answer) = oneshot::channel();
        self.inbox.submit(Work::Open {
            slot,
            operator,
            reason,
            reply,
        });
        match answer.await {
            Ok(answer) => answer,
            Err(_) => Err(NotTaken::Stopping.to_string()),
        }
    }

    /// Behind somebody else's broker that is only known once the device has said so, on a serial port
    /// once it has been asked.
    fn away(&self, device: &Ident) -> bool {
        if self.ports.has(device) {
            return self.presence.of(device) == Some(false);
        }
        match self.shown.link() {
            Link::Embedded { roster, .. } => !roster.is_connected(device),
            Link::External { .. } => self.presence.of(device) == Some(false),
        }
    }

    async fn disable(
        &self,
        slot: Slot,
        operator: String,
        reason: Option<String>,
    ) -> Result<Told, String> {
        self.told(|reply| Work::Disable {
            slot,
            operator,
            reason,
            reply,
        })
        .await
    }

    async fn desk(&self, operator: String, act: DeskAct) -> Result<Told, String> {
        self.told(|reply| Work::Desk {
            operator,
            act,
            reply,
        })
        .await
    }

    fn typed(&self, point: &Ident, digits: &Secret) -> Typed {
        self.intake.typed(point, digits)
    }

    fn auditing(&self) -> &Auditing {
        &self.auditing
    }

    fn serial_tap(&self, port: &str) -> Option<(Tap, Protocol)> {
        if let Some(found) = self.ports.tap(port) {
            return Some(found);
        }
        let real = |path: &str| std::fs::canonicalize(path).ok();
        let wanted = real(port);
        let views = self.ports.views();
        let mut same = views
            .iter()
            .filter(|view| view.path == port || wanted.is_some() && real(&view.path) == wanted);
        self.ports.tap(&same.next()?.port)
    }

    fn sync_requests(&self) -> Option<&Requests> {
        self.shown.cloud().map(|_| &*self.requests)
    }

    fn entrance(&self) -> Option<Entrance> {
        Some(self.shown.link().entrance().clone())
    }

    fn events_watch(&self) -> watch::Receiver<i64> {
        self.journal.newest_event()
    }
}

/// Where the broker listens, in words; the last one may be that of TLS.
fn addresses_told(addresses: &[SocketAddr], tls: bool) -> String {
    let last = addresses.len().saturating_sub(1);
    let told = addresses.iter().enumerate().map(|(index, address)| {
        if tls && index == last {
            format!("{address} (TLS)")
        } else {
            address.to_string()
        }
    });
    told.collect::<Vec<_>>().join(", ")
}
