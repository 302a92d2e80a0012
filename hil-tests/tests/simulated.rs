//! The suite on simulated devices: everything that must hold does, for every board protocol, relays,
//! sensors and typed lines; and the report says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{only_port, run};
use hil_tests::report::{Outcome, Report};

const BANK_CASES: [&str; 12] = [
    "board-answers",
    "states-known",
    "opening-confirmed",
    "opened-once",
    "expired-opens-nothing",
    "polling-delays-nothing",
    "dead-board-delays-nobody",
    "noise-recovered",
    "loss-recovered",
    "echo-lived-with",
    "replugged",
    "unlisted-untouched",
];

fn all_passed(report: &Report, on: &str, cases: &[&str]) {
    for name in cases {
        let case = report.case(name, on);
        let case = case.unwrap_or_else(|| panic!("{name} on {on} wasn't run"));
        assert_eq!(case.outcome, Outcome::Passed, "{}", report.markdown());
    }
    let failed = report.with(Outcome::Failed);
    assert!(failed.is_empty(), "{}", report.markdown());
}

async fn bank(port: &str, bank: &str) -> Report {
    let report = run(&only_port(port), |_| {}, &[]).await;
    all_passed(&report, bank, &BANK_CASES);
    all_passed(&report, port, &["line-quality"]);
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn kerong_cu16_with_two_boards_of_opposite_polarity() {
    let report = bank("bus-cu16", "bank-cu16").await;
    assert_eq!(report.seed, Some(1));
    let text = report.markdown();
    assert!(
        text.starts_with("# Acceptance of 'simulated': accepted"),
        "{text}"
    );
    let quality = report.case("line-quality", "bus-cu16").unwrap();
    let trips: Vec<f64> = quality
        .figures
        .iter()
        .filter(|figure| figure.name == "round trip")
        .map(|figure| figure.value)
        .collect();
    // 14 bytes at 19,200 take 7.3 ms.
    assert!(
        trips.len() == 2 && trips.iter().all(|ms| *ms >= 7.3),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn kerong_cu48() {
    bank("bus-cu48", "bank-cu48").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_8a_board() {
    bank("bus-8a", "bank-8a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wkly_with_changes_of_its_own() {
    bank("bus-wkly", "bank-wkly").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn modbus_relays_and_sensors() {
    let report = bank("bus-modbus", "bank-relay").await;
    all_passed(&report, "cold-1", &["sensors-read"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_a_scanner_and_a_keypad() {
    let bench = common::without_ports(&["bus-cu48", "bus-8a", "bus-wkly", "bus-modbus"]);
    let report = run(&bench, |_| {}, &["line-arrives-once"]).await;
    for device in ["scanner-1", "keypad-1"] {
        all_passed(&report, device, &["line-arrives-once"]);
    }
}
