//! `linli serial scan`: what hangs on a port, and what to write into the configuration.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::{runtime, section};
use crate::cli::args::ScanArgs;
use crate::cli::look::{Look, told};
use crate::cli::stop::{self, Stop};
use crate::cli::table::{Cell, Column, table};
use crate::cli::words::scan as say;
use crate::cli::words::serial;
use crate::cli::{Done, Session};
use crate::config::serial::Protocol;
use crate::control::client::Client;
use crate::control::views::Status;
use crate::control::wire::Request;
use crate::links::serial::scan::{Outcome, Plan, Progress, Wanted, scan};

impl Session {
    pub(super) fn serial_scan(&mut self, args: &ScanArgs) -> Done {
        let path = match self.configured(&args.port) {
            Some(port) => port.path,
            None => args.port.clone(),
        };
        self.is_free_of_daemon(&path)?;
        let plan = Plan::new(&Wanted {
            protocols: args.protocol.clone(),
            bauds: args.baud.clone(),
            addresses: args.addresses.as_ref().map(|addresses| addresses.0.clone()),
            timeout: Duration::from_millis(args.timeout),
            listen: Duration::from_millis(args.listen),
        });
        if plan.requests() == 0 {
            return Err(Stop::new(stop::USAGE, say::NOTHING_TO_ASK));
        }
        let port = section(&path, Protocol::Lines)?;
        let shown = path.display().to_string();
        tell(&say::begins(
            &shown,
            plan.requests(),
            plan.listen,
            plan.longest(),
        ));
        let mut outcome = Outcome::default();
        let ended = runtime()?.block_on(async {
            let scanning = scan(&port, &plan, &mut outcome, |progress| {
                tell_progress(&progress)
            });
            tokio::select! {
                ended = scanning => Some(ended),
                // What was found until then is shown.
                _ = tokio::signal::ctrl_c() => None,
            }
        });
        if let Some(Err(fault)) = &ended {
            let words = serial::cannot_open(&shown, fault, "serial", 0);
            if outcome.found.is_empty() {
                return Err(Stop::new(stop::FAILED, words));
            }
            tell(&words);
        }
        self.show_scan(&path, &outcome)?;
        match ended {
            None => Err(Stop::Told(stop::INTERRUPTED)),
            Some(Ok(())) if !outcome.found.is_empty() || outcome.is_understood() => Ok(()),
            Some(_) => Err(Stop::Told(stop::FAILED)),
        }
    }

    /// A scan would disturb the daemon, and the daemon the scan.
    fn is_free_of_daemon(&self, path: &Path) -> Result<(), Stop> {
        let client =
            crate::cli::locate::socket(&self.global).map(|socket| Client::connect(&socket));
        let Ok(Ok(mut client)) = client else {
            return Ok(());
        };
        let status: Status = client.one(&Request::Status).map_err(|e| self.stop(&e))?;
        let real = |path: &Path| std::fs::canonicalize(path).ok();
        let ours = real(path);
        let mut its = status.report.serial.iter().filter(|port| {
            let its = Path::new(&port.path);
            its == path || ours.is_some() && real(its) == ours
        });
        match its.next() {
            Some(port) => {
                let words = serial::daemon_has(&path.display().to_string(), &port.port);
                Err(Stop::new(stop::FAILED, words))
            }
            None => Ok(()),
        }
    }

    fn show_scan(&mut self, path: &Path, outcome: &Outcome) -> Done {
        let lines = say::configuration(&lasting(path), outcome);
        if self.global.json {
            let mut item = serde_json::to_value(outcome).unwrap_or_default();
            item["configuration"] = json!(lines);
            item["ambiguous"] = json!(outcome.is_ambiguous());
            writeln!(self.out, "{item}")?;
            return Ok(self.out.flush()?);
        }
        let text = shown(&self.look, outcome, &lines);
        for line in text.lines() {
            writeln!(self.out, "{line}")?;
        }
        Ok(self.out.flush()?)
    }
}

fn shown(look: &Look, outcome: &Outcome, lines: &str) -> String {
    const HEAD: [Column; 4] = [
        Column::left("PROTOCOL"),
        Column::right("BAUD"),
        Column::right("ADDRESS"),
        Column::stretching("SAYS"),
    ];
    let mut out = String::new();
    let devices = outcome.overheard.iter().flat_map(|heard| &heard.devices);
    let rows: Vec<Vec<Cell>> = outcome
        .found
        .iter()
        .chain(devices)
        .map(|found| {
            vec![
                Cell::from(found.protocol.word()),
                Cell::from(say::rate(found.rate)),
                Cell::from(found.address.to_string()),
                Cell::from(&found.says),
            ]
        })
        .collect();
    if !rows.is_empty() {
        out.push_str(&table(look, &HEAD, &rows));
    }
    for remark in say::remarks(outcome) {
        out.push_str(&format!("{remark}\n"));
    }
    if !lines.is_empty() {
        out.push_str(&format!("\n{}\n\n{lines}", say::TO_CONFIGURE));
    }
    out
}

/// The path that stays the same when the adapter is plugged in again, if there is one.
fn lasting(path: &Path) -> PathBuf {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    let folders = ["/dev/serial/by-id", "/dev/serial/by-path"].map(std::fs::read_dir);
    let links = folders.into_iter().flatten().flatten().flatten();
    let ours = real(path);
    let mut same = links
        .map(|link| link.path())
        .filter(|link| real(link) == ours);
    let lasting = same.next().filter(|_| ours.is_some());
    lasting.unwrap_or_else(|| path.to_path_buf())
}

fn tell_progress(progress: &Progress) {
    tell(&say::progress(progress));
}

fn tell(text: &str) {
    // Nobody may be reading: what was asked for comes on standard output.
    let _ = writeln!(io::stderr(), "{}", told(text));
}
