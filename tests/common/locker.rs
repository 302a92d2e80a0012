//! A locker bank whose people don't give up: a courier and a resident who scan, type and close doors
//! again until the parcel is where it belongs, whatever happens to the gateway meanwhile. It keeps count
//! of every door that was told to open.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cloud_protocol::badge_digest;
use cloud_protocol::downlink::{Downlink, ExpectedParcel, Proof, Size, Zone};
use cloud_protocol::uplink::ParcelState;
use firmware_protocols::event::{Door, Secret};
use firmware_protocols::{Ident, Kind, Order};
use reference_cloud::Cloud;
use simulator::device::{Model, Obeyed, Spec};
use simulator::{Device, Login, Tempo};

use crate::common::Setup;

const BADGE: &str = "BADGE-OF-SF-22";
const NEXT_CENTURY_MS: i64 = 4_000_000_000_000;
/// How long people look before they try again.
const LOOK: Duration = Duration::from_millis(1_500);

/// The mechanics: what was ordered, and what lies where.
#[derive(Default)]
struct Lock {
    opened: AtomicU64,
    last: Mutex<Option<u16>>,
    occupied: Mutex<BTreeSet<u16>>,
    shown: Mutex<String>,
}

impl Lock {
    fn door(&self, compartment: u16, door: Door) -> Kind {
        Kind::Compartment {
            compartment,
            door,
            occupied: Some(self.occupied.lock().unwrap().contains(&compartment)),
        }
    }
}

impl Model for Lock {
    fn obey(&self, order: &Order) -> Obeyed {
        match order {
            Order::Open { compartment } => {
                *self.last.lock().unwrap() = Some(*compartment);
                self.opened.fetch_add(1, Ordering::SeqCst);
                Obeyed {
                    then: vec![self.door(*compartment, Door::Open)],
                    ..Obeyed::done()
                }
            }
            Order::Show { text, .. } => {
                self.shown.lock().unwrap().clone_from(text);
                Obeyed::done()
            }
            _ => Obeyed::done(),
        }
    }
}

/// The bank `bank-a` with the people before it. One stands there at a time.
pub struct Locker {
    pub device: Device,
    lock: Arc<Lock>,
    cloud: Arc<Cloud>,
    site: Ident,
}

impl Locker {
    /// A bank at the gateway of `site`, whose courier the cloud makes known.
    pub async fn start(cloud: &Arc<Cloud>, site: &Ident, gateway: SocketAddr) -> Self {
        let courier = Downlink::Courier {
            courier: "sf-22".to_owned(),
            proof: Proof::Badge(badge_digest(BADGE)),
            valid_until: NEXT_CENTURY_MS,
        };
        cloud.push(site, &courier).await.unwrap();
        let lock = Arc::new(Lock::default());
        let login = Login {
            device: Ident::new("bank-a").unwrap(),
            password: None,
        };
        let model: Arc<dyn Model> = Arc::clone(&lock) as _;
        let spec = Spec::new(login, "locker");
        Self {
            device: Device::start(spec, gateway, Tempo::real(), model),
            lock,
            cloud: Arc::clone(cloud),
            site: site.clone(),
        }
    }

    /// How often a door was told to open.
    pub fn opened(&self) -> u64 {
        self.lock.opened.load(Ordering::SeqCst)
    }

    /// The cloud announces a small parcel.
    pub async fn announce(&self, parcel: &str) {
        let expected = ExpectedParcel {
            parcel: parcel.to_owned(),
            recipient: format!("recipient-of-{parcel}"),
            size: Size::S,
            zone: Zone::Ambient,
            point: Ident::new("bank-a").unwrap(),
            deadline: NEXT_CENTURY_MS,
            consent: true,
            items: None,
            low: false,
            return_of: None,
        };
        self.cloud.announce(&self.site, &expected).await.unwrap();
    }

    /// The courier brings it. False if that was `given_up` before it was done.
    pub async fn bring(&self, parcel: &str, given_up: &AtomicBool) -> bool {
        let code = self.until(given_up, async || self.code(parcel).await);
        if code.await.is_none() {
            return false;
        }
        while !given_up.load(Ordering::SeqCst) {
            let scan = |symbol: &str| Kind::Scan {
                symbol: Secret::new(symbol),
            };
            let gestures = [scan(BADGE), scan(parcel)];
            if let Some(compartment) = self.a_door_opens(gestures, given_up).await {
                self.lock.occupied.lock().unwrap().insert(compartment);
                self.close(compartment);
            }
            if self
                .says_or_is("Stored in", parcel, ParcelState::Deposited)
                .await
            {
                return true;
            }
        }
        false
    }

    /// The resident collects it. False if that was `given_up` before it was done.
    pub async fn collect(&self, parcel: &str, given_up: &AtomicBool) -> bool {
        let Some(code) = self.code(parcel).await else {
            return false;
        };
        while !given_up.load(Ordering::SeqCst) {
            let types = Kind::Keypad {
                code: Secret::new(&code),
                opened: None,
            };
            if let Some(compartment) = self.a_door_opens([types], given_up).await {
                self.lock.occupied.lock().unwrap().remove(&compartment);
                self.close(compartment);
            }
            if self
                .says_or_is("Collected", parcel, ParcelState::Collected)
                .await
            {
                return true;
            }
        }
        false
    }

    /// Waits until the cloud has a parcel in this state.
    pub async fn cloud_knows(
        &self,
        parcel: &str,
        state: ParcelState,
        given_up: &AtomicBool,
    ) -> bool {
        let known = async || (self.state(parcel).await == Some(state)).then_some(());
        self.until(given_up, known).await.is_some()
    }

    /// Each door was opened by a command that stands in the ledger of commands, and by each command
    /// once; no command came a second time. The gateway must run, with `command_retry_s` so long that
    /// it repeats nothing within a run.
    pub fn opened_only_what_is_on_disk(&self, setup: &Setup) {
        let ledger = setup.json(&["commands", "--limit", "9000"]);
        let known: BTreeSet<&str> = ledger
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["id"].as_str().unwrap())
            .collect();
        let results = setup.json(&["events", "--kind", "result", "--limit", "9000"]);
        let mut answered: BTreeMap<&str, u32> = BTreeMap::new();
        for result in results.as_array().unwrap() {
            let id = result["body"]["command"].as_str().unwrap();
            *answered.entry(id).or_default() += 1;
        }
        assert!(
            answered.values().all(|times| *times == 1),
            "a command came twice: {answered:?}"
        );
        let opened = answered.keys().filter(|id| known.contains(*id)).count();
        assert_eq!(
            opened as u64,
            self.opened(),
            "a door opened without a command on disk: {ledger}"
        );
    }

    fn close(&self, compartment: u16) {
        // A full outbox: the door is reported when the gateway is back and people try again.
        let _ = self
            .device
            .report(self.lock.door(compartment, Door::Closed));
    }

    async fn a_door_opens<const N: usize>(
        &self,
        gestures: [Kind; N],
        given_up: &AtomicBool,
    ) -> Option<u16> {
        let before = self.opened();
        self.lock.shown.lock().unwrap().clear();
        for gesture in gestures {
            let _ = self.device.report(gesture);
        }
        let opened = async || (self.opened() > before).then_some(());
        self.within(LOOK, given_up, opened).await?;
        self.lock.shown.lock().unwrap().clear();
        *self.lock.last.lock().unwrap()
    }

    async fn says_or_is(&self, words: &str, parcel: &str, state: ParcelState) -> bool {
        let never = AtomicBool::new(false);
        let done = async || {
            let says = self.lock.shown.lock().unwrap().contains(words);
            let is = says || self.state(parcel).await == Some(state);
            is.then_some(())
        };
        self.within(LOOK, &never, done).await.is_some()
    }

    async fn code(&self, parcel: &str) -> Option<String> {
        let codes = self.cloud.codes(&self.site).await.unwrap();
        codes.get(parcel).map(|code| code.reveal().to_owned())
    }

    async fn state(&self, parcel: &str) -> Option<ParcelState> {
        let view = self.cloud.parcel(&self.site, parcel).await.unwrap();
        view.and_then(|view| view.state)
    }

    async fn until<T>(
        &self,
        given_up: &AtomicBool,
        look: impl AsyncFnMut() -> Option<T>,
    ) -> Option<T> {
        self.within(Duration::from_secs(3_600), given_up, look)
            .await
    }

    async fn within<T>(
        &self,
        limit: Duration,
        given_up: &AtomicBool,
        mut look: impl AsyncFnMut() -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + limit;
        while Instant::now() < end && !given_up.load(Ordering::SeqCst) {
            if let Some(found) = look().await {
                return Some(found);
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        None
    }
}
