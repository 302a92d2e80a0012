//! What the lanes promise, case by case; `model.rs` does it at random.

use std::path::Path;

use cloud_protocol::secure::sealed::OpeningKey;
use cloud_protocol::uplink::{DemandReport, ParcelReport, ParcelState};
use cloud_protocol::{Acked, Batch, Chain, CodeForResident, Item, Lane, Report, SealingKey};
use estate::change::Change;
use estate::demand::{Cell, CellKey, HOUR_MS};
use firmware_protocols::event::Secret;

use super::{Cut, Plan, Unplanned, acked, cut, new_epoch, read};
use crate::cloud::{BatchLimits, Seal};
use crate::store::tests::{Store, ident};
use crate::store::write::Heads;

const GATEWAY: &str = "estate-1";

fn opening_key() -> OpeningKey {
    OpeningKey::from_seed(&[9; 32])
}

pub(in crate::store) fn limits(items: usize) -> BatchLimits {
    BatchLimits {
        items,
        bytes: 100_000,
        held: Vec::new(),
        seal: Seal {
            key: SealingKey {
                id: "k1".to_owned(),
                public_key: opening_key().public_key(),
            },
            gateway: ident(GATEWAY),
        },
        demand_minutes: None,
    }
}

impl Store {
    pub(in crate::store) fn plan(&self, limits: &BatchLimits) -> Option<Plan> {
        let waiting = read(&self.conn, limits).unwrap();
        waiting.plan(&self.keys.store, &limits.seal).unwrap()
    }

    pub(in crate::store) fn cut(&mut self, wanted: &Cut) -> bool {
        let tx = self.conn.unchecked_transaction().unwrap();
        let taken = cut(&tx, &mut self.heads, wanted).unwrap();
        tx.commit().unwrap();
        taken
    }

    /// The next batch, cut.
    pub(in crate::store) fn next(&mut self, limits: &BatchLimits) -> Option<Batch> {
        let Plan { batch, cut } = self.plan(limits)?;
        assert!(cut.is_none_or(|cut| self.cut(&cut)));
        Some(batch)
    }

    pub(in crate::store) fn acked(&mut self, lane: Lane, seq: u64) {
        let tx = self.conn.unchecked_transaction().unwrap();
        acked(&tx, &mut self.heads, &Acked([(lane, seq)].into())).unwrap();
        tx.commit().unwrap();
    }

    pub(in crate::store) fn new_epoch(&mut self, epoch: u64) {
        let tx = self.conn.unchecked_transaction().unwrap();
        new_epoch(&tx, &mut self.heads, epoch).unwrap();
        tx.commit().unwrap();
    }

    fn append(&mut self, report: Report) {
        self.write(&[Change::Uplink { at_ms: 5, report }]);
    }

    fn items(&mut self, lane: Lane) -> Vec<Item> {
        let batch = self.next(&limits(100));
        batch.map_or(Vec::new(), |mut batch| {
            batch.lanes.remove(&lane).unwrap_or_default().items
        })
    }
}

pub(in crate::store) fn parcel(id: &str, digits: Option<&str>) -> Report {
    Report::Parcel(ParcelReport {
        parcel: id.to_owned(),
        state: ParcelState::Expected,
        since: 5,
        bank: None,
        compartment: None,
        desk: None,
        code: digits.map(|digits| CodeForResident::Plain(Secret::new(digits))),
        unlisted: false,
        return_of: None,
    })
}

pub(in crate::store) fn bucket(
    building: Option<&str>,
    hour: i64,
    revision: u32,
    comings: u64,
) -> DemandReport {
    DemandReport {
        building: building.map(ident),
        start: hour * HOUR_MS,
        minutes: 60,
        revision,
        series: [("comings".to_owned(), comings)].into(),
    }
}

/// The mark of a closed hour.
pub(in crate::store) fn closed(hour: i64) -> Change {
    Change::Cell(Cell {
        key: CellKey {
            start_ms: hour * HOUR_MS,
            building: None,
            series: String::new(),
        },
        count: 0,
    })
}

/// The digits of an item's code, opened as the cloud does it.
pub(in crate::store) fn digits(item: &Item) -> Option<String> {
    let Report::Parcel(report) = &item.report else {
        return None;
    };
    let Some(CodeForResident::Sealed(sealed)) = &report.code else {
        assert_eq!(report.code, None, "a plain code leaves the store");
        return None;
    };
    let open = opening_key().open(GATEWAY, &report.parcel, sealed);
    Some(open.unwrap().reveal().to_owned())
}

#[test]
fn a_lane_is_cut_sent_acknowledged_and_chained() {
    let mut store = Store::new();
    for n in 1..=5 {
        store.append(parcel(&format!("p-{n}"), Some("123456")));
    }
    let first = store.next(&limits(3)).unwrap().lanes[&Lane::Fulfilment].clone();
    assert_eq!((first.after, first.chain), (0, Chain::default()));
    assert_eq!(first.items.len(), 3);
    let chain = first.items.iter().fold(first.chain, |c, item| c.then(item));
    // Until it is acknowledged it is sent again as it was, whatever comes behind it.
    store.append(parcel("p-6", None));
    assert_eq!(
        store.next(&limits(9)).unwrap().lanes[&Lane::Fulfilment],
        first
    );
    let half = store.next(&limits(1)).unwrap().lanes[&Lane::Fulfilment].clone();
    assert_eq!(half.items, first.items[..1]);

    store.acked(Lane::Fulfilment, 3);
    let second = store.next(&limits(9)).unwrap().lanes[&Lane::Fulfilment].clone();
    assert_eq!((second.after, second.chain), (3, chain));
    assert_eq!(second.items.len(), 3);

    // Old or impossible acknowledgements change nothing.
    store.acked(Lane::Fulfilment, 2);
    store.acked(Lane::Fulfilment, 7);
    assert_eq!(
        store.next(&limits(9)).unwrap().lanes[&Lane::Fulfilment],
        second
    );
    store.acked(Lane::Fulfilment, 4);
    let rest = store.next(&limits(9)).unwrap().lanes[&Lane::Fulfilment].clone();
    assert_eq!((rest.after, rest.items.as_slice()), (4, &second.items[1..]));
    store.acked(Lane::Fulfilment, 6);
    assert_eq!(store.next(&limits(9)), None);
    // The heads in memory are those on disk.
    assert_eq!(Heads::load(&store.conn).unwrap(), store.heads);
}

#[test]
fn an_urgent_lane_fills_the_batch_before_the_others() {
    let mut store = Store::new();
    store.append(Report::Health([("events".to_owned(), 1)].into()));
    store.append(parcel("p-1", None));
    store.append(parcel("p-2", None));
    let lanes_of = |items, held: &[Lane]| {
        let held = held.to_vec();
        let plan = store.plan(&BatchLimits {
            held,
            ..limits(items)
        });
        let lanes = plan.unwrap().batch.lanes;
        lanes.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(lanes_of(2, &[]), [Lane::Fulfilment]);
    assert_eq!(lanes_of(3, &[]), [Lane::Fulfilment, Lane::Health]);
    assert_eq!(lanes_of(3, &[Lane::Fulfilment]), [Lane::Health]);
}

#[test]
fn a_plan_that_something_has_overtaken_is_not_cut() {
    let mut store = Store::new();
    let health = |n| Report::Health([("events".to_owned(), n)].into());
    store.append(parcel("p-1", None));
    store.append(health(1));
    let plan = store.plan(&limits(9)).unwrap();
    let wanted = plan.cut.clone().unwrap();
    // The health that it names was replaced.
    store.append(health(2));
    let heads = store.heads.clone();
    assert!(!store.cut(&wanted));
    assert_eq!(
        (&store.heads, &Heads::load(&store.conn).unwrap()),
        (&heads, &heads)
    );
    // Somebody else has cut the lane.
    let plan = store.plan(&limits(9)).unwrap();
    assert!(store.cut(&plan.cut.clone().unwrap()));
    assert!(!store.cut(&plan.cut.unwrap()));
    let again = store.plan(&limits(9)).unwrap();
    assert_eq!((again.batch, again.cut), (plan.batch, None));
    // It was made in an epoch that is over.
    store.append(parcel("p-2", None));
    store.acked(Lane::Fulfilment, 1);
    let plan = store.plan(&limits(9)).unwrap();
    store.new_epoch(2_000_000_000);
    assert!(!store.cut(&plan.cut.unwrap()));
}

#[test]
fn only_the_latest_goes_up_where_that_is_enough() {
    let mut store = Store::new();
    let health = |n| Report::Health([("events".to_owned(), n)].into());
    store.append(health(1));
    store.append(health(2));
    let demand = |revision, count| Report::Demand(bucket(Some("b1"), 7, revision, count));
    store.append(demand(2, 20));
    store.append(demand(1, 10));
    store.append(demand(3, 30));
    store.append(Report::Demand(bucket(None, 7, 1, 5)));
    assert_eq!(store.heads.lanes[&Lane::Demand].waiting, 2);
    let batch = store.next(&limits(9)).unwrap();
    let reports = |lane| {
        let items = batch.lanes[&lane].items.iter();
        items.map(|item| item.report.clone()).collect::<Vec<_>>()
    };
    assert_eq!(reports(Lane::Health), [health(2)]);
    let site = Report::Demand(bucket(None, 7, 1, 5));
    assert_eq!(reports(Lane::Demand), [demand(3, 30), site]);
    // What is cut isn't replaced any more.
    store.append(demand(4, 40));
    assert_eq!(store.next(&limits(9)).unwrap(), batch);
    store.append(health(3));
    let again = store.next(&limits(9)).unwrap();
    assert_eq!(again.lanes[&Lane::Health], batch.lanes[&Lane::Health]);
    store.acked(Lane::Health, 1);
    store.acked(Lane::Demand, 2);
    let batch = store.next(&limits(9)).unwrap();
    assert_eq!(batch.lanes[&Lane::Health].items[0].report, health(3));
    assert_eq!(batch.lanes[&Lane::Demand].items[0].report, demand(4, 40));
}

/// A head that shows that the past was rewritten isn't lost to a later one.
#[test]
fn heads_of_the_history_are_replaced_only_while_the_gateway_runs() {
    let mut store = Store::new();
    let head = |entries, past| Report::Audit {
        entries,
        head: [past; 32],
    };
    let told = [
        head(10, 1),
        head(20, 1), // replaces it
        head(20, 2), // a start: told again, from a past that was rewritten
        head(20, 2), // another start
        head(25, 2),
        head(30, 2), // replaces it
        head(28, 3), // fewer
        head(31, 3),
    ];
    told.into_iter().for_each(|report| store.append(report));
    let items = store.items(Lane::Health).into_iter();
    let sent: Vec<Report> = items.map(|item| item.report).collect();
    let wanted = [
        head(20, 1),
        head(20, 2),
        head(30, 2),
        head(28, 3),
        head(31, 3),
    ];
    assert_eq!(sent, wanted);
}

#[test]
fn a_new_epoch_numbers_and_seals_anew_what_waits() {
    let mut store = Store::new();
    for n in 1..=4 {
        store.append(parcel(&format!("p-{n}"), Some("900817")));
    }
    let before = store.next(&limits(3)).unwrap();
    store.acked(Lane::Fulfilment, 1);
    store.new_epoch(before.epoch + 1);
    let after = store.next(&limits(9)).unwrap();
    assert_eq!(after.epoch, before.epoch + 1);
    let part = &after.lanes[&Lane::Fulfilment];
    assert_eq!((part.after, part.chain), (0, Chain::default()));
    let parcels: Vec<_> = part
        .items
        .iter()
        .map(|item| match &item.report {
            Report::Parcel(report) => (item.seq, report.parcel.as_str(), digits(item)),
            _ => panic!("not a parcel"),
        })
        .collect();
    let code = || Some("900817".to_owned());
    assert_eq!(
        parcels,
        [(1, "p-2", code()), (2, "p-3", code()), (3, "p-4", code())]
    );
    let old = &before.lanes[&Lane::Fulfilment].items[1].report;
    assert_ne!(&part.items[0].report, old, "sealed anew");
}

#[test]
fn demand_is_summed_up_when_its_span_is_over() {
    let mut store = Store::new();
    let day = BatchLimits {
        demand_minutes: Some(1_440),
        ..limits(100)
    };
    for hour in 24..40 {
        store.append(Report::Demand(bucket(Some("b1"), hour, 1, 1)));
        store.append(Report::Demand(bucket(None, hour, 1, 100)));
        store.write(&[closed(hour)]);
    }
    assert_eq!(store.plan(&day), None, "the day isn't over");
    store.append(Report::Demand(bucket(Some("b1"), 48, 1, 7)));
    store.write(&[closed(48)]);
    let batch = store.next(&day).unwrap();
    let sum = |building, count| {
        let hour = bucket(building, 24, 1, count);
        Report::Demand(DemandReport {
            minutes: 1_440,
            ..hour
        })
    };
    let sent = |batch: &Batch| {
        let items = batch.lanes[&Lane::Demand].items.iter();
        items.map(|item| item.report.clone()).collect::<Vec<_>>()
    };
    assert_eq!(sent(&batch), [sum(Some("b1"), 16), sum(None, 1_600)]);
    assert_eq!(store.heads.lanes[&Lane::Demand].waiting, 3);
    assert_eq!(store.next(&day).unwrap(), batch, "sent again as it was");
    store.acked(Lane::Demand, 2);
    // Hours of that day that come now, and days of which an hour was sent, go as they are.
    let late = Report::Demand(bucket(Some("b1"), 30, 1, 3));
    store.append(late.clone());
    let first = Report::Demand(bucket(Some("b1"), 48, 1, 7));
    assert_eq!(sent(&store.next(&limits(1)).unwrap()), [first]);
    store.acked(Lane::Demand, 3);
    let next = Report::Demand(bucket(Some("b1"), 49, 1, 8));
    store.append(next.clone());
    store.write(&[closed(90)]);
    assert_eq!(sent(&store.next(&day).unwrap()), [late, next]);
}

#[test]
fn a_sealing_key_that_is_none_cuts_nothing() {
    let mut store = Store::new();
    store.append(parcel("p-1", Some("123456")));
    let mut limits = limits(9);
    limits.seal.key.public_key = [0; 32];
    let waiting = read(&store.conn, &limits).unwrap();
    let plan = waiting.plan(&store.keys.store, &limits.seal);
    assert!(matches!(plan, Err(Unplanned::Sealing)));
}

#[test]
fn a_cut_item_that_was_changed_is_not_sent() {
    let mut store = Store::new();
    store.append(parcel("p-1", None));
    store.next(&limits(9)).unwrap();
    let other = super::body::encode(&Item {
        seq: 1,
        at: 5,
        report: parcel("p-2", None),
    });
    store
        .conn
        .execute("UPDATE uplink SET body = ?1", [other])
        .unwrap();
    let limits = limits(9);
    let waiting = read(&store.conn, &limits).unwrap();
    let plan = waiting.plan(&store.keys.store, &limits.seal);
    assert!(
        plan.unwrap_err()
            .to_string()
            .contains("linli sync restored")
    );
}

/// However much waits: no step reads through the lanes.
#[test]
fn nothing_reads_through_what_waits() {
    let store = Store::new();
    let plan = |sql: &str| -> String {
        let mut statement = store
            .conn
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap();
        let blanks = statement.parameter_count();
        let blanks = rusqlite::params_from_iter((0..blanks).map(|_| 1));
        let steps = statement
            .query_map(blanks, |row| row.get::<_, String>(3))
            .unwrap();
        steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    };
    for sql in [
        "SELECT id, subject, body, secret, seq, chain FROM uplink
             WHERE lane = ?1 ORDER BY id LIMIT ?2",
        "SELECT id, seq, chain FROM uplink WHERE lane = ?1 ORDER BY id LIMIT 1 OFFSET ?2",
        "DELETE FROM uplink WHERE lane = ?1 AND id <= ?2",
        "UPDATE uplink SET seq = NULL, chain = NULL WHERE id IN
             (SELECT id FROM uplink WHERE lane = ?1 ORDER BY id LIMIT ?2)",
        "SELECT id, body FROM uplink WHERE subject = ?1 LIMIT 1",
        "SELECT id, body FROM uplink WHERE subject >= ?1 AND subject < ?2 ORDER BY subject LIMIT ?3",
        "SELECT count(*) FROM uplink u WHERE u.lane = 'demand' AND u.id > 7",
    ] {
        let steps = plan(sql);
        let reads_through = steps.contains("SCAN") || steps.contains("TEMP B-TREE");
        assert!(!reads_through && steps.contains("SEARCH"), "{sql}: {steps}");
    }
    assert!(plan("SELECT max(id) FROM uplink").starts_with("SEARCH"));
}

/// And what waits is counted behind the last count only.
#[test]
fn what_waits_is_counted_at_any_time() {
    let mut store = Store::new();
    for n in 0..2_500 {
        store.append(parcel("p", None));
        if n % 100 == 0 {
            store.append(Report::Health([("events".to_owned(), n)].into()));
        }
    }
    let uncounted = || -> i64 {
        let sql =
            "SELECT count(*) FROM uplink u JOIN lanes l USING (lane) WHERE u.id > l.counted_id";
        store.conn.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    assert!(uncounted() <= super::append::COUNT_EVERY);
    let loaded = Heads::load(&store.conn).unwrap();
    assert_eq!(loaded, store.heads);
    assert_eq!(loaded.lanes[&Lane::Fulfilment].waiting, 2_500);
    assert_eq!(loaded.lanes[&Lane::Health].waiting, 1);
}

/// The digits are in no file: the database, its log, copies of them by hand and by SQLite, at any stage
/// of a code's way to the cloud.
#[test]
fn a_plain_code_is_in_no_file() {
    const DIGITS: &str = "90817263";
    let mut store = Store::new();
    let copies = tempfile::tempdir().unwrap();
    let mut stage = 0;
    let mut look = |store: &Store| {
        stage += 1;
        assert_files_lack(store.dir.path(), DIGITS);
        let backup = copies.path().join(format!("backup-{stage}.db"));
        let backup = backup.to_str().unwrap();
        store.conn.execute("VACUUM INTO ?1", [backup]).unwrap();
        for file in ["linli.db", "linli.db-wal"] {
            let copy = copies.path().join(format!("{stage}-{file}"));
            std::fs::copy(store.dir.path().join(file), copy).unwrap();
        }
        assert_files_lack(copies.path(), DIGITS);
        store
            .conn
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .unwrap();
        assert_files_lack(store.dir.path(), DIGITS);
    };
    store.append(parcel("p-1", Some(DIGITS)));
    look(&store);
    let batch = store.next(&limits(9)).unwrap();
    look(&store);
    let item = &batch.lanes[&Lane::Fulfilment].items[0];
    assert_eq!(digits(item).as_deref(), Some(DIGITS));
    let body = batch.to_value().to_cbor();
    assert!(!holds(&body, DIGITS.as_bytes()), "the batch holds it");
    store.new_epoch(2_000_000_000);
    look(&store);
    store.next(&limits(9)).unwrap();
    look(&store);
    store.acked(Lane::Fulfilment, 1);
    look(&store);
}

fn assert_files_lack(folder: &Path, digits: &str) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_files_lack(&path, digits);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        assert!(
            !holds(&bytes, digits.as_bytes()),
            "{} holds it",
            path.display()
        );
    }
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}
