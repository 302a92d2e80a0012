//! Placing: which compartment a parcel gets, and what happens when none takes it.

use cloud_protocol::Report;
use cloud_protocol::downlink::{ExpectedParcel, Size, Zone};
use cloud_protocol::uplink::Unplaceable;
use estate::layout::{Bank, CompartmentSpec, Desk, Layout};
use estate::{Change, Outcome};
use firmware_protocols::event::{Done, Door};

use crate::common::*;

/// A bank with a sensor and these compartments, all ambient.
fn bank_of(sizes: &[(Size, bool)]) -> Layout {
    let mut layout = layout();
    layout.banks[0] = Bank {
        compartments: sizes
            .iter()
            .map(|(size, low)| CompartmentSpec {
                size: *size,
                zone: Zone::Ambient,
                low: *low,
            })
            .collect(),
        ..layout.banks[0].clone()
    };
    layout
}

fn of(recipient: &str, name: &str, size: Size) -> ExpectedParcel {
    ExpectedParcel {
        recipient: recipient.into(),
        size,
        ..parcel(name, "bank-a")
    }
}

fn put(world: &mut World, parcel: ExpectedParcel) -> String {
    let name = parcel.parcel.clone();
    world.expect(parcel);
    world.put(&name).to_string()
}

/// A courier with a session at bank-a scans.
fn scan(world: &mut World, name: &str) -> Outcome {
    world.courier("badge", i64::MAX);
    world.scan("bank-a", "badge");
    world.scan("bank-a", name)
}

#[test]
fn a_low_compartment_is_for_those_who_need_it_and_others_get_it_last() {
    let mut world = World::with(bank_of(&[
        (Size::S, true),
        (Size::S, false),
        (Size::M, true),
    ]));
    assert_eq!(put(&mut world, of("a", "p1", Size::S)), "bank-a/2");
    let low = |name: &str, recipient: &str, size| ExpectedParcel {
        low: true,
        ..of(recipient, name, size)
    };
    assert_eq!(put(&mut world, low("p2", "b", Size::S)), "bank-a/1");
    assert_eq!(put(&mut world, of("c", "p3", Size::S)), "bank-a/3");
    world.expect(low("p4", "d", Size::S));
    assert_eq!(opened(&scan(&mut world, "p4")), None);
}

#[test]
fn who_needs_a_low_compartment_gets_no_other_if_the_bank_has_any() {
    let mut world = World::with(bank_of(&[(Size::S, true), (Size::L, false)]));
    let low = |name: &str, recipient: &str| ExpectedParcel {
        low: true,
        ..of(recipient, name, Size::S)
    };
    assert_eq!(put(&mut world, low("p1", "a")), "bank-a/1");
    world.expect(low("p2", "b"));
    let outcome = scan(&mut world, "p2");
    assert!(text(&outcome).contains("No free compartment"));

    let mut world = World::with(bank_of(&[(Size::S, false)]));
    assert_eq!(
        put(&mut world, low("p1", "a")),
        "bank-a/1",
        "the mark is ignored"
    );
}

#[test]
fn the_recipients_own_parcel_is_joined_as_long_as_there_is_room() {
    let mut world = World::with(bank_of(&[
        (Size::L, false),
        (Size::L, false),
        (Size::S, false),
        (Size::S, false),
    ]));
    assert_eq!(put(&mut world, of("a", "p1", Size::M)), "bank-a/1");
    assert_eq!(put(&mut world, of("a", "p2", Size::S)), "bank-a/1");
    world.reload();
    assert_eq!(put(&mut world, of("b", "q1", Size::S)), "bank-a/3");
    assert_eq!(
        put(&mut world, of("a", "p3", Size::M)),
        "bank-a/2",
        "only 1 unit is left"
    );
    // Both have room now: the one opened less, then the lower number.
    assert_eq!(put(&mut world, of("a", "p4", Size::S)), "bank-a/2");
    assert_eq!(put(&mut world, of("a", "p5", Size::S)), "bank-a/1");
    assert_eq!(world.compartment("bank-a/1").contents, ["p1", "p2", "p5"]);
    assert_eq!(put(&mut world, of("a", "p6", Size::S)), "bank-a/2");
    let place = put(&mut world, of("a", "p7", Size::S));
    assert_eq!(place, "bank-a/4", "both are full");
}

#[test]
fn nothing_is_shared_that_is_being_taken_goes_back_or_may_not_be() {
    let specs = bank_of(&[(Size::L, false), (Size::L, false)]);
    let mut apart = specs.clone();
    apart.rules.share_compartments = false;
    let mut world = World::with(apart);
    put(&mut world, of("a", "p1", Size::S));
    assert_eq!(put(&mut world, of("a", "p2", Size::S)), "bank-a/2");

    let mut world = World::with(specs.clone());
    world.expect(of("a", "p1", Size::S));
    world.put("p1");
    let code = world.codes["p1"].clone();
    world.key("bank-a", &code);
    assert_eq!(
        put(&mut world, of("a", "p2", Size::S)),
        "bank-a/2",
        "a hand is in number 1"
    );

    let mut world = World::with(specs.clone());
    put(&mut world, of("a", "p1", Size::S));
    world.snapshot.parcels.get_mut("p1").unwrap().back = Some(estate::parcel::Back::Overdue);
    world.reload();
    assert_eq!(
        put(&mut world, of("a", "p2", Size::S)),
        "bank-a/2",
        "number 1 goes back"
    );

    let mut world = World::with(specs);
    put(&mut world, of("a", "p1", Size::S));
    let back = ExpectedParcel {
        return_of: Some("p0".into()),
        ..of("a", "r1", Size::S)
    };
    world.expect(back);
    assert_eq!(
        opened(&scan(&mut world, "r1")),
        Some(slot("bank-a/2")),
        "a return lies alone"
    );
}

#[test]
fn an_open_a_faulty_and_a_disabled_compartment_take_nothing() {
    let mut world = World::with(bank_of(&[
        (Size::S, false),
        (Size::S, false),
        (Size::S, false),
        (Size::S, false),
        (Size::S, false),
    ]));
    world.door("bank-a/1", Door::Open, Some(false));
    world.door("bank-a/2", Door::Closed, Some(true));
    let disable = estate::Input::Disable {
        slot: slot("bank-a/3"),
        operator: "li".into(),
        reason: Some("hinge".into()),
    };
    world.handle(disable);
    world.expect(of("a", "p1", Size::S));
    let outcome = scan(&mut world, "p1");
    assert_eq!(opened(&outcome), Some(slot("bank-a/4")));
    world.result("bank-a", &open_id(&outcome), Done::Failed);
    world.reload();
    assert_eq!(opened(&scan(&mut world, "p1")), Some(slot("bank-a/5")));
}

#[test]
fn an_own_parcel_in_a_faulty_compartment_is_not_joined() {
    let mut world = World::with(bank_of(&[(Size::L, false), (Size::L, false)]));
    put(&mut world, of("a", "p1", Size::S));
    let code = world.codes["p1"].clone();
    let command = open_id(&world.key("bank-a", &code));
    world.result("bank-a", &command, Done::Failed);
    assert_eq!(put(&mut world, of("a", "p2", Size::S)), "bank-a/2");
}

#[test]
fn without_a_sensor_nobody_gets_what_was_just_emptied() {
    let mut layout = layout();
    layout.banks[1].compartments.truncate(1);
    layout.rules.reopen_grace_ms = 1_000;
    let mut world = World::with(layout);
    world.courier("badge", i64::MAX);
    let code = world.expect(parcel("p1", "bank-b"));
    world.expect(parcel("p2", "bank-b"));
    let scan = |world: &mut World, name: &str| {
        world.scan("keypad-b", "badge");
        opened(&world.scan("keypad-b", name))
    };
    assert_eq!(scan(&mut world, "p1"), Some(slot("bank-b/1")));
    world.door("bank-b/1", Door::Open, None);
    world.door("bank-b/1", Door::Closed, None);
    world.key("keypad-b", &code);
    world.door("bank-b/1", Door::Open, None);
    world.door("bank-b/1", Door::Closed, None);
    assert_eq!(world.stage("p1"), "collected");
    world.pass(299_999);
    world.reload();
    assert_eq!(
        scan(&mut world, "p2"),
        None,
        "something may have been left in it"
    );
    world.skip(1);
    assert_eq!(scan(&mut world, "p2"), Some(slot("bank-b/1")));
}

/// bank-a has one compartment, and it is taken.
fn full() -> World {
    let mut layout = bank_of(&[(Size::S, false)]);
    layout.desks.insert(
        0,
        Desk {
            id: id("desk-far"),
            building: id("b2"),
            address: "the shop".into(),
        },
    );
    let mut world = World::with(layout);
    put(&mut world, of("a", "p1", Size::S));
    world
}

/// Scans and gives back what is told to the cloud of parcels without a place.
fn unplaceable(world: &mut World, name: &str) -> (String, Vec<Unplaceable>) {
    world.courier("badge", i64::MAX);
    world.scan("bank-a", "badge");
    world.hold = true;
    let outcome = world.scan("bank-a", name);
    world.hold = false;
    let reports = world
        .commit()
        .into_iter()
        .filter_map(|change| match change {
            Change::Uplink {
                report: Report::Unplaceable(report),
                ..
            } => Some(report),
            _ => None,
        });
    (text(&outcome), reports.collect())
}

#[test]
fn when_nothing_fits_a_desk_is_proposed_and_the_cloud_hears_of_it_once() {
    let mut world = full();
    world.expect(of("b", "p2", Size::S));
    let (words, reports) = unplaceable(&mut world, "p2");
    assert!(words.contains("No free compartment fits"), "{words}");
    assert!(
        words.contains("desk-c, the group leader's"),
        "the near one: {words}"
    );
    let expected = Unplaceable {
        parcel: "p2".into(),
        point: id("bank-a"),
        size: Size::S,
        zone: Zone::Ambient,
        desk: Some(id("desk-c")),
    };
    assert_eq!(reports, [expected]);
    assert_eq!(world.steps("p2").last(), Some(&"no-compartment"));
    assert!(world.estate.parcel("p2").unwrap().to_desk);
    world.reload();
    let (words, reports) = unplaceable(&mut world, "p2");
    assert!(words.contains("desk-c"));
    assert_eq!(reports, []);
}

#[test]
fn the_first_desk_is_proposed_if_none_is_near_and_none_if_there_is_none() {
    let mut world = full();
    world.layout.desks.pop();
    world.reload();
    world.expect(of("b", "p2", Size::S));
    let (words, reports) = unplaceable(&mut world, "p2");
    assert!(words.contains("desk-far, the shop"));
    assert_eq!(reports[0].desk, Some(id("desk-far")));

    let mut world = full();
    world.layout.desks.clear();
    world.reload();
    world.expect(of("b", "p2", Size::S));
    let (words, reports) = unplaceable(&mut world, "p2");
    assert!(words.contains("take the parcel to a desk"));
    assert_eq!((reports.len(), reports[0].desk.clone()), (1, None));
}

#[test]
fn the_demand_for_a_place_is_counted_once_for_each_parcel() {
    let mut world = full();
    for n in 0..5 {
        let name = format!("n{n}");
        world.expect(of(&name, &name, Size::M));
        scan(&mut world, &name);
        scan(&mut world, &name);
    }
    world.pass(HOUR_MS + 120_000);
    let report = world.demand.iter().find(|r| r.building == Some(id("b1")));
    assert_eq!(report.unwrap().series.get("unplaced:M:ambient"), Some(&5));
}

#[test]
fn a_desk_takes_what_the_bank_could_not() {
    let mut world = full();
    world.expect(of("b", "p2", Size::S));
    world.scan("desk-c", "badge");
    let outcome = world.scan("desk-c", "p2");
    assert!(
        text(&outcome).contains("belongs to bank-a"),
        "nobody tried the bank"
    );
    scan(&mut world, "p2");
    world.reload();
    world.scan("desk-c", "badge");
    assert!(text(&world.scan("desk-c", "p2")).contains("Registered"));
    assert_eq!(world.stage("p2"), "deposited");
    let report = world.reports.last().unwrap();
    assert_eq!(
        (report.desk.clone(), report.bank.clone()),
        (Some(id("desk-c")), None)
    );
    assert!(text(&world.scan("desk-c", "p2")).contains("Registered"));
    world.scan("desk-far", "badge");
    let outcome = world.scan("desk-far", "p2");
    assert!(
        text(&outcome).contains("belongs to"),
        "it lies at another desk"
    );
}

#[test]
fn a_parcel_that_finds_room_after_all_is_the_banks_again() {
    let mut world = full();
    world.expect(of("b", "p2", Size::S));
    scan(&mut world, "p2");
    let code = world.codes["p1"].clone();
    world.take(&code);
    world.pass(120_000);
    world.reload();
    assert_eq!(world.put("p2"), slot("bank-a/1"));
    assert!(!world.estate.parcel("p2").unwrap().to_desk);
}

#[test]
fn without_consent_a_desk_is_proposed_and_takes_it_but_nothing_was_unplaceable() {
    let mut world = full();
    world.expect(ExpectedParcel {
        consent: false,
        ..of("b", "p2", Size::S)
    });
    let (words, reports) = unplaceable(&mut world, "p2");
    assert!(words.contains("No consent") && words.contains("desk-c, the group leader's"));
    assert_eq!(reports, []);
    assert_eq!(world.steps("p2").last(), Some(&"deposit-refused"));
    world.reload();
    world.scan("desk-c", "badge");
    assert!(text(&world.scan("desk-c", "p2")).contains("Registered"));
    world.pass(HOUR_MS + 120_000);
    assert!(
        world
            .demand
            .iter()
            .all(|r| !r.series.keys().any(|s| s.starts_with("unplaced")))
    );
}
