//! What is said of hand-overs: at the desk, of codes, of commands to open, and of what in them
//! somebody should look at.

use std::fmt::Display;

use super::{Trouble, count, length, some};
use crate::cli::look::{Look, Paint, safe};
use crate::control::views::{Acted, Opening, PointView};
use crate::store::read::{CommandRow, GoingBack, LeftOpenRow, LockedRow, ParcelRow};

/// Before a code is typed on a terminal.
pub const ASK_CODE: &str = "Pickup code (it isn't shown): ";

/// Nothing came.
pub const NO_CODE: &str = "no code was given: type it when asked, or send it as a line, as in: linli desk hand-over < FILE";

/// What came is no code. It isn't repeated.
pub const NOT_A_CODE: &str =
    "a code is 1 to 16 digits, 0 to 9; spaces and dashes between them don't matter";

/// A code stood in the arguments.
pub const CODE_WAS_SEEN: &str = "note: a code given as an argument shows in the list of processes; leave it out to be asked for it";

/// The terminal doesn't do what it should.
pub fn cannot_ask(why: &dyn Display) -> String {
    format!("the code can't be asked for: {why}. Send it as a line: linli desk hand-over < FILE")
}

/// What came of something that the staff did.
pub fn acted(look: &Look, acted: &Acted) -> String {
    let mut out = String::new();
    if let Some(opening) = &acted.opening {
        out.push_str(&format!("{}\n", safe(&opened(opening))));
    }
    out.push_str(&format!("{}\n", safe(&what_came(look, acted))));
    if let Some(code) = &acted.code {
        let shown = grouped(code.reveal());
        out.push_str(&format!("\n    {}\n\n", look.paint(Paint::Bold, &shown)));
        out.push_str(&format!("{}\n", safe(&about_code(acted))));
    }
    out
}

fn what_came(look: &Look, acted: &Acted) -> String {
    let parcel = acted.parcel.as_deref().unwrap_or("The parcel");
    let slot = acted.slot.as_deref().unwrap_or_default();
    match (acted.act.as_str(), acted.until_ms) {
        ("extend", Some(until)) => {
            format!("{parcel} may wait until {}.", look.date_time_zone(until))
        }
        ("reissue", _) => format!("The new code of {parcel}:"),
        ("disable", _) => {
            let before = acted.before.as_ref().map_or_else(String::new, |reason| {
                format!(" It was so already: the reason was '{reason}', and is replaced.")
            });
            format!(
                "{slot} is out of use: nothing is put in any more.{before} Back into use: linli compartment enable {slot}"
            )
        }
        ("enable", _) => format!("{slot} is in use again, unless it is faulty: see linli banks"),
        _ if acted.text.is_empty() => "Nothing to do: it is so already.".to_string(),
        _ => sentence(&acted.text),
    }
}

fn about_code(acted: &Acted) -> String {
    let place = acted.good_at.as_ref().map_or_else(String::new, |point| {
        format!(" It is good at {}.", named(point))
    });
    let old = match acted.act.as_str() {
        "reissue" => " The old code is dead, and the cloud is told the new one.",
        _ => " The cloud is told it too.",
    };
    format!("Tell it to the recipient only; it isn't shown again.{place}{old}")
}

fn named(point: &PointView) -> String {
    match point.address.is_empty() {
        true => point.point.clone(),
        false => format!("{} ({})", point.point, point.address),
    }
}

/// Digits in groups that can be read out: `482 915`, `4829 1537`, `482 9153`.
fn grouped(digits: &str) -> String {
    let size = if digits.len().is_multiple_of(4) { 4 } else { 3 };
    let groups = (digits.len() / size).max(1);
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && index.is_multiple_of(size) && index / size < groups {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// With a capital, unless it begins with an id, and a full stop.
pub(in crate::cli) fn sentence(text: &str) -> String {
    let word = text.split(' ').next().unwrap_or_default();
    if !word.chars().all(char::is_alphabetic) {
        return format!("{}.", text.trim_end_matches('.'));
    }
    let mut chars = text.trim_end_matches('.').chars();
    match chars.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), chars.as_str()),
        None => String::new(),
    }
}

// A compartment that opens.

/// While it is under way.
pub fn opening(opening: &Opening) -> String {
    format!(
        "Asked for {} as {} (command {})",
        opening.slot, opening.operator, opening.command
    )
}

/// What became of it.
pub fn opened(opening: &Opening) -> String {
    let slot = &opening.slot;
    let after = length(opening.waited_ms);
    let answer = opening
        .answer
        .as_deref()
        .map_or_else(String::new, |said| format!(" It says: {said}."));
    match opening.state.as_str() {
        "opened" => format!("{slot} is open, after {after}."),
        "closed" => format!("{slot} was opened and is closed again, after {after}."),
        "done" => format!(
            "{slot} was unlocked, after {after}; its door wasn't seen open yet. Pull it, or look whether it jams."
        ),
        "refused" => format!(
            "{slot} wasn't opened: its controller refused.{answer} Try again, then look at the controller."
        ),
        "failed" => format!(
            "{slot} isn't known to be open: its controller tried in vain.{answer} Look at the door, and at its neighbours: does it jam, is the lock's cable in, are wires swapped?"
        ),
        "expired" => format!(
            "{slot} wasn't opened: its time ended before the command left this box. Is the bank connected? See linli devices, then try again"
        ),
        _ => format!(
            "No answer from {slot} within {after}, so whether it opened isn't known. Look at the door, and at the bank's connection: linli devices"
        ),
    }
}

// What is at a desk.

/// The desk where a parcel is or is to be; any, if no compartment took it.
pub fn desk_of(parcel: &ParcelRow) -> &str {
    match (&parcel.desk, parcel.to_desk) {
        (Some(desk), _) => desk,
        (None, true) => "any",
        (None, false) => &parcel.point,
    }
}

/// Whether it waits at the desk, is expected there, or was sent there.
pub fn presence(parcel: &ParcelRow) -> &'static str {
    match (parcel.state.as_str(), parcel.to_desk) {
        ("deposited", _) => "here",
        (_, true) => "sent here",
        _ => "expected",
    }
}

/// What is out of the ordinary about a parcel.
pub fn marks(parcel: &ParcelRow) -> String {
    let mut marks: Vec<String> = Vec::new();
    marks.extend(parcel.back.clone());
    if let Some(original) = &parcel.return_of {
        marks.push(format!("return of {original}"));
    }
    if parcel.unlisted {
        marks.push("not announced".to_string());
    }
    marks.join(", ")
}

// A parcel's facts.

/// Why a parcel goes back.
pub fn back(word: &str) -> String {
    let what = match word {
        "overdue" => "its code opens until it is taken back",
        "return" => "a courier takes it back",
        _ => "its code is dead",
    };
    format!("{word}: {what}")
}

/// Who takes a parcel out.
pub fn taker(word: &str, name: Option<&str>, desk: Option<&str>) -> String {
    let name = name.unwrap_or("?");
    match (word, desk) {
        ("recipient", _) => "its recipient".to_string(),
        ("desk", Some(desk)) => format!("{name}, to bring it to {desk}"),
        (word, _) => format!("{word} {name}, to take it back"),
    }
}

// Commands.

/// What a compartment is opened for.
pub fn purpose(command: &CommandRow) -> String {
    match (&command.parcel, &command.reason) {
        (Some(parcel), _) => format!("{} {parcel}", command.purpose),
        (None, Some(reason)) => format!("by hand: {reason}"),
        (None, None) => command.purpose.clone(),
    }
}

/// What became of a command.
pub fn command_state(command: &CommandRow) -> String {
    let words = match command.state.as_str() {
        "requested" => "not sent yet",
        "sent" => "sent, not answered yet",
        "done" => "carried out, door not seen",
        "opened" => "opened",
        "closed" => "opened and closed",
        "expired" => "never sent: nothing opened",
        "unknown" => "not answered: may have opened",
        other => other,
    };
    match &command.answer {
        Some(answer) => format!("{words}: {answer}"),
        None => words.to_string(),
    }
}

// What somebody should look at.

/// What happened, and what to do about it; for troubles of hand-overs.
pub fn trouble(look: &Look, trouble: &Trouble) -> (String, String) {
    match trouble {
        Trouble::CompartmentsDisabled { bank, compartments } => (
            format!(
                "Bank {bank} has {} out of use: {}.",
                count(compartments.len() as u64, "compartment", "compartments"),
                some(compartments)
            ),
            format!("See linli banks for why. When it is mended: linli compartment enable {bank}/N"),
        ),
        Trouble::KeypadsLocked { keypads } => keypads_locked(look, keypads),
        Trouble::DesksLocked { desks } => desks_locked(look, desks),
        Trouble::DoorsLeftOpen { doors } => left_open(look, doors),
        Trouble::ParcelsGoBack(back) => go_back(look, back),
        Trouble::CloudRefused(refused) => (
            format!(
                "{} of the cloud in the last 24 h couldn't be carried out, the newest {}: {}.",
                count(refused.count, "wish", "wishes"),
                look.ago(refused.newest_ms),
                refused.newest_reason
            ),
            "See linli quarantine for each, and tell those who run the cloud: a parcel of theirs may have no place here.".to_string(),
        ),
        Trouble::BootsReused { devices } => (
            format!(
                "{} a boot number for more than one start: {}.",
                count(devices.len() as u64, "device uses", "devices use"),
                some(devices)
            ),
            "What can't be told from a redelivery goes to quarantine: see linli quarantine. Have its firmware count its starts up in lasting memory.".to_string(),
        ),
        // The others are said elsewhere.
        _ => (String::new(), String::new()),
    }
}

fn locked(look: &Look, rows: &[LockedRow], one: &str, many: &str) -> String {
    let each: Vec<String> = rows
        .iter()
        .map(|row| format!("{} until {}", row.keypad, look.time(row.until_ms)))
        .collect();
    format!(
        "{} locked after wrong codes: {}.",
        count(each.len() as u64, one, many),
        some(&each)
    )
}

fn desks_locked(look: &Look, desks: &[LockedRow]) -> (String, String) {
    (
        locked(look, desks, "desk is", "desks are"),
        "It unlocks by itself. Is somebody guessing? The log says who tried codes there: journalctl -u linli. A resident who is known but has lost the code gets a new one, good once it unlocks: linli reissue PARCEL".to_string(),
    )
}

fn keypads_locked(look: &Look, keypads: &[LockedRow]) -> (String, String) {
    (
        locked(look, keypads, "keypad is", "keypads are"),
        "It unlocks by itself. Is somebody guessing? See linli events --kind keypad. Meanwhile, for a resident who stands at a locker: linli open BANK/N --reason TEXT".to_string(),
    )
}

fn left_open(look: &Look, doors: &[LeftOpenRow]) -> (String, String) {
    let each: Vec<String> = doors
        .iter()
        .map(|row| {
            let age = look.age(row.since_ms);
            format!(
                "{}/{} ({}, for {age})",
                row.bank, row.compartment, row.parcel
            )
        })
        .collect();
    (
        format!(
            "{} left open during a hand-over: {}.",
            count(each.len() as u64, "door was", "doors were"),
            some(&each)
        ),
        "Look inside and close it: that ends the hand-over. See linli parcel ID for who was there."
            .to_string(),
    )
}

fn go_back(look: &Look, back: &GoingBack) -> (String, String) {
    let others = back.count.saturating_sub(back.overdue);
    let mut parts = Vec::new();
    if back.overdue > 0 {
        parts.push(count(
            back.overdue,
            "parcel is overdue",
            "parcels are overdue",
        ));
    }
    if others > 0 {
        parts.push(count(others, "parcel waits", "parcels wait") + " to be taken back");
    }
    (
        format!(
            "{}; the oldest has been here for {}.",
            parts.join(", "),
            look.age(back.oldest_ms)
        ),
        back_remedy(back.overdue > 0, others > 0),
    )
}

fn back_remedy(overdue: bool, others: bool) -> String {
    let mut text = match (overdue, others) {
        (true, false) => "See linli parcels --state overdue.",
        (false, _) => "See linli parcels --state refused (or cancelled, claimed, return).",
        (true, true) => {
            "See linli parcels --state overdue (or refused, cancelled, claimed, return)."
        }
    }
    .to_string();
    text.push_str(
        " A courier types 0 after his badge or code; the staff: linli desk retrieve PARCEL.",
    );
    if overdue {
        text.push_str(" To let one wait longer: linli extend PARCEL --hours 24");
    }
    text
}

#[cfg(test)]
mod tests;
