//! Lockout: wrong tries, growing waits, no way around by restart, clock or a code of one's own.

use firmware_protocols::event::Door;

use crate::common::*;

/// Types wrong codes until the keypad says that it is locked; how many it took.
fn lock(world: &mut World, keypad: &str) -> u32 {
    for n in 1..=100 {
        if text(&world.key(keypad, "999999999")).contains("Locked") {
            return n;
        }
    }
    panic!("it never locks");
}

fn locked(world: &mut World, keypad: &str, code: &str) -> bool {
    let outcome = world.key(keypad, code);
    text(&outcome).contains("Locked")
}

#[test]
fn the_fifth_wrong_code_locks_and_not_even_the_right_one_opens() {
    let mut world = World::new();
    let (place, code) = world.bring("p1");
    for left in [4, 3, 2, 1] {
        let words = text(&world.key("bank-a", "999999999"));
        assert!(words.contains(&format!("{left} more")), "{words}");
    }
    assert!(text(&world.key("bank-a", "999999999")).contains("Locked: try again in 1 min"));
    world.skip(59_999);
    let outcome = world.key("bank-a", &code);
    assert_eq!(opened(&outcome), None);
    assert!(text(&outcome).contains("Locked: try again in 1 min"));
    world.skip(1);
    assert_eq!(opened(&world.key("bank-a", &code)), Some(place));
}

#[test]
fn tries_while_locked_do_not_count_and_do_not_prolong() {
    let mut world = World::new();
    lock(&mut world, "bank-a");
    for _ in 0..50 {
        world.skip(1_000);
        assert!(locked(&mut world, "bank-a", "999999999"));
    }
    world.skip(10_000);
    assert!(text(&world.key("bank-a", "999999999")).contains("4 more"));
}

#[test]
fn each_lockout_doubles_up_to_the_longest() {
    let mut world = World::new();
    for minutes in [1, 2, 4, 8, 15, 15, 15] {
        assert_eq!(lock(&mut world, "bank-a"), 5);
        world.skip(minutes * 60_000 - 1);
        assert!(locked(&mut world, "bank-a", "1"), "{minutes}");
        world.skip(1);
    }
}

#[test]
fn a_quiet_day_brings_the_first_length_back() {
    let mut world = World::new();
    lock(&mut world, "bank-a");
    world.skip(60_000);
    lock(&mut world, "bank-a");
    world.skip(120_000 + DAY_MS);
    lock(&mut world, "bank-a");
    world.skip(60_000);
    assert!(!locked(&mut world, "bank-a", "1"));
}

#[test]
fn one_keypad_does_not_lock_another() {
    let mut world = World::new();
    lock(&mut world, "keypad-b");
    assert!(!locked(&mut world, "bank-b", "1"));
    assert!(!locked(&mut world, "bank-a", "1"));
}

#[test]
fn a_lockout_survives_restarts_and_jumps_of_the_clock() {
    let mut world = World::new();
    for _ in 0..4 {
        world.key("bank-a", "999999999");
        world.reload();
    }
    assert_eq!(lock(&mut world, "bank-a"), 1, "four were counted before");
    world.reload();
    world.now.wall_ms += 31_536_000_000;
    assert!(locked(&mut world, "bank-a", "1"));
    world.now.wall_ms -= 2 * 31_536_000_000;
    world.reload();
    world.now.tick_ms += 59_999;
    assert!(locked(&mut world, "bank-a", "1"));
    world.now.tick_ms += 1;
    assert!(!locked(&mut world, "bank-a", "1"));
}

#[test]
fn a_collection_forgives_wrong_tries() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    for _ in 0..4 {
        world.key("bank-a", "999999999");
    }
    world.take(&code);
    assert_eq!(lock(&mut world, "bank-a"), 5);
}

#[test]
fn a_code_of_ones_own_clears_nothing_as_long_as_the_parcel_stays_inside() {
    let mut world = World::new();
    let (_, own) = world.bring("p1");
    let mut guesses = 0;
    for _ in 0..20 {
        for _ in 0..4 {
            if locked(&mut world, "bank-a", "999999999") {
                assert!(guesses <= 4, "{guesses} guesses before the first lockout");
                return;
            }
            guesses += 1;
        }
        world.key("bank-a", &own);
        world.door("bank-a/1", Door::Open, Some(true));
        world.door("bank-a/1", Door::Closed, Some(true));
    }
    panic!("it never locks");
}
