//! Runs the cases: those of one port one after the other, ports at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use firmware_protocols::Ident;
use linli::config::serial::Protocol;
use tokio::task::JoinSet;

use crate::cases::{self, Case, Stop};
use crate::report::{CaseReport, Outcome, Report, Versions};
use crate::rig::Rig;

/// How long one case may take on a bench without a person.
const CASE_MAX: Duration = Duration::from_secs(180);

/// Which cases are run.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Only these; none for all.
    pub only: Vec<String>,
}

impl Choice {
    /// Only cases with these names.
    pub fn only(names: &[&str]) -> Self {
        Self {
            only: names.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    fn has(&self, case: &Case) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == case.name)
    }
}

/// Runs the suite. The rig is given back, for whoever wants to look on.
pub async fn run(rig: Arc<Rig>, choice: &Choice) -> Report {
    let (began, from) = (jiff::Timestamp::now(), Instant::now());
    let mut ports = JoinSet::new();
    for (index, port) in rig.bench.config.ports.iter().enumerate() {
        let cases = match port.protocol {
            Protocol::Linli | Protocol::Osdp => vec![not_here(&port.id)],
            _ => cases::of_port(&rig, &port.id),
        };
        let cases: Vec<Case> = cases.into_iter().filter(|case| choice.has(case)).collect();
        let rig = Arc::clone(&rig);
        ports.spawn(async move {
            let mut reports = Vec::new();
            for case in cases {
                let report = one(&rig, case).await;
                tracing::info!(case = report.case, on = report.on, outcome = ?report.outcome, why = report.why, "case");
                reports.push(report);
            }
            (index, reports)
        });
    }
    let mut by_port = Vec::new();
    while let Some(ended) = ports.join_next().await {
        match ended {
            Ok(reports) => by_port.push(reports),
            Err(error) => tracing::error!(%error, "the cases of a port ended"),
        }
    }
    by_port.sort_by_key(|(index, _)| *index);
    Report {
        bench: rig.bench.settings.name.clone(),
        simulated: rig.seed.is_some(),
        seed: rig.seed,
        began: format!("{began:.0}"),
        took_ms: ms(from),
        versions: versions(&rig).await,
        ports: rig.ports(),
        cases: by_port
            .into_iter()
            .flat_map(|(_, reports)| reports)
            .collect(),
    }
}

/// Readers and our own firmware have test beds of their own.
fn not_here(port: &Ident) -> Case {
    Case {
        name: "port-tested",
        on: port.to_string(),
        clause: "What hangs on the port is tested.",
        run: Box::new(|_| {
            Box::pin(async {
                Err(Stop::NotRun(
                    "this suite has no cases for OSDP and the Linli link".to_owned(),
                ))
            })
        }),
    }
}

async fn one(rig: &Arc<Rig>, case: Case) -> CaseReport {
    let from = Instant::now();
    let Case {
        name,
        on,
        clause,
        run,
    } = case;
    // In a task of its own, so that one that breaks down is a failure and not the end of the run.
    let running = tokio::spawn(run(Arc::clone(rig)));
    let stop = running.abort_handle();
    let waits_for_people = rig.waits_for_people();
    let ended = match waits_for_people {
        true => running.await,
        false => match tokio::time::timeout(CASE_MAX, running).await {
            Ok(ended) => ended,
            Err(_) => {
                stop.abort();
                let why = format!("no end within {} s", CASE_MAX.as_secs());
                Ok(Err(Stop::Failed(why)))
            }
        },
    };
    let (outcome, why, figures) = match ended {
        Ok(Ok(figures)) => (Outcome::Passed, None, figures),
        Ok(Err(Stop::Failed(why))) => (Outcome::Failed, Some(why), Vec::new()),
        Ok(Err(Stop::NotRun(why))) => (Outcome::NotRun, Some(why), Vec::new()),
        Err(broke) => (Outcome::Failed, Some(broke.to_string()), Vec::new()),
    };
    CaseReport {
        case: name.to_owned(),
        on,
        clause: clause.to_owned(),
        outcome,
        why,
        figures,
        took_ms: ms(from),
    }
}

async fn versions(rig: &Rig) -> Versions {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    Versions {
        gateway: rig.version().await.unwrap_or_else(|| "unknown".to_owned()),
        suite: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: kernel.map_or("unknown".to_owned(), |text| text.trim().to_owned()),
        architecture: std::env::consts::ARCH.to_owned(),
    }
}

fn ms(from: Instant) -> u64 {
    u64::try_from(from.elapsed().as_millis()).unwrap_or(u64::MAX)
}
