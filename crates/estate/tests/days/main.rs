//! Random days of a small estate: two banks, one without occupancy sensors and one that may check
//! codes by itself; a desk, an extra keypad; couriers with badges and codes, residents with several
//! parcels each, and the staff. Clocks jump, power fails, disks fill up, messages come late, twice or
//! never, doors jam, sensors lie and people make mistakes.
//!
//! After each step the rules are checked against a physical world (`field`), an observer's record
//! (`record`) and a small model of parcels and codes (`model`), none of which asks the estate.
//!
//! A day that breaks a rule is shrunk to the actions that it takes, and printed as a line by which it
//! is played again, with all its steps:
//!
//! ```text
//! ESTATE_DAY=17:4,20-22 cargo test -p estate --test days a_day_again -- --nocapture
//! ```
//!
//! More days: `ESTATE_DAYS=100000 cargo test --release -p estate --test days -- --nocapture`; from
//! another seed on: `ESTATE_SEED=…`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../common/mod.rs"]
mod common;

mod action;
mod cause;
mod check;
mod clock;
mod codes;
mod demand;
mod doors;
mod entitled;
mod field;
mod follow;
mod layouts;
mod model;
mod office;
mod people;
mod play;
mod record;
mod shrink;

use std::collections::BTreeMap;

use action::day;
use play::Day;
use record::Broken;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

/// Plays every second day; what happened how often.
fn play_days(share: u64) {
    let days = number("ESTATE_DAYS").unwrap_or(1_000);
    let first = number("ESTATE_SEED").unwrap_or(0);
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in (first..first + days).filter(|seed| seed % 2 == share) {
        let actions = day(seed);
        let all: Vec<_> = (0..actions.len()).collect();
        let mut day = Day::new(seed);
        if let Err(broken) = shrink::play(&mut day, &actions, &all) {
            report(seed, &broken);
        }
        for (what, count) in day.seen {
            *seen.entry(what).or_insert(0) += count;
        }
        *seen.entry("demand released").or_insert(0) += day.demand.released;
    }
    println!("{} days: {seen:#?}", days / 2);
    check_that_enough_happened(&seen, days);
}

fn report(seed: u64, broken: &Broken) -> ! {
    let (chosen, found) = shrink::shrink_day(seed, None, broken);
    let line = shrink::told(seed, &chosen);
    panic!(
        "day {seed} breaks '{}': {}\nagain, with all its steps, by {} actions:\n  \
         ESTATE_DAY={line} cargo test -p estate --test days a_day_again -- --nocapture",
        found.rule,
        found.what,
        chosen.len(),
    );
}

/// A day in which nothing happens shows nothing.
fn check_that_enough_happened(seen: &BTreeMap<&str, u64>, days: u64) {
    let in_500_days = [
        ("a layout that was refused", 200),
        ("a layout that was taken", 1500),
        ("announced", 6360),
        ("another layout", 500),
        ("arrived late", 1630),
        ("cancelled", 500),
        ("cancelled after deposit", 160),
        ("claimed", 60),
        ("clock set", 730),
        ("collected", 720),
        ("collection undone", 820),
        ("demand released", 75),
        ("deposit undone", 1110),
        ("deposited", 1560),
        ("duplicate", 5670),
        ("extended in time", 15),
        ("failed commit", 700),
        ("handed over at a desk", 1260),
        ("left inside", 130),
        ("locked out", 1640),
        ("lockout", 660),
        ("nothing put in", 220),
        ("opened by a bank", 85),
        ("overdue", 560),
        ("put into a wrong compartment", 120),
        ("refused", 30),
        ("reopened", 530),
        ("restart", 1120),
        ("retrieved", 630),
        ("retry", 450),
        ("return handed in", 370),
        ("sensor untrue", 600),
        ("taken in at a desk", 1500),
        ("taken up late", 50),
        ("too late", 940),
        ("transferred", 260),
        ("unannounced", 320),
    ];
    for (what, least) in in_500_days {
        let count = seen.get(what).copied().unwrap_or(0);
        let least = least * days / 1_000;
        assert!(
            count >= least,
            "'{what}' happened {count} times only, expected {least}"
        );
    }
}

#[test]
fn even_days_keep_the_rules() {
    play_days(0);
}

#[test]
fn odd_days_keep_the_rules() {
    play_days(1);
}

#[test]
fn a_day_again() {
    let Ok(line) = std::env::var("ESTATE_DAY") else {
        return;
    };
    let (seed, chosen) = shrink::read(&line);
    let mut day = Day::new(seed);
    day.log = Some(Vec::new());
    let result = shrink::play(&mut day, &action::day(seed), &chosen);
    println!("{}", day.log.take().unwrap().join("\n"));
    if let Err(broken) = result {
        panic!("'{}': {}", broken.rule, broken.what);
    }
}

#[test]
fn a_planted_fault_is_shrunk_to_what_it_takes() {
    let planted = Some(3);
    let failing = (0..200).find_map(|seed| {
        let actions = day(seed);
        let all: Vec<_> = (0..actions.len()).collect();
        let mut day = Day::new(seed);
        day.planted = planted;
        Some((seed, shrink::play(&mut day, &actions, &all).err()?))
    });
    let (seed, broken) = failing.expect("three collections on one of the days");
    assert_eq!(broken.rule, "planted");
    let (chosen, found) = shrink::shrink_day(seed, planted, &broken);
    assert_eq!(found.rule, "planted");
    assert!(
        chosen.len() <= 20,
        "three parcels announced, brought and collected: {chosen:?}"
    );
    // Nothing more can be left out, and the line says exactly this history.
    assert_eq!(
        shrink::read(&shrink::told(seed, &chosen)),
        (seed, chosen.clone())
    );
    for index in 0..chosen.len() {
        let mut fewer = chosen.clone();
        fewer.remove(index);
        let mut day = Day::new(seed);
        day.planted = planted;
        assert_eq!(shrink::play(&mut day, &action::day(seed), &fewer), Ok(()));
    }
}
