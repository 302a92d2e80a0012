//! Pickup codes: length, evenness, uniqueness, death and rest.

use std::collections::{BTreeMap, BTreeSet};

use cloud_protocol::Downlink;
use cloud_protocol::downlink::Proof;
use estate::code::CodeState;
use estate::{Layout, Verdict};
use firmware_protocols::event::{Door, Secret};

use crate::common::*;

fn courier_code(world: &mut World, code: &str, valid_until: i64) -> Verdict {
    world.cloud(Downlink::Courier {
        courier: format!("courier {code}"),
        proof: Proof::Code(Secret::new(code.to_string())),
        valid_until,
    })
}

#[test]
fn a_code_goes_out_once_when_the_parcel_is_expected() {
    let mut world = World::new();
    let code = world.expect(parcel("p1", "bank-a"));
    assert!(code.bytes().all(|b| b.is_ascii_digit()));
    let sent: Vec<_> = world
        .reports
        .iter()
        .filter_map(|r| r.code.as_ref())
        .collect();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].plain().unwrap().reveal(), code);
    assert_eq!(world.reports[0].state.word(), "expected");
}

/// A site with bank-a alone.
fn one_bank() -> Layout {
    let mut layout = layout();
    layout.banks.truncate(1);
    layout.desks.clear();
    layout.devices.clear();
    layout
}

/// With 5 compartments, one keypad and the default lockout T = 500 + 4 × max(5, n): n × T must stay
/// at or below 10^d / 1,000.
#[test]
fn codes_are_as_long_as_the_live_codes_and_the_lockout_need() {
    let mut world = World::with(one_bank());
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

/// The site of the example in the documentation: 24 compartments with a keypad, and a desk.
fn documented() -> World {
    let mut layout = layout();
    let spec = layout.banks[0].compartments[0];
    layout.banks.truncate(1);
    layout.banks[0].compartments = vec![spec; 24];
    layout.devices.clear();
    World::with(layout)
}

#[test]
fn the_documented_example_is_true() {
    let mut world = documented();
    let mut lengths = BTreeMap::new();
    for n in 1..=107 {
        let code = world.expect(parcel(&format!("p{n}"), "bank-a"));
        *lengths.entry(code.len()).or_insert(0) += 1;
        assert!(!world.steps(&format!("p{n}")).contains(&"code-too-short"));
    }
    assert_eq!(lengths, BTreeMap::from([(6, 1), (7, 15), (8, 91)]));
    world.expect(parcel("p108", "bank-a"));
    assert!(world.steps("p108").contains(&"code-too-short"));
}

#[test]
fn each_couriers_code_takes_the_place_of_a_residents() {
    let mut world = documented();
    for n in 0..20 {
        let until = EVENING_MS + 86_400_000;
        assert_eq!(
            courier_code(&mut world, &format!("{n:08}"), until),
            Verdict::Taken
        );
    }
    let mut enough = 0;
    for n in 1..=107 {
        let name = format!("p{n}");
        world.expect(parcel(&name, "bank-a"));
        enough += u32::from(!world.steps(&name).contains(&"code-too-short"));
    }
    assert_eq!(enough, 94);
}

#[test]
fn the_point_that_lets_most_tries_through_counts_wherever_a_code_is_issued() {
    let mut world = World::rules(|rules| rules.guess_one_in = 900);
    // bank-b has two keypads: 2 × (500 + 8) × 900 = 914,400; with another code, twice that.
    for point in ["bank-a", "bank-b", "desk-c"] {
        assert_eq!(world.estate.code_digits(&id(point)), 6);
    }
    world.expect(parcel("p1", "desk-c"));
    for point in ["bank-a", "bank-b", "desk-c"] {
        assert_eq!(
            world.estate.code_digits(&id(point)),
            7,
            "it can be found at {point}"
        );
    }
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
fn the_same_digits_never_live_at_two_points_nor_with_a_courier() {
    let mut world = World::rules(|rules| {
        rules.code_min_digits = 2;
        rules.code_max_digits = 2;
    });
    let mut all = BTreeSet::new();
    for n in 0..15 {
        let code = format!("{n:02}");
        assert_eq!(courier_code(&mut world, &code, i64::MAX), Verdict::Taken);
        all.insert(code);
    }
    for n in 0..84 {
        let point = ["bank-a", "bank-b", "desk-c"][n % 3];
        let code = world.expect(parcel(&format!("p{n}"), point));
        assert!(all.insert(code), "it means two things");
        if n % 20 == 0 {
            world.reload();
        }
    }
    let two_digits = all.iter().filter(|code| code.len() == 2).count();
    assert!(two_digits > 90, "nearly all of 100: {two_digits}");
}

#[test]
fn a_couriers_code_that_is_too_short_or_somebodys_is_refused() {
    let mut world = World::new();
    let refused = |verdict: Verdict, word: &str| match verdict {
        Verdict::Refused(why) => assert!(why.contains(word), "{why}"),
        other => panic!("{other:?}"),
    };
    refused(courier_code(&mut world, "1234567", i64::MAX), "at least 8");
    assert_eq!(
        courier_code(&mut world, "12345678", i64::MAX),
        Verdict::Taken
    );
    for point in ["bank-a", "desk-c"] {
        let name = format!("at {point}");
        let mut code = world.expect(parcel(&name, point));
        while code.len() < 8 {
            world.cloud(Downlink::CodeReissue {
                parcel: name.clone(),
            });
            let more = format!("{name} {}", world.codes.len());
            world.expect(parcel(&more, "bank-b"));
            code.clone_from(&world.codes[&name]);
        }
        let verdict = courier_code(&mut world, &code, i64::MAX);
        if let Verdict::Refused(why) = &verdict {
            assert!(!why.contains(&code), "never the code itself");
        }
        refused(verdict, "give another");
    }
    assert_eq!(world.snapshot.couriers.len(), 1);
}

#[test]
fn a_couriers_code_is_forgotten_some_time_after_it_ran_out_and_a_badge_is_not() {
    let mut world = World::new();
    let until = EVENING_MS + 1_000;
    courier_code(&mut world, "12345678", until);
    world.courier("badge", until);
    world.pass(1_000 + DAY_MS - 1);
    assert_eq!(world.snapshot.couriers.len(), 2);
    world.pass(1);
    assert_eq!(world.snapshot.couriers.len(), 1);
    assert!(
        world
            .snapshot
            .couriers
            .values()
            .all(|row| row.digits.is_none())
    );
}

#[test]
fn a_clock_that_jumps_ahead_forgets_no_couriers_code() {
    let mut world = World::new();
    courier_code(&mut world, "12345678", EVENING_MS + 3_600_000);
    world.now.wall_ms += 31_536_000_000;
    world.pass(1_000);
    assert_eq!(world.snapshot.couriers.len(), 1);
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
