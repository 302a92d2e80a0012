//! Parcels that nobody announced.

use cloud_protocol::Downlink;
use cloud_protocol::downlink::{ExpectedParcel, Size};
use estate::layout::Unlisted;
use estate::parcel::Stage;
use estate::parcel::{Back, Place};
use estate::{Happening, TimeQuality, Verdict};
use firmware_protocols::event::Door;

use crate::common::*;

fn with(unlisted: Unlisted) -> World {
    let mut world = World::rules(|rules| rules.unlisted = unlisted);
    world.courier("badge", i64::MAX);
    world
}

/// A courier is known at bank-a and at the desk.
fn with_courier(unlisted: Unlisted) -> World {
    let mut world = with(unlisted);
    world.scan("bank-a", "badge");
    world.scan("desk-c", "badge");
    world
}

#[test]
fn what_is_refused_is_answered_as_any_unknown_symbol() {
    let mut world = with_courier(Unlisted::Refuse);
    for point in ["bank-a", "desk-c"] {
        assert!(!world.estate.is_waybill(&world.now, &id(point), "new"));
        assert!(text(&world.scan(point, "new")).contains("Not known here"));
    }
    assert_eq!(world.stage("new"), "unknown");
}

#[test]
fn a_desk_may_take_what_a_locker_may_not() {
    let mut world = with_courier(Unlisted::Desk);
    assert!(!world.estate.is_waybill(&world.now, &id("bank-a"), "new"));
    assert!(text(&world.scan("bank-a", "new")).contains("Not known here"));
    assert!(text(&world.scan("desk-c", "new")).contains("Registered"));
    let place = Place::Desk(id("desk-c"));
    assert_eq!(world.full_stage("new"), Stage::Deposited { place });
    let row = world.estate.parcel("new").unwrap();
    assert!(row.unlisted && !row.parcel.consent);
}

#[test]
fn where_it_is_accepted_it_becomes_a_parcel_with_a_code_and_goes_on_as_any_other() {
    let mut world = with_courier(Unlisted::Accept);
    let outcome = world.scan("bank-a", "new");
    assert_eq!(
        opened(&outcome),
        Some(slot("bank-a/3")),
        "size M by the rules"
    );
    let row = world.estate.parcel("new").unwrap().clone();
    assert_eq!(
        (row.unlisted, row.parcel.recipient.as_str(), row.parcel.size),
        (true, "unlisted:new", Size::M)
    );
    assert_eq!(row.parcel.deadline, EVENING_MS + 86_400_000);
    assert!(row.parcel.consent);
    let report = world.reports.first().unwrap().clone();
    assert!(report.unlisted && report.code.is_some());
    world.reload();
    world.door("bank-a/3", Door::Open, Some(false));
    world.reload();
    world.door("bank-a/3", Door::Closed, Some(true));
    assert_eq!(world.stage("new"), "deposited");
    let code = world.codes["new"].clone();
    assert_eq!(world.take(&code), slot("bank-a/3"));
    assert_eq!(world.stage("new"), "collected");
    let steps = [
        "unlisted",
        "code-issued",
        "deposit-started",
        "opened",
        "deposited",
    ];
    assert_eq!(world.steps("new")[..5], steps);
}

#[test]
fn only_a_courier_who_has_identified_brings_one() {
    let mut world = with(Unlisted::Accept);
    assert!(!world.estate.is_waybill(&world.now, &id("bank-a"), "new"));
    assert!(text(&world.scan("bank-a", "new")).contains("Not known here"));
    world.scan("bank-a", "badge");
    assert!(world.estate.is_waybill(&world.now, &id("bank-a"), "new"));
    assert!(
        !world.estate.is_waybill(&world.now, &id("keypad-b"), "new"),
        "elsewhere"
    );
    assert!(
        !world.estate.is_waybill(&world.now, &id("door-1"), "new"),
        "no point"
    );
    world.skip(180_000);
    assert!(
        !world.estate.is_waybill(&world.now, &id("bank-a"), "new"),
        "it is over"
    );
    // The session ended between the reading of the symbol and its turn.
    let badge = cloud_protocol::badge_digest("new");
    let parcel = Some("new".to_string());
    let outcome = world.event("bank-a", Happening::Scan { parcel, badge });
    assert!(text(&outcome).contains("badge first"));
    assert_eq!(world.stage("new"), "unknown");
}

#[test]
fn a_badge_is_no_parcel_and_neither_is_what_is_no_id() {
    let mut world = with_courier(Unlisted::Accept);
    world.courier("other", 0);
    let now = world.now;
    let waybill = |symbol: &str| world.estate.is_waybill(&now, &id("bank-a"), symbol);
    assert!(!waybill("badge") && !waybill("other"));
    assert!(!waybill("") && !waybill("a\u{7}b") && !waybill(&"包".repeat(129)));
    assert!(waybill(&"包".repeat(128)));
    assert!(text(&world.scan("bank-a", "other")).contains("Badge expired"));
}

#[test]
fn two_unlisted_parcels_never_share() {
    let mut world = World::rules(|rules| {
        rules.unlisted = Unlisted::Accept;
        rules.unlisted_size = Size::S;
    });
    world.layout.banks[0].compartments.remove(0);
    world.reload();
    world.courier("badge", i64::MAX);
    world.scan("bank-a", "badge");
    let first = world.put("n1");
    let second = world.put("n2");
    let third = world.put("n3");
    assert!(first != second && second != third && first != third);
}

#[test]
fn one_without_a_compartment_is_sent_to_a_desk_which_takes_it() {
    let mut world = World::rules(|rules| {
        rules.unlisted = Unlisted::Accept;
        rules.unlisted_size = Size::L;
    });
    world.courier("badge", i64::MAX);
    world.scan("bank-a", "badge");
    assert_eq!(world.put("n1"), slot("bank-a/4"));
    assert!(text(&world.scan("bank-a", "n2")).contains("desk-c"));
    world.scan("desk-c", "badge");
    world.scan("desk-c", "n2");
    assert_eq!(world.stage("n2"), "deposited");
}

#[test]
fn one_that_is_never_put_in_ends_with_its_time_whatever_the_clock_does() {
    let mut world = with_courier(Unlisted::Accept);
    world.now.wall_ms = 86_400_000;
    world.now.quality = TimeQuality::Unknown;
    world.scan("bank-a", "new");
    world.pass(10_000);
    assert_eq!(world.stage("new"), "expected");
    world.now.wall_ms = EVENING_MS;
    world.now.quality = TimeQuality::Synchronised;
    world.reload();
    world.pass(DAY_MS - 10_001);
    assert_eq!(world.stage("new"), "expected");
    world.pass(1);
    assert_eq!(world.stage("new"), "cancelled");
    assert_eq!(world.reports.last().unwrap().state.word(), "cancelled");
    let live =
        |row: &&estate::code::CodeRow| matches!(row.state, estate::code::CodeState::Live { .. });
    assert_eq!(world.estate.codes().filter(live).count(), 0);
}

#[test]
fn nothing_is_made_of_a_scan_that_must_wait() {
    let mut world = with_courier(Unlisted::Accept);
    world.expect(parcel("p1", "bank-a"));
    world.scan("bank-a", "p1");
    assert!(text(&world.scan("bank-a", "new")).contains("first parcel into 1"));
    assert_eq!(world.stage("new"), "unknown");
}

#[test]
fn the_list_of_parcels_stays_bounded() {
    let mut world = with_courier(Unlisted::Accept);
    world.expect(parcel("p0", "bank-a"));
    let row = world.estate.parcel("p0").unwrap().clone();
    for n in 0..estate::announce::PARCELS_MAX {
        let mut row = row.clone();
        row.parcel.parcel = format!("x{n}");
        world
            .snapshot
            .parcels
            .insert(row.parcel.parcel.clone(), row);
    }
    world.reload();
    world.scan("bank-a", "badge");
    assert!(text(&world.scan("bank-a", "new")).contains("No more parcels"));
    assert_eq!(world.stage("new"), "unknown");
}

#[test]
fn recipients_whom_nobody_knows_make_no_crowd_to_hide_in() {
    let mut world = with_courier(Unlisted::Desk);
    for n in 0..5 {
        world.scan("desk-c", &format!("new{n}"));
        assert_eq!(world.stage(&format!("new{n}")), "deposited");
    }
    world.pass(HOUR_MS + 120_000);
    let deposits = |r: &cloud_protocol::uplink::DemandReport| r.series.contains_key("deposits");
    assert!(
        !world.demand.iter().any(deposits),
        "they may be one household"
    );
}

#[test]
fn one_that_turns_out_to_be_a_return_waits_for_a_courier() {
    for point in ["bank-a", "desk-c"] {
        let mut world = with_courier(Unlisted::Accept);
        world.scan(point, "new");
        if point == "bank-a" {
            world.door("bank-a/3", Door::Open, Some(false));
            world.door("bank-a/3", Door::Closed, Some(true));
        }
        let code = world.codes["new"].clone();
        let announced = ExpectedParcel {
            return_of: Some("old".into()),
            ..parcel("new", "bank-b")
        };
        let item = Downlink::ParcelExpected(announced);
        assert_eq!(world.cloud(item), Verdict::Taken);
        world.reload();
        let row = world.estate.parcel("new").unwrap();
        assert_eq!(row.back, Some(Back::Return), "{point}");
        let outcome = world.key(point, &code);
        assert_eq!(opened(&outcome), None, "{point}: its code opens nothing");
        world.scan(point, "badge");
        world.key(point, "0");
        if point == "bank-a" {
            world.door("bank-a/3", Door::Open, Some(true));
            world.door("bank-a/3", Door::Closed, Some(false));
        }
        assert_eq!(world.stage("new"), "retrieved", "{point}");
    }
}
