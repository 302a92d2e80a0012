//! Whose turn it is on a line with several slaves.
//!
//! Each slave is asked every so often, those that wait longest first. One that doesn't answer gets a
//! growing pause of its own, and between two askings of silent slaves every slave that answers is
//! asked once: so the dead ones together cost a round at most one time-out.

use std::time::{Duration, Instant};

/// The first pause of a slave that doesn't answer.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// The longest one.
const PAUSE_LONGEST: Duration = Duration::from_secs(10);
/// So many time-outs in a row, and a slave counts as silent.
pub const SILENT_AFTER: u32 = 3;

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Ask this slave.
    Ask(usize),
    /// Nothing is due before then.
    Rest(Instant),
}

/// The slaves of a line, by their index.
#[derive(Debug)]
pub struct Rounds {
    slaves: Vec<Slave>,
    /// A silent slave was asked, and these haven't been since.
    owed: Vec<bool>,
}

#[derive(Debug, Clone, Copy)]
struct Slave {
    every: Duration,
    due: Instant,
    missed: u32,
    pause: Duration,
}

impl Rounds {
    /// Rounds over so many slaves, each asked `every` so often, all due at once.
    pub fn new(slaves: usize, every: Duration, now: Instant) -> Self {
        Self::each(&vec![every; slaves], now)
    }

    /// Rounds over slaves that are each asked so often, all due at once.
    pub fn each(every: &[Duration], now: Instant) -> Self {
        let slave = |every: &Duration| Slave {
            every: *every,
            due: now,
            missed: 0,
            pause: PAUSE_FIRST,
        };
        Self {
            slaves: every.iter().map(slave).collect(),
            owed: vec![false; every.len()],
        }
    }

    /// What to do next.
    pub fn next(&self, now: Instant) -> Turn {
        let owed = self.owed.iter().any(|owed| *owed);
        let may = |(index, slave): &(usize, &Slave)| {
            slave.missed == 0 || !owed || self.owed.get(*index) == Some(&true)
        };
        let all = self.slaves.iter().enumerate();
        let first = all.filter(may).min_by_key(|(_, slave)| slave.due);
        match first {
            Some((index, slave)) if slave.due <= now => Turn::Ask(index),
            Some((_, slave)) => Turn::Rest(slave.due),
            None => Turn::Rest(now + PAUSE_LONGEST),
        }
    }

    /// It answered.
    pub fn answered(&mut self, slave: usize, now: Instant) {
        self.settle(slave);
        if let Some(slave) = self.slaves.get_mut(slave) {
            slave.due = now + slave.every;
            slave.missed = 0;
            slave.pause = PAUSE_FIRST;
        }
    }

    /// It didn't, within its time. Says how long it is left alone.
    pub fn missed(&mut self, slave: usize, now: Instant) -> Duration {
        for (index, owed) in self.owed.iter_mut().enumerate() {
            let answers = self
                .slaves
                .get(index)
                .is_some_and(|slave| slave.missed == 0);
            *owed = answers && index != slave;
        }
        let Some(slave) = self.slaves.get_mut(slave) else {
            return PAUSE_FIRST;
        };
        slave.missed = slave.missed.saturating_add(1);
        let pause = slave.pause;
        slave.due = now + pause;
        slave.pause = (pause * 2).min(PAUSE_LONGEST);
        pause
    }

    /// Ask it as soon as its turn can be: something is going on there.
    pub fn hurry(&mut self, slave: usize, now: Instant) {
        if let Some(slave) = self.slaves.get_mut(slave) {
            slave.due = slave.due.min(now);
        }
    }

    /// Whether it counts as silent.
    pub fn is_silent(&self, slave: usize) -> bool {
        let slave = self.slaves.get(slave);
        slave.is_some_and(|slave| slave.missed >= SILENT_AFTER)
    }

    fn settle(&mut self, slave: usize) {
        if let Some(owed) = self.owed.get_mut(slave) {
            *owed = false;
        }
    }
}
