//! The acceptance report: what was tested with what, and what came of each case; as JSON for
//! programs and Markdown for people.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use linli::links::serial::status::PortView;
use serde::Serialize;

/// A whole run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The bench's name.
    pub bench: String,
    /// Whether its devices were simulated, and then from which seed.
    pub simulated: bool,
    /// The seed of a simulated bench.
    pub seed: Option<u64>,
    /// When it began, RFC 3339.
    pub began: String,
    /// How long it took, ms.
    pub took_ms: u64,
    /// With what.
    pub versions: Versions,
    /// The ports and what hangs on them, at the end of the run.
    pub ports: Vec<PortView>,
    /// The cases, in the order of the suite.
    pub cases: Vec<CaseReport>,
}

/// What was tested with what.
#[derive(Debug, Clone, Serialize)]
pub struct Versions {
    /// The gateway, by its own word.
    pub gateway: String,
    /// This suite.
    pub suite: String,
    /// The kernel's release.
    pub kernel: String,
    /// The processor's architecture.
    pub architecture: String,
}

/// What came of a case.
#[derive(Debug, Clone, Serialize)]
pub struct CaseReport {
    /// Its name.
    pub case: String,
    /// The bank, device or port.
    pub on: String,
    /// What must hold.
    pub clause: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Why it failed or wasn't run.
    pub why: Option<String>,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// How long it took, ms.
    pub took_ms: u64,
}

/// What came of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It doesn't.
    Failed,
    /// It wasn't tried.
    NotRun,
}

/// Something that was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What.
    pub name: String,
    /// How much.
    pub value: f64,
    /// In what.
    pub unit: &'static str,
}

impl Figure {
    /// A figure.
    pub fn new(name: &str, value: f64, unit: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            value,
            unit,
        }
    }
}

impl Report {
    /// The cases with this outcome.
    pub fn with(&self, outcome: Outcome) -> Vec<&CaseReport> {
        let cases = self.cases.iter();
        cases.filter(|case| case.outcome == outcome).collect()
    }

    /// One case.
    pub fn case(&self, name: &str, on: &str) -> Option<&CaseReport> {
        let mut cases = self.cases.iter();
        cases.find(|case| case.case == name && case.on == on)
    }

    /// Writes `report.json` and `report.md` into a folder.
    ///
    /// # Errors
    /// When the folder can't be written to.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let cant = || {
            format!(
                "{} can't be written: name another with --out",
                folder.display()
            )
        };
        std::fs::create_dir_all(folder).with_context(cant)?;
        let json = serde_json::to_string_pretty(self)?;
        std::fs::write(folder.join("report.json"), json + "\n").with_context(cant)?;
        std::fs::write(folder.join("report.md"), self.markdown()).with_context(cant)
    }

    /// For people.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        // Writing into a string doesn't fail.
        let _ = self.write_markdown(&mut text);
        text
    }

    fn write_markdown(&self, text: &mut String) -> std::fmt::Result {
        let [passed, failed, not_run] = [Outcome::Passed, Outcome::Failed, Outcome::NotRun]
            .map(|outcome| self.with(outcome).len());
        let verdict = match (failed, not_run) {
            (0, 0) => "accepted",
            (0, _) => "nothing failed, not everything was run",
            _ => "NOT accepted",
        };
        writeln!(text, "# Acceptance of '{}': {verdict}\n", self.bench)?;
        writeln!(
            text,
            "{passed} passed, {failed} failed, {not_run} not run; {}, {:.1} s{}.\n",
            self.began,
            self.took_ms as f64 / 1_000.0,
            match self.seed {
                Some(seed) => format!("; simulated devices, seed {seed}"),
                None => String::new(),
            }
        )?;
        let v = &self.versions;
        writeln!(
            text,
            "Gateway {}, suite {}, kernel {}, {}.\n",
            v.gateway, v.suite, v.kernel, v.architecture
        )?;
        self.write_ports(text)?;
        writeln!(
            text,
            "## Cases\n\n| case | on | must hold | outcome | figures |"
        )?;
        writeln!(text, "|---|---|---|---|---|")?;
        for case in &self.cases {
            let outcome = match (case.outcome, &case.why) {
                (Outcome::Passed, _) => "passed".to_owned(),
                (Outcome::Failed, why) => format!("**FAILED**: {}", cell(why)),
                (Outcome::NotRun, why) => format!("not run: {}", cell(why)),
            };
            let figures = case.figures.iter();
            let figures: Vec<String> = figures
                .map(|figure| {
                    format!("{} {:.1} {}", figure.name, figure.value, figure.unit)
                        .trim_end()
                        .to_owned()
                })
                .collect();
            writeln!(
                text,
                "| {} | {} | {} | {outcome} | {} | {:.1} |",
                case.case,
                case.on,
                case.clause,
                figures.join(", "),
                case.took_ms as f64 / 1_000.0
            )?;
        }
        Ok(())
    }

    fn write_ports(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "## Ports\n\n| port | protocol | baud | path | device | slave | address | answered | quality | round trip, ms |"
        )?;
        writeln!(text, "|---|---|---|---|---|---|---|---|---|---|")?;
        for port in &self.ports {
            let device = port.device.as_deref().unwrap_or("away");
            let head = format!(
                "{} | {} | {} | {} | {device}",
                port.port, port.protocol, port.baud, port.path
            );
            if port.slaves.is_empty() {
                writeln!(text, "| {head} | | | | | |")?;
            }
            for slave in &port.slaves {
                let address = slave.address.map_or(String::new(), |a| a.to_string());
                let quality = slave.quality.map_or(String::new(), |q| format!("{q} %"));
                let trip = slave.rtt_ms.map_or(String::new(), |(middle, longest)| {
                    format!("{middle:.1} (longest {longest:.1})")
                });
                writeln!(
                    text,
                    "| {head} | {} | {address} | {} of {} | {quality} | {trip} |",
                    slave.device, slave.answered, slave.asked
                )?;
            }
        }
        writeln!(text)
    }
}

/// Fit for a cell of a table.
fn cell(why: &Option<String>) -> String {
    let why = why.as_deref().unwrap_or("no reason given");
    why.replace('|', "\\|").replace('\n', "; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_failed_and_why() {
        let case = |name: &str, outcome, why: Option<&str>| CaseReport {
            case: name.to_owned(),
            on: "bank-a".to_owned(),
            clause: "it opens once".to_owned(),
            outcome,
            why: why.map(str::to_owned),
            figures: vec![Figure::new("opening", 12.34, "ms")],
            took_ms: 5,
        };
        let report = Report {
            bench: "wall".to_owned(),
            simulated: false,
            seed: None,
            began: "2026-01-02T03:04:05Z".to_owned(),
            took_ms: 1_500,
            versions: Versions {
                gateway: "0.1.0".to_owned(),
                suite: "0.1.0".to_owned(),
                kernel: "6.1".to_owned(),
                architecture: "aarch64".to_owned(),
            },
            ports: Vec::new(),
            cases: vec![
                case("opened-once", Outcome::Failed, Some("twice|\nthen")),
                case("echo", Outcome::NotRun, Some("simulated only")),
            ],
        };
        let text = report.markdown();
        assert!(
            text.starts_with(
                "# Acceptance of 'wall': NOT accepted\n\n0 passed, 1 failed, 1 not run"
            )
        );
        assert!(
            text.contains("| **FAILED**: twice\\|; then | opening 12.3 ms |"),
            "{text}"
        );
        assert!(text.contains("not run: simulated only"));
        let folder = tempfile::tempdir().unwrap();
        report.write(folder.path()).unwrap();
        let json = std::fs::read(folder.path().join("report.json")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["cases"][0]["outcome"], "failed");
    }
}
