//! Whose turn it is on a line with several slaves.
//!
//! Each slave is asked every so often, those that wait longest first. One that didn't answer is *in
//! doubt* until it has answered three times in a row, and gets a growing pause of its own. After an
//! asking in vain no slave in doubt is asked before every other one that is due was asked once.
//!
//! So slaves in doubt, however many, cost a round at most one time-out together: none that answers
//! waits for more. (Beside that, a slave costs one time-out when it dies: nobody can know before.)
//! And one that comes back is found within its pause and, for each slave in doubt, a round.

use std::time::{Duration, Instant};

/// The first pause of a slave that doesn't answer.
pub const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// The longest one.
pub const PAUSE_LONGEST: Duration = Duration::from_secs(10);
/// So many time-outs in a row, and a slave counts as silent.
pub const SILENT_AFTER: u32 = 3;
/// So many answers in a row, and a slave isn't in doubt any more.
const TRUSTED_AFTER: u32 = 3;

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
}

#[derive(Debug, Clone, Copy)]
struct Slave {
    every: Duration,
    due: Instant,
    missed: u32,
    /// So many answers are still wanted of one in doubt.
    doubt: u32,
    pause: Duration,
    /// It is not in doubt, and wasn't asked since a slave was asked in vain.
    owed: bool,
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
            doubt: 0,
            pause: PAUSE_FIRST,
            owed: false,
        };
        Self {
            slaves: every.iter().map(slave).collect(),
        }
    }

    /// What to do next.
    pub fn next(&self, now: Instant) -> Turn {
        let owed = self
            .slaves
            .iter()
            .any(|slave| slave.owed && slave.due <= now);
        let may = |slave: &Slave| slave.doubt == 0 || !owed;
        let all = self.slaves.iter().enumerate();
        let first = all
            .filter(|(_, slave)| may(slave))
            .min_by_key(|(_, slave)| slave.due);
        match first {
            Some((index, slave)) if slave.due <= now => Turn::Ask(index),
            Some((_, slave)) => Turn::Rest(slave.due),
            None => Turn::Rest(now + PAUSE_LONGEST),
        }
    }

    /// It answered.
    pub fn answered(&mut self, slave: usize, now: Instant) {
        if let Some(slave) = self.slaves.get_mut(slave) {
            slave.due = now + slave.every;
            slave.missed = 0;
            slave.doubt = slave.doubt.saturating_sub(1);
            slave.pause = PAUSE_FIRST;
            slave.owed = false;
        }
    }

    /// It didn't, within its time. Says how long it is left alone.
    pub fn missed(&mut self, slave: usize, now: Instant) -> Duration {
        let mut pause = PAUSE_FIRST;
        if let Some(slave) = self.slaves.get_mut(slave) {
            pause = slave.pause;
            slave.due = now + pause;
            slave.missed = slave.missed.saturating_add(1);
            slave.doubt = TRUSTED_AFTER;
            slave.pause = (pause * 2).min(PAUSE_LONGEST);
        }
        for slave in &mut self.slaves {
            slave.owed = slave.doubt == 0;
        }
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
}

#[cfg(test)]
#[path = "rounds_tests.rs"]
mod tests;
