//! Several parcels of one recipient: one code, one compartment after the other, one text each.

use estate::parcel::Back;
use firmware_protocols::event::{Done, Door};

use crate::common::*;
use crate::staff::*;

#[test]
fn one_code_hands_over_everything_its_own_first_then_the_oldest() {
    let mut world = apart();
    let (first, _) = bring_for(&mut world, "wang", "p1");
    world.skip(1_000);
    let (second, _) = bring_for(&mut world, "wang", "p2");
    world.skip(1_000);
    let (own, code) = bring_for(&mut world, "wang", "p3");
    for (place, words) in [
        (&own, "2 more here: type your code again"),
        (&first, "1 more here"),
        (&second, "thank you"),
    ] {
        let outcome = world.key("bank-a", &code);
        assert_eq!(opened(&outcome).as_ref(), Some(place));
        world.reload();
        let outcome = swing(&mut world, &place.to_string(), Some(false));
        assert!(text(&outcome).contains(words), "{}", text(&outcome));
        world.skip(1_000);
    }
    for name in ["p1", "p2", "p3"] {
        assert_eq!(heard(&world, name).0, "collected");
    }
    let outcome = world.key("bank-a", &code);
    assert_eq!(opened(&outcome), Some(second), "the last one, once more");
}

#[test]
fn what_is_another_recipients_stays() {
    let mut world = apart();
    let (_, code) = bring_for(&mut world, "wang", "p1");
    bring_for(&mut world, "zhao", "p2");
    assert!(text_of_take(&mut world, &code).contains("thank you"));
    assert_eq!(opened(&world.key("bank-a", &code)), Some(slot("bank-a/1")));
    assert_eq!(world.stage("p2"), "deposited");
}

fn text_of_take(world: &mut World, code: &str) -> String {
    let place = opened(&world.key("bank-a", code)).expect("it opens");
    text(&swing(world, &place.to_string(), Some(false)))
}

#[test]
fn the_code_lives_until_the_grace_after_the_last_collection_made_with_it() {
    for jump in [0, YEAR_MS, -YEAR_MS] {
        let mut world = apart();
        let (_, code) = bring_for(&mut world, "wang", "p1");
        let (second, _) = bring_for(&mut world, "wang", "p2");
        text_of_take(&mut world, &code);
        world.pass(100_000);
        text_of_take(&mut world, &code);
        world.now.wall_ms += jump;
        world.reload();
        world.pass(119_999);
        assert_eq!(opened(&world.key("bank-a", &code)), Some(second));
        world.now.wall_ms -= jump;
        world.pass(1);
        let outcome = world.key("bank-a", &code);
        assert_eq!(opened(&outcome), None);
        assert!(text(&outcome).contains("not good any more"));
    }
}

#[test]
fn the_code_does_not_die_behind_a_door_that_it_has_opened() {
    let mut world = apart();
    let (_, code) = bring_for(&mut world, "wang", "p1");
    bring_for(&mut world, "wang", "p2");
    text_of_take(&mut world, &code);
    world.key("bank-a", &code);
    world.door("bank-a/2", Door::Open, Some(true));
    world.pass(500_000);
    world.reload();
    assert_eq!(opened(&world.key("bank-a", &code)), Some(slot("bank-a/2")));
    let outcome = world.door("bank-a/2", Door::Closed, Some(true));
    assert!(text(&outcome).contains("your code stays good"));
    world.pass(119_999);
    assert_eq!(opened(&world.key("bank-a", &code)), Some(slot("bank-a/2")));
}

#[test]
fn without_a_grace_each_parcel_needs_its_own_code() {
    let mut world = World::rules(|rules| {
        rules.share_compartments = false;
        rules.reopen_grace_ms = 0;
    });
    let (_, code) = bring_for(&mut world, "wang", "p1");
    let (_, other) = bring_for(&mut world, "wang", "p2");
    assert!(text_of_take(&mut world, &code).contains("the code of the next one"));
    assert_eq!(opened(&world.key("bank-a", &code)), None);
    assert_eq!(opened(&world.key("bank-a", &other)), Some(slot("bank-a/2")));
}

/// Two parcels of one recipient in bank-a/1, and the first one's code.
fn shared() -> (World, String) {
    let mut world = apart();
    let (_, code) = bring_for(&mut world, "wang", "p1");
    bring_for(&mut world, "wang", "p2");
    share(&mut world, "p2", "bank-a/1");
    (world, code)
}

#[test]
fn a_shared_compartment_is_emptied_by_one_command_with_one_text() {
    let (mut world, code) = shared();
    let outcome = world.key("bank-a", &code);
    assert_eq!(opens(&outcome).len(), 1);
    assert_eq!(
        (world.stage("p1"), world.stage("p2")),
        ("collecting", "collecting")
    );
    world.reload();
    world.door("bank-a/1", Door::Open, Some(true));
    let outcome = world.door("bank-a/1", Door::Closed, Some(false));
    assert!(text(&outcome).contains("thank you"));
    for name in ["p1", "p2"] {
        assert_eq!(heard(&world, name), here("collected", "bank-a/1"));
    }
    assert!(world.compartment("bank-a/1").is_free());
}

#[test]
fn a_shared_compartment_that_stays_occupied_keeps_both() {
    let (mut world, code) = shared();
    world.key("bank-a", &code);
    let outcome = swing(&mut world, "bank-a/1", Some(true));
    assert!(text(&outcome).contains("not empty"));
    for name in ["p1", "p2"] {
        assert_eq!(world.stage(name), "deposited");
    }
    assert_eq!(opened(&world.key("bank-a", &code)), Some(slot("bank-a/1")));
}

#[test]
fn a_door_that_does_not_open_leaves_both_where_they_are_and_says_so_once() {
    let (mut world, code) = shared();
    let command = open_id(&world.key("bank-a", &code));
    let outcome = world.result("bank-a", &command, Done::Failed);
    assert!(text(&outcome).contains("did not open"));
    for name in ["p1", "p2"] {
        assert_eq!(world.stage(name), "deposited");
    }
    world.key("bank-a", &code);
    let outcome = world.pass(10_000);
    assert!(text(&outcome).contains("did not answer"));
    for name in ["p1", "p2"] {
        assert_eq!(world.stage(name), "deposited");
    }
}

#[test]
fn what_goes_back_stays_inside_and_then_occupied_says_nothing() {
    let (mut world, code) = shared();
    cancel(&mut world, "p2");
    world.key("bank-a", &code);
    assert_eq!(
        (world.stage("p1"), world.stage("p2")),
        ("collecting", "deposited")
    );
    swing(&mut world, "bank-a/1", Some(true));
    assert_eq!(
        (world.stage("p1"), world.stage("p2")),
        ("collected", "deposited")
    );
    assert_eq!(back(&world, "p2"), Some(Back::Cancelled));
    // Something is inside; whether it is his nobody knows, so the grace lets him look.
    let outcome = world.key("bank-a", &code);
    assert_eq!(opened(&outcome), Some(slot("bank-a/1")));
    swing(&mut world, "bank-a/1", Some(true));
    assert_eq!(world.stage("p2"), "deposited");
    world.pass(121_000);
    assert_eq!(opened(&world.key("bank-a", &code)), None);
}

#[test]
fn what_should_have_stayed_and_is_gone_is_on_record() {
    let (mut world, code) = shared();
    cancel(&mut world, "p2");
    world.key("bank-a", &code);
    world.door("bank-a/1", Door::Open, Some(true));
    world.door("bank-a/1", Door::Closed, Some(false));
    assert_eq!(world.stage("p1"), "collected");
    assert_eq!(world.steps("p2").last(), Some(&"seen-empty"));
}

#[test]
fn an_overdue_parcel_is_handed_over_with_the_others() {
    let (mut world, code) = shared();
    extend(&mut world, "p2", EVENING_MS + 9 * 86_400_000);
    world.pass(DAY_MS);
    assert_eq!(back(&world, "p1"), Some(Back::Overdue));
    text_of_take(&mut world, &code);
    for name in ["p1", "p2"] {
        assert_eq!(heard(&world, name).0, "collected");
    }
}

#[test]
fn without_a_sensor_the_compartment_stays_open_to_the_code_for_longer() {
    let mut world = World::new();
    let code = world.expect(parcel("p1", "bank-b"));
    world.courier("badge", i64::MAX);
    world.scan("keypad-b", "badge");
    let place = opened(&world.scan("keypad-b", "p1")).unwrap();
    swing(&mut world, &place.to_string(), None);
    world.key("keypad-b", &code);
    swing(&mut world, &place.to_string(), None);
    assert_eq!(world.stage("p1"), "collected");
    world.pass(299_999);
    world.reload();
    assert_eq!(opened(&world.key("keypad-b", &code)), Some(place));
    world.skip(1);
    assert_eq!(opened(&world.key("keypad-b", &code)), None);
}

#[test]
fn a_transferred_parcels_code_says_at_which_desk_it_waits_and_counts_as_nothing() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    transfer(&mut world, "p1");
    let outcome = world.key("bank-a", &code);
    assert_eq!(opened(&outcome), None);
    assert!(text(&outcome).contains("just being brought to: desk-c"));
    swing(&mut world, "bank-a/1", Some(false));
    for _ in 0..20 {
        let words = text(&world.key("bank-a", &code));
        assert!(words.contains("desk-c, the group leader's"), "{words}");
    }
    assert_eq!(counted(&world), 0);
}

#[test]
fn what_else_waits_here_is_handed_over_though_the_own_parcel_was_brought_to_a_desk() {
    let mut world = apart();
    let (_, code) = bring_for(&mut world, "wang", "p1");
    let (second, _) = bring_for(&mut world, "wang", "p2");
    transfer(&mut world, "p1");
    swing(&mut world, "bank-a/1", Some(false));
    assert_eq!(opened(&world.key("bank-a", &code)), Some(second));
}

#[test]
fn a_compartment_that_is_just_being_filled_is_not_opened_for_its_recipient() {
    let mut world = apart();
    let (_, code) = bring_for(&mut world, "wang", "p1");
    world.expect(parcel_of("wang", "p2", "bank-a"));
    world.scan("bank-a", "badge");
    world.scan("bank-a", "p2");
    // As if it were going into the same compartment.
    let row = world.snapshot.parcels.get_mut("p2").unwrap();
    let estate::parcel::Stage::Depositing {
        slot: place,
        opened: seen,
        ..
    } = &mut row.stage
    else {
        panic!()
    };
    *seen = true;
    let old = std::mem::replace(place, slot("bank-a/1"));
    let rows = &mut world.snapshot.compartments;
    rows.get_mut(&old).unwrap().reserved = None;
    rows.get_mut(&slot("bank-a/1")).unwrap().reserved = Some("p2".into());
    world.reload();
    let outcome = world.key("bank-a", &code);
    assert_eq!(opened(&outcome), None);
    assert!(text(&outcome).contains("just being filled"));
    world.pass(120_000);
    let outcome = world.key("bank-a", &code);
    assert!(
        opened(&outcome).is_some(),
        "a door forgotten open keeps nobody from his parcel"
    );
}
