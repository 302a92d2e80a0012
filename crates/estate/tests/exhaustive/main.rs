//! Every history of a small estate: two parcels, two compartments, one keypad, one courier, explored
//! breadth first over its distinct states.
//!
//! **What is tried in every state**: the courier shows his badge, scans either waybill, asks for what
//! goes back; each resident types his code; somebody guesses until the keypad locks; the cloud
//! cancels a parcel or gives it a new code. A gesture may arrive late. A command may be lost, be
//! carried out, or fail; a person at an open door does what he came for or nothing, and closes.
//! What a door says arrives at once, late (in any order with all else) or never. Each message that
//! arrives comes once more at once, and must do nothing then. Time takes a short step, one past a
//! command's end, one past the alarm for an open door, one past the grace. The box may restart
//! between any two steps, with only what is on disk.
//!
//! **From where**: both parcels expected; one deposited; both deposited; one just collected. In four
//! estates: with and without occupancy sensors, with parcels of one recipient that share a
//! compartment and of two that mustn't.
//!
//! **How far**: all histories of [`DEPTH`] steps from each start. Deeper, which takes minutes:
//! `ESTATE_DEPTH=6 cargo test --release -p estate --test exhaustive -- --nocapture`. The rules that
//! hold in every state are those of the random days (`tests/days/check.rs`).
//!
//! **When two states are one**: if all that is on disk is the same but for ids and numbers of events,
//! with each moment ahead taken for what it is to the steps of time (which of them reach it); and so
//! is all that is known to live in memory (the courier at the point, which commands may be sent
//! again, where the sensor had said empty), the physical world, and what is under way. Of wear, and of what came first, only the order is kept. Two compartments
//! aren't taken for one another.
//!
//! **What isn't covered**: clocks that jump, failed commits, desks, overdue parcels, claims, returns,
//! banks that check codes: the random days play these. More than two messages under way at once, more
//! than two commands.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    dead_code
)]

#[path = "../days/action.rs"]
mod action;
#[path = "../days/cause.rs"]
mod cause;
#[path = "../days/check.rs"]
mod check;
#[path = "../days/codes.rs"]
mod codes;
#[path = "../common/mod.rs"]
mod common;
#[path = "../days/demand.rs"]
mod demand;
#[path = "../days/doors.rs"]
mod doors;
#[path = "../days/entitled.rs"]
mod entitled;
#[path = "../days/field.rs"]
mod field;
#[path = "../days/follow.rs"]
mod follow;
#[path = "../days/layouts.rs"]
mod layouts;
#[path = "../days/model.rs"]
mod model;
#[path = "../days/office.rs"]
mod office;
#[path = "../days/people.rs"]
mod people;
#[path = "../days/play.rs"]
mod play;
#[path = "../days/record.rs"]
mod record;

mod key;
mod moves;

use std::collections::HashSet;

use moves::{Move, STARTS, begin, moves, step};
use play::Day;

/// How many steps are explored from each start, unless `ESTATE_DEPTH` says otherwise.
const DEPTH: usize = 4;

fn explore(sensor: bool, one_recipient: bool) {
    let depth = std::env::var("ESTATE_DEPTH").map_or(DEPTH, |text| text.parse().expect("a number"));
    let mut seen: HashSet<u64> = HashSet::new();
    let mut layer: Vec<(Day, Vec<Move>)> = Vec::new();
    for start in STARTS {
        let day = begin(sensor, one_recipient, start);
        seen.insert(key::of(&day));
        layer.push((day, Vec::new()));
    }
    let mut transitions = 0_u64;
    for level in 1..=depth {
        let mut next = Vec::new();
        for (day, path) in &layer {
            for what in moves(day) {
                let mut after = day.clone();
                transitions += 1;
                if let Err(broken) = step(&mut after, what) {
                    panic!(
                        "'{}': {}\nafter {path:?}, then {what:?}",
                        broken.rule, broken.what
                    );
                }
                if seen.insert(key::of(&after)) && level < depth {
                    next.push((after, path.iter().copied().chain([what]).collect()));
                }
            }
        }
        layer = next;
    }
    let states = seen.len();
    println!(
        "sensors: {sensor}, one recipient: {one_recipient}: {states} distinct states, \
         {transitions} transitions, to depth {depth}"
    );
    assert!(states > 1_000, "{states} states show little");
}

#[test]
fn two_recipients_with_sensors() {
    explore(true, false);
}

#[test]
fn two_recipients_without_sensors() {
    explore(false, false);
}

#[test]
fn one_recipient_with_sensors() {
    explore(true, true);
}

#[test]
fn one_recipient_without_sensors() {
    explore(false, true);
}
