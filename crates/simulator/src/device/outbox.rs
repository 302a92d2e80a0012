//! A device's own memory: events until they are promised to be on disk, and the record of those
//! that were. It survives a reboot of the device, as flash does.

use std::collections::{BTreeMap, VecDeque};

use firmware_protocols::event::When;
use firmware_protocols::{Event, Kind};

/// Where an event stands: boot, sequence number.
pub type Place = (u32, u64);

/// An event that was promised to be on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// The device's boot.
    pub boot: u32,
    /// Its number in that boot.
    pub seq: u64,
    /// What it was about.
    pub kind: &'static str,
    /// When it happened, ms since the Unix epoch, by the clock of the play.
    pub happened_ms: i64,
    /// When the promise came, by the same clock.
    pub acknowledged_ms: i64,
}

/// The device has no room for another event, and loses it. It says so by its `alarm`s in the
/// field; here the caller decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the device's outbox is full: {0} events wait for the gateway")]
pub struct OutboxFull(pub usize);

/// How a device knows the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceClock {
    /// It has a clock that is right: events carry `at`.
    Set,
    /// It only counts: events carry `age`.
    Counting,
    /// It says nothing.
    None,
}

/// The most events that wait.
pub(super) const WAITING_MAX: usize = 4_096;
/// How many acknowledged events are kept so that they can be sent again.
const KEPT_MAX: usize = 64;

/// Events on their way, and those that arrived.
#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) boot: u32,
    next_seq: u64,
    waiting: BTreeMap<Place, Entry>,
    kept: VecDeque<(Place, Entry)>,
    pub(super) record: Vec<Acknowledged>,
    pub(super) tally: Tally,
}

/// A device's own counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events reported, each counted once.
    pub reported: u64,
    /// Events acknowledged, each counted once.
    pub acknowledged: u64,
    /// Events that were sent more than once, counted each time.
    pub resent: u64,
    /// Events that the gateway put into quarantine.
    pub quarantined: u64,
    /// Events refused for good.
    pub refused: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    happened_ms: i64,
    kind: Kind,
    sent: bool,
    ever_sent: bool,
    /// It was acknowledged before, and is only sent once more.
    again: bool,
}

impl Outbox {
    pub(super) fn new(boot: u32) -> Self {
        Self {
            boot,
            next_seq: 1,
            waiting: BTreeMap::new(),
            kept: VecDeque::new(),
            record: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Takes an event in and gives it its place.
    pub(super) fn add(&mut self, kind: Kind, happened_ms: i64) -> Result<Place, OutboxFull> {
        if self.waiting.len() >= WAITING_MAX {
            return Err(OutboxFull(self.waiting.len()));
        }
        let place = (self.boot, self.next_seq);
        self.next_seq += 1;
        self.tally.reported += 1;
        let entry = Entry {
            happened_ms,
            kind,
            sent: false,
            ever_sent: false,
            again: false,
        };
        self.waiting.insert(place, entry);
        Ok(place)
    }

    /// The device starts anew: a new boot, numbers from 1. What waits keeps its place.
    pub(super) fn reboot(&mut self) {
        self.boot = self.boot.wrapping_add(1);
        self.next_seq = 1;
        self.all_lost();
    }

    /// Up to `most` events to send now, in order, with the time as the device tells it.
    pub(super) fn take(&mut self, most: usize, clock: DeviceClock, now_ms: i64) -> Vec<Event> {
        let tally = &mut self.tally;
        let unsent = self.waiting.iter_mut().filter(|(_, entry)| !entry.sent);
        unsent
            .take(most)
            .map(|(&(boot, seq), entry)| {
                tally.resent += u64::from(entry.ever_sent);
                entry.sent = true;
                entry.ever_sent = true;
                Event {
                    boot,
                    seq,
                    when: when(clock, entry.happened_ms, now_ms),
                    kind: entry.kind.clone(),
                }
            })
            .collect()
    }

    /// The connection is gone: all that waits is to be sent again.
    pub(super) fn all_lost(&mut self) {
        for entry in self.waiting.values_mut() {
            entry.sent = false;
        }
    }

    /// These are to be sent again.
    pub(super) fn lost(&mut self, places: &[Place]) {
        for place in places {
            if let Some(entry) = self.waiting.get_mut(place) {
                entry.sent = false;
            }
        }
    }

    /// These are on disk.
    pub(super) fn acknowledged(&mut self, places: &[Place], now_ms: i64) {
        for place in places {
            let Some(entry) = self.waiting.remove(place) else {
                continue;
            };
            if !entry.again {
                self.tally.acknowledged += 1;
                self.record.push(Acknowledged {
                    boot: place.0,
                    seq: place.1,
                    kind: entry.kind.name(),
                    happened_ms: entry.happened_ms,
                    acknowledged_ms: now_ms,
                });
            }
            self.kept.push_back((*place, entry));
            if self.kept.len() > KEPT_MAX {
                self.kept.pop_front();
            }
        }
    }

    /// Everything of `boot` up to `seq` is on disk.
    /// Returns which they are.
    pub(super) fn receipt(&mut self, boot: u32, seq: u64, now_ms: i64) -> Vec<Place> {
        let places: Vec<Place> = self
            .waiting
            .range((boot, 0)..=(boot, seq))
            .map(|(place, _)| *place)
            .collect();
        self.acknowledged(&places, now_ms);
        places
    }

    /// These won't be taken: the device gives them up.
    pub(super) fn given_up(&mut self, places: &[Place], quarantined: bool) {
        for place in places {
            if self.waiting.remove(place).is_some() {
                match quarantined {
                    true => self.tally.quarantined += 1,
                    false => self.tally.refused += 1,
                }
            }
        }
    }

    /// The last acknowledged events, 64 at most, are to be sent once more; returns how many.
    pub(super) fn again(&mut self) -> usize {
        let count = self.kept.len();
        for (place, mut entry) in self.kept.drain(..) {
            entry.sent = false;
            entry.again = true;
            self.waiting.insert(place, entry);
        }
        count
    }

    /// Whether this one isn't promised or given up yet.
    pub(super) fn is_waiting(&self, place: Place) -> bool {
        self.waiting.contains_key(&place)
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

fn when(clock: DeviceClock, happened_ms: i64, now_ms: i64) -> When {
    match clock {
        DeviceClock::Set => When::At(happened_ms),
        DeviceClock::Counting => When::Age(u64::try_from(now_ms - happened_ms).unwrap_or(0)),
        DeviceClock::None => When::Unsaid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarm() -> Kind {
        Kind::Alarm {
            alarm: "tamper".to_string(),
            text: None,
        }
    }

    fn places(events: &[Event]) -> Vec<Place> {
        events.iter().map(|e| (e.boot, e.seq)).collect()
    }

    #[test]
    fn an_event_waits_until_it_is_promised() {
        let mut outbox = Outbox::new(5);
        for _ in 0..3 {
            outbox.add(alarm(), 100).unwrap();
        }
        let sent = outbox.take(2, DeviceClock::Counting, 150);
        assert_eq!(places(&sent), [(5, 1), (5, 2)]);
        assert_eq!(sent[0].when, When::Age(50));
        outbox.acknowledged(&[(5, 1)], 160);
        outbox.all_lost();
        let sent = outbox.take(9, DeviceClock::Set, 200);
        assert_eq!(places(&sent), [(5, 2), (5, 3)]);
        assert_eq!(sent[0].when, When::At(100));
        assert_eq!(outbox.tally.resent, 1);
        outbox.receipt(5, 3, 210);
        assert_eq!((outbox.waiting(), outbox.record.len()), (0, 3));
    }

    #[test]
    fn a_reboot_keeps_what_waits_and_numbers_anew() {
        let mut outbox = Outbox::new(5);
        outbox.add(alarm(), 1).unwrap();
        outbox.reboot();
        outbox.add(alarm(), 2).unwrap();
        let sent = outbox.take(9, DeviceClock::None, 3);
        assert_eq!(places(&sent), [(5, 1), (6, 1)]);
        outbox.receipt(6, 1, 4);
        assert_eq!(outbox.waiting(), 1, "a receipt is about its own boot");
    }

    #[test]
    fn what_is_sent_once_more_is_recorded_once() {
        let mut outbox = Outbox::new(1);
        outbox.add(alarm(), 1).unwrap();
        outbox.take(1, DeviceClock::None, 1);
        outbox.acknowledged(&[(1, 1)], 2);
        assert_eq!(outbox.again(), 1);
        assert_eq!(outbox.take(1, DeviceClock::None, 3).len(), 1);
        outbox.acknowledged(&[(1, 1)], 4);
        assert_eq!(outbox.record.len(), 1);
        assert_eq!(outbox.tally.resent, 1);
        assert_eq!(outbox.waiting(), 0);
    }

    #[test]
    fn a_full_outbox_says_so() {
        let mut outbox = Outbox::new(1);
        for _ in 0..WAITING_MAX {
            outbox.add(alarm(), 1).unwrap();
        }
        assert_eq!(outbox.add(alarm(), 1), Err(OutboxFull(WAITING_MAX)));
    }
}
