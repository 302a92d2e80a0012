//! The ledger of open commands, and sending them again within their time.

use cloud_protocol::Downlink;
use estate::command::{CommandRow, CommandState};
use estate::{Effect, Input, Outcome};
use firmware_protocols::Command;
use firmware_protocols::event::{Done, Door};

use crate::common::*;

fn row(world: &World, command: &str) -> CommandRow {
    let row = world.estate.commands().find(|row| row.id == command);
    row.expect("the command is kept").clone()
}

fn sent(world: &mut World, command: &str) {
    world.handle(Input::CommandSent {
        command: command.into(),
    });
}

/// A parcel that is being collected from bank-a/1: its code and the command.
fn collecting() -> (World, String, String) {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    let command = open_id(&world.key("bank-a", &code));
    (world, code, command)
}

/// The open commands of an outcome, whole.
fn orders(outcome: &Outcome) -> Vec<Command> {
    let all = outcome.effects.iter().map(|effect| {
        let Effect::Command { command, .. } = effect;
        command.clone()
    });
    all.filter(|command| command.id.starts_with("o-")).collect()
}

#[test]
fn its_whole_way_with_all_times() {
    let (mut world, _, command) = collecting();
    let start = world.now.wall_ms;
    assert_eq!(row(&world, &command).state, CommandState::Requested);
    world.skip(100);
    sent(&mut world, &command);
    assert_eq!(row(&world, &command).state, CommandState::Sent);
    world.reload();
    world.skip(100);
    world.result("bank-a", &command, Done::Done);
    assert_eq!(row(&world, &command).state, CommandState::Done);
    world.reload();
    world.skip(100);
    world.door("bank-a/1", Door::Open, Some(true));
    assert_eq!(row(&world, &command).state, CommandState::Opened);
    world.reload();
    world.skip(100);
    world.door("bank-a/1", Door::Closed, Some(false));
    world.reload();
    let row = row(&world, &command);
    assert_eq!(row.state, CommandState::Closed);
    assert_eq!(row.at_ms, start);
    let times = (row.sent_ms, row.opened_ms, row.closed_ms);
    assert_eq!(
        times,
        (Some(start + 100), Some(start + 300), Some(start + 400))
    );
}

#[test]
fn one_that_never_left_expires_and_one_that_wasnt_answered_is_unknown() {
    for (leaves, end) in [
        (false, CommandState::Expired),
        (true, CommandState::Unknown),
    ] {
        let (mut world, _, command) = collecting();
        if leaves {
            sent(&mut world, &command);
        }
        world.reload();
        world.pass(10_000);
        assert_eq!(row(&world, &command).state, end);
        assert_eq!(world.stage("p1"), "deposited");
    }
}

#[test]
fn a_late_word_that_it_left_changes_only_the_time() {
    let (mut world, _, command) = collecting();
    world.pass(10_000);
    sent(&mut world, &command);
    let ended = row(&world, &command);
    assert_eq!(ended.state, CommandState::Expired);
    assert_eq!(ended.sent_ms, Some(world.now.wall_ms));
    world.skip(1_000);
    sent(&mut world, &command);
    assert_eq!(row(&world, &command), ended, "the first time counts");
    sent(&mut world, "o-unknown");
}

#[test]
fn a_door_seen_open_late_settles_it_all_the_same() {
    let (mut world, _, command) = collecting();
    sent(&mut world, &command);
    world.pass(10_000);
    world.skip(60_000);
    world.door("bank-a/1", Door::Open, Some(true));
    assert_eq!(row(&world, &command).state, CommandState::Opened);
    world.door("bank-a/1", Door::Closed, Some(false));
    assert_eq!(row(&world, &command).state, CommandState::Closed);
}

#[test]
fn a_technicians_open_is_settled_by_the_door_too() {
    for late in [false, true] {
        let mut world = World::new();
        let outcome = world.handle(Input::OpenByHand {
            slot: slot("bank-a/4"),
            operator: "li".into(),
            reason: "cleaning".into(),
        });
        let command = open_id(&outcome);
        if late {
            world.pass(10_000);
        }
        world.door("bank-a/4", Door::Open, None);
        assert_eq!(row(&world, &command).state, CommandState::Opened);
        world.reload();
        world.door("bank-a/4", Door::Closed, None);
        assert_eq!(row(&world, &command).state, CommandState::Closed);
        assert!(row(&world, &command).closed_ms.is_some());
    }
}

#[test]
fn a_door_without_a_recent_command_settles_nothing() {
    let (mut world, _, command) = collecting();
    world.pass(10_000);
    world.skip(120_000);
    world.door("bank-a/1", Door::Open, None);
    assert_eq!(row(&world, &command).state, CommandState::Expired);
}

#[test]
fn a_repeated_id_that_is_refused_undoes_nothing() {
    let (mut world, _, command) = collecting();
    world.door("bank-a/1", Door::Open, Some(true));
    world.result("bank-a", &command, Done::Refused);
    assert_eq!(world.stage("p1"), "collecting");
    assert_eq!(row(&world, &command).state, CommandState::Opened);

    // The door's word comes after the refusal.
    let (mut world, _, command) = collecting();
    assert_eq!(orders(&world.pass(3_000)).len(), 1);
    world.result("bank-a", &command, Done::Refused);
    assert_eq!(world.stage("p1"), "collecting", "the first may have opened");
    world.door("bank-a/1", Door::Open, Some(true));
    world.door("bank-a/1", Door::Closed, Some(false));
    assert_eq!(world.stage("p1"), "collected");
}

#[test]
fn refused_and_failed_are_final_with_their_reason() {
    for (outcome, word) in [(Done::Refused, "refused"), (Done::Failed, "failed")] {
        let (mut world, _, command) = collecting();
        world.result("bank-a", &command, outcome);
        world.reload();
        assert_eq!(row(&world, &command).state.word(), word);
        world.result("bank-a", &command, Done::Done);
        assert_eq!(row(&world, &command).state.word(), word);
        assert_eq!(orders(&world.pass(3_000)), []);
    }
}

#[test]
fn it_is_sent_again_within_its_time_with_the_same_id_and_end() {
    let (mut world, _, command) = collecting();
    let end = world.now.wall_ms + 10_000;
    assert_eq!(orders(&world.pass(2_999)), []);
    for left in [7_000, 4_000, 1_000] {
        let again = orders(&world.pass(if left == 7_000 { 1 } else { 3_000 }));
        assert_eq!(again.len(), 1);
        assert_eq!(again[0].id, command);
        assert_eq!((again[0].expires, again[0].ttl_ms), (end, left));
        assert_eq!(orders(&world.pass(0)), [], "once each time");
        if left == 4_000 {
            sent(&mut world, &command);
        }
    }
    assert_eq!(orders(&world.pass(1_000)), []);
    assert_eq!(orders(&world.pass(60_000)), []);
    assert_eq!(world.compartment("bank-a/1").openings, 2, "one in, one out");
}

#[test]
fn the_end_stays_the_same_when_the_clock_jumps() {
    let (mut world, _, command) = collecting();
    let end = world.now.wall_ms + 10_000;
    world.now.wall_ms += 31_536_000_000;
    let again = orders(&world.pass(3_000));
    assert_eq!(
        (again[0].id.as_str(), again[0].expires),
        (command.as_str(), end)
    );
    assert_eq!(again[0].ttl_ms, 7_000);
}

#[test]
fn after_a_restart_nothing_is_sent_again() {
    let (mut world, code, first) = collecting();
    world.reload();
    for _ in 0..20 {
        assert_eq!(orders(&world.pass(1_000)), []);
    }
    let again = open_id(&world.key("bank-a", &code));
    assert_ne!(again, first);
}

#[test]
fn what_was_answered_is_not_sent_again() {
    let (mut world, _, command) = collecting();
    world.result("bank-a", &command, Done::Done);
    assert_eq!(orders(&world.pass(3_000)), []);
    let (mut world, _, _) = collecting();
    world.door("bank-a/1", Door::Open, Some(true));
    assert_eq!(orders(&world.pass(3_000)), []);
}

#[test]
fn only_the_latest_command_for_a_compartment_is_sent_again() {
    let (mut world, code, first) = collecting();
    world.skip(1_000);
    let second = open_id(&world.key("bank-a", &code));
    assert_ne!(first, second);
    let again = orders(&world.pass(3_000));
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].id, second);
}

#[test]
fn a_deposit_that_was_cancelled_meanwhile_is_not_sent_again() {
    let mut world = World::new();
    world.courier("badge", i64::MAX);
    world.expect(parcel("p1", "bank-a"));
    world.scan("bank-a", "badge");
    world.scan("bank-a", "p1");
    world.cloud(Downlink::ParcelCancelled {
        parcel: "p1".into(),
    });
    assert_eq!(orders(&world.pass(3_000)), []);
}

#[test]
fn a_technicians_and_a_reopening_command_are_sent_again_too() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    world.take(&code);
    let reopening = open_id(&world.key("bank-a", &code));
    let by_hand = open_id(&world.handle(Input::OpenByHand {
        slot: slot("bank-a/4"),
        operator: "li".into(),
        reason: "cleaning".into(),
    }));
    let mut again: Vec<_> = orders(&world.pass(3_000))
        .into_iter()
        .map(|command| command.id)
        .collect();
    again.sort();
    let mut both = vec![reopening, by_hand];
    both.sort();
    assert_eq!(again, both);
}

#[test]
fn no_open_is_refused_because_a_sensor_says_open() {
    let mut world = World::new();
    world.courier("badge", i64::MAX);
    world.expect(parcel("p1", "bank-a"));
    world.scan("bank-a", "badge");
    let place = opened(&world.scan("bank-a", "p1")).unwrap();
    world.door("bank-a/1", Door::Open, None);
    assert_eq!(
        opened(&world.scan("bank-a", "p1")),
        Some(place.clone()),
        "deposit"
    );
    world.door("bank-a/1", Door::Closed, Some(true));
    let code = world.codes["p1"].clone();
    world.door("bank-a/1", Door::Open, None);
    assert_eq!(
        opened(&world.key("bank-a", &code)),
        Some(place.clone()),
        "collection"
    );
    world.door("bank-a/1", Door::Open, None);
    assert_eq!(
        opened(&world.key("bank-a", &code)),
        Some(place.clone()),
        "typed again"
    );
    world.door("bank-a/1", Door::Closed, Some(false));
    world.door("bank-a/1", Door::Open, None);
    assert_eq!(
        opened(&world.key("bank-a", &code)),
        Some(place),
        "within the grace"
    );
    let by_hand = world.handle(Input::OpenByHand {
        slot: slot("bank-a/1"),
        operator: "li".into(),
        reason: "look".into(),
    });
    assert!(opened(&by_hand).is_some(), "a technician");
}
