//! Returns: put in with a code, forgotten things, full banks, desks.

use cloud_protocol::downlink::{ExpectedParcel, Size};
use estate::TimeQuality;
use estate::parcel::Back;
use firmware_protocols::event::{Done, Door};

use crate::common::*;
use crate::staff::*;

fn returned(world: &mut World, name: &str, point: &str) -> String {
    let parcel = ExpectedParcel {
        return_of: Some("p0".into()),
        consent: false,
        ..parcel_of("wang", name, point)
    };
    world.expect(parcel)
}

/// A return in bank-a/1, and its code.
fn put_in() -> (World, String) {
    let mut world = World::new();
    let code = returned(&mut world, "r1", "bank-a");
    let outcome = world.key("bank-a", &code);
    assert_eq!(opened(&outcome), Some(slot("bank-a/1")));
    assert!(text(&outcome).contains("put the parcel in"));
    world.reload();
    world.door("bank-a/1", Door::Open, Some(false));
    let outcome = world.door("bank-a/1", Door::Closed, Some(true));
    assert!(text(&outcome).contains("Stored in compartment 1"));
    (world, code)
}

#[test]
fn a_return_is_put_in_with_its_code_and_waits_for_a_courier() {
    let (mut world, _) = put_in();
    assert_eq!(back(&world, "r1"), Some(Back::Return));
    assert_eq!(heard(&world, "r1"), here("deposited", "bank-a/1"));
    let report = world.reports.last().unwrap();
    assert_eq!(report.return_of.as_deref(), Some("p0"));
    let entry = world
        .traces
        .iter()
        .rfind(|t| t.step == "deposited")
        .unwrap();
    assert_eq!(entry.who, "recipient");
    world.pass(9 * DAY_MS);
    assert_eq!(heard(&world, "r1").0, "deposited", "never overdue");
    world.courier("badge", i64::MAX);
    world.scan("bank-a", "badge");
    assert_eq!(opened(&world.key("bank-a", "0")), Some(slot("bank-a/1")));
    swing(&mut world, "bank-a/1", Some(false));
    assert_eq!(heard(&world, "r1"), here("retrieved", "bank-a/1"));
}

#[test]
fn its_code_opens_again_only_within_the_grace() {
    for jump in [0, YEAR_MS, -YEAR_MS] {
        let (mut world, code) = put_in();
        world.now.wall_ms += jump;
        world.reload();
        world.pass(119_999);
        let outcome = world.key("bank-a", &code);
        assert_eq!(opened(&outcome), Some(slot("bank-a/1")), "{jump}");
        let outcome = swing(&mut world, "bank-a/1", Some(true));
        assert!(text(&outcome).contains("Stored"));
        assert_eq!(back(&world, "r1"), Some(Back::Return));
        world.now.wall_ms -= 2 * jump;
        world.skip(120_000);
        let outcome = world.key("bank-a", &code);
        assert_eq!(opened(&outcome), None);
        assert!(text(&outcome).contains("not good any more"));
    }
}

#[test]
fn its_code_dies_on_a_tick_too() {
    let (mut world, code) = put_in();
    world.pass(120_000);
    assert_eq!(live_codes(&world), 0);
    assert_eq!(opened(&world.key("bank-a", &code)), None);
}

#[test]
fn taken_out_again_it_is_expected_again() {
    let (mut world, code) = put_in();
    world.key("bank-a", &code);
    world.door("bank-a/1", Door::Open, Some(true));
    let outcome = world.door("bank-a/1", Door::Closed, Some(false));
    assert!(text(&outcome).contains("Taken out again"));
    assert_eq!(back(&world, "r1"), None);
    assert_eq!(heard(&world, "r1"), here("expected", "nowhere"));
    assert!(world.compartment("bank-a/1").is_free());
    world.reload();
    assert!(opened(&world.key("bank-a", &code)).is_some());
}

#[test]
fn a_door_that_does_not_open_again_leaves_it_inside() {
    let (mut world, code) = put_in();
    world.key("bank-a", &code);
    world.pass(10_000);
    assert_eq!(world.stage("r1"), "deposited");
    assert_eq!(back(&world, "r1"), Some(Back::Return));
}

#[test]
fn closed_empty_it_is_expected_still_and_the_code_good() {
    let mut world = World::new();
    let code = returned(&mut world, "r1", "bank-a");
    world.key("bank-a", &code);
    swing(&mut world, "bank-a/1", Some(false));
    assert_eq!(world.stage("r1"), "expected");
    assert!(opened(&world.key("bank-a", &code)).is_some());
}

#[test]
fn typing_again_opens_the_same_compartment_unless_it_is_faulty() {
    let mut world = World::new();
    let code = returned(&mut world, "r1", "bank-a");
    world.key("bank-a", &code);
    let outcome = world.key("bank-a", &code);
    assert_eq!(opened(&outcome), Some(slot("bank-a/1")));
    let command = open_id(&outcome);
    world.result("bank-a", &command, Done::Failed);
    assert_eq!(opened(&world.key("bank-a", &code)), Some(slot("bank-a/2")));
}

#[test]
fn a_full_bank_sends_the_recipient_to_a_desk_which_takes_the_return_in() {
    let mut world = World::new();
    let parcel = ExpectedParcel {
        return_of: Some("p0".into()),
        size: Size::L,
        ..parcel("r1", "bank-b")
    };
    let code = world.expect(parcel);
    let outcome = world.key("keypad-b", &code);
    assert_eq!(opened(&outcome), None);
    assert!(text(&outcome).contains("desk-c, the group leader's"));
    assert_eq!(counted(&world), 0);
    assert_eq!(world.steps("r1").last(), Some(&"no-compartment"));
    world.reload();
    assert!(told(&hand_over(&mut world, &code)).contains("taken in"));
    assert_eq!(heard(&world, "r1"), here("deposited", "desk-c"));
    assert_eq!(back(&world, "r1"), Some(Back::Return));
    let again = hand_over(&mut world, &code).verdict;
    assert!(why(&again).contains("wrong code"), "dead at its own point");
}

#[test]
fn a_return_is_handed_in_at_its_desks_terminal() {
    let mut world = World::new();
    let code = returned(&mut world, "r1", "desk-c");
    assert!(text(&world.key("desk-c", &code)).contains("Return registered"));
    assert_eq!(heard(&world, "r1"), here("deposited", "desk-c"));
    assert_eq!(back(&world, "r1"), Some(Back::Return));
    assert!(text(&world.key("desk-c", &code)).contains("not good any more"));
    world.reload();
    assert!(told(&retrieve(&mut world, "r1", None)).contains("give back"));
}

#[test]
fn the_staff_receives_a_return_without_its_code() {
    let mut world = World::new();
    returned(&mut world, "r1", "desk-c");
    assert!(told(&receive(&mut world, "r1")).contains("waits at desk-c"));
    assert_eq!(back(&world, "r1"), Some(Back::Return));
}

#[test]
fn a_return_does_not_join_what_waits_for_its_recipient() {
    let mut world = World::new();
    let own = ExpectedParcel {
        size: Size::M,
        ..parcel_of("wang", "p1", "bank-a")
    };
    world.expect(own);
    assert_eq!(world.put("p1"), slot("bank-a/3"));
    let code = returned(&mut world, "r1", "bank-a");
    assert_eq!(opened(&world.key("bank-a", &code)), Some(slot("bank-a/1")));
}

#[test]
fn while_the_clock_is_unknown_a_return_is_taken_too() {
    let mut world = World::new();
    let code = returned(&mut world, "r1", "bank-a");
    world.now.quality = TimeQuality::Unknown;
    world.now.wall_ms = 0;
    assert!(opened(&world.key("bank-a", &code)).is_some());
    swing(&mut world, "bank-a/1", Some(true));
    assert_eq!(back(&world, "r1"), Some(Back::Return));
}

#[test]
fn a_return_that_found_no_room_is_taken_in_at_a_desks_terminal_too() {
    let mut world = World::new();
    let large = ExpectedParcel {
        return_of: Some("p0".into()),
        size: Size::L,
        zone: cloud_protocol::downlink::Zone::Frozen,
        ..parcel_of("wang", "r1", "bank-a")
    };
    let code = world.expect(large);
    let outcome = world.key("desk-c", &code);
    assert!(
        text(&outcome).contains("bank-a, north gate"),
        "its bank first"
    );
    assert!(text(&world.key("bank-a", &code)).contains("desk-c"));
    world.reload();
    assert!(text(&world.key("desk-c", &code)).contains("Return registered"));
    assert_eq!(back(&world, "r1"), Some(Back::Return));
}

#[test]
fn a_return_waits_for_the_deposit_before_it() {
    let mut world = World::new();
    let code = returned(&mut world, "r1", "bank-a");
    world.expect(parcel("p1", "bank-a"));
    world.courier("badge", i64::MAX);
    world.scan("bank-a", "badge");
    world.scan("bank-a", "p1");
    world.door("bank-a/1", Door::Open, Some(false));
    let outcome = world.key("bank-a", &code);
    assert_eq!(opened(&outcome), None);
    assert!(text(&outcome).contains("Close compartment 1 first"));
    world.door("bank-a/1", Door::Closed, Some(true));
    assert_eq!(opened(&world.key("bank-a", &code)), Some(slot("bank-a/2")));
}
