//! How a port and what hangs on it are, for `linli status`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use firmware_protocols::Ident;
use serde::{Deserialize, Serialize};

use super::tap::Tap;
use crate::config::serial::PortSection;

/// Why a port can't be used, or not well. The words and the remedy are the CLI's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum PortFault {
    /// Its device file isn't there.
    Missing,
    /// It was there, and isn't any more.
    Unplugged,
    /// This user may not open it.
    Denied,
    /// Another process has it open.
    InUse {
        /// Who, as far as it can be seen: `name (pid)`.
        by: Option<String>,
    },
    /// It isn't a serial port.
    NotSerial,
    /// Bytes come, and none make sense: another rate or protocol, or wires that are swapped.
    Garbled,
    /// Something else, in the system's words.
    Other {
        /// The words.
        error: String,
    },
}

/// A port, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PortView {
    /// Its id.
    pub port: String,
    /// Its path in the configuration.
    pub path: String,
    /// The device file that it is now.
    pub device: Option<String>,
    /// What is spoken on it.
    pub protocol: String,
    /// Bits a second.
    pub baud: u32,
    /// It is open.
    pub up: bool,
    /// What is wrong with it.
    pub fault: Option<PortFault>,
    /// How long it has been as it is, ms.
    pub for_ms: u64,
    /// How often it was opened.
    pub opened: u64,
    /// Whether the adapter hears what it sends: found out, or set.
    pub echo: Option<bool>,
    /// Bytes that belonged to no frame.
    pub noise_bytes: u64,
    /// The devices that the configuration hangs on it, a bank with boards by its own id.
    #[serde(default)]
    pub devices: Vec<String>,
    /// What hangs on it.
    pub slaves: Vec<SlaveView>,
}

/// What hangs on a port, for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlaveView {
    /// The device, or the bank that the board belongs to.
    pub device: String,
    /// Its address.
    pub address: Option<u8>,
    /// The first and the last of the bank's compartments that it opens, if it is a locker board.
    #[serde(default)]
    pub compartments: Option<[u16; 2]>,
    /// Whether it answers; `None` as long as nothing was asked or heard.
    pub answers: Option<bool>,
    /// Requests.
    pub asked: u64,
    /// Answers.
    pub answered: u64,
    /// Requests without an answer in time.
    pub missed: u64,
    /// Answers that couldn't be read.
    pub unreadable: u64,
    /// How long it is left alone at the moment because it doesn't answer, ms.
    pub pause_ms: u64,
    /// Since its last answer, ms.
    pub last_answer_ms: Option<u64>,
    /// The round trip, ms: the median of the last ones, and the longest of them.
    pub rtt_ms: Option<(f64, f64)>,
    /// The line's quality: of the last hundred requests, how many were answered at once, in percent.
    pub quality: Option<u8>,
    /// What else is wrong, in words.
    pub note: Option<String>,
}

/// How a port is.
#[derive(Debug)]
pub struct PortStatus {
    port: PortSection,
    tap: Tap,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    device: Option<PathBuf>,
    up: bool,
    fault: Option<PortFault>,
    since: Instant,
    opened: u64,
    echo: Option<bool>,
    noise_bytes: u64,
    slaves: Vec<Arc<SlaveStatus>>,
}

impl PortStatus {
    /// A port that wasn't opened yet.
    pub fn new(port: PortSection) -> Self {
        let echo = port.echo;
        Self {
            port,
            tap: Tap::default(),
            state: Mutex::new(State {
                device: None,
                up: false,
                fault: None,
                since: Instant::now(),
                opened: 0,
                echo,
                noise_bytes: 0,
                slaves: Vec::new(),
            }),
        }
    }

    /// The port's settings.
    pub fn port(&self) -> &PortSection {
        &self.port
    }

    /// Lets somebody listen.
    pub fn tap(&self) -> &Tap {
        &self.tap
    }

    /// It is open, as this device file.
    pub fn up(&self, device: PathBuf) {
        let mut state = self.lock();
        state.device = Some(device);
        state.up = true;
        state.fault = None;
        state.since = Instant::now();
        state.opened += 1;
    }

    /// It can't be used.
    pub fn down(&self, fault: PortFault) {
        let mut state = self.lock();
        if state.up || state.fault.as_ref() != Some(&fault) {
            state.since = Instant::now();
        }
        state.up = false;
        state.device = None;
        state.fault = Some(fault);
    }

    /// Bytes that belong to no frame.
    pub fn noise(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let mut state = self.lock();
        state.noise_bytes = state.noise_bytes.saturating_add(bytes);
    }

    /// Adds what hangs on it.
    pub fn slave(&self, device: &Ident, address: Option<u8>) -> Arc<SlaveStatus> {
        let slave = Arc::new(SlaveStatus::new(device.clone(), address));
        self.lock().slaves.push(Arc::clone(&slave));
        slave
    }

    /// For people; what the configuration says of it is added by [`super::plan::PortPlan::tell`].
    pub fn view(&self) -> PortView {
        let state = self.lock();
        PortView {
            port: self.port.id.to_string(),
            path: self.port.path.display().to_string(),
            device: state.device.as_ref().map(|path| path.display().to_string()),
            protocol: self.port.protocol.word().to_owned(),
            baud: self.port.baud(),
            up: state.up,
            fault: state.fault.clone(),
            for_ms: ms(state.since.elapsed()),
            opened: state.opened,
            echo: state.echo,
            noise_bytes: state.noise_bytes,
            devices: Vec::new(),
            slaves: state.slaves.iter().map(|slave| slave.view()).collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a slave is.
#[derive(Debug)]
pub struct SlaveStatus {
    device: Ident,
    address: Option<u8>,
    counts: Mutex<Counts>,
}

/// Of how many requests the round trips and the quality are kept.
const LAST: usize = 100;

#[derive(Debug, Default)]
struct Counts {
    asked: u64,
    answered: u64,
    missed: u64,
    unreadable: u64,
    answers: Option<bool>,
    pause: Duration,
    last_answer: Option<Instant>,
    /// The last requests, oldest first: the round trip, or `None`.
    last: std::collections::VecDeque<Option<Duration>>,
    note: Option<String>,
}

impl SlaveStatus {
    fn new(device: Ident, address: Option<u8>) -> Self {
        Self {
            device,
            address,
            counts: Mutex::default(),
        }
    }

    /// It answered a request after `round_trip`.
    pub fn answered(&self, round_trip: Duration) {
        let mut counts = self.lock();
        counts.asked += 1;
        counts.answered += 1;
        counts.pause = Duration::ZERO;
        counts.answers = Some(true);
        counts.last_answer = Some(Instant::now());
        counts.keep(Some(round_trip));
    }

    /// It said something on its own.
    pub fn heard(&self) {
        let mut counts = self.lock();
        counts.answers = Some(true);
        counts.last_answer = Some(Instant::now());
    }

    /// It didn't answer a request; `pause` is how long it is left alone.
    pub fn missed(&self, pause: Duration) {
        let mut counts = self.lock();
        counts.asked += 1;
        counts.missed += 1;
        counts.pause = pause;
        counts.keep(None);
    }

    /// It answered a request with something that can't be read.
    pub fn unreadable(&self, pause: Duration) {
        let mut counts = self.lock();
        counts.asked += 1;
        counts.unreadable += 1;
        counts.pause = pause;
        counts.keep(None);
    }

    /// It counts as silent now.
    pub fn silent(&self) {
        self.lock().answers = Some(false);
    }

    /// Something else that people should know, in words; `None` when it is over.
    pub fn note(&self, note: Option<String>) {
        self.lock().note = note;
    }

    /// For people.
    pub fn view(&self) -> SlaveView {
        let counts = self.lock();
        let mut trips: Vec<Duration> = counts.last.iter().flatten().copied().collect();
        trips.sort_unstable();
        let as_ms = |trip: &Duration| trip.as_secs_f64() * 1_000.0;
        let middle = trips.get(trips.len() / 2).map(as_ms);
        let share = (counts.last.iter().flatten().count() * 100).checked_div(counts.last.len());
        SlaveView {
            device: self.device.to_string(),
            address: self.address,
            compartments: None,
            answers: counts.answers,
            asked: counts.asked,
            answered: counts.answered,
            missed: counts.missed,
            unreadable: counts.unreadable,
            pause_ms: ms(counts.pause),
            last_answer_ms: counts.last_answer.map(|at| ms(at.elapsed())),
            rtt_ms: middle.zip(trips.last().map(as_ms)),
            quality: share.and_then(|share| u8::try_from(share).ok()),
            note: counts.note.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn keep(&mut self, trip: Option<Duration>) {
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(trip);
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
