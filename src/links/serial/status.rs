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
    sense: Arc<Sense>,
}

#[derive(Debug)]
struct State {
    device: Option<PathBuf>,
    up: bool,
    fault: Option<PortFault>,
    since: Instant,
    opened: u64,
    echo: Option<bool>,
    echoed_bytes: u64,
    noise_bytes: u64,
    /// Another process that has it open too.
    shared_with: Option<String>,
    slaves: Vec<Arc<SlaveStatus>>,
}

impl PortStatus {
    /// A port that wasn't opened yet.
    pub fn new(port: PortSection) -> Self {
        let echo = port.echo;
        Self {
            sense: Arc::new(Sense::new(port.id.clone())),
            port,
            tap: Tap::default(),
            state: Mutex::new(State {
                device: None,
                up: false,
                fault: None,
                since: Instant::now(),
                opened: 0,
                echo,
                echoed_bytes: 0,
                noise_bytes: 0,
                shared_with: None,
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
        self.sense.begin();
        let mut state = self.lock();
        state.device = Some(device);
        state.up = true;
        state.fault = None;
        state.shared_with = None;
        state.echo = self.port.echo;
        state.since = Instant::now();
        state.opened += 1;
    }

    /// It can't be used. Whether its slaves answer isn't known then.
    pub fn down(&self, fault: PortFault) {
        self.sense.begin();
        let mut state = self.lock();
        if state.up {
            state.slaves.iter().for_each(|slave| slave.unknown());
        }
        if state.up || state.fault.as_ref() != Some(&fault) {
            state.since = Instant::now();
        }
        state.up = false;
        state.device = None;
        state.fault = Some(fault);
    }

    /// Another process has it open too, and takes bytes that are meant for us; `None`: no more.
    pub fn shared_with(&self, who: Option<String>) {
        self.lock().shared_with = who;
    }

    /// So many bytes were an echo; and whether the adapter is known to make one.
    pub(super) fn echo(&self, is: Option<bool>, bytes: usize) {
        let mut state = self.lock();
        state.echo = is;
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        state.echoed_bytes = state.echoed_bytes.saturating_add(bytes);
    }

    /// How many bytes were the echo of what was sent, since the start.
    pub fn echoed_bytes(&self) -> u64 {
        self.lock().echoed_bytes
    }

    /// Bytes came. If none make sense for a while, the port is shown as garbled.
    pub(super) fn heard(&self, bytes: usize) {
        self.sense.heard(bytes, Instant::now());
    }

    /// A frame came that could be read. [`super::line::Line::next`] says so itself, and so does
    /// whatever is said of a slave that answers.
    pub fn made_sense(&self) {
        self.sense.made_sense();
    }

    /// Bytes that belong to no frame.
    pub fn noise(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let mut state = self.lock();
        state.noise_bytes = state.noise_bytes.saturating_add(bytes);
    }

    /// What hangs on it: added at the first call for it, the same at every further one.
    pub fn slave(&self, device: &Ident, address: Option<u8>) -> Arc<SlaveStatus> {
        let mut state = self.lock();
        let known = state.slaves.iter();
        let mut same = known.filter(|slave| slave.device == *device && slave.address == address);
        if let Some(slave) = same.next() {
            return Arc::clone(slave);
        }
        let sense = Arc::clone(&self.sense);
        let slave = Arc::new(SlaveStatus::new(device.clone(), address, sense));
        state.slaves.push(Arc::clone(&slave));
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
            fault: self.fault(&state),
            for_ms: ms(state.since.elapsed()),
            opened: state.opened,
            echo: state.echo,
            noise_bytes: state.noise_bytes,
            devices: Vec::new(),
            slaves: state.slaves.iter().map(|slave| slave.view()).collect(),
        }
    }

    fn fault(&self, state: &State) -> Option<PortFault> {
        if let Some(by) = &state.shared_with {
            let by = Some(by.clone());
            return Some(PortFault::InUse { by });
        }
        let garbled = state.up && self.sense.is_garbled();
        state
            .fault
            .clone()
            .or(garbled.then_some(PortFault::Garbled))
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
    sense: Arc<Sense>,
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
    fn new(device: Ident, address: Option<u8>, sense: Arc<Sense>) -> Self {
        Self {
            device,
            address,
            sense,
            counts: Mutex::default(),
        }
    }

    /// It answered a request after `round_trip`.
    pub fn answered(&self, round_trip: Duration) {
        self.sense.made_sense();
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
        self.sense.made_sense();
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

    /// Whether it answers isn't known any more: its port is away.
    fn unknown(&self) {
        let mut counts = self.lock();
        counts.answers = None;
        counts.pause = Duration::ZERO;
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

/// So long bytes come and none make sense, and the line is garbled.
const GARBLED_AFTER: Duration = Duration::from_secs(3);

/// And so many at least.
const GARBLED_BYTES: usize = 16;

/// Whether what comes over a line makes sense.
#[derive(Debug)]
struct Sense {
    port: Ident,
    now: Mutex<Senseless>,
}

/// What came since the last frame that made sense.
#[derive(Debug, Default)]
struct Senseless {
    bytes: usize,
    since: Option<Instant>,
    garbled: bool,
}

impl Sense {
    fn new(port: Ident) -> Self {
        Self {
            port,
            now: Mutex::default(),
        }
    }

    fn begin(&self) {
        *self.lock() = Senseless::default();
    }

    fn heard(&self, bytes: usize, now: Instant) {
        if bytes == 0 {
            return;
        }
        let mut state = self.lock();
        state.bytes = state.bytes.saturating_add(bytes);
        let since = *state.since.get_or_insert(now);
        let long = now.saturating_duration_since(since) >= GARBLED_AFTER;
        if long && state.bytes >= GARBLED_BYTES && !state.garbled {
            state.garbled = true;
            tracing::warn!(port = %self.port, "bytes come in on a serial port and none make sense: check baud, parity and protocol, and that A and B aren't swapped; 'linli serial scan' tries them");
        }
    }

    fn made_sense(&self) {
        let mut state = self.lock();
        if state.garbled {
            tracing::info!(port = %self.port, "what comes in on a serial port makes sense again");
        }
        *state = Senseless::default();
    }

    fn is_garbled(&self) -> bool {
        self.lock().garbled
    }

    fn lock(&self) -> MutexGuard<'_, Senseless> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// As if what makes no sense had begun long ago.
#[cfg(test)]
pub(super) fn grown_old(status: &PortStatus) {
    let mut state = status.sense.lock();
    state.since = state.since.and_then(|at| at.checked_sub(GARBLED_AFTER));
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
