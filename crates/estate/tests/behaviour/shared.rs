//! Several parcels of one recipient in one compartment, and doors that are seen late.

use cloud_protocol::downlink::{ExpectedParcel, Size};
use estate::{Estate, LoadError, Outcome};
use firmware_protocols::event::{Done, Door};

use crate::common::*;

fn his(name: &str) -> ExpectedParcel {
    ExpectedParcel {
        recipient: "he".into(),
        ..parcel(name, "bank-a")
    }
}

/// His p1 (size M) lies in bank-a/4 (size L), and p2 was scanned. The outcome.
fn second_scanned() -> (World, Outcome) {
    let mut world = World::new();
    world.layout.banks[0].compartments[2].size = Size::L;
    world.reload();
    world.expect(ExpectedParcel {
        size: Size::M,
        ..his("p1")
    });
    assert_eq!(world.put("p1"), slot("bank-a/3"));
    world.expect(his("p2"));
    let outcome = world.scan("bank-a", "p2");
    assert_eq!(opened(&outcome), Some(slot("bank-a/3")));
    (world, outcome)
}

/// Both lie in bank-a/3.
fn both() -> World {
    let (mut world, _) = second_scanned();
    world.door("bank-a/3", Door::Open, Some(true));
    world.door("bank-a/3", Door::Closed, Some(true));
    world
}

#[test]
fn occupied_is_no_evidence_for_the_second_but_the_door_is() {
    let (mut world, outcome) = second_scanned();
    world.door("bank-a/3", Door::Closed, Some(true));
    world.result("bank-a", &open_id(&outcome), Done::Done);
    world.door("bank-a/3", Door::Closed, Some(true));
    assert_eq!(world.stage("p2"), "depositing");
    world.door("bank-a/3", Door::Open, Some(true));
    world.reload();
    let outcome = world.door("bank-a/3", Door::Closed, Some(true));
    assert!(text(&outcome).contains("Stored in compartment 3"));
    assert_eq!(world.compartment("bank-a/3").contents, ["p1", "p2"]);
    assert_eq!(
        (world.stage("p1"), world.stage("p2")),
        ("deposited", "deposited")
    );
}

#[test]
fn closed_and_empty_says_that_the_first_is_gone_too() {
    let (mut world, _) = second_scanned();
    world.door("bank-a/3", Door::Open, Some(false));
    world.reload();
    let outcome = world.door("bank-a/3", Door::Closed, Some(false));
    assert!(text(&outcome).contains("Nothing was put in"));
    assert_eq!(
        (world.stage("p1"), world.stage("p2")),
        ("deposited", "expected")
    );
    assert_eq!(world.steps("p1").last(), Some(&"seen-empty"));
    assert_eq!(world.steps("p2").last(), Some(&"deposit-undone"));
    assert_eq!(world.compartment("bank-a/3").contents, ["p1"]);
}

#[test]
fn an_unanswered_second_deposit_leaves_the_first_alone() {
    let (mut world, _) = second_scanned();
    world.pass(10_000);
    assert_eq!(
        (world.stage("p1"), world.stage("p2")),
        ("deposited", "expected")
    );
    let row = world.compartment("bank-a/3");
    assert_eq!((row.contents, row.reserved), (vec!["p1".to_string()], None));
}

#[test]
fn a_code_while_the_second_is_put_in_waits_until_the_door_is_closed() {
    let (mut world, _) = second_scanned();
    world.door("bank-a/3", Door::Open, Some(true));
    let code = world.codes["p1"].clone();
    let outcome = world.key("bank-a", &code);
    assert_eq!(opened(&outcome), None);
    assert!(text(&outcome).contains("just being filled"));
    world.reload();
    world.door("bank-a/3", Door::Closed, Some(true));
    assert_eq!(
        (world.stage("p1"), world.stage("p2")),
        ("deposited", "deposited")
    );
    assert_eq!(opened(&world.key("bank-a", &code)), Some(slot("bank-a/3")));
}

#[test]
fn a_door_seen_late_takes_a_deposit_beside_the_first_up_again() {
    let (mut world, _) = second_scanned();
    world.pass(10_000);
    world.reload();
    world.skip(60_000);
    world.door("bank-a/3", Door::Open, Some(true));
    assert_eq!(world.stage("p2"), "depositing");
    world.door("bank-a/3", Door::Closed, Some(true));
    assert_eq!(world.compartment("bank-a/3").contents, ["p1", "p2"]);
}

#[test]
fn a_refusal_is_no_proof_that_the_door_stayed_shut() {
    let (mut world, outcome) = second_scanned();
    world.result("bank-a", &open_id(&outcome), Done::Refused);
    assert_eq!(world.stage("p2"), "expected");
    world.reload();
    world.door("bank-a/3", Door::Open, Some(true));
    world.door("bank-a/3", Door::Closed, Some(true));
    assert_eq!(world.stage("p2"), "deposited");
}

#[test]
fn a_failed_open_takes_nothing_up() {
    let (mut world, outcome) = second_scanned();
    world.result("bank-a", &open_id(&outcome), Done::Failed);
    world.door("bank-a/3", Door::Open, Some(true));
    world.door("bank-a/3", Door::Closed, Some(true));
    assert_eq!(world.stage("p2"), "expected");
}

#[test]
fn a_door_that_opens_again_without_a_command_takes_nothing_up() {
    let mut world = World::new();
    world.courier("badge", i64::MAX);
    world.expect(parcel("p1", "bank-a"));
    world.scan("bank-a", "badge");
    world.scan("bank-a", "p1");
    world.skip(1_000);
    world.scan("bank-a", "p1");
    world.door("bank-a/1", Door::Open, Some(false));
    world.door("bank-a/1", Door::Closed, Some(false));
    assert_eq!(world.stage("p1"), "expected");
    world.door("bank-a/1", Door::Open, Some(false));
    assert_eq!(
        world.stage("p1"),
        "expected",
        "the newest command had its door"
    );
}

#[test]
fn a_late_door_puts_nothing_beside_a_strangers_parcel() {
    let mut world = World::new();
    world.layout.banks[0].compartments.truncate(1);
    world.reload();
    world.courier("badge", i64::MAX);
    world.expect(parcel("p1", "bank-a"));
    world.scan("bank-a", "badge");
    let outcome = world.scan("bank-a", "p1");
    world.result("bank-a", &open_id(&outcome), Done::Refused);
    world.bring("p2");
    world.door("bank-a/1", Door::Open, Some(true));
    assert_eq!(
        (world.stage("p1"), world.stage("p2")),
        ("expected", "deposited")
    );
    world.reload();
}

#[test]
fn a_door_seen_late_takes_out_all_that_is_his() {
    let mut world = both();
    world.pass(1_000);
    let code = world.codes["p1"].clone();
    world.key("bank-a", &code);
    world.pass(10_000);
    assert_eq!(
        (world.stage("p1"), world.stage("p2")),
        ("deposited", "deposited")
    );
    world.reload();
    world.skip(60_000);
    world.door("bank-a/3", Door::Open, Some(true));
    assert_eq!(
        (world.stage("p1"), world.stage("p2")),
        ("collecting", "collecting")
    );
    world.door("bank-a/3", Door::Closed, Some(false));
    assert_eq!(
        (world.stage("p1"), world.stage("p2")),
        ("collected", "collected")
    );
    assert!(world.compartment("bank-a/3").is_free());
}

#[test]
fn what_goes_back_is_not_taken_up_for_the_recipient() {
    let mut world = both();
    world.pass(1_000);
    let code = world.codes["p1"].clone();
    world.key("bank-a", &code);
    world.pass(10_000);
    world.snapshot.parcels.get_mut("p2").unwrap().back = Some(estate::parcel::Back::Refused);
    world.reload();
    world.door("bank-a/3", Door::Open, Some(true));
    world.door("bank-a/3", Door::Closed, Some(true));
    assert_eq!(
        world.stage("p1"),
        "collected",
        "occupied by the other says nothing"
    );
    assert_eq!(world.stage("p2"), "deposited");
}

#[test]
fn a_compartment_with_two_recipients_is_not_loaded() {
    let world = both();
    let mut snapshot = world.snapshot.clone();
    snapshot.parcels.get_mut("p2").unwrap().parcel.recipient = "she".into();
    let why = Estate::load(world.layout.clone(), snapshot).unwrap_err();
    assert!(matches!(&why, LoadError::Inconsistent(what) if what.contains("another recipient")));

    let (world, _) = second_scanned();
    let mut snapshot = world.snapshot.clone();
    snapshot.parcels.get_mut("p2").unwrap().parcel.recipient = "she".into();
    assert!(
        Estate::load(world.layout.clone(), snapshot).is_err(),
        "coming in counts"
    );
}
