//! Each event that a device sent is stored exactly once, or stands in quarantine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use simulator::load::read_record;

use super::{Store, Wrong, first_few};
use crate::devices::Sloppy;
use crate::site::{FLOODER, SLOPPY};
use crate::town::Town;

type Key = (String, u32, u64);

/// What was compared, in numbers.
#[derive(Default)]
pub struct Figures {
    pub stored: u64,
    pub duplicate: u64,
    pub quarantined: u64,
}

pub fn check(store: &Store, town: &Town, sloppy: &Sloppy, records: [&Path; 2]) -> (Figures, Wrong) {
    let mut stored: BTreeMap<Key, u32> = BTreeMap::new();
    let events: Vec<Key> = store.rows(
        "SELECT d.device, e.boot, e.seq FROM events e JOIN devices d ON d.ref = e.device",
        |row| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get::<_, i64>(2)?.cast_unsigned(),
            ))
        },
    );
    for key in events {
        *stored.entry(key).or_default() += 1;
    }
    let mut wrong = Wrong::new();
    let twice = stored.iter().filter(|(_, times)| **times > 1);
    let twice: Vec<_> = twice
        .map(|(key, times)| format!("{key:?} {times} times"))
        .collect();
    wrong.extend(first_few("stored more than once", &twice));

    let promised = promised(town, sloppy, records);
    let missing: Vec<_> = promised
        .iter()
        .filter(|key| !stored.contains_key(*key))
        .map(|key| format!("{key:?}"))
        .collect();
    wrong.extend(first_few("acknowledged and not stored", &missing));
    let unsent: Vec<_> = stored
        .keys()
        .filter(|key| !promised.contains(*key))
        .map(|key| format!("{key:?}"))
        .collect();
    wrong.extend(first_few(
        "stored and never acknowledged, or never sent",
        &unsent,
    ));

    wrong.extend(quarantined(store, sloppy));
    wrong.extend(gaps(store));
    wrong.extend(ledgers(store));
    let sum = |column: &str| store.number(&format!("SELECT sum({column}) FROM devices"));
    let figures = Figures {
        stored: stored.len() as u64,
        duplicate: sum("duplicate"),
        quarantined: sum("quarantined"),
    };
    (figures, wrong)
}

/// Everything that any device has on record as acknowledged. At the end that is all that it sent.
fn promised(town: &Town, sloppy: &Sloppy, records: [&Path; 2]) -> BTreeSet<Key> {
    let mut promised = BTreeSet::new();
    for record in records {
        // Without a flood there is no record of one.
        let Ok(read) = read_record(record) else {
            continue;
        };
        for ((device, boot), seqs) in read {
            promised.extend(seqs.into_iter().map(|seq| (device.clone(), boot, seq)));
        }
    }
    let banks = town.banks.values().map(|bank| bank.device());
    for device in banks.chain([town.desk.device()]) {
        let id = device.id().to_string();
        let record = device.record();
        promised.extend(record.into_iter().map(|e| (id.clone(), e.boot, e.seq)));
    }
    let sense = sloppy.sense.iter();
    promised.extend(sense.map(|(boot, seq)| (SLOPPY.to_string(), *boot, *seq)));
    promised
}

/// Nonsense stands in quarantine, each piece once.
fn quarantined(store: &Store, sloppy: &Sloppy) -> Wrong {
    let sql = format!("SELECT count(*) FROM quarantine WHERE source = '{SLOPPY}'");
    let (rows, sent) = (store.number(&sql), sloppy.nonsense.len() as u64);
    let mut wrong = Wrong::new();
    if rows != sent {
        wrong.push(format!(
            "{sent} pieces of nonsense were sent, {rows} are in quarantine"
        ));
    }
    // Some orders are cancelled when somebody is taking them out, or has.
    let sql = format!(
        "SELECT source || ': ' || reason || ': ' || preview FROM quarantine
         WHERE source <> '{SLOPPY}' AND NOT (source = 'cloud' AND preview LIKE 'parcel.cancelled %')"
    );
    let others: Vec<String> = store.rows(&sql, |row| row.get(0));
    wrong.extend(first_few("in quarantine without being nonsense", &others));
    wrong
}

/// Nothing is missing between two events of a boot. A boot that was closed, because the device has been
/// started more often since than is followed, takes nothing after what it had.
fn gaps(store: &Store) -> Wrong {
    let sql = "SELECT device, boot, ahead, given_up, reused, upto FROM boots";
    let rows: Vec<String> = store.rows(sql, |row| {
        let (device, boot): (String, u32) = (row.get(0)?, row.get(1)?);
        let (ahead, given_up): (String, String) = (row.get(2)?, row.get(3)?);
        let upto = row.get::<_, i64>(5)?.cast_unsigned();
        let closed = format!("[[{},{}]]", upto.saturating_add(1), u64::MAX);
        let whole = given_up == "[]" || given_up == closed;
        let sound = ahead == "[]" && whole && !row.get::<_, bool>(4)?;
        let said = format!("{device} boot {boot}: ahead {ahead}, given up {given_up}");
        Ok(if sound { String::new() } else { said })
    });
    let rows: Vec<String> = rows.into_iter().filter(|row| !row.is_empty()).collect();
    first_few("a gap", &rows)
}

/// Each device's ledger balances, and says what the rows say.
fn ledgers(store: &Store) -> Wrong {
    let sql = "SELECT d.device, d.received, d.stored, d.duplicate, d.quarantined,
            (SELECT count(*) FROM events e WHERE e.device = d.ref) FROM devices d";
    let rows: Vec<(String, [i64; 5])> = store.rows(sql, |row| {
        let number = |column| row.get::<_, i64>(column);
        let numbers = [number(1)?, number(2)?, number(3)?, number(4)?, number(5)?];
        Ok((row.get(0)?, numbers))
    });
    let unbalanced = rows
        .iter()
        .filter(|(_, [received, stored, duplicate, quarantined, rows])| {
            *received != stored + duplicate + quarantined || stored != rows
        });
    let unbalanced: Vec<_> = unbalanced.map(|row| format!("{row:?}")).collect();
    let mut wrong = first_few("a ledger that doesn't balance", &unbalanced);
    if !rows.iter().any(|(device, _)| device == FLOODER) {
        println!("  (no flood came)");
    }
    if rows.is_empty() {
        wrong.push("no device has a ledger".to_string());
    }
    wrong
}
