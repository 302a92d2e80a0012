//! Words about the parcels' history: whether it holds, and files that carry it.
//!
//! What stands in a store or a file that somebody tampered with can neither steer the terminal nor
//! add lines of its own: it goes through [`safe`] before it is put into a sentence.

use std::fmt::Display;
use std::path::Path;

use super::super::look::{Look, safe};
use super::{count, number};
use crate::audit::export::Payload;
use crate::control::audit::{AuditView, Compared, ParcelAuditView};
use crate::store::audit::{Break, BreakKind};

/// `--against` can't be read.
pub const BAD_AGAINST: &str =
    "a head is a number of entries and 64 hexadecimal digits, as in 1204:9f86d081…";

/// `--key` can't be read.
pub const BAD_KEY: &str = "a key is 64 hexadecimal digits, as linli audit key shows it";

/// What to do about a break.
const AFTER_A_BREAK: &str = "Keep a copy of the store before anything else (state folder, with keys). \
     Then compare with the cloud's heads: linli audit verify --against N:HEX";

/// The whole history.
pub fn all(look: &Look, view: &AuditView) -> String {
    let mut text = match &view.broken {
        None => format!(
            "{}, unbroken.\nHead: {}:{}",
            entries(view.entries),
            view.entries,
            view.head
        ),
        Some(broken) => format!(
            "{}\nThe {} before it hold.\n{AFTER_A_BREAK}",
            broken_at(look, broken),
            entries(view.entries)
        ),
    };
    if let Some(compared) = &view.against {
        text.push('\n');
        text.push_str(&against(view, compared));
    }
    text
}

fn against(view: &AuditView, compared: &Compared) -> String {
    let n = number(compared.entries);
    match (&compared.ours, compared.agrees) {
        (_, true) => format!("It agrees with the head given for {n} entries."),
        (Some(ours), false) => format!(
            "It is NOT the history that the head given for {n} entries was made of: here the chain at that entry is {ours}.\nThe history was rewritten at or before entry {n}. Keep a copy of the store."
        ),
        (None, false) if view.broken.is_some() => {
            format!("It can't be compared at entry {n}: it doesn't hold up to there.")
        }
        (None, false) => format!(
            "It ends before the {n} entries of the head given: its end was cut off, or an old copy of the store was put back."
        ),
    }
}

/// One parcel's history.
pub fn parcel(look: &Look, view: &ParcelAuditView) -> String {
    let name = safe(&view.parcel);
    match &view.broken {
        None => format!("{name}: {}, unbroken.", steps(view.steps)),
        Some(broken) if broken.what == BreakKind::Missing => format!(
            "{name}: {} found, but entry {} of the history is missing: it may have been one of them.\n{AFTER_A_BREAK}",
            steps(view.steps),
            broken.n
        ),
        Some(broken) => {
            let whose = match &broken.parcel {
                Some(other) if *other != view.parcel => {
                    " It belongs to another parcel, and holds this one's step before it fast."
                }
                _ => "",
            };
            format!(
                "{name}: {}{whose}\n{AFTER_A_BREAK}",
                broken_at(look, broken)
            )
        }
    }
}

/// The trouble in the status, and what to do about it.
pub fn trouble(look: &Look, broken: &Break) -> (String, String) {
    (
        format!(
            "The parcels' history can't be trusted. {}",
            broken_at(look, broken)
        ),
        format!("Residents are served, and new steps are kept. {AFTER_A_BREAK}."),
    )
}

fn broken_at(look: &Look, broken: &Break) -> String {
    let n = broken.n;
    let what = match (&broken.step, &broken.parcel, broken.at_ms) {
        (Some(step), Some(parcel), Some(at_ms)) => format!(
            " ('{}' of {}, {})",
            safe(step),
            safe(parcel),
            look.date_time(at_ms)
        ),
        _ => String::new(),
    };
    match broken.what {
        BreakKind::Missing => format!("Entry {n} is missing."),
        BreakKind::Changed => format!(
            "Entry {n}{what} isn't what was written: it was changed, moved or added, or the one before it was."
        ),
        BreakKind::Unreadable => {
            format!(
                "Entry {n}{what} holds what can't have been written: it was changed or damaged."
            )
        }
    }
}

/// A file was written.
pub fn exported(file: &Path, count: u64, key: &str) -> String {
    format!(
        "{}: {}, signed by {key}.\nCheck it anywhere: linli audit check {0}",
        file.display(),
        steps(count)
    )
}

/// A file is sound.
pub fn checked(look: &Look, file: &Path, payload: &Payload, key_known: bool) -> String {
    let mut text = format!(
        "{}: sound. {} of parcel {}, unbroken, exported at {} on {} (clock {}).\nSigned by {}",
        file.display(),
        steps(payload.steps.len() as u64),
        safe(&payload.parcel_id),
        safe(&payload.site),
        look.date_time(payload.exported_ms),
        safe(&payload.exported_quality),
        payload.public_key,
    );
    text.push_str(match key_known {
        true => ", which is the key that was asked for.",
        false => {
            ".\nWhose key that is, the file can't say: compare it with the gateway's (linli audit key), or give --key"
        }
    });
    text.push_str(&format!(
        "\nThe gateway's history then stood at {}:{}",
        payload.head.entries, payload.head.chain
    ));
    text
}

/// A file isn't sound.
pub fn forged(file: &Path, why: &str) -> String {
    format!("{}: NOT sound: {}.", file.display(), safe(why))
}

/// The public key.
pub fn key(key: &str) -> String {
    key.to_owned()
}

/// The file to be written is there.
pub fn file_exists(file: &Path) -> String {
    format!(
        "{} is there already, and was left as it is. Name another, or say --overwrite",
        file.display()
    )
}

/// The file can't be read.
pub fn cannot_read(file: &Path, why: &dyn Display) -> String {
    format!("{} can't be read: {why}", file.display())
}

/// The file can't be written.
pub fn cannot_write(file: &Path, why: &dyn Display) -> String {
    format!(
        "{} can't be written: {why}. Name a folder with room that you may write to",
        file.display()
    )
}

fn entries(n: u64) -> String {
    count(n, "entry", "entries")
}

fn steps(n: u64) -> String {
    count(n, "step", "steps")
}
