//! What typed digits mean, in order: own code, a parcel brought here, a courier, `0`, elsewhere,
//! wrong.

use cloud_protocol::Downlink;
use cloud_protocol::downlink::Proof;
use estate::Verdict;
use estate::parcel::{Place, Stage};
use firmware_protocols::command::Tone;
use firmware_protocols::event::Secret;

use crate::common::*;

fn courier_by_code(world: &mut World, code: &str, valid_until: i64) {
    let verdict = world.cloud(Downlink::Courier {
        courier: "chen".into(),
        proof: Proof::Code(Secret::new(code)),
        valid_until,
    });
    assert_eq!(verdict, Verdict::Taken);
}

/// The parcel stands at the desk, as after a transfer.
fn bring_to_desk(world: &mut World, name: &str) {
    let row = world.snapshot.parcels.get_mut(name).unwrap();
    row.stage = Stage::Deposited {
        place: Place::Desk(id("desk-c")),
    };
    for row in world.snapshot.compartments.values_mut() {
        row.contents.retain(|inside| inside != name);
    }
    world.reload();
}

fn wrong(world: &World, keypad: &str) -> (u32, u32) {
    let row = world.estate.keypads().find(|row| row.keypad == id(keypad));
    row.map_or((0, 0), |row| (row.wrong, row.astray))
}

#[test]
fn a_code_of_another_point_is_told_where_its_parcel_is() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    let outcome = world.key("keypad-b", &code);
    assert_eq!(opened(&outcome), None);
    let words = text(&outcome);
    assert!(words.contains("bank-a, north gate"), "{words}");
    assert!(!words.contains(&code));
    assert_eq!(shown(&outcome)[0].1, Tone::Info);
    assert_eq!(wrong(&world, "keypad-b"), (0, 1));
}

#[test]
fn every_third_code_of_another_point_counts_as_one_wrong_try_also_across_restarts() {
    let mut world = World::new();
    let (place, code) = world.bring("p1");
    for n in 1..=14 {
        assert!(
            text(&world.key("keypad-b", &code)).contains("north gate"),
            "{n}"
        );
        assert_eq!(wrong(&world, "keypad-b"), (n / 3, n % 3));
        world.reload();
    }
    assert!(text(&world.key("keypad-b", &code)).contains("Locked"));
    assert!(text(&world.key("keypad-b", &code)).contains("Locked"));
    assert_eq!(opened(&world.key("bank-a", &code)), Some(place));
}

#[test]
fn simply_wrong_ones_in_between_count_fully() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    for _ in 0..2 {
        world.key("keypad-b", &code);
        world.key("keypad-b", "999999999");
    }
    assert_eq!(wrong(&world, "keypad-b"), (2, 2));
    world.key("keypad-b", &code);
    assert_eq!(wrong(&world, "keypad-b"), (3, 0));
}

#[test]
fn a_code_that_was_never_good_anywhere_and_one_that_rests_elsewhere_are_wrong() {
    let mut world = World::new();
    let code = world.expect(parcel("p1", "bank-a"));
    world.cloud(Downlink::ParcelCancelled {
        parcel: "p1".into(),
    });
    assert!(text(&world.key("keypad-b", &code)).contains("4 more"));
    assert!(text(&world.key("keypad-b", "999999999")).contains("3 more"));
    assert!(text(&world.key("bank-a", &code)).contains("not good any more"));
}

#[test]
fn a_code_typed_where_its_parcel_was_brought_to_hands_it_over() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    bring_to_desk(&mut world, "p1");
    let outcome = world.key("desk-c", &code);
    assert!(
        text(&outcome).contains("hand the parcel over"),
        "{outcome:?}"
    );
    assert_eq!(world.stage("p1"), "collected");
    assert_eq!(world.estate.keypads().count(), 0);
}

#[test]
fn at_a_third_point_the_code_is_told_to_go_to_the_desk() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    bring_to_desk(&mut world, "p1");
    let words = text(&world.key("keypad-b", &code));
    assert!(words.contains("desk-c, the group leader's"), "{words}");
}

#[test]
fn a_couriers_code_is_as_good_as_a_badge() {
    let mut world = World::new();
    courier_by_code(&mut world, "12345678", EVENING_MS + 3_600_000);
    world.expect(parcel("p1", "bank-a"));
    assert_eq!(opened(&world.scan("bank-a", "p1")), None);
    assert!(text(&world.key("bank-a", "12345678")).contains("accepted"));
    assert!(opened(&world.scan("bank-a", "p1")).is_some());
    let who = world.traces.last().unwrap().who.clone();
    assert_eq!(who, "courier chen");
    assert_eq!(world.estate.keypads().count(), 0);
}

#[test]
fn a_couriers_code_that_ran_out_is_said_so_and_counts_as_wrong() {
    let mut world = World::new();
    courier_by_code(&mut world, "12345678", EVENING_MS + 60_000);
    world.pass(60_000);
    assert!(text(&world.key("bank-a", "12345678")).contains("expired"));
    assert_eq!(wrong(&world, "bank-a"), (1, 0));
    world.expect(parcel("p1", "bank-a"));
    assert_eq!(opened(&world.scan("bank-a", "p1")), None);
}

#[test]
fn a_badge_isnt_a_code() {
    let mut world = World::new();
    world.courier("12345678", i64::MAX);
    assert!(text(&world.key("bank-a", "12345678")).contains("Wrong code"));
}

#[test]
fn zero_is_wrong_unless_a_courier_is_known_at_this_point() {
    let mut world = World::new();
    courier_by_code(&mut world, "12345678", i64::MAX);
    assert!(text(&world.key("bank-a", "0")).contains("Wrong code"));
    world.key("keypad-b", "12345678");
    assert!(
        text(&world.key("bank-a", "0")).contains("Wrong code"),
        "at another point"
    );
    world.key("bank-a", "12345678");
    assert!(!text(&world.key("bank-a", "0")).contains("Wrong code"));
    assert_eq!(wrong(&world, "bank-a"), (2, 0));
    world.skip(180_000);
    assert!(
        text(&world.key("bank-a", "0")).contains("Wrong code"),
        "the session is over"
    );
    world.key("bank-a", "12345678");
    world.reload();
    assert!(
        text(&world.key("bank-a", "0")).contains("Wrong code"),
        "identify again"
    );
}

#[test]
fn a_resident_whose_code_is_zero_comes_before_the_courier() {
    let mut world = World::rules(|rules| {
        rules.code_min_digits = 1;
        rules.code_max_digits = 1;
        rules.guess_one_in = 0;
    });
    world.courier("badge", i64::MAX);
    let name = (0..9)
        .map(|n| format!("p{n}"))
        .find(|name| world.expect(parcel(name, "bank-a")) == "0");
    let Some(name) = name else {
        panic!("one of nine codes of one digit is 0 with these dice");
    };
    let place = world.put(&name);
    assert_eq!(opened(&world.key("bank-a", "0")), Some(place));
}

#[test]
fn a_locked_keypad_looks_at_no_courier_and_no_other_points_code() {
    let mut world = World::new();
    courier_by_code(&mut world, "12345678", i64::MAX);
    let (_, code) = world.bring("p1");
    for _ in 0..5 {
        world.key("keypad-b", "999999999");
    }
    for digits in ["12345678", "0", code.as_str()] {
        assert!(text(&world.key("keypad-b", digits)).contains("Locked"));
    }
    assert_eq!(wrong(&world, "keypad-b"), (0, 0));
}
