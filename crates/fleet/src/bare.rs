//! The same batches without HTTP and signatures: the cloud's own transaction on the same PostgreSQL,
//! called in this process. What is left of it with everything around it is the fleet's figure.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cloud_protocol::Received;
use cloud_protocol::secure::{compressed, signed};
use firmware_protocols::Value;
use firmware_protocols::event::Secret;
use reference_cloud::Keep;
use reference_cloud::store::{self, Ingest, Nonce, PostgresAt, Store};

use crate::caller::now_ms;
use crate::throughput::Run;
use crate::track::{Prepared, Track};

/// Batches of one gateway, as the store takes them.
pub struct Given {
    gateway: String,
    batches: Vec<Received>,
}

/// Makes so many batches of a gateway that nobody has heard of.
pub fn given(tracks: &mut [Track; 2], batches: usize) -> anyhow::Result<Given> {
    let gateway = tracks[0].caller.identity().gateway.to_string();
    let batches = (0..batches).map(|number| received(&tracks[number % 2].prepare()?));
    Ok(Given {
        gateway,
        batches: batches.collect::<anyhow::Result<_>>()?,
    })
}

/// A batch as a cloud reads it.
pub fn received(prepared: &Prepared) -> anyhow::Result<Received> {
    let (body, packed) = &prepared.body;
    let value = match packed {
        true => Value::from_cbor(&compressed::unpack(body)?)?,
        false => Value::from_cbor(body)?,
    };
    Ok(Received::from_value(&value)?)
}

/// The store, and what it shall take: a share for each connection.
pub struct Bare {
    store: Arc<dyn Store>,
    shares: Vec<Share>,
}

/// One connection's gateways.
#[derive(Default)]
struct Share {
    given: Vec<Given>,
    /// Of each gateway so many batches were taken.
    rounds: usize,
}

impl Bare {
    /// Opens it with so many connections.
    pub async fn open(url: &str, given: Vec<Given>, connections: usize) -> anyhow::Result<Self> {
        let keep = Keep::Postgres(PostgresAt {
            url: Secret::new(url),
            connections,
        });
        let store = store::open(keep).await?;
        let mut shares: Vec<Share> = (0..connections).map(|_| Share::default()).collect();
        for (number, one) in given.into_iter().enumerate() {
            shares[number % connections].given.push(one);
        }
        Ok(Self { store, shares })
    }

    /// Takes what is left, until the time is over.
    pub async fn ingest(&mut self, longest: Duration) -> anyhow::Result<Run> {
        self.timed(longest, Share::next, 1).await
    }

    /// Takes what was taken last again and again.
    pub async fn replay(&mut self, length: Duration) -> anyhow::Result<Run> {
        self.timed(length, Share::again, 0).await
    }

    /// Lets go of it.
    pub async fn close(self) {
        self.store.close().await;
    }

    async fn timed(&mut self, longest: Duration, pick: Pick, step: usize) -> anyhow::Result<Run> {
        let began = Instant::now();
        let end = began + longest;
        let shares = std::mem::take(&mut self.shares).into_iter();
        let tasks: Vec<_> = shares
            .map(|share| tokio::spawn(share.take(Arc::clone(&self.store), end, pick, step)))
            .collect();
        let mut batches = 0;
        for task in tasks {
            let (share, taken) = task.await??;
            self.shares.push(share);
            batches += taken;
        }
        let took = began.elapsed();
        Ok(Run { batches, took })
    }
}

/// What a gateway gives next in this round.
type Pick = fn(&Given, usize) -> Option<&Received>;

impl Share {
    fn next(given: &Given, round: usize) -> Option<&Received> {
        given.batches.get(round)
    }

    fn again(given: &Given, round: usize) -> Option<&Received> {
        let last = round.min(given.batches.len());
        given.batches.get(last.checked_sub(1)?)
    }

    /// Whole rounds of its gateways, until the time is over or nothing is left.
    async fn take(
        mut self,
        store: Arc<dyn Store>,
        end: Instant,
        pick: Pick,
        step: usize,
    ) -> anyhow::Result<(Self, u64)> {
        let mut taken = 0;
        while Instant::now() < end {
            let before = taken;
            for one in &self.given {
                if let Some(batch) = pick(one, self.rounds) {
                    ingest(&*store, &one.gateway, batch.clone()).await?;
                    taken += 1;
                }
            }
            if taken == before {
                break;
            }
            self.rounds += step;
        }
        Ok((self, taken))
    }
}

async fn ingest(store: &dyn Store, gateway: &str, batch: Received) -> anyhow::Result<()> {
    let request = Nonce {
        created_s: i64::try_from(now_ms()? / 1_000)?,
        nonce: signed::nonce().context("the system has no random numbers")?,
    };
    match store.ingest(gateway, batch, &request).await? {
        Ingest::Taken(_) => Ok(()),
        Ingest::Refused(problem) => bail!("{gateway}: the bare transaction was refused: {problem}"),
    }
}
