//! Collection: the code, the door, the grace.

use estate::command::CommandState;
use estate::{DeviceEvent, Happening, Input};
use firmware_protocols::Form;
use firmware_protocols::event::{Done, Door};

use crate::common::*;

#[test]
fn the_code_opens_the_own_compartment_and_an_empty_one_is_collected() {
    let mut world = World::new();
    let (first, _) = world.bring("p1");
    let (second, code) = world.bring("p2");
    assert_ne!(first, second);
    let outcome = world.key("bank-a", &code);
    assert_eq!(opened(&outcome), Some(second.clone()));
    assert!(text(&outcome).contains("Compartment 2"));
    assert_eq!(world.stage("p2"), "collecting");
    world.door("bank-a/2", Door::Open, Some(true));
    let outcome = world.door("bank-a/2", Door::Closed, Some(false));
    assert!(text(&outcome).contains("thank you"));
    assert_eq!(world.stage("p2"), "collected");
    assert_eq!(world.stage("p1"), "deposited");
    assert!(world.compartment("bank-a/2").is_free());
    let report = world.reports.last().unwrap();
    assert_eq!(
        (report.state.word(), report.compartment),
        ("collected", Some(2))
    );
}

#[test]
fn no_shown_text_or_trace_ever_holds_a_code() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    for outcome in [world.key("bank-a", &code), world.key("bank-a", "000000")] {
        assert!(
            shown(&outcome)
                .iter()
                .all(|(_, _, text)| !text.contains(&code))
        );
    }
    assert!(
        world
            .traces
            .iter()
            .all(|t| !format!("{t:?}").contains(&code))
    );
    assert!(!format!("{:?}", world.estate).contains(&code));
}

#[test]
fn before_the_deposit_the_code_is_told_to_come_back_and_is_not_counted_as_wrong() {
    let mut world = World::new();
    let code = world.expect(parcel("p1", "bank-a"));
    for _ in 0..20 {
        assert!(text(&world.key("bank-a", &code)).contains("not here yet"));
    }
    assert_eq!(world.estate.keypads().count(), 0);
}

#[test]
fn still_occupied_means_still_deposited_and_the_code_stays_good() {
    let mut world = World::new();
    let (place, code) = world.bring("p1");
    world.key("bank-a", &code);
    world.door("bank-a/1", Door::Open, Some(true));
    let outcome = world.door("bank-a/1", Door::Closed, Some(true));
    assert!(text(&outcome).contains("not empty"));
    assert_eq!(world.stage("p1"), "deposited");
    assert_eq!(world.take(&code), place);
    assert_eq!(world.stage("p1"), "collected");
}

#[test]
fn the_code_opens_again_within_the_grace_and_is_dead_after_it() {
    let mut world = World::new();
    let (place, code) = world.bring("p1");
    world.take(&code);
    world.pass(119_999);
    let outcome = world.key("bank-a", &code);
    assert_eq!(opened(&outcome), Some(place));
    assert_eq!(world.stage("p1"), "collected");
    world.door("bank-a/1", Door::Open, Some(false));
    world.door("bank-a/1", Door::Closed, Some(false));
    world.skip(1);
    let outcome = world.key("bank-a", &code);
    assert_eq!(opened(&outcome), None);
    assert!(text(&outcome).contains("not good any more"));
    assert_eq!(world.estate.keypads().next().unwrap().wrong, 1);
    assert_eq!(
        world.reports.len(),
        3,
        "expected, deposited, collected: once each"
    );
}

#[test]
fn the_grace_survives_a_restart() {
    let mut world = World::new();
    let (place, code) = world.bring("p1");
    world.take(&code);
    world.reload();
    world.pass(60_000);
    assert_eq!(opened(&world.key("bank-a", &code)), Some(place));
}

#[test]
fn an_unanswered_command_leaves_the_parcel_where_it_is_and_typing_again_makes_a_new_one() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    let first = open_id(&world.key("bank-a", &code));
    let again = opens(&world.pass(9_999));
    assert!(again.iter().all(|(_, command)| *command == first));
    assert_eq!(world.stage("p1"), "collecting");
    assert_eq!(opens(&world.pass(1)), []);
    assert_eq!(world.stage("p1"), "deposited");
    assert_eq!(world.command_state(&first), CommandState::Expired);
    world.reload();
    assert_eq!(opens(&world.pass(1)), [], "a restart fires nothing");
    let second = open_id(&world.key("bank-a", &code));
    assert_ne!(first, second);
}

#[test]
fn typing_again_while_it_opens_supersedes_the_first_command() {
    let mut world = World::new();
    let (place, code) = world.bring("p1");
    let first = open_id(&world.key("bank-a", &code));
    world.skip(8_000);
    let outcome = world.key("bank-a", &code);
    assert_eq!(opened(&outcome), Some(place));
    world.pass(2_000);
    assert_eq!(world.command_state(&first), CommandState::Expired);
    assert_eq!(world.stage("p1"), "collecting");
    world.door("bank-a/1", Door::Open, Some(true));
    world.key("bank-a", &code);
    world.pass(10_000);
    assert_eq!(world.stage("p1"), "collecting", "the door is open");
    world.door("bank-a/1", Door::Closed, Some(false));
    assert_eq!(world.stage("p1"), "collected");
}

#[test]
fn a_door_that_says_open_never_refuses_an_open() {
    let mut world = World::new();
    let (place, code) = world.bring("p1");
    world.door("bank-a/1", Door::Open, None);
    assert_eq!(opened(&world.key("bank-a", &code)), Some(place));
}

#[test]
fn a_door_seen_open_late_takes_the_collection_up_again() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    world.key("bank-a", &code);
    world.pass(10_000);
    world.skip(60_000);
    world.door("bank-a/1", Door::Open, Some(true));
    world.door("bank-a/1", Door::Closed, Some(false));
    assert_eq!(world.stage("p1"), "collected");
}

#[test]
fn a_technicians_door_does_not_take_a_collection_up() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    world.key("bank-a", &code);
    world.pass(10_000);
    let by_hand = Input::OpenByHand {
        slot: slot("bank-a/1"),
        operator: "li".into(),
        reason: "door jams".into(),
    };
    world.handle(by_hand);
    world.door("bank-a/1", Door::Open, Some(true));
    world.door("bank-a/1", Door::Closed, Some(false));
    assert_eq!(world.stage("p1"), "deposited");
    assert_eq!(world.steps("p1").last(), Some(&"seen-empty"));
}

#[test]
fn failed_and_refused_bring_the_parcel_back_and_the_code_stays_good() {
    for outcome in [Done::Failed, Done::Refused] {
        let mut world = World::new();
        let (place, code) = world.bring("p1");
        let command = open_id(&world.key("bank-a", &code));
        let shown = world.result("bank-a", &command, outcome);
        assert!(text(&shown).contains("did not open"));
        assert_eq!(world.stage("p1"), "deposited");
        assert_eq!(
            opened(&world.key("bank-a", &code)),
            Some(place),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_sensor_that_turns_empty_is_evidence_even_if_the_open_door_was_not_seen() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    world.key("bank-a", &code);
    world.door("bank-a/1", Door::Closed, Some(true));
    assert_eq!(
        world.stage("p1"),
        "collecting",
        "a report before the bolt moves"
    );
    world.door("bank-a/1", Door::Closed, Some(false));
    assert_eq!(world.stage("p1"), "collected");
}

#[test]
fn without_a_sensor_closing_after_open_is_collected() {
    let mut world = World::new();
    world.courier("badge", i64::MAX);
    let code = world.expect(parcel("p1", "bank-b"));
    world.scan("keypad-b", "badge");
    let place = opened(&world.scan("keypad-b", "p1")).unwrap().to_string();
    world.door(&place, Door::Open, None);
    world.door(&place, Door::Closed, None);
    let outcome = world.key("keypad-b", &code);
    assert_eq!(opened(&outcome), Some(slot(&place)));
    world.door(&place, Door::Closed, None);
    assert_eq!(world.stage("p1"), "collecting", "not seen open yet");
    world.door(&place, Door::Open, None);
    let outcome = world.door(&place, Door::Closed, None);
    assert_eq!(world.stage("p1"), "collected");
    assert_eq!(
        shown(&outcome)[0].0,
        "keypad-b",
        "the resident stands at the keypad"
    );
}

#[test]
fn at_a_desk_the_code_hands_over_at_once_and_has_no_grace() {
    let mut world = World::new();
    world.courier("badge", i64::MAX);
    let code = world.expect(parcel("p1", "desk-c"));
    world.scan("desk-c", "badge");
    world.scan("desk-c", "p1");
    let outcome = world.key("desk-c", &code);
    assert_eq!(opened(&outcome), None);
    assert!(text(&outcome).contains("hand the parcel over"));
    assert_eq!(world.stage("p1"), "collected");
    assert_eq!(world.reports.last().unwrap().desk, Some(id("desk-c")));
    assert!(text(&world.key("desk-c", &code)).contains("not good any more"));
}

#[test]
fn a_key_press_that_arrives_late_opens_nothing_unless_the_clock_is_unknown() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    let press = |world: &World, seq, age: i64| {
        let what = Happening::Keypad {
            typed: typed(&world.layout, &id("bank-a"), &code),
            opened: None,
        };
        Input::Event(DeviceEvent {
            device: id("bank-a"),
            form: Form::Json,
            boot: 2,
            seq,
            at_ms: world.now.wall_ms - age,
            said_ms: Some(world.now.wall_ms - age),
            fingerprint: seq,
            what,
        })
    };
    let outcome = world.handle(press(&world, 1, 120_001));
    assert!(text(&outcome).contains("too late"));
    assert_eq!(opened(&outcome), None);
    assert_eq!(world.estate.keypads().count(), 0);
    let input = press(&world, 2, 120_000);
    assert!(opened(&world.handle(input)).is_some());
    world.now.quality = estate::TimeQuality::Unknown;
    let input = press(&world, 3, 400_000_000);
    assert!(opened(&world.handle(input)).is_some());
}

#[test]
fn clock_jumps_neither_kill_a_code_nor_end_a_hand_over() {
    for jump in [-31_536_000_000, 31_536_000_000] {
        let mut world = World::new();
        let (_, code) = world.bring("p1");
        world.now.wall_ms += jump;
        world.pass(1_000);
        world.key("bank-a", &code);
        world.now.wall_ms -= jump;
        world.pass(1_000);
        assert_eq!(world.stage("p1"), "collecting");
        world.door("bank-a/1", Door::Open, Some(true));
        world.now.wall_ms += jump;
        world.pass(1_000);
        world.door("bank-a/1", Door::Closed, Some(false));
        assert_eq!(world.stage("p1"), "collected");
        world.now.wall_ms += jump;
        assert!(
            opened(&world.key("bank-a", &code)).is_some(),
            "the grace runs on ticks"
        );
    }
}

#[test]
fn a_device_that_uses_its_boot_number_twice_is_told_to_people_waiting() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    let again = DeviceEvent {
        device: id("bank-a"),
        form: Form::Json,
        boot: 1,
        seq: 1,
        at_ms: world.now.wall_ms,
        said_ms: None,
        fingerprint: 999,
        what: Happening::Keypad {
            typed: typed(&world.layout, &id("bank-a"), &code),
            opened: None,
        },
    };
    let outcome = world.handle(Input::Event(again));
    assert!(matches!(outcome.verdict, estate::Verdict::Quarantine(_)));
    assert!(text(&outcome).contains("Device fault"));
    assert_eq!(opened(&outcome), None);
}

#[test]
fn finished_parcels_and_settled_commands_are_put_away_but_only_once_written() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    world.take(&code);
    let keep = world.layout.rules.finished_keep_ms;
    world.pass(keep - 1);
    assert!(world.estate.knows_parcel("p1"));
    world.pass(1);
    assert!(!world.estate.knows_parcel("p1"));
    assert!(!world.snapshot.parcels.contains_key("p1"));
    assert_eq!(world.estate.commands().count(), 0);
    assert_eq!(world.estate.codes().count(), 0);

    world.bring("p2");
    let code = world.codes["p2"].clone();
    world.hold = true;
    world.key("bank-a", &code);
    world.pass(10 * DAY_MS);
    let changes = world.commit();
    let expired = changes.iter().any(|change| {
        matches!(change, estate::Change::Command(row) if row.state == CommandState::Expired)
    });
    assert!(expired, "its end is written before it leaves the memory");
}

#[test]
fn a_parcels_end_is_written_before_it_leaves_the_memory() {
    let mut world = World::rules(|rules| rules.finished_keep_ms = 0);
    world.expect(parcel("p1", "bank-a"));
    world.hold = true;
    let parcel = "p1".to_string();
    world.cloud(cloud_protocol::Downlink::ParcelCancelled { parcel });
    world.pass(0);
    let written = |changes: Vec<estate::Change>| {
        let words = changes.into_iter().filter_map(|change| match change {
            estate::Change::Parcel(row) => Some(row.stage.word()),
            estate::Change::ParcelArchived(_) => Some("archived"),
            _ => None,
        });
        words.collect::<Vec<_>>()
    };
    assert_eq!(written(world.commit()), ["cancelled"]);
    world.pass(0);
    assert_eq!(written(world.commit()), ["archived"]);
}

#[test]
fn a_key_press_delivered_again_opens_nothing_and_counts_nothing() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    for (seq, digits) in [(1, code.as_str()), (2, "999999999")] {
        let event = DeviceEvent {
            device: id("bank-a"),
            form: Form::Json,
            boot: 2,
            seq,
            at_ms: world.now.wall_ms,
            said_ms: None,
            fingerprint: seq,
            what: Happening::Keypad {
                typed: typed(&world.layout, &id("bank-a"), digits),
                opened: None,
            },
        };
        world.handle(Input::Event(event.clone()));
        let before = world.snapshot.clone();
        for _ in 0..10 {
            let outcome = world.handle(Input::Event(event.clone()));
            assert_eq!(outcome.verdict, estate::Verdict::Duplicate);
            assert_eq!(outcome.effects, []);
        }
        assert_eq!(world.snapshot.keypads, before.keypads);
        assert_eq!(world.snapshot.parcels, before.parcels);
        assert_eq!(world.snapshot.commands, before.commands);
    }
}

#[test]
fn a_report_of_empty_before_the_bolt_moves_is_not_yet_a_collection() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    // The sensor has said empty all along: it saw nothing turn.
    world.door("bank-a/1", Door::Closed, Some(false));
    let command = open_id(&world.key("bank-a", &code));
    world.door("bank-a/1", Door::Closed, Some(false));
    assert_eq!(world.stage("p1"), "collecting");
    world.result("bank-a", &command, Done::Done);
    let outcome = world.door("bank-a/1", Door::Closed, Some(false));
    assert!(text(&outcome).contains("is empty: please call the office"));
    assert_eq!(world.stage("p1"), "deposited", "nobody has taken it");
}

#[test]
fn what_was_gone_before_is_collected_by_nobody() {
    for reload in [false, true] {
        let mut world = World::new();
        let (_, code) = world.bring("p1");
        world.door("bank-a/1", Door::Open, Some(true));
        world.door("bank-a/1", Door::Closed, Some(false));
        assert_eq!(world.steps("p1").last(), Some(&"seen-empty"));
        if reload {
            world.reload();
        }
        assert_eq!(opened(&world.key("bank-a", &code)), Some(slot("bank-a/1")));
        world.door("bank-a/1", Door::Open, None);
        world.door("bank-a/1", Door::Closed, Some(false));
        assert_eq!(world.stage("p1"), "deposited");
        // The sensor has seen it again: it was there all along.
        world.key("bank-a", &code);
        world.door("bank-a/1", Door::Open, Some(true));
        world.door("bank-a/1", Door::Closed, Some(false));
        assert_eq!(world.stage("p1"), "collected");
    }
}

#[test]
fn what_is_left_inside_after_opening_again_keeps_the_code_good() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    world.take(&code);
    world.pass(100_000);
    world.key("bank-a", &code);
    world.door("bank-a/1", Door::Open, Some(false));
    let outcome = world.door("bank-a/1", Door::Closed, Some(true));
    assert!(text(&outcome).contains("your code stays good"));
    assert_eq!(world.steps("p1").last(), Some(&"left-inside"));
    world.reload();
    world.pass(119_000);
    assert_eq!(opened(&world.key("bank-a", &code)), Some(slot("bank-a/1")));
}

#[test]
fn what_the_sensor_said_before_the_door_closed_is_forgotten() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    world.key("bank-a", &code);
    world.door("bank-a/1", Door::Open, Some(true));
    world.door("bank-a/1", Door::Closed, None);
    assert_eq!(world.stage("p1"), "collected");
    assert_eq!(world.compartment("bank-a/1").occupied, None);
}

#[test]
fn the_grace_is_over_once_somebody_elses_parcel_was_in_the_compartment() {
    let mut world = World::new();
    let (_, first) = world.bring("p1");
    world.take(&first);
    for name in ["p2", "p3", "p4"] {
        world.bring(name);
    }
    let (place, second) = world.bring("p5");
    assert_eq!(place, slot("bank-a/1"), "the one in its grace comes last");
    world.skip(1_000);
    world.take(&second);
    world.reload();
    let outcome = world.key("bank-a", &first);
    assert_eq!(opened(&outcome), None, "what may lie there is another's");
    assert!(text(&outcome).contains("in use again"));
    assert_eq!(opened(&world.key("bank-a", &second)), Some(place));
}
