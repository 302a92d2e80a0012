//! One of a gateway's two tracks: its lanes, what happens in them, and sending it until it is
//! acknowledged. `fulfilment` has one alone; `health` and `demand` share the other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cloud_protocol::uplink::Acked;
use cloud_protocol::{Batch, Lane, Problem, ProblemType, Report, SealingKey};
use http::Method;
use simulator::Random;

use crate::caller::{Caller, Outcome, encoded, now_ms};
use crate::lanes::{LaneState, Position};
use crate::life::{Demand, Parcels};
use crate::tally::Count;

/// The epoch of every gateway's store.
pub const EPOCH: u64 = 1_760_000_000;
/// The most items of a lane in a batch.
const BATCH_MAX: usize = 16;

/// A connection that isn't needed for longer is closed.
const KEPT_OPEN: Duration = Duration::from_secs(1);

/// What happens on a track.
#[derive(Debug, Clone)]
pub enum Life {
    /// Parcels.
    Parcels(Parcels),
    /// Demand, and how the gateway is.
    Demand(Demand),
}

/// One track.
pub struct Track {
    /// Its calls.
    pub caller: Caller,
    /// Its lanes.
    pub lanes: Vec<LaneState>,
    /// What happens.
    pub life: Life,
    /// Whether its store was copied, or is the copy.
    pub copied: bool,
    /// The seed of the codes, and what they are sealed to.
    pub seal: (u64, SealingKey),
    /// From one thing that happens to the next, in the mean.
    pub gap: Duration,
    random: Random,
    next: Instant,
    not_before: Instant,
    failures: u32,
}

/// A batch made ahead, and where its lanes stand after it.
pub struct Prepared {
    /// The body, and whether it is packed.
    pub body: (Bytes, bool),
    /// Its items.
    pub items: u64,
    /// What must be acknowledged.
    pub ends: Vec<(Lane, Position)>,
}

impl Track {
    /// With nothing to send yet.
    pub fn new(
        caller: Caller,
        life: Life,
        seal: (u64, SealingKey),
        gap: Duration,
        mut random: Random,
    ) -> Self {
        let lanes: &[Lane] = match life {
            Life::Parcels(_) => &[Lane::Fulfilment],
            Life::Demand(_) => &[Lane::Health, Lane::Demand],
        };
        let first = gap.mul_f64(random.below(1_000) as f64 / 1_000.0);
        Self {
            caller,
            lanes: lanes.iter().map(|lane| LaneState::new(*lane)).collect(),
            life,
            copied: false,
            seal,
            gap,
            random,
            next: Instant::now() + first,
            not_before: Instant::now(),
            failures: 0,
        }
    }

    /// A copy of the store in another box: from now on both live. Something happens to each at once,
    /// so that they differ, and then every `gap`, if that is shorter than theirs.
    pub fn copy(&mut self, gap: Duration) -> anyhow::Result<Self> {
        self.copied = true;
        self.gap = self.gap.min(gap);
        self.next = self.next.min(Instant::now() + gap);
        let mut life = self.life.clone();
        match &mut life {
            Life::Parcels(parcels) => parcels.diverge(),
            Life::Demand(demand) => demand.diverge(),
        }
        let mut copy = Self {
            caller: self.caller.copy(),
            lanes: self.lanes.clone(),
            life,
            copied: true,
            seal: self.seal.clone(),
            gap: self.gap,
            random: self.random.fork("copy"),
            next: self.next,
            not_before: self.not_before,
            failures: self.failures,
        };
        self.differ()?;
        copy.differ()?;
        Ok(copy)
    }

    /// Something that happens to no other store: a code is sealed, or an hour is counted.
    fn differ(&mut self) -> anyhow::Result<()> {
        let now = i64::try_from(now_ms()?)?;
        let reports = match &mut self.life {
            Life::Parcels(parcels) => vec![parcels.announce((self.seal.0, &self.seal.1), now)?],
            Life::Demand(demand) => demand.hour_and_health(),
        };
        self.report(now, reports);
        Ok(())
    }

    /// Things happen and are sent, until then.
    pub async fn live(&mut self, until: Instant) -> anyhow::Result<()> {
        while Instant::now() < until {
            self.happen()?;
            let wake = match self.has_work() {
                true if self.not_before <= Instant::now() => {
                    self.attempt().await?;
                    continue;
                }
                true => self.not_before,
                false => self.next,
            };
            // A cloud has a bound on its connections, and a fleet more gateways than that.
            if wake > Instant::now() + KEPT_OPEN {
                self.caller.hang_up();
            }
            tokio::time::sleep_until(wake.min(until).into()).await;
        }
        Ok(())
    }

    /// Nothing happens any more; what is there is sent. False if that took too long.
    pub async fn drain(&mut self, deadline: Instant) -> anyhow::Result<bool> {
        while self.has_work() {
            if Instant::now() > deadline {
                self.caller
                    .wrong("items are left that were never acknowledged");
                return Ok(false);
            }
            tokio::time::sleep_until(self.not_before.into()).await;
            self.attempt().await?;
        }
        Ok(true)
    }

    /// What is made ahead: the next batch as if the one before were acknowledged.
    pub fn prepare(&mut self) -> anyhow::Result<Prepared> {
        self.step()?;
        let batch = self.batch();
        let items = items(&batch);
        let mut ends = Vec::new();
        for lane in &mut self.lanes {
            if let Some(part) = batch.lanes.get(&lane.lane) {
                lane.acknowledge(part.after + part.items.len() as u64);
                ends.push((lane.lane, lane.acked()));
            }
        }
        Ok(Prepared {
            body: encoded(&batch.to_value()),
            items,
            ends,
        })
    }

    fn has_work(&self) -> bool {
        self.lanes.iter().any(LaneState::has_work)
    }

    /// What is due happens. While a lane is full nothing does.
    fn happen(&mut self) -> anyhow::Result<()> {
        while self.next <= Instant::now() {
            // A half to one and a half of the gap.
            let gap = self
                .gap
                .mul_f64(0.5 + self.random.below(1_000) as f64 / 1_000.0);
            self.next += gap;
            if self.lanes.iter().all(LaneState::has_room) {
                self.step()?;
            } else {
                self.caller.tally.one(Count::LaneFull);
            }
        }
        Ok(())
    }

    fn step(&mut self) -> anyhow::Result<()> {
        let now = i64::try_from(now_ms()?)?;
        let reports = match &mut self.life {
            Life::Parcels(parcels) => {
                let mut reports = Vec::new();
                for _ in 0..self.random.between(1, 3) {
                    reports.extend(parcels.step((self.seal.0, &self.seal.1), now)?);
                }
                reports
            }
            Life::Demand(demand) => demand.hour_and_health(),
        };
        self.report(now, reports);
        Ok(())
    }

    fn report(&mut self, now: i64, reports: Vec<Report>) {
        for report in reports {
            let of = report.lane();
            if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.lane == of) {
                lane.push(now, report);
            }
        }
    }

    fn batch(&mut self) -> Batch {
        let lanes = self.lanes.iter_mut();
        let parts = lanes.filter_map(|lane| Some((lane.lane, lane.part(BATCH_MAX)?)));
        Batch {
            epoch: EPOCH,
            lanes: parts.collect::<BTreeMap<_, _>>(),
        }
    }

    async fn attempt(&mut self) -> anyhow::Result<()> {
        let batch = self.batch();
        let body = encoded(&batch.to_value());
        let path = self.caller.path("/uplink");
        match self.caller.call(Method::POST, &path, body).await? {
            Outcome::Done(value) => match Acked::from_value(&value) {
                Ok(acked) => self.acknowledged(&batch, &acked),
                Err(e) => self.give_up(&batch, &format!("an answer that can't be read: {e}")),
            },
            Outcome::Refused(problem) => self.refused(&batch, &problem),
            Outcome::Again => {
                let pause = self.caller.pause(self.failures);
                self.failures += 1;
                self.not_before = Instant::now() + pause;
            }
        }
        Ok(())
    }

    fn acknowledged(&mut self, batch: &Batch, acked: &Acked) {
        self.failures = 0;
        self.not_before = Instant::now();
        self.caller.tally.one(Count::Batches);
        self.caller.tally.add(Count::Items, items(batch));
        for lane in &mut self.lanes {
            let Some(part) = batch.lanes.get(&lane.lane) else {
                continue;
            };
            let sent = part.after + part.items.len() as u64;
            let got = acked.0.get(&lane.lane).copied().unwrap_or(0);
            if !lane.acknowledge(got) || (got > sent && !self.copied) {
                let name = lane.lane.name();
                let what = format!("{name}: {got} acknowledged, {sent} was sent last");
                self.caller.wrong(&what);
                lane.held = true;
            }
        }
    }

    /// Only a copied store may be refused, and only as a fork.
    fn refused(&mut self, batch: &Batch, problem: &Problem) {
        let named = problem.lane.as_deref().and_then(Lane::from_name);
        match (problem.kind, named) {
            (Some(ProblemType::Fork), Some(named)) if self.copied => {
                self.caller.tally.one(Count::Forks);
                let lanes = self.lanes.iter_mut();
                lanes
                    .filter(|lane| lane.lane == named)
                    .for_each(|lane| lane.held = true);
            }
            _ => self.give_up(batch, &format!("refused: {problem}")),
        }
    }

    fn give_up(&mut self, batch: &Batch, why: &str) {
        self.caller.wrong(why);
        for lane in &mut self.lanes {
            lane.held |= batch.lanes.contains_key(&lane.lane);
        }
    }
}

fn items(batch: &Batch) -> u64 {
    batch
        .lanes
        .values()
        .map(|part| part.items.len() as u64)
        .sum()
}
