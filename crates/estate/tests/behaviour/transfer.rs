//! Bringing a parcel from its compartment to a desk.

use estate::Verdict;
use estate::parcel::Back;
use firmware_protocols::event::Door;

use crate::common::*;
use crate::staff::*;

#[test]
fn a_transferred_parcel_waits_at_the_desk_for_the_same_code() {
    let mut world = World::new();
    let (place, code) = world.bring("p1");
    let outcome = transfer(&mut world, "p1");
    assert_eq!(opened(&outcome), Some(place));
    assert!(told(&outcome).contains("bring p1 to desk-c"));
    assert_eq!(
        outcome.told.as_ref().unwrap().command,
        Some(open_id(&outcome))
    );
    world.reload();
    let outcome = swing(&mut world, "bank-a/1", Some(false));
    assert!(text(&outcome).contains("Bring it to: desk-c, the group leader's"));
    assert_eq!(heard(&world, "p1"), here("deposited", "desk-c"));
    assert!(world.compartment("bank-a/1").is_free());
    let entry = world.traces.last().unwrap();
    assert_eq!(
        (entry.step, entry.who.as_str()),
        ("transferred", "operator li at desk-c")
    );
    assert_eq!(transfer(&mut world, "p1").verdict, Verdict::Taken);
    world.reload();
    assert!(text(&world.key("desk-c", &code)).contains("hand the parcel over"));
    assert_eq!(heard(&world, "p1"), here("collected", "desk-c"));
    assert_eq!(opened(&world.key("bank-a", &code)), None);
}

#[test]
fn an_overdue_parcel_stays_overdue_at_the_desk_and_is_still_collected() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    world.pass(DAY_MS);
    transfer(&mut world, "p1");
    swing(&mut world, "bank-a/1", None);
    assert_eq!(heard(&world, "p1"), here("overdue", "desk-c"));
    assert_eq!(back(&world, "p1"), Some(Back::Overdue));
    assert!(told(&hand_over(&mut world, &code)).contains("hand over: p1"));
    assert_eq!(heard(&world, "p1"), here("collected", "desk-c"));
}

#[test]
fn still_occupied_means_still_in_the_compartment() {
    let mut world = World::new();
    let (place, code) = world.bring("p1");
    transfer(&mut world, "p1");
    swing(&mut world, "bank-a/1", Some(true));
    assert_eq!(world.stage("p1"), "deposited");
    assert_eq!(world.take(&code), place);
}

#[test]
fn only_the_named_parcel_is_brought() {
    let mut world = apart();
    bring_for(&mut world, "wang", "p1");
    let (_, code) = bring_for(&mut world, "wang", "p2");
    share(&mut world, "p2", "bank-a/1");
    transfer(&mut world, "p1");
    world.door("bank-a/1", Door::Open, Some(true));
    world.door("bank-a/1", Door::Closed, Some(true));
    assert_eq!(heard(&world, "p1"), here("deposited", "desk-c"));
    assert_eq!(world.stage("p2"), "deposited");
    assert_eq!(world.compartment("bank-a/1").contents, ["p2"]);
    let outcome = world.key("bank-a", &code);
    assert_eq!(opened(&outcome), Some(slot("bank-a/1")));
}

#[test]
fn an_unanswered_command_brings_nothing_and_asking_again_opens_again() {
    let mut world = World::new();
    let (place, _) = world.bring("p1");
    transfer(&mut world, "p1");
    assert_eq!(opened(&transfer(&mut world, "p1")), Some(place.clone()));
    world.pass(10_000);
    world.pass(120_000);
    assert_eq!(world.stage("p1"), "deposited");
    world.reload();
    assert_eq!(opens(&world.pass(0)), []);
    assert_eq!(opened(&transfer(&mut world, "p1")), Some(place));
}

#[test]
fn what_cannot_be_brought_is_refused_with_the_reason() {
    let mut world = World::new();
    world.bring("p1");
    cancel(&mut world, "p1");
    assert!(why(&transfer(&mut world, "p1").verdict).contains("retrieve it instead"));
    assert!(why(&transfer(&mut world, "none").verdict).contains("isn't known"));
    world.expect(parcel("p2", "bank-a"));
    assert!(why(&transfer(&mut world, "p2").verdict).contains("is expected"));
    let (_, code) = world.bring("p3");
    world.key("bank-a", &code);
    assert!(why(&transfer(&mut world, "p3").verdict).contains("just now"));
}
