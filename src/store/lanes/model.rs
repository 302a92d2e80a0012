//! Random histories of a store and a cloud that takes SYNC.md at its word.
//!
//! What may happen, in any order: items are made; a batch is planned, and cut at once, later or never;
//! it is sent at once, later, twice or never; its answer comes at once, later, twice or never; the
//! gateway is killed (what the log holds is what is left); a new epoch begins; the log is moved into the
//! database; demand is summed up or not. When it is over, all that is left goes out.
//!
//! What must hold: the cloud never has to refuse a batch of the epoch it knows; each fact about a
//! delivery is there, in the order of its making, once within an epoch, and not again once it was
//! acknowledged; each code opens; of health the latest is there, of the history every head that shows a
//! rewritten past, of demand every count once; memory and disk agree at every step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use cloud_protocol::uplink::{ClaimKind, ClaimReport, DemandReport};
use cloud_protocol::{Acked, Batch, Chain, Item, Lane, Report};
use estate::change::Change;
use firmware_protocols::Value;
use rusqlite::Connection;
use tempfile::TempDir;

use super::tests::{bucket, closed, digits, limits, parcel};
use super::{Plan, acked};
use crate::cloud::BatchLimits;
use crate::store::schema;
use crate::store::tests::{Seeded, Store, ident};
use crate::store::write::Heads;

const STEPS: u64 = 260;
const SEEDS: u64 = 48;
const BUILDINGS: [Option<&str>; 3] = [Some("b1"), Some("b2"), None];

/// What the cloud has of one epoch.
type Epoch = BTreeMap<Lane, Vec<(Chain, Item)>>;

/// The cloud: refuses what SYNC.md says.
#[derive(Default)]
struct Cloud {
    epochs: BTreeMap<u64, Epoch>,
}

impl Cloud {
    /// `None` if the batch is of an epoch that is over.
    fn take(&mut self, sent: &Batch) -> Option<Acked> {
        // As it crosses the line.
        let body = sent.to_value().to_cbor();
        let batch = Batch::from_value(&Value::from_cbor(&body).unwrap()).unwrap();
        assert_eq!(&batch, sent);
        let newest = self.epochs.keys().next_back().copied().unwrap_or(0);
        if batch.epoch < newest {
            return None;
        }
        let has = self.epochs.entry(batch.epoch).or_default();
        let mut acked = BTreeMap::new();
        for (lane, part) in batch.lanes {
            let known = has.entry(lane).or_default();
            let at = |known: &Vec<(Chain, Item)>, seq: u64| match seq {
                0 => Some(Chain::default()),
                seq => known.get(seq as usize - 1).map(|(chain, _)| *chain),
            };
            let mut chain = at(known, part.after).expect("a gap");
            assert_eq!(chain, part.chain, "a fork at {}", part.after);
            for (item, seq) in part.items.into_iter().zip(part.after + 1..) {
                assert_eq!(item.seq, seq, "numbers without a gap");
                chain = chain.then(&item);
                match at(known, seq) {
                    Some(there) => assert_eq!(there, chain, "a fork at {seq}"),
                    None => known.push((chain, item)),
                }
            }
            acked.insert(lane, known.len() as u64);
        }
        Some(Acked(acked))
    }

    fn items(&self, lane: Lane) -> impl Iterator<Item = (u64, &Item)> {
        self.epochs.iter().flat_map(move |(epoch, lanes)| {
            let items = lanes.get(&lane).into_iter().flatten();
            items.map(|(_, item)| (*epoch, item))
        })
    }
}

/// What was made, and what must come of it.
#[derive(Default)]
struct Made {
    /// Items carry it as their time, so that each is known again.
    count: i64,
    /// Facts, with their code.
    facts: BTreeMap<i64, Option<String>>,
    health: Option<i64>,
    entries: u64,
    past: u8,
    told: Option<(u64, u8)>,
    heads: BTreeSet<(u64, u8)>,
    hour: i64,
    demand: BTreeMap<(Option<&'static str>, i64), (u32, u64)>,
    revised: bool,
}

struct World {
    random: Seeded,
    store: Store,
    cloud: Cloud,
    made: Made,
    epoch: u64,
    epochs: u64,
    /// A plan that isn't cut yet, and whether anything has happened since.
    planned: Option<(Plan, bool)>,
    under_way: VecDeque<Batch>,
    answers: VecDeque<(u64, Acked)>,
    /// By epoch: the facts that were acknowledged in it.
    acknowledged: BTreeMap<u64, BTreeSet<i64>>,
    stale: u64,
    /// Whether new epochs begin in this history.
    restored: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let store = Store::in_folder(folder());
        store
            .conn
            .pragma_update(None, "synchronous", "OFF")
            .unwrap();
        let epoch = super::epoch(&store.conn).unwrap();
        Self {
            random: Seeded(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            store,
            cloud: Cloud::default(),
            made: Made::default(),
            epoch,
            epochs: 1,
            planned: None,
            under_way: VecDeque::new(),
            answers: VecDeque::new(),
            acknowledged: BTreeMap::new(),
            stale: 0,
            restored: seed.is_multiple_of(2),
        }
    }

    fn step(&mut self) {
        match self.random.below(24) {
            0..4 => self.fact(),
            4 => self.health(),
            5 => self.audit(),
            6..9 => self.hour(),
            9..13 => self.plan(),
            13..17 => self.cut(),
            17..20 => self.send(),
            20..22 => self.answer(),
            22 => match self.random.below(6) {
                0 if self.restored => self.new_epoch(),
                1 | 2 => self.checkpoint(),
                _ => self.lose(),
            },
            _ => match self.random.below(3) {
                0 => self.killed(),
                _ => self.fact(),
            },
        }
    }

    fn append(&mut self, report: Report) -> i64 {
        self.made.count += 1;
        let at_ms = self.made.count;
        self.store.write(&[Change::Uplink { at_ms, report }]);
        self.touched();
        at_ms
    }

    /// What is planned from here on may be overtaken.
    fn touched(&mut self) {
        if let Some((_, untouched)) = &mut self.planned {
            *untouched = false;
        }
    }

    fn fact(&mut self) {
        let id = format!("p-{}", self.random.below(9));
        let digits = format!("{:06}", self.random.below(1_000_000));
        let code = (self.random.below(3) == 0).then_some(digits);
        let report = match self.random.below(4) {
            0 => Report::Claim(ClaimReport {
                parcel: id,
                claim: ClaimKind::Damaged,
                operator: "li".to_owned(),
                desk: ident("desk-1"),
                note: "n".repeat(1 + self.random.below(900) as usize),
                compensation_fen: None,
                keeps: true,
                returned_as: None,
            }),
            _ => parcel(&id, code.as_deref()),
        };
        let code = code.filter(|_| matches!(report, Report::Parcel(_)));
        let at_ms = self.append(report);
        self.made.facts.insert(at_ms, code);
    }

    fn health(&mut self) {
        let count = self.made.count as u64;
        let at_ms = self.append(Report::Health([("events".to_owned(), count)].into()));
        self.made.health = Some(at_ms);
    }

    fn audit(&mut self) {
        self.made.entries += 1 + self.random.below(3);
        self.head(self.made.entries, self.made.past);
    }

    fn head(&mut self, entries: u64, past: u8) {
        let head = [past; 32];
        self.append(Report::Audit { entries, head });
        self.made.told = Some((entries, past));
    }

    /// An hour is closed; now and then one that is long over, or one is told again.
    fn hour(&mut self) {
        let hour = match self.random.below(12) {
            0 => self.random.below(self.made.hour as u64 + 1) as i64,
            _ => {
                self.made.hour += 1 + self.random.below(4) as i64 / 3;
                self.made.hour
            }
        };
        for building in BUILDINGS {
            if self.random.below(3) == 0 {
                continue;
            }
            let count = 1 + self.random.below(90);
            let known = self.made.demand.get(&(building, hour)).copied();
            let revision = match known {
                None => 1,
                Some(_) if !self.made.revised => continue,
                Some(_) => 1 + self.random.below(4) as u32,
            };
            if known.is_none_or(|(known, _)| revision >= known) {
                let entry = (revision, count);
                self.made.demand.insert((building, hour), entry);
            }
            self.append(Report::Demand(bucket(building, hour, revision, count)));
        }
        self.store.write(&[closed(hour)]);
    }

    fn limits(&mut self) -> BatchLimits {
        let mut limits = limits(1 + self.random.below(12) as usize);
        limits.bytes = 1 + self.random.below(3_000) as usize;
        let held = Lane::ALL.into_iter();
        limits.held = held.filter(|_| self.random.below(4) == 0).collect();
        // Corrections can't be told from sums, and the estate makes none.
        let sums = !self.made.revised && self.random.below(2) == 0;
        limits.demand_minutes = sums.then(|| [60, 240, 1_440][self.random.below(3) as usize]);
        limits
    }

    fn plan(&mut self) {
        let limits = self.limits();
        let plan = self.store.plan(&limits);
        if let Some(plan) = &plan {
            let items: usize = plan.batch.lanes.values().map(|part| part.items.len()).sum();
            assert!(items > 0 && items <= limits.items);
        }
        match self.random.below(4) {
            // Another comes between: this one is cut late.
            0 if self.planned.is_some() => {}
            _ => self.planned = plan.map(|plan| (plan, true)),
        }
    }

    fn cut(&mut self) {
        let Some((Plan { batch, cut }, untouched)) = self.planned.take() else {
            return;
        };
        let taken = cut.is_none_or(|cut| self.store.cut(&cut));
        assert!(taken || !untouched, "refused without a reason");
        if !taken {
            self.stale += 1;
            return;
        }
        if self.under_way.len() == 4 {
            self.under_way.pop_front();
        }
        self.under_way.push_back(batch);
    }

    fn send(&mut self) {
        let Some(batch) = self.any_under_way() else {
            return;
        };
        let answer = self.cloud.take(&batch);
        if let Some(answer) = answer {
            self.answers.push_back((batch.epoch, answer));
        }
    }

    fn any_under_way(&mut self) -> Option<Batch> {
        let n = self.under_way.len() as u64;
        if n == 0 {
            return None;
        }
        let n = self.random.below(n) as usize;
        match self.random.below(3) {
            0 => self.under_way.get(n).cloned(),
            _ => self.under_way.remove(n),
        }
    }

    fn answer(&mut self) {
        let n = self.answers.len() as u64;
        if n == 0 {
            return;
        }
        let n = self.random.below(n) as usize;
        let again = self.random.below(4) == 0;
        let answer = self.answers.get(n).cloned();
        if !again {
            self.answers.remove(n);
        }
        if let Some((epoch, answer)) = answer {
            self.enter(epoch, &answer);
        }
    }

    fn enter(&mut self, epoch: u64, answer: &Acked) {
        // As the journal does it.
        if epoch != self.epoch {
            return;
        }
        for (lane, seq) in &answer.0 {
            assert!(*seq <= self.store.heads.lanes[lane].last_seq, "never cut");
        }
        let tx = self.store.conn.unchecked_transaction().unwrap();
        acked(&tx, &mut self.store.heads, answer).unwrap();
        tx.commit().unwrap();
        let upto = answer.0.get(&Lane::Fulfilment).copied().unwrap_or(0);
        let items = self.cloud.items(Lane::Fulfilment);
        let items = items.filter(|(of, item)| *of == epoch && item.seq <= upto);
        let entered: Vec<i64> = items.map(|(_, item)| item.at).collect();
        self.acknowledged.entry(epoch).or_default().extend(entered);
        self.touched();
    }

    fn lose(&mut self) {
        self.under_way.pop_front();
        self.answers.pop_front();
    }

    fn new_epoch(&mut self) {
        self.epoch += 1 + self.random.below(3);
        self.epochs += 1;
        self.store.new_epoch(self.epoch);
        self.touched();
    }

    fn checkpoint(&mut self) {
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        self.store.conn.query_row(sql, [], |_| Ok(())).unwrap();
    }

    /// What is left of a gateway that is killed: its files as they are. It tells the last head again.
    fn killed(&mut self) {
        let dir = folder();
        for file in ["linli.db", "linli.db-wal"] {
            let from = self.store.dir.path().join(file);
            if from.exists() {
                std::fs::copy(from, dir.path().join(file)).unwrap();
            }
        }
        let path = dir.path().join("linli.db");
        self.store.conn = opened(&path);
        self.store.heads = Heads::load(&self.store.conn).unwrap();
        self.store.dir = dir;
        self.planned = None;
        if let Some((entries, past)) = self.made.told {
            self.made.heads.insert((entries, past));
            self.made.past += u8::from(self.random.below(4) == 0);
            self.made.heads.insert((entries, self.made.past));
            self.head(entries, self.made.past);
        }
    }

    fn memory_and_disk_agree(&self) {
        let Store { conn, heads, .. } = &self.store;
        assert_eq!(&Heads::load(conn).unwrap(), heads);
        for (lane, head) in &heads.lanes {
            let sql = "SELECT seq FROM uplink WHERE lane = ?1 ORDER BY id";
            let mut rows = conn.prepare_cached(sql).unwrap();
            let rows = rows
                .query_map([lane.name()], |row| row.get::<_, Option<i64>>(0))
                .unwrap();
            let numbers: Vec<Option<u64>> = rows
                .map(|seq| seq.unwrap().map(i64::cast_unsigned))
                .collect();
            assert_eq!(numbers.len() as u64, head.waiting);
            let cut = (head.acked_seq + 1..=head.last_seq).map(Some);
            let rest = std::iter::repeat(None);
            let wanted: Vec<_> = cut.chain(rest).take(numbers.len()).collect();
            assert_eq!(numbers, wanted, "{lane:?}: what is cut comes first");
        }
    }

    /// Whatever is left goes out.
    fn drain(&mut self) {
        self.planned = None;
        while let Some(batch) = self.store.next(&limits(7)) {
            let answer = self.cloud.take(&batch).unwrap();
            self.enter(batch.epoch, &answer);
        }
        self.memory_and_disk_agree();
        assert!(
            self.store
                .heads
                .lanes
                .values()
                .all(|head| head.waiting == 0)
        );
    }

    fn all_is_there(&self) {
        self.facts_are_there();
        let last = |lane| self.cloud.items(lane).map(|(_, item)| item);
        let health = last(Lane::Health)
            .filter(|item| matches!(item.report, Report::Health(_)))
            .last();
        assert_eq!(health.map(|item| item.at), self.made.health);
        let heads: BTreeSet<(u64, u8)> = last(Lane::Health)
            .filter_map(|item| match &item.report {
                Report::Audit { entries, head } => Some((*entries, head[0])),
                _ => None,
            })
            .collect();
        let missing: Vec<_> = self.made.heads.difference(&heads).collect();
        assert!(missing.is_empty(), "heads are lost: {missing:?}");
        assert!(self.made.told.is_none_or(|told| heads.contains(&told)));
        self.demand_is_there();
    }

    fn facts_are_there(&self) {
        let mut seen: BTreeMap<i64, u64> = BTreeMap::new();
        let mut before = (0, 0);
        for (epoch, item) in self.cloud.items(Lane::Fulfilment) {
            let now = (epoch, item.at);
            assert!(
                now > before,
                "out of order, or twice in an epoch: {before:?} {now:?}"
            );
            before = now;
            assert_eq!(digits(item), self.made.facts[&item.at]);
            let ended = self.acknowledged.range(..epoch);
            let again = ended.flat_map(|(_, facts)| facts).any(|at| *at == item.at);
            assert!(!again, "{now:?} was acknowledged in an earlier epoch");
            *seen.entry(item.at).or_default() += 1;
        }
        let made: Vec<_> = self.made.facts.keys().collect();
        assert_eq!(seen.keys().collect::<Vec<_>>(), made, "every fact");
        assert!(self.epochs > 1 || seen.values().all(|times| *times == 1));
    }

    fn demand_is_there(&self) {
        let mut cells: BTreeMap<(Option<String>, i64, u32), DemandReport> = BTreeMap::new();
        for (_, item) in self.cloud.items(Lane::Demand) {
            let Report::Demand(report) = &item.report else {
                panic!("not demand");
            };
            let building = report.building.as_ref().map(ToString::to_string);
            let key = (building, report.start, report.minutes);
            // A higher revision replaces, a lower one changes nothing.
            match cells.get(&key) {
                Some(known) if known.revision > report.revision => {}
                _ => drop(cells.insert(key, report.clone())),
            }
        }
        for building in BUILDINGS {
            let made = self
                .made
                .demand
                .iter()
                .filter(|((of, _), _)| *of == building);
            let made: u64 = made.map(|(_, (_, count))| count).sum();
            let there = cells
                .iter()
                .filter(|((of, ..), _)| of.as_deref() == building);
            let there: u64 = there.map(|(_, report)| report.series["comings"]).sum();
            assert_eq!(there, made, "{building:?}: every count once");
        }
    }
}

/// In memory where the system has that: a thousand stores are made.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    match tempfile::tempdir_in(memory) {
        Ok(dir) => dir,
        Err(_) => tempfile::tempdir().unwrap(),
    }
}

fn opened(path: &Path) -> Connection {
    let conn = schema::open_writer(path, 1_780_000_000_000).unwrap().conn;
    conn.pragma_update(None, "synchronous", "OFF").unwrap();
    conn
}

#[test]
fn everything_arrives_once_and_in_order_through_random_histories() {
    let (mut epochs, mut stale, mut sums, mut facts) = (0, 0, 0, 0);
    for seed in 1..=SEEDS {
        let history = std::panic::AssertUnwindSafe(|| {
            let mut world = World::new(seed);
            world.made.revised = seed % 3 == 0;
            for step in 0..STEPS {
                world.step();
                if step % 4 == 0 {
                    world.memory_and_disk_agree();
                }
            }
            world.drain();
            world.all_is_there();
            world
        });
        let world = std::panic::catch_unwind(history)
            .unwrap_or_else(|_| panic!("the history of seed {seed}"));
        epochs += world.epochs - 1;
        stale += world.stale;
        facts += world.made.facts.len();
        let long = |(_, item): &(u64, &Item)| matches!(&item.report, Report::Demand(report) if report.minutes > 60);
        sums += world.cloud.items(Lane::Demand).filter(long).count();
    }
    // The histories were worth the name.
    assert!(
        epochs > SEEDS / 4 && stale > SEEDS / 4 && sums > 20 && facts > 1_000,
        "{epochs} epochs, {stale} plans overtaken, {sums} sums, {facts} facts"
    );
}
