//! Loading: a layout that is wrong, a layout that changed, a store that contradicts itself.

use estate::layout::Device;
use estate::{Estate, LoadError, Snapshot};
use firmware_protocols::event::Door;

use crate::common::*;

#[test]
fn a_layout_that_contradicts_itself_is_refused_with_the_remedy() {
    let load = |layout| Estate::load(layout, Snapshot::default()).unwrap_err();
    let mut twice = layout();
    twice.desks[0].id = id("bank-a");
    assert_eq!(load(twice), LoadError::TwiceConfigured(id("bank-a")));
    let mut lost = layout();
    lost.devices[0].point = Some(id("bank-z"));
    assert!(load(lost).to_string().contains("correct its 'point'"));
    let mut nowhere = layout();
    nowhere.devices.push(Device {
        id: id("x"),
        building: id("b9"),
        point: None,
    });
    assert!(load(nowhere).to_string().contains("'b9'"));
}

#[test]
fn a_parcel_in_a_compartment_that_left_the_layout_stays_visible_and_its_code_opens_it() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    world.layout.banks[0].compartments.clear();
    world.reload();
    assert_eq!(world.stage("p1"), "deposited");
    assert_eq!(world.compartment("bank-a/1").contents, ["p1"]);
    assert_eq!(world.take(&code), slot("bank-a/1"));
    assert_eq!(world.stage("p1"), "collected");
}

#[test]
fn a_bank_that_left_the_layout_keeps_its_rows_and_its_events_go_to_quarantine() {
    let mut world = World::new();
    world.bring("p1");
    let before = world.snapshot.clone();
    world.layout.banks.remove(0);
    world.reload();
    assert_eq!(world.stage("p1"), "deposited");
    assert!(!world.estate.is_device(&id("bank-a")));
    let what = estate::Happening::Reading;
    let event = estate::DeviceEvent {
        device: id("bank-a"),
        form: firmware_protocols::Form::Cbor,
        boot: 1,
        seq: 900,
        at_ms: 0,
        said_ms: None,
        fingerprint: 0,
        what,
    };
    let verdict = world.handle(estate::Input::Event(event)).verdict;
    assert!(
        matches!(verdict, estate::Verdict::Quarantine(why) if why.contains("add it to the configuration"))
    );
    assert_eq!(world.snapshot.parcels, before.parcels);
    assert_eq!(world.snapshot.devices[&id("bank-a")].quarantined, 1);
}

#[test]
fn a_store_that_contradicts_itself_is_refused() {
    let mut world = World::new();
    world.bring("p1");
    let load = |snapshot| Estate::load(layout(), snapshot);
    let mut lost = world.snapshot.clone();
    lost.parcels.clear();
    assert!(matches!(load(lost), Err(LoadError::Inconsistent(_))));
    let mut empty = world.snapshot.clone();
    empty.compartments.clear();
    assert!(matches!(load(empty), Err(LoadError::Inconsistent(_))));
    let mut twice = world.snapshot.clone();
    let mut row = twice.compartments[&slot("bank-a/1")].clone();
    row.slot = slot("bank-a/2");
    twice.compartments.insert(row.slot.clone(), row);
    assert!(matches!(load(twice), Err(LoadError::Inconsistent(_))));
}

#[test]
fn loading_changes_nothing_and_equals_what_was_written() {
    let mut world = World::new();
    world.bring("p1");
    world.key("bank-a", "1");
    world.access(
        "door-1",
        firmware_protocols::event::Direction::In,
        "someone",
    );
    world.door("bank-a/1", Door::Unknown, None);
    let mut loaded = Estate::load(layout(), world.snapshot.clone()).unwrap();
    assert_eq!(loaded, world.estate);
    assert_eq!(loaded.take_changes(), []);
    assert_eq!(loaded.take_receipts(), []);
    world.key("bank-a", "1");
    assert_ne!(loaded, world.estate);
}

#[test]
fn a_row_that_many_events_touched_is_written_once() {
    let mut world = World::new();
    world.hold = true;
    for _ in 0..100 {
        world.event("door-1", estate::Happening::Reading);
    }
    assert_eq!(world.commit().len(), 2, "the device and its boot");
    assert_eq!(world.commit().len(), 0);
}
