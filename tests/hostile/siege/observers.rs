//! Those who go about their work, on a thread of their own, and how long the gateway makes them wait.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use firmware_protocols::event::Secret;
use tokio::task::JoinSet;

use super::attack;
use super::keypad::Keypad;
use crate::embedded::{Client, Version, publish_with};

/// How many devices send an event every [`EVERY`].
pub const NEIGHBOURS: usize = 20;
const EVERY: Duration = Duration::from_millis(200);
/// How often somebody types the code: within the bank's own limit.
const PRESS_EVERY: Duration = Duration::from_millis(250);
/// How often somebody comes new.
const NEWCOMER_EVERY: Duration = Duration::from_millis(250);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// From an event to its PUBACK.
    Event,
    /// From a key press to the open command.
    Open,
    /// From the connection of a device to the PUBACK of its event.
    Newcomer,
}

/// How long things took, by phase.
#[derive(Default)]
pub struct Log {
    phase: Mutex<String>,
    took: Mutex<BTreeMap<(String, What), Vec<Duration>>>,
    order: Mutex<Vec<String>>,
}

/// Those who go about their work.
pub struct Observers {
    log: Arc<Log>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Observers {
    /// `seq`: the bank's last event.
    pub fn start(address: SocketAddr, seq: u64, code: Secret) -> Self {
        let (log, stop) = (Arc::new(Log::default()), Arc::new(AtomicBool::new(false)));
        log.enter("quiet");
        let thread = {
            let (log, stop) = (Arc::clone(&log), Arc::clone(&stop));
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(work(address, seq, code, log, stop));
            })
        };
        Self { log, stop, thread }
    }

    /// What comes from now on belongs to this phase.
    pub fn phase(&self, name: &str) {
        self.log.enter(name);
    }

    /// Ends their work.
    pub fn stop(self) -> Arc<Log> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("somebody wasn't served");
        self.log
    }
}

async fn work(address: SocketAddr, seq: u64, code: Secret, log: Arc<Log>, stop: Arc<AtomicBool>) {
    let mut tasks = JoinSet::new();
    let keypad = Keypad::connect(address, seq).await;
    tasks.spawn(resident(keypad, code, Arc::clone(&log), Arc::clone(&stop)));
    for n in 1..=NEIGHBOURS {
        let (log, stop) = (Arc::clone(&log), Arc::clone(&stop));
        tasks.spawn(async move {
            tokio::time::sleep(EVERY * u32::try_from(n).unwrap() / 20).await;
            neighbour(address, n, &log, &stop).await;
        });
    }
    for (device, password) in [("guest-1", None), ("member-1", Some(super::PASSWORD))] {
        let (log, stop) = (Arc::clone(&log), Arc::clone(&stop));
        tasks.spawn(async move { newcomer(address, device, password, &log, &stop).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("somebody wasn't served");
    }
}

async fn resident(mut keypad: Keypad, code: Secret, log: Arc<Log>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let phase = log.phase();
        let took = keypad.press(&code).await;
        log.note(phase, What::Open, took);
        tokio::time::sleep(PRESS_EVERY).await;
    }
}

async fn neighbour(address: SocketAddr, n: usize, log: &Log, stop: &AtomicBool) {
    let device = format!("door-{n}");
    let stream = attack::login(address, None, &device, None).await;
    let mut client = Client {
        stream: stream.expect("a neighbour isn't let in"),
    };
    let mut seq = 0;
    while !stop.load(Ordering::Relaxed) {
        let phase = log.phase();
        let from = Instant::now();
        seq += 1;
        one_event(&mut client, &device, seq).await;
        log.note(phase, What::Event, from.elapsed());
        tokio::time::sleep(EVERY).await;
    }
}

async fn newcomer(
    address: SocketAddr,
    device: &str,
    password: Option<&str>,
    log: &Log,
    stop: &AtomicBool,
) {
    let mut seq = 0;
    while !stop.load(Ordering::Relaxed) {
        let phase = log.phase();
        let from = Instant::now();
        let stream = loop {
            match attack::login(address, None, device, password).await {
                Some(stream) => break stream,
                // Refused or cut off: tries again, as a device does.
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        let mut client = Client { stream };
        seq += 1;
        one_event(&mut client, device, seq).await;
        log.note(phase, What::Newcomer, from.elapsed());
        client.send(b"\xe0\x00").await;
        tokio::time::sleep(NEWCOMER_EVERY).await;
    }
}

async fn one_event(client: &mut Client, device: &str, seq: u64) {
    let topic = format!("linli/v1/{device}/event");
    let payload = attack::event(1, seq);
    let packet = publish_with(Version::V5, topic.as_bytes(), 0x32, 1, &[], &payload);
    client.send(&packet).await;
    let answer = client.packet().await;
    let answer = answer.unwrap_or_else(|| panic!("{device} was cut off"));
    assert_eq!(answer.puback_code(), 0, "{device}");
}

impl Log {
    fn enter(&self, name: &str) {
        name.clone_into(&mut self.phase.lock().unwrap());
        let mut order = self.order.lock().unwrap();
        if !order.iter().any(|known| known == name) {
            order.push(name.to_owned());
        }
    }

    fn phase(&self) -> String {
        self.phase.lock().unwrap().clone()
    }

    fn note(&self, phase: String, what: What, took: Duration) {
        let mut all = self.took.lock().unwrap();
        all.entry((phase, what)).or_default().push(took);
    }

    /// The percentile of what was noted, with how often.
    fn percentile(&self, phase: &str, what: What, percent: usize) -> (Duration, usize) {
        let mut all = self.took.lock().unwrap();
        let took = all.entry((phase.to_owned(), what)).or_default();
        took.sort_unstable();
        let at = (took.len() * percent).div_ceil(100).max(1) - 1;
        (took.get(at).copied().unwrap_or_default(), took.len())
    }

    /// The figures, a line for each phase.
    pub fn print(&self) {
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        println!(
            "{:<22} {:>6} {:>8} {:>8}  {:>5} {:>8} {:>8}  {:>5} {:>8} {:>8}",
            "phase",
            "events",
            "p50 ms",
            "p99 ms",
            "opens",
            "p50 ms",
            "p99 ms",
            "new",
            "p50 ms",
            "max ms"
        );
        for phase in &*self.order.lock().unwrap() {
            let of = |what, percent| self.percentile(phase, what, percent);
            let (event, events) = of(What::Event, 50);
            let (open, opens) = of(What::Open, 50);
            let (new, news) = of(What::Newcomer, 50);
            println!(
                "{phase:<22} {events:>6} {:>8.1} {:>8.1}  {opens:>5} {:>8.1} {:>8.1}  {news:>5} {:>8.1} {:>8.1}",
                ms(event),
                ms(of(What::Event, 99).0),
                ms(open),
                ms(of(What::Open, 99).0),
                ms(new),
                ms(of(What::Newcomer, 100).0),
            );
        }
    }

    /// Fails if somebody waited longer than is promised: `most` for a phase, by the quiet.
    pub fn holds(&self, newcomer_max: Duration, most: impl Fn(&str, Duration) -> Duration) {
        for phase in &*self.order.lock().unwrap() {
            for what in [What::Event, What::Open] {
                let (quiet, measured) = self.percentile("quiet", what, 99);
                assert!(measured > 0, "{what:?}: no quiet to compare with");
                let (took, _) = self.percentile(phase, what, 99);
                let most = most(phase, quiet);
                assert!(
                    took <= most,
                    "{phase}, {what:?}: {took:?}, at most {most:?} (quiet: {quiet:?})"
                );
            }
            let (took, _) = self.percentile(phase, What::Newcomer, 100);
            assert!(took <= newcomer_max, "{phase}: a newcomer took {took:?}");
        }
    }
}
