//! A technician opens by hand.

use estate::command::{CommandState, Purpose};
use estate::{Input, Outcome, Verdict};
use firmware_protocols::event::Door;

use crate::common::*;

fn by_hand(world: &mut World, place: &str, reason: &str) -> Outcome {
    world.handle(Input::OpenByHand {
        slot: slot(place),
        operator: "li".into(),
        reason: reason.into(),
    })
}

#[test]
fn it_is_recorded_with_who_and_why() {
    let mut world = World::new();
    world.bring("p1");
    let outcome = by_hand(&mut world, "bank-a/1", "resident lost the phone");
    assert_eq!(outcome.verdict, Verdict::Taken);
    assert_eq!(opened(&outcome), Some(slot("bank-a/1")));
    let entry = world.traces.last().unwrap();
    assert_eq!(
        (entry.parcel.as_str(), entry.step, entry.who.as_str()),
        ("p1", "opened-by-hand", "operator li")
    );
    let command = open_id(&outcome);
    let row = world
        .estate
        .commands()
        .find(|row| row.id == command)
        .unwrap();
    assert!(
        matches!(&row.purpose, Purpose::ByHand { operator, reason } if operator == "li" && reason.contains("phone"))
    );
    world.door("bank-a/1", Door::Open, Some(true));
    assert_eq!(world.command_state(&command), CommandState::Opened);
    assert_eq!(world.stage("p1"), "deposited");
}

#[test]
fn what_does_not_exist_is_refused_with_what_does() {
    let mut world = World::new();
    for (place, word) in [
        ("bank-z/1", "banks: bank-a, bank-b"),
        ("bank-a/6", "1 to 5"),
        ("desk-c/1", "isn't a bank"),
    ] {
        let Verdict::Refused(why) = by_hand(&mut world, place, "test").verdict else {
            panic!("{place}")
        };
        assert!(why.contains(word), "{why}");
    }
    assert!(matches!(
        by_hand(&mut world, "bank-a/1", " ").verdict,
        Verdict::Refused(_)
    ));
}

#[test]
fn an_empty_compartment_leaves_no_trace_but_a_command() {
    let mut world = World::new();
    let outcome = by_hand(&mut world, "bank-a/4", "cleaning");
    assert_eq!(world.traces, []);
    let command = open_id(&outcome);
    world.pass(10_000);
    assert_eq!(world.command_state(&command), CommandState::Expired);
    world.pass(600_000);
    assert_eq!(world.estate.commands().count(), 0);
}

#[test]
fn a_keypad_gone_mad_cannot_fill_the_memory() {
    let mut world = World::new();
    for _ in 0..estate::opening::COMMANDS_MAX {
        assert_eq!(
            by_hand(&mut world, "bank-a/1", "test").verdict,
            Verdict::Taken
        );
    }
    let Verdict::Refused(why) = by_hand(&mut world, "bank-a/1", "test").verdict else {
        panic!()
    };
    assert!(why.contains("wait"));
    world.pass(610_000);
    world.pass(0);
    assert_eq!(
        by_hand(&mut world, "bank-a/1", "test").verdict,
        Verdict::Taken
    );
}
