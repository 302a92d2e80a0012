//! What the cloud says: answered always, done once, never in the way of the next item.

use std::collections::BTreeMap;

use cloud_protocol::downlink::Proof;
use cloud_protocol::{Downlink, badge_digest};
use estate::Verdict;

use crate::common::*;

fn refused(verdict: &Verdict, word: &str) {
    match verdict {
        Verdict::Refused(why) => assert!(why.contains(word), "{why}"),
        other => panic!("{other:?}"),
    }
}

fn cancel(name: &str) -> Downlink {
    Downlink::ParcelCancelled {
        parcel: name.into(),
    }
}

#[test]
fn announcing_twice_does_nothing_twice() {
    let mut world = World::new();
    let code = world.expect(parcel("p1", "bank-a"));
    world.expect(parcel("p1", "bank-a"));
    assert_eq!(world.codes["p1"], code);
    assert_eq!(world.reports.len(), 1);
    assert_eq!(world.steps("p1"), ["announced", "code-issued"]);
}

#[test]
fn an_unknown_point_is_refused_with_what_exists() {
    let mut world = World::new();
    let verdict = world.cloud(Downlink::ParcelExpected(parcel("p1", "bank-z")));
    refused(&verdict, "points: bank-a, bank-b, desk-c");
    assert!(!world.estate.knows_parcel("p1"));
    assert_eq!(world.steps("p1"), ["turned-down"]);
    world.expect(parcel("p2", "bank-a"));
}

#[test]
fn an_expected_parcel_can_be_announced_otherwise_and_at_another_point_gets_a_new_code() {
    let mut world = World::new();
    let first = world.expect(parcel("p1", "bank-a"));
    let mut p = parcel("p1", "bank-a");
    p.deadline += 1;
    assert_eq!(world.expect(p), first);
    let second = world.expect(parcel("p1", "desk-c"));
    assert_ne!(first, second);
    assert!(text(&world.key("bank-a", &first)).contains("not good any more"));
    assert!(text(&world.key("desk-c", &second)).contains("not here yet"));
    world.courier("badge", i64::MAX);
    world.scan("desk-c", "badge");
    world.scan("desk-c", "p1");
    refused(
        &world.cloud(Downlink::ParcelExpected(parcel("p1", "bank-a"))),
        "deposited",
    );
}

#[test]
fn a_parcel_is_cancelled_before_its_deposit_once_and_for_good() {
    let mut world = World::new();
    world.expect(parcel("p1", "bank-a"));
    assert_eq!(world.cloud(cancel("p1")), Verdict::Taken);
    assert_eq!(world.cloud(cancel("p1")), Verdict::Taken);
    let states: Vec<_> = world.reports.iter().map(|r| r.state.word()).collect();
    assert_eq!(states, ["expected", "cancelled"]);
    world.courier("badge", i64::MAX);
    world.scan("bank-a", "badge");
    assert!(text(&world.scan("bank-a", "p1")).contains("cancelled"));
    assert_eq!(
        world.cloud(Downlink::ParcelExpected(parcel("p1", "bank-a"))),
        Verdict::Taken
    );
    assert_eq!(
        world.stage("p1"),
        "cancelled",
        "the announcement come again changes nothing"
    );
    refused(&world.cloud(cancel("none")), "isn't known");
}

#[test]
fn a_deadline_is_extended() {
    let mut world = World::new();
    world.expect(parcel("p1", "bank-a"));
    let extend = |deadline| Downlink::ParcelExtended {
        parcel: "p1".into(),
        deadline,
    };
    assert_eq!(world.cloud(extend(EVENING_MS * 2)), Verdict::Taken);
    assert_eq!(world.cloud(extend(EVENING_MS * 2)), Verdict::Taken);
    assert_eq!(
        world.estate.parcel("p1").unwrap().parcel.deadline,
        EVENING_MS * 2
    );
    assert_eq!(world.steps("p1"), ["announced", "code-issued", "extended"]);
    world.cloud(cancel("p1"));
    refused(&world.cloud(extend(1)), "cancelled");
}

#[test]
fn a_badge_is_replaced_and_a_withdrawn_one_ends_its_session() {
    let mut world = World::new();
    world.expect(parcel("p1", "bank-a"));
    world.courier("badge", i64::MAX);
    world.scan("bank-a", "badge");
    world.courier("badge", EVENING_MS);
    assert!(text(&world.scan("bank-a", "p1")).contains("badge first"));
    assert!(text(&world.scan("bank-a", "badge")).contains("expired"));
}

#[test]
fn badges_are_forgotten_only_for_room_and_only_after_their_end() {
    let mut world = World::new();
    world.courier("first", EVENING_MS + 1);
    for n in 1..estate::announce::COURIERS_MAX {
        world.courier(&format!("badge {n}"), EVENING_MS + 2);
    }
    world.pass(0);
    let one_more = || Downlink::Courier {
        courier: "c".into(),
        proof: Proof::Badge(badge_digest("one more")),
        valid_until: i64::MAX,
    };
    refused(&world.cloud(one_more()), "at once");
    world.pass(1);
    assert_eq!(world.cloud(one_more()), Verdict::Taken);
    assert!(!world.snapshot.couriers.contains_key(&badge_digest("first")));
    assert_eq!(
        world.snapshot.couriers.len(),
        estate::announce::COURIERS_MAX
    );
}

#[test]
fn settings_are_kept_and_the_known_ones_take_force_within_limits() {
    let mut world = World::new();
    let settings = |pairs: &[(&str, i64)]| {
        let pairs = pairs.iter().map(|(name, n)| ((*name).to_string(), *n));
        Downlink::Settings(pairs.collect::<BTreeMap<_, _>>())
    };
    let item = settings(&[
        ("reopen_grace_ms", 1_000),
        ("demand_k", 2),
        ("x", -1),
        ("lockout_after", 1_000),
    ]);
    assert_eq!(world.cloud(item), Verdict::Taken);
    assert_eq!(world.estate.rules().reopen_grace_ms, 1_000);
    assert_eq!(world.estate.rules().demand_k, 5, "never lowered from afar");
    assert_eq!(
        world.estate.rules().lockout_after,
        5,
        "not the cloud's business"
    );
    assert_eq!(world.snapshot.settings.len(), 4);
    world.cloud(settings(&[("demand_k", 20)]));
    world.reload();
    assert_eq!(
        (
            world.estate.rules().demand_k,
            world.estate.rules().reopen_grace_ms
        ),
        (20, 1_000)
    );
    let many: Vec<_> = (0..300).map(|n| (format!("n{n}"), n)).collect();
    let many: Vec<_> = many.iter().map(|(name, n)| (name.as_str(), *n)).collect();
    refused(&world.cloud(settings(&many)), "at most 256");
}
