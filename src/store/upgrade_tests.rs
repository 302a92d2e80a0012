//! A store of an older version, with parcels in every state, goes on in this one.

use estate::command::CommandState;
use estate::parcel::{Place, Stage, Taker};
use estate::{Estate, TimeQuality};
use rusqlite::Connection;

use super::tests::{ident, layout};
use super::{load, schema};

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
