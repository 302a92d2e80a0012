//! Deposits: badge, waybill, compartment, door.

use cloud_protocol::downlink::{ExpectedParcel, Size, Zone};
use estate::TimeQuality;
use estate::command::CommandState;
use estate::parcel::Stage;
use firmware_protocols::event::{Done, Door};

use crate::common::*;

fn with_courier() -> World {
    let mut world = World::new();
    world.courier("badge", EVENING_MS + 3_600_000);
    world
}

/// A courier has scanned p1 and a compartment was told to open: where, and the command.
fn scanned() -> (World, String, String) {
    let mut world = with_courier();
    world.expect(parcel("p1", "bank-a"));
    world.scan("bank-a", "badge");
    let outcome = world.scan("bank-a", "p1");
    let place = opened(&outcome).unwrap().to_string();
    let command = open_id(&outcome);
    (world, place, command)
}

#[test]
fn a_waybill_needs_a_badge_first() {
    let mut world = with_courier();
    world.expect(parcel("p1", "bank-a"));
    let outcome = world.scan("bank-a", "p1");
    assert!(text(&outcome).contains("badge first"));
    assert_eq!(world.stage("p1"), "expected");
}

#[test]
fn a_badge_and_a_waybill_open_the_smallest_compartment_that_fits() {
    let (mut world, place, command) = scanned();
    assert_eq!(place, "bank-a/1");
    assert_eq!(world.stage("p1"), "depositing");
    assert_eq!(world.compartment(&place).reserved.as_deref(), Some("p1"));

    world.door(&place, Door::Open, Some(false));
    assert_eq!(world.command_state(&command), CommandState::Opened);
    let outcome = world.door(&place, Door::Closed, Some(true));
    assert!(text(&outcome).contains("Stored in compartment 1"));
    assert_eq!(world.stage("p1"), "deposited");
    let report = world.reports.last().unwrap();
    assert_eq!(report.state.word(), "deposited");
    assert_eq!(
        (report.bank.clone(), report.compartment),
        (Some(id("bank-a")), Some(1))
    );
    assert_eq!(report.code, None);
    let steps = [
        "announced",
        "code-issued",
        "deposit-started",
        "opened",
        "deposited",
    ];
    assert_eq!(world.steps("p1"), steps);
}

#[test]
fn zone_and_size_are_respected_and_a_larger_one_is_taken_when_the_small_are_gone() {
    let mut world = World::new();
    for (name, size, zone, place) in [
        ("m", Size::M, Zone::Ambient, "bank-a/3"),
        ("c", Size::S, Zone::Chilled, "bank-a/5"),
        ("s1", Size::S, Zone::Ambient, "bank-a/1"),
        ("s2", Size::S, Zone::Ambient, "bank-a/2"),
        ("s3", Size::S, Zone::Ambient, "bank-a/4"),
    ] {
        let mut p = parcel(name, "bank-a");
        (p.size, p.zone) = (size, zone);
        world.expect(p);
        assert_eq!(world.put(name), slot(place), "{name}");
    }
    world.expect(parcel("s4", "bank-a"));
    let outcome = world.scan("bank-a", "s4");
    assert!(text(&outcome).contains("No free compartment"));
    assert_eq!(opened(&outcome), None);
    assert_eq!(world.stage("s4"), "expected");
    assert_eq!(world.steps("s4").last(), Some(&"no-compartment"));
}

#[test]
fn wear_is_spread_evenly() {
    let mut world = World::new();
    let mut places = Vec::new();
    for n in 0..4 {
        let (place, code) = world.bring(&format!("p{n}"));
        places.push(place.compartment);
        world.take(&code);
        world.pass(120_000);
    }
    // Each is opened twice for a parcel that comes and goes.
    assert_eq!(places, [1, 2, 1, 2]);
}

#[test]
fn a_compartment_that_its_last_code_still_opens_is_given_away_last() {
    let mut world = World::new();
    let (_, first) = world.bring("p1");
    world.take(&first);
    // Number 1 is free and as worn as number 2 would be after; but its grace runs.
    assert_eq!(world.bring("p2").0, slot("bank-a/2"));
    for name in ["p3", "p4"] {
        world.bring(name);
    }
    assert_eq!(world.bring("p5").0, slot("bank-a/1"));
    let outcome = world.key("bank-a", &first);
    assert!(text(&outcome).contains("in use again"));
    assert_eq!(opened(&outcome), None);
}

#[test]
fn closed_and_empty_gives_the_reservation_back() {
    let (mut world, place, _) = scanned();
    world.door(&place, Door::Open, Some(false));
    let outcome = world.door(&place, Door::Closed, Some(false));
    assert!(text(&outcome).contains("Nothing was put in"));
    assert_eq!(world.stage("p1"), "expected");
    assert!(world.compartment(&place).is_free());
    assert!(opened(&world.scan("bank-a", "p1")).is_some());
}

#[test]
fn without_a_sensor_closing_is_enough() {
    let mut world = with_courier();
    world.expect(parcel("p1", "bank-b"));
    world.scan("keypad-b", "badge");
    let outcome = world.scan("keypad-b", "p1");
    let place = opened(&outcome).unwrap().to_string();
    assert_eq!(shown(&outcome)[0].0, "keypad-b");
    world.door(&place, Door::Open, None);
    // A reading of a bank that has no sensor means nothing.
    let outcome = world.door(&place, Door::Closed, Some(false));
    assert_eq!(world.stage("p1"), "deposited");
    assert_eq!(
        shown(&outcome)[0].0,
        "keypad-b",
        "the courier stands at the scanner"
    );
}

#[test]
fn a_state_report_before_the_bolt_moves_ends_nothing() {
    let (mut world, place, _) = scanned();
    world.door(&place, Door::Closed, Some(false));
    assert_eq!(world.stage("p1"), "depositing");
    world.door(&place, Door::Open, Some(false));
    world.door(&place, Door::Closed, Some(true));
    assert_eq!(world.stage("p1"), "deposited");
}

#[test]
fn a_sensor_that_turns_occupied_is_evidence_even_if_the_open_door_was_not_seen() {
    let (mut world, place, _) = scanned();
    world.door(&place, Door::Closed, Some(false));
    world.door(&place, Door::Closed, Some(true));
    assert_eq!(world.stage("p1"), "deposited");

    let (mut world, place, command) = scanned();
    world.door(&place, Door::Closed, Some(true));
    assert_eq!(
        world.stage("p1"),
        "depositing",
        "it may have been occupied all along"
    );
    world.result("bank-a", &command, Done::Done);
    world.door(&place, Door::Closed, Some(true));
    assert_eq!(world.stage("p1"), "deposited");
}

#[test]
fn an_unanswered_command_ends_with_its_time_and_the_parcel_is_expected_again() {
    let (mut world, place, command) = scanned();
    world.pass(9_999);
    assert_eq!(world.stage("p1"), "depositing");
    let outcome = world.pass(1);
    assert_eq!(world.stage("p1"), "expected");
    assert_eq!(opens(&outcome), []);
    assert_eq!(world.command_state(&command), CommandState::Expired);
    assert!(world.compartment(&place).is_free());
}

#[test]
fn a_door_seen_open_late_takes_the_deposit_up_again() {
    let (mut world, place, command) = scanned();
    world.pass(10_000);
    world.skip(119_999);
    world.door(&place, Door::Open, Some(false));
    assert_eq!(world.stage("p1"), "depositing");
    world.door(&place, Door::Closed, Some(true));
    assert_eq!(world.stage("p1"), "deposited");
    assert_eq!(
        world.command_state(&command),
        CommandState::Closed,
        "the door knows better"
    );
}

#[test]
fn a_door_seen_open_too_late_is_only_noted() {
    let (mut world, place, _) = scanned();
    world.pass(10_000);
    world.skip(120_000);
    world.door(&place, Door::Open, Some(false));
    assert_eq!(world.stage("p1"), "expected");
    world.door(&place, Door::Closed, Some(true));
    world.scan("bank-a", "badge");
    let other = opened(&world.scan("bank-a", "p1")).unwrap();
    assert_ne!(other, slot(&place), "what is occupied isn't used");
}

#[test]
fn a_failed_open_marks_the_compartment_and_the_next_scan_gets_another() {
    let (mut world, place, command) = scanned();
    let outcome = world.result("bank-a", &command, Done::Failed);
    assert!(text(&outcome).contains("did not open"));
    assert_eq!(world.stage("p1"), "expected");
    assert!(world.compartment(&place).fault.is_some());
    let outcome = world.scan("bank-a", "p1");
    assert_eq!(opened(&outcome), Some(slot("bank-a/2")));
    world.door(&place, Door::Open, Some(false));
    assert_eq!(world.compartment(&place).fault, None, "it opens after all");
}

#[test]
fn a_refused_command_marks_nothing() {
    let (mut world, place, command) = scanned();
    world.result("bank-a", &command, Done::Refused);
    assert_eq!(world.stage("p1"), "expected");
    assert_eq!(world.compartment(&place).fault, None);
}

#[test]
fn only_the_own_bank_settles_a_command() {
    let (mut world, _, command) = scanned();
    world.result("bank-b", &command, Done::Failed);
    world.result("bank-a", "o-unknown", Done::Failed);
    assert_eq!(world.command_state(&command), CommandState::Requested);
    assert_eq!(world.stage("p1"), "depositing");
}

#[test]
fn scanning_again_opens_the_same_compartment_again() {
    let (mut world, place, first) = scanned();
    world.skip(5_000);
    let outcome = world.scan("bank-a", "p1");
    assert_eq!(opened(&outcome), Some(slot(&place)));
    assert_ne!(open_id(&outcome), first);
    world.pass(5_000);
    assert_eq!(world.command_state(&first), CommandState::Expired);
    assert_eq!(world.stage("p1"), "depositing", "the newer command holds");
    world.pass(5_000);
    assert_eq!(world.stage("p1"), "expected");
}

#[test]
fn a_door_left_open_raises_the_alarm_once_at_the_exact_time() {
    let (mut world, place, _) = scanned();
    world.skip(3_000);
    world.door(&place, Door::Open, Some(false));
    assert_eq!(shown(&world.pass(119_999)), []);
    let outcome = world.pass(1);
    assert!(text(&outcome).contains("close compartment 1"));
    assert_eq!(shown(&world.pass(1)), []);
    world.reload();
    assert_eq!(shown(&world.pass(600_000)), []);
    let alarms = world
        .steps("p1")
        .iter()
        .filter(|step| **step == "door-left-open")
        .count();
    assert_eq!(alarms, 1);
    world.door(&place, Door::Closed, Some(true));
    assert_eq!(world.stage("p1"), "deposited");
}

#[test]
fn done_without_a_door_ever_seen_ends_after_the_alarm_time() {
    let (mut world, _, command) = scanned();
    world.result("bank-a", &command, Done::Done);
    world.pass(119_999);
    assert_eq!(world.stage("p1"), "depositing");
    world.pass(1);
    assert_eq!(world.stage("p1"), "expected");
}

#[test]
fn a_session_ends_and_each_scan_prolongs_it() {
    let mut world = with_courier();
    world.expect(parcel("p1", "bank-a"));
    world.expect(parcel("p2", "bank-a"));
    world.scan("bank-a", "badge");
    world.skip(179_999);
    assert!(opened(&world.scan("bank-a", "p1")).is_some());
    world.skip(179_999);
    assert!(opened(&world.scan("bank-a", "p2")).is_some());
    world.skip(180_000);
    assert!(text(&world.scan("bank-a", "p1")).contains("badge first"));
}

#[test]
fn a_session_is_of_one_point_and_does_not_survive_a_restart() {
    let mut world = with_courier();
    world.expect(parcel("p1", "bank-a"));
    world.scan("keypad-b", "badge");
    assert!(text(&world.scan("bank-a", "p1")).contains("badge first"));
    world.scan("bank-a", "badge");
    world.reload();
    assert!(text(&world.scan("bank-a", "p1")).contains("badge first"));
    world.scan("bank-a", "badge");
    assert!(opened(&world.scan("bank-a", "p1")).is_some());
}

#[test]
fn an_expired_badge_is_told_so_at_the_exact_time() {
    let mut world = with_courier();
    world.expect(parcel("p1", "bank-a"));
    world.skip(3_599_999);
    assert!(text(&world.scan("bank-a", "badge")).contains("Badge accepted"));
    world.skip(1);
    assert!(
        text(&world.scan("bank-a", "p1")).contains("badge first"),
        "it ran out meanwhile"
    );
    assert!(text(&world.scan("bank-a", "badge")).contains("Badge expired"));
    assert!(text(&world.scan("bank-a", "stranger")).contains("Not known here"));
}

#[test]
fn a_badge_is_taken_while_the_clock_is_unknown_and_the_history_says_so() {
    let mut world = with_courier();
    world.expect(parcel("p1", "bank-a"));
    world.skip(10 * DAY_MS);
    world.now.quality = TimeQuality::Unknown;
    world.scan("bank-a", "badge");
    assert!(opened(&world.scan("bank-a", "p1")).is_some());
    let entry = world
        .traces
        .iter()
        .find(|t| t.step == "deposit-started")
        .unwrap();
    assert_eq!(entry.quality, TimeQuality::Unknown);
    assert!(entry.detail.as_ref().unwrap().contains("not checked"));
}

#[test]
fn no_consent_no_locker() {
    let mut world = with_courier();
    world.expect(estate_parcel_without_consent());
    world.scan("bank-a", "badge");
    let outcome = world.scan("bank-a", "p1");
    assert!(text(&outcome).contains("No consent"));
    assert_eq!(opened(&outcome), None);
    assert_eq!(world.steps("p1").last(), Some(&"deposit-refused"));
}

fn estate_parcel_without_consent() -> ExpectedParcel {
    ExpectedParcel {
        consent: false,
        ..parcel("p1", "bank-a")
    }
}

#[test]
fn a_parcel_goes_to_its_own_point() {
    let mut world = with_courier();
    world.expect(parcel("p1", "bank-b"));
    world.scan("bank-a", "badge");
    assert!(text(&world.scan("bank-a", "p1")).contains("belongs to bank-b"));
}

#[test]
fn a_desk_takes_a_parcel_without_a_door() {
    let mut world = with_courier();
    let mut p = parcel("p1", "desk-c");
    p.consent = false;
    world.expect(p);
    world.scan("desk-c", "badge");
    let outcome = world.scan("desk-c", "p1");
    assert_eq!(opened(&outcome), None);
    assert_eq!(world.stage("p1"), "deposited");
    assert_eq!(world.reports.last().unwrap().desk, Some(id("desk-c")));
    assert!(text(&world.scan("desk-c", "p1")).contains("Registered"));
}

#[test]
fn a_stale_scan_opens_nothing() {
    let mut world = with_courier();
    world.expect(parcel("p1", "bank-a"));
    world.scan("bank-a", "badge");
    let what = estate::Happening::Scan {
        parcel: Some("p1".into()),
        badge: [0; 32],
    };
    let mut event = estate::DeviceEvent {
        device: id("bank-a"),
        form: firmware_protocols::Form::Cbor,
        boot: 9,
        seq: 1,
        at_ms: world.now.wall_ms - 120_001,
        said_ms: Some(world.now.wall_ms - 120_001),
        fingerprint: 0,
        what,
    };
    let outcome = world.handle(estate::Input::Event(event.clone()));
    assert!(text(&outcome).contains("too late"));
    assert_eq!(opened(&outcome), None);
    event.seq = 2;
    event.at_ms = world.now.wall_ms - 120_000;
    event.said_ms = Some(event.at_ms);
    assert!(opened(&world.handle(estate::Input::Event(event))).is_some());
}

#[test]
fn a_restart_in_the_middle_fires_nothing_and_the_door_still_counts() {
    let (mut world, place, _) = scanned();
    world.reload();
    assert_eq!(opens(&world.pass(1)), []);
    world.door(&place, Door::Open, Some(false));
    world.reload();
    world.door(&place, Door::Closed, Some(true));
    assert_eq!(world.stage("p1"), "deposited");
    assert!(matches!(world.full_stage("p1"), Stage::Deposited { .. }));
}

#[test]
fn what_means_nothing_is_taken_and_answered_where_a_person_waits() {
    let mut world = with_courier();
    assert_eq!(world.door("bank-a/99", Door::Open, None).effects, []);
    assert_eq!(world.result("door-1", "o-1", Done::Done).effects, []);
    assert!(text(&world.scan("door-1", "badge")).contains("no pickup point"));
    assert!(text(&world.key("door-1", "123456")).contains("no pickup point"));
    let row = world
        .estate
        .devices()
        .find(|row| row.device == id("door-1"))
        .unwrap();
    assert_eq!((row.received, row.stored), (3, 3));
}

#[test]
fn a_scan_at_another_bank_opens_nothing_where_nobody_stands() {
    let mut world = World::new();
    let announced = parcel("p1", "bank-a");
    world.expect(announced.clone());
    world.courier("badge", i64::MAX);
    world.scan("bank-a", "badge");
    world.scan("bank-a", "p1");
    world.pass(10_000);
    assert_eq!(world.stage("p1"), "expected");
    // Sent to the other bank; then the door at the first is heard, late.
    let moved = ExpectedParcel {
        point: id("bank-b"),
        ..announced
    };
    world.expect(moved);
    world.door("bank-a/1", Door::Open, Some(false));
    assert_eq!(world.stage("p1"), "depositing");
    world.scan("bank-b", "badge");
    let outcome = world.scan("bank-b", "p1");
    assert_eq!(opens(&outcome), []);
    assert!(text(&outcome).contains("belongs to bank-a"));
    world.door("bank-a/1", Door::Closed, Some(true));
    assert_eq!(world.stage("p1"), "deposited");
}
