//! Deadlines: overdue at the edge, never by a jump of the clock; taken back by an extension.

use cloud_protocol::Downlink;
use estate::input::DeskAct;
use estate::parcel::Back;
use estate::{TimeQuality, Verdict};
use firmware_protocols::event::Door;

use crate::common::*;
use crate::staff::*;

#[test]
fn past_its_deadline_a_parcel_is_overdue_and_its_code_stays_good() {
    let mut world = World::new();
    let (place, code) = world.bring("p1");
    world.pass(DAY_MS - 1);
    assert_eq!(back(&world, "p1"), None);
    world.reload();
    world.pass(1);
    assert_eq!(back(&world, "p1"), Some(Back::Overdue));
    assert_eq!(heard(&world, "p1"), here("overdue", &place.to_string()));
    let since = world.reports.last().unwrap().since;
    assert_eq!(since, EVENING_MS + 86_400_000, "since its deadline");
    assert_eq!(world.steps("p1").last(), Some(&"overdue"));
    let reports = world.reports.len();
    world.reload();
    world.pass(1_000);
    assert_eq!(world.reports.len(), reports, "told once");
    assert_eq!(world.take(&code), place);
    assert_eq!(heard(&world, "p1").0, "collected");
}

#[test]
fn an_expected_parcel_is_never_overdue() {
    let mut world = World::new();
    world.expect(parcel("p1", "bank-a"));
    world.pass(3 * DAY_MS);
    assert_eq!(heard(&world, "p1").0, "expected");
    assert_eq!(back(&world, "p1"), None);
}

#[test]
fn no_jump_of_the_clock_makes_a_parcel_overdue() {
    for jump in [YEAR_MS, -YEAR_MS] {
        let mut world = World::new();
        world.bring("p1");
        world.now.wall_ms += jump;
        world.pass(60_000);
        world.reload();
        world.pass(60_000);
        assert_eq!(back(&world, "p1"), None, "{jump}");
        world.now.wall_ms -= 2 * jump;
        world.pass(60_000);
        assert_eq!(back(&world, "p1"), None, "{jump}");
        world.now.wall_ms += jump;
        world.pass(DAY_MS - 180_001);
        assert_eq!(back(&world, "p1"), None, "{jump}");
        world.pass(1);
        assert_eq!(back(&world, "p1"), Some(Back::Overdue), "{jump}");
    }
}

#[test]
fn while_it_is_being_taken_out_a_parcel_is_left_alone() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    world.pass(DAY_MS - 1_000);
    world.key("bank-a", &code);
    world.door("bank-a/1", Door::Open, Some(true));
    world.pass(5_000);
    assert_eq!(back(&world, "p1"), None);
    world.door("bank-a/1", Door::Closed, Some(true));
    world.pass(0);
    assert_eq!(back(&world, "p1"), Some(Back::Overdue));
}

#[test]
fn a_deadline_is_repaired_when_the_clock_becomes_known() {
    let mut world = World::new();
    world.now.quality = TimeQuality::Unknown;
    world.bring("p1");
    world.pass(2 * DAY_MS);
    assert_eq!(back(&world, "p1"), None, "nobody knows the time");
    world.now.quality = TimeQuality::Estimated;
    world.now.wall_ms = EVENING_MS;
    world.pass(0);
    world.reload();
    world.pass(DAY_MS - 1);
    assert_eq!(back(&world, "p1"), None);
    world.pass(1);
    assert_eq!(back(&world, "p1"), Some(Back::Overdue));
}

#[test]
fn a_deadline_reckoned_by_a_clock_far_in_the_past_is_repaired_and_a_couriers_end_too() {
    let mut world = World::new();
    world.now.quality = TimeQuality::Estimated;
    world.now.wall_ms = 0;
    world.courier("badge", EVENING_MS + 3_600_000);
    world.bring("p1");
    world.courier("badge", EVENING_MS + 3_600_000);
    world.now.quality = TimeQuality::Synchronised;
    world.now.wall_ms = EVENING_MS;
    world.pass(HOUR_MS - 1);
    assert!(text(&world.scan("bank-a", "badge")).contains("scan a waybill"));
    world.pass(1);
    assert!(text(&world.scan("bank-a", "badge")).contains("expired"));
    assert_eq!(back(&world, "p1"), None);
    world.pass(23 * HOUR_MS);
    assert_eq!(back(&world, "p1"), Some(Back::Overdue));
}

#[test]
fn an_extension_takes_overdue_back_and_the_cloud_hears_it() {
    let mut world = World::new();
    let (place, code) = world.bring("p1");
    world.pass(DAY_MS);
    assert_eq!(heard(&world, "p1").0, "overdue");
    let earlier = extend(&mut world, "p1", EVENING_MS);
    assert!(matches!(earlier, Verdict::Refused(why) if why.contains("name a later time")));
    assert_eq!(back(&world, "p1"), Some(Back::Overdue));
    let later = EVENING_MS + 3 * 86_400_000;
    assert_eq!(extend(&mut world, "p1", later), Verdict::Taken);
    assert_eq!(heard(&world, "p1"), here("deposited", &place.to_string()));
    world.reload();
    world.pass(2 * DAY_MS - 1);
    assert_eq!(back(&world, "p1"), None);
    world.pass(1);
    assert_eq!(back(&world, "p1"), Some(Back::Overdue));
    world.take(&code);
    assert!(why(&extend(&mut world, "p1", later + 1)).contains("too late"));
}

#[test]
fn the_staff_extends_with_a_name() {
    let mut world = World::new();
    world.bring("p1");
    world.pass(DAY_MS);
    let act = DeskAct::Extend {
        parcel: "p1".into(),
        deadline: EVENING_MS + 2 * 86_400_000,
    };
    assert!(told(&staff(&mut world, act)).contains("may wait"));
    assert_eq!(back(&world, "p1"), None);
    let entry = world.traces.iter().rfind(|t| t.step == "extended").unwrap();
    assert_eq!(entry.who, "operator li");
}

#[test]
fn an_extension_given_while_the_clock_is_a_year_off_holds() {
    let mut world = World::new();
    world.bring("p1");
    world.now.wall_ms -= YEAR_MS;
    extend(&mut world, "p1", EVENING_MS + 2 * 86_400_000);
    world.now.wall_ms += YEAR_MS;
    world.pass(2 * DAY_MS);
    assert_eq!(back(&world, "p1"), None, "late rather than early");
    world.pass(39 * DAY_MS);
    assert_eq!(back(&world, "p1"), Some(Back::Overdue));
}

#[test]
fn what_is_just_being_taken_back_is_not_prolonged() {
    let mut world = World::new();
    world.bring("p1");
    world.pass(DAY_MS);
    world.scan("bank-a", "badge");
    world.key("bank-a", "0");
    world.door("bank-a/1", Door::Open, Some(true));
    let item = Downlink::ParcelExtended {
        parcel: "p1".into(),
        deadline: EVENING_MS + 2 * 86_400_000,
    };
    let verdict = world.cloud(item.clone());
    assert!(why(&verdict).contains("just being taken back"));
    assert_eq!(back(&world, "p1"), Some(Back::Overdue));
    world.reload();
    // Left inside after all, it may wait longer.
    world.door("bank-a/1", Door::Closed, Some(true));
    assert_eq!(world.cloud(item), Verdict::Taken);
    assert_eq!(back(&world, "p1"), None);
}

#[test]
fn the_same_deadline_named_again_while_the_clock_is_a_year_ahead_changes_nothing() {
    let mut world = World::new();
    let mut announced = parcel("p1", "bank-a");
    world.expect(announced.clone());
    world.now.wall_ms += YEAR_MS;
    announced.items = Some(3);
    let again = Downlink::ParcelExpected(announced);
    assert_eq!(world.cloud(again), Verdict::Taken);
    world.put("p1");
    world.pass(60_000);
    assert_eq!(back(&world, "p1"), None);
    world.reload();
    world.pass(DAY_MS - 60_000);
    assert_eq!(back(&world, "p1"), Some(Back::Overdue));
}
