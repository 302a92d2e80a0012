//! What a walk test says: while it goes, in its record, and what is to be changed.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{count, length, some};
use crate::cli::bank::judge::{Occupancy, Verdict};
use crate::cli::bank::record::{Came, Entry, Record};
use crate::cli::look::Look;

/// Why its openings are made, for the record.
pub const REASON: &str = "walk-test";

/// Before it begins.
pub fn begins(bank: &str, tried: usize, passed_over: &[u16]) -> String {
    let mut text = format!(
        "Walk test of {bank}: {} in turn. Stand in front of it; close each door after it opened.",
        count(tried as u64, "compartment opens", "compartments open")
    );
    if !passed_over.is_empty() {
        text.push_str(&format!(
            "\nPassed over because they hold something or are promised: {}. To try them too: --occupied.",
            some(passed_over)
        ));
    }
    text
}

/// There is nothing to be tried.
pub const NOTHING_TO_TRY: &str =
    "none of these compartments can be tried: all hold something. To open them too: --occupied";

/// The bank isn't there.
pub fn no_such_bank(bank: &str, known: &[String]) -> String {
    format!("there is no bank '{bank}' here. Its banks: {}", some(known))
}

/// A number that the bank doesn't have.
pub fn no_such_compartment(bank: &str, number: u16, most: usize) -> String {
    format!("there is no compartment {number}: bank {bank} has 1 to {most}")
}

/// Asks before a compartment opens.
pub fn ask_next(slot: &str, nth: usize, of: usize) -> String {
    format!("[{nth}/{of}] {slot}: Enter opens it, s skips it, q ends the test: ")
}

/// Asks before one that is reported open.
pub fn reported_open(slot: &str) -> String {
    format!("{slot} is reported open: close it if it is.")
}

/// It is being opened.
pub fn opens(slot: &str, occupancy: bool, asks: bool) -> String {
    let hands = match occupancy {
        true => "Put a hand in, take it out again, then",
        false => "Open it wide, then",
    };
    let enter = match asks {
        true => " If nothing is seen of it: Enter.",
        false => "",
    };
    format!("{slot} opens now. {hands} close its door.{enter}")
}

/// Asks what only a person can see.
pub fn ask_own_door(slot: &str) -> String {
    format!("Did the door of {slot} itself open? y or n (Enter: not known): ")
}

/// What came of a compartment.
pub fn result(slot: &str, entry: &Entry) -> String {
    format!("{slot}: {}", came(entry))
}

/// Asks after each.
pub fn ask_after(compartment: u16) -> String {
    format!(
        "Enter goes on; if another door than {compartment} opened, its number; r repeats it, q ends the test: "
    )
}

/// The record was saved.
pub fn saved(files: &[PathBuf]) -> String {
    let files: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    format!("Record: {}", files.join(", "))
}

/// The record can't be saved.
pub fn cannot_save(file: &Path, why: &dyn Display) -> String {
    format!(
        "the record can't be saved as {}: {why}. Name another folder: --out DIR",
        file.display()
    )
}

/// Why it ended before its end.
pub mod broken {
    /// By the technician.
    pub const QUIT: &str = "ended by the operator";
    /// By a key or a signal.
    pub const INTERRUPTED: &str = "interrupted";
    /// Nobody answers the questions.
    pub const NO_ANSWERS: &str =
        "nobody answered any more (end of input); without questions: --yes";
    /// The way to the daemon.
    pub fn daemon(why: &str) -> String {
        format!("the daemon was lost: {why}")
    }
}

// The record.

/// Its title.
pub fn title(record: &Record) -> String {
    format!("# Acceptance of locker bank {}\n\n", record.bank)
}

/// Its facts, each with a label.
pub fn facts(look: &Look, record: &Record) -> Vec<(&'static str, String)> {
    let mut facts = vec![("site", record.site.clone())];
    if !record.address.is_empty() {
        facts.push(("place", record.address.clone()));
    }
    let controller = [record.controller.as_deref(), record.firmware.as_deref()];
    let controller: Vec<&str> = controller.into_iter().flatten().collect();
    if !controller.is_empty() {
        facts.push(("controller", controller.join(" ")));
    }
    facts.push((
        "software",
        format!(
            "gateway linli {}, walk test linli {}",
            record.gateway_version, record.version
        ),
    ));
    facts.push((
        "operator",
        record
            .operator
            .clone()
            .unwrap_or_else(|| "nothing was opened".to_string()),
    ));
    facts.push(("began", look.date_time_zone(record.started_ms)));
    facts.push(("ended", look.date_time_zone(record.ended_ms)));
    facts.push(("clock of the gateway", record.clock.clone()));
    if !record.asked {
        facts.push((
            "questions",
            "none were asked (--yes), so nobody said whether each door carries its number"
                .to_string(),
        ));
    }
    facts
}

/// Its verdict.
pub fn summary(record: &Record) -> String {
    let passed = record
        .compartments
        .iter()
        .filter(|entry| entry.passed())
        .count();
    let verdict = if record.passed {
        "PASSED"
    } else {
        "NOT PASSED"
    };
    let all = count(
        record.compartments.len() as u64,
        "compartment",
        "compartments",
    );
    let mut text = format!("**{verdict}**: {passed} of {all} passed.");
    if let Some(why) = &record.broken_off {
        text.push_str(&format!(" Broken off: {why}."));
    }
    text
}

/// The head of its table.
pub const TABLE_HEAD: &str = "\
| compartment | size | zone | result | opened after | closed after | asked at | openings | command |
|---|---|---|---|---|---|---|---|---|
";

/// A row of it.
pub fn row(look: &Look, entry: &Entry) -> Vec<String> {
    let after = |ms: Option<u64>| ms.map_or_else(String::new, length);
    vec![
        entry.compartment.to_string(),
        entry.size.clone(),
        entry.zone.clone(),
        came(entry),
        after(entry.opened_after_ms),
        after(entry.closed_after_ms),
        entry.asked_ms.map_or_else(String::new, |ms| look.time(ms)),
        entry.openings.to_string(),
        entry.command.clone().unwrap_or_default(),
    ]
}

/// Over what is to be changed.
pub const TO_CHANGE: &str = "To be changed";

/// What came of a compartment.
fn came(entry: &Entry) -> String {
    let mut text = match &entry.came {
        Came::Tried(verdict) => verdict_words(verdict),
        Came::Not { verdict } => match *verdict {
            "holds-a-parcel" => "not tried: it holds something or is promised".to_string(),
            "skipped" => "skipped".to_string(),
            _ => "not reached".to_string(),
        },
    };
    match entry.occupancy {
        None | Some(Occupancy::Works) => {}
        Some(Occupancy::Inverted) => text.push_str("; its occupancy sensor says the contrary"),
        Some(Occupancy::Silent) => {
            text.push_str("; its occupancy sensor didn't see the hand, or that it was gone")
        }
    }
    text
}

fn verdict_words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Passed => "passed".to_string(),
        Verdict::Inverted => "inverted: reported open when closed, closed when open".to_string(),
        Verdict::Swapped { with, own_door } => {
            let which = match own_door {
                Some(true) => "its own door opened, so the contacts are swapped",
                Some(false) => "its own door stayed shut, so lock and contact are swapped",
                None => "which door opened isn't known",
            };
            format!("swapped: compartment {with} was reported instead; {which}")
        }
        Verdict::OtherDoor { opened } => {
            format!("another door: number {opened} opened, its contact is reported as this one's")
        }
        Verdict::Together { others } => {
            format!("not alone: compartment {} moved, too", some(others))
        }
        Verdict::NotClosed => "seen to open, not to close".to_string(),
        Verdict::WasOpen => {
            "reported open before and closed since: repeat it with the door shut".to_string()
        }
        Verdict::Jammed => "jammed: the door didn't open".to_string(),
        Verdict::NoSensor => "no contact: the door opened and wasn't seen to".to_string(),
        Verdict::NothingSeen => "nothing seen: jammed, or without a contact".to_string(),
        Verdict::NotCarriedOut { state, answer } => {
            let said = answer
                .as_ref()
                .map_or_else(String::new, |answer| format!(": {answer}"));
            format!("the command was not carried out ({state}{said})")
        }
    }
}

// What is to be changed.

/// A board whose contacts are all the other way round.
pub fn change_polarity(address: u8, closed: &str) -> String {
    format!("in the configuration, [[bank.board]] with address = {address}: closed = \"{closed}\"")
}

/// Some of a board's contacts are the other way round.
pub fn single_inverted(address: u8, compartments: &[u16]) -> String {
    format!(
        "at board {address}: compartment {} has its contact the other way round than its neighbours; use the contact's other terminal (NO instead of NC, or the contrary)",
        some(compartments)
    )
}

/// A controller of its own says the contrary.
pub fn inverted_at_controller(compartments: &[u16]) -> String {
    format!(
        "at the bank's controller: turn the polarity of the door contacts round for compartment {}",
        some(compartments)
    )
}

/// Locks that changed places on their board.
pub fn change_channels(address: u8, channels: &[u16]) -> String {
    let list: Vec<String> = channels.iter().map(u16::to_string).collect();
    format!(
        "in the configuration, [[bank.board]] with address = {address}: channels = [{}]",
        list.join(", ")
    )
}

/// The contact of another compartment moved instead.
pub fn swapped(compartment: u16, with: u16, own_door: Option<bool>) -> String {
    match own_door {
        Some(true) => format!(
            "at the board: the contact of {compartment} is connected where that of {with} belongs; move the contact's wires"
        ),
        Some(false) => format!(
            "at the board: the lock of {with} is connected where that of {compartment} belongs; move the lock's wires"
        ),
        None => format!(
            "at the board: compartments {compartment} and {with} are mixed up; repeat the test of {compartment} and see which door opens"
        ),
    }
}

/// Another door opened, its contact with it.
pub fn other_door(compartment: u16, opened: u16) -> String {
    format!(
        "what should open compartment {compartment} opens {opened}: move the plugs of lock and contact, or correct the order (channels in the configuration, or the controller's own)"
    )
}

/// The name of a record's files, without the kind: in UTC, so that it sorts.
pub fn file_name(bank: &str, started_ms: i64) -> String {
    let at =
        Timestamp::from_millisecond(started_ms).map(|at| at.strftime("%Y%m%dT%H%M%SZ").to_string());
    format!(
        "walk-test-{bank}-{}",
        at.unwrap_or_else(|_| started_ms.to_string())
    )
}
