//! What a courier is told who has identified.

use estate::parcel::Back;

use crate::common::*;

#[test]
fn the_prompt_names_what_waits_to_go_back_here() {
    let mut world = World::new();
    for name in ["p1", "p2", "p3"] {
        world.bring(name);
    }
    world.expect(parcel("d1", "desk-c"));
    world.scan("desk-c", "badge");
    world.scan("desk-c", "d1");
    assert!(!text(&world.scan("bank-a", "badge")).contains("type 0"));
    for (name, back) in [
        ("p1", Back::Overdue),
        ("p2", Back::Refused),
        ("d1", Back::Claimed),
    ] {
        world.snapshot.parcels.get_mut(name).unwrap().back = Some(back);
    }
    world.reload();
    assert_eq!(world.estate.parcels_going_back(&id("bank-a")), 2);
    assert_eq!(world.estate.parcels_going_back(&id("desk-c")), 1);
    assert_eq!(world.estate.parcels_going_back(&id("bank-b")), 0);
    let words = text(&world.scan("bank-a", "badge"));
    assert!(
        words.contains("scan a waybill; 2 to take back: type 0"),
        "{words}"
    );
    assert!(text(&world.scan("desk-c", "badge")).contains("1 to take back"));
    assert!(!text(&world.scan("keypad-b", "badge")).contains("take back"));
    // Whoever is having it taken out now isn't waiting any more.
    let code = world.codes["p1"].clone();
    world.key("bank-a", &code);
    assert_eq!(world.estate.parcels_going_back(&id("bank-a")), 1);
}
