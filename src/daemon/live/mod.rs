//! The configuration in force, and the one owner of it: reads the file again, finds out what differs, and
//! takes that over while the daemon runs.
//!
//! In this order, so that nothing has changed when something refuses:
//!
//! 1. All that can be found wrong is: the file is read and checked, and what it names is read.
//! 2. The journal goes by the new layout between two batches, or refuses it.
//! 3. The rest can't refuse: what digests and paces, who may log in, who is there; ports, broker and
//!    cloud, of which only what differs begins anew. What goes wrong there is told.
//!
//! Reloads come one after the other. A device that stays keeps its connection.

mod change;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use firmware_protocols::Ident;
use tokio::sync::{Mutex, oneshot};

use super::parts::{Cloud, CloudParts, Link, LinkParts};
use super::service;
use super::shown::Shown;
use super::supervised::Part;
use crate::clock::Clock;
use crate::cloud::CloudConfig;
use crate::config::Config;
use crate::control::reload::ReloadView;
use crate::disk::{Disk, Duty};
use crate::intake::Intake;
use crate::journal::{Inbox, Relayout, Settings, Work};
use crate::links::embedded::{Admitted, Clients, Roster};
use crate::links::external;
use crate::links::serial::plan::PortPlan;
use crate::links::serial::{Around, Ports};
use crate::pace::Pace;
use crate::presence::Presence;
use crate::store::read::Reader;
use crate::store::store_file;

pub use change::Change;
pub(super) use change::mapped;

/// How long a part may take to end when it begins anew, or when the daemon stops.
const ENDING: Duration = Duration::from_secs(3);
/// The same for the broker: the publications whose commit is under way are answered.
const LINK_ENDING: Duration = Duration::from_secs(30);

/// Something that follows the configuration and isn't known here. It is given the configuration before
/// and the one that holds now, at each reload, as files that it names may be others. It returns what it
/// has taken over, in words; or why it goes on as before.
pub type Follower = Box<dyn Fn(&Config, &Config) -> Result<Vec<String>, String> + Send + Sync>;

/// What follows the configuration besides. Where nothing does, what differs holds after a restart.
#[derive(Default)]
pub struct Followers {
    /// The listener for MQTT over TLS: names, client certificates, its own certificate's file.
    pub tls: Option<Follower>,
    /// Profiles and bridges.
    pub mapped: Option<Follower>,
}

/// What a reload changes.
pub struct Parts {
    /// The way into the journal.
    pub inbox: Inbox,
    /// Digests what is typed, by the layout.
    pub intake: Intake,
    /// How much each device may send.
    pub pace: Arc<Pace>,
    /// Which devices are there.
    pub presence: Presence,
    /// Who may log in.
    pub clients: Arc<Clients>,
    /// Who is connected, if the broker is embedded.
    pub roster: Option<Arc<Roster>>,
    /// The serial ports.
    pub ports: Arc<Ports>,
    /// What they work with.
    pub around: Around,
    /// What a link to somebody else's broker works with.
    pub link: LinkParts,
    /// What the sync client works with.
    pub cloud: CloudParts,
    /// What the disk refuses.
    pub disk: Disk,
    /// The time.
    pub clock: Clock,
    /// Whatever else follows.
    pub followers: Followers,
    /// What the service manager is told when it is over.
    pub told: String,
}

/// The configuration in force, with what runs by it.
pub struct Live {
    /// Where it is read again from.
    file: Option<PathBuf>,
    parts: Parts,
    shown: Arc<Shown>,
    /// `None` once the daemon stops.
    state: Mutex<Option<State>>,
}

/// What runs by the configuration and can begin anew.
pub struct State {
    /// The configuration in force.
    pub config: Config,
    /// The broker, or the link to somebody else's.
    pub link: Part,
    /// The sync client.
    pub cloud: Option<Part>,
}

/// A new configuration, with all read that it names.
struct Prepared {
    change: Change,
    external: Option<external::Settings>,
    cloud: Option<CloudConfig>,
}

impl Live {
    /// What runs by the configuration, from `file` if there is one.
    pub fn new(file: Option<&Path>, parts: Parts, shown: Arc<Shown>, state: State) -> Self {
        Self {
            file: file.map(Path::to_path_buf),
            parts,
            shown,
            state: Mutex::new(Some(state)),
        }
    }

    /// Reads the file again and goes by it. `by` is who wants it, for the log and the status.
    ///
    /// A reload isn't to be broken off: what it has begun it ends.
    pub async fn reload(&self, by: &str) -> ReloadView {
        let mut state = self.state.lock().await;
        service::reloading();
        let taken = match state.as_mut() {
            Some(state) => self.take(state).await,
            None => Err("the gateway is stopping".to_owned()),
        };
        service::ready(&self.parts.told);
        let now_ms = self.parts.clock.now().wall_ms;
        match taken {
            Ok(view) => {
                let (applied, notes) = (view.applied.join("; "), view.notes.join("; "));
                let after_restart = view.after_restart.join(", ");
                tracing::info!(%by, applied, after_restart, notes, "a new configuration was taken");
                self.shown.taken(now_ms, by, view.after_restart.clone());
                view
            }
            Err(why) => {
                tracing::error!(%by, %why, "a new configuration was refused: the one before still holds");
                self.shown.refused(now_ms, by, &why);
                ReloadView {
                    refused: Some(why),
                    ..ReloadView::default()
                }
            }
        }
    }

    /// Ends what runs by the configuration: first the link, so that nothing more is taken. What is left
    /// can't be reloaded.
    pub async fn end_link(&self) -> Option<Part> {
        let mut state = self.state.lock().await.take()?;
        state.link.end(LINK_ENDING).await;
        state.cloud
    }

    async fn take(&self, state: &mut State) -> Result<ReloadView, String> {
        if let Some(refused) = self.parts.disk.refusal(Duty::Writing) {
            let why = refused.error;
            return Err(format!(
                "nothing is changed while nothing can be written to the disk: {why}"
            ));
        }
        let prepared = self.prepare(&state.config).await?;
        let mut view = ReloadView {
            applied: prepared.change.told.clone(),
            after_restart: prepared.change.after_restart.clone(),
            ..ReloadView::default()
        };
        let config = &prepared.change.config;
        if prepared.change.journal {
            view.notes.extend(self.journal(config).await?);
        }
        self.admit(&prepared.change);
        self.ports(config, &mut view).await;
        self.link(&prepared, state, &mut view).await;
        self.cloud(&prepared, state, &mut view).await;
        self.followers(&prepared.change, &state.config, &mut view);
        state.config = prepared.change.config;
        Ok(view)
    }

    /// Finds out all that can be wrong with it. Nothing changes.
    async fn prepare(&self, old: &Config) -> Result<Prepared, String> {
        let Some(file) = self.file.clone() else {
            return Err("the gateway wasn't started from a file".to_owned());
        };
        let (old, clients) = (old.clone(), Arc::clone(&self.parts.clients));
        let prepared = tokio::task::spawn_blocking(move || {
            let new = Config::read(&file).map_err(|e| e.to_string())?;
            let change = Change::between(&old, &new);
            let cloud = super::cloud_config(&change.config);
            let section = change.config.external_broker.as_ref();
            let external = section
                .map(|section| external::Settings::new(section, &change.config.site, clients));
            Ok(Prepared {
                cloud: cloud.map_err(|e| format!("{e:#}"))?,
                external: external.transpose().map_err(|e| format!("{e:#}"))?,
                change,
            })
        });
        prepared.await.unwrap_or_else(|e| Err(e.to_string()))
    }

    /// The journal goes by the new layout; what somebody should know of that.
    async fn journal(&self, config: &Config) -> Result<Vec<String>, String> {
        let (reply, answer) = oneshot::channel();
        self.parts.inbox.submit(Work::Relayout(Box::new(Relayout {
            layout: config.layout(),
            settings: Settings {
                gather_ms: config.journal.gather_ms,
                retention: config.retention(),
                weakness: None,
            },
            reply,
        })));
        let stranded = match answer.await {
            Ok(answer) => answer?,
            Err(_) => return Err("the gateway is stopping".to_owned()),
        };
        let told = stranded.into_iter().map(|(point, parcels)| {
            let count = if parcels == 1 { "parcel is" } else { "parcels are" };
            format!("{parcels} {count} expected at {point}, which isn't there any more: the cloud has to announce them elsewhere")
        });
        Ok(told.collect())
    }

    /// Who stands where, may log in, and how much each may send. A device that was let in by the former
    /// configuration and isn't in this one loses its connection.
    fn admit(&self, change: &Change) {
        let (parts, config) = (&self.parts, &change.config);
        let layout = config.layout();
        parts.intake.relayout(&layout);
        parts.pace.replace(config.limits(), config.login_ids());
        self.shown.set_layout(layout);
        parts.clients.replace(Admitted::of(config));
        let broker = config.broker.clone().unwrap_or_default();
        parts.clients.make_room(broker.max_connections);
        parts.presence.only(config.device_ids());
        if let Some(roster) = &parts.roster {
            for device in &change.dismissed {
                if roster.dismiss(device) {
                    tracing::info!(%device, "a device was taken out of the configuration: its connection is closed");
                }
            }
        }
    }

    async fn ports(&self, config: &Config, view: &mut ReloadView) {
        let (ports, around) = (&self.parts.ports, &self.parts.around);
        let plans = PortPlan::all(config, |_| 0);
        let store = store_file(&config.state_dir);
        let replaced = ports.replace(plans, around, || next_boots(&store)).await;
        let told = |ids: &[Ident], how: &str| {
            let told = ids.iter().map(|id| format!("port {how}: {id}"));
            told.collect::<Vec<_>>()
        };
        view.applied.extend(told(&replaced.started, "started"));
        view.applied.extend(told(&replaced.ended, "ended"));
        for (port, why) in replaced.failed {
            view.notes.push(format!(
                "port {port} isn't running: {why}. Correct it and reload, or restart the gateway"
            ));
        }
    }

    /// The link to somebody else's broker begins anew, if it is another one.
    async fn link(&self, prepared: &Prepared, state: &mut State, view: &mut ReloadView) {
        let (Some(settings), Link::External { settings: now, .. }) =
            (&prepared.external, self.shown.link())
        else {
            return;
        };
        if settings.is_same(&now) {
            return;
        }
        // What wasn't acknowledged the broker sends again.
        state.link.end(ENDING).await;
        let (link, part) = self.parts.link.external(settings.clone());
        state.link = part;
        self.shown.set_link(link);
        view.applied
            .push(format!("connected anew to {}", settings.url));
    }

    /// The sync client begins anew, if the section isn't the same.
    async fn cloud(&self, prepared: &Prepared, state: &mut State, view: &mut ReloadView) {
        if !prepared.change.cloud {
            return;
        }
        if let Some(mut former) = state.cloud.take() {
            former.end(ENDING).await;
        }
        let told = match &prepared.cloud {
            Some(config) => {
                let Cloud { status, part } = self.parts.cloud.start(config.clone());
                state.cloud = Some(part);
                self.shown.set_cloud(Some(status));
                format!("the sync client began anew, with {}", config.url.as_url())
            }
            None => {
                self.shown.set_cloud(None);
                self.parts.cloud.gone();
                "the sync client ended: no cloud any more".to_owned()
            }
        };
        view.applied.push(told);
    }

    fn followers(&self, change: &Change, old: &Config, view: &mut ReloadView) {
        let followers = &self.parts.followers;
        let all = [
            (&followers.tls, change.tls, "broker.tls"),
            (&followers.mapped, change.mapped, "bridge, device.profile"),
        ];
        for (follower, differs, key) in all {
            match follower.as_ref().map(|follow| follow(old, &change.config)) {
                Some(Ok(told)) => view.applied.extend(told),
                Some(Err(why)) => view.notes.push(why),
                None if differs => view.after_restart.push(key.to_owned()),
                None => {}
            }
        }
    }
}

/// The boots that voices speak in next.
pub(super) fn next_boots(store: &Path) -> anyhow::Result<HashMap<Ident, u32>> {
    Reader::open(store)
        .and_then(|reader| reader.next_boots())
        .context("reading the devices' boots")
}
