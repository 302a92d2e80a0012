//! Shrinking: a day that breaks a rule is cut down to the actions that it takes, and told in a line by
//! which exactly these are played again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::action::{Action, day};
use crate::play::Day;
use crate::record::Broken;

/// The indices of the actions of a day that are played.
pub type Chosen = Vec<usize>;

/// Plays the chosen actions of a day. An estate that panics has broken a rule too.
pub fn play(day_of: &mut Day, actions: &[Action], chosen: &[usize]) -> Result<(), Broken> {
    let played: Vec<_> = chosen.iter().map(|index| actions[*index]).collect();
    let result = catch_unwind(AssertUnwindSafe(|| day_of.run(&played)));
    result.unwrap_or_else(|panic| {
        let what = panic.downcast_ref::<String>().cloned();
        let what = what.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_string()));
        Err(Broken {
            rule: "nothing panics",
            what: what.unwrap_or_default(),
        })
    })
}

/// The fewest actions found that break the same rule as all of them: chunks are left out, ever
/// smaller ones, until no single action can be.
pub fn shrink(all: Chosen, mut breaks: impl FnMut(&[usize]) -> bool) -> Chosen {
    let mut kept = all;
    let mut chunk = kept.len().div_ceil(2);
    while chunk > 0 {
        let mut from = 0;
        let mut shorter = false;
        while from < kept.len() {
            let to = (from + chunk).min(kept.len());
            let without: Chosen = kept[..from].iter().chain(&kept[to..]).copied().collect();
            if breaks(&without) {
                kept = without;
                shorter = true;
            } else {
                from = to;
            }
        }
        if chunk > 1 {
            chunk = chunk.div_ceil(2);
        } else if !shorter {
            chunk = 0;
        }
    }
    kept
}

/// Shrinks a day that breaks a rule: the chosen actions, and how the rule is broken by them.
pub fn shrink_day(seed: u64, planted: Option<u64>, broken: &Broken) -> (Chosen, Broken) {
    let actions = day(seed);
    let replay = |chosen: &[usize]| {
        let mut day = Day::new(seed);
        day.planted = planted;
        play(&mut day, &actions, chosen).err()
    };
    let all: Chosen = (0..actions.len()).collect();
    let chosen = shrink(all, |chosen| {
        replay(chosen).is_some_and(|found| found.rule == broken.rule)
    });
    let found = replay(&chosen).unwrap_or_else(|| broken.clone());
    (chosen, found)
}

/// A history in one line: `SEED:INDEX,FIRST-LAST,…`.
pub fn told(seed: u64, chosen: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for index in chosen {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => ranges.push((*index, *index)),
        }
    }
    let ranges = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    format!("{seed}:{}", ranges.collect::<Vec<_>>().join(","))
}

/// The history of such a line; without actions, the whole day.
pub fn read(line: &str) -> (u64, Chosen) {
    let (seed, chosen) = line.split_once(':').unwrap_or((line, ""));
    let seed: u64 = seed
        .trim()
        .parse()
        .expect("ESTATE_DAY: a seed, then perhaps ':' and indices");
    if chosen.is_empty() {
        return (seed, (0..day(seed).len()).collect());
    }
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.parse::<usize>().expect("ESTATE_DAY: an index");
        number(first)..=number(last)
    };
    (seed, chosen.split(',').flat_map(range).collect())
}
