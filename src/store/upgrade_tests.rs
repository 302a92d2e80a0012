//! A store of an older version, with parcels in every state, goes on in this one.

use cloud_protocol::{Chain, Item, Lane, Report};
use estate::command::CommandState;
use estate::parcel::{Place, Stage, Taker};
use estate::{Estate, TimeQuality};
use rusqlite::Connection;

use super::lanes::tests::{digits, limits, parcel};
use super::tests::{Store, ident, layout};
use super::write::Heads;
use super::{load, schema};
use crate::keys::Keys;

/// What the first version could write, with every stage of its parcels.
const FIRST: &str = "
INSERT INTO meta VALUES ('epoch', 7);
INSERT INTO compartments VALUES ('bank-a', 1, 'parcel', 'p-in', 'closed', 1, NULL, 3);
INSERT INTO compartments VALUES ('bank-a', 2, 'reserved', 'p-coming', 'open', 0, NULL, 1);
INSERT INTO compartments VALUES ('bank-a', 3, 'parcel', 'p-going', 'open', 1, NULL, 9);
INSERT INTO parcels (parcel, recipient, size, zone, point, deadline_ms, consent, stage, bank,
    compartment, courier, command, opened, alarmed, reopen_until_tick_ms, since_ms, since_tick_ms)
VALUES
  ('p-not-yet', 'r', 'S', 'ambient', 'bank-a', 100, 1, 'expected', NULL, NULL, NULL, NULL, 0, 0, NULL, 5, 6),
  ('p-coming', 'r', 'S', 'ambient', 'bank-a', 100, 1, 'depositing', 'bank-a', 2, 'c', 'o-1', 1, 0, NULL, 5, 6),
  ('p-in', 'r', 'S', 'ambient', 'bank-a', 100, 1, 'deposited', 'bank-a', 1, NULL, NULL, 0, 0, NULL, 5, 6),
  ('p-going', 'r', 'L', 'ambient', 'bank-a', 100, 1, 'collecting', 'bank-a', 3, NULL, 'o-2', 0, 0, NULL, 5, 6),
  ('p-gone', 'r', 'S', 'ambient', 'bank-a', 100, 1, 'collected', 'bank-a', 1, NULL, NULL, 0, 0, 99, 5, 6),
  ('p-not', 'r', 'S', 'ambient', 'bank-a', 100, 1, 'cancelled', NULL, NULL, NULL, NULL, 0, 0, NULL, 5, 6);
INSERT INTO codes VALUES ('bank-a', zeroblob(32), 7, 'p-in', NULL);
INSERT INTO keypads VALUES ('bank-a', 3, 1, NULL);
INSERT INTO couriers VALUES (zeroblob(32), 'c', 4000);
INSERT INTO commands VALUES ('o-1', 'bank-a', 2, 'deposit', 'p-coming', NULL, NULL, 5, 2, 9, 'sent', NULL, 0);
INSERT INTO commands VALUES ('o-2', 'bank-a', 3, 'collect', 'p-going', NULL, NULL, 5, 2, 9, 'expired', NULL, 0);
INSERT INTO trace (parcel, at_ms, quality, tick_ms, step, who) VALUES ('p-in', 5, 2, 6, 'announced', 'cloud');
PRAGMA user_version = 1;
";

#[test]
fn a_store_of_the_first_version_is_taken_over_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("linli.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("0001.sql")).unwrap();
    old.execute_batch(FIRST).unwrap();
    drop(old);

    let writer = schema::open_writer(&path, 1_780_000_000_000).unwrap();
    let snapshot = load::snapshot(&writer.conn).unwrap();
    let stage = |parcel: &str| snapshot.parcels[parcel].stage.clone();
    assert_eq!(stage("p-not-yet"), Stage::Expected);
    assert!(matches!(
        stage("p-coming"),
        Stage::Depositing { opened: true, .. }
    ));
    let slot: firmware_protocols::Slot = "bank-a/1".parse().unwrap();
    assert_eq!(
        stage("p-in"),
        Stage::Deposited {
            place: Place::Slot(slot.clone())
        }
    );
    assert!(matches!(
        stage("p-going"),
        Stage::Collecting {
            taker: Taker::Recipient,
            ..
        }
    ));
    assert!(matches!(stage("p-gone"), Stage::Collected { .. }));
    assert_eq!(stage("p-not"), Stage::Cancelled);
    let due = snapshot.parcels["p-in"].due;
    assert_eq!((due.wall_ms, due.tick_ms), (100, None));
    assert_eq!(
        due.quality,
        TimeQuality::Unknown,
        "reckoned at the first tick"
    );
    assert_eq!(snapshot.compartments[&slot].contents, ["p-in"]);
    assert_eq!(snapshot.commands["o-1"].state, CommandState::Sent);
    assert_eq!(snapshot.commands["o-2"].state, CommandState::Unknown);
    assert_eq!(snapshot.couriers[&[0; 32]].valid_until.wall_ms, 4_000);
    assert_eq!(snapshot.keypads[&ident("bank-a")].wrong, 3);
    assert_eq!(snapshot.codes.len(), 1);
    Estate::load(layout(), snapshot).unwrap();
}

/// What the third version had for the cloud: items with their numbers, some acknowledged, codes as it
/// sealed them.
#[test]
fn what_waits_in_a_store_of_the_third_version_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::open(&folder.path().join("keys"), true).unwrap();
    let path = folder.path().join("linli.db");
    let old = Connection::open(&path).unwrap();
    let scripts = [
        include_str!("0001.sql"),
        include_str!("0002.sql"),
        include_str!("0003.sql"),
    ];
    old.execute_batch(&scripts.concat()).unwrap();
    old.execute_batch(
        "INSERT INTO meta VALUES ('epoch', 1790000000); PRAGMA user_version = 3;
         INSERT INTO lanes VALUES ('fulfilment', 12, zeroblob(32), 9, zeroblob(32));
         INSERT INTO lanes VALUES ('demand', 1, zeroblob(32), 0, zeroblob(32));",
    )
    .unwrap();
    let code = firmware_protocols::value::map([
        ("digits", Some("004711".into())),
        ("salt", Some(firmware_protocols::Value::Bytes(vec![7; 16]))),
    ]);
    let secret = keys.store.seal(&code.to_cbor()).unwrap();
    let put = |lane: &str, seq: u64, report: Report, secret: Option<&[u8]>| {
        let item = Item { seq, at: 5, report };
        old.execute(
            "INSERT INTO uplink VALUES (?1, ?2, 5, ?3, ?4, zeroblob(32))",
            rusqlite::params![lane, seq as i64, item.to_value().to_cbor(), secret],
        )
        .unwrap();
    };
    let health = Report::Health([("events".to_owned(), 1)].into());
    put("demand", 1, health, None);
    // Not in the order of their numbers.
    put("fulfilment", 12, parcel("p-12", None), None);
    put(
        "fulfilment",
        10,
        parcel("p-10", Some("004711")),
        Some(&secret),
    );
    put("fulfilment", 11, parcel("p-11", None), None);
    drop(old);

    let conn = schema::open_writer(&path, 1_780_000_000_000).unwrap().conn;
    let heads = Heads::load(&conn).unwrap();
    let mut store = Store {
        dir: folder,
        conn,
        keys,
        heads,
    };
    let batch = store.next(&limits(9)).unwrap();
    assert_eq!(batch.epoch, 1_790_000_001, "one more than it was");
    let part = &batch.lanes[&Lane::Fulfilment];
    assert_eq!((part.after, part.chain), (0, Chain::default()));
    let sent: Vec<_> = part
        .items
        .iter()
        .map(|item| match &item.report {
            Report::Parcel(report) => (item.seq, report.parcel.as_str(), digits(item)),
            _ => panic!("not a parcel"),
        })
        .collect();
    let code = Some("004711".to_owned());
    assert_eq!(
        sent,
        [(1, "p-10", code), (2, "p-11", None), (3, "p-12", None)]
    );
    assert_eq!(store.heads.lanes[&Lane::Fulfilment].waiting, 3);
    assert_eq!(batch.lanes[&Lane::Demand].items.len(), 1);
    // A store that is made now begins with the epoch of its time.
    let fresh = Store::new();
    assert_eq!(super::lanes::epoch(&fresh.conn).unwrap(), 1_780_000_000);
}
