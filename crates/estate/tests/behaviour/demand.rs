//! Demand: counted once, released once, never for fewer than k households.

use std::collections::BTreeMap;

use estate::demand::{HOUSEHOLDS_MAX, INTENTS_MAX};
use estate::{DeviceEvent, Happening, Input, TimeQuality};
use firmware_protocols::Form;
use firmware_protocols::event::{Direction, Outcome};

use crate::common::*;

/// Until the evening's hour is closed: its end and two minutes.
const CLOSED_MS: u64 = HOUR_MS + 120_000;

fn comings(world: &mut World, door: &str, households: std::ops::Range<u32>) {
    for n in households {
        world.access(door, Direction::In, &format!("h{n}"));
    }
}

/// What was released, as (building or site, series, count).
fn released(world: &World) -> Vec<(String, String, u64)> {
    let mut out = Vec::new();
    for report in &world.demand {
        let scope = report
            .building
            .as_ref()
            .map_or("site".to_string(), ToString::to_string);
        for (series, count) in &report.series {
            out.push((scope.clone(), series.clone(), *count));
        }
    }
    out
}

fn row(scope: &str, series: &str, count: u64) -> (String, String, u64) {
    (scope.into(), series.into(), count)
}

#[test]
fn five_households_are_enough_and_the_hour_closes_at_the_exact_time() {
    let mut world = World::new();
    comings(&mut world, "door-1", 0..5);
    comings(&mut world, "door-1", 0..2);
    world.pass(CLOSED_MS - 1);
    assert_eq!(world.demand, []);
    world.pass(1);
    assert_eq!(released(&world), [row("b1", "comings", 7)]);
    let report = &world.demand[0];
    assert_eq!(
        (report.start, report.minutes, report.revision),
        (EVENING_MS, 60, 1)
    );
    world.pass(10 * HOUR_MS);
    assert_eq!(world.demand.len(), 1, "once");
}

#[test]
fn four_households_stay_withheld_for_ever() {
    let mut world = World::new();
    comings(&mut world, "door-1", 0..4);
    comings(&mut world, "door-1", 0..4);
    world.pass(CLOSED_MS);
    world.pass(100 * HOUR_MS);
    assert_eq!(world.demand, []);
    assert!(world.snapshot.households.is_empty());
    assert_eq!(
        world.snapshot.cells.len(),
        1,
        "the mark that the hour is closed"
    );
}

#[test]
fn small_groups_of_two_buildings_fold_into_the_sites_and_households_count_once() {
    let mut world = World::new();
    comings(&mut world, "door-1", 0..3);
    comings(&mut world, "door-2", 2..4);
    world.pass(CLOSED_MS);
    assert_eq!(world.demand, [], "h2 was at both: four households in all");

    let mut world = World::new();
    comings(&mut world, "door-1", 0..3);
    comings(&mut world, "door-2", 3..5);
    world.pass(CLOSED_MS);
    assert_eq!(released(&world), [row("site", "comings", 5)]);
}

#[test]
fn what_a_building_released_is_not_in_the_sites() {
    let mut world = World::new();
    comings(&mut world, "door-1", 0..9);
    comings(&mut world, "door-2", 20..24);
    world.intent("door-1", "eggs", 3, "h1");
    for n in 0..4 {
        world.intent("door-2", "eggs", 2, &format!("i{n}"));
    }
    world.pass(CLOSED_MS);
    let expected = [row("b1", "comings", 9), row("site", "intent:eggs", 11)];
    assert_eq!(
        released(&world),
        expected,
        "b2's four comings have nobody to fold with"
    );
}

#[test]
fn one_item_for_each_building_and_hour() {
    let mut world = World::new();
    for n in 0..6 {
        let who = format!("h{n}");
        world.access("door-1", Direction::In, &who);
        world.access("door-1", Direction::Out, &who);
        world.intent("door-1", "eggs", n + 1, &who);
    }
    world.pass(CLOSED_MS);
    let series = BTreeMap::from([
        ("comings".to_string(), 6),
        ("goings".to_string(), 6),
        ("intent:eggs".to_string(), 21),
    ]);
    assert_eq!(world.demand.len(), 1);
    assert_eq!(world.demand[0].series, series);
}

#[test]
fn only_grants_with_a_direction_count_and_without_a_credential_there_is_no_household() {
    let mut world = World::new();
    for n in 0..9 {
        for (outcome, direction) in [
            (Outcome::Denied, Some(Direction::In)),
            (Outcome::Granted, None),
            (Outcome::Forced, Some(Direction::Out)),
            (Outcome::HeldOpen, Some(Direction::In)),
            (Outcome::Presented, Some(Direction::In)),
        ] {
            let credential = Some(quick(&[&format!("h{n}")]));
            world.event(
                "door-1",
                Happening::Access {
                    outcome,
                    direction,
                    method: None,
                    credential,
                },
            );
        }
        let what = Happening::Access {
            outcome: Outcome::Granted,
            direction: Some(Direction::Out),
            method: None,
            credential: None,
        };
        world.event("door-1", what);
    }
    world.pass(CLOSED_MS);
    assert_eq!(world.demand, []);
}

#[test]
fn deposits_and_collections_count_by_recipient() {
    let mut world = World::new();
    world.courier("badge", i64::MAX);
    for n in 0..6 {
        let mut p = parcel(&format!("p{n}"), "desk-c");
        p.recipient = format!("r{}", n % 5);
        let code = world.expect(p);
        world.scan("desk-c", "badge");
        world.scan("desk-c", &format!("p{n}"));
        if n < 5 {
            world.key("desk-c", &code);
        }
    }
    world.pass(CLOSED_MS);
    assert_eq!(
        released(&world),
        [row("b1", "collections", 5), row("b1", "deposits", 6)]
    );
}

#[test]
fn counting_and_closing_survive_restarts() {
    let mut world = World::new();
    comings(&mut world, "door-1", 0..3);
    world.reload();
    comings(&mut world, "door-1", 2..5);
    world.reload();
    world.pass(CLOSED_MS);
    assert_eq!(released(&world), [row("b1", "comings", 6)]);
    world.reload();
    world.pass(1);
    assert_eq!(world.demand.len(), 1);
}

#[test]
fn a_clock_set_back_releases_nothing_twice() {
    let mut world = World::new();
    comings(&mut world, "door-1", 0..5);
    world.pass(CLOSED_MS);
    world.now.wall_ms = EVENING_MS + 1;
    world.reload();
    comings(&mut world, "door-1", 10..15);
    assert_eq!(world.estate.demand_late(), 5);
    world.pass(CLOSED_MS);
    assert_eq!(world.demand.len(), 1);
}

#[test]
fn late_events_are_not_counted_but_told() {
    let mut world = World::new();
    world.skip(CLOSED_MS);
    let late = |seq| DeviceEvent {
        device: id("door-1"),
        form: Form::Cbor,
        boot: 1,
        seq,
        at_ms: EVENING_MS + 5,
        said_ms: None,
        fingerprint: seq,
        what: Happening::Intent {
            item: "eggs".into(),
            quantity: 1,
            household: None,
        },
    };
    world.handle(Input::Event(late(1)));
    assert_eq!(world.estate.demand_late(), 1);
    world.now.wall_ms -= 1;
    world.handle(Input::Event(late(2)));
    assert_eq!(world.estate.demand_late(), 1, "in time by a millisecond");
}

#[test]
fn while_the_clock_is_unknown_nothing_is_counted_or_closed() {
    let mut world = World::new();
    comings(&mut world, "door-1", 0..5);
    world.now.quality = TimeQuality::Unknown;
    comings(&mut world, "door-1", 5..9);
    world.pass(CLOSED_MS);
    assert_eq!(world.demand, []);
    world.now.quality = TimeQuality::Estimated;
    world.pass(1);
    assert_eq!(released(&world), [row("b1", "comings", 5)]);
}

#[test]
fn a_time_ahead_counts_as_now_and_hours_of_a_clock_that_was_ahead_are_withheld() {
    let mut world = World::new();
    world.now.wall_ms += 365 * 24 * 3_600_000;
    comings(&mut world, "door-1", 0..9);
    world.now.wall_ms = EVENING_MS;
    world.pass(0);
    assert_eq!(world.demand, []);
    assert!(world.snapshot.households.is_empty());
    for n in 0..5 {
        let event = DeviceEvent {
            device: id("door-2"),
            form: Form::Cbor,
            boot: 7,
            seq: n + 1,
            at_ms: i64::MAX,
            said_ms: None,
            fingerprint: n,
            what: Happening::Intent {
                item: "eggs".into(),
                quantity: 1,
                household: Some(quick(&[&n.to_string()])),
            },
        };
        world.handle(Input::Event(event));
    }
    world.pass(CLOSED_MS);
    assert_eq!(released(&world), [row("b2", "intent:eggs", 5)]);
}

#[test]
fn an_hour_counted_and_closed_in_one_batch_leaves_only_its_mark() {
    let mut world = World::new();
    world.hold = true;
    comings(&mut world, "door-1", 0..5);
    world.pass(CLOSED_MS);
    world.commit();
    assert_eq!(released(&world), [row("b1", "comings", 5)]);
    assert!(world.snapshot.households.is_empty());
    assert_eq!(world.snapshot.cells.len(), 1);
    let loaded = estate::Estate::load(layout(), world.snapshot.clone()).unwrap();
    assert_eq!(loaded, world.estate);
}

#[test]
fn items_and_households_are_bounded() {
    let mut world = World::new();
    world.hold = true;
    for n in 0..INTENTS_MAX + 50 {
        world.intent("door-1", &format!("item {n:04}"), 1, &format!("h{}", n % 7));
    }
    for n in 0..HOUSEHOLDS_MAX + 100 {
        world.access("door-1", Direction::In, &format!("h{n}"));
    }
    world.commit();
    assert_eq!(world.snapshot.cells.len(), INTENTS_MAX + 2);
    let largest = world
        .snapshot
        .households
        .values()
        .map(std::collections::BTreeSet::len)
        .max();
    assert_eq!(largest, Some(HOUSEHOLDS_MAX));
    world.pass(CLOSED_MS);
    world.commit();
    let total = (HOUSEHOLDS_MAX + 100) as u64;
    assert_eq!(
        released(&world),
        [row("b1", "comings", total), row("b1", "intent:other", 50)]
    );
}
