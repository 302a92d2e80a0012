//! Boards answer, doors are known, openings are confirmed by what the board says of the door.

use std::sync::Arc;
use std::time::Duration;

use firmware_protocols::Slot;

use super::{Case, Ended, Stop, ensure, may_open, of_bank, slot};
use crate::bench::BankOnBench;
use crate::report::Figure;
use crate::rig::Rig;

/// How long a closed door may take to be known as closed.
const CLOSED_WITHIN: Duration = Duration::from_secs(5);

/// The cases of a bank.
pub fn cases(bank: &BankOnBench) -> Vec<Case> {
    vec![
        of_bank(
            "board-answers",
            "Every board of the bank answers its status requests.",
            bank,
            answers,
        ),
        of_bank(
            "states-known",
            "Every door's state is known, and those that are closed are said to be closed.",
            bank,
            known,
        ),
        of_bank(
            "opening-confirmed",
            "An opening is confirmed by the door's own state within the bound, and so is its closing.",
            bank,
            confirmed,
        ),
    ]
}

async fn answers(rig: Arc<Rig>, bank: BankOnBench) -> Ended {
    all_answer(&rig, &bank).await?;
    Ok(Vec::new())
}

/// Waits until every board of the bank answers.
pub async fn all_answer(rig: &Rig, bank: &BankOnBench) -> Result<(), Stop> {
    for board in &bank.boards {
        let look = || rig.slave(&bank.port.id, &bank.id, Some(board.address));
        let heard = rig
            .until(rig.bench.settings.heard_within(), || {
                look().filter(|s| s.answers == Some(true))
            })
            .await;
        ensure(heard.is_some(), || {
            let port = rig.port(&bank.port.id);
            let port = port.map_or("unknown".to_owned(), |port| match (port.up, port.fault) {
                (true, None) => "open".to_owned(),
                (_, Some(fault)) => format!("at fault: {fault:?}"),
                (false, None) => "not open".to_owned(),
            });
            let figures = look().map_or("never asked".to_owned(), |s| {
                format!(
                    "asked {}, answered {}, unreadable {}",
                    s.asked, s.answered, s.unreadable
                )
            });
            format!(
                "board {} doesn't answer ({figures}; port {} is {port}): check its power, its address switches, and that A and B aren't swapped",
                board.address, bank.port.id
            )
        })?;
    }
    Ok(())
}

async fn known(rig: Arc<Rig>, bank: BankOnBench) -> Ended {
    all_known(&rig, &bank).await?;
    let doors = rig.doors(&bank.id);
    for number in &bank.may_open {
        let door = doors.get(number).map_or("unknown", String::as_str);
        ensure(door == "closed", || {
            format!(
                "{}/{number} is said to be {door}: if its door is closed, set 'closed' of its board to the other level, else close it",
                bank.id
            )
        })?;
    }
    Ok(vec![Figure::new("doors", doors.len() as f64, "")])
}

/// Waits until every door's state is known.
pub async fn all_known(rig: &Rig, bank: &BankOnBench) -> Result<(), Stop> {
    let unknown = || -> Vec<u16> {
        let doors = rig.doors(&bank.id);
        let is_known =
            |n: &u16| matches!(doors.get(n).map(String::as_str), Some("open" | "closed"));
        (1..=bank.count).filter(|n| !is_known(n)).collect()
    };
    let all = rig
        .until(rig.bench.settings.heard_within(), || {
            unknown().is_empty().then_some(())
        })
        .await;
    ensure(all.is_some(), || {
        format!("the doors of {:?} are unknown", unknown())
    })
}

async fn confirmed(rig: Arc<Rig>, bank: BankOnBench) -> Ended {
    rig.hands.can_close()?;
    let mut longest: Duration = Duration::ZERO;
    for slot in may_open(&bank)? {
        longest = longest.max(open_and_close(&rig, &slot).await?);
    }
    Ok(vec![Figure::new(
        "longest opening",
        longest.as_secs_f64() * 1_000.0,
        "ms",
    )])
}

/// Opens a compartment, sees that it is open and nothing else opened with it, and has it closed.
/// Returns how long the opening took.
pub async fn open_and_close(rig: &Rig, slot: &Slot) -> Result<Duration, Stop> {
    must_be(rig, slot, "closed").await?;
    let opened = rig.open(slot).await?;
    let bound = Duration::from_millis(rig.bench.settings.confirm_within_ms);
    // Closed again in any case, so that what comes next isn't led astray.
    let seen = rig.door(slot);
    let really = really_open(rig, slot);
    rig.hands.close(slot).await?;
    ensure(opened.confirmed(), || {
        format!("{slot}: the opening wasn't confirmed: {}", opened.words())
    })?;
    ensure(opened.took <= bound, || {
        format!(
            "{slot}: the door was seen open after {} ms, {} ms are allowed",
            opened.took.as_millis(),
            bound.as_millis()
        )
    })?;
    ensure(really != Some(false), || {
        format!("{slot} is said to be open, and isn't")
    })?;
    if rig.simulation().is_some() {
        ensure(seen.as_deref() == Some("open"), || {
            format!("{slot}: the command is done, and the door is {seen:?}")
        })?;
    }
    must_be(rig, slot, "closed").await?;
    Ok(opened.took)
}

/// Waits until a door is known to be so.
pub async fn must_be(rig: &Rig, slot: &Slot, wanted: &str) -> Result<(), Stop> {
    let is = rig
        .until(CLOSED_WITHIN, || {
            (rig.door(slot).as_deref() == Some(wanted)).then_some(())
        })
        .await;
    ensure(is.is_some(), || {
        let door = rig.door(slot).unwrap_or_else(|| "unknown".to_owned());
        format!("{slot} should be {wanted}, and is said to be {door}")
    })
}

/// Closes every door that stands open, and waits until that is known.
pub async fn close_all(rig: &Rig, bank: &BankOnBench) -> Result<(), Stop> {
    for number in &bank.may_open {
        let slot = slot(bank, *number);
        if rig.door(&slot).as_deref() != Some("closed") || really_open(rig, &slot) == Some(true) {
            rig.hands.close(&slot).await?;
        }
        must_be(rig, &slot, "closed").await?;
    }
    Ok(())
}

/// Whether a door is open in truth; `None` on hardware.
fn really_open(rig: &Rig, slot: &Slot) -> Option<bool> {
    let bank = rig.simulation()?.banks.get(&slot.bank)?;
    bank.compartments.is_open(slot.compartment)
}
