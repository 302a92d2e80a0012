//! The driver against a line of slaves that are written from the specification.

mod noise;
mod relays;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use firmware_protocols::command::Order;
use firmware_protocols::event::{self, Outcome};
use firmware_protocols::{Form, Ident, Value, senml};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::*;
use crate::config::serial::{OnPort, PortSection};
use crate::intake::Answer;
use crate::links::ToDevice;
use crate::links::serial::plan::{BankPlan, DevicePlan};
use crate::links::serial::status::{PortStatus, SlaveView};
use crate::pace::{Limits, Pace};

/// What the driver handed over.
#[derive(Default)]
struct Heard {
    events: Mutex<Vec<(Ident, Kind)>>,
    presence: Mutex<Vec<(Ident, bool)>>,
    sent: Mutex<Vec<String>>,
}

#[async_trait]
impl DeviceIntake for Heard {
    async fn events(&self, device: &Ident, payload: Bytes) -> Answer {
        for event in event::decode(&payload).unwrap() {
            let kind = event.unwrap().kind;
            self.events.lock().unwrap().push((device.clone(), kind));
        }
        Answer::Taken
    }
    async fn foreign(&self, _: &Ident, _: &str, _: Bytes) {}
    fn presence(&self, device: &Ident, online: bool) {
        self.presence.lock().unwrap().push((device.clone(), online));
    }
    fn command_sent(&self, command: String) {
        self.sent.lock().unwrap().push(command);
    }
}

impl Heard {
    /// The readings of a device, each as its records.
    fn readings(&self, device: &str) -> Vec<Vec<Value>> {
        let events = self.events.lock().unwrap();
        let of = events.iter().filter(|(id, _)| id.as_str() == device);
        of.filter_map(|(_, kind)| match kind {
            Kind::Reading { senml } => match senml::normalise(senml).unwrap() {
                Value::Array(records) => Some(records),
                other => panic!("{other:?}"),
            },
            _ => None,
        })
        .collect()
    }

    /// Every value that a device's register had, in order.
    fn values(&self, device: &str, name: &str) -> Vec<Value> {
        let readings = self.readings(device);
        let records = readings.iter().flatten();
        let named = records.filter(|record| record.get("n") == Some(&Value::from(name)));
        named
            .filter_map(|it| it.get("v").or(it.get("vb")).cloned())
            .collect()
    }
}

/// A driver that runs.
struct Bed {
    heard: Arc<Heard>,
    status: Arc<PortStatus>,
    send: mpsc::Sender<Outgoing>,
    stop: watch::Sender<bool>,
    driver: JoinHandle<LineError>,
    /// The requests that the slaves saw, without their checksums.
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Bed {
    /// A driver with these devices (id, and what stands in `serial`), and slaves that answer a
    /// request with the bytes that `answer` gives.
    async fn new(
        devices: &[(&str, &str)],
        answer: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static,
    ) -> Self {
        Self::with_banks(devices, Vec::new(), answer).await
    }

    /// The same, with banks.
    async fn with_banks(
        devices: &[(&str, &str)],
        banks: Vec<BankPlan>,
        answer: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static,
    ) -> Self {
        let (ours, theirs) = tokio::io::duplex(4_096);
        let bed = Self::over(ours, devices, banks).await;
        tokio::spawn(slaves(theirs, Arc::clone(&bed.requests), answer));
        bed
    }

    /// The same, with whatever stands at the far end.
    async fn over(ours: DuplexStream, devices: &[(&str, &str)], banks: Vec<BankPlan>) -> Self {
        let port: PortSection = toml::from_str(
            "id = 'climate'\npath = '/dev/null'\nprotocol = 'modbus'\nbaud = 115200\ntimeout_ms = 60\npoll_ms = 250\n",
        )
        .unwrap();
        let device = |&(id, on): &(&str, &str)| DevicePlan {
            id: Ident::new(id).unwrap(),
            boot: 1,
            on: toml::from_str::<OnPort>(&format!("port = 'climate'\n{on}")).unwrap(),
            at_point: false,
        };
        let plan = PortPlan {
            port: port.clone(),
            banks,
            devices: devices.iter().map(device).collect(),
        };
        let heard = Arc::new(Heard::default());
        let intake: Arc<dyn DeviceIntake> = heard.clone();
        let status = Arc::new(PortStatus::new(port.clone()));
        let (send, outbound) = mpsc::channel(8);
        let (stop, stopped) = watch::channel(false);
        let mut bus = Bus {
            port,
            status: Arc::clone(&status),
            intake: Arc::clone(&intake),
            pace: Arc::new(Pace::new(Limits::NONE, [])),
            outbound,
            stopped,
        };
        let mut driver = Modbus::new(&plan, &intake).unwrap();
        let line = Line::over(ours, Arc::clone(&status));
        let driver = tokio::spawn(async move {
            let ended = driver.run(line, &mut bus).await;
            driver.lost(&bus);
            ended
        });
        until("the driver", || {
            (status.view().slaves.len() == plan.devices.len() + plan.banks.len()).then_some(())
        })
        .await;
        Self {
            heard,
            status,
            send,
            stop,
            driver,
            requests: Arc::default(),
        }
    }

    fn slave(&self, device: &str) -> SlaveView {
        let slaves = self.status.view().slaves;
        slaves.into_iter().find(|it| it.device == device).unwrap()
    }

    fn requests(&self) -> Vec<Vec<u8>> {
        self.requests.lock().unwrap().clone()
    }

    /// The gateway has a command for a device.
    async fn command(&self, device: &str, id: &str, order: Order) {
        let command = Command {
            id: id.to_owned(),
            expires: 0,
            ttl_ms: 5_000,
            order,
        };
        let message = ToDevice {
            device: Ident::new(device).unwrap(),
            channel: Channel::Command,
            payload: command.encode(Form::Cbor).into(),
            expiry_ms: None,
            open: Some(id.to_owned()),
        };
        let came = Instant::now();
        self.send.send(Outgoing { message, came }).await.unwrap();
    }

    /// What became of it: the outcome, and the reason.
    async fn result(&self, id: &str) -> (Done, String) {
        until("the result", || {
            let events = self.heard.events.lock().unwrap();
            events.iter().find_map(|(_, kind)| match kind {
                Kind::Result {
                    command,
                    outcome,
                    reason,
                } if command == id => Some((*outcome, reason.clone().unwrap_or_default())),
                _ => None,
            })
        })
        .await
    }

    async fn stop(self) -> Arc<Heard> {
        self.stop.send(true).unwrap();
        assert!(matches!(self.driver.await.unwrap(), LineError::Stopped));
        self.heard
    }
}

/// The far end of the line: frames by their length, as all requests of ours have eight bytes.
async fn slaves(
    mut line: DuplexStream,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
    mut answer: impl FnMut(&[u8]) -> Vec<u8>,
) {
    let mut frame = [0; 8];
    while line.read_exact(&mut frame).await.is_ok() {
        assert_eq!(
            with_sum(&frame[..6]),
            frame,
            "a request with a good checksum"
        );
        requests.lock().unwrap().push(frame[..6].to_vec());
        let bytes = answer(&frame[..6]);
        let _ = line.write_all(&bytes).await;
    }
}

/// The specification's own way to the checksum (appendix B), bit by bit.
fn with_sum(frame: &[u8]) -> Vec<u8> {
    let mut register: u16 = 0xffff;
    for byte in frame {
        register ^= u16::from(*byte);
        for _ in 0..8 {
            let carry = register & 1 == 1;
            register >>= 1;
            if carry {
                register ^= 0xa001;
            }
        }
    }
    let mut out = frame.to_vec();
    out.extend([(register & 0xff) as u8, (register >> 8) as u8]);
    out
}

/// An answer of words to a request.
fn words(request: &[u8], words: &[u16]) -> Vec<u8> {
    let mut frame = vec![request[0], request[1], (words.len() * 2) as u8];
    frame.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    with_sum(&frame)
}

/// An answer of up to eight bits.
fn bits(request: &[u8], bits: u8) -> Vec<u8> {
    with_sum(&[request[0], request[1], 1, bits])
}

fn refusal(request: &[u8], code: u8) -> Vec<u8> {
    with_sum(&[request[0], request[1] | 0x80, code])
}

async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..1_000 {
        if let Some(seen) = look() {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain for {what}");
}

const CLIMATE: &str = "address = 1\nregisters = [\
    { name = 'temperature', function = 'input', address = 0, type = 'i16', scale = 0.1, unit = 'Cel' },\
    { name = 'humidity', function = 'input', address = 1, scale = 0.1, unit = '%RH' },\
]";

#[tokio::test]
async fn neighbours_make_one_request_and_a_poll_one_reading() {
    let bed = Bed::new(&[("cellar", CLIMATE)], |r| words(r, &[0xfff6, 655])).await;
    let heard = Arc::clone(&bed.heard);
    until("two readings", || {
        (heard.readings("cellar").len() > 1).then_some(())
    })
    .await;
    assert!(bed.requests().iter().all(|it| it == &[1, 4, 0, 0, 0, 2]));
    let slave = bed.slave("cellar");
    assert_eq!(
        (slave.answers, slave.missed, slave.note),
        (Some(true), 0, None)
    );
    bed.stop().await;
    let first = heard.readings("cellar").remove(0);
    let expected = [
        ("temperature", "Cel", -1.0, Some(Value::from("cellar/"))),
        ("humidity", "%RH", 65.5, None),
    ];
    assert_eq!(first.len(), expected.len());
    for (record, (name, unit, value, base)) in first.iter().zip(expected) {
        assert_eq!(record.get("bn"), base.as_ref());
        assert_eq!(record.get("n"), Some(&name.into()));
        assert_eq!(record.get("u"), Some(&unit.into()));
        assert_eq!(record.get("v"), Some(&Value::Float(value)));
    }
    assert_eq!(
        *heard.presence.lock().unwrap(),
        [true, false].map(|online| (Ident::new("cellar").unwrap(), online))
    );
}

#[tokio::test]
async fn a_refusal_across_a_gap_is_asked_again_one_by_one_and_the_guilty_named() {
    let on = "address = 7\nregisters = [\
        { name = 'good', function = 'holding', address = 0 },\
        { name = 'bad', function = 'holding', address = 2 },\
        { name = 'fine', function = 'holding', address = 4 },\
    ]";
    let bed = Bed::new(&[("meter", on)], |r| match (r[3], r[5]) {
        (0 | 4, 1) => words(r, &[u16::from(r[3]) + 10]),
        _ => refusal(r, 2),
    })
    .await;
    let heard = Arc::clone(&bed.heard);
    until("three readings", || {
        (heard.readings("meter").len() > 2).then_some(())
    })
    .await;
    let note = bed.slave("meter").note.unwrap();
    assert!(
        note.starts_with("register 'bad': the device has no such address"),
        "{note}"
    );
    let whole = bed.requests().iter().filter(|it| it[5] == 5).count();
    assert_eq!(whole, 1, "together they were asked for once");
    bed.stop().await;
    for reading in heard.readings("meter") {
        assert_eq!(reading.len(), 2, "{reading:?}");
    }
    assert_eq!(heard.values("meter", "good")[0], Value::Int(10));
    assert_eq!(heard.values("meter", "fine")[0], Value::Int(14));
}

#[tokio::test]
async fn a_dead_slave_holds_up_nobody() {
    let dead = CLIMATE.replace("address = 1\n", "address = 9\n");
    let bed = Bed::new(&[("dead", &dead), ("alive", CLIMATE)], |r| match r[0] {
        1 => words(r, &[200, 500]),
        _ => Vec::new(),
    })
    .await;
    let heard = Arc::clone(&bed.heard);
    until("silence", || {
        (bed.slave("dead").answers == Some(false)).then_some(())
    })
    .await;
    let dead = bed.slave("dead");
    assert!(dead.pause_ms >= 1_000 && dead.answered == 0, "{dead:?}");
    let before = bed.requests().iter().filter(|it| it[0] == 1).count();
    until("more of the living", || {
        let now = bed.requests().iter().filter(|it| it[0] == 1).count();
        (now > before + 3).then_some(())
    })
    .await;
    let alive = bed.slave("alive");
    assert_eq!((alive.missed, alive.quality), (0, Some(100)));
    bed.stop().await;
    let presence = heard.presence.lock().unwrap();
    assert!(
        presence.iter().all(|(id, _)| id.as_str() == "alive"),
        "{presence:?}"
    );
}

#[tokio::test]
async fn what_a_device_passes_over_in_silence_does_not_keep_back_the_rest() {
    // As some devices do, it says nothing at all to an address that it hasn't.
    let on = "address = 1\nregisters = [\
        { name = 'door', function = 'discrete', address = 0, door_closed = true },\
        { name = 'good', function = 'holding', address = 0 },\
        { name = 'bad', function = 'holding', address = 2 },\
        { name = 'fine', function = 'input', address = 0 },\
    ]";
    let bed = Bed::new(&[("meter", on)], |r| match (r[1], r[3], r[5]) {
        (3, 0, 1) => words(r, &[10]),
        (4, 0, 1) => words(r, &[11]),
        _ => Vec::new(),
    })
    .await;
    let heard = Arc::clone(&bed.heard);
    until("both", || {
        let readings = heard.readings("meter");
        readings.iter().any(|it| it.len() == 2).then_some(())
    })
    .await;
    until("both to be blamed", || {
        let note = bed.slave("meter").note?;
        note.starts_with("register 'door': no answer to it, while others are answered")
            .then_some(note.ends_with("and 1 more").then_some(())?)
    })
    .await;
    assert_eq!(bed.slave("meter").answers, Some(true));
    bed.stop().await;
    let presence = heard.presence.lock().unwrap();
    assert_eq!(
        presence.len(),
        2,
        "it came, and left with the port: {presence:?}"
    );
}

#[tokio::test]
async fn what_is_no_number_is_left_out_and_said() {
    let on = "address = 1\nregisters = [\
        { name = 'level', function = 'input', address = 0, type = 'f32', unit = 'm' },\
        { name = 'battery', function = 'input', address = 2 },\
    ]";
    let bed = Bed::new(&[("tank", on)], |r| words(r, &[0x7fc0, 0, 88])).await;
    let heard = Arc::clone(&bed.heard);
    until("a reading", || {
        (!heard.readings("tank").is_empty()).then_some(())
    })
    .await;
    until("a note", || bed.slave("tank").note).await;
    assert_eq!(
        bed.slave("tank").note.unwrap(),
        "register 'level' holds no number"
    );
    bed.stop().await;
    assert!(heard.values("tank", "level").is_empty());
    assert_eq!(heard.values("tank", "battery")[0], Value::Int(88));
}

#[tokio::test]
async fn a_door_says_at_once_that_it_opened_and_once_that_it_is_held() {
    let on = "address = 3\nregisters = [\
        { name = 'cellar-door', function = 'discrete', address = 4, door_closed = true, held_open_s = 1 },\
        { name = 'pump', function = 'coil', address = 0 },\
    ]";
    let closed = Arc::new(Mutex::new(true));
    let door = Arc::clone(&closed);
    let bed = Bed::new(&[("box", on)], move |r| match r[1] {
        2 => bits(r, u8::from(*door.lock().unwrap())),
        _ => bits(r, 1),
    })
    .await;
    let heard = Arc::clone(&bed.heard);
    let is = |open: bool| {
        move || {
            let said = heard.values("box", "cellar-door");
            (said.last() == Some(&Value::Bool(open))).then_some(())
        }
    };
    until("the closed door", is.clone()(false)).await;
    *closed.lock().unwrap() = false;
    until("the open door", is.clone()(true)).await;
    let held = || {
        let events = bed.heard.events.lock().unwrap();
        let held = events.iter().filter(|(_, kind)| {
            matches!(kind, Kind::Access { door, outcome: Outcome::HeldOpen, .. } if door.as_str() == "cellar-door")
        });
        held.count()
    };
    until("held open", || (held() == 1).then_some(())).await;
    let asked = bed.requests().len();
    until("more looks", || {
        (bed.requests().len() > asked + 8).then_some(())
    })
    .await;
    assert_eq!(held(), 1, "once an opening");
    *closed.lock().unwrap() = true;
    until("the closed door", is(false)).await;
    let heard = bed.stop().await;
    assert_eq!(heard.values("box", "pump")[0], Value::Bool(true));
}

#[tokio::test]
async fn a_sensor_refuses_commands_in_words() {
    let bed = Bed::new(&[("cellar", CLIMATE)], |r| words(r, &[1, 2])).await;
    bed.command("cellar", "c-1", Order::Identify).await;
    let (outcome, reason) = bed.result("c-1").await;
    assert_eq!(outcome, Done::Refused);
    assert_eq!(reason, "a Modbus sensor carries out no commands");
    bed.stop().await;
}
