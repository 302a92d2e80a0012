//! A second waybill before the first deposit is settled.

use estate::Outcome;
use firmware_protocols::event::{Done, Door};

use crate::common::*;

/// p1's compartment was told to open, and p2 is expected too. The command for p1.
fn first_scanned() -> (World, String) {
    let mut world = World::new();
    world.courier("badge", i64::MAX);
    world.expect(parcel("p1", "bank-a"));
    world.expect(parcel("p2", "bank-a"));
    world.scan("bank-a", "badge");
    let command = open_id(&world.scan("bank-a", "p1"));
    (world, command)
}

fn second(world: &mut World) -> Outcome {
    world.scan("bank-a", "badge");
    world.scan("bank-a", "p2")
}

#[test]
fn while_the_first_door_was_not_seen_open_the_second_waybill_opens_nothing() {
    let (mut world, _) = first_scanned();
    let outcome = second(&mut world);
    assert_eq!(opened(&outcome), None);
    assert!(text(&outcome).contains("first parcel into 1"));
    assert_eq!(world.stage("p2"), "expected");
    world.reload();
    assert_eq!(opened(&second(&mut world)), None);
}

#[test]
fn while_the_first_door_stands_open_the_second_waybill_opens_nothing() {
    let (mut world, _) = first_scanned();
    world.door("bank-a/1", Door::Open, Some(false));
    world.reload();
    let outcome = second(&mut world);
    assert!(text(&outcome).contains("Close compartment 1 first"));
    assert_eq!(opened(&outcome), None);
    assert_eq!(
        opened(&world.scan("bank-a", "p1")),
        Some(slot("bank-a/1")),
        "the same one does"
    );
    world.door("bank-a/1", Door::Closed, Some(true));
    assert_eq!(opened(&second(&mut world)), Some(slot("bank-a/2")));
}

#[test]
fn a_first_deposit_that_came_to_nothing_is_in_nobodys_way() {
    let (mut world, _) = first_scanned();
    world.door("bank-a/1", Door::Open, Some(false));
    world.door("bank-a/1", Door::Closed, Some(false));
    assert_eq!(opened(&second(&mut world)), Some(slot("bank-a/2")));

    let (mut world, command) = first_scanned();
    world.result("bank-a", &command, Done::Failed);
    assert_eq!(opened(&second(&mut world)), Some(slot("bank-a/2")));

    let (mut world, _) = first_scanned();
    world.skip(9_999);
    assert_eq!(opened(&second(&mut world)), None);
    world.skip(1);
    let place = opened(&second(&mut world));
    assert_eq!(place, Some(slot("bank-a/2")), "its end needs no tick");
}

#[test]
fn after_the_alarm_an_open_door_blocks_nobody() {
    let (mut world, _) = first_scanned();
    world.door("bank-a/1", Door::Open, Some(false));
    world.skip(119_999);
    assert_eq!(opened(&second(&mut world)), None);
    assert!(text(&world.pass(1)).contains("close compartment 1"));
    world.reload();
    assert_eq!(opened(&second(&mut world)), Some(slot("bank-a/2")));
    world.door("bank-a/2", Door::Open, Some(false));
    world.door("bank-a/1", Door::Closed, Some(true));
    world.door("bank-a/2", Door::Closed, Some(true));
    assert_eq!(
        (world.stage("p1"), world.stage("p2")),
        ("deposited", "deposited")
    );
}

#[test]
fn another_bank_is_not_concerned() {
    let (mut world, _) = first_scanned();
    world.expect(parcel("q1", "bank-b"));
    world.scan("keypad-b", "badge");
    assert!(opened(&world.scan("keypad-b", "q1")).is_some());
}
