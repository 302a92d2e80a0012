//! The stage: the reference cloud, the gateway, the simulated estate, all in this process and on
//! loopback, as they would stand in a real estate and a data centre.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cloud_protocol::uplink::ParcelState;
use firmware_protocols::Ident;
use firmware_protocols::event::Secret;
use reference_cloud::Cloud;
use simulator::world::{Notices, Point};
use simulator::{Latency, Tempo, World};
use tokio::task::JoinHandle;

use super::balance::{CloudParcel, Facts};
use super::books::Books;
use super::plan;
use super::script::BEGIN_MS;
use super::shown::Shown;
use super::story::{Story, lock};
use super::wiring::Wiring;
use crate::clock::Clock;
use crate::config::Config;
use crate::credentials::{generate_password, set_password};
use crate::daemon::{self, Running};
use crate::keys::write_private;
use crate::store::store_file;

/// Everything that plays.
pub(super) struct Stage {
    pub(super) site: Ident,
    pub(super) tempo: Tempo,
    pub(super) story: Arc<Story>,
    pub(super) cloud: Arc<Cloud>,
    pub(super) world: Arc<World>,
    /// Whether the cloud can be reached at the moment.
    pub(super) cloud_up: Arc<AtomicBool>,
    /// The gateway's store.
    pub(super) store: PathBuf,
    /// The serial lines, if there are some.
    pub(super) wiring: Option<Wiring>,
    gateway: Running,
    postman: JoinHandle<()>,
}

/// The messages on the residents' phones: what the operator's cloud told them.
struct Phones {
    codes: Mutex<BTreeMap<String, Secret>>,
    /// Whose parcels they are, as the labels say.
    recipients: BTreeMap<String, String>,
}

impl Notices for Phones {
    fn code(&self, parcel: &str) -> Option<String> {
        let codes = lock(&self.codes);
        codes.get(parcel).map(|code| code.reveal().to_string())
    }

    fn same_recipient(&self, one: &str, other: &str) -> bool {
        let of = |parcel| self.recipients.get(parcel);
        of(one).is_some() && of(one) == of(other)
    }
}

/// How often the cloud's notices reach the phones.
const POST: Duration = Duration::from_millis(100);

impl Stage {
    /// Starts cloud, gateway and devices, with the store in `state_dir`. The clock of the play runs
    /// `speed` times as fast as the real one from 16:50 on. `recipients`: by parcel. `serial`: some of
    /// the devices hang on serial lines.
    pub(super) async fn set(
        state_dir: &Path,
        speed: f64,
        recipients: BTreeMap<String, String>,
        serial: bool,
    ) -> anyhow::Result<Self> {
        let site = plan::id(plan::SITE)?;
        let cloud = reference_cloud::Config {
            open: false,
            ..reference_cloud::Config::in_file(state_dir.join("cloud.db"))
        };
        let cloud = reference_cloud::serve(cloud).await?;
        let token = cloud.issue_token(&site).await?;
        write_private(&plan::token_file(state_dir), token.reveal().as_bytes())
            .context("writing the enrolment token")?;
        let cloud = Arc::new(cloud);
        let lay = || Wiring::lay(&state_dir.join("ports"), speed);
        let wiring = serial.then(lay).transpose()?;
        let config = plan::config(state_dir, &cloud.url(), wiring.as_ref())?;
        let passwords = make_passwords(&config).await?;
        let text = plan::config_text(state_dir, &cloud.url(), wiring.as_ref());
        std::fs::write(state_dir.join("linli.toml"), text).context("writing the configuration")?;

        let tempo = Tempo::new(BEGIN_MS, speed);
        let gateway = daemon::start(config, Clock::scaled(BEGIN_MS, speed)).await?;
        let broker = gateway.mqtt.first().copied();
        let broker = broker.context("the gateway's broker doesn't listen")?;
        let story = Arc::new(Story::new(tempo));
        let phones = Arc::new(Phones {
            codes: Mutex::default(),
            recipients,
        });
        let (points, devices) = plan::start_devices(broker, tempo, &passwords, wiring.as_ref())?;
        let world = World::new(
            tempo,
            points,
            devices,
            Arc::clone(&story) as _,
            Arc::clone(&phones) as _,
        );
        let probes = wiring.as_ref().map(Wiring::probes).transpose()?;
        let world = Arc::new(world.with_probes(probes.unwrap_or_default()));
        for device in world.all_devices() {
            let up = tokio::time::timeout(Duration::from_secs(20), device.until_online()).await;
            up.with_context(|| format!("{} can't log in at the gateway", device.id()))?;
        }
        Ok(Self {
            postman: tokio::spawn(carry_post(Arc::clone(&cloud), site.clone(), phones)),
            store: store_file(state_dir),
            cloud_up: Arc::new(AtomicBool::new(true)),
            site,
            tempo,
            story,
            cloud,
            world,
            wiring,
            gateway,
        })
    }

    /// Takes the cloud away, or gives it back.
    pub(super) fn set_reachable(&self, reachable: bool) {
        self.cloud.faults().set_reachable(reachable);
        self.cloud_up.store(reachable, Ordering::Relaxed);
    }

    /// Events that no device has an acknowledgement for yet.
    pub(super) fn unanswered(&self) -> usize {
        let devices = self.world.all_devices();
        devices.iter().map(simulator::Device::waiting).sum()
    }

    /// Waits until every event is acknowledged and the cloud has everything; `most` at most.
    pub(super) async fn settle(&self, most: Duration) -> anyhow::Result<bool> {
        let begun = Instant::now();
        while begun.elapsed() < most {
            let quiet = self.unanswered() == 0 && self.nothing_waits().await?;
            if quiet && self.shown()?.iter().all(Shown::holds) {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(false)
    }

    /// What boards and sensors showed, beside what is stored of it; nothing without serial lines.
    fn shown(&self) -> anyhow::Result<Vec<Shown>> {
        match &self.wiring {
            Some(wiring) => wiring.shown(&Books::open(&self.store)?),
            None => Ok(Vec::new()),
        }
    }

    async fn nothing_waits(&self) -> anyhow::Result<bool> {
        let store = self.store.clone();
        let lanes = tokio::task::spawn_blocking(move || Books::open(&store)?.lanes()).await??;
        Ok(lanes.values().all(|lane| lane.waiting == 0))
    }

    /// Ends devices and gateway, in order, and draws together what each of them has on record.
    pub(super) async fn close(self) -> anyhow::Result<Facts> {
        let unanswered = self.unanswered();
        self.world.stop().await;
        let status = self.gateway.cloud_status.clone();
        self.gateway.shutdown().await;
        let line = status.map_or_else(Vec::new, |status| status.snapshot().line.traffic);
        let (cloud, cloud_lanes, demand) = cloud_side(&self.cloud, &self.site).await?;
        self.postman.abort();
        self.cloud.shutdown().await;
        let books = Books::open(&self.store)?;
        let shown = self.wiring.as_ref().map(|wiring| wiring.shown(&books));
        let mut events = books.events()?;
        if let Some(wiring) = &self.wiring {
            // Of devices that number nothing the gateway speaks; what it says is held against them.
            events.retain(|(device, ..)| wiring.numbers(device));
        }
        Ok(Facts {
            acknowledged: acknowledged(&self.world),
            unanswered,
            stored: events,
            shown: shown.transpose()?.unwrap_or_default(),
            ledgers: books.ledgers()?,
            gateway: books.parcels()?,
            cloud,
            world: self.world.parcels(),
            lanes: books.lanes()?,
            cloud_lanes,
            demand,
            wrong_doors: self.world.wrong_doors(),
            key_to_open: key_to_open(&self.world),
            line,
            line_kept: books.line_use()?,
        })
    }
}

/// From key to open over all banks.
pub(super) fn key_to_open(world: &World) -> Latency {
    let mut all = Latency::default();
    for point in world.points.values() {
        if let Point::Bank(bank) = point {
            all.merge(&bank.key_to_open());
        }
    }
    all
}

fn acknowledged(world: &World) -> BTreeSet<(String, u32, u64)> {
    let devices = world.all_devices();
    let records = devices.iter().flat_map(|device| {
        let id = device.id().to_string();
        let record = device.record().into_iter();
        record.map(move |event| (id.clone(), event.boot, event.seq))
    });
    records.collect()
}

type CloudSide = (
    BTreeMap<String, CloudParcel>,
    BTreeMap<String, (u64, u64)>,
    Vec<(String, i64)>,
);

/// What the cloud has: parcels, lanes, demand.
async fn cloud_side(cloud: &Cloud, site: &Ident) -> anyhow::Result<CloudSide> {
    let parcels = cloud.parcels(site).await?.into_iter().map(|parcel| {
        let known = CloudParcel {
            state: parcel.state.map_or("announced", ParcelState::word),
            bank: parcel.bank,
            compartment: parcel.compartment,
            desk: parcel.desk,
        };
        (parcel.parcel, known)
    });
    let lanes = cloud.lanes(site).await?.lanes.into_iter();
    let lanes = lanes.map(|(lane, view)| (lane.name().to_string(), (view.items, view.last)));
    let demand = cloud.demand(site).await?.into_iter().map(|bucket| {
        let scope = bucket
            .building
            .map_or("site".to_string(), |b| b.to_string());
        (scope, bucket.start)
    });
    Ok((parcels.collect(), lanes.collect(), demand.collect()))
}

/// A password for every device that logs in; the file keeps only slow hashes.
async fn make_passwords(config: &Config) -> anyhow::Result<BTreeMap<Ident, String>> {
    let (file, devices) = (config.passwords(), config.mqtt_device_ids());
    let make = move || {
        let mut passwords = BTreeMap::new();
        for device in devices {
            let password = generate_password()?;
            set_password(&file, &device, &password)?;
            passwords.insert(device, password);
        }
        anyhow::Ok(passwords)
    };
    tokio::task::spawn_blocking(make).await?
}

async fn carry_post(cloud: Arc<Cloud>, site: Ident, phones: Arc<Phones>) {
    loop {
        match cloud.codes(&site).await {
            Ok(codes) => *lock(&phones.codes) = codes,
            Err(error) => tracing::warn!(%error, "the notices can't be read"),
        }
        tokio::time::sleep(POST).await;
    }
}
