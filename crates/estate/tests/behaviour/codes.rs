//! Pickup codes: length, evenness, uniqueness, death and rest.

use std::collections::{BTreeMap, BTreeSet};

use cloud_protocol::Downlink;
use estate::Verdict;
use estate::code::CodeState;
use firmware_protocols::event::Door;

use crate::common::*;

#[test]
fn a_code_goes_out_once_with_its_salt_when_the_parcel_is_expected() {
    let mut world = World::new();
    let code = world.expect(parcel("p1", "bank-a"));
    assert!(code.bytes().all(|b| b.is_ascii_digit()));
    let sent: Vec<_> = world
        .reports
        .iter()
        .filter_map(|r| r.code.as_ref())
        .collect();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].salt.len(), 16);
    assert_eq!(world.reports[0].state.word(), "expected");
}

/// With 5 compartments, one keypad and the default lockout T = 500 + 4 × max(5, n): n × T must stay
/// at or below 10^d / 1,000.
#[test]
fn codes_are_as_long_as_the_live_codes_and_the_lockout_need() {
    let mut world = World::new();
    let mut lengths = Vec::new();
    for n in 1..=110 {
        assert_eq!(
            usize::from(world.estate.code_digits(&id("bank-a"))),
            {
                let code = world.expect(parcel(&format!("p{n}"), "bank-a"));
                lengths.push(code.len());
                code.len()
            },
            "what is foretold is issued"
        );
    }
    assert_eq!(lengths.iter().filter(|l| **l == 6).count(), 1);
    // 17 × (500 + 68) = 9,656; 18 × (500 + 72) = 10,296.
    assert_eq!(lengths.iter().position(|l| *l == 8), Some(17));
    let short = |world: &World, n: u32| world.steps(&format!("p{n}")).contains(&"code-too-short");
    // 107 × (500 + 428) = 99,296; 108 × (500 + 432) = 100,656.
    assert!(!short(&world, 107));
    assert!(
        short(&world, 108),
        "more than the longest code can hold is said"
    );
}

#[test]
fn the_documented_example_is_true() {
    let mut layout = layout();
    let spec = layout.banks[0].compartments[0];
    layout.banks[0].compartments = vec![spec; 24];
    let mut world = World::with(layout);
    let mut lengths = BTreeMap::new();
    for n in 1..=107 {
        let code = world.expect(parcel(&format!("p{n}"), "bank-a"));
        *lengths.entry(code.len()).or_insert(0) += 1;
        assert!(!world.steps(&format!("p{n}")).contains(&"code-too-short"));
    }
    assert_eq!(lengths, BTreeMap::from([(6, 1), (7, 15), (8, 91)]));
}

#[test]
fn each_keypad_of_a_point_counts() {
    let mut world = World::rules(|rules| rules.guess_one_in = 900);
    // bank-b has two keypads: 2 × (500 + 8) × 900 = 914,400; with another, 2 × 508 × 2 × 900.
    assert_eq!(world.estate.code_digits(&id("bank-b")), 6);
    world.expect(parcel("p1", "bank-b"));
    assert_eq!(world.estate.code_digits(&id("bank-b")), 7);
    assert_eq!(
        world.estate.code_digits(&id("bank-a")),
        6,
        "points don't matter to each other"
    );
}

#[test]
fn digits_are_even() {
    let mut world = World::rules(|rules| {
        rules.code_min_digits = 3;
        rules.code_max_digits = 3;
    });
    let mut counts = [[0_u32; 10]; 3];
    for n in 0..6_000 {
        let name = format!("p{n}");
        let code = world.expect(parcel(&name, "bank-a"));
        world.cloud(Downlink::ParcelCancelled { parcel: name });
        world.pass(DAY_MS);
        for (place, digit) in code.bytes().enumerate() {
            counts[place][usize::from(digit - b'0')] += 1;
        }
        world.codes.clear();
        world.traces.clear();
        world.reports.clear();
    }
    // 600 of each are expected, ± 23 (one standard deviation).
    for count in counts.into_iter().flatten() {
        assert!((480..=720).contains(&count), "{counts:?}");
    }
}

#[test]
fn no_code_is_given_twice_while_live_or_resting_and_all_can_be_given() {
    let mut world = World::rules(|rules| {
        rules.code_min_digits = 2;
        rules.code_max_digits = 2;
    });
    let mut two_digits = BTreeSet::new();
    for n in 0..120 {
        let name = format!("p{n}");
        let code = world.expect(parcel(&name, "bank-a"));
        if n % 2 == 0 {
            world.cloud(Downlink::ParcelCancelled { parcel: name });
        }
        if code.len() == 2 {
            assert!(two_digits.insert(code), "given twice");
        }
    }
    assert!(
        two_digits.len() > 90,
        "nearly all of 100: {}",
        two_digits.len()
    );
}

#[test]
fn the_same_digits_may_live_at_two_points() {
    let mut world = World::rules(|rules| {
        rules.code_min_digits = 1;
        rules.code_max_digits = 1;
    });
    let a: BTreeSet<_> = (0..5)
        .map(|n| world.expect(parcel(&format!("a{n}"), "bank-a")))
        .collect();
    let b: BTreeSet<_> = (0..9)
        .map(|n| world.expect(parcel(&format!("b{n}"), "bank-b")))
        .collect();
    assert!(a.intersection(&b).count() > 0);
}

#[test]
fn a_cancelled_parcels_code_is_dead_and_rests_for_its_time() {
    let mut world = World::new();
    let code = world.expect(parcel("p1", "bank-a"));
    world.cloud(Downlink::ParcelCancelled {
        parcel: "p1".into(),
    });
    assert!(text(&world.key("bank-a", &code)).contains("not good any more"));
    world.pass(DAY_MS - 1);
    assert_eq!(world.estate.codes().count(), 1);
    world.reload();
    assert!(matches!(
        world.estate.codes().next().unwrap().state,
        CodeState::Resting { .. }
    ));
    world.pass(1);
    assert_eq!(world.estate.codes().count(), 0);
    assert!(world.snapshot.codes.is_empty());
}

#[test]
fn a_used_code_rests_from_the_end_of_its_grace() {
    let mut world = World::new();
    let (_, code) = world.bring("p1");
    world.take(&code);
    world.pass(120_000 + DAY_MS - 1);
    assert_eq!(world.estate.codes().count(), 1);
    world.pass(1);
    assert_eq!(world.estate.codes().count(), 0);
}

#[test]
fn a_reissued_code_kills_the_old_one_in_every_stage() {
    let mut world = World::new();
    let first = world.expect(parcel("p1", "bank-a"));
    let reissue = || Downlink::CodeReissue {
        parcel: "p1".into(),
    };
    assert_eq!(world.cloud(reissue()), Verdict::Taken);
    let second = world.codes["p1"].clone();
    assert_ne!(first, second);
    assert!(text(&world.key("bank-a", &first)).contains("not good any more"));
    let place = world.put("p1");
    assert_eq!(world.cloud(reissue()), Verdict::Taken);
    let third = world.codes["p1"].clone();
    let report = world.reports.last().unwrap();
    assert_eq!(
        (report.state.word(), report.compartment),
        ("deposited", Some(1))
    );
    assert_eq!(opened(&world.key("bank-a", &second)), None);
    assert_eq!(opened(&world.key("bank-a", &third)), Some(place));
    world.door("bank-a/1", Door::Open, Some(true));
    world.door("bank-a/1", Door::Closed, Some(false));
    assert!(matches!(world.cloud(reissue()), Verdict::Refused(_)));
    assert!(matches!(
        world.cloud(Downlink::CodeReissue {
            parcel: "none".into()
        }),
        Verdict::Refused(_)
    ));
}

/// One who guesses at random at a keypad that locks, for many days: the share of days with a hit
/// stays below the set chance. Short codes make it measurable.
#[test]
fn one_who_guesses_all_day_stays_below_the_chance() {
    let mut world = World::rules(|rules| {
        rules.code_min_digits = 1;
        rules.lockout_after = 2;
        rules.lockout_first_ms = HOUR_MS;
        rules.lockout_longest_ms = 4 * HOUR_MS;
        rules.guess_one_in = 8;
    });
    world.expect(parcel("p1", "bank-a"));
    let digits = world.codes["p1"].len();
    // T = 2 × 8 + max(5, 1) × 1 = 21 tries a day; 21 × 8 = 168 needs 3 digits.
    assert_eq!(digits, 3);
    let mut days_hit = 0;
    for _ in 0..400 {
        let mut hit = false;
        for _ in 0..24 * 12 {
            let guess = format!("{:03}", world.dice.below(1_000));
            hit |= text(&world.key("bank-a", &guess)).contains("not here yet");
            world.skip(300_000);
        }
        world.pass(0);
        days_hit += u32::from(hit);
    }
    assert!(days_hit > 0, "a guess can hit at all");
    assert!(days_hit < 400 / 8, "{days_hit} of 400 days");
}
