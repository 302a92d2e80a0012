//! What the disk refuses at the moment, and since when: an entry a duty, for `linli status` and for a
//! log that doesn't flood.
//!
//! Whoever needs the disk says how it went. The log gets one line when a duty begins to fail, one
//! each hour while it does, and one when it is over.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::clock::Clock;

/// How often a failure that lasts is said again in the log.
const SAY_AGAIN: Duration = Duration::from_secs(3_600);

/// What to do about a disk at the start, for messages that end there.
pub const REMEDY: &str = "look for space (df -h), for a disk that fails (dmesg) or is mounted read-only (mount), and whether the file belongs to this user (ls -l), then start again";

/// How soon a duty that nobody waits for is tried again while the disk refuses it.
pub const TRY_AGAIN: Duration = Duration::from_secs(1);

/// What the disk is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Duty {
    /// Writing down what happens. Without it nothing is acknowledged and nothing opens.
    Writing,
    /// Moving the log into the database.
    Checkpoint,
    /// Removing what is old.
    Retention,
    /// Reading or making the key of the day.
    DayKeys,
    /// Reading the devices' passwords after they were changed.
    Passwords,
    /// Reading what waits for the cloud.
    Uplink,
    /// Reading the store for people.
    Reading,
    /// Verifying the parcels' history.
    Audit,
    /// Reading and making the certificates of MQTT over TLS.
    Certificates,
}

impl Duty {
    /// For the log: what doesn't work, and what that means.
    const fn meaning(self) -> &'static str {
        match self {
            Self::Writing => "nothing can be written: events stay with the devices, no door opens",
            Self::Checkpoint => "the log can't be moved into the database, and grows",
            Self::Retention => "old events can't be removed, and stay longer",
            Self::DayKeys => {
                "the day's key can't be used: events with a card stay with the devices"
            }
            Self::Passwords => "the password file can't be read: the passwords read before hold",
            Self::Uplink => "what waits for the cloud can't be read: it waits longer",
            Self::Reading => "the store can't be read for a technician",
            Self::Audit => "the parcels' history can't be verified",
            Self::Certificates => {
                "the certificates for MQTT over TLS can't be read or renewed: those from before hold"
            }
        }
    }
}

/// A duty that the disk refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Which.
    pub duty: Duty,
    /// Why it failed last, in words.
    pub error: String,
    /// Since when, ms since the Unix epoch.
    pub since_ms: i64,
    /// How often it has failed since.
    pub times: u64,
}

/// What is known of the disk. Clones share it.
#[derive(Clone)]
pub struct Disk(Arc<Inner>);

struct Inner {
    clock: Clock,
    /// How many entries there are, so that whoever is served needn't take the lock.
    refusing: AtomicUsize,
    refused: Mutex<BTreeMap<Duty, Entry>>,
}

struct Entry {
    error: String,
    since_ms: i64,
    times: u64,
    said: Instant,
}

impl Entry {
    fn refused(&self, duty: Duty) -> Refused {
        Refused {
            duty,
            error: self.error.clone(),
            since_ms: self.since_ms,
            times: self.times,
        }
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self::new(Clock::system())
    }
}

impl Disk {
    /// A disk of which nothing bad is known yet; times come from `clock`.
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Inner {
            clock,
            refusing: AtomicUsize::new(0),
            refused: Mutex::default(),
        }))
    }

    /// A duty failed.
    pub fn refuses(&self, duty: Duty, error: &str) {
        self.refuses_at(duty, error, Instant::now());
    }

    /// A duty was done.
    pub fn serves(&self, duty: Duty) {
        if self.0.refusing.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut refused = self.lock();
        if let Some(entry) = refused.remove(&duty) {
            self.0.refusing.store(refused.len(), Ordering::Relaxed);
            let times = entry.times;
            tracing::info!(?duty, times, "the disk does it again");
        }
    }

    /// Notes how a duty went.
    pub fn note<T, E: Error + 'static>(&self, duty: Duty, outcome: &Result<T, E>) {
        match outcome {
            Ok(_) => self.serves(duty),
            Err(e) => self.refuses(duty, &chain(e)),
        }
    }

    /// Whether a duty failed when it was last tried.
    pub fn is_refused(&self, duty: Duty) -> bool {
        self.0.refusing.load(Ordering::Relaxed) > 0 && self.lock().contains_key(&duty)
    }

    /// Why a duty failed when it was last tried, if it did.
    pub fn refusal(&self, duty: Duty) -> Option<Refused> {
        self.lock().get(&duty).map(|entry| entry.refused(duty))
    }

    /// All that is refused.
    pub fn refused(&self) -> Vec<Refused> {
        let refused = self.lock();
        let entries = refused.iter().map(|(duty, entry)| entry.refused(*duty));
        entries.collect()
    }

    /// Does a duty that nobody waits for again and again while it is refused, until `stopped`.
    pub async fn keep_trying(
        self,
        duty: Duty,
        mut stopped: watch::Receiver<bool>,
        again: impl Fn(),
    ) {
        loop {
            let stop = tokio::time::timeout(TRY_AGAIN, stopped.wait_for(|stop| *stop)).await;
            if stop.is_ok() {
                return;
            }
            if self.is_refused(duty) {
                again();
            }
        }
    }

    /// Returns whether it was said in the log.
    fn refuses_at(&self, duty: Duty, error: &str, now: Instant) -> bool {
        let mut refused = self.lock();
        let known = refused.contains_key(&duty);
        let entry = refused.entry(duty).or_insert_with(|| Entry {
            error: String::new(),
            since_ms: self.0.clock.now().wall_ms,
            times: 0,
            said: now,
        });
        entry.times += 1;
        error.clone_into(&mut entry.error);
        let say = !known || now.saturating_duration_since(entry.said) >= SAY_AGAIN;
        if say {
            entry.said = now;
            let (times, meaning) = (entry.times, duty.meaning());
            tracing::error!(?duty, %error, times, "{meaning}");
        }
        self.0.refusing.store(refused.len(), Ordering::Relaxed);
        say
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Duty, Entry>> {
        self.0
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// An error with its causes, on one line.
pub fn chain(e: &(dyn Error + 'static)) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(e) = cause {
        let said = e.to_string();
        // Some libraries repeat their cause in their own words.
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = e.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_lasts_is_one_line_an_hour() {
        let disk = Disk::default();
        let start = Instant::now();
        let said = (0..7_200_u64)
            .map(|second| {
                disk.refuses_at(Duty::Checkpoint, "no", start + Duration::from_secs(second))
            })
            .filter(|said| *said)
            .count();
        assert_eq!(said, 2);
        let known = disk.refused();
        assert_eq!((known.len(), known[0].times), (1, 7_200));
    }

    #[test]
    fn what_is_over_is_gone_and_says_so_anew() {
        let disk = Disk::default();
        disk.refuses(Duty::Writing, "one");
        disk.refuses(Duty::Reading, "two");
        assert!(disk.is_refused(Duty::Writing));
        disk.serves(Duty::Writing);
        assert!(!disk.is_refused(Duty::Writing) && disk.is_refused(Duty::Reading));
        disk.serves(Duty::Reading);
        assert_eq!(disk.refused(), []);
        assert!(disk.refuses_at(Duty::Writing, "again", Instant::now()));
    }
}
