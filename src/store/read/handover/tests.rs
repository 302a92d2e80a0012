//! What the queries of hand-overs find, over a real store.

use rusqlite::{Connection, params};

use super::*;
use crate::store::schema;

const NOW_MS: i64 = 1_700_000_000_000;

fn store() -> (tempfile::TempDir, Reader, Connection) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("linli.db");
    let conn = schema::open_writer(&path, NOW_MS).unwrap().conn;
    let reader = Reader::open(&path).unwrap();
    (dir, reader, conn)
}

/// A parcel at a stage, since so many ms.
struct Parcel<'a> {
    id: &'a str,
    point: &'a str,
    stage: &'a str,
    desk: Option<&'a str>,
    back: Option<&'a str>,
    to_desk: bool,
    since_ms: i64,
}

const PLAIN: Parcel<'static> = Parcel {
    id: "P-1",
    point: "bank-a",
    stage: "deposited",
    desk: None,
    back: None,
    to_desk: false,
    since_ms: 0,
};

fn add(conn: &Connection, parcel: &Parcel<'_>) {
    conn.execute(
        "INSERT INTO parcels (parcel, recipient, size, zone, point, deadline_ms, consent, stage,
             bank, compartment, desk, opened, alarmed, since_ms, since_tick_ms, back, to_desk)
         VALUES (?1, 'token', 'S', 'ambient', ?2, ?3, 1, ?4, 'bank-a', 2, ?5, 0, 0, ?6, 0, ?7, ?8)",
        params![
            parcel.id,
            parcel.point,
            NOW_MS,
            parcel.stage,
            parcel.desk,
            NOW_MS + parcel.since_ms,
            parcel.back,
            parcel.to_desk,
        ],
    )
    .unwrap();
}

fn ids(rows: &[ParcelRow]) -> Vec<&str> {
    rows.iter().map(|row| row.parcel.as_str()).collect()
}

#[test]
fn a_desk_sees_what_is_there_what_is_to_come_and_what_was_sent_oldest_first() {
    let (_dir, reader, conn) = store();
    let at = |id, stage, desk, point, since_ms| Parcel {
        id,
        stage,
        desk,
        point,
        since_ms,
        ..PLAIN
    };
    add(&conn, &at("here", "deposited", Some("desk-1"), "desk-1", 3));
    add(
        &conn,
        &at("brought", "deposited", Some("desk-1"), "bank-a", 1),
    );
    add(&conn, &at("coming", "expected", None, "desk-1", 2));
    add(
        &conn,
        &at("other", "deposited", Some("desk-2"), "desk-2", 0),
    );
    add(&conn, &at("locker", "deposited", None, "bank-a", 0));
    add(&conn, &at("gone", "collected", Some("desk-1"), "desk-1", 0));
    let mut sent = at("sent", "expected", None, "bank-a", 4);
    sent.to_desk = true;
    add(&conn, &sent);
    let one = reader.at_desks(&["desk-1"], 10).unwrap();
    assert_eq!(ids(&one), ["brought", "coming", "here", "sent"]);
    let all = reader.at_desks(&["desk-1", "desk-2"], 10).unwrap();
    assert_eq!(ids(&all), ["other", "brought", "coming", "here", "sent"]);
    assert_eq!(reader.at_desks(&["desk-1"], 2).unwrap().len(), 2);
    assert_eq!(ids(&reader.at_desks(&[], 10).unwrap()), ["sent"]);
}

#[test]
fn parcels_are_found_by_stage_and_by_why_they_go_back() {
    let (_dir, reader, conn) = store();
    let back = |id, stage, back| Parcel {
        id,
        stage,
        back,
        ..PLAIN
    };
    add(&conn, &back("fine", "deposited", None));
    add(&conn, &back("late", "deposited", Some("overdue")));
    add(&conn, &back("leaving", "collecting", Some("overdue")));
    add(&conn, &back("left", "retrieved", Some("overdue")));
    add(&conn, &back("called-off", "deposited", Some("cancelled")));
    add(&conn, &back("never-came", "cancelled", None));
    let of = |state| reader.parcels(Some(state), 10).unwrap();
    assert_eq!(ids(&of("overdue")), ["late", "leaving"]);
    assert_eq!(ids(&of("deposited")), ["called-off", "fine", "late"]);
    assert_eq!(ids(&of("retrieved")), ["left"]);
    assert_eq!(ids(&of("cancelled")), ["called-off", "never-came"]);
    let late = &of("overdue")[0];
    assert_eq!((late.shown_state(), late.goes_back()), ("overdue", true));
    let concerns = reader.concerns(NOW_MS, 0).unwrap();
    let waits = GoingBack {
        count: 2,
        overdue: 1,
        oldest_ms: NOW_MS,
    };
    assert_eq!(concerns.going_back, Some(waits));
}

#[test]
fn commands_come_newest_first_however_the_clock_jumped_with_who_had_them_made() {
    let (_dir, reader, conn) = store();
    let add = |id: &str, number: u16, operator: Option<&str>, at_ms: i64, tick: i64| {
        let (purpose, parcel) = match operator {
            Some(_) => ("by-hand", None),
            None => ("deposit", Some("P-1")),
        };
        conn.execute(
            "INSERT INTO commands (id, bank, compartment, purpose, parcel, operator, reason, at_ms,
                 quality, expires_tick_ms, state, sent_ms)
             VALUES (?1, 'bank-a', ?2, ?3, ?4, ?5, 'x', ?6, 2, ?7, 'sent', ?6)",
            params![id, number, purpose, parcel, operator, at_ms, tick],
        )
        .unwrap();
    };
    add("o-old", 1, None, NOW_MS + 9_000_000, 10);
    add("o-new", 2, Some("wang"), NOW_MS, 20);
    conn.execute(
        "INSERT INTO trace (id, parcel, at_ms, quality, tick_ms, step, who)
         VALUES (1, 'P-1', ?1, 2, 1, 'deposit-started', 'courier sf-22')",
        [NOW_MS + 9_000_000],
    )
    .unwrap();
    let all = reader.commands(None, 10).unwrap();
    let shown: Vec<_> = all
        .iter()
        .map(|row| (row.command.id.as_str(), row.who.as_deref()))
        .collect();
    let wanted = [
        ("o-new", Some("operator wang")),
        ("o-old", Some("courier sf-22")),
    ];
    assert_eq!(shown, wanted);
    assert_eq!(all[0].command.sent_ms, Some(NOW_MS));
    assert_eq!(reader.commands(None, 1).unwrap().len(), 1);
    let one = reader.commands(Some(("bank-a", 1)), 10).unwrap();
    assert_eq!(one[0].command.id, "o-old");
    assert_eq!(one.len(), 1);
}

#[test]
fn what_needs_a_look_is_found_and_nothing_else() {
    let (_dir, reader, conn) = store();
    assert_eq!(reader.concerns(NOW_MS, 0).unwrap(), Concerns::default());
    for (keypad, until) in [
        ("bank-a", Some(5_000)),
        ("bank-b", Some(900)),
        ("bank-c", None),
    ] {
        conn.execute(
            "INSERT INTO keypads (keypad, wrong, lockouts, locked_until_tick_ms)
             VALUES (?1, 0, 1, ?2)",
            params![keypad, until],
        )
        .unwrap();
    }
    let stage = |id, stage| Parcel { id, stage, ..PLAIN };
    for parcel in [stage("A", "collecting"), stage("B", "collecting")] {
        add(&conn, &parcel);
    }
    conn.execute("UPDATE parcels SET alarmed = 1", []).unwrap();
    add(&conn, &stage("C", "deposited"));
    let day = LATELY_MS;
    for (source, at_ms, reason) in [
        ("cloud", NOW_MS - day - 1, "old"),
        ("cloud", NOW_MS - 5, "first"),
        ("cloud", NOW_MS - 3, "newest"),
        ("bank-a", NOW_MS - 1, "a device's"),
    ] {
        conn.execute(
            "INSERT INTO quarantine (received_ms, source, topic, reason, size_bytes, preview)
             VALUES (?1, ?2, 't', ?3, 0, '')",
            params![at_ms, source, reason],
        )
        .unwrap();
    }
    let concerns = reader.concerns(NOW_MS, 1_000).unwrap();
    let locked = LockedRow {
        keypad: "bank-a".to_string(),
        until_ms: NOW_MS + 4_000,
    };
    assert_eq!(concerns.locked, [locked]);
    let door = LeftOpenRow {
        bank: "bank-a".to_string(),
        compartment: 2,
        parcel: "A".to_string(),
        since_ms: NOW_MS,
    };
    assert_eq!(concerns.left_open, [door]);
    let refused = CloudRefused {
        count: 2,
        newest_ms: NOW_MS - 3,
        newest_reason: "newest".to_string(),
    };
    assert_eq!(concerns.cloud_refused, Some(refused));
    assert_eq!(concerns.going_back, None);
}
