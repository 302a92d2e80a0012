//! Another layout, taken over in the middle of hand-overs.

use estate::RelayoutError;
use estate::layout::Device;
use firmware_protocols::event::{Done, Door};

use crate::common::*;

/// The world goes by a changed layout.
fn change(
    world: &mut World,
    change: impl FnOnce(&mut estate::Layout),
) -> Result<usize, RelayoutError> {
    let mut layout = world.layout.clone();
    change(&mut layout);
    let stranded = world.estate.relayout(layout.clone())?;
    world.layout = layout;
    assert_eq!(world.estate.take_changes(), []);
    Ok(stranded.values().sum())
}

fn one_more(layout: &mut estate::Layout) {
    layout.devices.push(Device {
        id: id("door-9"),
        building: id("b1"),
        point: None,
    });
}

#[test]
fn a_new_device_is_heard_and_one_that_is_gone_goes_to_quarantine() {
    let mut world = World::new();
    change(&mut world, one_more).unwrap();
    world.event("door-9", estate::Happening::Reading);
    change(&mut world, |layout| drop(layout.devices.pop())).unwrap();
    assert!(!world.estate.is_device(&id("door-9")));
    assert_eq!(world.snapshot.devices[&id("door-9")].stored, 1);
}

#[test]
fn a_hand_over_goes_on_and_its_command_is_still_repeated() {
    let mut world = World::new();
    let (slot, code) = world.bring("p1");
    let outcome = world.key("bank-a", &code);
    let command = open_id(&outcome);
    change(&mut world, one_more).unwrap();
    let again = world.pass(world.layout.rules.command_retry_ms);
    assert_eq!(open_id(&again), command, "sent again, with its own id");
    world.result("bank-a", &command, Done::Done);
    world.door(&slot.to_string(), Door::Open, Some(true));
    change(&mut world, |layout| layout.rules.reopen_grace_ms = 1).unwrap();
    world.door(&slot.to_string(), Door::Closed, Some(false));
    assert_eq!(world.stage("p1"), "collected");
}

#[test]
fn a_courier_who_has_identified_stays_known() {
    let mut world = World::new();
    world.expect(parcel("p1", "bank-a"));
    world.courier("badge", i64::MAX);
    world.scan("bank-a", "badge");
    change(&mut world, one_more).unwrap();
    assert!(opened(&world.scan("bank-a", "p1")).is_some());
}

#[test]
fn no_lockout_is_shortened_and_no_code_dies() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    for _ in 0..world.layout.rules.lockout_after {
        world.key("bank-a", "1");
    }
    let locked = world.snapshot.keypads.clone();
    change(&mut world, |layout| {
        layout.rules.lockout_first_ms = 1;
        layout.rules.lockout_longest_ms = 1;
        layout.rules.code_min_digits = 8;
    })
    .unwrap();
    assert_eq!(world.snapshot.keypads, locked);
    assert!(
        opened(&world.key("bank-a", &code)).is_none(),
        "locked as before"
    );
    world.pass(60_000);
    assert!(opened(&world.key("bank-a", &code)).is_some());
}

#[test]
fn a_place_with_a_parcel_in_it_can_not_be_taken_away() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    let before = world.estate.clone();
    let refused = change(&mut world, |layout| drop(layout.banks.remove(0))).unwrap_err();
    let words = refused.to_string();
    assert!(
        words.starts_with("1 parcel is in bank-a/1, which the new configuration doesn't have"),
        "{words}"
    );
    assert!(words.contains("linli desk transfer"), "{words}");
    assert_eq!(world.estate, before);
    change(&mut world, |layout| layout.banks[0].compartments.clear()).unwrap_err();
    assert_eq!(world.take(&code), slot("bank-a/1"));
    change(&mut world, |layout| drop(layout.banks.remove(0))).unwrap();
}

#[test]
fn a_compartment_that_a_deposit_is_on_its_way_into_can_not_be_taken_away() {
    let mut world = World::new();
    world.expect(parcel("p1", "bank-a"));
    world.courier("badge", i64::MAX);
    world.scan("bank-a", "badge");
    assert!(opened(&world.scan("bank-a", "p1")).is_some());
    let refused = change(&mut world, |layout| drop(layout.banks.remove(0)));
    assert!(matches!(refused, Err(RelayoutError::Occupied(_))));
}

#[test]
fn parcels_that_are_only_expected_are_counted_and_another_site_is_refused() {
    let mut world = World::new();
    world.expect(parcel("p1", "bank-b"));
    let gone = |layout: &mut estate::Layout| {
        layout.banks.pop();
        layout.devices.remove(0);
    };
    assert_eq!(change(&mut world, gone), Ok(1));
    let other = change(&mut world, |layout| layout.site = id("elsewhere"));
    assert_eq!(other, Err(RelayoutError::OtherSite(id("site"))));
    let wrong = change(&mut world, |layout| layout.buildings.clear());
    assert!(matches!(wrong, Err(RelayoutError::Layout(_))));
}

#[test]
fn a_bank_that_was_taken_away_while_the_gateway_was_off_stands_in_nobodys_way() {
    let mut world = World::new();
    world.bring("p1");
    world.layout.banks.remove(0);
    world.reload();
    change(&mut world, one_more).unwrap();
    assert_eq!(world.stage("p1"), "deposited");
}
