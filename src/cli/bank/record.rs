//! The acceptance record of a walk test: Markdown for people, JSON for programs.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::judge::{Occupancy, Verdict};
use crate::cli::look::{Look, safe};
use crate::cli::words::bank as say;

/// The whole record.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// The site.
    pub site: String,
    /// The bank.
    pub bank: String,
    /// Where it stands.
    pub address: String,
    /// What its controller says it is.
    pub controller: Option<String>,
    /// The controller's firmware.
    pub firmware: Option<String>,
    /// The daemon's version.
    pub gateway_version: String,
    /// Of the program that made the record.
    pub version: String,
    /// Who opened, as it was recorded with each opening; null if nothing was opened.
    pub operator: Option<String>,
    /// When the test began.
    pub started_ms: i64,
    /// When it ended.
    pub ended_ms: i64,
    /// How far the gateway's clock could be trusted.
    pub clock: String,
    /// Whether the occupancy sensors were tried.
    pub occupancy: bool,
    /// Whether somebody was asked what only eyes can see.
    pub asked: bool,
    /// Why it ended before its end.
    pub broken_off: Option<String>,
    /// Every compartment that was to be tried passed.
    pub passed: bool,
    /// What is to be changed.
    pub change: Vec<String>,
    /// Each compartment that was to be tried.
    pub compartments: Vec<Entry>,
}

/// One compartment.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Its number.
    pub compartment: u16,
    /// Its size.
    pub size: String,
    /// Its zone.
    pub zone: String,
    /// What came of it.
    #[serde(flatten)]
    pub came: Came,
    /// What its occupancy sensor showed, if that was tried.
    pub occupancy: Option<Occupancy>,
    /// The command that opened it last.
    pub command: Option<String>,
    /// When that was asked for.
    pub asked_ms: Option<i64>,
    /// When its door was seen to move, ms after that.
    pub opened_after_ms: Option<u64>,
    /// When it was back, ms after that.
    pub closed_after_ms: Option<u64>,
    /// How often it was opened.
    pub openings: u32,
}

/// What came of a compartment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Came {
    /// It was tried.
    Tried(Verdict),
    /// It wasn't.
    Not {
        /// `skipped`, `holds-a-parcel`, `not-reached`.
        verdict: &'static str,
    },
}

impl Came {
    /// Passed over by the technician.
    pub const SKIPPED: Self = Self::Not { verdict: "skipped" };
    /// Passed over because of what lies in it.
    pub const HOLDS: Self = Self::Not {
        verdict: "holds-a-parcel",
    };
    /// The test ended before.
    pub const NOT_REACHED: Self = Self::Not {
        verdict: "not-reached",
    };
}

impl Entry {
    /// Whether all that was tried is as it should be.
    pub fn passed(&self) -> bool {
        let sensor = self.occupancy.is_none_or(|seen| seen == Occupancy::Works);
        self.came == Came::Tried(Verdict::Passed) && sensor
    }
}

impl Record {
    /// The document for people.
    pub fn markdown(&self, look: &Look) -> String {
        let mut out = say::title(self);
        for (label, text) in say::facts(look, self) {
            out.push_str(&format!("- {label}: {}\n", cell(&text)));
        }
        out.push_str(&format!("\n{}\n\n", say::summary(self)));
        out.push_str(say::TABLE_HEAD);
        for entry in &self.compartments {
            let cells: Vec<String> = say::row(look, entry)
                .iter()
                .map(|text| cell(text))
                .collect();
            out.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
        if !self.change.is_empty() {
            out.push_str(&format!("\n## {}\n\n", say::TO_CHANGE));
            for line in &self.change {
                out.push_str(&format!("- {}\n", cell(line)));
            }
        }
        out
    }

    /// Saves both documents, readable for all. Returns their files.
    ///
    /// # Errors
    /// What the system said, with the file.
    pub fn save(&self, look: &Look, folder: &Path) -> Result<[PathBuf; 2], (PathBuf, io::Error)> {
        let name = say::file_name(&self.bank, self.started_ms);
        let json = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        let files = [("md", self.markdown(look)), ("json", json)].map(|(kind, text)| {
            let file = folder.join(format!("{name}.{kind}"));
            write(&file, &text)
                .map(|()| file.clone())
                .map_err(|e| (file, e))
        });
        let [markdown, json] = files;
        Ok([markdown?, json?])
    }
}

/// Whole or not at all: written beside, then put in place.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let beside = file.with_extension("part");
    let mut open = OpenOptions::new();
    let mut out = open
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&beside)?;
    let written = out.write_all(text.as_bytes()).and_then(|()| out.sync_all());
    match written {
        Ok(()) => fs::rename(&beside, file),
        Err(e) => {
            // What is left of it is of no use; the error tells.
            let _ = fs::remove_file(&beside);
            Err(e)
        }
    }
}

/// Text that can't break a table or a list, nor steer a terminal.
fn cell(text: &str) -> String {
    safe(text).replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::super::super::look::tests::{NOW_MS, plain};
    use super::*;

    fn entry(compartment: u16, came: Came) -> Entry {
        Entry {
            compartment,
            size: "M".to_string(),
            zone: "ambient".to_string(),
            came,
            occupancy: None,
            command: Some("o-1".to_string()),
            asked_ms: Some(NOW_MS),
            opened_after_ms: Some(310),
            closed_after_ms: Some(4_020),
            openings: 1,
        }
    }

    fn record() -> Record {
        Record {
            site: "willow-court".to_string(),
            bank: "bank-a".to_string(),
            address: "Gate 1 | left".to_string(),
            controller: Some("LB-24".to_string()),
            firmware: Some("1.4".to_string()),
            gateway_version: "0.1.0".to_string(),
            version: "0.1.0".to_string(),
            operator: Some("root (claims wang)".to_string()),
            started_ms: NOW_MS,
            ended_ms: NOW_MS + 60_000,
            clock: "synchronised".to_string(),
            occupancy: false,
            asked: true,
            broken_off: None,
            passed: false,
            change: vec!["turn it round".to_string()],
            compartments: vec![
                entry(1, Came::Tried(Verdict::Passed)),
                entry(2, Came::Tried(Verdict::Inverted)),
                entry(3, Came::HOLDS),
            ],
        }
    }

    #[test]
    fn people_read_it_as_a_table() {
        let text = record().markdown(&plain(None));
        let wanted = [
            "# Acceptance of locker bank bank-a\n",
            "- site: willow-court\n",
            "- place: Gate 1 \\| left\n",
            "- operator: root (claims wang)\n",
            "**NOT PASSED**: 1 of 3 compartments passed.\n",
            "| 1 | M | ambient | passed | 0.3 s | 4.0 s | 17:03:21 | 1 | o-1 |\n",
            "## To be changed\n\n- turn it round\n",
        ];
        for part in wanted {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn programs_read_the_verdicts_and_everybody_may() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let files = record().save(&plain(None), dir.path()).unwrap();
        for file in &files {
            let mode = fs::metadata(file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o644, "{}", file.display());
        }
        let json: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&files[1]).unwrap()).unwrap();
        assert_eq!(json["compartments"][0]["verdict"], "passed");
        assert_eq!(json["compartments"][2]["verdict"], "holds-a-parcel");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        let nowhere = record().save(&plain(None), &dir.path().join("x"));
        assert!(nowhere.is_err());
    }
}
