//! The bare transaction: the same calls to the store as the HTTP calls make, without HTTP and without
//! signatures. What the fleet's figures are compared with.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cloud_protocol::uplink::{ParcelReport, ParcelState};
use cloud_protocol::{
    Batch, Chain, CodeForResident, Item, Lane, LaneBatch, Received, Report, SealedCode,
};

use super::{Ingest, Nonce, Store, StoreError};

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// How many gateways send at the same time: as many as the store has connections, or more.
    pub senders: usize,
    /// How many items a batch has, all of the lane `fulfilment`.
    pub items: usize,
    /// For how long; each of the two parts takes half of it.
    pub time: Duration,
}

/// What the store took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// New batches a second.
    pub ingests_per_second: f64,
    /// Batches a second that were known already, as when an answer was lost.
    pub replays_per_second: f64,
}

/// Sends new batches for half of the time, then known ones for the other half. The gateways are
/// named after `run`, which must be another one in each run on the same store.
pub async fn bare(store: &Arc<dyn Store>, run: &str, load: Load) -> Result<Figures, StoreError> {
    let half = load.time / 2;
    let ingests_per_second = phase(store, run, load, half, true).await?;
    let replays_per_second = phase(store, run, load, half, false).await?;
    Ok(Figures {
        ingests_per_second,
        replays_per_second,
    })
}

async fn phase(
    store: &Arc<dyn Store>,
    run: &str,
    load: Load,
    time: Duration,
    new: bool,
) -> Result<f64, StoreError> {
    let begun = Instant::now();
    let mut senders = tokio::task::JoinSet::new();
    for n in 0..load.senders {
        let store = Arc::clone(store);
        let sender = Sender::new(format!("{run}-{n}"), load.items);
        senders.spawn(async move { sender.send(store.as_ref(), begun + time, new).await });
    }
    let mut batches = 0;
    while let Some(sent) = senders.join_next().await {
        batches += sent.map_err(|_| StoreError::Closed)??;
    }
    Ok(f64::from(batches) / begun.elapsed().as_secs_f64())
}

/// A gateway that has nothing to do but to send.
struct Sender {
    gateway: String,
    items: usize,
    last: u64,
    chain: Chain,
}

impl Sender {
    fn new(gateway: String, items: usize) -> Self {
        Self {
            gateway,
            items,
            last: 0,
            chain: Chain::default(),
        }
    }

    async fn send(
        mut self,
        store: &dyn Store,
        until: Instant,
        new: bool,
    ) -> Result<u32, StoreError> {
        let mut batch = self.next_batch()?;
        let mut sent = 0;
        while Instant::now() < until {
            let request = nonce();
            match store.ingest(&self.gateway, batch.clone(), &request).await? {
                Ingest::Taken(_) => sent += 1,
                Ingest::Refused(problem) => {
                    return Err(StoreError::Unreadable(problem.to_string()));
                }
            }
            if new {
                batch = self.next_batch()?;
            }
        }
        Ok(sent)
    }

    fn next_batch(&mut self) -> Result<Received, StoreError> {
        let mut part = LaneBatch {
            after: self.last,
            chain: self.chain,
            items: Vec::with_capacity(self.items),
        };
        for _ in 0..self.items {
            self.last += 1;
            let item = item(self.last);
            self.chain = self.chain.then(&item);
            part.items.push(item);
        }
        let batch = Batch {
            epoch: 1,
            lanes: [(Lane::Fulfilment, part)].into(),
        };
        let batch = Received::from_value(&batch.to_value());
        batch.map_err(|e| StoreError::Unreadable(e.to_string()))
    }
}

/// A parcel's next state: every parcel comes, with a code, and is collected.
fn item(seq: u64) -> Item {
    let comes = seq % 2 == 1;
    let code = SealedCode {
        key: "sealing-1".to_string(),
        enc: [7; 32],
        ct: vec![7; 24],
    };
    Item {
        seq,
        at: 1_760_000_000_000,
        report: Report::Parcel(ParcelReport {
            parcel: format!("P-{}", seq.div_ceil(2) % 1_000),
            state: if comes {
                ParcelState::Deposited
            } else {
                ParcelState::Collected
            },
            since: 1_760_000_000_000,
            bank: None,
            compartment: Some(7),
            desk: None,
            code: comes.then_some(CodeForResident::Sealed(code)),
            unlisted: false,
            return_of: None,
        }),
    }
}

fn nonce() -> Nonce {
    static NONCES: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let created_s = now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(0));
    let n = NONCES.fetch_add(1, Ordering::Relaxed);
    let nonce = format!("{:016x}-{n:06}", u64::from(std::process::id()) << 32);
    Nonce { created_s, nonce }
}
