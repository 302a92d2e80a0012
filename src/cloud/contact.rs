//! What the loops know together of their contact with the cloud, and the patience of each.
//!
//! After a failure a loop pauses: full jitter below 1 s, 2 s, 4 s, … 5 min ([`Backoff`]), a first
//! pause again after a success. The downlink starts below 30 s (half of what a return is spread over),
//! as every long poll of a fleet breaks at the same moment when its cloud is started again. Without an answer from the cloud a pause ends
//! early when the way to it opens ([`Path`]), when another loop gets through, or when a technician
//! asks. When the cloud wants to be left alone (429, 503, or any `Retry-After`), all loops leave it
//! alone: there is one cloud.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::backoff::{Backoff, BackoffRange, jitter};
use super::failure::{Cause, Failure};
use super::path::{Gone, Path};
use super::status::{CloudStatus, Way};

/// The longest jitter on top of what a cloud asked for.
const ON_TOP_LONGEST: Duration = Duration::from_secs(300);
/// An outage from which on what isn't urgent is spread anew.
const OUTAGE: Duration = Duration::from_secs(60);

/// What the loops know together.
pub(super) struct Contact {
    range: BackoffRange,
    path: Path,
    status: Arc<CloudStatus>,
    /// Sent when a loop reaches the cloud after it couldn't.
    back: watch::Sender<()>,
    /// Until when the cloud wants to be left alone.
    quiet: watch::Sender<Option<Instant>>,
    /// Since when no loop has got through.
    trouble: Mutex<Option<Instant>>,
    /// Counts outages of more than [`OUTAGE`] that are over.
    outages: watch::Sender<u64>,
    /// Counts what a technician asks for.
    urged: watch::Sender<u64>,
}

impl Contact {
    pub fn new(range: BackoffRange, path: Path, status: Arc<CloudStatus>) -> Self {
        Self {
            range,
            path,
            status,
            back: watch::Sender::new(()),
            quiet: watch::Sender::new(None),
            trouble: Mutex::new(None),
            outages: watch::Sender::new(0),
            urged: watch::Sender::new(0),
        }
    }

    /// Resolves when the cloud doesn't want to be left alone any more.
    pub async fn is_welcome(&self) {
        let mut quiet = self.quiet.subscribe();
        loop {
            let until = *quiet.borrow_and_update();
            let Some(until) = until.filter(|until| *until > Instant::now()) else {
                return;
            };
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                _ = quiet.changed() => {}
            }
        }
    }

    /// How long the cloud still wants to be left alone.
    pub fn quiet_for(&self) -> Option<Duration> {
        let until = (*self.quiet.borrow())?;
        Some(until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    /// Sent after each outage of more than a minute.
    pub fn outages(&self) -> watch::Receiver<u64> {
        self.outages.subscribe()
    }

    /// Ends all pauses but those that the cloud asked for, and what isn't urgent goes too; returns
    /// the number of this urging.
    pub fn urge(&self) -> u64 {
        let mut number = 0;
        self.urged.send_modify(|n| {
            *n += 1;
            number = *n;
        });
        number
    }

    /// The number of the last urging; changes with each.
    pub fn urged(&self) -> watch::Receiver<u64> {
        self.urged.subscribe()
    }

    fn leave_alone(&self, pause: Duration) {
        let until = Instant::now() + pause;
        self.quiet.send_modify(|quiet| {
            *quiet = Some(quiet.map_or(until, |known| known.max(until)));
        });
        self.status.quiet(pause);
    }

    fn in_trouble(&self) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.get_or_insert_with(Instant::now);
    }

    fn out_of_trouble(&self) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.take().is_some_and(|since| since.elapsed() > OUTAGE) {
            self.outages.send_modify(|n| *n += 1);
        }
    }
}

/// The failures of one loop, and the pauses that follow from them.
pub(super) struct Patience<'a> {
    contact: &'a Contact,
    way: Way,
    backoff: Backoff,
    /// Since when there has been no way to the cloud.
    unreachable: Option<Instant>,
    back: watch::Receiver<()>,
    urged: watch::Receiver<u64>,
}

impl<'a> Patience<'a> {
    pub fn new(contact: &'a Contact, way: Way) -> Self {
        let range = match way {
            Way::Down => BackoffRange {
                first: (contact.path.return_takes() / 2)
                    .max(contact.range.first)
                    .min(contact.range.longest),
                ..contact.range
            },
            Way::Fulfilment | Way::Rest => contact.range,
        };
        Self {
            contact,
            way,
            backoff: Backoff::new(range),
            unreachable: None,
            back: contact.back.subscribe(),
            urged: contact.urged.subscribe(),
        }
    }

    /// A call went through.
    pub fn succeeded(&mut self) {
        self.reached();
        self.contact.status.succeeded(self.way);
    }

    /// The cloud is there. Tells the other loops if that is news.
    pub fn reached(&mut self) {
        if self.unreachable.take().is_some() {
            self.contact.back.send_replace(());
            self.back.mark_unchanged();
        }
        self.contact.out_of_trouble();
        self.backoff.succeeded();
        self.contact.status.reached(self.way);
    }

    /// Before an attempt: waits while the cloud wants to be left alone. News of the other loops
    /// from then on ends the next pause.
    pub async fn ready(&mut self) {
        self.contact.is_welcome().await;
        self.back.mark_unchanged();
        self.urged.mark_unchanged();
        self.contact.status.trying(self.way);
    }

    /// Resolves when another loop reaches the cloud after it couldn't, or when a technician asks.
    pub async fn news(&mut self) {
        tokio::select! {
            _ = self.back.changed() => {}
            _ = self.urged.changed() => {}
        }
    }

    /// Resolves when a technician asks.
    pub async fn is_urged(&mut self) {
        // The sender stands beside it.
        let _ = self.urged.changed().await;
    }

    /// Shows the failure and pauses.
    pub async fn pause(&mut self, failure: &Failure) {
        let pause = self.pause_after(failure);
        self.show(failure, pause);
        if matches!(failure, Failure::Network { .. } | Failure::Busy { .. }) {
            self.contact.in_trouble();
        }
        if wants_to_be_left_alone(failure) {
            self.unreachable = None;
            self.contact.leave_alone(pause);
            return self.contact.is_welcome().await;
        }
        let Failure::Network { cause, .. } = failure else {
            self.unreachable = None;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.is_urged() => {}
            }
            return;
        };
        let since = *self.unreachable.get_or_insert_with(Instant::now);
        let contact = self.contact;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = contact.path.returned(since, gone(*cause)) => {}
            _ = self.back.changed() => {}
            _ = self.urged.changed() => {}
        }
    }

    fn pause_after(&mut self, failure: &Failure) -> Duration {
        let backed_off = self.backoff.failed(jitter());
        match failure {
            Failure::Busy {
                retry_after: Some(asked),
                ..
            } => *asked + on_top(*asked, self.contact.range.first).mul_f64(jitter()),
            _ => backed_off,
        }
    }

    fn show(&self, failure: &Failure, pause: Duration) {
        if self.backoff.failures() == 1 {
            tracing::warn!(way = ?self.way, "{failure}");
        } else {
            tracing::debug!(way = ?self.way, "{failure}");
        }
        self.contact.status.failed(self.way, failure, pause);
    }
}

/// The most jitter on top of what was asked for, so that those who were told the same at the same
/// time come back over as long again.
fn on_top(asked: Duration, first: Duration) -> Duration {
    asked.min(ON_TOP_LONGEST).max(first.min(ON_TOP_LONGEST))
}

fn wants_to_be_left_alone(failure: &Failure) -> bool {
    match failure {
        Failure::Busy {
            problem,
            retry_after,
        } => retry_after.is_some() || matches!(problem.status, 429 | 503),
        _ => false,
    }
}

fn gone(cause: Cause) -> Gone {
    match cause {
        Cause::NoWay => Gone::Cloud,
        Cause::NoRoute | Cause::NoResolver => Gone::OwnLink,
        _ => Gone::Unknown,
    }
}

#[cfg(test)]
#[path = "contact_tests.rs"]
mod tests;
