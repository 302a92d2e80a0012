//! Stores as earlier versions left them, which this version brings up to date when it starts.

use std::collections::BTreeMap;
use std::path::Path;

use cloud_protocol::Chain;
use estate::context::CodeDigest as _;
use linli::keys::Keys;
use linli::store::trace::Entry;
use rusqlite::{Connection, params};

use crate::mark::{NewEvent, Place};
use crate::memory::{Boot, Device, Event, Memory, Parcel};
use crate::site::{FIRST_DAY_MS, ident};

/// Parcels in compartments 1 to so many of `bank-a`.
const PARCELS: u16 = 12;
const STEPS: i64 = 700;
const EVENTS: u64 = 400;
const HOUR_MS: i64 = 3_600_000;

/// Makes the state folder of a store with schema 1 or 2, and returns what the world knows of it.
pub fn make(state: &Path, schema: u32) -> Memory {
    let keys = Keys::open(&state.join("keys"), true).expect("new keys");
    let mut conn = Connection::open(state.join("linli.db")).expect("a new store");
    // As every store of ours from its first start on.
    conn.pragma_update(None, "journal_mode", "WAL")
        .expect("a log");
    conn.execute_batch(include_str!("../../src/store/0001.sql"))
        .expect("the first schema");
    conn.execute_batch("INSERT INTO meta VALUES ('epoch', 7)")
        .expect("the epoch");
    let mut memory = Memory {
        wall_ms: FIRST_DAY_MS,
        started: true,
        ..Memory::default()
    };
    let tx = conn.transaction().expect("a transaction");
    parcels(&tx, &keys, &mut memory);
    events(&tx, &mut memory);
    steps(&tx);
    tx.commit().expect("the rows");
    if schema == 2 {
        conn.execute_batch(include_str!("../../src/store/0002.sql"))
            .expect("the second schema");
        chain(&conn);
    }
    conn.pragma_update(None, "user_version", schema)
        .expect("the version");
    memory
}

fn parcels(conn: &Connection, keys: &Keys, memory: &mut Memory) {
    let deadline = FIRST_DAY_MS + 30 * HOUR_MS;
    for n in 1..=PARCELS {
        let (parcel, code) = (format!("old-{n}"), format!("{:06}", 271_828 + u32::from(n)));
        conn.execute(
            "INSERT INTO parcels (parcel, recipient, size, zone, point, deadline_ms, consent, stage,
                 bank, compartment, opened, alarmed, since_ms, since_tick_ms)
             VALUES (?1, 'of-' || ?1, 'S', 'ambient', 'bank-a', ?2, 1, 'deposited', 'bank-a', ?3,
                 0, 0, ?4, 6)",
            params![parcel, deadline, n, FIRST_DAY_MS - HOUR_MS],
        )
        .expect("a parcel");
        conn.execute(
            "INSERT INTO compartments VALUES ('bank-a', ?1, 'parcel', ?2, 'closed', 1, NULL, 3)",
            params![n, parcel],
        )
        .expect("a compartment");
        let digest = keys.codes.digest(&ident("bank-a"), &code);
        conn.execute(
            "INSERT INTO codes VALUES ('bank-a', ?1, 6, ?2, NULL)",
            params![digest, parcel],
        )
        .expect("a code");
        let known = Parcel {
            point: "bank-a".to_owned(),
            n: 0,
            deadline,
            cancelled: false,
            place: Place::In(n),
            touched: false,
            told_by: None,
            code: Some(code),
            dead: Vec::new(),
        };
        memory.parcels.insert(parcel, known);
    }
}

fn events(conn: &Connection, memory: &mut Memory) {
    let device = "door-1";
    conn.execute(
        "INSERT INTO devices VALUES (1, ?1, 'json', 0, ?2, ?2, 0, 0, ?3, NULL, NULL, '[]')",
        params![device, EVENTS as i64, FIRST_DAY_MS],
    )
    .expect("a device");
    conn.execute(
        "INSERT INTO boots VALUES (?1, 0, ?2, '[]', '[]', NULL, 0, 6)",
        params![device, EVENTS as i64],
    )
    .expect("a boot");
    let at_ms = FIRST_DAY_MS - HOUR_MS;
    let mut known = BTreeMap::new();
    for seq in 1..=EVENTS {
        conn.execute(
            "INSERT INTO events (device, boot, seq, kind, at_ms, at_by, received_ms, quality, body)
             VALUES (1, 0, ?1, 'reading', ?2, 'received', ?2, 2, x'a0')",
            params![seq as i64, at_ms],
        )
        .expect("an event");
        let event = NewEvent {
            device: device.to_owned(),
            boot: 0,
            seq,
            at_ms,
            kind: "reading".to_owned(),
            body: format!("\"senml\":[{{\"n\":\"t\",\"v\":{seq}}}]"),
            parcel: None,
        };
        known.insert(seq, Event { event, acked: true });
    }
    let boot = Boot {
        last: EVENTS,
        events: known,
    };
    let device_known = Device {
        boot: 0,
        boots: [(0, boot)].into(),
    };
    memory.devices.insert(device.to_owned(), device_known);
}

fn steps(conn: &Connection) {
    for n in 0..STEPS {
        // The first version left gaps in the numbers when its transactions failed.
        conn.execute(
            "INSERT INTO trace (id, parcel, at_ms, quality, tick_ms, step, who)
             VALUES (?1, 'old-' || (?1 % ?2), 5, 2, 6, 'opened', 'bank-a')",
            params![n + 1 + n / 100, PARCELS],
        )
        .expect("a step");
    }
}

/// What the second version did when it first started: `id` runs from 1 without a gap.
fn chain(conn: &Connection) {
    conn.execute_batch(
        "CREATE TEMP TABLE numbered AS
             SELECT row_number() OVER (ORDER BY id) AS n, id FROM trace;
         UPDATE trace SET id = (SELECT n FROM numbered WHERE numbered.id = trace.id)
             WHERE id IN (SELECT id FROM numbered WHERE n < id);
         DROP TABLE numbered;",
    )
    .expect("the numbers");
    let mut before = Chain::default();
    for n in 1..=STEPS {
        let parcel: String = conn
            .query_row("SELECT parcel FROM trace WHERE id = ?1", [n], |r| r.get(0))
            .expect("a step");
        before = Entry {
            n: n as u64,
            parcel: &parcel,
            at_ms: 5,
            quality: "synchronised",
            tick_ms: 6,
            step: "opened",
            who: "bank-a",
            detail: None,
        }
        .chain(before);
        conn.execute(
            "UPDATE trace SET chain = ?1 WHERE id = ?2",
            params![before.0, n],
        )
        .expect("a chain");
    }
}
