//! Cases can fail: for each fault of a device the report names the case that is about it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{only_port, run};
use firmware_protocols::Ident;
use hil_tests::report::{Outcome, Report};
use simulator::serial::Quirk;

/// Doesn't wait long for what is bound not to come.
fn impatient(bench: &str) -> String {
    bench.replace("[bench]", "[bench]\nheard_within_ms = 4000")
}

/// Runs cases on a bank of which something is wrong.
async fn with(quirk: Quirk, cases: &[&str]) -> Report {
    let bank = Ident::new("bank-cu48").unwrap();
    let bench = only_port("bus-cu48");
    // Less patience where something is bound to fail.
    let bench = impatient(&bench);
    run(&bench, |all| all.banks[&bank].set(quirk, true), cases).await
}

/// The case failed, and says this.
fn failed(report: &Report, case: &str, said: &str) {
    let found = report.case(case, "bank-cu48").unwrap();
    let why = found.why.as_deref().unwrap_or("");
    let right = found.outcome == Outcome::Failed && why.contains(said);
    assert!(
        right,
        "{case} should fail and say '{said}'\n{}",
        report.markdown()
    );
    let text = report.markdown();
    assert!(text.contains("NOT accepted") && text.contains(&format!("| {case} | bank-cu48 |")));
}

fn passed(report: &Report, case: &str) {
    let found = report.case(case, "bank-cu48").unwrap();
    assert_eq!(found.outcome, Outcome::Passed, "{}", report.markdown());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_that_opens_twice() {
    let cases = ["board-answers", "opened-once", "unlisted-untouched"];
    let report = with(Quirk::OpensTwice, &cases).await;
    passed(&report, "board-answers");
    failed(&report, "opened-once", "bank-cu48/1");
    failed(&report, "unlisted-untouched", "2 pulses for 1 commands");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_wired_with_the_other_polarity() {
    let report = with(Quirk::WrongPolarity, &["states-known"]).await;
    failed(
        &report,
        "states-known",
        "is said to be open: if its door is closed, set 'closed'",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_door_that_is_never_seen_open() {
    let cases = ["states-known", "opening-confirmed", "unlisted-untouched"];
    let report = with(Quirk::NeverConfirms, &cases).await;
    passed(&report, "states-known");
    failed(&report, "opening-confirmed", "the opening wasn't confirmed");
    // One command, one pulse: nothing was tried again.
    passed(&report, "unlisted-untouched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_that_opens_the_door_beside() {
    let cases = ["opening-confirmed", "unlisted-untouched"];
    let report = with(Quirk::OpensNeighbour, &cases).await;
    failed(&report, "opening-confirmed", "bank-cu48/1");
    failed(&report, "unlisted-untouched", "bank-cu48/2 isn't listed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_that_opens_something_else_later() {
    let cases = ["expired-opens-nothing", "opened-once", "unlisted-untouched"];
    let report = with(Quirk::OpensLater, &cases).await;
    passed(&report, "expired-opens-nothing");
    passed(&report, "opened-once");
    failed(&report, "unlisted-untouched", "bank-cu48/2 isn't listed");
}

#[tokio::test(flavor = "multi_thread")]
async fn boards_that_are_dead_or_garbled() {
    for quirk in [Quirk::Dead, Quirk::BadChecksums] {
        let report = with(quirk, &["board-answers"]).await;
        failed(&report, "board-answers", "board 1 doesn't answer (asked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_sensor_and_a_scanner_nobody_connected() {
    let cold = Ident::new("cold-1").unwrap();
    let bench = impatient(&only_port("bus-modbus"));
    let report = run(
        &bench,
        |all| all.sensors[&cold].set_dead(true),
        &["sensors-read"],
    )
    .await;
    let case = report.case("sensors-read", "cold-1").unwrap();
    assert_eq!(case.outcome, Outcome::Failed, "{}", report.markdown());
    assert!(
        case.why
            .as_ref()
            .unwrap()
            .contains("temperature wasn't read")
    );
    let bench = only_port("tty-scanner");
    let silent = |all: &hil_tests::simulated::Simulated| {
        let wires = all.wires.values();
        wires.for_each(|wire| {
            wire.set_faults(simulator::serial::Faults {
                loss_per_mille: 1_000,
                ..Default::default()
            });
        });
    };
    let report = run(&bench, silent, &["line-arrives-once"]).await;
    let case = report.case("line-arrives-once", "scanner-1").unwrap();
    assert_eq!(case.outcome, Outcome::Failed, "{}", report.markdown());
}
