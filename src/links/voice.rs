//! Speaks for a device that can't number and keep its own events: a locker board, a slave, a scanner, a
//! sensor of another maker.
//!
//! What its driver saw is numbered in the boot of this start of the daemon, handed over in its order,
//! and kept until it is on disk. Bound: [`WAITING_MAX`] events a device. Beyond it what comes is lost
//! and counted, and the driver says the state of everything again when there is room
//! ([`Voice::lost`]); the disk must have refused for long.
//!
//! An event keeps its number from the first try on, so what is handed over again after `NotTaken` is
//! the same events with the same numbers, and perhaps more behind them. If the first try was on disk
//! after all, these are known by (device, boot, seq) and the rest is new: nothing twice, no gap.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use firmware_protocols::event::When;
use firmware_protocols::{
    EVENTS_PER_PAYLOAD_MAX, Event, Form, Ident, Kind, PAYLOAD_MAX_BYTES, event,
};
use tokio::sync::{Notify, watch};

use crate::intake::Answer;
use crate::links::DeviceIntake;

/// How many events of a device may wait for the disk.
pub const WAITING_MAX: usize = 2_048;

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// A device's voice. When it is dropped it still hands over what waits, until the disk refuses it.
pub struct Voice {
    shared: Arc<Shared>,
}

struct Shared {
    waiting: Mutex<Waiting>,
    /// There is something to say.
    more: Notify,
    /// How many events are on disk.
    on_disk: watch::Sender<u64>,
}

/// When an event happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Then, as this program saw it.
    Then(Instant),
    /// By the device's own clock, ms since the Unix epoch.
    At(i64),
}

#[derive(Default)]
struct Waiting {
    /// What isn't on disk yet, oldest first, and when it happened.
    events: VecDeque<(Moment, Kind)>,
    /// How many events were ever said, and not lost.
    said: u64,
    lost: u64,
    /// Nothing more will be said.
    closed: bool,
}

impl Voice {
    /// Begins to speak, with a `hello`.
    pub fn start(
        device: Ident,
        boot: u32,
        model: &str,
        capabilities: &[&str],
        intake: Arc<dyn DeviceIntake>,
    ) -> Self {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            more: Notify::new(),
            on_disk: watch::Sender::new(0),
        });
        let speaking = Speaking {
            device,
            boot,
            seq: 1,
            intake,
            shared: Arc::clone(&shared),
        };
        tokio::spawn(speaking.run());
        let voice = Self { shared };
        voice.say(Kind::Hello {
            model: model.to_owned(),
            firmware: env!("CARGO_PKG_VERSION").to_owned(),
            capabilities: capabilities.iter().map(|&word| word.to_owned()).collect(),
        });
        voice
    }

    /// It happened now. Returns at once.
    pub fn say(&self, kind: Kind) {
        self.say_at(Instant::now(), kind);
    }

    /// It happened then. Returns at once.
    pub fn say_at(&self, when: Instant, kind: Kind) {
        let mut waiting = self.shared.lock();
        if waiting.events.len() < WAITING_MAX {
            waiting.events.push_back((Moment::Then(when), kind));
            waiting.said += 1;
        } else {
            waiting.lost += 1;
            if waiting.lost == 1 {
                tracing::error!(
                    "the disk has taken no events for long: what a device says now is lost. See 'linli status'"
                );
            }
        }
        drop(waiting);
        self.shared.more.notify_one();
    }

    /// All of this happened. Returns at once, with how many events have to be [on disk](Self::on_disk)
    /// until the last of these is. `None`: there is no room for all of them, and none was taken.
    pub fn say_all(&self, events: Vec<(Moment, Kind)>) -> Option<u64> {
        let mut waiting = self.shared.lock();
        if waiting.events.len() + events.len() > WAITING_MAX {
            return None;
        }
        waiting.said += events.len() as u64;
        waiting.events.extend(events);
        let said = waiting.said;
        drop(waiting);
        self.shared.more.notify_one();
        Some(said)
    }

    /// How many events are on disk, from now on.
    pub fn on_disk(&self) -> watch::Receiver<u64> {
        self.shared.on_disk.subscribe()
    }

    /// How many events were lost because too many waited.
    pub fn lost(&self) -> u64 {
        self.shared.lock().lost
    }

    /// How many events aren't on disk yet.
    pub fn waiting(&self) -> usize {
        self.shared.lock().events.len()
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.more.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that hands the events over.
struct Speaking {
    device: Ident,
    boot: u32,
    /// The number of the oldest event that waits.
    seq: u64,
    intake: Arc<dyn DeviceIntake>,
    shared: Arc<Shared>,
}

impl Speaking {
    async fn run(mut self) {
        let mut pause = RETRY_FIRST;
        loop {
            let events = self.next();
            if events.is_empty() {
                if self.shared.lock().closed {
                    return;
                }
                self.shared.more.notified().await;
                continue;
            }
            let (payload, said) = encoded(&events);
            match self.intake.events(&self.device, payload).await {
                Answer::Taken => {}
                Answer::Malformed(why) => {
                    tracing::error!(device = %self.device, %why, "an event is in quarantine");
                }
                Answer::NotTaken(why) => {
                    tracing::debug!(device = %self.device, %why, "events wait");
                    if self.shared.lock().closed {
                        return self.give_up();
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_LONGEST);
                    continue;
                }
            }
            pause = RETRY_FIRST;
            self.shared.lock().events.drain(..said);
            self.seq += said as u64;
            self.shared.on_disk.send_replace(self.seq - 1);
        }
    }

    fn give_up(&self) {
        let lost = self.shared.lock().events.len();
        tracing::warn!(device = %self.device, lost, "the gateway stops, and the disk doesn't take a device's last events: they are lost");
    }

    /// The oldest events that wait, numbered.
    fn next(&self) -> Vec<Event> {
        let waiting = self.shared.lock();
        let oldest = waiting.events.iter().take(EVENTS_PER_PAYLOAD_MAX);
        let numbered = oldest.zip(self.seq..).map(|((when, kind), seq)| Event {
            boot: self.boot,
            seq,
            when: match when {
                Moment::Then(then) => {
                    When::Age(u64::try_from(then.elapsed().as_millis()).unwrap_or(u64::MAX))
                }
                Moment::At(at_ms) => When::At(*at_ms),
            },
            kind: kind.clone(),
        });
        numbered.collect()
    }
}

/// As many of the events as fit into a payload, at least one, and how many that is.
fn encoded(events: &[Event]) -> (Bytes, usize) {
    let mut count = events.len();
    loop {
        let payload = event::encode(events.get(..count).unwrap_or(events), Form::Cbor);
        if payload.len() <= PAYLOAD_MAX_BYTES || count <= 1 {
            return (payload.into(), count);
        }
        count /= 2;
    }
}

#[cfg(test)]
#[path = "voice_tests.rs"]
mod tests;
