//! No door opens without a cause: each opening at a bank is that of a command that stood in the ledger
//! before, within its time, carried out once; each command follows from what somebody did at that
//! bank with that parcel not long before; what the ledger has as a bank's own opening the bank did
//! make; and whoever took a parcel out had been let in for it.

use std::collections::{BTreeMap, BTreeSet};

use firmware_protocols::Ident;
use simulator::device::Opening;

use super::{Store, Wrong, first_few};
use crate::town::{Gesture, Town};

/// How long a command holds (`rules.command_ttl_s`, by default), ms.
const TTL_MS: i64 = 10_000;
/// How long a gesture may be kept back and still open something, ms.
const STALE_MS: i64 = 120_000;
/// Two clocks of the same machine, read one after the other, ms.
const SLACK_MS: i64 = 1_000;

struct Row {
    bank: String,
    compartment: u16,
    purpose: String,
    parcel: Option<String>,
    at_ms: i64,
    state: String,
}

/// What was compared, in numbers.
#[derive(Default)]
pub struct Figures {
    pub commands: u64,
    pub openings: u64,
    pub by_banks: u64,
}

pub fn check(store: &Store, town: &Town) -> (Figures, Wrong) {
    let sql = "SELECT id, bank, compartment, purpose, parcel, at_ms, state FROM commands";
    let rows: BTreeMap<String, Row> = store.rows(sql, |row| {
        let command = Row {
            bank: row.get(1)?,
            compartment: row.get(2)?,
            purpose: row.get(3)?,
            parcel: row.get(4)?,
            at_ms: row.get(5)?,
            state: row.get(6)?,
        };
        Ok((row.get(0)?, command))
    });
    let mut figures = Figures {
        commands: rows.len() as u64,
        ..Figures::default()
    };
    let (mut strange, mut twice) = (Vec::new(), Vec::new());
    let mut carried_out = BTreeSet::new();
    for (bank, opening) in openings(town) {
        figures.openings += 1;
        let Some(id) = &opening.command else {
            figures.by_banks += 1;
            continue;
        };
        if !carried_out.insert(id.clone()) {
            twice.push(format!("{id} at {bank}: {opening:?}"));
        }
        let explained = rows.get(id).is_some_and(|row| {
            let within = row.at_ms - SLACK_MS..=row.at_ms + TTL_MS + SLACK_MS;
            let here = row.bank == bank.as_str() && row.compartment == opening.compartment;
            here && within.contains(&opening.at_ms) && row.state != "expired"
        });
        if !explained {
            strange.push(format!("{bank}: {opening:?}"));
        }
    }
    let mut wrong = first_few("a command carried out twice", &twice);
    wrong.extend(first_few(
        "a door opened without a command in its time",
        &strange,
    ));
    wrong.extend(first_few(
        "an opening by a bank alone",
        &not_by_the_bank(&rows, town),
    ));
    wrong.extend(first_few(
        "a command without a cause",
        &causeless(&rows, town),
    ));
    wrong.extend(first_few(
        "let in for something else",
        &strangers(&rows, town),
    ));
    (figures, wrong)
}

/// What the ledger says a bank had opened by itself, more often than it did.
fn not_by_the_bank(rows: &BTreeMap<String, Row>, town: &Town) -> Vec<String> {
    let mut alone: BTreeMap<(String, u16), usize> = BTreeMap::new();
    for (bank, opening) in openings(town) {
        let by_itself = opening.command.is_none();
        *alone
            .entry((bank.to_string(), opening.compartment))
            .or_default() += usize::from(by_itself);
    }
    let mut wrong = Vec::new();
    for (id, row) in rows.iter().filter(|(id, _)| id.starts_with("b-")) {
        let left = alone
            .entry((row.bank.clone(), row.compartment))
            .or_default();
        match left.checked_sub(1) {
            Some(one_less) => *left = one_less,
            None => wrong.push(format!("{id} {}/{}", row.bank, row.compartment)),
        }
    }
    wrong
}

fn openings(town: &Town) -> Vec<(Ident, Opening)> {
    let banks = town.banks.values().map(|bank| bank.device());
    let each = |device: &simulator::Device| {
        let id = device.id().clone();
        let openings = device.openings().into_iter();
        openings.map(move |opening| (id.clone(), opening))
    };
    banks.flat_map(each).collect()
}

/// Commands that nobody's gesture explains.
fn causeless(rows: &BTreeMap<String, Row>, town: &Town) -> Vec<String> {
    let mut gestures: BTreeMap<(String, Option<String>), Vec<i64>> = BTreeMap::new();
    for Gesture {
        at_ms,
        point,
        parcel,
    } in town.gestures()
    {
        let key = (point.to_string(), parcel);
        gestures.entry(key).or_default().push(at_ms);
    }
    let explained = |row: &Row| {
        let parcel = match row.purpose.as_str() {
            "by-hand" => return true,
            "retrieve" => None,
            _ => row.parcel.clone(),
        };
        let within = row.at_ms - STALE_MS - SLACK_MS..=row.at_ms + SLACK_MS;
        let done = gestures.get(&(row.bank.clone(), parcel));
        done.is_some_and(|done| done.iter().any(|at_ms| within.contains(at_ms)))
    };
    // What a bank opened by itself it may tell of much later.
    let rows = rows.iter().filter(|(id, _)| !id.starts_with("b-"));
    let causeless = rows.filter(|(_, row)| !explained(row));
    causeless
        .map(|(id, row)| {
            let Row {
                bank,
                compartment,
                purpose,
                parcel,
                at_ms,
                ..
            } = row;
            format!("{id} {bank}/{compartment} {purpose} {parcel:?} at {at_ms}")
        })
        .collect()
}

/// Who took something out of a compartment that had come open for another household.
fn strangers(rows: &BTreeMap<String, Row>, town: &Town) -> Vec<String> {
    let openings = openings(town);
    let mut wrong = Vec::new();
    for handed in town.handed() {
        let last = openings
            .iter()
            .filter(|(bank, o)| *bank == handed.bank && o.compartment == handed.compartment)
            .rfind(|(_, o)| o.at_ms <= handed.at_ms);
        let Some((_, opening)) = last else {
            wrong.push(format!("{handed:?}: nothing had opened"));
            continue;
        };
        // The bank's own list names the compartment, and the honest take only what is theirs.
        let Some(row) = opening.command.as_ref().and_then(|id| rows.get(id)) else {
            continue;
        };
        let let_in = match (row.purpose.as_str(), &row.parcel) {
            ("retrieve", _) => handed.by == "courier",
            ("collect", Some(parcel)) => {
                town.same_recipient(parcel, &handed.by)
                    && town.same_recipient(parcel, &handed.parcel)
            }
            _ => false,
        };
        if !let_in {
            wrong.push(format!(
                "{handed:?}, but it had opened to {} {:?}",
                row.purpose, row.parcel
            ));
        }
    }
    wrong
}
