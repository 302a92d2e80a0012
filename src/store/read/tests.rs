//! What the queries find, over a real store.

use super::*;
use firmware_protocols::Value;
use firmware_protocols::value::map;
use rusqlite::Connection;

fn store() -> (tempfile::TempDir, PathBuf, Connection) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("linli.db");
    let conn = schema::open_writer(&path, 1_700_000_000_000).unwrap().conn;
    (dir, path, conn)
}

fn add_device(conn: &Connection, number: i64, device: &str) {
    conn.execute(
        "INSERT INTO devices VALUES (?1, ?2, 'cbor', 3, 10, 7, 2, 1, 1700000000500, 'LB-24', '1.4', '[\"open\"]')",
        params![number, device],
    )
    .unwrap();
}

fn add_event(conn: &Connection, device: i64, seq: u64, kind: &str, body: &Value) {
    conn.execute(
        "INSERT INTO events (device, boot, seq, kind, at_ms, at_by, received_ms, quality, body)
         VALUES (?1, 3, ?2, ?3, 1700000000100, 'device', 1700000000200, 2, ?4)",
        params![device, seq.cast_signed(), kind, body.to_cbor()],
    )
    .unwrap();
}

#[test]
fn gaps_are_named() {
    assert_eq!(gaps(4, &[]), []);
    assert_eq!(gaps(4, &[(7, 9), (12, 12)]), [(5, 6), (10, 11)]);
    assert_eq!(gaps(0, &[(2, 2)]), [(1, 1)]);
    assert_eq!(gaps(u64::MAX, &[(u64::MAX, u64::MAX)]), []);
}

#[test]
fn a_device_comes_with_its_ledger_and_its_gaps() {
    let (_dir, path, conn) = store();
    add_device(&conn, 1, "bank-a");
    conn.execute(
        "INSERT INTO boots VALUES ('bank-a', 3, 4, '[[7,9]]', '[[2,2]]', NULL, 0, 100)",
        [],
    )
    .unwrap();
    let devices = Reader::open(&path).unwrap().devices().unwrap();
    assert_eq!(devices.len(), 1);
    let bank = &devices[0];
    assert_eq!(bank.capabilities, ["open"]);
    assert_eq!(
        bank.received,
        bank.stored + bank.duplicate + bank.quarantined
    );
    assert_eq!(bank.boots[0].missing, [(5, 6)]);
    assert_eq!(bank.boots[0].given_up, [(2, 2)]);
    assert!(!bank.boots[0].closed);
    let over = format!("UPDATE boots SET given_up = '[[2,2],[10,{}]]'", u64::MAX);
    conn.execute(&over, []).unwrap();
    let bank = Reader::open(&path).unwrap().devices().unwrap().remove(0);
    assert_eq!(bank.boots[0].given_up, [(2, 2)]);
    assert!(bank.boots[0].closed);
}

#[test]
fn a_row_that_is_damaged_is_an_error_that_names_it() {
    let (_dir, path, conn) = store();
    add_device(&conn, 1, "bank-a");
    conn.execute("UPDATE devices SET capabilities = '[oops'", [])
        .unwrap();
    let error = Reader::open(&path).unwrap().devices().unwrap_err();
    assert!(error.to_string().contains("devices"), "{error}");
}

#[test]
fn events_are_found_by_device_and_kind_and_never_show_digests() {
    let (_dir, path, conn) = store();
    add_device(&conn, 1, "keypad-a");
    add_device(&conn, 2, "door-1");
    let digest = Value::Bytes(vec![7; 32]);
    let typed = map([
        ("code", Some(digest.clone())),
        ("digits", Some(6_u8.into())),
    ]);
    add_event(&conn, 1, 1, "keypad", &typed);
    add_event(
        &conn,
        2,
        1,
        "access",
        &map([("door", Some("door-1".into()))]),
    );
    add_event(
        &conn,
        2,
        u64::MAX,
        "reading",
        &map([("senml", Some(digest))]),
    );
    let reader = Reader::open(&path).unwrap();

    let all = reader.events_after(&EventFilter::default(), 0, 10).unwrap();
    let ids: Vec<i64> = all.events.iter().map(|e| e.id).collect();
    assert_eq!((ids, all.upto, all.full), (vec![1, 2, 3], 3, false));
    assert_eq!(all.events[0].body, serde_json::json!({"digits": 6}));
    assert_eq!(all.events[2].seq, u64::MAX);
    assert!(all.events[2].body["senml"].is_string());

    let of = |device: &str, kind: Option<&str>| EventFilter {
        device: Some(device.to_string()),
        kind: kind.map(str::to_string),
    };
    let readings = reader
        .events_after(&of("door-1", Some("reading")), 0, 10)
        .unwrap();
    assert_eq!((readings.events[0].id, readings.upto), (3, 3));
    let unheard = reader.events_after(&of("door-9", None), 0, 10).unwrap();
    assert_eq!((unheard.events.len(), unheard.upto), (0, 3));
}

#[test]
fn a_page_that_is_full_goes_on_after_its_last_event() {
    let (_dir, path, conn) = store();
    add_device(&conn, 1, "door-1");
    for seq in 1..=5 {
        add_event(&conn, 1, seq, "access", &map([]));
    }
    let reader = Reader::open(&path).unwrap();
    let any = EventFilter::default();
    let page = reader.events_after(&any, 0, 2).unwrap();
    assert_eq!((page.upto, page.full), (2, true));
    let page = reader.events_after(&any, 2, 10).unwrap();
    assert_eq!((page.events.len(), page.upto, page.full), (3, 5, false));
    let page = reader.events_after(&any, 5, 10).unwrap();
    assert_eq!((page.events.len(), page.upto), (0, 5));
}

#[test]
fn the_newest_are_found_by_where_they_begin() {
    let (_dir, path, conn) = store();
    add_device(&conn, 1, "door-1");
    add_device(&conn, 2, "door-2");
    for seq in 1..=6_u64 {
        let device = 1 + (seq % 2).cast_signed();
        add_event(&conn, device, seq, "access", &map([]));
    }
    let reader = Reader::open(&path).unwrap();
    let after = |device: Option<&str>, limit| {
        let filter = EventFilter {
            device: device.map(str::to_string),
            kind: None,
        };
        reader.newest_after(&filter, limit).unwrap()
    };
    assert_eq!([after(None, 0), after(None, 2), after(None, 6)], [6, 4, 0]);
    assert_eq!(after(None, 100), 0);
    assert_eq!([after(Some("door-1"), 1), after(Some("door-1"), 2)], [5, 3]);
    assert_eq!(after(Some("door-9"), 2), 6);
}

#[test]
fn lanes_stand_in_the_order_of_urgency_with_what_waits() {
    let (_dir, path, conn) = store();
    let zero = vec![0_u8; 32];
    conn.execute(
        "INSERT OR REPLACE INTO lanes VALUES ('fulfilment', 8, ?1, 6, ?1, 1, 7)",
        [&zero],
    )
    .unwrap();
    // Two of them are cut, one is counted.
    for id in 7..=9_i64 {
        conn.execute(
            "INSERT INTO uplink (id, lane, at_ms, body, seq) VALUES (?1, 'fulfilment', ?2, x'a0', ?3)",
            params![id, 1_700_000_000_000_i64 + id, (id < 9).then_some(id)],
        )
        .unwrap();
    }
    let lanes = Reader::open(&path).unwrap().lanes().unwrap();
    assert_eq!(lanes.epoch, Some(1_700_000_000));
    let names: Vec<&str> = lanes.lanes.iter().map(|lane| lane.lane.as_str()).collect();
    assert_eq!(names, ["fulfilment", "health", "demand"]);
    assert_eq!(lanes.lanes[0].waiting, 3);
    assert_eq!(lanes.lanes[0].oldest_waiting_ms, Some(1_700_000_000_007));
    assert_eq!(lanes.lanes[1].oldest_waiting_ms, None);
}

#[test]
fn an_empty_store_has_an_answer_to_everything() {
    let (_dir, path, _conn) = store();
    let reader = Reader::open(&path).unwrap();
    let counts = reader.counts().unwrap();
    assert_eq!((counts.stored, counts.newest_event_id), (0, 0));
    assert_eq!(counts.oldest_event_ms, None);
    assert!(counts.size_bytes > 0);
    assert!(reader.parcels(None, 10).unwrap().is_empty());
    assert!(reader.parcel("p-1").unwrap().is_none());
    assert!(reader.command("c-1").unwrap().is_none());
    assert!(reader.quarantine(10).unwrap().is_empty());
}

#[test]
fn a_reader_can_not_write() {
    let (_dir, path, _conn) = store();
    let reader = Reader::open(&path).unwrap();
    assert!(reader.conn.execute("DELETE FROM meta", []).is_err());
}
