//! Batches in every order and overlap, against a model of what a cloud does with them; and both
//! stores against each other, down to the words of a refusal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
mod stores;

use std::collections::BTreeMap;
use std::sync::Arc;

use cloud_protocol::{Acked, Chain, Lane, ProblemType, Received};
use reference_cloud::store::{self, Keep, Store};
use stores::{Random, Source, database, nonce, postgres, short};

const HISTORIES: u64 = 12;
const STEPS: u64 = 60;

/// What a cloud knows of a gateway, in the simplest words: each lane's chain after each item.
#[derive(Default)]
struct Model {
    epoch: Option<u64>,
    lanes: BTreeMap<Lane, Vec<Chain>>,
    items: BTreeMap<Lane, u64>,
    duplicates: BTreeMap<Lane, u64>,
}

impl Model {
    fn take(&mut self, batch: &Received) -> Result<Acked, ProblemType> {
        if self.epoch.is_some_and(|own| batch.epoch < own) {
            return Err(ProblemType::Epoch);
        }
        let goes_on = self.epoch == Some(batch.epoch);
        let mut lanes = if goes_on {
            self.lanes.clone()
        } else {
            BTreeMap::new()
        };
        let mut counts = Vec::new();
        let mut acked = Acked::default();
        for (lane, part) in &batch.lanes {
            let chains = lanes.entry(*lane).or_default();
            let after = usize::try_from(part.after).unwrap();
            if after > chains.len() {
                return Err(ProblemType::Gap);
            }
            let mut chain = part.chain;
            let own = after.checked_sub(1).map_or(Chain::default(), |i| chains[i]);
            if chain != own {
                return Err(ProblemType::Fork);
            }
            let (mut new, mut again) = (0, 0);
            for (index, item) in part.items.iter().enumerate() {
                chain = chain.then_encoded(&item.encoded());
                match chains.get(after + index) {
                    Some(own) if *own != chain => return Err(ProblemType::Fork),
                    Some(_) => again += 1,
                    None => {
                        chains.push(chain);
                        new += 1;
                    }
                }
            }
            counts.push((*lane, new, again));
            acked.0.insert(*lane, chains.len() as u64);
        }
        self.epoch = Some(batch.epoch);
        self.lanes = lanes;
        for (lane, new, again) in counts {
            *self.items.entry(lane).or_default() += new;
            *self.duplicates.entry(lane).or_default() += again;
        }
        Ok(acked)
    }

    fn last(&self, lane: Lane) -> u64 {
        self.lanes
            .get(&lane)
            .map_or(0, |chains| chains.len() as u64)
    }
}

/// A batch of a source: mostly what comes next, also what was sent before, from the start, or with
/// a hole before it.
fn any_batch(random: &mut Random, source: &Source, model: &Model) -> Received {
    let mut parts = Vec::new();
    for lane in Lane::ALL {
        if random.below(2) == 0 {
            continue;
        }
        let end = source.last(lane);
        let next = model.last(lane).min(end);
        let after = match random.below(10) {
            0 => 0,
            1 | 2 => next - random.below(next.min(5) + 1),
            3 => next + random.below(end - next + 1),
            _ => next,
        };
        let last = (after + random.below(6)).min(end);
        parts.push((lane, after, last));
    }
    source.batch(&parts)
}

/// A history of one gateway's box, its clone, its older copies and its new epochs.
async fn history(seed: u64, stores: &[Arc<dyn Store>]) {
    let gateway = format!("estate-{seed}");
    let mut random = Random(seed);
    let mut model = Model::default();
    let mut sources = [Source::new(5), Source::new(5)];
    for step in 0..STEPS {
        let which = usize::from(random.below(5) == 0);
        match random.below(20) {
            0 => sources[1] = sources[0].clone(),
            1 => sources[which] = Source::new(sources[which].epoch + random.below(2)),
            _ => {}
        }
        for _ in 0..random.below(4) {
            let report = random.report();
            sources[which].add(report);
        }
        let batch = any_batch(&mut random, &sources[which], &model);
        let expected = model.take(&batch);
        let request = nonce();
        let mut outcomes = Vec::new();
        for store in stores {
            let outcome = store.ingest(&gateway, batch.clone(), &request).await;
            outcomes.push(outcome.unwrap());
        }
        let place = format!("seed {seed}, step {step}: {batch:?}");
        assert_eq!(short(&outcomes[0]), expected, "{place}");
        assert_eq!(outcomes[0], outcomes[1], "{place}");
    }
    compare(&gateway, &model, stores).await;
}

async fn compare(gateway: &str, model: &Model, stores: &[Arc<dyn Store>]) {
    let [one, other] = stores else { unreachable!() };
    assert_eq!(
        one.gateways().await.unwrap(),
        other.gateways().await.unwrap()
    );
    let parcels = one.parcels(gateway, None).await.unwrap();
    assert_eq!(parcels, other.parcels(gateway, None).await.unwrap());
    let demand = one.demand(gateway).await.unwrap();
    assert_eq!(demand, other.demand(gateway).await.unwrap());
    let health = one.health(gateway).await.unwrap();
    assert_eq!(health, other.health(gateway).await.unwrap());
    let audit = one.audit(gateway).await.unwrap();
    assert_eq!(audit, other.audit(gateway).await.unwrap());
    let standing = one.standing(gateway).await.unwrap();
    assert_eq!(standing, other.standing(gateway).await.unwrap());
    let lanes = one.lanes(gateway).await.unwrap();
    assert_eq!(lanes, other.lanes(gateway).await.unwrap());

    assert_eq!(standing.0, model.epoch);
    for (lane, chains) in &model.lanes {
        let there = standing.1.get(lane).copied().unwrap_or_default();
        assert_eq!(there.last, chains.len() as u64);
        assert_eq!(there.chain, chains.last().copied().unwrap_or_default());
    }
    for (lane, items) in &model.items {
        assert_eq!(lanes.lanes[lane].items, *items, "{}", lane.name());
        let again = model.duplicates[lane];
        assert_eq!(lanes.lanes[lane].duplicates, again, "{}", lane.name());
    }
    let out = outbox_of(gateway, one).await;
    assert_eq!(out, outbox_of(gateway, other).await);
    let mut told: BTreeMap<Lane, u64> = BTreeMap::new();
    for (_, lane, items) in out {
        *told.entry(lane).or_default() += items.len() as u64;
    }
    let taken = model.items.iter().filter(|(_, items)| **items > 0);
    assert_eq!(told, taken.map(|(lane, items)| (*lane, *items)).collect());
}

async fn outbox_of(gateway: &str, store: &Arc<dyn Store>) -> Vec<(u64, Lane, Vec<(u64, Vec<u8>)>)> {
    let all = store.outbox(100_000).await.unwrap().unwrap().into_iter();
    let own = all.filter(|outgoing| outgoing.gateway == gateway);
    own.map(|it| (it.epoch, it.lane, it.items)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_stores_do_with_any_history_what_the_model_does() {
    let sqlite = store::open(Keep::Memory).await.unwrap();
    let other = match local_postgres::left_out() {
        false => postgres(&database()).await,
        // The model is still there to compare with.
        true => store::open(Keep::Memory).await.unwrap(),
    };
    let stores = [sqlite, other];
    for seed in 0..HISTORIES {
        history(seed, &stores).await;
    }
    for store in stores {
        store.close().await;
    }
}
