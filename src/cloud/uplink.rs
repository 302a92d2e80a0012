//! The uplink: batch after batch while something waits, then sleep until the nudge.
//!
//! What a refusal is about decides what stops. A gap, a fork or an unreadable item stops its lane
//! only: the lane is held with a back-off of its own, is shown with the remedy, and the others go
//! on. When a refusal names no lane, the lanes of the batch are sent each alone to find out. All
//! else (a wrong epoch, an unknown gateway, no network) stops the whole uplink with the common
//! back-off. A batch that is too large, or that didn't get through in time, is halved.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cloud_protocol::{Acked, BODY_MAX_BYTES, Batch, Lane, Problem, ProblemType};
use tokio::sync::{Notify, watch};

use super::backoff::{Backoff, jitter};
use super::failure::{Cause, Failure, remedy};
use super::ledger::{BatchLimits, LedgerError};
use super::status::Way;
use super::{Patience, Shared, stopped};

/// The ledger is asked after this long even without a nudge.
const IDLE_LONGEST: Duration = Duration::from_secs(60);
/// So many batches in a row must be taken before a halved limit is doubled again.
const TAKEN_BEFORE_GROWTH: u32 = 8;

/// Limits aren't halved more often: a thousandth of what is configured, or one item.
const HALVINGS_MAX: u32 = 10;

/// Runs until `shutdown`, then sends what waits for up to `config.drain`.
pub(super) async fn run(shared: &Shared, nudge: &Notify, shutdown: watch::Receiver<bool>) {
    let drained = async {
        stopped(shutdown.clone()).await;
        tokio::time::sleep(shared.config.drain).await;
    };
    tokio::select! {
        () = send_until_stopped(shared, nudge, &shutdown) => {}
        () = drained => {}
    }
}

async fn send_until_stopped(shared: &Shared, nudge: &Notify, shutdown: &watch::Receiver<bool>) {
    let mut uplink = Uplink {
        shared,
        holds: BTreeMap::new(),
        size: BatchSize::full(),
    };
    let mut patience = Patience::new(shared, Way::Up);
    loop {
        // Read before the round, so that what was nudged for before the stop is still sent.
        let stopping = *shutdown.borrow() || shutdown.has_changed().is_err();
        patience.trying();
        let outcome = uplink.round().await;
        uplink.show_backlog().await;
        match outcome {
            Ok(Round::Taken) => patience.succeeded(),
            Ok(Round::Held) => patience.reached(),
            Ok(Round::Smaller) => {}
            Ok(Round::Nothing) | Err(_) if stopping => return,
            Ok(Round::Nothing) => tokio::select! {
                () = nudge.notified() => {}
                () = tokio::time::sleep(uplink.longest_sleep()) => {}
                () = stopped(shutdown.clone()) => {}
            },
            Err(failure) => tokio::select! {
                () = patience.pause(&failure) => {}
                () = stopped(shutdown.clone()) => return,
            },
        }
    }
}

/// What a round brought.
enum Round {
    /// The cloud took something: there may be more.
    Taken,
    /// Nothing was taken, and a lane is held now.
    Held,
    /// Nothing was taken, and batches are smaller now.
    Smaller,
    /// Nothing waits.
    Nothing,
}

struct Uplink<'a> {
    shared: &'a Shared,
    holds: BTreeMap<Lane, Hold>,
    size: BatchSize,
}

/// A lane that the cloud refuses.
struct Hold {
    backoff: Backoff,
    until: Instant,
}

impl Uplink<'_> {
    async fn round(&mut self) -> Result<Round, Failure> {
        let limits = BatchLimits {
            items: self.size.of(self.shared.config.batch_items),
            bytes: self.size.of(self.shared.config.batch_bytes),
            held: self.held(Instant::now()),
            seal: self.shared.client.seal(),
            demand_minutes: None,
        };
        let Some(batch) = self.shared.ledger.next_batch(limits).await? else {
            return Ok(Round::Nothing);
        };
        match self.send(&batch).await {
            Err(Failure::Refused(problem)) if is_about_a_lane(&problem) => {
                self.find_the_lane(batch, problem).await
            }
            outcome => outcome,
        }
    }

    /// Sends one batch and enters the answer.
    async fn send(&mut self, batch: &Batch) -> Result<Round, Failure> {
        let items: usize = batch.lanes.values().map(|part| part.items.len()).sum();
        let encoded = self.shared.client.encode(batch);
        if encoded.0.len() > BODY_MAX_BYTES {
            return self.smaller(items, too_large());
        }
        let acked = match self.shared.client.uplink(encoded).await {
            Ok((acked, _cost)) => acked,
            Err(Failure::Refused(problem)) if problem.kind == Some(ProblemType::TooLarge) => {
                return self.smaller(items, problem);
            }
            Err(failure) => {
                if matches!(
                    failure,
                    Failure::Network {
                        cause: Cause::TimedOut,
                        ..
                    }
                ) {
                    self.size.halve(items);
                }
                return Err(failure);
            }
        };
        if !goes_on(batch, &acked) {
            let words = "the cloud answered a batch without taking anything of it";
            return Err(Failure::Odd(words.to_string()));
        }
        self.enter(batch, acked).await
    }

    async fn enter(&mut self, batch: &Batch, acked: Acked) -> Result<Round, Failure> {
        let acked = of_batch(batch, acked);
        match self.shared.ledger.acked(batch.epoch, acked.clone()).await {
            Ok(()) => {}
            Err(e @ LedgerError::Ahead { lane, .. }) => {
                let failure = Failure::Ledger(e);
                let remedy = failure.remedy().unwrap_or_default();
                self.hold(lane, failure.to_string(), remedy);
                return Ok(Round::Held);
            }
            Err(e) => return Err(e.into()),
        }
        for lane in batch.lanes.keys() {
            self.holds.remove(lane);
        }
        self.size.taken();
        self.shared.status.acknowledged(batch, &acked);
        Ok(Round::Taken)
    }

    /// Holds the lane that a refusal is about; asks with each lane alone if it isn't named.
    async fn find_the_lane(
        &mut self,
        batch: Batch,
        problem: Box<Problem>,
    ) -> Result<Round, Failure> {
        let named = problem.lane.as_deref().and_then(Lane::from_name);
        let only = batch.lanes.keys().next().filter(|_| batch.lanes.len() == 1);
        if let Some(lane) = named
            .filter(|lane| batch.lanes.contains_key(lane))
            .or(only.copied())
        {
            self.hold_refused(lane, &problem);
            return Ok(Round::Held);
        }
        let mut round = Round::Held;
        let epoch = batch.epoch;
        for (lane, part) in batch.lanes {
            let lanes = BTreeMap::from([(lane, part)]);
            match self.send(&Batch { epoch, lanes }).await {
                Ok(Round::Taken) => round = Round::Taken,
                Ok(_) => {}
                Err(Failure::Refused(problem)) if is_about_a_lane(&problem) => {
                    self.hold_refused(lane, &problem);
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(round)
    }

    /// A batch of so many items is too large.
    fn smaller(&mut self, items: usize, problem: Box<Problem>) -> Result<Round, Failure> {
        if self.size.halve(items) {
            return Ok(Round::Smaller);
        }
        self.size = BatchSize::full();
        Err(Failure::Refused(problem))
    }

    fn hold_refused(&mut self, lane: Lane, problem: &Problem) {
        self.hold(lane, problem.to_string(), remedy(problem));
    }

    fn hold(&mut self, lane: Lane, what: String, remedy: &'static str) {
        let range = self.shared.config.backoff;
        let hold = self.holds.entry(lane).or_insert_with(|| Hold {
            backoff: Backoff::new(range),
            until: Instant::now(),
        });
        hold.until = Instant::now() + hold.backoff.failed(jitter());
        if hold.backoff.failures() == 1 {
            tracing::error!(lane = lane.name(), "{what}; {remedy}");
        }
        self.shared.status.holds(lane, what, remedy);
    }

    fn held(&self, now: Instant) -> Vec<Lane> {
        let held = self.holds.iter().filter(|(_, hold)| hold.until > now);
        held.map(|(lane, _)| *lane).collect()
    }

    /// Until a held lane is due.
    fn longest_sleep(&self) -> Duration {
        let due = self.holds.values().map(|hold| hold.until).min();
        due.map_or(IDLE_LONGEST, |due| {
            due.saturating_duration_since(Instant::now())
                .min(IDLE_LONGEST)
        })
    }

    async fn show_backlog(&self) {
        if let Ok(backlog) = self.shared.ledger.backlog().await {
            self.shared.status.backlog(backlog);
        }
    }
}

/// Whether a refusal is about the items of a lane, so that other lanes may go on.
fn is_about_a_lane(problem: &Problem) -> bool {
    match problem.kind {
        Some(ProblemType::Gap | ProblemType::Fork | ProblemType::Malformed) => true,
        Some(ProblemType::TooLarge) => true,
        Some(_) => false,
        None => matches!(problem.status, 400 | 409 | 422),
    }
}

/// Whether the cloud has more of some lane now than the batch started from.
fn goes_on(batch: &Batch, acked: &Acked) -> bool {
    batch.lanes.iter().any(|(lane, part)| {
        let has = acked.0.get(lane).copied().unwrap_or(0);
        has > part.after
    })
}

/// Leaves out lanes that weren't sent.
fn of_batch(batch: &Batch, acked: Acked) -> Acked {
    let sent = acked.0.into_iter();
    Acked(
        sent.filter(|(lane, _)| batch.lanes.contains_key(lane))
            .collect(),
    )
}

fn too_large() -> Box<Problem> {
    Box::new(Problem {
        kind: Some(ProblemType::TooLarge),
        status: 413,
        title: "One item is larger than a whole batch may be".to_string(),
        detail: None,
        lane: None,
        expected: None,
    })
}

/// How far the configured limits are halved.
struct BatchSize {
    halvings: u32,
    taken: u32,
}

impl BatchSize {
    fn full() -> Self {
        Self {
            halvings: 0,
            taken: 0,
        }
    }

    fn of(&self, limit: usize) -> usize {
        limit.checked_shr(self.halvings).unwrap_or(0).max(1)
    }

    /// Halves, and says whether there was something to halve.
    fn halve(&mut self, items: usize) -> bool {
        self.taken = 0;
        let can = items > 1 && self.halvings < HALVINGS_MAX;
        self.halvings += u32::from(can);
        can
    }

    fn taken(&mut self) {
        self.taken += 1;
        if self.taken >= TAKEN_BEFORE_GROWTH {
            self.taken = 0;
            self.halvings = self.halvings.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_halved_down_to_one_and_grow_back() {
        let mut size = BatchSize::full();
        assert_eq!(size.of(500), 500);
        let halvings = (0..100).filter(|_| size.halve(2)).count();
        assert_eq!((halvings, size.of(500)), (10, 1));
        size = BatchSize::full();
        assert!(size.halve(500) && size.halve(250));
        assert_eq!(size.of(500), 125);
        assert!(!size.halve(1), "one item can't be halved");
        assert_eq!(size.of(500), 125);
        for _ in 0..2 * TAKEN_BEFORE_GROWTH {
            size.taken();
        }
        assert_eq!(size.of(500), 500);
    }
}
