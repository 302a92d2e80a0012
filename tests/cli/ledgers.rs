//! What the staff looks up: what is at the desks, which commands were made and what became of them,
//! why parcels go back, and what in all that somebody should look at.

use serde_json::json;

use crate::bed::{Bed, NOW_MS};

fn run(bed: &Bed, sql: &str) {
    bed.store.conn.execute_batch(sql).unwrap();
}

#[test]
fn a_desk_lists_what_is_there_and_what_is_to_come() {
    let bed = Bed::new();
    run(
        &bed,
        "UPDATE parcels SET stage = 'deposited', bank = NULL, compartment = NULL, desk = 'desk-1',
             back = 'refused', return_of = 'P-0' WHERE parcel = 'P-1'",
    );
    let shown = bed.linli(&["desk", "list"]);
    let wanted = "\
PARCEL  DESK    IS        SINCE     UNTIL           MARK
P-2     desk-1  expected  16:43:20  11-23 10:13:20
P-1     desk-1  here      17:00:00  11-23 10:13:20  refused, return of P-0
";
    assert_eq!(relative(&shown.out), relative(wanted), "{shown:?}");
    let rows = bed.json(&["desk", "list", "--desk", "desk-1"]);
    assert_eq!(rows[1]["back"], "refused");
    assert!(!rows.to_string().contains("token-of"));
    run(&bed, "UPDATE parcels SET stage = 'collected'");
    assert_eq!(bed.linli(&["desk", "list"]).out, "None.\n");
}

/// Words only: times are shown as long as the day of the test allows.
fn relative(text: &str) -> Vec<Vec<&str>> {
    let word = |word: &&str| !word.contains(':') && !word.starts_with(|c: char| c.is_ascii_digit());
    text.lines()
        .map(|line| line.split_whitespace().filter(word).collect())
        .collect()
}

#[test]
fn every_command_is_listed_with_what_became_of_it() {
    let bed = Bed::new();
    run(
        &bed,
        "INSERT INTO commands (id, bank, compartment, purpose, operator, reason, at_ms, quality,
             expires_tick_ms, state, answer, sent_ms, archived)
         VALUES ('o-2', 'bank-a', 3, 'by-hand', 'wang', 'jammed', 1795338100000, 2, 9, 'failed',
             'no power', 1795338100001, 0)",
    );
    let shown = bed.linli(&["commands"]).out;
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 3, "{shown}");
    assert!(
        lines[1].contains("bank-a/3") && lines[1].contains("by hand: jammed"),
        "{shown}"
    );
    assert!(
        lines[1].contains("operator wang") && lines[1].ends_with("failed: no power"),
        "{shown}"
    );
    assert!(
        lines[2].contains("deposit P-1") && lines[2].contains("courier sf-22"),
        "{shown}"
    );
    let rows = bed.json(&["commands", "--compartment", "bank-a/2"]);
    assert_eq!(rows.as_array().unwrap().len(), 1);
    assert_eq!(rows[0]["who"], "courier sf-22");
    assert_eq!(rows[0]["state"], "opened");
    let one = bed.linli(&["commands", "--limit", "1"]);
    assert!(one.err.contains("Only 1 are shown"), "{one:?}");
}

#[test]
fn a_parcel_shows_why_it_goes_back() {
    let bed = Bed::new();
    run(
        &bed,
        "UPDATE parcels SET back = 'overdue', low = 1, unlisted = 1, due_ms = 1795337000000
         WHERE parcel = 'P-1'",
    );
    let list = bed.linli(&["parcels", "--state", "overdue"]).out;
    let line = list.lines().nth(1).unwrap();
    assert!(line.starts_with("P-1     overdue"), "{list}");
    assert_eq!(
        bed.json(&["parcels", "--state", "deposited"])[0]["back"],
        "overdue"
    );
    assert_eq!(bed.json(&["parcels", "--state", "claimed"]), json!([]));
    let one = bed.linli(&["parcel", "P-1"]).out;
    for wanted in [
        "goes back         overdue: its code opens until it is taken back",
        "needs             M, ambient, low",
        "announced         no",
        "may wait until    2026-11-22 16:43:20",
        "courier           sf-22",
    ] {
        assert!(one.contains(wanted), "{wanted} in {one}");
    }
    run(
        &bed,
        "UPDATE parcels SET stage = 'collecting', taker = 'desk', courier = 'wang', desk = 'desk-1'
         WHERE parcel = 'P-1'",
    );
    let one = bed.linli(&["parcel", "P-1"]).out;
    assert!(
        one.contains("being taken by    wang, to bring it to desk-1"),
        "{one}"
    );
}

#[test]
fn the_status_names_what_needs_a_look_with_what_to_do() {
    let bed = Bed::new();
    run(
        &bed,
        "UPDATE compartments SET fault = NULL, disabled = 'wet' WHERE compartment = 3;
         UPDATE parcels SET back = 'overdue' WHERE parcel = 'P-1';
         INSERT INTO keypads (keypad, wrong, lockouts, locked_until_tick_ms)
             VALUES ('desk-1', 0, 1, 1060000);
         UPDATE boots SET reused = 1;
         INSERT INTO quarantine (received_ms, source, topic, reason, size_bytes, preview)
             VALUES (1795338190000, 'cloud', 'downlink', 'bank-z is not here', 0, '')",
    );
    let status = bed.json(&["status"]);
    let troubles = status["troubles"].as_array().unwrap();
    let kinds: Vec<_> = troubles.iter().map(|trouble| &trouble["trouble"]).collect();
    let wanted = [
        "desks-locked",
        "compartments-disabled",
        "parcels-go-back",
        "boots-reused",
        "cloud-refused",
    ];
    assert_eq!(kinds, wanted);
    assert_eq!(status["health"], "attention");
    assert_eq!(
        status["troubles"][0]["desks"][0]["until_ms"],
        NOW_MS + 60_000
    );
    assert_eq!(status["compartments"]["disabled"], 1);
    let shown = bed.linli(&["status"]).out;
    for wanted in [
        "1 desk is locked after wrong codes: desk-1 until ",
        "linli compartment enable bank-a/N",
        "1 parcel is overdue; the oldest has been here for ",
        "linli desk retrieve PARCEL",
        "1 device uses a boot number for more than one start: bank-a.",
        "bank-z is not here.",
    ] {
        assert!(shown.contains(wanted), "{wanted} in {shown}");
    }
}

#[test]
fn a_sensor_that_contradicts_the_books_is_named() {
    let bed = Bed::new();
    run(
        &bed,
        "UPDATE compartments SET occupied = 0 WHERE compartment = 2;
         UPDATE compartments SET occupied = 1, fault = NULL WHERE compartment = 3",
    );
    let shown = bed.linli(&["status"]).out;
    for wanted in [
        "bank-a/2 should hold P-1, but its sensor says empty.",
        "linli desk retrieve P-1",
        "Something lies in bank-a/3 that nobody booked.",
    ] {
        assert!(shown.contains(wanted), "{wanted} in {shown}");
    }
    let banks = bed.linli(&["banks"]).out;
    assert!(banks.contains("2: should hold P-1"), "{banks}");
    run(&bed, "UPDATE compartments SET door = 'open'");
    assert!(!bed.linli(&["status"]).out.contains("sensor"));
}
