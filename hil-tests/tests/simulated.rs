//! The suite on simulated devices: everything that must hold does, for every board protocol, relays,
//! sensors and typed lines; and the report says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;

use common::run;
use hil_tests::bench::{Bench, SIMULATED};
use hil_tests::report::{Outcome, Report};
use hil_tests::rig::Rig;
use hil_tests::suite::{self, Choice};

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
}

/// All ports at once: a run is mostly waiting.
#[tokio::test(flavor = "multi_thread")]
async fn every_board_protocol_relays_sensors_and_lines() {
    let report = run(SIMULATED, |_| {}, &[]).await;
    let text = report.markdown();
    for (port, bank) in [
        ("bus-cu16", "bank-cu16"),
        ("bus-cu48", "bank-cu48"),
        ("bus-8a", "bank-8a"),
        ("bus-wkly", "bank-wkly"),
        ("bus-modbus", "bank-relay"),
    ] {
        all_passed(&report, bank, &BANK_CASES);
        all_passed(&report, port, &["line-quality"]);
    }
    all_passed(&report, "cold-1", &["sensors-read"]);
    all_passed(&report, "scanner-1", &["line-arrives-once"]);
    all_passed(&report, "keypad-1", &["line-arrives-once"]);
    assert!(report.with(Outcome::Failed).is_empty(), "{text}");
    assert!(report.with(Outcome::NotRun).is_empty(), "{text}");
    let head = "# Acceptance of 'simulated': accepted\n\n";
    assert!(text.starts_with(head), "{text}");
    assert_eq!(report.seed, Some(1));
    let quality = report.case("line-quality", "bus-cu16").unwrap();
    let figures = quality.figures.iter();
    let trips: Vec<f64> = figures
        .filter(|figure| figure.name == "round trip")
        .map(|figure| figure.value)
        .collect();
    // 14 bytes at 19,200 take 7.3 ms.
    assert!(
        trips.len() == 2 && trips.iter().all(|ms| *ms >= 7.3),
        "{text}"
    );
}

/// On hardware without a person at the bench, what needs one is left out and says why. There is no
/// hardware here: its ports are missing, and that is said too.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_person_and_without_the_hardware_the_report_says_so() {
    let bench = common::only_port("bus-cu48").replace("[bench]", "[bench]\nheard_within_ms = 500");
    let rig = Rig::real(Bench::parse(&bench).unwrap(), false)
        .await
        .unwrap();
    let report = suite::run(Arc::new(rig), &Choice::default()).await;
    let why = |name: &str| {
        let case = report.case(name, "bank-cu48").unwrap();
        (case.outcome, case.why.clone().unwrap_or_default())
    };
    let (outcome, said) = why("board-answers");
    assert_eq!(outcome, Outcome::Failed);
    assert!(
        said.contains("board 1 doesn't answer") && said.contains("Missing"),
        "{said}"
    );
    for name in ["opening-confirmed", "opened-once", "replugged"] {
        let (outcome, said) = why(name);
        assert_eq!(outcome, Outcome::NotRun, "{name}: {said}");
        assert!(said.contains("--interactive"), "{said}");
    }
    let (outcome, said) = why("noise-recovered");
    assert!(
        outcome == Outcome::NotRun && said.contains("only a simulated line"),
        "{said}"
    );
}
