//! A command opens once, in its time, and nothing but what it names.

use std::sync::Arc;
use std::time::Duration;

use firmware_protocols::Slot;

use super::doors::{close_all, must_be};
use super::{Case, Ended, ensure, of_bank, one_to_open, pulses, slot};
use crate::bench::BankOnBench;
use crate::report::Figure;
use crate::rig::Rig;

/// How long a refusal may take to be on disk.
const REFUSED_WITHIN: Duration = Duration::from_secs(5);

/// The cases of a bank.
pub fn cases(bank: &BankOnBench) -> Vec<Case> {
    vec![
        of_bank(
            "opened-once",
            "A command opens exactly once, also when it comes twice, and nothing opens later.",
            bank,
            once,
        ),
        of_bank(
            "expired-opens-nothing",
            "A command whose time is over opens nothing, and is answered as refused.",
            bank,
            expired,
        ),
    ]
}

/// The case that looks back at all the others.
pub fn untouched(bank: &BankOnBench) -> Case {
    of_bank(
        "unlisted-untouched",
        "Compartments that aren't listed were never opened, and listed ones never more often than commanded.",
        bank,
        nothing_else,
    )
}

async fn once(rig: Arc<Rig>, bank: BankOnBench) -> Ended {
    let slot = one_to_open(&rig, &bank)?;
    close_all(&rig, &bank).await?;
    let (mark, before) = (rig.mark(), pulses(&rig, &slot));
    let id = format!("hil-once-{mark}");
    // The journal may send a command again that wasn't answered in time.
    rig.count(&slot);
    rig.command(&slot, &id, Duration::from_secs(10));
    rig.command(&slot, &id, Duration::from_secs(10));
    must_be(&rig, &slot, "open").await?;
    rig.hands.close(&slot).await?;
    must_be(&rig, &slot, "closed").await?;
    tokio::time::sleep(Duration::from_millis(rig.bench.settings.watch_ms)).await;
    let seen = rig.openings_seen(&slot, mark);
    ensure(seen == 1, || {
        format!("{slot} was seen to open {seen} times after one command")
    })?;
    let given = pulses(&rig, &slot)
        .zip(before)
        .map(|(now, before)| now - before);
    ensure(given.is_none_or(|given| given == 1), || {
        format!("the lock of {slot} got {given:?} pulses for one command")
    })?;
    let done = results(&rig, &slot, &id, mark);
    ensure(
        done.iter().filter(|outcome| *outcome == "done").count() == 1,
        || format!("the command was answered {done:?}: exactly one 'done' is right"),
    )?;
    Ok(vec![Figure::new("openings seen", seen as f64, "")])
}

async fn expired(rig: Arc<Rig>, bank: BankOnBench) -> Ended {
    let slot = one_to_open(&rig, &bank)?;
    close_all(&rig, &bank).await?;
    let (mark, before) = (rig.mark(), pulses(&rig, &slot));
    let id = format!("hil-late-{mark}");
    rig.command(&slot, &id, Duration::ZERO);
    let answered = rig
        .until(REFUSED_WITHIN, || {
            let results = results(&rig, &slot, &id, mark);
            results.first().cloned()
        })
        .await;
    // Longer than a board takes to be seen open.
    tokio::time::sleep(Duration::from_millis(500)).await;
    ensure(rig.openings_seen(&slot, mark) == 0, || {
        format!("{slot} opened for a command whose time was over")
    })?;
    ensure(pulses(&rig, &slot) == before, || {
        format!("the lock of {slot} got a pulse for a command whose time was over")
    })?;
    ensure(answered.as_deref() == Some("refused"), || {
        format!("the answer should be 'refused', and is {answered:?}")
    })?;
    Ok(Vec::new())
}

async fn nothing_else(rig: Arc<Rig>, bank: BankOnBench) -> Ended {
    for number in 1..=bank.count {
        let slot = slot(&bank, number);
        let listed = bank.may_open.contains(&number);
        let seen = rig.openings_seen(&slot, 0);
        ensure(listed || seen == 0, || {
            format!("{slot} isn't listed, and was seen to open {seen} times")
        })?;
        if let Some(given) = pulses(&rig, &slot) {
            let asked = rig.asked(&slot);
            ensure(given as u64 <= asked, || {
                format!("the lock of {slot} got {given} pulses for {asked} commands")
            })?;
        }
    }
    let simulated = rig.simulation().and_then(|s| s.banks.get(&bank.id));
    if let Some(simulated) = simulated {
        let beside = simulated
            .pulses()
            .iter()
            .filter(|(of, _)| of.is_none())
            .count();
        ensure(beside == 0, || {
            format!("{beside} pulses went to channels that nothing is wired to")
        })?;
        let forbidden = simulated.forbidden();
        ensure(forbidden.is_empty(), || {
            format!(
                "the board was sent what no gateway may send: {}",
                forbidden.join(", ")
            )
        })?;
    }
    Ok(vec![Figure::new("compartments", f64::from(bank.count), "")])
}

/// What a bank answered to a command, in order.
fn results(rig: &Rig, slot: &Slot, id: &str, mark: i64) -> Vec<String> {
    let events = rig.events(&slot.bank, "result", mark).into_iter();
    events
        .filter(|event| event.body["command"] == id)
        .filter_map(|event| Some(event.body["outcome"].as_str()?.to_owned()))
        .collect()
}
