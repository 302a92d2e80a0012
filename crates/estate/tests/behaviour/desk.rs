//! The staff at a desk: handing over, receiving, new codes; with names, and with the lockout.

use cloud_protocol::downlink::ExpectedParcel;
use estate::input::DeskAct;
use estate::{Input, Verdict};

use crate::common::*;
use crate::staff::*;

#[test]
fn one_code_hands_over_everything_of_its_recipient_at_the_desk() {
    let mut world = World::new();
    let code = at_desk(&mut world, "wang", "p1");
    let other = at_desk(&mut world, "wang", "p2");
    at_desk(&mut world, "zhao", "p3");
    world.reload();
    assert_eq!(told(&hand_over(&mut world, &code)), "hand over: p1, p2");
    for name in ["p1", "p2"] {
        assert_eq!(heard(&world, name), here("collected", "desk-c"));
        let entry = world.traces.iter().rfind(|t| t.parcel == name).unwrap();
        assert_eq!(
            (entry.step, entry.who.as_str()),
            ("collected", "operator li at desk-c")
        );
    }
    assert_eq!(world.stage("p3"), "deposited");
    for code in [code, other] {
        let verdict = hand_over(&mut world, &code).verdict;
        assert!(why(&verdict).contains("not good any more"), "{verdict:?}");
    }
}

#[test]
fn the_terminal_hands_over_everything_too_and_names_it() {
    let mut world = World::new();
    let code = at_desk(&mut world, "wang", "p1");
    at_desk(&mut world, "wang", "p2");
    let words = text(&world.key("desk-c", &code));
    assert!(words.contains("2 in all: p1, p2"), "{words}");
    assert_eq!(world.stage("p2"), "collected");
}

#[test]
fn wrong_codes_lock_the_desk_like_a_keypad_and_its_terminal_with_it() {
    for jump in [YEAR_MS, -YEAR_MS] {
        let mut world = World::new();
        let code = at_desk(&mut world, "wang", "p1");
        for left in [4, 3, 2, 1] {
            let verdict = hand_over(&mut world, "999999999").verdict;
            assert!(why(&verdict).contains(&format!("{left} more tr")));
            world.reload();
        }
        let verdict = hand_over(&mut world, "999999999").verdict;
        assert!(why(&verdict).contains("locked after wrong codes: try again in 1 min"));
        world.now.wall_ms += jump;
        world.reload();
        world.skip(59_999);
        let verdict = hand_over(&mut world, &code).verdict;
        assert!(why(&verdict).contains("try again in 1 min"));
        assert!(text(&world.key("desk-c", &code)).contains("Locked"));
        world.skip(1);
        assert_eq!(told(&hand_over(&mut world, &code)), "hand over: p1");
    }
}

#[test]
fn a_hand_over_forgives_wrong_tries() {
    let mut world = World::new();
    let code = at_desk(&mut world, "wang", "p1");
    for _ in 0..4 {
        hand_over(&mut world, "999999999");
    }
    hand_over(&mut world, &code);
    let verdict = hand_over(&mut world, "999999999").verdict;
    assert!(why(&verdict).contains("4 more tries"));
}

#[test]
fn nought_and_couriers_are_nobody_at_a_hand_over() {
    let mut world = World::new();
    at_desk(&mut world, "wang", "p1");
    cancel(&mut world, "p1");
    world.courier("badge", i64::MAX);
    world.scan("desk-c", "badge");
    let verdict = hand_over(&mut world, "0").verdict;
    assert!(why(&verdict).contains("wrong code: 4 more tries"));
    assert_eq!(world.stage("p1"), "deposited");
}

#[test]
fn what_waits_elsewhere_is_refused_with_where_and_counted_only_mildly() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    for wrong in [0, 0, 1, 1, 1, 2] {
        let verdict = hand_over(&mut world, &code).verdict;
        assert!(why(&verdict).contains("waits at bank-a, north gate"));
        assert_eq!(counted(&world), wrong);
    }
    assert_eq!(world.stage("p1"), "deposited");
}

#[test]
fn the_desks_own_code_whose_parcel_is_not_here_yet_counts_as_nothing() {
    let mut world = World::new();
    let code = world.expect(parcel("p1", "desk-c"));
    for _ in 0..10 {
        let verdict = hand_over(&mut world, &code).verdict;
        assert!(why(&verdict).contains("isn't here yet"));
    }
    assert_eq!(counted(&world), 0);
}

#[test]
fn a_desk_receives_what_is_expected_there_once() {
    let mut world = World::new();
    world.expect(parcel("p1", "desk-c"));
    world.expect(parcel("p2", "bank-a"));
    assert!(told(&receive(&mut world, "p1")).contains("p1 waits at desk-c"));
    assert_eq!(heard(&world, "p1"), here("deposited", "desk-c"));
    let entry = world
        .traces
        .iter()
        .rfind(|t| t.step == "deposited")
        .unwrap();
    assert_eq!(entry.who, "operator li at desk-c");
    assert!(entry.detail.as_ref().unwrap().contains("courier c-9"));
    let reports = world.reports.len();
    assert!(told(&receive(&mut world, "p1")).contains("already"));
    assert_eq!(world.reports.len(), reports);
    assert!(why(&receive(&mut world, "p2").verdict).contains("belongs to bank-a, north gate"));
    assert!(why(&receive(&mut world, "none").verdict).contains("isn't known"));
    cancel(&mut world, "p2");
    assert!(why(&receive(&mut world, "p2").verdict).contains("courier keeps it"));
}

#[test]
fn a_desk_receives_what_no_compartment_took_and_its_code_works_there() {
    let mut world = World::new();
    let code = world.expect(parcel("p1", "bank-a"));
    world.snapshot.parcels.get_mut("p1").unwrap().to_desk = true;
    world.reload();
    assert!(told(&receive(&mut world, "p1")).contains("waits at desk-c"));
    assert_eq!(told(&hand_over(&mut world, &code)), "hand over: p1");
    assert_eq!(heard(&world, "p1"), here("collected", "desk-c"));
}

#[test]
fn an_amended_parcel_goes_to_its_point_again() {
    let mut world = World::new();
    world.expect(parcel("p1", "bank-a"));
    world.snapshot.parcels.get_mut("p1").unwrap().to_desk = true;
    world.reload();
    let later = ExpectedParcel {
        deadline: EVENING_MS + 1,
        ..parcel("p1", "bank-a")
    };
    world.expect(later.clone());
    assert!(world.estate.parcel("p1").unwrap().to_desk);
    world.expect(ExpectedParcel {
        consent: false,
        ..later
    });
    assert!(!world.estate.parcel("p1").unwrap().to_desk);
}

#[test]
fn a_new_code_is_told_and_the_old_one_is_dead() {
    let mut world = World::new();
    let (place, old) = world.bring("p1");
    let act = DeskAct::Reissue {
        parcel: "p1".into(),
    };
    let outcome = staff(&mut world, act.clone());
    let code = outcome.told.clone().unwrap().code.unwrap();
    assert!(!format!("{outcome:?}").contains(code.reveal()));
    assert_eq!(world.codes["p1"], code.reveal(), "the cloud is told too");
    let entry = world
        .traces
        .iter()
        .rfind(|t| t.step == "code-reissued")
        .unwrap();
    assert_eq!(entry.who, "operator li");
    world.reload();
    assert_eq!(opened(&world.key("bank-a", &old)), None);
    assert_eq!(opened(&world.key("bank-a", code.reveal())), Some(place));
    swing(&mut world, "bank-a/1", Some(false));
    assert!(why(&staff(&mut world, act).verdict).contains("too late"));
}

#[test]
fn what_goes_back_gets_no_new_code() {
    let mut world = World::new();
    world.bring("p1");
    cancel(&mut world, "p1");
    let act = DeskAct::Reissue {
        parcel: "p1".into(),
    };
    assert!(why(&staff(&mut world, act).verdict).contains("goes back (cancelled)"));
    let reissue = cloud_protocol::Downlink::CodeReissue {
        parcel: "p1".into(),
    };
    assert!(why(&world.cloud(reissue)).contains("goes back"));
}

#[test]
fn nobody_acts_without_a_name_or_at_what_is_not_a_desk() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    for operator in ["", "  ", "l\ni", &"x".repeat(129)] {
        let act = DeskAct::Transfer {
            desk: id("desk-c"),
            parcel: "p1".into(),
        };
        let outcome = world.handle(Input::Desk {
            operator: operator.into(),
            act,
        });
        assert!(why(&outcome.verdict).contains("say who"), "{operator:?}");
    }
    for desk in ["bank-a", "nowhere"] {
        let desk = id(desk);
        let typed = typed(&world.layout, &desk, &code);
        let acts = [
            DeskAct::HandOver {
                desk: desk.clone(),
                typed,
            },
            DeskAct::Transfer {
                desk: desk.clone(),
                parcel: "p1".into(),
            },
            DeskAct::Receive {
                desk,
                parcel: "p1".into(),
                courier: None,
            },
        ];
        for act in acts {
            assert!(why(&staff(&mut world, act).verdict).contains("desks: desk-c"));
        }
    }
    assert_eq!(world.stage("p1"), "deposited");
}

#[test]
fn a_transferred_parcel_is_handed_over_by_its_old_code() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    transfer(&mut world, "p1");
    let verdict = hand_over(&mut world, &code).verdict;
    assert!(why(&verdict).contains("just now"), "the door isn't closed");
    swing(&mut world, "bank-a/1", Some(false));
    world.reload();
    assert_eq!(hand_over(&mut world, &code).verdict, Verdict::Taken);
}

#[test]
fn a_code_of_another_point_gives_out_only_its_own_parcel_here() {
    let mut world = apart();
    let (_, code) = bring_for(&mut world, "wang", "p1");
    at_desk(&mut world, "wang", "p2");
    world.take(&code);
    let verdict = hand_over(&mut world, &code).verdict;
    assert!(why(&verdict).contains("collected already"), "{verdict:?}");
    assert_eq!(world.stage("p2"), "deposited");
}

#[test]
fn a_code_that_gives_out_nothing_forgives_nothing() {
    let mut layout = layout();
    let mut second = layout.desks[0].clone();
    second.id = id("desk-d");
    layout.desks.push(second);
    let mut world = World::with(layout);
    let code = world.expect(parcel("p1", "desk-c"));
    world.snapshot.parcels.get_mut("p1").unwrap().to_desk = true;
    world.reload();
    let act = DeskAct::Receive {
        desk: id("desk-d"),
        parcel: "p1".into(),
        courier: None,
    };
    assert_eq!(staff(&mut world, act).verdict, Verdict::Taken);
    for _ in 0..4 {
        hand_over(&mut world, "999999999");
    }
    let verdict = hand_over(&mut world, &code).verdict;
    assert!(why(&verdict).contains("waits at desk-d"));
    let verdict = hand_over(&mut world, "999999999").verdict;
    assert!(why(&verdict).contains("try again in 1 min"));
}
