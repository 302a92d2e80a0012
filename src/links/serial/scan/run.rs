//! A scan on the port itself. It can be dropped at any time: nothing on the line was changed.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::overhear::{TRAFFIC_BYTES, judge};
use super::plan::{Pass, Plan, answer_time, rest};
use super::request::{Probe, Reply};
use super::{Finding, Outcome, Rate, UNREADABLE_MAX, Unreadable};
use crate::config::serial::{PortSection, Protocol};
use crate::links::serial::port;
use crate::links::serial::status::PortFault;

/// The most that is kept of what comes during one request, or while listening at one rate, bytes.
const CAME_MAX: usize = 4_096;

/// How long a line with traffic of its own is listened to at each rate, at the most.
const OVERHEAR: Duration = Duration::from_secs(1);

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Listens whether the line is quiet.
    Listening,
    /// It isn't: listens at this rate to what is spoken.
    Overhearing(Rate),
    /// Asks for devices of a protocol.
    Asking {
        /// The protocol.
        protocol: Protocol,
        /// How fast.
        rate: Rate,
        /// How long the rest takes at most.
        left: Duration,
    },
    /// Something answered.
    Found(Finding),
}

/// Scans a port, and puts what it finds into `outcome` as it comes. `port` gives the path.
///
/// # Errors
/// When the port can't be opened, or fails.
pub async fn scan(
    port: &PortSection,
    plan: &Plan,
    outcome: &mut Outcome,
    mut progress: impl FnMut(Progress),
) -> Result<(), PortFault> {
    let rates = plan.rates();
    let Some(first) = rates.first() else {
        outcome.complete = true;
        return Ok(());
    };
    let failed = |e: io::Error| failed(&port.path, &e);
    progress(Progress::Listening);
    let mut line = open(port, *first)?;
    if listen(&mut line, plan.listen).await.map_err(failed)?.len() >= TRAFFIC_BYTES {
        drop(line);
        let mut heard = Vec::new();
        for rate in rates {
            progress(Progress::Overhearing(rate));
            let mut line = open(port, rate)?;
            let time = OVERHEAR.max(plan.listen.min(OVERHEAR * 10));
            heard.push((rate, listen(&mut line, time).await.map_err(failed)?));
        }
        outcome.overheard = Some(judge(&heard));
        outcome.complete = true;
        return Ok(());
    }
    let mut at = *first;
    let mut line = Some(line);
    for (index, pass) in plan.passes.iter().enumerate() {
        if is_settled(plan, pass, outcome) {
            continue;
        }
        let left = plan.passes.iter().skip(index);
        let left = left.map(|pass| pass.longest(plan.timeout)).sum();
        progress(Progress::Asking {
            protocol: pass.protocol,
            rate: pass.rate,
            left,
        });
        if pass.rate != at {
            // Closed first: a port is opened for one alone.
            drop(line.take());
            at = pass.rate;
        }
        let line = match &mut line {
            Some(line) => line,
            none => none.insert(open(port, pass.rate)?),
        };
        run(line, pass, plan.timeout, outcome, &mut progress)
            .await
            .map_err(failed)?;
    }
    outcome.complete = true;
    Ok(())
}

/// Whether a pass needs no asking: devices were found at another rate, or without the parity bit.
fn is_settled(plan: &Plan, pass: &Pass, outcome: &Outcome) -> bool {
    let mut found = outcome.found.iter();
    match plan.all_rates {
        true => found.any(|found| {
            found.protocol == pass.protocol
                && found.rate.baud == pass.rate.baud
                && found.rate.even != pass.rate.even
        }),
        false => {
            let other = |found: &Finding| {
                found.rate.baud != pass.rate.baud
                    || found.protocol == pass.protocol && found.rate != pass.rate
            };
            found.any(other)
        }
    }
}

async fn run(
    line: &mut (impl AsyncRead + AsyncWrite + Unpin),
    pass: &Pass,
    timeout: Duration,
    outcome: &mut Outcome,
    progress: &mut impl FnMut(Progress),
) -> io::Result<()> {
    for probes in &pass.asked {
        for probe in probes {
            let Some(says) = ask_twice(line, pass.rate, probe, timeout, outcome).await? else {
                continue;
            };
            let found = Finding {
                protocol: pass.protocol,
                rate: pass.rate,
                address: probe.address,
                says,
            };
            progress(Progress::Found(found.clone()));
            outcome.found.push(found);
            break;
        }
    }
    Ok(())
}

/// Asks, and if there is an answer once more: noise doesn't answer twice.
async fn ask_twice(
    line: &mut (impl AsyncRead + AsyncWrite + Unpin),
    rate: Rate,
    probe: &Probe,
    timeout: Duration,
    outcome: &mut Outcome,
) -> io::Result<Option<String>> {
    let mut answer = None;
    for _ in 0..2 {
        match ask(line, rate, probe, timeout, outcome).await? {
            Reply::Answer(says) => answer = Some(says),
            Reply::Nothing => return Ok(None),
            Reply::Unreadable(bytes) => {
                if outcome.unreadable.len() < UNREADABLE_MAX {
                    outcome.unreadable.push(Unreadable {
                        protocol: probe.protocol,
                        rate,
                        address: probe.address,
                        bytes,
                    });
                }
                return Ok(None);
            }
        }
    }
    Ok(answer)
}

async fn ask(
    line: &mut (impl AsyncRead + AsyncWrite + Unpin),
    rate: Rate,
    probe: &Probe,
    within: Duration,
    outcome: &mut Outcome,
) -> io::Result<Reply> {
    sleep(rest(rate)).await;
    // What came late belongs to no request.
    let _ = listen(line, Duration::ZERO).await?;
    line.write_all(&probe.bytes).await?;
    line.flush().await?;
    outcome.asked += 1;
    let deadline = Instant::now() + answer_time(rate, probe, within);
    let mut came = Vec::new();
    let reply = loop {
        let mut chunk = [0; 256];
        match timeout_at(deadline, line.read(&mut chunk)).await {
            Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => keep(&mut came, &chunk, read?),
            Err(_) => break probe.judge(&came),
        }
        if let answer @ Reply::Answer(_) = probe.judge(&came) {
            break answer;
        }
    };
    outcome.echo |= probe.is_echoed(&came);
    Ok(reply)
}

/// What comes within some time.
async fn listen(line: &mut (impl AsyncRead + Unpin), time: Duration) -> io::Result<Vec<u8>> {
    let mut came = Vec::new();
    let deadline = Instant::now() + time;
    loop {
        let mut chunk = [0; 256];
        let read = match time.is_zero() {
            // Only what is there already.
            true => timeout(Duration::ZERO, line.read(&mut chunk)).await,
            false => timeout_at(deadline, line.read(&mut chunk)).await,
        };
        match read {
            Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => keep(&mut came, &chunk, read?),
            Err(_) => return Ok(came),
        }
        if time.is_zero() && came.len() >= CAME_MAX {
            return Ok(came);
        }
    }
}

fn keep(came: &mut Vec<u8>, chunk: &[u8], read: usize) {
    let room = CAME_MAX.saturating_sub(came.len());
    came.extend(chunk.iter().take(read.min(room)));
}

fn open(port: &PortSection, rate: Rate) -> Result<tokio_serial::SerialStream, PortFault> {
    let section = PortSection {
        baud: Some(rate.baud),
        parity: rate.parity(),
        ..port.clone()
    };
    Ok(port::open(&section)?.0)
}

fn failed(path: &Path, error: &io::Error) -> PortFault {
    match path.exists() {
        true => PortFault::Other {
            error: error.to_string(),
        },
        false => PortFault::Unplugged,
    }
}
