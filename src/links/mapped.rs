//! Devices of other makers, over MQTT: what they publish becomes our events by a profile's program.
//!
//! ```text
//!  publication ──whose topic?──▶ Device ──▶ Lane ──input──▶ worker process ──output──▶ Voice ──▶ intake
//!       ▲                                    in line, by profile                        numbers
//!       └────────────────── PUBACK, once it is on disk ─────────────────────────────────────┘
//! ```
//!
//! * `profile` is what a profile says, `input` what its program is given, `output` what it makes.
//! * `plan` knows whose publications are whose, `device` what of them is news, `lane` is a profile's line.
//! * `child` is a worker process from its parent's side, `frames` what goes between the two, `worker` and
//!   `program` the worker's own side.
//!
//! Invariant: no program runs in this process, and no payload is acknowledged that is neither on disk as
//! events, nor in quarantine with the reason, nor nothing to us.

pub mod child;
mod device;
pub mod frames;
pub mod input;
mod lane;
pub mod output;
mod plan;
pub mod profile;
pub mod program;
pub mod worker;

use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use bytes::Bytes;
use firmware_protocols::Ident;
use tokio::sync::watch;

use self::device::{Device, Numbering, hash};
use self::lane::{Condition, Job, Lane, Settled};
use self::plan::{Client, Plan, Recent};
use self::profile::Profile;
use super::DeviceIntake;
use super::embedded::limits;
use crate::clock::Clock;
use crate::config::Config;
use crate::control::profiles::{MappedState, MappedView};
use crate::intake::Answer;

pub use self::device::Retained;

/// The program that a worker runs: this one, also when its file was replaced by a newer one meanwhile.
pub const EXE: &str = "/proc/self/exe";

/// The largest packet of a bridge, bytes: a list of all that it knows. What no device has of it is read
/// and dropped.
pub const BRIDGE_PACKET_MAX_BYTES: u32 = 1 << 20;

/// What the next boot of each device is. Reads the store.
pub type NextBoots = Box<dyn Fn() -> anyhow::Result<HashMap<Ident, u32>> + Send + Sync>;

/// All devices of other makers.
#[derive(Default)]
pub struct Mapped {
    plan: RwLock<Arc<Plan>>,
    /// What it takes to map anything.
    means: Option<Means>,
    numberings: Mutex<HashMap<Ident, Arc<Numbering>>>,
    /// Another plan holds.
    changed: watch::Sender<u64>,
}

struct Means {
    exe: PathBuf,
    intake: Arc<dyn DeviceIntake>,
    clock: Clock,
    boots: NextBoots,
}

/// A publication of a client that speaks for mapped devices.
pub struct Publication {
    /// Where.
    pub topic: String,
    /// What.
    pub payload: Bytes,
    /// Its id, at QoS 1 and 2.
    pub id: Option<u16>,
    /// Whether it says itself that it was sent before.
    pub again: bool,
    /// Whether it is a state.
    pub retained: Retained,
}

/// What comes of a publication, once that is on disk.
pub type Taking = Pin<Box<dyn Future<Output = Answer> + Send>>;

impl Mapped {
    /// The devices of a configuration. `exe` is run as worker ([`EXE`]).
    ///
    /// # Errors
    /// The store can't be read. A profile that can't be used is no error, and shown.
    pub fn start(
        config: &Config,
        exe: PathBuf,
        intake: Arc<dyn DeviceIntake>,
        clock: Clock,
        boots: NextBoots,
    ) -> anyhow::Result<Self> {
        let mapped = Self {
            means: Some(Means {
                exe,
                intake,
                clock,
                boots,
            }),
            ..Self::default()
        };
        mapped.replace(config)?;
        Ok(mapped)
    }

    /// From now on these. Profiles' files are read again; devices that stay keep their numbers, and a
    /// suspension is over. Reads files and perhaps the store.
    ///
    /// # Errors
    /// The store can't be read: then nothing has changed.
    pub fn replace(&self, config: &Config) -> anyhow::Result<()> {
        let Some(means) = &self.means else {
            return Ok(());
        };
        let former = self.plan();
        self.number(config, means)?;
        let mut plan = Plan::default();
        let mut clients: HashMap<Ident, Client> = HashMap::new();
        let mut everybody = Client::default();
        for bridge in &config.bridges {
            let client = clients.entry(bridge.id.clone()).or_default();
            client.is_bridge = true;
        }
        for section in &config.devices {
            let Some(name) = &section.profile else {
                continue;
            };
            let lane = plan.lanes.entry(name.clone());
            let lane = lane.or_insert_with(|| lane_of(name, &former, means));
            let named = section.named.clone();
            let device = Arc::new(Device::new(
                section.id.clone(),
                named.unwrap_or_else(|| section.id.to_string()),
                section.via.clone(),
                Arc::clone(lane),
                self.numbering(&section.id),
            ));
            if let Some(before) = former.devices.get(&section.id) {
                device.follow(before);
            }
            let speaker = section.via.as_ref().unwrap_or(&section.id);
            clients.entry(speaker.clone()).or_default().add(&device);
            everybody.add(&device);
            plan.devices.insert(section.id.clone(), device);
        }
        everybody.follow(&former.everybody);
        plan.everybody = Arc::new(everybody);
        let clients = clients.into_iter().map(|(id, mut client)| {
            if let Some(before) = former.clients.get(&id) {
                client.follow(before);
            }
            (id, Arc::new(client))
        });
        plan.clients = clients.collect();
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(plan);
        self.changed.send_modify(|version| *version += 1);
        Ok(())
    }

    /// Whether somebody who logs in by this name speaks for mapped devices.
    pub fn is_client(&self, login: &Ident) -> bool {
        self.plan().clients.contains_key(login)
    }

    /// The largest packet that such a client may send, bytes.
    pub fn packet_max_bytes(&self, login: &Ident) -> u32 {
        match self.plan().clients.get(login) {
            Some(client) if client.is_bridge => BRIDGE_PACKET_MAX_BYTES,
            _ => limits::PACKET_MAX_BYTES,
        }
    }

    /// A publication of such a client. Decided at once, in the order of the calls. `None`: no device of
    /// the client's has this topic, and it is dropped.
    pub fn publication(&self, login: &Ident, publication: Publication) -> Option<Taking> {
        let client = self.plan().clients.get(login).cloned()?;
        taking(&client, publication)
    }

    /// The same, through a broker that doesn't say who publishes.
    pub fn anybodys(&self, publication: Publication) -> Option<Taking> {
        taking(&self.plan().everybody.clone(), publication)
    }

    /// Whether a topic is a mapped device's.
    pub fn has_topic(&self, topic: &str) -> bool {
        self.plan().everybody.device(topic).is_some()
    }

    /// Every topic of a mapped device, sorted.
    pub fn topics(&self) -> Vec<String> {
        let mut topics = self.plan().everybody.topics();
        topics.sort_unstable();
        topics
    }

    /// Tells when there are other topics.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// A bridge is gone, and so are the devices that it speaks for.
    pub fn bridge_left(&self, login: &Ident) {
        let Some(means) = &self.means else {
            return;
        };
        for device in self.plan().devices.values() {
            if device.via.as_ref() == Some(login) {
                means.intake.presence(&device.id, false);
            }
        }
    }

    /// How they do, sorted by device.
    pub fn views(&self) -> Vec<MappedView> {
        let Some(means) = &self.means else {
            return Vec::new();
        };
        let (plan, wall_ms, now) = (self.plan(), means.clock.now().wall_ms, Instant::now());
        let devices = plan.devices.values();
        let views = devices.map(|device| {
            let counts = device.counts();
            let (state, why, until) = match device.lane.condition() {
                Condition::Works => (MappedState::Works, None, None),
                Condition::Suspended { until, why } => {
                    (MappedState::Suspended, Some(why), Some(until))
                }
                Condition::Broken { why } => (MappedState::Broken, Some(why), None),
            };
            let ms = |time: std::time::Duration| i64::try_from(time.as_millis()).unwrap_or(0);
            let speaker = device.via.as_ref().unwrap_or(&device.id);
            let client = plan.clients.get(speaker);
            MappedView {
                device: device.id.to_string(),
                profile: device.lane.name.clone(),
                named: device.named.clone(),
                via: device.via.as_ref().map(Ident::to_string),
                state,
                why,
                until_ms: until.map(|until| wall_ms + ms(until.saturating_duration_since(now))),
                payloads: counts.payloads,
                events: counts.events,
                refused: counts.refused,
                repeated: counts.repeated,
                last_refusal: counts.last_refusal,
                heard_ms: counts.heard.map(|heard| wall_ms - ms(now - heard)),
                unmapped: client.map_or(0, |client| client.unmapped()),
            }
        });
        views.collect()
    }

    fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives the devices that are new the numbers of their boots.
    fn number(&self, config: &Config, means: &Means) -> anyhow::Result<()> {
        let mapped = config.devices.iter();
        let mapped = mapped.filter(|device| device.profile.is_some());
        let mut numberings = self.numberings();
        let new: Vec<&Ident> = mapped
            .map(|device| &device.id)
            .filter(|id| !numberings.contains_key(*id))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let next = (means.boots)()?;
        for id in new {
            let boot = next.get(id).copied().unwrap_or(1);
            numberings.insert(id.clone(), Arc::new(Numbering::new(boot)));
        }
        Ok(())
    }

    fn numbering(&self, device: &Ident) -> Arc<Numbering> {
        let mut numberings = self.numberings();
        let known = numberings.entry(device.clone());
        Arc::clone(known.or_insert_with(|| Arc::new(Numbering::new(1))))
    }

    fn numberings(&self) -> MutexGuard<'_, HashMap<Ident, Arc<Numbering>>> {
        self.numberings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The line of a profile: the one that there was, if it works and its file is as it was.
fn lane_of(name: &str, former: &Plan, means: &Means) -> Arc<Lane> {
    let profile = Profile::load(name);
    if let Err(why) = &profile {
        tracing::error!(profile = name, %why, "a profile can't be used");
    }
    if let Some(lane) = former.lanes.get(name)
        && lane.profile == profile
        && lane.condition() == Condition::Works
    {
        return Arc::clone(lane);
    }
    let (exe, intake) = (means.exe.clone(), Arc::clone(&means.intake));
    Lane::start(name.to_owned(), profile, exe, intake)
}

fn taking(client: &Client, publication: Publication) -> Option<Taking> {
    let Some(device) = client.device(&publication.topic) else {
        client.dropped();
        return None;
    };
    let content = [publication.topic.as_bytes(), &publication.payload].concat();
    let content = hash(&content);
    if publication.again
        && let Some(id) = publication.id
        && let Some(settled) = client.known(id, content)
    {
        device.repeated();
        return Some(Box::pin(settling(settled)));
    }
    let (settle, settled) = watch::channel(None);
    let submitted = device.lane.submit(Job {
        device: Arc::clone(device),
        topic: publication.topic,
        payload: publication.payload,
        retained: publication.retained,
        settled: settle,
    });
    if let Err(answer) = submitted {
        return Some(Box::pin(std::future::ready(answer)));
    }
    if let Some(id) = publication.id {
        client.remember(Recent {
            id,
            hash: content,
            settled: settled.clone(),
        });
    }
    Some(Box::pin(settling(settled)))
}

/// Waits until it is on disk.
async fn settling(mut settled: watch::Receiver<Option<Settled>>) -> Answer {
    let stopping = || Answer::NotTaken("the gateway is stopping".to_owned());
    let settled = match settled.wait_for(Option::is_some).await {
        Ok(settled) => settled.clone(),
        Err(_) => return stopping(),
    };
    match settled {
        Some(Settled::Answered(answer)) => answer,
        Some(Settled::Said(mut on_disk, position)) => {
            match on_disk.wait_for(|there| *there >= position).await {
                Ok(_) => Answer::Taken,
                Err(_) => stopping(),
            }
        }
        None => stopping(),
    }
}

#[cfg(test)]
mod tests;
