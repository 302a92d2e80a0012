//! The line's faults: lived through, and over when they are over. All but the unplugged adapter can
//! be had on a simulated line only.

use std::sync::Arc;
use std::time::Duration;

use firmware_protocols::Slot;
use simulator::serial::Faults;

use super::doors::{all_answer, all_known, close_all, open_and_close};
use super::{Case, Ended, Stop, ensure, of_bank, one_to_open, pulses};
use crate::bench::BankOnBench;
use crate::report::Figure;
use crate::rig::Rig;

/// How long a fault lasts before something is opened in it.
const LASTS: Duration = Duration::from_millis(700);
/// How long it is watched that nothing opens once the adapter is back.
const LATER: Duration = Duration::from_secs(2);

/// The cases of a bank.
pub fn cases(bank: &BankOnBench) -> Vec<Case> {
    vec![
        of_bank(
            "noise-recovered",
            "Stray bytes and flipped bits open nothing twice and are over when they are over.",
            bank,
            |rig, bank| {
                let faults = Faults {
                    stray_per_mille: 300,
                    flip_per_mille: 5,
                    ..Faults::default()
                };
                disturbed(rig, bank, faults, false)
            },
        ),
        of_bank(
            "loss-recovered",
            "Lost bytes and half frames open nothing twice and are over when they are over.",
            bank,
            |rig, bank| {
                let faults = Faults {
                    loss_per_mille: 20,
                    half_per_mille: 100,
                    ..Faults::default()
                };
                disturbed(rig, bank, faults, false)
            },
        ),
        of_bank(
            "echo-lived-with",
            "An adapter that hears what it sends changes nothing.",
            bank,
            |rig, bank| {
                let faults = Faults {
                    echo: true,
                    ..Faults::default()
                };
                disturbed(rig, bank, faults, true)
            },
        ),
        of_bank(
            "replugged",
            "An adapter that is pulled out is noticed, opens nothing meanwhile or later, and works again under another name.",
            bank,
            replugged,
        ),
    ]
}

/// Lives through a fault, with an opening in the midst that must succeed if `works`, and may fail
/// honestly if not.
async fn disturbed(rig: Arc<Rig>, bank: BankOnBench, faults: Faults, works: bool) -> Ended {
    let Some(simulated) = rig.simulation() else {
        return Err(Stop::NotRun(
            "only a simulated line can be disturbed at will".to_owned(),
        ));
    };
    let Some(wire) = simulated.wires.get(bank.port.id.as_str()) else {
        return Err(Stop::NotRun("its line isn't simulated".to_owned()));
    };
    let slot = one_to_open(&rig, &bank)?;
    close_all(&rig, &bank).await?;
    wire.set_faults(faults);
    tokio::time::sleep(LASTS).await;
    let during = open_in_it(&rig, &slot).await;
    let up = rig.port(&bank.port.id).is_some_and(|port| port.up);
    wire.set_faults(Faults::default());
    let (confirmed, words) = during?;
    ensure(up, || {
        "the port was given up, and only its line was bad".to_owned()
    })?;
    ensure(confirmed || !works, || {
        format!("{slot} didn't open meanwhile: {words}")
    })?;
    recovered(&rig, &bank).await?;
    let noise = rig.port(&bank.port.id).map_or(0, |port| port.noise_bytes);
    Ok(vec![
        Figure::new("opened meanwhile", f64::from(u8::from(confirmed)), ""),
        Figure::new("noise so far", noise as f64, "bytes"),
    ])
}

/// Opens while the line is bad: at most one pulse, and none if nothing could be sent. Returns
/// whether it was confirmed, and in words what came of it.
async fn open_in_it(rig: &Rig, slot: &Slot) -> Result<(bool, String), Stop> {
    let before = pulses(rig, slot);
    let opened = rig.open(slot).await?;
    let given = pulses(rig, slot)
        .zip(before)
        .map(|(now, before)| now - before);
    ensure(given.is_none_or(|given| given <= 1), || {
        format!("the lock of {slot} got {given:?} pulses for one command")
    })?;
    ensure(!opened.confirmed() || given != Some(0), || {
        format!("{slot} is said to be open, and its lock got no pulse")
    })?;
    rig.hands.close(slot).await?;
    Ok((opened.confirmed(), opened.words()))
}

/// Everything is as it should be again: boards answer, doors are known, and an opening works.
async fn recovered(rig: &Rig, bank: &BankOnBench) -> Result<(), Stop> {
    all_answer(rig, bank).await?;
    all_known(rig, bank).await?;
    close_all(rig, bank).await?;
    let slot = one_to_open(rig, bank)?;
    let before = pulses(rig, &slot);
    open_and_close(rig, &slot).await?;
    let given = pulses(rig, &slot)
        .zip(before)
        .map(|(now, before)| now - before);
    ensure(given.is_none_or(|given| given == 1), || {
        format!("after the fault the lock of {slot} got {given:?} pulses for one command")
    })
}

async fn replugged(rig: Arc<Rig>, bank: BankOnBench) -> Ended {
    let slot = one_to_open(&rig, &bank)?;
    close_all(&rig, &bank).await?;
    let port = bank.port.id.clone();
    let device_before = rig.port(&port).and_then(|view| view.device);
    let (mark, before) = (rig.mark(), pulses(&rig, &slot));
    let noticed = rig.bench.settings.heard_within();
    rig.hands.unplug(&port).await?;
    let gone = rig
        .until(noticed, || rig.port(&port).filter(|view| !view.up))
        .await;
    let unknown = rig
        .until(noticed, || {
            (rig.door(&slot).as_deref() == Some("unknown")).then_some(())
        })
        .await;
    let opened = rig.open(&slot).await?;
    // And one that finds the port away: made before anybody knew.
    rig.command(
        &slot,
        &format!("hil-away-{}", rig.mark()),
        Duration::from_secs(30),
    );
    rig.hands.plug_in(&port).await?;
    ensure(gone.is_some(), || {
        "nobody noticed that it is gone".to_owned()
    })?;
    ensure(gone.is_some_and(|view| view.fault.is_some()), || {
        "it is gone, and the status doesn't say so".to_owned()
    })?;
    ensure(unknown.is_some(), || {
        format!("the port is away, and {slot} isn't said to be unknown")
    })?;
    ensure(!opened.confirmed() && opened.state != "done", || {
        format!(
            "nothing can open meanwhile, and it is said: {}",
            opened.words()
        )
    })?;
    let back = rig
        .until(noticed, || rig.port(&port).filter(|view| view.up))
        .await;
    ensure(back.is_some(), || {
        "it is in again, and isn't used".to_owned()
    })?;
    all_answer(&rig, &bank).await?;
    all_known(&rig, &bank).await?;
    tokio::time::sleep(LATER).await;
    ensure(
        pulses(&rig, &slot) == before && rig.openings_seen(&slot, mark) == 0,
        || format!("{slot} opened later for a command that found the port away"),
    )?;
    let device = back.and_then(|view| view.device);
    if rig.simulation().is_some() {
        ensure(device != device_before, || {
            format!("it has another device file now, and {device:?} is said")
        })?;
    }
    recovered(&rig, &bank).await?;
    Ok(Vec::new())
}
