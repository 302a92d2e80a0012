//! The second part: as fast as it goes. The batches are made before the clock starts, as gateways make
//! theirs on machines of their own; while it runs they are signed, sent and their answers read.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloud_protocol::Lane;
use cloud_protocol::uplink::Acked;
use firmware_protocols::Ident;
use http::Method;
use tokio::sync::Semaphore;

use crate::caller::{Caller, Outcome};
use crate::lanes::Position;
use crate::storm::Survivor;
use crate::tally::{Count, Tally};
use crate::track::{Prepared, Track};

/// A gateway with what it will send.
pub struct Sender {
    caller: Caller,
    batches: VecDeque<Prepared>,
    /// The batch that was acknowledged last.
    last: Option<Prepared>,
    /// Where its lanes stand at the cloud.
    pub stands: Vec<(Lane, Position)>,
}

/// Tries of a batch, when nothing befalls it.
const TRIES_MAX: u32 = 8;

/// A run's figures.
#[derive(Debug, Default, Clone, Copy)]
pub struct Run {
    /// Batches that were acknowledged.
    pub batches: u64,
    /// How long it took.
    pub took: Duration,
}

impl std::ops::AddAssign for Run {
    fn add_assign(&mut self, other: Self) {
        self.batches += other.batches;
        self.took += other.took;
    }
}

impl Run {
    /// Batches a second.
    pub fn per_s(&self) -> f64 {
        self.batches as f64 / self.took.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// Makes so many batches for each gateway that has one store only.
pub fn prepare(
    survivors: Vec<Survivor>,
    batches: usize,
    tally: &Arc<Tally>,
) -> anyhow::Result<Vec<Sender>> {
    let single = survivors.into_iter().filter(|one| one.copy.is_none());
    let half = single.map(|one| one.gateway.tracks);
    half.map(|tracks| sender(tracks, batches, tally)).collect()
}

fn sender(mut tracks: [Track; 2], batches: usize, tally: &Arc<Tally>) -> anyhow::Result<Sender> {
    let lanes = tracks.iter().flat_map(|track| &track.lanes);
    let stands = lanes.map(|lane| (lane.lane, lane.acked())).collect();
    let mut made = VecDeque::with_capacity(batches);
    for number in 0..batches {
        made.push_back(tracks[number % 2].prepare()?);
    }
    let [mut urgent, _] = tracks;
    urgent.caller.tally = Arc::clone(tally);
    Ok(Sender {
        caller: urgent.caller,
        batches: made,
        last: None,
        stands,
    })
}

/// Everything is sent, with so many requests under way at a time, until the time is over.
pub async fn run(
    senders: Vec<Sender>,
    at_a_time: usize,
    longest: Duration,
) -> anyhow::Result<(Vec<Sender>, Run)> {
    timed(senders, at_a_time, longest, false).await
}

/// The same batches again, as after a lost answer: each gateway its last one, until the time is over.
pub async fn replay(
    senders: Vec<Sender>,
    at_a_time: usize,
    length: Duration,
) -> anyhow::Result<(Vec<Sender>, Run)> {
    timed(senders, at_a_time, length, true).await
}

async fn timed(
    senders: Vec<Sender>,
    at_a_time: usize,
    longest: Duration,
    again: bool,
) -> anyhow::Result<(Vec<Sender>, Run)> {
    let under_way = Arc::new(Semaphore::new(at_a_time));
    let began = Instant::now();
    let end = began + longest;
    let tasks: Vec<_> = senders
        .into_iter()
        .map(|sender| tokio::spawn(sender.work(Arc::clone(&under_way), end, again)))
        .collect();
    let mut batches = 0;
    let mut back = Vec::with_capacity(tasks.len());
    for task in tasks {
        let (sender, sent) = task.await??;
        batches += sent;
        back.push(sender);
    }
    let took = began.elapsed();
    Ok((back, Run { batches, took }))
}

impl Sender {
    /// Who sends.
    pub fn gateway(&self) -> &Ident {
        &self.caller.identity().gateway
    }

    /// Counts there from now on.
    pub fn counted_by(mut self, tally: &Arc<Tally>) -> Self {
        self.caller.tally = Arc::clone(tally);
        self
    }

    async fn work(
        mut self,
        under_way: Arc<Semaphore>,
        end: Instant,
        again: bool,
    ) -> anyhow::Result<(Self, u64)> {
        let mut sent = 0;
        loop {
            // Fair: they take turns.
            let _turn = under_way.acquire().await?;
            if Instant::now() >= end {
                break;
            }
            let more = match again {
                true => self.send_last().await?,
                false => self.send_next().await?,
            };
            if !more {
                break;
            }
            sent += 1;
        }
        Ok((self, sent))
    }

    async fn send_next(&mut self) -> anyhow::Result<bool> {
        let Some(batch) = self.batches.pop_front() else {
            return Ok(false);
        };
        if !self.send(&batch).await? {
            return Ok(false);
        }
        for end in &batch.ends {
            self.stands.retain(|(lane, _)| *lane != end.0);
            self.stands.push(*end);
        }
        self.last = Some(batch);
        Ok(true)
    }

    async fn send_last(&mut self) -> anyhow::Result<bool> {
        let Some(batch) = self.last.take() else {
            return Ok(false);
        };
        let sent = self.send(&batch).await?;
        self.last = Some(batch);
        Ok(sent)
    }

    /// Sends a batch until it is acknowledged. False, and wrong, if it is refused.
    async fn send(&mut self, batch: &Prepared) -> anyhow::Result<bool> {
        let path = self.caller.path("/uplink");
        let mut failures = 0;
        loop {
            let body = batch.body.clone();
            match self.caller.call(Method::POST, &path, body).await? {
                Outcome::Done(value) => {
                    let acked = Acked::from_value(&value)?;
                    let all = batch.ends.iter();
                    let mut all = all.map(|(lane, end)| acked.0.get(lane) >= Some(&end.seq));
                    if all.all(|taken| taken) {
                        self.caller.tally.add(Count::Items, batch.items);
                        return Ok(true);
                    }
                    self.caller.wrong("less was acknowledged than was sent");
                    return Ok(false);
                }
                Outcome::Refused(problem) => {
                    self.caller.wrong(&format!("refused: {problem}"));
                    return Ok(false);
                }
                Outcome::Again if failures < TRIES_MAX => {
                    let pause = self.caller.pause(failures);
                    failures += 1;
                    tokio::time::sleep(pause).await;
                }
                Outcome::Again => {
                    self.caller
                        .wrong("not taken after many tries, without any fault");
                    return Ok(false);
                }
            }
        }
    }
}
