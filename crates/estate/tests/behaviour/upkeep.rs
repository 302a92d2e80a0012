//! A technician takes a compartment out of use, and back into it.

use estate::{Input, Verdict};
use firmware_protocols::event::Door;

use crate::common::*;

fn disable(world: &mut World, place: &str, reason: Option<&str>) -> Verdict {
    let input = Input::Disable {
        slot: slot(place),
        operator: "li".into(),
        reason: reason.map(Into::into),
    };
    world.handle(input).verdict
}

#[test]
fn nothing_is_put_in_until_it_is_back_in_use() {
    let mut world = World::new();
    assert_eq!(
        disable(&mut world, "bank-a/1", Some("hinge")),
        Verdict::Taken
    );
    world.reload();
    assert_eq!(
        world.compartment("bank-a/1").disabled.as_deref(),
        Some("hinge")
    );
    assert_eq!(world.bring("p1").0, slot("bank-a/2"));
    world.door("bank-a/1", Door::Open, Some(false));
    world.door("bank-a/1", Door::Closed, Some(false));
    assert!(
        world.compartment("bank-a/1").disabled.is_some(),
        "no door ends it"
    );
    assert_eq!(disable(&mut world, "bank-a/1", None), Verdict::Taken);
    world.reload();
    assert_eq!(world.bring("p2").0, slot("bank-a/1"));
}

#[test]
fn what_is_inside_is_collected_and_its_history_says_so() {
    let mut world = World::new();
    let (place, code) = world.bring("p1");
    disable(&mut world, "bank-a/1", Some("hinge"));
    let entry = world.traces.last().unwrap().clone();
    assert_eq!(
        (entry.step, entry.who.as_str(), entry.detail.as_deref()),
        (
            "compartment-disabled",
            "operator li",
            Some("bank-a/1: hinge")
        )
    );
    let steps = world.traces.len();
    assert_eq!(
        disable(&mut world, "bank-a/1", Some("hinge")),
        Verdict::Taken
    );
    assert_eq!(world.traces.len(), steps, "it was so already");
    disable(&mut world, "bank-a/1", None);
    assert_eq!(world.traces.last().unwrap().step, "compartment-enabled");
    disable(&mut world, "bank-a/1", None);
    assert_eq!(world.traces.len(), steps + 1);
    disable(&mut world, "bank-a/1", Some("lock"));
    world.reload();
    assert_eq!(world.take(&code), place);
    assert_eq!(world.stage("p1"), "collected");
}

#[test]
fn a_deposit_that_has_not_begun_goes_elsewhere_and_one_that_has_ends_there() {
    let mut world = World::new();
    world.courier("badge", i64::MAX);
    world.expect(parcel("p1", "bank-a"));
    world.scan("bank-a", "badge");
    world.scan("bank-a", "p1");
    disable(&mut world, "bank-a/1", Some("hinge"));
    assert_eq!(world.traces.last().unwrap().parcel, "p1");
    assert_eq!(opened(&world.scan("bank-a", "p1")), Some(slot("bank-a/2")));
    world.door("bank-a/2", Door::Open, Some(false));
    disable(&mut world, "bank-a/2", Some("hinge"));
    assert_eq!(opened(&world.scan("bank-a", "p1")), Some(slot("bank-a/2")));
    world.door("bank-a/2", Door::Closed, Some(true));
    assert_eq!(world.stage("p1"), "deposited");
}

#[test]
fn what_does_not_exist_is_refused_with_what_does() {
    let mut world = World::new();
    for (place, word) in [
        ("bank-z/1", "banks: bank-a, bank-b"),
        ("bank-a/6", "1 to 5"),
        ("desk-c/1", "isn't a bank"),
    ] {
        let Verdict::Refused(why) = disable(&mut world, place, Some("x")) else {
            panic!("{place}")
        };
        assert!(why.contains(word), "{why}");
    }
    let refused = disable(&mut world, "bank-a/1", Some(" "));
    assert!(matches!(refused, Verdict::Refused(why) if why.contains("why")));
    let input = Input::Disable {
        slot: slot("bank-a/1"),
        operator: " ".into(),
        reason: None,
    };
    assert!(matches!(world.handle(input).verdict, Verdict::Refused(_)));
    assert_eq!(world.compartment("bank-a/1").disabled, None);
}
