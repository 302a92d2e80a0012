//! The uplink of one track: batch after batch while something waits.
//!
//! What a refusal is about decides what stops. A gap, a fork or an unreadable item stops its lane
//! only: the lane is held with a back-off of its own, is shown with the remedy, and the others go
//! on. When a refusal names no lane, the lanes of the batch are sent each alone to find out. All
//! else (a wrong epoch, an unknown gateway, no network) stops the whole track with its back-off. A
//! batch that is too large, or that didn't get through, is halved.

use std::collections::BTreeMap;

use cloud_protocol::{Acked, BODY_MAX_BYTES, Batch, Lane, Problem, ProblemType};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Shared;
use super::backoff::{Backoff, jitter};
use super::failure::{Cause, Failure, remedy};
use super::ledger::{BatchLimits, LedgerError};
use super::size::{BatchSize, Extent};
use super::urge::Errand;

/// What a round brought.
pub(super) enum Round {
    /// The cloud took something: there may be more.
    Taken,
    /// Nothing was taken, and a lane is held now.
    Held,
    /// Nothing was taken, and batches are smaller now.
    Smaller,
    /// Nothing waits.
    Nothing,
}

/// What one track knows of its lanes.
pub(super) struct Uplink<'a> {
    shared: &'a Shared,
    holds: BTreeMap<Lane, Hold>,
    size: BatchSize,
}

/// A lane that the cloud refuses.
struct Hold {
    backoff: Backoff,
    until: Instant,
}

impl<'a> Uplink<'a> {
    pub fn new(shared: &'a Shared, size: BatchSize) -> Self {
        Self {
            shared,
            holds: BTreeMap::new(),
            size,
        }
    }

    /// Sends the next batch of all lanes but those to `leave_out`. `urgent` hears that there is one.
    pub async fn round(
        &mut self,
        leave_out: &[Lane],
        urgent: Option<&watch::Sender<bool>>,
        errand: &mut Errand<'_>,
    ) -> Result<Round, Failure> {
        let limits = self.size.limits();
        let mut held = leave_out.to_vec();
        held.extend(Lane::ALL.into_iter().filter(|lane| self.is_held(*lane)));
        let limits = BatchLimits {
            items: limits.items,
            bytes: limits.bytes,
            held,
            seal: self.shared.client.seal()?,
            demand_minutes: self.shared.line.demand_minutes(),
        };
        let Some(batch) = self.shared.ledger.next_batch(limits).await? else {
            return Ok(Round::Nothing);
        };
        if let Some(urgent) = urgent {
            urgent.send_if_modified(|urgent| !std::mem::replace(urgent, true));
        }
        match self.send(&batch, errand).await {
            Err(Failure::Refused(problem)) if is_about_a_lane(&problem) => {
                self.find_the_lane(batch, problem, errand).await
            }
            outcome => outcome,
        }
    }

    /// Held lanes are tried at once.
    pub fn release(&mut self) {
        self.holds.clear();
    }

    /// Whether a lane is held now because the cloud refuses it.
    pub fn is_held(&self, lane: Lane) -> bool {
        let hold = self.holds.get(&lane);
        hold.is_some_and(|hold| hold.until > Instant::now())
    }

    /// When the next held lane is tried again.
    pub fn next_due(&self) -> Option<Instant> {
        let now = Instant::now();
        let holds = self.holds.values().map(|hold| hold.until);
        holds.filter(|until| *until > now).min()
    }

    /// Sends one batch and enters the answer.
    async fn send(&mut self, batch: &Batch, errand: &mut Errand<'_>) -> Result<Round, Failure> {
        let encoded = self.shared.client.encode(batch);
        let extent = Extent {
            items: batch.lanes.values().map(|part| part.items.len()).sum(),
            bytes: encoded.0.len(),
        };
        if extent.bytes > BODY_MAX_BYTES {
            return self.smaller(extent, too_large());
        }
        let (acked, cost) = match self.shared.client.uplink(encoded).await {
            Ok(answer) => answer,
            Err(Failure::Refused(problem)) if problem.kind == Some(ProblemType::TooLarge) => {
                return self.smaller(extent, problem);
            }
            Err(failure) => {
                if broke_on_the_way(&failure) {
                    self.size.broke(extent);
                }
                return Err(failure);
            }
        };
        self.shared.line.uplink(batch, &cost);
        errand.cost(&cost);
        if !goes_on(batch, &acked) {
            let words = "the cloud answered a batch without taking anything of it";
            return Err(Failure::Odd(words.to_string()));
        }
        self.size.taken(extent, cost.sent, cost.took);
        self.shared.line.throughput(self.size.bytes_per_s());
        self.enter(batch, acked, errand).await
    }

    async fn enter(
        &mut self,
        batch: &Batch,
        acked: Acked,
        errand: &mut Errand<'_>,
    ) -> Result<Round, Failure> {
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
        for (lane, part) in &batch.lanes {
            self.holds.remove(lane);
            errand.took(*lane, part.items.len() as u64);
        }
        self.shared.status.acknowledged(batch, &acked);
        Ok(Round::Taken)
    }

    /// Holds the lane that a refusal is about; asks with each lane alone if it isn't named.
    async fn find_the_lane(
        &mut self,
        batch: Batch,
        problem: Box<Problem>,
        errand: &mut Errand<'_>,
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
            match self.send(&Batch { epoch, lanes }, errand).await {
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

    fn smaller(&mut self, batch: Extent, problem: Box<Problem>) -> Result<Round, Failure> {
        if self.size.halve(batch) {
            return Ok(Round::Smaller);
        }
        self.size.reset();
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

/// Whether a smaller batch might have got through.
fn broke_on_the_way(failure: &Failure) -> bool {
    matches!(
        failure,
        Failure::Network {
            cause: Cause::TimedOut | Cause::Other,
            ..
        }
    )
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
