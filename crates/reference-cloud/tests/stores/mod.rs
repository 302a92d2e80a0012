//! What the tests of the stores share: both stores to run a body on, and gateways that make items.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use cloud_protocol::downlink::{Size, Zone};
use cloud_protocol::uplink::{
    ClaimKind, ClaimReport, DemandReport, ParcelReport, ParcelState, Unplaceable,
};
use cloud_protocol::{
    Acked, Batch, Chain, CodeForResident, Item, Lane, LaneBatch, ProblemType, Received, Report,
    SealedCode,
};
use firmware_protocols::Ident;
use firmware_protocols::event::Secret;
use local_postgres::LocalPostgres;
use reference_cloud::store::{self, Ingest, Keep, Nonce, PostgresAt, Store};

/// One server for all tests of a binary.
pub fn server() -> &'static LocalPostgres {
    static SERVER: OnceLock<LocalPostgres> = OnceLock::new();
    SERVER.get_or_init(|| LocalPostgres::start().unwrap())
}

/// A database of its own on that server.
pub fn database() -> PostgresAt {
    static DATABASES: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    at(&server().create_database(&name).unwrap())
}

pub fn at(url: &str) -> PostgresAt {
    PostgresAt::new(Secret::new(url))
}

pub async fn postgres(at: &PostgresAt) -> Arc<dyn Store> {
    store::open(Keep::Postgres(at.clone())).await.unwrap()
}

/// Two clouds' stores on the same data; with SQLite the same one twice.
#[derive(Clone)]
pub struct Two(pub Arc<dyn Store>, pub Arc<dyn Store>);

/// Runs the same body on SQLite, in a file, and on PostgreSQL where it is there.
pub fn on_both<F: Future<Output = ()>>(body: impl Fn(Two) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.enable_all().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let file = Keep::File(folder.path().join("cloud.db"));
        let sqlite = store::open(file).await.unwrap();
        body(Two(Arc::clone(&sqlite), Arc::clone(&sqlite))).await;
        sqlite.close().await;

        if local_postgres::left_out() {
            return;
        }
        let at = database();
        let two = Two(postgres(&at).await, postgres(&at).await);
        body(two.clone()).await;
        two.0.close().await;
        two.1.close().await;
    });
}

/// A nonce as a signed request has it now.
pub fn nonce() -> Nonce {
    static NONCES: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Nonce {
        created_s: i64::try_from(now.as_secs()).unwrap(),
        nonce: format!("nonce-{}", NONCES.fetch_add(1, Ordering::Relaxed)),
    }
}

pub async fn send(store: &Arc<dyn Store>, gateway: &str, batch: Received) -> Ingest {
    store.ingest(gateway, batch, &nonce()).await.unwrap()
}

/// What was acknowledged, or why it was refused.
pub fn short(ingest: &Ingest) -> Result<Acked, ProblemType> {
    match ingest {
        Ingest::Taken(acked) => Ok(acked.clone()),
        Ingest::Refused(problem) => Err(problem.kind.unwrap()),
    }
}

/// What a gateway has made in its epoch.
#[derive(Clone, Default)]
pub struct Source {
    pub epoch: u64,
    lanes: BTreeMap<Lane, Vec<(Item, Chain)>>,
}

impl Source {
    pub fn new(epoch: u64) -> Self {
        let lanes = BTreeMap::new();
        Self { epoch, lanes }
    }

    pub fn add(&mut self, report: Report) {
        let chain = self.chain(report.lane(), self.last(report.lane()));
        let items = self.lanes.entry(report.lane()).or_default();
        let seq = items.len() as u64 + 1;
        let item = Item {
            seq,
            at: 1_760_000_000_000 + i64::try_from(seq).unwrap(),
            report,
        };
        let chain = chain.then(&item);
        items.push((item, chain));
    }

    pub fn last(&self, lane: Lane) -> u64 {
        self.lanes.get(&lane).map_or(0, |items| items.len() as u64)
    }

    pub fn chain(&self, lane: Lane, seq: u64) -> Chain {
        let Some(index) = usize::try_from(seq).unwrap().checked_sub(1) else {
            return Chain::default();
        };
        self.lanes[&lane][index].1
    }

    /// The items after `after` up to `last` of each of these lanes.
    pub fn batch(&self, parts: &[(Lane, u64, u64)]) -> Received {
        let lanes = parts.iter().map(|&(lane, after, last)| {
            let items = self.lanes.get(&lane).map_or(&[][..], Vec::as_slice);
            let items = items.iter().map(|(item, _)| item);
            let items = items.filter(|item| (after + 1..=last).contains(&item.seq));
            let part = LaneBatch {
                after,
                chain: self.chain(lane, after),
                items: items.cloned().collect(),
            };
            (lane, part)
        });
        let batch = Batch {
            epoch: self.epoch,
            lanes: lanes.collect(),
        };
        Received::from_value(&batch.to_value()).unwrap()
    }

    /// One lane whole.
    pub fn whole(&self, lane: Lane) -> Received {
        self.batch(&[(lane, 0, self.last(lane))])
    }
}

pub fn ident(name: &str) -> Ident {
    Ident::new(name).unwrap()
}

pub fn parcel(id: &str, state: ParcelState, code: Option<u8>) -> Report {
    Report::Parcel(ParcelReport {
        parcel: id.to_string(),
        state,
        since: 1_760_000_000_000,
        bank: Some(ident("bank-a")),
        compartment: Some(7),
        desk: None,
        code: code.map(|byte| {
            CodeForResident::Sealed(SealedCode {
                key: "key-1".to_string(),
                enc: [byte; 32],
                ct: vec![byte; 24],
            })
        }),
        unlisted: false,
        return_of: None,
    })
}

pub fn unplaceable(id: &str) -> Report {
    Report::Unplaceable(Unplaceable {
        parcel: id.to_string(),
        point: ident("bank-a"),
        size: Size::L,
        zone: Zone::Chilled,
        desk: None,
    })
}

pub fn claim(id: &str) -> Report {
    Report::Claim(ClaimReport {
        parcel: id.to_string(),
        claim: ClaimKind::Damaged,
        operator: "Li Na".to_string(),
        desk: ident("desk-1"),
        note: "鸡蛋碎了".to_string(),
        compensation_fen: Some(1_250),
        keeps: true,
        returned_as: None,
    })
}

pub fn demand(hour: i64, revision: u32, count: u64) -> Report {
    Report::Demand(DemandReport {
        building: Some(ident("b2")),
        start: 1_760_000_400_000 + hour * 3_600_000,
        minutes: 60,
        revision,
        series: BTreeMap::from([("comings".to_string(), count)]),
    })
}

pub fn health(events: u64) -> Report {
    Report::Health(BTreeMap::from([("events".to_string(), events)]))
}

/// SplitMix64: the same numbers for the same seed.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// Any item of any kind; parcels and buckets come again.
    pub fn report(&mut self) -> Report {
        let id = format!("P-{}", self.below(6));
        match self.below(8) {
            0 => health(self.below(1_000)),
            1 => Report::Audit {
                entries: self.below(5),
                head: [u8::try_from(self.below(2)).unwrap(); 32],
            },
            2 => unplaceable(&id),
            3 => claim(&id),
            4 => demand(
                i64::try_from(self.below(3)).unwrap(),
                1 + u32::try_from(self.below(3)).unwrap(),
                self.below(50),
            ),
            _ => {
                let states = ParcelState::WORDS.len() as u64;
                let state = usize::try_from(self.below(states)).unwrap();
                let code = (self.below(2) == 0).then(|| u8::try_from(self.below(256)).unwrap());
                parcel(&id, ParcelState::WORDS[state].1, code)
            }
        }
    }
}
