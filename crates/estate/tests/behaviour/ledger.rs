//! The ledger: each event once, gaps held open, what can't be told kept apart.

use std::collections::{BTreeMap, BTreeSet};

use estate::device::{BOOTS_CLOSED_MAX, BOOTS_MAX, RANGES_MAX};
use estate::input::DueReceipt;
use estate::{DeviceEvent, Happening, Input, Verdict};
use firmware_protocols::Form;

use crate::common::*;

fn event(boot: u32, seq: u64) -> DeviceEvent {
    DeviceEvent {
        device: id("door-1"),
        form: Form::Json,
        boot,
        seq,
        at_ms: EVENING_MS,
        said_ms: None,
        fingerprint: seq,
        what: Happening::Reading,
    }
}

fn send(world: &mut World, boot: u32, seq: u64) -> Verdict {
    let verdict = world.handle(Input::Event(event(boot, seq))).verdict;
    let row = world.estate.devices().next().unwrap();
    assert_eq!(row.received, row.stored + row.duplicate + row.quarantined);
    verdict
}

fn receipts(world: &mut World) -> Vec<(u32, u64)> {
    let due = world.estate.take_receipts();
    due.into_iter()
        .map(|DueReceipt { receipt, .. }| (receipt.boot, receipt.seq))
        .collect()
}

fn quarantined(verdict: &Verdict, word: &str) {
    match verdict {
        Verdict::Quarantine(why) => assert!(why.contains(word), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn events_in_order_are_taken_once_and_receipts_follow() {
    let mut world = World::new();
    assert_eq!(send(&mut world, 1, 1), Verdict::Taken);
    assert_eq!(send(&mut world, 1, 2), Verdict::Taken);
    assert_eq!(receipts(&mut world), [(1, 2)]);
    assert_eq!(receipts(&mut world), []);
    assert_eq!(send(&mut world, 1, 1), Verdict::Duplicate);
    assert_eq!(
        receipts(&mut world),
        [(1, 2)],
        "one that sends again has lost its receipt"
    );
}

#[test]
fn a_gap_holds_the_receipt_back_until_it_is_filled() {
    let mut world = World::new();
    for seq in [1, 3, 4, 6] {
        assert_eq!(send(&mut world, 1, seq), Verdict::Taken);
    }
    assert_eq!(receipts(&mut world), [(1, 1)]);
    assert_eq!(send(&mut world, 1, 3), Verdict::Duplicate);
    assert_eq!(receipts(&mut world), [(1, 1)]);
    send(&mut world, 1, 2);
    assert_eq!(receipts(&mut world), [(1, 4)]);
    send(&mut world, 1, 5);
    assert_eq!(receipts(&mut world), [(1, 6)]);
    let row = world.estate.boots().next().unwrap();
    assert_eq!((row.upto, row.ahead.len(), row.given_up.len()), (6, 0, 0));
}

#[test]
fn nothing_is_receipted_while_the_first_event_is_missing() {
    let mut world = World::new();
    send(&mut world, 1, 2);
    send(&mut world, 1, 2);
    assert_eq!(receipts(&mut world), []);
}

#[test]
fn ranges_ahead_join_from_both_sides() {
    let mut world = World::new();
    for seq in [10, 12, 11, 9, 20] {
        send(&mut world, 1, seq);
    }
    let row = world.estate.boots().next().unwrap();
    assert_eq!(row.ahead, [(9, 12), (20, 20)]);
}

#[test]
fn the_largest_numbers_and_zero_have_an_answer() {
    let mut world = World::new();
    quarantined(&send(&mut world, 1, 0), "numbered from 1");
    assert_eq!(send(&mut world, 1, u64::MAX), Verdict::Taken);
    assert_eq!(send(&mut world, 1, u64::MAX), Verdict::Duplicate);
    assert_eq!(send(&mut world, 1, u64::MAX - 1), Verdict::Taken);
    assert_eq!(send(&mut world, u32::MAX, 1), Verdict::Taken);
    assert_eq!(send(&mut world, 0, 1), Verdict::Taken);
}

#[test]
fn too_many_gaps_give_the_lowest_up_and_its_events_go_to_quarantine() {
    let mut world = World::new();
    let ranges = RANGES_MAX as u64;
    for n in 1..=ranges {
        send(&mut world, 1, 2 * n);
    }
    assert_eq!(receipts(&mut world), []);
    send(&mut world, 1, 2 * ranges + 2);
    assert_eq!(receipts(&mut world), [(1, 2)]);
    let row = world.estate.boots().next().unwrap();
    assert_eq!(
        (row.given_up.clone(), row.ahead.len()),
        (vec![(1, 1)], RANGES_MAX)
    );
    quarantined(&send(&mut world, 1, 1), "gap was given up");
    assert_eq!(
        receipts(&mut world),
        [(1, 2)],
        "it is on disk, in quarantine"
    );
    assert_eq!(send(&mut world, 1, 2), Verdict::Duplicate);
    assert_eq!(send(&mut world, 1, 3), Verdict::Taken);
    // For ever: the list of what was given up stays bounded too.
    for n in 0..10 * ranges {
        send(&mut world, 1, 1_000 + 2 * n);
    }
    let row = world.estate.boots().next().unwrap();
    assert!(row.given_up.len() <= RANGES_MAX && row.ahead.len() <= RANGES_MAX);
}

#[test]
fn a_boot_number_used_twice_is_seen_at_event_one() {
    let mut world = World::new();
    for seq in 1..=5 {
        send(&mut world, 1, seq);
    }
    let mut again = event(1, 1);
    again.fingerprint = 77;
    let verdict = world.handle(Input::Event(again)).verdict;
    quarantined(&verdict, "count its starts up in lasting memory");
    quarantined(&send(&mut world, 1, 2), "more than one start");
    world.reload();
    quarantined(&send(&mut world, 1, 5), "more than one start");
    assert_eq!(
        send(&mut world, 1, 6),
        Verdict::Taken,
        "beyond, it is news for sure"
    );
    assert_eq!(
        send(&mut world, 2, 1),
        Verdict::Taken,
        "a new boot number is good again"
    );
    assert_eq!(send(&mut world, 2, 1), Verdict::Duplicate);
}

#[test]
fn a_ninth_boot_closes_the_longest_silent_one_and_loses_and_doubles_nothing() {
    let mut world = World::new();
    for boot in 1..=8 {
        world.skip(1);
        for seq in [1, 2, 4] {
            send(&mut world, boot, seq);
        }
    }
    world.skip(1);
    send(&mut world, 1, 5);
    world.skip(1);
    send(&mut world, 9, 1);
    world.reload();
    receipts(&mut world);
    assert_eq!(send(&mut world, 2, 2), Verdict::Duplicate);
    assert_eq!(receipts(&mut world), [(2, 2)], "no more than is true");
    assert_eq!(send(&mut world, 2, 4), Verdict::Duplicate);
    quarantined(&send(&mut world, 2, 3), "too old");
    quarantined(&send(&mut world, 2, 5), "too old");
    assert_eq!(
        send(&mut world, 1, 3),
        Verdict::Taken,
        "it was heard, so it is still open"
    );
}

#[test]
fn boots_stay_bounded() {
    let mut world = World::new();
    for boot in 0..100 {
        world.skip(1);
        send(&mut world, boot, 1);
    }
    assert_eq!(world.snapshot.boots.len(), BOOTS_MAX + BOOTS_CLOSED_MAX);
    let closed = world.estate.boots().filter(|row| row.closed()).count();
    assert_eq!(closed, BOOTS_CLOSED_MAX);
    let known: BTreeSet<_> = world.estate.boots().map(|row| row.boot).collect();
    assert_eq!(known, (84..100).collect());
}

#[test]
fn what_never_became_an_event_is_counted() {
    let mut world = World::new();
    send(&mut world, 1, 1);
    let unreadable = Input::Unreadable {
        device: id("door-1"),
        number: None,
    };
    assert_eq!(world.handle(unreadable).verdict, Verdict::Taken);
    let row = world.estate.devices().next().unwrap().clone();
    assert_eq!((row.received, row.stored, row.quarantined), (2, 1, 1));
    assert_eq!(row.form, Form::Json);
    let stranger = Input::Unreadable {
        device: id("nobody"),
        number: None,
    };
    assert!(matches!(
        world.handle(stranger).verdict,
        Verdict::Refused(_)
    ));
    assert_eq!(world.estate.devices().count(), 1);
}

#[test]
fn a_hello_describes_the_device() {
    let mut world = World::new();
    let hello = Happening::Hello {
        model: "m".into(),
        firmware: "1.2".into(),
        capabilities: vec!["show".into()],
    };
    world.event("door-1", hello);
    let row = world.estate.devices().next().unwrap();
    assert_eq!(
        (row.model.as_deref(), row.firmware.as_deref()),
        (Some("m"), Some("1.2"))
    );
    assert_eq!((row.boot, row.last_heard_ms), (Some(1), EVENING_MS));
}

/// Random streams with jumps, redeliveries and many boots, beside the plain set of what was taken.
#[test]
fn no_stream_of_events_is_taken_twice_or_receipted_without_being_stored() {
    for seed in 0..300 {
        let mut world = World::new();
        let mut dice = Dice::new(seed);
        let mut taken: BTreeSet<(u32, u64)> = BTreeSet::new();
        let mut sent: BTreeMap<u32, u64> = BTreeMap::new();
        let mut boot = 1;
        for _ in 0..400 {
            world.now.tick_ms += dice.below(3);
            if dice.one_in(25) && boot < 16 {
                boot += 1;
            }
            let known = sent.keys().copied().collect::<Vec<_>>();
            let b = if dice.one_in(4) && !known.is_empty() {
                known[dice.index(known.len())]
            } else {
                boot
            };
            let last = sent.entry(b).or_insert(0);
            let seq = match dice.below(10) {
                0 => {
                    let bits = dice.below(62);
                    last.saturating_add(2 + dice.below(1 << bits))
                }
                1..=3 if *last > 0 => 1 + dice.below((*last).min(400)),
                _ => last.saturating_add(1),
            };
            *last = (*last).max(seq);
            match send(&mut world, b, seq) {
                Verdict::Taken => assert!(taken.insert((b, seq)), "seed {seed}: {b}/{seq} twice"),
                Verdict::Duplicate => {
                    assert!(taken.contains(&(b, seq)), "seed {seed}: {b}/{seq} lost")
                }
                Verdict::Quarantine(_) => {
                    let row = world.estate.boots().find(|row| row.boot == b).unwrap();
                    let given_up = row.given_up.iter().any(|r| r.0 <= seq && seq <= r.1);
                    assert!(given_up, "seed {seed}: {b}/{seq} without a reason");
                }
                Verdict::Refused(why) => panic!("{why}"),
            }
            for (b, upto) in receipts(&mut world) {
                let row = world.estate.boots().find(|row| row.boot == b).unwrap();
                let given_up: u64 = row
                    .given_up
                    .iter()
                    .filter(|r| r.1 <= upto)
                    .map(|r| r.1 - r.0 + 1)
                    .sum();
                let stored = taken.range((b, 0)..=(b, upto)).count() as u64;
                assert!(
                    stored + given_up >= upto,
                    "seed {seed}: {b} receipted up to {upto}"
                );
            }
            if dice.one_in(50) {
                world.reload();
            }
        }
        assert!(
            sent.len() <= BOOTS_MAX + BOOTS_CLOSED_MAX,
            "no boot is forgotten in this test"
        );
    }
}
