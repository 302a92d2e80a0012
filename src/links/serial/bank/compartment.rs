//! A compartment behind a board: from the bits that the board shows to what is said of it.
//!
//! A contact bounces, and one status may have been garbled in a way that its sum doesn't show. So a
//! state counts when two statuses show it, [`STEADY`] apart at least; only a door that a command
//! waits for counts as open at once. Of an occupancy sensor only what it shows behind a closed door
//! is said: before, it shows hands.

use std::time::{Duration, Instant};

use firmware_protocols::Kind;
use firmware_protocols::event::Door;

use crate::config::serial::{BoardSection, Level};

/// How far apart two statuses that agree must be.
pub const STEADY: Duration = Duration::from_millis(40);
/// How long the news of a closed door waits for an occupancy sensor that can't make up its mind.
/// After that it is said without it.
const OCCUPANCY_PATIENCE: Duration = Duration::from_secs(1);
/// So many states of a compartment are said at once, and then one each [`AGAIN_AFTER`], the latest:
/// a loose contact doesn't fill the disk.
const AT_ONCE: u32 = 30;
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// What a board shows of a channel, as it is on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw {
    /// The state bit; whether set means closed is the board's setting `closed`.
    pub state: bool,
    /// The occupancy sensor's bit, on boards that have one; what it means is the setting `occupied`.
    pub occupied: Option<bool>,
}

/// A compartment.
pub(super) struct Compartment {
    /// Its number, from 1.
    pub number: u16,
    /// Its board.
    pub board: usize,
    /// Its channel there, from 1.
    pub channel: u16,
    closed: Level,
    occupied_level: Option<Level>,
    door: Steady<Door>,
    occupied: Steady<bool>,
    /// Since when the door has been closed.
    closed_since: Option<Instant>,
    said: Option<(Door, Option<bool>)>,
    allowance: Allowance,
}

impl Compartment {
    pub fn new(number: u16, board: usize, channel: u16, section: &BoardSection) -> Self {
        Self {
            number,
            board,
            channel,
            closed: section.closed,
            occupied_level: section.occupied,
            door: Steady::default(),
            occupied: Steady::default(),
            closed_since: None,
            said: None,
            allowance: Allowance::default(),
        }
    }

    /// The board shows this. What it means for the door, certain or not.
    pub fn see(&mut self, raw: Raw, now: Instant) -> Door {
        let door = match raw.state == (self.closed == Level::One) {
            true => Door::Closed,
            false => Door::Open,
        };
        if self.door.see(door, now) {
            self.closed_since = (door == Door::Closed).then_some(now);
        }
        if let (Some(level), Some(bit)) = (self.occupied_level, raw.occupied) {
            self.occupied.see(bit == (level == Level::One), now);
        }
        door
    }

    /// It counts as open, without a second status.
    pub fn is_open(&mut self) {
        self.door = Steady::certain(Door::Open);
        self.closed_since = None;
    }

    /// Nothing is known of it any more. What is to be said of that, if it wasn't yet.
    pub fn is_unknown(&mut self) -> Option<Kind> {
        self.door = Steady::default();
        self.occupied = Steady::default();
        self.closed_since = None;
        let unknown = (Door::Unknown, None);
        (self.said != Some(unknown)).then(|| self.saying(unknown))
    }

    /// What is to be said now, if anything.
    pub fn news(&mut self, now: Instant) -> Option<Kind> {
        let state = self.state(now)?;
        let is_news = match (self.said, state) {
            (Some((Door::Open, _)), (Door::Open, _)) => false,
            (said, state) => said != Some(state),
        };
        (is_news && self.allowance.take(now)).then(|| self.saying(state))
    }

    /// The state, to be said whether it is news or not: somebody waits for it.
    pub fn say(&mut self) -> Kind {
        let door = self.door.value.unwrap_or(Door::Unknown);
        self.saying((door, self.occupied.settled()))
    }

    /// What was said may be lost. It comes again: at once if it is that nothing is known.
    pub fn say_again(&mut self) -> Option<Kind> {
        let said = self.said.take()?;
        (said.0 == Door::Unknown).then(|| self.saying(said))
    }

    /// Whether its state isn't certain.
    pub fn unsettled(&self) -> bool {
        self.door.wavers() || self.occupied.wavers()
    }

    /// When there will be news without a further status.
    pub fn due(&self) -> Option<Instant> {
        let door = self.door.value?;
        let waits = self.said.is_none_or(|(said, _)| said != door);
        let patience = self.closed_since.filter(|_| self.occupied_level.is_some());
        let patience = patience.map(|since| since + OCCUPANCY_PATIENCE);
        waits.then(|| patience.max(self.allowance.next())).flatten()
    }

    /// The state as far as it can be said now.
    fn state(&self, now: Instant) -> Option<(Door, Option<bool>)> {
        let door = self.door.value?;
        let occupied = self.occupied.settled();
        if door != Door::Closed || self.occupied_level.is_none() || occupied.is_some() {
            return Some((door, occupied));
        }
        let said = self.said.filter(|(said, _)| *said == Door::Closed);
        let patient = self
            .closed_since
            .is_some_and(|since| now < since + OCCUPANCY_PATIENCE);
        match said {
            // It wavers: what was said of it stands until it doesn't.
            Some(said) => Some(said),
            None if patient => None,
            None => Some((door, None)),
        }
    }

    fn saying(&mut self, state: (Door, Option<bool>)) -> Kind {
        self.said = Some(state);
        let (door, occupied) = state;
        Kind::Compartment {
            compartment: self.number,
            door,
            occupied,
        }
    }
}

/// A value that counts once two statuses agree on it.
struct Steady<T> {
    value: Option<T>,
    /// What was shown last, and since when, as long as it isn't certain.
    shown: Option<(T, Instant)>,
}

impl<T> Default for Steady<T> {
    fn default() -> Self {
        Self {
            value: None,
            shown: None,
        }
    }
}

impl<T: Copy + PartialEq> Steady<T> {
    fn certain(value: T) -> Self {
        Self {
            value: Some(value),
            shown: None,
        }
    }

    /// Whether the value has changed by it.
    fn see(&mut self, shown: T, now: Instant) -> bool {
        match self.shown {
            None if self.value == Some(shown) => false,
            Some((before, since)) if before == shown => {
                let changed = now >= since + STEADY && self.value != Some(shown);
                if now >= since + STEADY {
                    *self = Self::certain(shown);
                }
                changed
            }
            _ => {
                self.shown = Some((shown, now));
                false
            }
        }
    }

    fn wavers(&self) -> bool {
        self.shown.is_some()
    }

    /// The value, unless another was shown meanwhile.
    fn settled(&self) -> Option<T> {
        self.value.filter(|_| !self.wavers())
    }
}

/// How much may be said of a compartment on its own account.
#[derive(Default)]
struct Allowance {
    used: u32,
    /// When the first of what is used comes back.
    back: Option<Instant>,
}

impl Allowance {
    fn take(&mut self, now: Instant) -> bool {
        while let Some(back) = self.back.filter(|back| *back <= now) {
            self.used = self.used.saturating_sub(1);
            self.back = (self.used > 0).then(|| back + AGAIN_AFTER);
        }
        if self.used >= AT_ONCE {
            return false;
        }
        self.used += 1;
        self.back = self.back.or(Some(now + AGAIN_AFTER));
        true
    }

    /// When there is something again; `None` if there is something now.
    fn next(&self) -> Option<Instant> {
        self.back.filter(|_| self.used >= AT_ONCE)
    }
}
