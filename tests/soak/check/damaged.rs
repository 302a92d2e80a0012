//! The reconciliation can fail: each kind of damage, done to copies of the stores of a run that agreed,
//! is found.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::{Store, Wrong};

/// Damage to the gateway's store.
const GATEWAYS: [(&str, &str); 7] = [
    (
        "an event lost",
        "DELETE FROM events WHERE id = (SELECT max(id) FROM events)",
    ),
    (
        "an event doubled",
        "INSERT INTO events SELECT (SELECT max(id) + 1 FROM events), device, boot, seq, kind, at_ms, at_by,
            received_ms, quality, body FROM events WHERE id = (SELECT min(id) FROM events)",
    ),
    (
        "a command forgotten",
        "DELETE FROM commands WHERE id = (SELECT max(id) FROM commands WHERE state = 'closed')",
    ),
    (
        "a command later than its door",
        "UPDATE commands SET at_ms = at_ms + 60000
         WHERE id = (SELECT max(id) FROM commands WHERE state = 'closed')",
    ),
    (
        "an opening by a bank that it didn't make",
        "INSERT INTO commands SELECT 'b-' || id, bank, compartment, purpose, parcel, operator, reason, at_ms, quality,
            expires_tick_ms, state, answer, archived, sent_ms, opened_ms, closed_ms
         FROM commands WHERE id = (SELECT max(id) FROM commands WHERE bank = 'bank-a')",
    ),
    (
        "a parcel's end forgotten",
        "UPDATE parcels SET stage = 'deposited'
         WHERE parcel = (SELECT min(parcel) FROM parcels WHERE stage = 'collected')",
    ),
    (
        "an item that wasn't sent",
        "UPDATE lanes SET last_seq = last_seq + 1 WHERE lane = 'fulfilment'",
    ),
];

/// Damage to the cloud's store.
const CLOUDS: [(&str, &str); 2] = [
    (
        "an item lost",
        "DELETE FROM item WHERE lane = 'fulfilment' AND seq = 3",
    ),
    (
        "another state",
        "UPDATE parcel SET state = 'expected'
         WHERE parcel = (SELECT min(parcel) FROM parcel WHERE state = 'collected')",
    ),
];

/// Runs `check` over damaged copies; what it didn't find.
pub fn goes_unnoticed(
    dir: &Path,
    gateway: &Path,
    cloud: &Path,
    check: impl Fn(&Store, &Store) -> Wrong,
) -> Wrong {
    let mut unnoticed = Wrong::new();
    let sound = (Store::open(gateway), Store::open(cloud));
    for (what, sql) in GATEWAYS {
        let copy = damage(dir, gateway, sql);
        if check(&Store::open(&copy), &sound.1).is_empty() {
            unnoticed.push(format!("{what} in the gateway's store goes unnoticed"));
        }
    }
    for (what, sql) in CLOUDS {
        let copy = damage(dir, cloud, sql);
        if check(&sound.0, &Store::open(&copy)).is_empty() {
            unnoticed.push(format!("{what} in the cloud's store goes unnoticed"));
        }
    }
    unnoticed
}

fn damage(dir: &Path, store: &Path, sql: &str) -> PathBuf {
    let copy = dir.join("damaged.db");
    fs::copy(store, &copy).unwrap();
    let conn = Connection::open(&copy).unwrap();
    let changed = conn.execute(sql, []).unwrap();
    assert_eq!(changed, 1, "nothing to damage: {sql}");
    copy
}
