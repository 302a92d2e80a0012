//! A device of another maker: what it said, numbered and on its way to the disk.
//!
//! A payload may come that tells nothing new: a state that its broker has kept, or that the device says
//! again with the RETAIN flag. A reading of it is a reading; but somebody at a door, a scan or a code
//! happened once. So what is only a state makes no such events unless it has changed, as far as that
//! is known. An alarm is said once, as long as it lasts.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use firmware_protocols::event::When;
use firmware_protocols::{Ident, Kind};
use tokio::sync::watch;

use super::lane::Lane;
use super::output::Output;
use crate::links::DeviceIntake;
use crate::links::voice::{Moment, Voice};

/// How many topics of a device are remembered with what was last said there.
const TOPICS_MAX: usize = 64;

/// The number of a device's boot, and its voice once it has said something. One for each device that was
/// ever mapped since the start, so that a new configuration doesn't number anything twice.
pub(super) struct Numbering {
    boot: u32,
    voice: Mutex<Option<Voice>>,
}

impl Numbering {
    pub fn new(boot: u32) -> Self {
        Self {
            boot,
            voice: Mutex::default(),
        }
    }
}

/// A device with a profile.
pub(super) struct Device {
    pub id: Ident,
    /// What it calls itself.
    pub named: String,
    /// Who speaks for it.
    pub via: Option<Ident>,
    pub lane: Arc<Lane>,
    pub numbering: Arc<Numbering>,
    state: Mutex<State>,
}

/// What was seen of a device.
#[derive(Default)]
struct State {
    counts: Counts,
    topics: HashMap<String, Seen>,
    /// Its profile tells whether it is there.
    tells_status: bool,
}

/// What came of a device since the start.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub payloads: u64,
    pub events: u64,
    pub refused: u64,
    pub repeated: u64,
    pub last_refusal: Option<String>,
    pub heard: Option<Instant>,
}

/// What came last on a topic.
struct Seen {
    payload: u64,
    alarms: Vec<String>,
}

/// Whether a payload is a state that somebody has kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retained {
    /// It isn't: it happened now.
    No,
    /// It is to be kept, by the word of who published it: perhaps it has changed, perhaps it is said
    /// again.
    Flagged,
    /// It was kept, and is handed out again.
    Stored,
}

/// What was said, on its way to the disk: resolves when there are so many events.
pub(super) type Said = Option<(watch::Receiver<u64>, u64)>;

impl Device {
    pub fn new(
        id: Ident,
        named: String,
        via: Option<Ident>,
        lane: Arc<Lane>,
        numbering: Arc<Numbering>,
    ) -> Self {
        Self {
            id,
            named,
            via,
            lane,
            numbering,
            state: Mutex::default(),
        }
    }

    /// Goes on where it left off under a former configuration.
    pub fn follow(&self, former: &Self) {
        let mut before = former.lock();
        *self.lock() = State {
            counts: before.counts.clone(),
            topics: std::mem::take(&mut before.topics),
            tells_status: before.tells_status,
        };
    }

    /// What came of it.
    pub fn counts(&self) -> Counts {
        self.lock().counts.clone()
    }

    /// The same as before, from a delivery that was repeated.
    pub fn repeated(&self) {
        self.lock().counts.repeated += 1;
    }

    /// A payload that can't be mapped.
    pub fn refused(&self, why: &str) {
        let mut state = self.lock();
        state.counts.payloads += 1;
        state.counts.refused += 1;
        state.counts.heard = Some(Instant::now());
        state.counts.last_refusal = Some(why.to_owned());
    }

    /// What its program made of a payload. `None`: nothing that goes to the disk.
    ///
    /// # Errors
    /// There is no room for it: nothing was taken.
    pub fn say(
        &self,
        topic: &str,
        payload: &[u8],
        retained: Retained,
        made: Vec<Output>,
        intake: &Arc<dyn DeviceIntake>,
    ) -> Result<Said, String> {
        let mut state = self.lock();
        let (events, seen) = state.news(topic, payload, retained, &made);
        let count = events.len() as u64;
        let said = match events.is_empty() {
            true => None,
            false => Some(self.speak(events, intake)?),
        };
        if state.topics.len() >= TOPICS_MAX && !state.topics.contains_key(topic) {
            state.topics.clear();
        }
        state.topics.insert(topic.to_owned(), seen);
        state.counts.payloads += 1;
        state.counts.events += count;
        state.counts.heard = Some(Instant::now());
        let status = made.iter().rev().find_map(|output| match output {
            Output::Status(online) => Some(*online),
            Output::Event { .. } => None,
        });
        state.tells_status |= status.is_some();
        match status {
            Some(online) => intake.presence(&self.id, online),
            // Whoever has no link of his own is there when something comes of him.
            None if self.via.is_some() && !state.tells_status && retained != Retained::Stored => {
                intake.presence(&self.id, true);
            }
            None => {}
        }
        Ok(said)
    }

    fn speak(
        &self,
        events: Vec<(Moment, Kind)>,
        intake: &Arc<dyn DeviceIntake>,
    ) -> Result<(watch::Receiver<u64>, u64), String> {
        let mut voice = self.numbering.voice.lock();
        let voice = voice.as_mut().unwrap_or_else(|poisoned| poisoned.get_mut());
        let voice = voice.get_or_insert_with(|| {
            let model = format!("profile {}", self.lane.name);
            let intake = Arc::clone(intake);
            let model: String = model.chars().take(128).collect();
            Voice::start(self.id.clone(), self.numbering.boot, &model, &[], intake)
        });
        let position = voice
            .say_all(events)
            .ok_or_else(|| "too many events of this device wait for the disk".to_owned())?;
        Ok((voice.on_disk(), position))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What of it is news, and what is remembered of it.
    fn news(
        &self,
        topic: &str,
        payload: &[u8],
        retained: Retained,
        made: &[Output],
    ) -> (Vec<(Moment, Kind)>, Seen) {
        let mut seen = Seen {
            payload: hash(payload),
            alarms: Vec::new(),
        };
        let before = self.topics.get(topic);
        let happened = match retained {
            Retained::No => true,
            Retained::Flagged => before.is_some_and(|before| before.payload != seen.payload),
            Retained::Stored => false,
        };
        let now = Instant::now();
        let mut events = Vec::new();
        for output in made {
            let Output::Event { when, kind } = output else {
                continue;
            };
            let is_news = match kind {
                Kind::Reading { .. } | Kind::Hello { .. } => true,
                Kind::Alarm { alarm, text } => {
                    let alarm = format!("{alarm} {}", text.as_deref().unwrap_or_default());
                    let lasts = before.is_some_and(|before| before.alarms.contains(&alarm));
                    seen.alarms.push(alarm);
                    !lasts
                }
                _ => happened,
            };
            if is_news {
                events.push((moment(*when, now), kind.clone()));
            }
        }
        (events, seen)
    }
}

fn moment(when: When, now: Instant) -> Moment {
    match when {
        When::At(at_ms) => Moment::At(at_ms),
        When::Age(age_ms) => {
            let then = now.checked_sub(Duration::from_millis(age_ms));
            Moment::Then(then.unwrap_or(now))
        }
        When::Unsaid => Moment::Then(now),
    }
}

/// What tells one payload from another.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::super::output::outputs;
    use super::*;

    /// The kinds that are news of payloads that come one after the other.
    fn news(payloads: &[(&str, Retained, &str)]) -> Vec<Vec<&'static str>> {
        let mut state = State::default();
        let mut all = Vec::new();
        for (payload, retained, made) in payloads {
            let made = outputs(made.as_bytes()).unwrap();
            let (events, seen) = state.news("t", payload.as_bytes(), *retained, &made);
            state.topics.insert("t".to_owned(), seen);
            all.push(events.iter().map(|(_, kind)| kind.name()).collect());
        }
        all
    }

    const CARD: &str = r#"[{"kind":"access","door":"d","outcome":"granted"},{"kind":"reading","senml":[{"n":"x","v":1}]}]"#;
    const SMOKE: &str = r#"[{"kind":"alarm","alarm":"smoke"}]"#;

    #[test]
    fn what_is_only_a_state_makes_nobody_come_again() {
        use Retained::{Flagged, No, Stored};
        // Each happening is one, as alike as they may be.
        assert_eq!(
            news(&[("a", No, CARD), ("a", No, CARD)]),
            [["access", "reading"], ["access", "reading"]]
        );
        // What a broker hands out again is old.
        assert_eq!(
            news(&[("a", Stored, CARD), ("b", Stored, CARD)]),
            [["reading"], ["reading"]]
        );
        // What is published as a state is news when it is another one than before.
        assert_eq!(
            news(&[
                ("a", Flagged, CARD),
                ("a", Flagged, CARD),
                ("b", Flagged, CARD)
            ]),
            [vec!["reading"], vec!["reading"], vec!["access", "reading"]]
        );
    }

    #[test]
    fn an_alarm_is_said_once_as_long_as_it_lasts() {
        use Retained::{No, Stored};
        assert_eq!(
            news(&[
                ("a", No, SMOKE),
                ("b", No, SMOKE),
                ("c", No, "[]"),
                ("d", No, SMOKE)
            ]),
            [vec!["alarm"], vec![], vec![], vec!["alarm"]]
        );
        assert_eq!(news(&[("a", Stored, SMOKE)]), [["alarm"]]);
    }
}
