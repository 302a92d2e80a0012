//! A parcel put into the wrong compartment.

use cloud_protocol::downlink::{Size, Zone};
use estate::{Input, Outcome};
use firmware_protocols::event::Door;

use crate::common::*;

/// The courier stands before the open compartment 1 with p1, and closes `wrong` upon something.
fn closed_wrong(wrong: &str) -> (World, Outcome) {
    let mut world = World::new();
    world.courier("badge", i64::MAX);
    world.expect(parcel("p1", "bank-a"));
    world.door(wrong, Door::Open, Some(false));
    world.scan("bank-a", "badge");
    assert_eq!(opened(&world.scan("bank-a", "p1")), Some(slot("bank-a/1")));
    world.door("bank-a/1", Door::Open, Some(false));
    let outcome = world.door(wrong, Door::Closed, Some(true));
    (world, outcome)
}

#[test]
fn it_is_said_at_once_and_recorded() {
    let (mut world, outcome) = closed_wrong("bank-a/3");
    assert!(text(&outcome).contains("Parcel in 3? Yours is 1"));
    assert_eq!(opened(&outcome), None);
    let entry = world.traces.last().unwrap().clone();
    assert_eq!(
        (entry.parcel.as_str(), entry.step),
        ("p1", "wrong-compartment-closed")
    );
    world.door("bank-a/3", Door::Open, Some(true));
    world.door("bank-a/3", Door::Closed, Some(false));
    world.door("bank-a/1", Door::Closed, Some(true));
    assert_eq!(world.stage("p1"), "deposited", "it was moved");
}

#[test]
fn scanned_again_the_compartment_opens_in_which_it_may_lie() {
    let (mut world, _) = closed_wrong("bank-a/3");
    let outcome = world.door("bank-a/1", Door::Closed, Some(false));
    assert!(text(&outcome).contains("Nothing was put in"));
    assert_eq!(world.stage("p1"), "expected");
    assert_eq!(opened(&world.scan("bank-a", "p1")), Some(slot("bank-a/3")));
    world.door("bank-a/3", Door::Open, Some(true));
    world.reload();
    world.door("bank-a/3", Door::Closed, Some(true));
    assert_eq!(world.stage("p1"), "deposited");
    assert_eq!(world.compartment("bank-a/3").contents, ["p1"]);
    let code = world.codes["p1"].clone();
    assert_eq!(world.take(&code), slot("bank-a/3"));
}

#[test]
fn if_it_does_not_lie_there_another_opens() {
    let (mut world, _) = closed_wrong("bank-a/3");
    world.door("bank-a/1", Door::Closed, Some(false));
    world.scan("bank-a", "p1");
    world.door("bank-a/3", Door::Open, Some(true));
    world.door("bank-a/3", Door::Closed, Some(false));
    assert_eq!(world.stage("p1"), "expected");
    assert_eq!(opened(&world.scan("bank-a", "p1")), Some(slot("bank-a/2")));
}

#[test]
fn after_a_restart_another_opens_and_what_is_occupied_is_left_alone() {
    let (mut world, _) = closed_wrong("bank-a/2");
    world.door("bank-a/1", Door::Closed, Some(false));
    world.reload();
    world.scan("bank-a", "badge");
    assert_eq!(opened(&world.scan("bank-a", "p1")), Some(slot("bank-a/1")));
}

#[test]
fn a_compartment_that_would_not_do_is_the_offices_business() {
    // Of another zone.
    let (mut world, _) = closed_wrong("bank-a/5");
    world.door("bank-a/1", Door::Closed, Some(false));
    let outcome = world.scan("bank-a", "p1");
    assert_eq!(opened(&outcome), None);
    assert!(text(&outcome).contains("may lie in 5: call the office"));
    assert_eq!(world.steps("p1").last(), Some(&"deposit-refused"));
    // Once it was taken out of there, it goes on as usual.
    world.door("bank-a/5", Door::Open, Some(true));
    world.door("bank-a/5", Door::Closed, Some(false));
    assert!(opened(&world.scan("bank-a", "p1")).is_some());

    // Out of use.
    let (mut world, _) = closed_wrong("bank-a/3");
    world.door("bank-a/1", Door::Closed, Some(false));
    let input = Input::Disable {
        slot: slot("bank-a/3"),
        operator: "li".into(),
        reason: Some("hinge".into()),
    };
    world.handle(input);
    assert!(text(&world.scan("bank-a", "p1")).contains("call the office"));

    // No locker any more.
    let (mut world, _) = closed_wrong("bank-a/3");
    world.door("bank-a/1", Door::Closed, Some(false));
    let mut withdrawn = parcel("p1", "bank-a");
    withdrawn.consent = false;
    world.expect(withdrawn);
    let outcome = world.scan("bank-a", "p1");
    assert_eq!(opened(&outcome), None);
    assert!(text(&outcome).contains("may lie in 3: call the office"));

    // Too small.
    let mut world = World::new();
    world.courier("badge", i64::MAX);
    let mut large = parcel("p1", "bank-a");
    (large.size, large.zone) = (Size::M, Zone::Ambient);
    world.expect(large);
    world.door("bank-a/1", Door::Open, Some(false));
    world.scan("bank-a", "badge");
    world.scan("bank-a", "p1");
    world.door("bank-a/3", Door::Open, Some(false));
    world.door("bank-a/1", Door::Closed, Some(true));
    world.door("bank-a/3", Door::Closed, Some(false));
    assert!(text(&world.scan("bank-a", "p1")).contains("may lie in 1"));
}

#[test]
fn without_a_change_or_a_deposit_a_closed_door_means_nothing() {
    let (mut world, _) = closed_wrong("bank-a/3");
    let outcome = world.door("bank-a/3", Door::Closed, Some(true));
    assert_eq!(shown(&outcome), [], "it was occupied before");
    world.door("bank-a/1", Door::Closed, Some(true));
    world.door("bank-a/4", Door::Open, Some(false));
    let outcome = world.door("bank-a/4", Door::Closed, Some(true));
    assert_eq!(shown(&outcome), [], "no deposit is under way");
    let wrong = world
        .steps("p1")
        .iter()
        .filter(|s| **s == "wrong-compartment-closed")
        .count();
    assert_eq!(wrong, 1);
}
