//! The estate of these tests: the real daemon between a real cloud behind a proxy and devices that
//! publish all the time, and the people who bring and fetch parcels whatever the network does.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use cloud_protocol::badge_digest;
use cloud_protocol::downlink::{Downlink, ExpectedParcel, Proof, Size, Zone};
use firmware_protocols::event::{Direction, Outcome, Secret};
use firmware_protocols::{Ident, Kind as EventKind};
use reference_cloud::{Cloud, Config};
use simulator::device::{DeviceClock, Spec};
use simulator::front::Answer;
use simulator::load::{Figures, Running};
use simulator::{Bank, Load, Login, Promise, Tempo};
use tokio::task::block_in_place;

use crate::common::proxy::{Fault, Proxy};
use crate::common::{Gateway, Setup, ident, text};
use crate::stores::{Kept, Kind, read_only};

pub const BADGE: &str = "BADGE-OF-SF-22";
const NEXT_CENTURY_MS: i64 = 4_000_000_000_000;
/// How long anything may take: machines are shared, and a request that isn't answered takes 30 s to fail.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How long a person takes between an open door and a shut one, at least.
const A_MOMENT: Duration = Duration::from_millis(100);
/// After this long without a receipt devices send again. Real ones wait 30 s.
const SENDS_AGAIN: Duration = Duration::from_secs(3);
/// Events of the doors, per second.
const RATE: f64 = 40.0;

/// What is special about an estate.
pub struct Plan {
    /// The cloud's URL, from the address of the proxy before it.
    pub url: Box<dyn Fn(SocketAddr) -> String + Send>,
    /// Where the proxy leads to instead of the cloud itself, from the cloud's address.
    pub behind: Box<dyn Fn(SocketAddr) -> SocketAddr + Send>,
    /// Variables for the daemon.
    pub env: Vec<(String, OsString)>,
    /// Somebody else's broker; a proxy stands before it for the gateway.
    pub broker: Option<SocketAddr>,
    /// The bank has no clock.
    pub clockless: bool,
    /// Lines of the configuration.
    pub more: String,
    /// What the cloud keeps things in.
    pub store: Kind,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            url: Box::new(|address| format!("http://{address}")),
            behind: Box::new(|cloud| cloud),
            env: Vec::new(),
            broker: None,
            clockless: false,
            more: String::new(),
            store: Kind::chosen(),
        }
    }
}

pub struct Estate {
    pub setup: Setup,
    pub cloud: Cloud,
    pub kept: Kept,
    pub to_cloud: Proxy,
    /// Between the gateway and somebody else's broker.
    pub to_broker: Option<Proxy>,
    /// Between the devices and the broker, whosesoever it is.
    pub from_devices: Proxy,
    pub bank: Bank,
    gateway: Option<Gateway>,
    doors: Mutex<Option<Running>>,
    told: Mutex<Told>,
    /// One person at a time stands at the bank.
    front: tokio::sync::Mutex<()>,
}

/// What the cloud has been made to say, and what must come of it.
#[derive(Default, Clone)]
pub struct Told {
    next: u32,
    /// Every parcel, and the word for the state in which it must end.
    pub ends: BTreeMap<String, &'static str>,
    /// Announced for a hand-over that hasn't begun.
    pub to_hand_over: Vec<String>,
    pub reissued: BTreeSet<String>,
    pub cancelled: BTreeSet<String>,
    pub handed_over: BTreeSet<String>,
    pub codes: BTreeSet<String>,
}

/// Beginning and end.
impl Estate {
    pub async fn begin(plan: Plan) -> Self {
        let mut setup = Setup::new();
        let kept = block_in_place(|| plan.store.make(setup.dir.path()));
        // Nobody is there yet.
        let to_cloud = Proxy::start(SocketAddr::from(([127, 0, 0, 1], 1)));
        let url = (plan.url)(to_cloud.address());
        let cloud = reference_cloud::serve(cloud_at(&setup, &kept, &url));
        let cloud = cloud.await.unwrap();
        to_cloud.set_target((plan.behind)(cloud.address()));
        setup.cloud = Some(url);
        setup.env = plan.env;
        setup.more = plan.more;
        let to_broker = plan.broker.map(Proxy::start);
        setup.external = to_broker.as_ref().map(Proxy::address);
        let gateway = block_in_place(|| setup.start());
        let from_devices = Proxy::start(plan.broker.unwrap_or(setup.address()));
        let devices_at = from_devices.address();
        let promise = match plan.broker {
            Some(_) => Promise::Receipt,
            None => Promise::Puback,
        };
        let mut spec = Spec::new(login("bank-a"), "bank");
        spec.promise = promise;
        if plan.clockless {
            spec.clock = DeviceClock::None;
        }
        let estate = Self {
            bank: Bank::start(spec, 12, true, devices_at, Tempo::real()),
            doors: Mutex::new(Some(doors(&setup, devices_at, promise))),
            setup,
            cloud,
            kept,
            to_cloud,
            to_broker,
            from_devices,
            gateway: Some(gateway),
            told: Mutex::default(),
            front: tokio::sync::Mutex::default(),
        };
        estate.bank.device().until_online().await;
        let courier = Downlink::Courier {
            courier: "sf-22".to_string(),
            proof: Proof::Badge(badge_digest(BADGE)),
            valid_until: NEXT_CENTURY_MS,
        };
        estate.push(&courier).await;
        estate
    }

    pub fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap()
    }

    /// SIGTERM and a start where it was; how long the stop took.
    pub fn restart(&mut self) -> Duration {
        let started = Instant::now();
        let gateway = self.gateway.take().unwrap();
        block_in_place(|| gateway.stop());
        let took = started.elapsed();
        self.gateway = Some(block_in_place(|| self.setup.start()));
        took
    }

    /// The gateway is stopped, something is done to its files, and it starts where it was.
    pub fn while_stopped(&mut self, what: impl FnOnce(&Setup)) {
        let gateway = self.gateway.take().unwrap();
        block_in_place(|| {
            gateway.stop();
            what(&self.setup);
        });
        self.gateway = Some(block_in_place(|| self.setup.start()));
    }

    /// The cloud is gone at once, with every connection; something is done to its store; another one
    /// takes its place, which is told whether the store is a restored one.
    pub async fn another_cloud(&mut self, restored: bool, what: impl FnOnce(&Kept)) {
        self.cloud.faults().set_reachable(false);
        self.cloud.shutdown().await;
        what(&self.kept);
        let url = self.setup.cloud.clone().unwrap();
        let cloud = reference_cloud::serve(Config {
            restored,
            ..cloud_at(&self.setup, &self.kept, &url)
        });
        self.cloud = cloud.await.unwrap();
        self.to_cloud.set_target(self.cloud.address());
    }

    pub fn memory_kib(&self) -> u64 {
        self.gateway.as_ref().unwrap().memory_kib()
    }

    /// The doors publish nothing new, and have everything acknowledged.
    pub async fn doors_are_done(&self) -> Figures {
        let doors = self.doors.lock().unwrap().take().unwrap();
        doors.stop();
        tokio::select! {
            figures = doors.finish() => figures.unwrap(),
            () = self.devices_send_again() => unreachable!("it never ends"),
        }
    }

    /// Events of the doors that were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        let doors = self.doors.lock().unwrap();
        doors.as_ref().map_or(0, Running::acknowledged)
    }

    pub async fn end(mut self) {
        self.bank.device().stop().await;
        let gateway = self.gateway.take().unwrap();
        block_in_place(|| gateway.stop());
        self.cloud.shutdown().await;
    }
}

fn login(device: &str) -> Login {
    Login {
        device: ident(device),
        password: None,
    }
}

/// People who come home, and every third time a wish of one of them.
fn doors(setup: &Setup, broker: SocketAddr, promise: Promise) -> Running {
    let logins = setup.devices.iter().take(4).map(|device| login(device));
    let mut load = Load::new(broker, logins.collect());
    load.promise = promise;
    load.rate = Some(RATE);
    load.window = 16;
    load.record = Some(setup.dir.path().join("record"));
    load.drain = PATIENCE;
    load.event = |device, seq| match seq % 3 {
        0 => EventKind::Intent {
            item: "cabbage".to_string(),
            quantity: 2,
            household: Some(Secret::new(format!("household-{}", seq % 40))),
        },
        _ => EventKind::Access {
            door: device.clone(),
            outcome: Outcome::Granted,
            direction: Some(Direction::In),
            method: None,
            credential: Some(Secret::new(format!("card-{}", seq % 40))),
        },
    };
    load.start().unwrap()
}

/// What a failure leaves behind is kept: state, log, the cloud's store.
impl Drop for Estate {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.setup.dir.disable_cleanup(true);
            eprintln!("kept: {}", self.setup.dir.path().display());
        }
    }
}

/// The cloud.
impl Estate {
    pub async fn push(&self, what: &Downlink) {
        self.cloud.push(&site(), what).await.unwrap();
    }

    /// The cloud announces four parcels: two to be handed over, one that gets another code, one that
    /// is cancelled. Six items of the downlink.
    pub async fn announce_four(&self) {
        let ids: Vec<String> = {
            let mut told = self.told();
            let first = told.next;
            told.next += 4;
            (first..first + 4).map(|n| format!("p-{n}")).collect()
        };
        for id in &ids {
            let parcel = parcel(id);
            self.push(&Downlink::ParcelExpected(parcel)).await;
        }
        let [one, other, coded, cancelled] = ids.try_into().unwrap();
        let parcel = coded.clone();
        self.push(&Downlink::CodeReissue { parcel }).await;
        let parcel = cancelled.clone();
        self.push(&Downlink::ParcelCancelled { parcel }).await;
        let mut told = self.told();
        for parcel in [&one, &other, &coded] {
            told.ends.insert(parcel.clone(), "expected");
        }
        told.ends.insert(cancelled.clone(), "cancelled");
        told.to_hand_over.extend([one, other]);
        told.reissued.insert(coded);
        told.cancelled.insert(cancelled);
    }

    /// The code that a recipient has been told, if the cloud has it.
    pub async fn code(&self, parcel: &str) -> Option<String> {
        let codes = self.cloud.codes(&site()).await.unwrap();
        let code = codes.get(parcel)?.reveal().to_string();
        self.told().codes.insert(code.clone());
        Some(code)
    }

    /// Waits until every recipient of a parcel to be handed over has the code.
    pub async fn all_have_their_codes(&self) {
        let waiting = self.told().to_hand_over.clone();
        for parcel in waiting {
            until("the code", async || {
                self.code(&parcel).await.map(|_| ()).ok_or(parcel.clone())
            })
            .await;
        }
    }
}

/// The people at the bank. They don't give up: an answer may be lost with the connection.
impl Estate {
    /// A parcel whose recipient has the code is brought, and fetched again. False if there is none.
    pub async fn hand_over_one(&self) -> bool {
        let waiting = self.told().to_hand_over.clone();
        for parcel in waiting {
            if let Some(code) = self.code(&parcel).await {
                self.told().to_hand_over.retain(|other| *other != parcel);
                self.hand_over(&parcel, &code).await;
                return true;
            }
        }
        false
    }

    async fn hand_over(&self, parcel: &str, code: &str) {
        self.put_in(parcel).await;
        self.take_out(parcel, code).await;
        let mut told = self.told();
        told.ends.insert(parcel.to_string(), "collected");
        told.handed_over.insert(parcel.to_string());
    }

    /// The courier brings it.
    pub async fn put_in(&self, parcel: &str) {
        let _alone = self.front.lock().await;
        until("the parcel to be put in", async || {
            let number = self.scan(parcel).await?;
            tokio::time::sleep(A_MOMENT).await;
            if !self.bank.put(number, parcel) {
                return Err(format!("{number} shut again"));
            }
            self.bank.close(number);
            Ok(())
        })
        .await;
        self.gateway_has(parcel, "deposited").await;
    }

    /// Its recipient fetches it.
    pub async fn take_out(&self, parcel: &str, code: &str) {
        let _alone = self.front.lock().await;
        until("the parcel to be taken out", async || {
            let number = self.type_code(parcel, code).await?;
            tokio::time::sleep(A_MOMENT).await;
            let taken = self.bank.take(number, |inside| inside == parcel);
            self.bank.close(number);
            taken.map(|_| ()).ok_or(format!("{number}: not inside"))
        })
        .await;
        self.gateway_has(parcel, "collected").await;
    }

    async fn scan(&self, parcel: &str) -> Result<u16, String> {
        let turn = self.bank.turn().await;
        let badge = turn.scan_badge(BADGE).await;
        let answer = match badge {
            Answer::Yes(_) => turn.scan_waybill(parcel).await,
            other => other,
        };
        // A door that was opened late for somebody before stands open too: people read the number.
        let open = |number: u16| self.bank.compartments()[usize::from(number) - 1].open;
        let meant = self.meant_for(parcel).filter(|number| open(*number));
        meant.ok_or_else(|| {
            self.shut_all();
            format!("{answer:?}")
        })
    }

    /// The compartment that was last opened to put a parcel in.
    fn meant_for(&self, parcel: &str) -> Option<u16> {
        let query = "SELECT compartment FROM commands WHERE parcel = ?1 AND purpose = 'deposit' \
                     ORDER BY at_ms DESC LIMIT 1";
        let store = self.gateways_store();
        store.query_row(query, [parcel], |row| row.get(0)).ok()
    }

    async fn type_code(&self, parcel: &str, code: &str) -> Result<u16, String> {
        match self.bank.type_code(code).await {
            Answer::Opened(number) => Ok(number),
            other => {
                let mine = |inside: &[String]| inside.iter().any(|id| id == parcel);
                self.open_door(mine).ok_or(format!("{other:?}"))
            }
        }
    }

    /// A door that stands open before somebody who heard no answer.
    fn open_door(&self, wanted: impl Fn(&[String]) -> bool) -> Option<u16> {
        let compartments = self.bank.compartments();
        let open = compartments
            .iter()
            .position(|c| c.open && wanted(&c.inside))?;
        u16::try_from(open + 1).ok()
    }

    /// Doors that a repeated gesture left open are shut.
    pub fn shut_all(&self) {
        (1..=12).for_each(|number| self.bank.close(number));
    }

    async fn gateway_has(&self, parcel: &str, stage: &str) {
        self.until(&format!("{parcel} to be {stage}"), async || {
            let store = self.gateways_store();
            let found: String = store
                .query_row(
                    "SELECT stage FROM parcels WHERE parcel = ?1",
                    [parcel],
                    |row| row.get(0),
                )
                .map_err(|e| e.to_string())?;
            (found == stage).then_some(()).ok_or(found)
        })
        .await;
    }
}

/// Waiting.
impl Estate {
    /// Looks until it is as it should be, while devices send again what no receipt covers.
    pub async fn until<T>(&self, what: &str, look: impl AsyncFnMut() -> Result<T, String>) -> T {
        tokio::select! {
            value = until(what, look) => value,
            () = self.devices_send_again() => unreachable!("it never ends"),
        }
    }

    /// What a broker of somebody else loses, a device sends again after a while without a receipt.
    /// The simulated ones do so when they connect, so they are made to.
    async fn devices_send_again(&self) {
        while self.to_broker.is_some() {
            tokio::time::sleep(SENDS_AGAIN).await;
            self.from_devices.reset_all();
        }
        std::future::pending().await
    }
}

/// The technician.
impl Estate {
    /// What a command of the CLI prints, on one line.
    pub fn linli(&self, args: &[&str]) -> String {
        let out = block_in_place(|| self.setup.cli(args));
        let said = format!("{}{}", text(&out.stdout), text(&out.stderr));
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Waits until `linli sync` and `linli status` say all this.
    pub async fn says(&self, words: &[&str]) {
        for command in ["sync", "status"] {
            until(&format!("linli {command} to say {words:?}"), async || {
                let said = self.linli(&[command]);
                words
                    .iter()
                    .all(|w| said.contains(w))
                    .then_some(())
                    .ok_or(said)
            })
            .await;
        }
    }

    pub fn gateways_store(&self) -> rusqlite::Connection {
        read_only(&self.setup.store())
    }

    pub fn fault(&self, fault: Fault) {
        self.to_cloud.set(fault);
    }
}

/// The cloud that gateways reach at this URL.
pub fn cloud_at(setup: &Setup, kept: &Kept, url: &str) -> Config {
    Config {
        store: kept.keep(),
        public_url: Some(url.to_string()),
        sealing_key_file: Some(setup.dir.path().join("sealing-keys")),
        ..Config::in_memory()
    }
}

fn parcel(id: &str) -> ExpectedParcel {
    ExpectedParcel {
        parcel: id.to_string(),
        recipient: format!("recipient-of-{id}"),
        size: Size::S,
        zone: Zone::Ambient,
        point: ident("bank-a"),
        deadline: NEXT_CENTURY_MS,
        consent: true,
        items: None,
        low: false,
        return_of: None,
    }
}

pub fn site() -> Ident {
    ident("test-site")
}

/// Looks until it is as it should be, or fails with what was seen last.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match look().await {
            Ok(value) => return value,
            Err(seen) => assert!(Instant::now() < end, "in vain: {what}; last seen: {seen}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Runs a story on a runtime of its own.
pub fn run<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(story)
}

/// A story and its name.
pub type Story = (&'static str, Box<dyn FnOnce() + Send>);

/// A story for [`side_by_side`].
pub fn story(name: &'static str, tell: impl FnOnce() + Send + 'static) -> Story {
    (name, Box::new(tell))
}

/// Runs stories side by side, each on a thread of its own, and fails if one did; most of their time
/// is waiting. `LINLI_FAULT=name` runs just one.
pub fn side_by_side(stories: impl IntoIterator<Item = Story>) {
    let only = std::env::var("LINLI_FAULT").ok();
    let stories = stories.into_iter();
    let wanted = stories.filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name));
    let threads = wanted.map(|(name, story)| {
        let thread = std::thread::Builder::new().name(name.to_string());
        (name, thread.spawn(story).unwrap())
    });
    let threads: Vec<_> = threads.collect();
    let failed: Vec<_> = threads
        .into_iter()
        .filter_map(|(name, thread)| thread.join().err().map(|_| name))
        .collect();
    assert!(
        failed.is_empty(),
        "these failed, see above: {failed:?}; one alone: LINLI_FAULT=NAME cargo test --test network_faults -- --nocapture"
    );
}
