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

fn received(prepared: &Prepared) -> anyhow::Result<Received> {
    let (body, packed) = &prepared.body;
    let value = match packed {
        true => Value::from_cbor(&compressed::unpack(body)?)?,
        false => Value::from_cbor(body)?,
    };
    Ok(Received::from_value(&value)?)
}

/// Takes them all, with so many connections, until the time is over; then the last of each gateway
/// again and again for `replays`. The figures of both.
pub async fn run(
    url: &str,
    given: Vec<Given>,
    connections: usize,
    longest: Duration,
    replays: Duration,
) -> anyhow::Result<(Run, Run)> {
    let keep = Keep::Postgres(PostgresAt {
        url: Secret::new(url),
        connections,
    });
    let store = store::open(keep).await?;
    let mut shares: Vec<Vec<Given>> = (0..connections).map(|_| Vec::new()).collect();
    for (number, one) in given.into_iter().enumerate() {
        shares[number % connections].push(one);
    }
    let (shares, first) = timed(&store, shares, longest, false).await?;
    let (_, second) = timed(&store, shares, replays, true).await?;
    store.close().await;
    Ok((first, second))
}

async fn timed(
    store: &Arc<dyn Store>,
    shares: Vec<Vec<Given>>,
    longest: Duration,
    again: bool,
) -> anyhow::Result<(Vec<Vec<Given>>, Run)> {
    let began = Instant::now();
    let end = began + longest;
    let tasks: Vec<_> = shares
        .into_iter()
        .map(|share| tokio::spawn(take(Arc::clone(store), share, end, again)))
        .collect();
    let (mut back, mut batches) = (Vec::new(), 0);
    for task in tasks {
        let (share, taken) = task.await??;
        back.push(share);
        batches += taken;
    }
    let took = began.elapsed();
    Ok((back, Run { batches, took }))
}

/// One connection's share: its gateways by turns.
async fn take(
    store: Arc<dyn Store>,
    mut share: Vec<Given>,
    end: Instant,
    again: bool,
) -> anyhow::Result<(Vec<Given>, u64)> {
    let mut taken = 0;
    let mut round = 0;
    loop {
        let mut any = false;
        for one in &mut share {
            if Instant::now() >= end {
                // What was taken last is what comes again.
                one.batches.truncate(round.max(1));
                continue;
            }
            let next = match again {
                true => one.batches.last(),
                false => one.batches.get(round),
            };
            if let Some(batch) = next {
                any = true;
                ingest(&*store, &one.gateway, batch.clone()).await?;
                taken += 1;
            }
        }
        if !any {
            return Ok((share, taken));
        }
        round += 1;
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
