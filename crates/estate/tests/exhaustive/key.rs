//! When two states of the small estate are one: ids by what they stand for, moments from now.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use estate::code::CodeState;
use estate::command::{CommandRow, CommandState};
use estate::parcel::{ParcelRow, Place, Stage, Taker};

use crate::field::Said;
use crate::moves::STEPS_MS;
use crate::play::Day;

/// The alarm for a door left open, which is also how late a door may still belong to a command.
const LATE_DOOR_MS: u64 = 60_000;

/// When a gesture is too late.
const STALE_MS: u64 = 120_000;

pub fn of(day: &Day) -> u64 {
    let mut hash = DefaultHasher::new();
    let disk = &day.snapshot;
    let openings: Vec<_> = day.estate.compartments().map(|row| row.openings).collect();
    openings[0].cmp(&openings[1]).hash(&mut hash);
    for row in day.estate.compartments() {
        (
            &row.contents,
            &row.reserved,
            row.occupied,
            row.fault.is_some(),
        )
            .hash(&mut hash);
        row.door.word().hash(&mut hash);
    }
    for slot in day.estate.said_empty() {
        ("said empty", slot.compartment).hash(&mut hash);
    }
    for row in disk.parcels.values() {
        parcel(day, row, &mut hash);
    }
    let mut order: Vec<_> = disk
        .parcels
        .values()
        .map(|row| (row.since_tick_ms, &row.parcel.parcel))
        .collect();
    order.sort();
    order.iter().for_each(|(_, name)| name.hash(&mut hash));
    let recent = disk
        .commands
        .values()
        .filter(|row| row.expires_tick_ms + LATE_DOOR_MS > day.now.tick_ms);
    let mut commands: Vec<_> = recent.map(|row| command(day, &row.id)).collect();
    commands.sort();
    commands.hash(&mut hash);
    for row in disk.keypads.values() {
        (row.wrong, row.astray, row.lockouts.min(2)).hash(&mut hash);
        row.locked_until_tick_ms
            .map(|tick| left(day, tick))
            .hash(&mut hash);
    }
    codes(day, &mut hash);
    for (proof, until) in day.record.sessions.values().flatten() {
        (proof, left(day, *until)).hash(&mut hash);
    }
    world(day, &mut hash);
    hash.finish()
}

/// How far ahead a moment is, by the steps that reach it; what is past is past.
fn left(day: &Day, tick: u64) -> usize {
    let ms = tick.saturating_sub(day.now.tick_ms);
    class(ms)
}

/// Which of the steps of time reach so far.
fn class(ms: u64) -> usize {
    let beyond = STEPS_MS.iter().filter(|step| ms > **step).count();
    if ms == 0 { 0 } else { beyond + 1 }
}

fn parcel(day: &Day, row: &ParcelRow, hash: &mut DefaultHasher) {
    (
        row.parcel.parcel.as_str(),
        row.stage.word(),
        row.back.map(|back| back.word()),
    )
        .hash(hash);
    let alarm = left(day, row.since_tick_ms + LATE_DOOR_MS);
    match &row.stage {
        Stage::Depositing {
            slot,
            command: id,
            opened,
            alarmed,
            ..
        } => {
            (slot.compartment, command(day, id), opened, alarmed, alarm).hash(hash);
        }
        Stage::Collecting {
            slot,
            taker,
            command: id,
            opened,
            alarmed,
        } => {
            (slot.compartment, command(day, id), opened, alarmed, alarm).hash(hash);
            (*taker == Taker::Recipient).hash(hash);
        }
        Stage::Deposited {
            place: Place::Slot(slot),
        } => slot.compartment.hash(hash),
        Stage::Collected {
            reopen_until_tick_ms,
            ..
        } => {
            left(day, *reopen_until_tick_ms).hash(hash);
        }
        _ => {}
    }
}

/// A command by what it is; and whether it may be sent again.
fn command(day: &Day, id: &str) -> (u16, String, (usize, usize), &'static str, bool) {
    let Some(row) = day.snapshot.commands.get(id) else {
        return (0, String::new(), (0, 0), "", false);
    };
    let CommandRow {
        slot,
        purpose,
        state,
        ..
    } = row;
    let waits = matches!(state, CommandState::Requested | CommandState::Sent);
    let made = day.record.commands.get(id);
    let here = waits && made.is_some_and(|made| made.start == day.record.starts);
    let about = purpose.parcel().cloned().unwrap_or_default();
    let what = format!("{} {about}", purpose.word());
    (
        slot.compartment,
        what,
        (
            left(day, row.expires_tick_ms),
            left(day, row.expires_tick_ms + LATE_DOOR_MS),
        ),
        state.word(),
        here,
    )
}

/// Codes by whose they are. Of the dead it matters only that there is one.
fn codes(day: &Day, hash: &mut DefaultHasher) {
    let mut codes: Vec<_> = day
        .snapshot
        .codes
        .iter()
        .map(|((point, digest), row)| {
            let code = &day.model.codes[day.model.index(point, digest).unwrap()];
            let live = matches!(row.state, CodeState::Live { .. });
            let grace = left(day, code.grace_until);
            let opened = code.opened.as_ref().map(|slot| slot.compartment);
            (
                &code.parcel,
                live,
                if live { (grace, opened) } else { (0, None) },
            )
        })
        .collect();
    codes.sort();
    codes.dedup();
    codes.hash(hash);
    for (slot, code) in &day.model.opener {
        let code = &day.model.codes[*code];
        (slot.compartment, &code.parcel, code.dead_since.is_some()).hash(hash);
    }
}

fn world(day: &Day, hash: &mut DefaultHasher) {
    for (slot, compartment) in &day.field.compartments {
        (slot.compartment, compartment.open, compartment.doubt).hash(hash);
        day.field.inside(slot).hash(hash);
    }
    for told in &day.field.told {
        (command(day, &told.command), left(day, told.until_tick_ms)).hash(hash);
    }
    for sent in &day.field.held {
        left(day, sent.tick_ms + STALE_MS).hash(hash);
        match &sent.said {
            Said::Result(id, outcome) => (command(day, id), outcome.word()).hash(hash),
            Said::Key(digits) => {
                let code = day.model.codes.iter().find(|code| code.digits == *digits);
                code.map(|code| (&code.parcel, code.dead_since.is_some()))
                    .hash(hash);
            }
            said => format!("{said:?}").hash(hash),
        }
    }
}
