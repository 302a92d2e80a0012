//! What the tests share: an intake that answers as it is told, devices at the far end of a line, and a
//! driver that runs on it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use firmware_protocols::event::{self, When};
use firmware_protocols::frame::{Found, Framing};
use firmware_protocols::link::{Device, Hello, Link, Outbox};
use firmware_protocols::topic::Channel;
use firmware_protocols::{Command, Event, Form, Ident, Kind, Order};
use linli::config::serial::{OnPort, PortSection};
use linli::intake::Answer;
use linli::links::serial::line::Line;
use linli::links::serial::linli::Linli;
use linli::links::serial::plan::{DevicePlan, PortPlan};
use linli::links::serial::status::PortStatus;
use linli::links::serial::{Bus, Driver, Outgoing};
use linli::links::{DeviceIntake, ToDevice};
use linli::pace::{Limits, Pace};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

/// Far more than anything takes; a test that waits this long has failed.
pub const LONG: Duration = Duration::from_secs(30);

pub fn ident(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Records everything.
pub struct Recorder {
    /// Each (device, boot, seq), in the order in which it was handed over.
    pub came: Mutex<Vec<(String, u32, u64)>>,
    pub on_disk: Mutex<BTreeSet<(String, u32, u64)>>,
    pub presence: Mutex<Vec<(String, bool)>>,
    pub sent: Mutex<Vec<String>>,
    /// So many payloads are refused.
    pub refuses: AtomicU32,
    /// Each payload takes a permit before it is answered.
    pub gate: Semaphore,
}

impl Recorder {
    pub fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            came: Mutex::default(),
            on_disk: Mutex::default(),
            presence: Mutex::default(),
            sent: Mutex::default(),
            refuses: AtomicU32::new(0),
            gate: Semaphore::new(permits),
        })
    }
    pub fn open() -> Arc<Self> {
        Self::new(Semaphore::MAX_PERMITS)
    }
    pub fn is_online(&self, device: &str) -> bool {
        let heard = self.presence.lock().unwrap();
        let mut of = heard.iter().rev().filter(|(who, _)| who == device);
        of.next().is_some_and(|(_, online)| *online)
    }
    pub fn count(&self) -> usize {
        self.came.lock().unwrap().len()
    }
    pub fn stored(&self, device: &str, boot: u32) -> Vec<u64> {
        let on_disk = self.on_disk.lock().unwrap();
        let of = on_disk
            .iter()
            .filter(|(who, b, _)| who == device && *b == boot);
        of.map(|(_, _, seq)| *seq).collect()
    }
}

#[async_trait]
impl DeviceIntake for Recorder {
    async fn events(&self, device: &Ident, payload: Bytes) -> Answer {
        let events: Vec<_> = event::decode(&payload)
            .unwrap()
            .into_iter()
            .map(|event| event.unwrap())
            .map(|event| (device.to_string(), event.boot, event.seq))
            .collect();
        self.came.lock().unwrap().extend(events.clone());
        self.gate.acquire().await.unwrap().forget();
        let refuses = self
            .refuses
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if refuses.is_ok() {
            return Answer::NotTaken("the disk is full".into());
        }
        self.on_disk.lock().unwrap().extend(events);
        Answer::Taken
    }
    async fn foreign(&self, _: &Ident, _: &str, _: Bytes) {
        panic!("nothing on a link is foreign");
    }
    fn presence(&self, device: &Ident, online: bool) {
        let heard = (device.to_string(), online);
        self.presence.lock().unwrap().push(heard);
    }
    fn command_sent(&self, command: String) {
        self.sent.lock().unwrap().push(command);
    }
}

/// A device at the far end.
pub struct Far {
    id: String,
    address: u8,
    polled: bool,
    intake: Arc<Recorder>,
    machine: Device,
    pub store: Store,
    boot: u32,
    /// The commands that came, with their id, in their order.
    pub carried_out: Vec<String>,
    /// How many codes the last list had.
    pub codes: Option<usize>,
    pub dead: bool,
    /// It hears everything, and nothing of what it says arrives.
    pub mute: bool,
    began: Instant,
}

/// Events that aren't promised.
#[derive(Default)]
pub struct Store {
    pub events: VecDeque<(u32, u64, Kind)>,
    seq: u64,
    /// How many frames were sent, also again.
    pub sent: usize,
}

impl Outbox for Store {
    fn waiting(&self) -> usize {
        self.events.len()
    }
    fn payload(&mut self, index: usize) -> Vec<u8> {
        self.sent += 1;
        let (boot, seq, kind) = self.events[index].clone();
        let event = Event {
            boot,
            seq,
            when: When::Age(0),
            kind,
        };
        event::encode(&[event], Form::Cbor)
    }
}

impl Far {
    pub fn new(id: &str, address: u8, polled: bool, intake: &Arc<Recorder>) -> Arc<Mutex<Self>> {
        Self::says(id, id, address, polled, intake)
    }

    /// One that says that it is another.
    pub fn says(
        says: &str,
        id: &str,
        address: u8,
        polled: bool,
        intake: &Arc<Recorder>,
    ) -> Arc<Mutex<Self>> {
        let mut hello = Hello::new(1);
        hello.device = Some(ident(says));
        Arc::new(Mutex::new(Self {
            id: id.to_owned(),
            address,
            polled,
            intake: Arc::clone(intake),
            machine: Device::new(address, polled, 115_200, hello),
            store: Store::default(),
            boot: 1,
            carried_out: Vec::new(),
            codes: None,
            dead: false,
            mute: false,
            began: Instant::now(),
        }))
    }

    pub fn say(&mut self, kind: Kind) {
        self.store.seq += 1;
        let (boot, seq) = (self.boot, self.store.seq);
        self.store.events.push_back((boot, seq, kind));
    }

    pub fn alarms(&mut self, count: usize) {
        (0..count).for_each(|_| self.say(alarm()));
    }

    /// Events that nobody waits for, of some 450 bytes each.
    pub fn wishes(&mut self, count: usize) {
        for _ in 0..count {
            let (item, quantity) = ("e".repeat(128), 1);
            let household = Some(event::Secret::new("h".repeat(256)));
            self.say(Kind::Intent {
                item,
                quantity,
                household,
            });
        }
    }

    /// It keeps its events, as its memory lasts.
    pub fn restart(&mut self) {
        self.boot += 1;
        self.store.seq = 0;
        let mut hello = Hello::new(self.boot);
        hello.device = Some(ident(&self.id));
        self.machine = Device::new(self.address, self.polled, 115_200, hello);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    fn heard(&mut self, frame: &firmware_protocols::link::Frame) {
        if self.dead {
            return;
        }
        let heard = self.machine.heard(self.now_ms(), frame);
        for _ in 0..heard.promised {
            let (boot, seq, _) = self.store.events.pop_front().unwrap();
            let number = (self.id.clone(), boot, seq);
            let on_disk = self.intake.on_disk.lock().unwrap().contains(&number);
            assert!(on_disk, "{number:?} was promised too early");
        }
        if let Some(command) = heard.command {
            let command = Command::decode(&command.payload).unwrap();
            if let Order::Codes { digests, .. } = &command.order {
                self.codes = Some(digests.len());
            }
            self.carried_out.push(command.id);
        }
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.dead {
            return None;
        }
        let now_ms = self.now_ms();
        let frame = self.machine.next(now_ms, &mut self.store)?;
        (!self.mute).then(|| frame.encode())
    }
}

pub fn alarm() -> Kind {
    Kind::Alarm {
        alarm: "tamper".into(),
        text: None,
    }
}

/// All devices at the far end.
pub type Devices = Vec<Arc<Mutex<Far>>>;

/// The far end of a line: devices that hear everything and speak as their machines say. Every nth
/// frame is lost: damaged, and followed by noise, on its way to the gateway.
pub fn far_end(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    devices: Devices,
    lose_every: usize,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let (mut read, mut write) = tokio::io::split(io);
        let (mut buffer, mut chunk, mut count) = (Vec::new(), [0; 256], 0usize);
        let mut lost = || {
            count += 1;
            lose_every > 0 && count.is_multiple_of(lose_every)
        };
        loop {
            for device in &devices {
                loop {
                    let Some(mut bytes) = device.lock().unwrap().next() else {
                        break;
                    };
                    if lost() {
                        let middle = bytes.len() / 2;
                        bytes[middle] ^= 0x10;
                        bytes.extend([0x55, 0x00, 0xff]);
                    }
                    if write.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
            }
            let wait = Duration::from_millis(5);
            let Ok(read) = tokio::time::timeout(wait, read.read(&mut chunk)).await else {
                continue;
            };
            let Some(read) = read.ok().filter(|read| *read > 0) else {
                return;
            };
            buffer.extend_from_slice(&chunk[..read]);
            loop {
                let used = match Link.find(&buffer) {
                    Found::Frame { frame, used } => {
                        if !lost() {
                            devices
                                .iter()
                                .for_each(|far| far.lock().unwrap().heard(&frame));
                        }
                        used
                    }
                    Found::Noise(used) => used,
                    Found::More => break,
                };
                buffer.drain(..used);
            }
        }
    })
}

/// A driver on a line, running.
pub struct Running {
    pub status: Arc<PortStatus>,
    outbound: mpsc::Sender<Outgoing>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Box<dyn Driver>>,
    unplugged: Arc<AtomicBool>,
}

pub fn plan(devices: &[(&str, u8)], multi_drop: bool) -> PortPlan {
    let port = format!(
        "id = 'p'\npath = '/dev/null'\nprotocol = 'linli'\nmulti_drop = {multi_drop}\ntimeout_ms = 60"
    );
    let port: PortSection = toml::from_str(&port).unwrap();
    let device = |(id, address): &(&str, u8)| DevicePlan {
        id: ident(id),
        boot: 1,
        on: toml::from_str::<OnPort>(&format!("port = 'p'\naddress = {address}")).unwrap(),
        at_point: true,
    };
    PortPlan {
        port,
        banks: Vec::new(),
        devices: devices.iter().map(device).collect(),
    }
}

impl Running {
    pub fn start(
        plan: &PortPlan,
        intake: &Arc<Recorder>,
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        let driver = Box::new(Linli::new(plan).unwrap());
        Self::go_on(driver, plan, Limits::NONE, intake, io)
    }

    /// With a driver that may have spoken on another line before.
    pub fn go_on(
        mut driver: Box<dyn Driver>,
        plan: &PortPlan,
        limits: Limits,
        intake: &Arc<Recorder>,
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        let status = Arc::new(PortStatus::new(plan.port.clone()));
        let (outbound, receiver) = mpsc::channel(64);
        let (stop, stopped) = watch::channel(false);
        let mut bus = Bus {
            port: plan.port.clone(),
            status: Arc::clone(&status),
            intake: Arc::clone(intake) as Arc<dyn DeviceIntake>,
            pace: Arc::new(Pace::new(limits, plan.device_ids().cloned())),
            outbound: receiver,
            stopped,
        };
        let line = Line::over(io, Arc::clone(&status));
        let unplugged = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&unplugged);
        let task = tokio::spawn(async move {
            let _ = driver.run(line, &mut bus).await;
            driver.lost(&bus);
            ended.store(true, Ordering::SeqCst);
            driver
        });
        Self {
            status,
            outbound,
            stop,
            task,
            unplugged,
        }
    }

    pub fn has_ended(&self) -> bool {
        self.unplugged.load(Ordering::SeqCst)
    }

    /// Stops it; its state can go on elsewhere.
    pub async fn stop(self) -> Box<dyn Driver> {
        let _ = self.stop.send(true);
        self.task.await.unwrap()
    }

    pub async fn command(&self, device: &str, id: &str, order: Order, ttl_ms: u64) {
        let command = Command {
            id: id.into(),
            expires: 0,
            ttl_ms,
            order,
        };
        let open = matches!(command.order, Order::Open { .. }).then(|| id.to_owned());
        let message = ToDevice {
            device: ident(device),
            channel: Channel::Command,
            payload: command.encode(Form::Cbor).into(),
            expiry_ms: Some(ttl_ms),
            open,
        };
        let came = Instant::now();
        let outgoing = Outgoing { message, came };
        self.outbound.send(outgoing).await.unwrap();
    }
}
