//! How much each device may say: an allowance in the long run, and a burst for an outage's backlog.
//!
//! A device has three allowances, each a bucket that fills by the second up to its burst: *events*;
//! *urgent* events, which a person waits for (keypad, scan, compartment, result, alarm), so that a
//! chattering sensor of a bank doesn't use up what its keypad needs; and *bytes*. What was sent is
//! charged when it is known what it is, so a bucket may go below zero; the device is then slowed
//! until it has filled up again. In the long run no more than the rate gets in, whatever is sent.
//!
//! What slowing means is the link's: the embedded broker reads the connection no faster
//! ([`Gauge::due`]), a broker that all devices share can't be read slower for one of them, so
//! what is over the limit isn't taken, and the device sends it again ([`Gauge::takes`]).
//! Nothing is lost by either.
//!
//! Allowances belong to the device, not to its connection: to come again doesn't fill them. There
//! are as many as configured devices, and one for all strangers together.

mod bucket;
mod put_off;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use firmware_protocols::Ident;

use bucket::Bucket;
use put_off::PutOff;

/// How far below zero something urgent, or what may overtake, can still push a bucket: so many
/// seconds of its rate.
const CREDIT_S: u32 = 60;

/// What each packet counts beside its own bytes.
const PACKET_BYTES: usize = 32;

/// The allowances of a device. A rate of 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Events that nobody waits for, a second.
    pub events_per_s: u32,
    /// So many of them at once.
    pub events_burst: u32,
    /// Urgent events, a second.
    pub urgent_per_s: u32,
    /// So many of them at once.
    pub urgent_burst: u32,
    /// Bytes a second, in KiB.
    pub kib_per_s: u32,
    /// So many of them at once, in KiB.
    pub kib_burst: u32,
}

impl Limits {
    /// No limits.
    pub const NONE: Self = Self {
        events_per_s: 0,
        events_burst: 0,
        urgent_per_s: 0,
        urgent_burst: 0,
        kib_per_s: 0,
        kib_burst: 0,
    };

    /// Whether there is any limit.
    const fn any(self) -> bool {
        self.events_per_s > 0 || self.urgent_per_s > 0 || self.kib_per_s > 0
    }
}

impl Default for Limits {
    /// A concentrator of 200 sensors says some tens of events a second, a keypad one in seconds. A
    /// backlog of 100,000 events is taken in a quarter of an hour.
    fn default() -> Self {
        Self {
            events_per_s: 100,
            events_burst: 20_000,
            urgent_per_s: 20,
            urgent_burst: 2_000,
            kib_per_s: 128,
            kib_burst: 8_192,
        }
    }
}

/// What a publication counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weight {
    /// Events that nobody waits for. What can't be read as events counts as one.
    pub events: u32,
    /// Events that a person waits for.
    pub urgent: u32,
    /// Bytes, where the link doesn't count them itself.
    pub bytes: usize,
}

impl Weight {
    /// What isn't an event, but costs as much.
    pub const ONE: Self = Self {
        events: 1,
        urgent: 0,
        bytes: 0,
    };
}

/// Which allowance is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Events that nobody waits for.
    Events,
    /// Urgent events.
    Urgent,
    /// Bytes.
    Bytes,
}

impl Over {
    /// The word for it, in logs and answers.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Urgent => "urgent events",
            Self::Bytes => "bytes",
        }
    }
}

/// A device that is being slowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slowed {
    /// Which; `None` for what isn't a configured device.
    pub device: Option<Ident>,
    /// For how long.
    pub lasts: Duration,
    /// Which allowance was used up last.
    pub over: Over,
    /// How long its connection wasn't read in that time.
    pub held: Duration,
    /// How many publications weren't taken in that time, to be sent again.
    pub put_off: u64,
}

/// What was slowed since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// How often a device began to be slowed.
    pub episodes: u64,
    /// How long connections weren't read, all together.
    pub held: Duration,
    /// How many publications weren't taken.
    pub put_off: u64,
}

impl Totals {
    /// Both together.
    fn and(self, other: Self) -> Self {
        Self {
            episodes: self.episodes + other.episodes,
            held: self.held + other.held,
            put_off: self.put_off + other.put_off,
        }
    }
}

/// The allowances of all devices. Limits and devices can change while the gateway runs.
pub struct Pace {
    devices: RwLock<Devices>,
    strangers: Arc<Gauge>,
}

#[derive(Default)]
struct Devices {
    gauges: HashMap<Ident, Arc<Gauge>>,
    /// What was slowed of devices that aren't configured any more.
    gone: Totals,
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slowed = self.slowed(Instant::now());
        f.debug_struct("Pace").field("slowed", &slowed).finish()
    }
}

impl Pace {
    /// Full allowances for `devices`.
    pub fn new(limits: Limits, devices: impl IntoIterator<Item = Ident>) -> Self {
        let now = Instant::now();
        let gauge = |device| Arc::new(Gauge::new(device, limits, now));
        let gauges = devices
            .into_iter()
            .map(|device| (device.clone(), gauge(Some(device))))
            .collect();
        Self {
            devices: RwLock::new(Devices {
                gauges,
                gone: Totals::default(),
            }),
            strangers: gauge(None),
        }
    }

    /// Other limits, and other devices. A device that was there before keeps what is left of its
    /// allowance; a new one begins with all of it.
    pub fn replace(&self, limits: Limits, devices: impl IntoIterator<Item = Ident>) {
        let now = Instant::now();
        let mut all = self.devices.write().unwrap_or_else(PoisonError::into_inner);
        let mut former = std::mem::take(&mut all.gauges);
        for device in devices {
            let gauge = match former.remove(&device) {
                Some(gauge) => {
                    gauge.limit(limits, now);
                    gauge
                }
                None => Arc::new(Gauge::new(Some(device.clone()), limits, now)),
            };
            all.gauges.insert(device, gauge);
        }
        for gauge in former.values() {
            all.gone = all.gone.and(gauge.lock().totals);
        }
        self.strangers.limit(limits, now);
    }

    /// The allowance of a device; that of strangers, if it isn't configured.
    pub fn of(&self, device: &Ident) -> Arc<Gauge> {
        let all = self.devices.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.gauges.get(device).unwrap_or(&self.strangers))
    }

    /// The allowance of all that isn't a configured device.
    pub fn strangers(&self) -> &Arc<Gauge> {
        &self.strangers
    }

    /// Who is being slowed, by id.
    pub fn slowed(&self, now: Instant) -> Vec<Slowed> {
        let devices = self.devices.read().unwrap_or_else(PoisonError::into_inner);
        let all = devices.gauges.values().chain([&self.strangers]);
        let mut slowed: Vec<_> = all.filter_map(|gauge| gauge.slowed(now)).collect();
        slowed.sort_by(|a, b| a.device.cmp(&b.device));
        slowed
    }

    /// What was slowed since the start.
    pub fn totals(&self) -> Totals {
        let devices = self.devices.read().unwrap_or_else(PoisonError::into_inner);
        let all = devices.gauges.values().chain([&self.strangers]);
        all.map(|gauge| gauge.lock().totals)
            .fold(devices.gone, Totals::and)
    }
}

/// The allowances of one device.
pub struct Gauge {
    device: Option<Ident>,
    limited: AtomicBool,
    state: Mutex<State>,
}

struct State {
    events: Bucket,
    urgent: Bucket,
    bytes: Bucket,
    episode: Option<Episode>,
    totals: Totals,
    put_off: PutOff,
}

struct Episode {
    began: Instant,
    over: Over,
    before: Totals,
}

impl Gauge {
    fn new(device: Option<Ident>, limits: Limits, now: Instant) -> Self {
        let bucket = |rate, burst| Bucket::full(rate, burst, now);
        let kib = |n: u32| n.saturating_mul(1_024);
        Self {
            device,
            limited: AtomicBool::new(limits.any()),
            state: Mutex::new(State {
                events: bucket(limits.events_per_s, limits.events_burst),
                urgent: bucket(limits.urgent_per_s, limits.urgent_burst),
                bytes: bucket(kib(limits.kib_per_s), kib(limits.kib_burst)),
                episode: None,
                totals: Totals::default(),
                put_off: PutOff::default(),
            }),
        }
    }

    /// Other limits from now on.
    fn limit(&self, limits: Limits, now: Instant) {
        let kib = |n: u32| n.saturating_mul(1_024);
        let mut state = self.lock();
        let (events, urgent) = (limits.events_per_s, limits.urgent_per_s);
        state.events.limit(events, limits.events_burst, now);
        state.urgent.limit(urgent, limits.urgent_burst, now);
        let (rate, burst) = (kib(limits.kib_per_s), kib(limits.kib_burst));
        state.bytes.limit(rate, burst, now);
        self.limited.store(limits.any(), Ordering::Relaxed);
        self.judge(&mut state, now);
    }

    fn is_limited(&self) -> bool {
        self.limited.load(Ordering::Relaxed)
    }

    /// Charges a publication. It is taken, whatever is left.
    pub fn charge(&self, weight: Weight, now: Instant) {
        let mut state = self.lock();
        state.spend(weight, now);
        self.judge(&mut state, now);
    }

    /// Charges bytes that have passed, with so many packets ending in them, and so many of these
    /// counting as an event.
    pub fn charge_bytes(&self, bytes: usize, packets: usize, events: u32, now: Instant) {
        if !self.is_limited() {
            return;
        }
        let mut state = self.lock();
        state.bytes.spend(counted(bytes, packets), now);
        state.events.spend(events, now);
        self.judge(&mut state, now);
    }

    /// How long until more may come. Zero: now.
    pub fn due(&self, now: Instant) -> Duration {
        if !self.is_limited() {
            return Duration::ZERO;
        }
        let mut state = self.lock();
        self.judge(&mut state, now);
        state.due(now)
    }

    /// Whether something urgent may go ahead at once although more isn't due, together with what
    /// was sent before it: there is urgent allowance, and the others aren't too deep below zero.
    pub fn may_hurry(&self, now: Instant) -> bool {
        let mut state = self.lock();
        state.urgent.due(now).is_zero()
            && state.events.due(now) < Duration::from_secs(CREDIT_S.into())
            && state.bytes.due(now) < Duration::from_secs(CREDIT_S.into())
    }

    /// Whether what costs next to nothing may pass although more isn't due.
    pub fn may_pass(&self, now: Instant) -> bool {
        self.lock().bytes.due(now) < Duration::from_secs(CREDIT_S.into())
    }

    /// Notes that the connection wasn't read for so long.
    pub fn held(&self, time: Duration) {
        self.lock().totals.held += time;
    }

    /// Whether a publication with these events, (boot, seq) each, is taken, for a link on which
    /// nobody can be made to wait. It is charged if it is.
    ///
    /// A publication over the limit isn't taken, and neither is what the same boot says after it
    /// until it has been sent again: so that the device's numbers stay without gaps. Something
    /// urgent is taken all the same, as far as the gaps that it makes stay few.
    pub fn takes(&self, numbers: &[(u32, u64)], weight: Weight, now: Instant) -> bool {
        let mut state = self.lock();
        let over = !state.due(now).is_zero();
        let hurries = weight.urgent > 0 && state.urgent.due(now).is_zero();
        let takes = state.put_off.takes(numbers, over, hurries, now);
        if takes {
            state.spend(weight, now);
        } else {
            state.totals.put_off += 1;
        }
        self.judge(&mut state, now);
        takes
    }

    fn slowed(&self, now: Instant) -> Option<Slowed> {
        let mut state = self.lock();
        self.judge(&mut state, now);
        let totals = state.totals;
        state.episode.as_ref().map(|episode| Slowed {
            device: self.device.clone(),
            lasts: now.saturating_duration_since(episode.began),
            over: episode.over,
            held: totals.held.saturating_sub(episode.before.held),
            put_off: totals.put_off - episode.before.put_off,
        })
    }

    /// Says once that an episode begins, and once that it is over: when there is an allowance
    /// again, not merely a moment between two waits.
    fn judge(&self, state: &mut State, now: Instant) {
        let over = state.over(now);
        match (&mut state.episode, over) {
            (None, Some(over)) => {
                let before = state.totals;
                state.totals.episodes += 1;
                state.episode = Some(Episode {
                    began: now,
                    over,
                    before,
                });
                tracing::warn!(device = %self.name(), over = over.word(), "sends more than its limit and is slowed; nothing is lost. If it is meant to send so much, raise [limits]");
            }
            (Some(episode), Some(over)) => episode.over = over,
            (Some(episode), None)
                if state.events.rested(now)
                    && state.urgent.rested(now)
                    && state.bytes.rested(now) =>
            {
                let (lasted, before) =
                    (now.saturating_duration_since(episode.began), episode.before);
                let held_ms = (state.totals.held.saturating_sub(before.held)).as_millis();
                let put_off = state.totals.put_off - before.put_off;
                state.episode = None;
                tracing::info!(device = %self.name(), lasted_s = lasted.as_secs(), %held_ms, put_off, "is within its limit again");
            }
            (_, None) => {}
        }
    }

    fn name(&self) -> &str {
        self.device.as_ref().map_or("strangers", Ident::as_str)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn spend(&mut self, weight: Weight, now: Instant) {
        self.events.spend(weight.events, now);
        self.urgent.spend(weight.urgent, now);
        if weight.bytes > 0 {
            self.bytes.spend(counted(weight.bytes, 1), now);
        }
    }

    fn due(&mut self, now: Instant) -> Duration {
        let (events, urgent) = (self.events.due(now), self.urgent.due(now));
        events.max(urgent).max(self.bytes.due(now))
    }

    fn over(&mut self, now: Instant) -> Option<Over> {
        let all = [
            (self.urgent.due(now), Over::Urgent),
            (self.events.due(now), Over::Events),
            (self.bytes.due(now), Over::Bytes),
        ];
        let over = all.into_iter().filter(|(due, _)| !due.is_zero());
        over.max_by_key(|(due, _)| *due).map(|(_, over)| over)
    }
}

fn counted(bytes: usize, packets: usize) -> u32 {
    u32::try_from(bytes.saturating_add(packets.saturating_mul(PACKET_BYTES))).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
