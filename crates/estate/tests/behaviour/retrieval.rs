//! Taking back what goes back: by a courier's `0`, or by the staff.

use estate::Verdict;
use estate::parcel::Back;
use firmware_protocols::event::Door;

use crate::common::*;
use crate::staff::*;

/// Three parcels, of which p1 and p3 go back, and a courier at bank-a.
fn world() -> World {
    let mut world = apart();
    for name in ["p1", "p2", "p3"] {
        world.bring(name);
    }
    for name in ["p3", "p1"] {
        world.skip(1_000);
        cancel(&mut world, name);
    }
    world.scan("bank-a", "badge");
    world
}

#[test]
fn nought_opens_what_goes_back_one_after_the_other() {
    let mut world = world();
    let outcome = world.key("bank-a", "0");
    assert_eq!(
        opened(&outcome),
        Some(slot("bank-a/3")),
        "the longest first"
    );
    assert!(text(&outcome).contains("take the parcel back"));
    world.reload();
    let outcome = swing(&mut world, "bank-a/3", Some(false));
    assert!(text(&outcome).contains("1 more: type 0"));
    assert_eq!(heard(&world, "p3"), here("retrieved", "bank-a/3"));
    assert!(world.compartment("bank-a/3").is_free());
    world.scan("bank-a", "badge");
    assert_eq!(opened(&world.key("bank-a", "0")), Some(slot("bank-a/1")));
    let outcome = swing(&mut world, "bank-a/1", Some(false));
    assert!(text(&outcome).contains("nothing more"));
    assert!(text(&world.key("bank-a", "0")).contains("Nothing to take back"));
    assert_eq!(world.stage("p2"), "deposited");
    let entry = world
        .traces
        .iter()
        .rfind(|t| t.step == "retrieved")
        .unwrap();
    assert_eq!(entry.who, "courier c-badge");
}

#[test]
fn nought_without_a_courier_opens_nothing() {
    let mut world = world();
    world.reload();
    assert_eq!(opened(&world.key("bank-a", "0")), None);
    world.scan("bank-a", "badge");
    world.pass(180_000);
    assert_eq!(
        opened(&world.key("bank-a", "0")),
        None,
        "the session is over"
    );
}

#[test]
fn an_overdue_parcel_is_retrieved_and_its_code_dies() {
    let mut world = World::new();
    let (place, code) = world.bring("p1");
    world.pass(DAY_MS);
    assert_eq!(back(&world, "p1"), Some(Back::Overdue));
    world.scan("bank-a", "badge");
    assert_eq!(opened(&world.key("bank-a", "0")), Some(place));
    let outcome = world.key("bank-a", &code);
    assert_eq!(opened(&outcome), None);
    assert!(text(&outcome).contains("just being taken back"));
    assert_eq!(live_codes(&world), 1);
    swing(&mut world, "bank-a/1", None);
    assert_eq!(heard(&world, "p1"), here("retrieved", "bank-a/1"));
    assert_eq!(live_codes(&world), 0);
    let outcome = world.key("bank-a", &code);
    assert_eq!(opened(&outcome), None);
    assert!(text(&outcome).contains("not good any more"));
}

#[test]
fn still_occupied_means_still_there_and_nought_opens_it_again() {
    let mut world = world();
    world.key("bank-a", "0");
    let outcome = swing(&mut world, "bank-a/3", Some(true));
    assert!(text(&outcome).contains("type 0"));
    assert_eq!(world.stage("p3"), "deposited");
    assert_eq!(back(&world, "p3"), Some(Back::Cancelled));
    let outcome = world.key("bank-a", "0");
    assert!(opened(&outcome).is_some());
}

#[test]
fn a_door_that_is_open_is_opened_again_until_it_is_given_up() {
    let mut world = world();
    world.key("bank-a", "0");
    assert_eq!(opened(&world.key("bank-a", "0")), Some(slot("bank-a/3")));
    world.door("bank-a/3", Door::Open, Some(true));
    assert_eq!(opened(&world.key("bank-a", "0")), Some(slot("bank-a/3")));
    world.pass(120_000);
    assert_eq!(opened(&world.key("bank-a", "0")), Some(slot("bank-a/1")));
    world.door("bank-a/3", Door::Closed, Some(false));
    assert_eq!(heard(&world, "p3").0, "retrieved");
}

#[test]
fn an_unanswered_command_leaves_it_there() {
    for jump in [0, YEAR_MS, -YEAR_MS] {
        let mut world = world();
        world.key("bank-a", "0");
        world.now.wall_ms += jump;
        world.pass(10_000);
        assert_eq!(world.stage("p3"), "deposited");
        world.reload();
        assert_eq!(opens(&world.pass(1_000)), []);
        assert_eq!(back(&world, "p3"), Some(Back::Cancelled));
    }
}

#[test]
fn out_of_a_shared_compartment_only_what_goes_back_is_taken() {
    let mut world = apart();
    let (_, code) = bring_for(&mut world, "wang", "p1");
    bring_for(&mut world, "wang", "p2");
    share(&mut world, "p2", "bank-a/1");
    cancel(&mut world, "p2");
    world.scan("bank-a", "badge");
    let outcome = world.key("bank-a", "0");
    assert!(text(&outcome).contains("take only p2"));
    world.door("bank-a/1", Door::Open, Some(true));
    let outcome = world.door("bank-a/1", Door::Closed, Some(true));
    assert!(text(&outcome).contains("Taken back"));
    assert_eq!(world.stage("p2"), "retrieved");
    assert_eq!(world.stage("p1"), "deposited");
    assert_eq!(opened(&world.key("bank-a", &code)), Some(slot("bank-a/1")));
}

#[test]
fn at_a_desk_each_nought_gives_one_back() {
    let mut world = World::new();
    for name in ["p1", "p2", "p3"] {
        at_desk(&mut world, "wang", name);
    }
    cancel(&mut world, "p1");
    world.skip(1);
    cancel(&mut world, "p2");
    world.courier("badge", i64::MAX);
    world.scan("desk-c", "badge");
    let outcome = world.key("desk-c", "0");
    assert!(text(&outcome).contains("1 more after this (type 0), give to the courier: p1"));
    assert_eq!(heard(&world, "p1"), here("retrieved", "desk-c"));
    assert!(text(&world.key("desk-c", "0")).contains("p2"));
    assert!(text(&world.key("desk-c", "0")).contains("Nothing to take back"));
    assert_eq!(world.stage("p3"), "deposited");
}

#[test]
fn the_staff_opens_a_compartment_for_what_goes_back() {
    let mut world = world();
    let outcome = retrieve(&mut world, "p1", None);
    assert_eq!(opened(&outcome), Some(slot("bank-a/1")));
    assert!(told(&outcome).contains("bank-a/1 opens"));
    assert_eq!(
        outcome.told.as_ref().unwrap().command,
        Some(open_id(&outcome))
    );
    world.reload();
    swing(&mut world, "bank-a/1", Some(false));
    assert_eq!(heard(&world, "p1").0, "retrieved");
    let entry = world
        .traces
        .iter()
        .rfind(|t| t.step == "retrieved")
        .unwrap();
    assert_eq!(entry.who, "operator li");
    retrieve(&mut world, "p3", Some("c-7"));
    swing(&mut world, "bank-a/3", Some(false));
    let entry = world
        .traces
        .iter()
        .rfind(|t| t.step == "retrieved")
        .unwrap();
    assert_eq!(entry.who, "courier c-7");
}

#[test]
fn the_staff_gives_back_out_of_a_desk_at_once() {
    let mut world = World::new();
    let code = at_desk(&mut world, "wang", "p1");
    let verdict = retrieve(&mut world, "p1", None).verdict;
    assert!(why(&verdict).contains("cancel, claim or refuse it first"));
    cancel(&mut world, "p1");
    let outcome = retrieve(&mut world, "p1", Some("c-7"));
    assert!(told(&outcome).contains("give back: p1"));
    assert_eq!(heard(&world, "p1"), here("retrieved", "desk-c"));
    assert_eq!(retrieve(&mut world, "p1", None).verdict, Verdict::Taken);
    assert!(why(&hand_over(&mut world, &code).verdict).contains("not good any more"));
}

#[test]
fn what_is_not_here_is_not_retrieved() {
    let mut world = World::new();
    world.expect(parcel("p1", "bank-a"));
    assert!(why(&retrieve(&mut world, "p1", None).verdict).contains("isn't here yet"));
    let (_, code) = world.bring("p2");
    world.take(&code);
    assert!(why(&retrieve(&mut world, "p2", None).verdict).contains("isn't here any more"));
    assert!(why(&retrieve(&mut world, "p3", None).verdict).contains("isn't known"));
}

#[test]
fn no_text_is_longer_than_a_device_shows() {
    let mut world = World::new();
    let long = |n: usize| format!("{n}{}", "包".repeat(127));
    let code = at_desk(&mut world, "wang", &long(1));
    for n in 2..6 {
        at_desk(&mut world, "wang", &long(n));
    }
    at_desk(&mut world, "zhao", &long(6));
    at_desk(&mut world, "zhao", &long(7));
    cancel(&mut world, &long(6));
    cancel(&mut world, &long(7));
    world.courier("badge", i64::MAX);
    world.scan("desk-c", "badge");
    for digits in [code.as_str(), "0", "0"] {
        let words = text(&world.key("desk-c", digits));
        assert!((100..=256).contains(&words.chars().count()), "{words}");
    }
}
