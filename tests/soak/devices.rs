//! The devices that aren't points: some forty sensors and doors that say 200 events a second in all
//! and keep what isn't acknowledged; one that now and then floods; one that says nonsense now and then.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use firmware_protocols::event::{Direction, Method, Outcome, Secret};
use firmware_protocols::{Form, Ident, Kind, Value};
use simulator::device::{Deaf, Spec};
use simulator::load::{Figures, Running, Until};
use simulator::{Device, Load, Login, Tempo, Version, reading};
use tokio::time::sleep;

use crate::common::ident;
use crate::site::{DOORS, FLOODER, SENSORS, SLOPPY, Site, door, sensor};
use crate::town::Town;

/// Events a second, over all sensors and doors.
pub const RATE: f64 = 200.0;
/// How long what is due may be waited for at the end.
const DRAIN: Duration = Duration::from_secs(90);

/// The sensors and doors at work.
pub struct Field {
    sensors: Running,
    doors: Running,
    pub record: PathBuf,
}

/// What came of all that the devices sent.
#[derive(Debug, Default)]
pub struct Sent {
    pub published: u64,
    /// Of these, in floods.
    pub floods: u64,
    pub acknowledged: u64,
    pub refused: u64,
    pub resent: u64,
    pub lost: u64,
}

impl Sent {
    pub fn add(&mut self, figures: &Figures) {
        self.published += figures.published;
        self.acknowledged += figures.acknowledged;
        self.refused += figures.refused;
        self.resent += figures.resent;
        self.lost += figures.lost;
    }
}

impl Sent {
    pub fn merge(&mut self, other: &Self) {
        self.published += other.published;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.resent += other.resent;
        self.lost += other.lost;
    }
}

impl Field {
    /// Sensors speak MQTT 5 and CBOR, doors MQTT 3.1.1 and JSON.
    pub fn start(site: &Site, dir: &Path) -> Self {
        let record = dir.join("acknowledged");
        let load = |ids: Vec<String>| {
            let mut load = Load::new(site.broker(), logins(&ids));
            load.rate = Some(RATE * ids.len() as f64 / (SENSORS + DOORS) as f64);
            load.window = 16;
            load.until = Until::Stopped;
            load.record = Some(record.clone());
            load.drain = DRAIN;
            load
        };
        let mut sensors = load((1..=SENSORS).map(sensor).collect());
        sensors.event = sensors_event;
        let mut doors = load((1..=DOORS).map(door).collect());
        doors.version = Version::V311;
        doors.form = Form::Json;
        doors.event = doors_event;
        Self {
            sensors: sensors.start().unwrap(),
            doors: doors.start().unwrap(),
            record,
        }
    }

    pub fn acknowledged(&self) -> u64 {
        self.sensors.acknowledged() + self.doors.acknowledged()
    }

    /// Says nothing new, and waits for what is due.
    pub async fn finish(self) -> Sent {
        self.sensors.stop();
        self.doors.stop();
        let mut sent = Sent::default();
        sent.add(&self.sensors.finish().await.unwrap());
        sent.add(&self.doors.finish().await.unwrap());
        sent
    }
}

fn logins(ids: &[String]) -> Vec<Login> {
    let login = |id: &String| Login {
        device: ident(id),
        password: None,
    };
    ids.iter().map(login).collect()
}

fn sensors_event(device: &Ident, seq: u64) -> Kind {
    match seq % 20 {
        0 => alarm("power"),
        7 => reading::contact(device, Form::Cbor, seq % 40 == 7),
        n => reading::climate(device, Form::Cbor, 4.0 + n as f64 / 10.0, 60.0),
    }
}

fn doors_event(device: &Ident, seq: u64) -> Kind {
    if seq.is_multiple_of(20) {
        return alarm("door-left-open");
    }
    Kind::Access {
        door: device.clone(),
        outcome: Outcome::Granted,
        direction: Some(Direction::In),
        method: Some(Method::Card),
        credential: Some(Secret::new(format!("card-{}", seq % 300))),
    }
}

fn alarm(alarm: &str) -> Kind {
    Kind::Alarm {
        alarm: alarm.to_string(),
        text: None,
    }
}

/// A device that floods: each time with a boot of its own, as fast as it is let.
pub struct Flooder {
    boot: AtomicU32,
    pub record: PathBuf,
    pub sent: std::sync::Mutex<Sent>,
}

impl Flooder {
    pub fn new(dir: &Path) -> Self {
        Self {
            boot: AtomicU32::new(0),
            record: dir.join("acknowledged-in-floods"),
            sent: std::sync::Mutex::default(),
        }
    }

    /// Sends as fast as it is let for so long; returns when all is acknowledged.
    pub async fn flood(&self, site: &Site, lasts: Duration) {
        let mut load = Load::new(site.broker(), logins(&[FLOODER.to_string()]));
        load.boot = self.boot.fetch_add(1, Ordering::SeqCst) + 1;
        load.window = 256;
        load.until = Until::Elapsed(lasts);
        load.event = sensors_event;
        load.record = Some(self.record.clone());
        load.drain = DRAIN;
        let figures = load.run().await.unwrap();
        self.sent.lock().unwrap().add(&figures);
    }
}

/// A device of which every fourth event is nonsense.
pub struct Sloppy {
    pub device: Device,
    pub nonsense: BTreeSet<(u32, u64)>,
    pub sense: BTreeSet<(u32, u64)>,
}

impl Sloppy {
    pub fn start(site: &Site) -> Self {
        let login = logins(&[SLOPPY.to_string()]).remove(0);
        let spec = Spec {
            boot: 7,
            ..Spec::new(login, "soak")
        };
        let device = Device::start(spec, site.broker(), Tempo::real(), Arc::new(Deaf));
        Self {
            device,
            nonsense: BTreeSet::new(),
            // Its `hello`.
            sense: BTreeSet::from([(7, 1)]),
        }
    }

    /// Speaks until the town is closing.
    pub async fn speak(mut self, town: Arc<Town>) -> Self {
        for n in 1_u64.. {
            if town.is_closing() {
                break;
            }
            let (kind, places) = match n % 4 {
                0 => {
                    let senml = Value::Text("nonsense".to_string());
                    (Kind::Reading { senml }, &mut self.nonsense)
                }
                _ => (alarm("tamper"), &mut self.sense),
            };
            if let Ok(place) = self.device.report(kind) {
                places.insert(place);
            }
            sleep(Duration::from_millis(700)).await;
        }
        self
    }
}
