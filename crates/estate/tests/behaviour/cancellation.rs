//! Cancellation at every point of a parcel's life.

use cloud_protocol::downlink::ExpectedParcel;
use estate::Verdict;
use estate::parcel::Back;
use firmware_protocols::event::Door;

use crate::common::*;
use crate::staff::*;

#[test]
fn after_the_deposit_the_code_dies_at_once_and_the_parcel_goes_back() {
    for late in [false, true] {
        let mut world = World::new();
        let (place, code) = world.bring("p1");
        if late {
            world.pass(DAY_MS);
            assert_eq!(back(&world, "p1"), Some(Back::Overdue));
        }
        assert_eq!(cancel(&mut world, "p1"), Verdict::Taken);
        assert_eq!(back(&world, "p1"), Some(Back::Cancelled));
        assert_eq!(live_codes(&world), 0);
        assert_eq!(heard(&world, "p1"), here("cancelled", &place.to_string()));
        world.reload();
        let outcome = world.key("bank-a", &code);
        assert_eq!(opened(&outcome), None);
        assert!(text(&outcome).contains("not good any more"));
        let (reports, traces) = (world.reports.len(), world.traces.len());
        assert_eq!(cancel(&mut world, "p1"), Verdict::Taken);
        world.now.wall_ms += YEAR_MS;
        world.pass(DAY_MS);
        assert_eq!((world.reports.len(), world.traces.len()), (reports, traces));
        assert!(why(&extend(&mut world, "none", 1)).contains("isn't known"));
    }
}

#[test]
fn one_who_is_taking_it_out_keeps_it() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    world.key("bank-a", &code);
    assert!(why(&cancel(&mut world, "p1")).contains("too late"));
    world.door("bank-a/1", Door::Open, Some(true));
    assert!(why(&cancel(&mut world, "p1")).contains("too late"));
    world.door("bank-a/1", Door::Closed, Some(true));
    assert_eq!(cancel(&mut world, "p1"), Verdict::Taken);
    assert_eq!(back(&world, "p1"), Some(Back::Cancelled));
}

#[test]
fn a_collected_parcel_is_not_cancelled() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    world.take(&code);
    assert!(why(&cancel(&mut world, "p1")).contains("too late"));
    assert_eq!(heard(&world, "p1").0, "collected");
}

/// A parcel that is cancelled while the courier's door stands open, with a restart after it.
fn cancelled_behind_the_door() -> (World, String) {
    let mut world = World::new();
    world.courier("badge", i64::MAX);
    let code = world.expect(parcel("p1", "bank-a"));
    world.scan("bank-a", "badge");
    world.scan("bank-a", "p1");
    world.door("bank-a/1", Door::Open, Some(false));
    assert_eq!(cancel(&mut world, "p1"), Verdict::Taken);
    assert_eq!(cancel(&mut world, "p1"), Verdict::Taken);
    assert_eq!(world.steps("p1").last(), Some(&"cancelled"));
    assert_eq!(heard(&world, "p1").0, "expected", "the door decides");
    assert_eq!(live_codes(&world), 0);
    world.reload();
    (world, code)
}

#[test]
fn cancelled_behind_an_open_door_and_put_in_it_goes_back() {
    let (mut world, code) = cancelled_behind_the_door();
    let outcome = world.door("bank-a/1", Door::Closed, Some(true));
    assert!(text(&outcome).contains("cancelled"));
    assert_eq!(world.stage("p1"), "deposited");
    assert_eq!(back(&world, "p1"), Some(Back::Cancelled));
    assert_eq!(heard(&world, "p1"), here("cancelled", "bank-a/1"));
    assert_eq!(opened(&world.key("bank-a", &code)), None);
}

#[test]
fn cancelled_behind_an_open_door_and_not_put_in_it_is_over() {
    let (mut world, code) = cancelled_behind_the_door();
    world.door("bank-a/1", Door::Closed, Some(false));
    assert_eq!(world.stage("p1"), "cancelled");
    assert_eq!(heard(&world, "p1"), here("cancelled", "nowhere"));
    assert!(world.compartment("bank-a/1").is_free());
    assert_eq!(opened(&world.key("bank-a", &code)), None);
    assert!(text(&world.scan("bank-a", "badge")).contains("scan"));
    assert!(text(&world.scan("bank-a", "p1")).contains("cancelled"));
}

#[test]
fn a_cancellation_before_the_door_opened_frees_the_compartment() {
    let mut world = World::new();
    world.courier("badge", i64::MAX);
    world.expect(parcel("p1", "bank-a"));
    world.scan("bank-a", "badge");
    world.scan("bank-a", "p1");
    assert_eq!(cancel(&mut world, "p1"), Verdict::Taken);
    assert_eq!(world.stage("p1"), "cancelled");
    assert!(world.compartment("bank-a/1").is_free());
}

#[test]
fn a_return_is_cancelled_only_before_it_is_handed_in() {
    let mut world = World::new();
    let returned = |name: &str| ExpectedParcel {
        return_of: Some("p0".into()),
        ..parcel(name, "bank-a")
    };
    let code = world.expect(returned("r1"));
    assert_eq!(cancel(&mut world, "r1"), Verdict::Taken);
    assert_eq!(heard(&world, "r1"), here("cancelled", "nowhere"));
    assert_eq!(opened(&world.key("bank-a", &code)), None);
    let code = world.expect(returned("r2"));
    let place = opened(&world.key("bank-a", &code)).unwrap().to_string();
    swing(&mut world, &place, Some(true));
    assert!(why(&cancel(&mut world, "r2")).contains("takes it back"));
    assert_eq!(back(&world, "r2"), Some(Back::Return));
}

#[test]
fn a_parcel_that_is_being_retrieved_or_brought_to_a_desk_can_still_be_cancelled() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    assert!(told(&transfer(&mut world, "p1")).contains("opens"));
    assert_eq!(cancel(&mut world, "p1"), Verdict::Taken);
    swing(&mut world, "bank-a/1", Some(false));
    assert_eq!(heard(&world, "p1"), here("cancelled", "desk-c"));
    assert!(why(&hand_over(&mut world, &code).verdict).contains("wrong code"));
}
