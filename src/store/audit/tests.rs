//! Tampering with the history, and what finds it.

use std::time::Duration;

use estate::TimeQuality;
use estate::parcel::TraceEntry;

use super::*;
use crate::store::schema;

/// AUDIT.md's vectors, computed by another implementation (Python, hand-written deterministic CBOR
/// and hashlib).
const VECTORS: [&str; 2] = [
    "62e5030765d1dd7959940d1d118a85d4edaebe710c5e7a96a41ee60093b5ec9f",
    "969eaea871841ec35a0e4a7f010abbb27157ef89fe08e7794b5d537cad9bd22e",
];

struct Store {
    dir: tempfile::TempDir,
    conn: Connection,
    head: TraceHead,
}

fn step(parcel: &str, tick_ms: u64, detail: Option<&str>) -> TraceEntry {
    TraceEntry {
        parcel: parcel.to_owned(),
        at_ms: 1_760_000_000_000,
        quality: TimeQuality::Synchronised,
        tick_ms,
        step: "deposited",
        who: "courier sf-22".to_owned(),
        detail: detail.map(str::to_owned),
    }
}

impl Store {
    /// `entries` steps, of the parcels P-0 to P-2 in turn.
    fn of(entries: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("linli.db");
        let conn = schema::open_writer(&path, 0).unwrap().conn;
        let mut head = TraceHead::default();
        for n in 0..entries {
            let step = step(&format!("P-{}", n % 3), n, Some("bank-a/7"));
            trace::append(&conn, &mut head, &step).unwrap();
        }
        Self { dir, conn, head }
    }

    fn tamper(&self, sql: &str) {
        self.conn.execute_batch(sql).unwrap();
    }

    fn all(&self) -> Verified {
        bounded(|bound| verify_all(&self.conn, None, bound)).unwrap()
    }

    /// The first broken entry and what is wrong, by the verification of all.
    fn broken(&self) -> Option<(u64, BreakKind)> {
        self.all().broken.map(|broken| (broken.n, broken.what))
    }

    /// The same by the verification of one parcel.
    fn broken_of(&self, parcel: &str) -> Option<(u64, BreakKind)> {
        let verified = bounded(|bound| verify_parcel(&self.conn, parcel, bound)).unwrap();
        verified.broken.map(|broken| (broken.n, broken.what))
    }

    /// What somebody does who knows how the chain is made: every hash from `n` on, anew.
    fn rewrite_from(&self, n: u64) {
        let mut chain = trace::stored_chain(&self.conn, n - 1).unwrap().unwrap();
        for row in trace::page(&self.conn, n as i64 - 1, 10_000).unwrap() {
            chain = row.entry_chain(chain).unwrap();
            let sql = "UPDATE trace SET chain = ?2 WHERE id = ?1";
            self.conn.execute(sql, params![row.id, chain.0]).unwrap();
        }
    }
}

fn bounded<T>(verify: impl FnOnce(&Bound<'_>) -> T) -> T {
    verify(&Bound {
        until: Instant::now() + Duration::from_secs(60),
        stopping: &|| false,
    })
}

#[test]
fn the_chain_is_that_of_the_document() {
    let store = Store::of(0);
    let mut head = TraceHead::default();
    let first = TraceEntry {
        quality: TimeQuality::Estimated,
        step: "announced",
        who: "cloud".to_owned(),
        ..step("P-1", 1_000, None)
    };
    let second = TraceEntry {
        at_ms: 1_760_000_123_456,
        ..step("P-1", 124_456, Some("bank-a/7"))
    };
    let document = include_str!("../../../AUDIT.md");
    for (step, wanted) in [first, second].iter().zip(VECTORS) {
        trace::append(&store.conn, &mut head, step).unwrap();
        assert_eq!(crate::audit::hex::hex(&head.chain.0), wanted);
        let row = trace::row(&store.conn, head.entries).unwrap().unwrap();
        let encoded = crate::audit::hex::hex(&row.entry().unwrap().encoded());
        assert!(document.contains(wanted) && document.contains(&encoded));
    }
}

#[test]
fn an_untouched_history_holds() {
    for entries in [0, 1, 7, PAGE as u64, 2 * PAGE as u64 + 3] {
        let store = Store::of(entries);
        let verified = store.all();
        assert_eq!((verified.sound, verified.broken), (store.head, None));
        assert_eq!(TraceHead::load(&store.conn).unwrap(), store.head);
        assert_eq!(store.broken_of("P-1"), None);
    }
    assert_eq!(Store::of(3).broken_of("P-9"), None);
}

#[test]
fn a_changed_column_is_found() {
    let changes = [
        "detail = 'bank-a/8'",
        "detail = NULL",
        "detail = ''",
        "who = 'courier x'",
        "step = 'collected'",
        "at_ms = at_ms + 1",
        "tick_ms = -1",
        "quality = 1",
        "chain = zeroblob(32)",
    ];
    for change in changes {
        let store = Store::of(9);
        store.tamper(&format!("UPDATE trace SET {change} WHERE id = 5"));
        let found = Some((5, BreakKind::Changed));
        assert_eq!(store.broken(), found, "{change}");
        assert_eq!(store.broken_of("P-1"), found, "{change}");
        assert_eq!(store.all().sound.entries, 4);
        // A parcel that it doesn't concern.
        assert_eq!(
            store.broken_of("P-2"),
            Some((6, BreakKind::Changed)).filter(|_| change.starts_with("chain"))
        );
    }
}

#[test]
fn what_can_not_have_been_written_is_found() {
    for change in ["quality = 7", "who = x'00'", "at_ms = 'noon'"] {
        let store = Store::of(6);
        store.tamper(&format!("UPDATE trace SET {change} WHERE id = 2"));
        let found = Some((2, BreakKind::Unreadable));
        assert_eq!(store.broken(), found, "{change}");
        assert_eq!(store.broken_of("P-1"), found, "{change}");
    }
    let store = Store::of(6);
    store.tamper("UPDATE trace SET chain = x'00' WHERE id = 2");
    assert_eq!(store.broken(), Some((2, BreakKind::Changed)));
    store.tamper("INSERT INTO trace SELECT -3, parcel, at_ms, quality, tick_ms, step, who, detail, chain FROM trace WHERE id = 2");
    assert_eq!(store.broken().unwrap().1, BreakKind::Unreadable);
}

#[test]
fn a_step_given_to_another_parcel_is_found() {
    let store = Store::of(6);
    store.tamper("UPDATE trace SET parcel = 'P-2' WHERE id = 2");
    assert_eq!(store.broken(), Some((2, BreakKind::Changed)));
    assert_eq!(store.broken_of("P-2"), Some((2, BreakKind::Changed)));
}

#[test]
fn a_step_taken_out_of_the_middle_is_found() {
    let store = Store::of(9);
    store.tamper("DELETE FROM trace WHERE id = 5");
    assert_eq!(store.broken(), Some((5, BreakKind::Missing)));
    // Its own parcel, and those around it.
    for parcel in ["P-0", "P-1", "P-2"] {
        assert_eq!(
            store.broken_of(parcel),
            Some((5, BreakKind::Missing)),
            "{parcel}"
        );
    }
    // Closing the gap moves the break, and no more.
    store.tamper("UPDATE trace SET id = id - 1 WHERE id > 5");
    assert_eq!(store.broken(), Some((5, BreakKind::Changed)));
}

#[test]
fn steps_in_another_order_are_found() {
    let store = Store::of(9);
    store.tamper(
        "UPDATE trace SET id = 100 WHERE id = 4; UPDATE trace SET id = 4 WHERE id = 7;
         UPDATE trace SET id = 7 WHERE id = 100;",
    );
    assert_eq!(store.broken(), Some((4, BreakKind::Changed)));
    assert_eq!(store.broken_of("P-0"), Some((4, BreakKind::Changed)));
}

#[test]
fn a_step_added_by_hand_is_found() {
    let store = Store::of(4);
    store.tamper(
        "INSERT INTO trace SELECT 5, parcel, at_ms, quality, tick_ms, 'collected', who, detail, chain
         FROM trace WHERE id = 4",
    );
    assert_eq!(store.broken(), Some((5, BreakKind::Changed)));
    assert_eq!(store.broken_of("P-0"), Some((5, BreakKind::Changed)));
    // The journal goes on after it, and it stays visible.
    let mut head = TraceHead::load(&store.conn).unwrap();
    assert_eq!(head.entries, 5);
    trace::append(&store.conn, &mut head, &step("P-0", 9, None)).unwrap();
    assert_eq!(store.broken(), Some((5, BreakKind::Changed)));
}

/// One hash made anew isn't enough: the next entry holds it fast.
#[test]
fn a_step_with_a_hash_made_to_fit_is_found_by_its_successor() {
    let store = Store::of(9);
    store.tamper("UPDATE trace SET detail = 'bank-a/8' WHERE id = 5");
    let sixth = trace::stored_chain(&store.conn, 6).unwrap().unwrap();
    store.rewrite_from(5);
    let sql = "UPDATE trace SET chain = ?1 WHERE id = 6";
    store.conn.execute(sql, [sixth.0]).unwrap();
    assert_eq!(store.broken(), Some((6, BreakKind::Changed)));
    assert_eq!(store.broken_of("P-1"), Some((6, BreakKind::Changed)));
}

/// The limit of a chain alone, and what is beyond it.
#[test]
fn a_tail_rewritten_or_cut_shows_only_against_a_head_from_elsewhere() {
    let store = Store::of(9);
    let known = store.head;
    let at = |n| {
        bounded(|bound| verify_all(&store.conn, Some(n), bound))
            .unwrap()
            .at
    };
    assert_eq!(at(9), Some(known.chain));
    assert_eq!(at(0), Some(Chain::default()));

    store.tamper("UPDATE trace SET detail = 'bank-a/8' WHERE id = 5");
    store.rewrite_from(5);
    assert_eq!((store.broken(), store.broken_of("P-1")), (None, None));
    assert!(at(9).is_some_and(|chain| chain != known.chain));
    let before = Store::of(4).head;
    assert_eq!(at(4), Some(before.chain), "what was before it still agrees");

    store.tamper("DELETE FROM trace WHERE id > 6");
    assert_eq!(store.broken(), None);
    assert_eq!(at(9), None);
}

#[test]
fn a_store_without_a_chain_gets_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("linli.db");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("../0001.sql")).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    old.execute("INSERT INTO meta VALUES ('epoch', 7)", [])
        .unwrap();
    // Over a page of rows, with a gap as no store of ours has one.
    for id in (1..=PAGE as i64 + 20).filter(|id| *id != 3) {
        let sql = "INSERT INTO trace VALUES (?1, 'P-1', ?1, 2, ?1, 'opened', 'gateway', NULL)";
        old.execute(sql, [id]).unwrap();
    }
    drop(old);
    let conn = schema::open_writer(&path, 0).unwrap().conn;
    let verified = bounded(|bound| verify_all(&conn, None, bound)).unwrap();
    assert_eq!(
        (verified.sound.entries, verified.broken),
        (PAGE as u64 + 19, None)
    );
    assert_eq!(TraceHead::load(&conn).unwrap(), verified.sound);
    // Once: what is opened again is left as it is.
    conn.execute("UPDATE trace SET detail = 'x' WHERE id = 8", [])
        .unwrap();
    drop(conn);
    let conn = schema::open_writer(&path, 0).unwrap().conn;
    let verified = bounded(|bound| verify_all(&conn, None, bound)).unwrap();
    assert_eq!(verified.broken.map(|broken| broken.n), Some(8));
}

#[test]
fn a_verification_ends_when_it_must() {
    let store = Store::of(3);
    let late = Bound {
        until: Instant::now(),
        stopping: &|| true,
    };
    let ended = verify_all(&store.conn, None, &late);
    assert!(matches!(ended, Err(AuditError::BrokenOff { upto: 0 })));
    let ended = verify_parcel(&store.conn, "P-1", &late);
    assert!(matches!(ended, Err(AuditError::BrokenOff { .. })));
}

#[test]
fn steps_come_with_their_places_in_the_chain() {
    let store = Store::of(7);
    let steps = chained_steps(&store.conn, "P-0").unwrap();
    let numbers: Vec<u64> = steps.iter().map(|step| step.n).collect();
    assert_eq!(numbers, [1, 4, 7]);
    assert_eq!(steps[0].previous, Chain::default());
    assert_eq!(steps[2].chain, store.head.chain);
    store.tamper("DELETE FROM trace WHERE id = 3");
    assert!(chained_steps(&store.conn, "P-0").is_err());
    assert!(store.dir.path().exists());
}
