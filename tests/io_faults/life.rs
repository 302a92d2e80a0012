//! A life of the box, in which one point goes wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use cloud_protocol::uplink::ParcelState;
use firmware_protocols::event::{Direction, Outcome, Secret};
use firmware_protocols::value::Key;
use firmware_protocols::{Kind, Value};
use reference_cloud::{Cloud, Config};
use simulator::device::{Deaf, Spec};
use simulator::{Device, Login, Tempo};

use crate::common::{PATIENCE, Setup, ident, text};
use crate::gateway::Gateway;
use crate::locker::Locker;
use crate::points::Point;

/// How long what fails for good lasts, once it was felt.
const LASTS: Duration = Duration::from_millis(300);
/// How long it may take until the status is clean after the cause is gone: 2 s on a quiet machine.
const CLEAN_WITHIN: Duration = Duration::from_secs(20);

/// What a life has come to.
pub struct Lived {
    /// Calls of the point's kind.
    pub calls: u64,
    /// Of these, failed.
    pub hits: u64,
    /// Starts that were refused.
    pub refused: u64,
    /// It was in the status while it lasted.
    pub seen: bool,
    /// From the end of the cause to a clean status.
    pub clean_after: Option<Duration>,
    /// Events acknowledged to the devices' own record.
    pub acknowledged: u64,
    /// Doors told to open.
    pub opened: u64,
}

const STARTING: u8 = 0;
const RUNNING: u8 = 1;
const STOPPING: u8 = 2;

/// A life under way.
pub struct Life {
    point: Point,
    gateway: Gateway,
    cloud: Arc<Cloud>,
    phase: AtomicU8,
    over: AtomicBool,
}

impl Life {
    /// Lives it.
    pub async fn of(point: Point) -> Lived {
        let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
        let mut setup = Setup::new();
        setup.devices = vec!["door-1".to_owned(), "door-2".to_owned()];
        setup.cloud = Some(cloud.url());
        setup.more = "[retention]\naccess_days = 0\n[rules]\ncommand_retry_s = 600\n".to_owned();
        old_day_key(&setup);
        let gateway = Gateway::new(setup);
        match point.errno() {
            None => gateway.faults.count(point.kind()),
            Some(errno) => {
                let until = if point.for_good {
                    u64::MAX
                } else {
                    point.number + 1
                };
                gateway.faults.set(point.kind(), point.number, until, errno);
            }
        }
        let life = Self {
            point,
            gateway,
            cloud: Arc::new(cloud),
            phase: AtomicU8::new(STARTING),
            over: AtomicBool::new(false),
        };
        let (lived, (seen, clean_after)) = tokio::join!(life.live(), life.watch());
        Lived {
            seen,
            clean_after,
            ..lived
        }
    }

    async fn live(&self) -> Lived {
        let mut refused = self.start().await;
        let address = self.gateway.address();
        let door = |id: &str| {
            let login = Login {
                device: ident(id),
                password: None,
            };
            Device::start(
                Spec::new(login, "door"),
                address,
                Tempo::real(),
                Arc::new(Deaf),
            )
        };
        let (sensor, reader) = (door("door-1"), door("door-2"));
        let site = ident("test-site");
        let locker = Locker::start(&self.cloud, &site, address).await;
        let never = AtomicBool::new(false);
        let chatter = self.chatter(&sensor, &reader);
        let evening = async {
            locker.announce("p-1").await;
            assert!(locker.bring("p-1", &never).await);
            self.until_healed().await;
            self.phase.store(STARTING, Ordering::SeqCst);
            self.gateway.kill();
            refused += self.start().await;
            assert!(locker.collect("p-1", &never).await);
            self.until("the old day's key to be gone", || {
                let state = self.gateway.setup.lock().unwrap().state();
                !state.join("keys/day-1.key").exists()
            })
            .await;
            locker
                .cloud_knows("p-1", ParcelState::Collected, &never)
                .await;
            self.over.store(true, Ordering::SeqCst);
        };
        tokio::join!(chatter, evening);
        let devices = [&sensor, &reader, &locker.device];
        self.until("all events to be taken", || {
            devices.iter().all(|device| device.waiting() == 0)
        })
        .await;
        self.until_healed().await;
        assert_eq!(
            self.gateway.ended(),
            None,
            "it ended: {}",
            self.gateway.log()
        );
        self.phase.store(STOPPING, Ordering::SeqCst);
        for device in devices {
            device.stop().await;
        }
        let code = self.gateway.stop().await;
        assert_eq!(code, 0, "{}", self.gateway.log());
        let (calls, hits) = (self.gateway.faults.calls(), self.gateway.faults.hits());
        self.gateway.faults.heal();
        self.gateway.start().await.expect("the start after it all");
        let acknowledged = self.check(&sensor, &reader, &locker).await;
        assert_eq!(self.gateway.stop().await, 0);
        Lived {
            calls,
            hits,
            refused,
            seen: false,
            clean_after: None,
            acknowledged,
            opened: locker.opened(),
        }
    }

    /// Starts the daemon; takes the cause away if it refuses. How often it refused.
    async fn start(&self) -> u64 {
        let mut refused = 0;
        while let Err(said) = self.gateway.start().await {
            // A call that failed once doesn't fail again.
            assert!(refused < 3, "refused again: {said}");
            self.gateway.faults.heal();
            refused += 1;
        }
        self.phase.store(RUNNING, Ordering::SeqCst);
        refused
    }

    /// Sensors and cards, as long as the evening lasts.
    async fn chatter(&self, sensor: &Device, reader: &Device) {
        let mut n = 0;
        while !self.over.load(Ordering::SeqCst) {
            n += 1;
            // A full outbox says that nothing is taken for minutes: the evening fails then.
            let _ = sensor.report(reading(n));
            let _ = reader.report(card(n));
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    }

    /// Follows what fails for good: seen in the status, taken away, clean again.
    async fn watch(&self) -> (bool, Option<Duration>) {
        while self.gateway.faults.hits() == 0 {
            if self.phase.load(Ordering::SeqCst) == STOPPING {
                return (false, None);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut seen = false;
        if self.point.for_good && self.phase.load(Ordering::SeqCst) == RUNNING {
            seen = self.is_seen().await;
            tokio::time::sleep(LASTS).await;
        }
        while self.phase.load(Ordering::SeqCst) == STARTING {
            tokio::time::sleep(Duration::from_millis(5)).await;
            if let Some(status) = self.gateway.status() {
                seen |= !Gateway::disk_troubles(&status).is_empty();
            }
        }
        self.gateway.faults.heal();
        let healed = Instant::now();
        loop {
            if self.phase.load(Ordering::SeqCst) == STOPPING {
                return (seen, None);
            }
            let status = self.gateway.status();
            let troubles = status.as_ref().map(Gateway::disk_troubles);
            if troubles.as_ref().is_some_and(Vec::is_empty) {
                return (seen, Some(healed.elapsed()));
            }
            assert!(
                healed.elapsed() < CLEAN_WITHIN,
                "{}: still in trouble: {troubles:?}\n{}",
                self.point,
                self.gateway.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the status tells of it; it must answer.
    async fn is_seen(&self) -> bool {
        let end = Instant::now()
            + if self.point.is_felt() {
                PATIENCE
            } else {
                LASTS
            };
        while self.phase.load(Ordering::SeqCst) == RUNNING {
            if let Some(status) = self.gateway.status() {
                if !Gateway::disk_troubles(&status).is_empty() {
                    return true;
                }
            } else {
                let running = self.phase.load(Ordering::SeqCst) == RUNNING;
                assert!(!running, "{}: the status doesn't answer", self.point);
            }
            if Instant::now() > end {
                assert!(
                    !self.point.is_felt(),
                    "{}: the status says nothing",
                    self.point
                );
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }

    /// What fails for good has been followed to its end.
    async fn until_healed(&self) {
        if !self.point.for_good {
            return;
        }
        self.until("the cause to be taken away", || {
            let faults = &self.gateway.faults;
            faults.hits() == 0 || !faults.failing()
        })
        .await;
    }

    async fn until(&self, what: &str, mut is: impl FnMut() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is() {
            if Instant::now() > end {
                panic!("{}: in vain: {what}\n{}", self.point, self.gateway.log());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// All that must hold at the end. Returns how many events were acknowledged.
    async fn check(&self, sensor: &Device, reader: &Device, locker: &Locker) -> u64 {
        let log = self.gateway.log();
        assert!(!log.contains("panicked"), "{log}");
        let complaints = log.lines().filter(|line| line.contains(" ERROR ")).count();
        assert!(complaints <= 30, "{complaints} complaints: {log}");
        let status = self.gateway.status().expect("an answer");
        assert_eq!(Gateway::disk_troubles(&status), [""; 0], "{status}");
        let setup = self.gateway.setup.lock().unwrap();
        let stored = setup.stored();
        assert!(
            stored.values().all(|times| *times == 1),
            "stored twice: {stored:?}"
        );
        let mut acknowledged = 0;
        for device in [sensor, reader, &locker.device] {
            for event in device.record() {
                acknowledged += 1;
                let key = (device.id().to_string(), event.boot, event.seq);
                // Access events may have been swept: their ledger below has to do.
                let kept = event.kind != "access";
                assert!(
                    !kept || stored.contains_key(&key),
                    "acknowledged and gone: {key:?}"
                );
            }
        }
        let ledgers = setup.json(&["devices"]);
        for device in [sensor, reader, &locker.device] {
            let id = device.id().to_string();
            let ledger = ledgers
                .as_array()
                .unwrap()
                .iter()
                .find(|d| d["device"] == id);
            let count = |name: &str| ledger.unwrap()[name].as_u64().unwrap();
            assert_eq!(
                count("received"),
                count("stored") + count("duplicate") + count("quarantined"),
                "{ledger:?}"
            );
            assert_eq!(count("stored"), device.record().len() as u64, "{ledger:?}");
        }
        let verified = setup.cli(&["audit", "verify"]);
        assert!(verified.status.success(), "{}", text(&verified.stderr));
        locker.opened_only_what_is_on_disk(&setup);
        acknowledged
    }
}

/// A day key that retention is to destroy.
pub fn old_day_key(setup: &Setup) {
    let keys = setup.state().join("keys");
    std::fs::create_dir_all(&keys).unwrap();
    std::fs::write(keys.join("day-1.key"), [7; 32]).unwrap();
}

pub fn reading(n: u64) -> Kind {
    let n = i64::try_from(n).unwrap();
    Kind::Reading {
        senml: Value::Array(vec![Value::Map(vec![
            (Key::Int(0), "water".into()),
            (Key::Int(2), n.into()),
        ])]),
    }
}

pub fn card(n: u64) -> Kind {
    Kind::Access {
        door: ident("gate"),
        outcome: Outcome::Granted,
        direction: Some(Direction::In),
        method: None,
        credential: Some(Secret::new(format!("card-{}", n % 7))),
    }
}
