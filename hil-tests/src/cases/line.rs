//! The line is shared, and nobody waits for somebody else: not a person for the polling, not a board
//! for a dead one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use firmware_protocols::Ident;

use super::doors::{close_all, open_and_close};
use super::{Case, Ended, Stop, ensure, of_bank, one_to_open};
use crate::bench::{BankOnBench, GHOST};
use crate::report::Figure;
use crate::rig::Rig;

/// What an opening may take beside exchanges on the line: two commits, and the door's spring.
const BESIDE_MS: u64 = 700;
/// How long boards are watched beside a dead one.
const WATCHED: Duration = Duration::from_secs(2);

/// The cases of a bank that are about delay.
pub fn delay_cases(bank: &BankOnBench) -> Vec<Case> {
    vec![
        of_bank(
            "polling-delays-nothing",
            "An unlock waits for at most the exchange under way, however often boards are asked.",
            bank,
            polling,
        ),
        of_bank(
            "dead-board-delays-nobody",
            "A board that doesn't answer gets a pause of its own; the others are asked as often as before.",
            bank,
            dead,
        ),
    ]
}

/// The case of a port that is about its quality.
pub fn quality_cases(port: &Ident) -> Vec<Case> {
    let id = port.clone();
    vec![Case {
        name: "line-quality",
        on: port.to_string(),
        clause: "Of the last hundred requests to each that hangs there, enough were answered.",
        run: Box::new(move |rig| Box::pin(quality(rig, id))),
    }]
}

async fn polling(rig: Arc<Rig>, bank: BankOnBench) -> Ended {
    let slot = one_to_open(&rig, &bank)?;
    close_all(&rig, &bank).await?;
    let exchange_ms = bank.exchange_ms();
    // The exchange under way, the unlock's own, the status that shows the door, and its follower.
    let allowed_ms = exchange_ms * 4 + BESIDE_MS;
    let mut took_ms = Vec::new();
    for _ in 0..rig.bench.settings.openings.max(1) {
        let took = open_and_close(&rig, &slot).await?;
        took_ms.push(took.as_secs_f64() * 1_000.0);
    }
    took_ms.sort_by(f64::total_cmp);
    let middle = took_ms.get(took_ms.len() / 2).copied().unwrap_or(0.0);
    let longest = took_ms.last().copied().unwrap_or(0.0);
    ensure(middle <= allowed_ms as f64, || {
        format!(
            "the middle one of {} openings took {middle:.0} ms; exchanges of {exchange_ms} ms explain {allowed_ms} ms",
            took_ms.len()
        )
    })?;
    Ok(vec![
        Figure::new("opening, middle", middle, "ms"),
        Figure::new("longest", longest, "ms"),
        Figure::new("one exchange at most", exchange_ms as f64, "ms"),
    ])
}

async fn dead(rig: Arc<Rig>, bank: BankOnBench) -> Ended {
    let port = &bank.port.id;
    let address = rig.bench.settings.free_address.get(port.as_str()).copied();
    let Some(address) = address else {
        return Err(Stop::NotRun(format!(
            "no address of port {port} is known to be free: add free_address = {{ {port} = … }}"
        )));
    };
    let ghost = || {
        rig.port(port)?
            .slaves
            .into_iter()
            .find(|s| is_ghost(&s.device))
    };
    let silent = rig
        .until(rig.bench.settings.heard_within(), || {
            ghost().filter(|s| s.answers == Some(false))
        })
        .await;
    let Some(silent) = silent else {
        let heard = ghost().is_some_and(|s| s.answers == Some(true));
        return Err(Stop::Failed(match heard {
            true => {
                format!("something answers at address {address}, which free_address says is free")
            }
            false => format!("nothing at address {address}, and it isn't said to be silent"),
        }));
    };
    let answered = || -> Vec<u64> {
        let boards = bank.boards.iter();
        boards
            .map(|board| {
                let slave = rig.slave(port, &bank.id, Some(board.address));
                slave.map_or(0, |slave| slave.answered)
            })
            .collect()
    };
    let (before, from) = (answered(), Instant::now());
    tokio::time::sleep(WATCHED).await;
    let (after, watched) = (answered(), from.elapsed());
    let slaves = rig.port(port).map_or(1, |port| port.slaves.len()).max(1) as u64;
    let every_ms = u64::try_from(bank.port.poll().as_millis()).unwrap_or(u64::MAX);
    // Half of what the settings ask for, or of what the line's time allows.
    let every_ms = every_ms.max(bank.exchange_ms() * slaves) * 2;
    let wanted = u64::try_from(watched.as_millis()).unwrap_or(0) / every_ms.max(1);
    for (board, (before, after)) in bank.boards.iter().zip(before.iter().zip(&after)) {
        let answers = after - before;
        ensure(answers >= wanted, || {
            format!(
                "board {} answered {answers} times in {} ms beside the dead address {address}; at least {wanted} are right",
                board.address,
                watched.as_millis()
            )
        })?;
    }
    ensure(silent.pause_ms > 0, || {
        format!("the dead address {address} gets no pause of its own")
    })?;
    let least = after.iter().zip(&before).map(|(a, b)| a - b).min();
    let least = least.unwrap_or(0) as f64 / watched.as_secs_f64();
    Ok(vec![Figure::new("answers of each, at least", least, "/s")])
}

async fn quality(rig: Arc<Rig>, port: Ident) -> Ended {
    let within = rig.bench.settings.heard_within();
    let view = || rig.port(&port);
    let up = rig.until(within, || view().filter(|view| view.up)).await;
    let Some(view) = up else {
        let fault = view().and_then(|view| view.fault);
        return Err(Stop::Failed(format!("port {port} isn't open: {fault:?}")));
    };
    let least = rig.bench.settings.quality_min;
    let mut figures = Vec::new();
    for slave in view.slaves.iter().filter(|s| !is_ghost(&s.device)) {
        let name = match slave.address {
            Some(address) => format!("{} at {address}", slave.device),
            None => slave.device.clone(),
        };
        if slave.asked == 0 {
            continue;
        }
        let quality = slave.quality.unwrap_or(0);
        ensure(quality >= least, || {
            format!(
                "{name}: {quality} % of the last requests were answered, {least} % are asked for: check cable, terminators and ground"
            )
        })?;
        figures.push(Figure::new(
            &format!("{name}: quality"),
            quality.into(),
            "%",
        ));
        if let Some((middle, longest)) = slave.rtt_ms {
            figures.push(Figure::new("round trip", middle, "ms"));
            figures.push(Figure::new("longest", longest, "ms"));
        }
    }
    figures.push(Figure::new("noise", view.noise_bytes as f64, "bytes"));
    Ok(figures)
}

fn is_ghost(device: &str) -> bool {
    device.starts_with(GHOST)
}
