//! When two states of the small estate are one: ids by what they stand for, moments from now.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use estate::code::CodeState;
use estate::command::{CommandRow, CommandState};
use estate::parcel::{ParcelRow, Place, Stage, Taker};

use crate::field::Said;
use crate::play::Day;

/// Moments further back than this are all the same.
const PAST_MS: i64 = 600_000;

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
    for row in disk.parcels.values() {
        parcel(day, row, &mut hash);
    }
    let mut commands: Vec<_> = disk.commands.keys().map(|id| command(day, id)).collect();
    commands.sort();
    commands.hash(&mut hash);
    for row in disk.keypads.values() {
        (row.wrong, row.astray, row.lockouts).hash(&mut hash);
        row.locked_until_tick_ms
            .map(|tick| from_now(day, tick))
            .hash(&mut hash);
    }
    codes(day, &mut hash);
    for (proof, until) in day.record.sessions.values() {
        (proof, from_now(day, *until)).hash(&mut hash);
    }
    world(day, &mut hash);
    hash.finish()
}

fn from_now(day: &Day, tick: u64) -> i64 {
    let ms = i64::try_from(tick).unwrap() - i64::try_from(day.now.tick_ms).unwrap();
    ms.max(-PAST_MS)
}

fn parcel(day: &Day, row: &ParcelRow, hash: &mut DefaultHasher) {
    (
        row.parcel.parcel.as_str(),
        row.stage.word(),
        row.back.map(|back| back.word()),
    )
        .hash(hash);
    from_now(day, row.since_tick_ms).hash(hash);
    match &row.stage {
        Stage::Depositing {
            slot,
            command: id,
            opened,
            alarmed,
            ..
        } => {
            (slot.compartment, command(day, id), opened, alarmed).hash(hash);
        }
        Stage::Collecting {
            slot,
            taker,
            command: id,
            opened,
            alarmed,
        } => {
            (slot.compartment, command(day, id), opened, alarmed).hash(hash);
            (*taker == Taker::Recipient).hash(hash);
        }
        Stage::Deposited {
            place: Place::Slot(slot),
        } => slot.compartment.hash(hash),
        Stage::Collected {
            reopen_until_tick_ms,
            ..
        } => {
            from_now(day, *reopen_until_tick_ms).hash(hash);
        }
        _ => {}
    }
}

/// A command by what it is; and whether it may be sent again.
fn command(day: &Day, id: &str) -> (u16, String, i64, &'static str, bool) {
    let Some(row) = day.snapshot.commands.get(id) else {
        return (0, String::new(), 0, "", false);
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
        from_now(day, row.expires_tick_ms),
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
            let grace = from_now(day, code.grace_until);
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
        (
            command(day, &told.command),
            from_now(day, told.until_tick_ms),
        )
            .hash(hash);
    }
    for sent in &day.field.held {
        from_now(day, sent.tick_ms).hash(hash);
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
