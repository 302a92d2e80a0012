//! Reading a configuration: its text, its structure, its sense, and all that is wrong with it at once.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Config;
use super::document::Document;
use super::fault::Faults;
use super::{structure, syntax};

/// The largest file that is read: room for some ten thousand devices.
const FILE_MOST_BYTES: usize = 1 << 20;

/// Why a configuration can't be used: every fault at once, each with its place and its remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong, in the order of the lines.
    pub faults: Vec<Told>,
    /// How many faults there are beside those.
    pub more: usize,
}

/// A fault as it is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Told {
    /// Its line, from 1; 0 if it has none.
    pub line: usize,
    /// Its column, from 1; 0 if it has none.
    pub column: usize,
    /// The key, named for people: `device[door-b1].building`. Empty if no key is to blame.
    pub key: String,
    /// What is wrong, and what is allowed or to be done.
    pub what: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        write!(f, "{file} can't be used:")?;
        for line in self.lines() {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl ConfigError {
    /// Each fault as `FILE:LINE: key: what`, and how many more there are.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let told = self.faults.iter().map(|fault| {
            let line = match fault.line {
                0 => String::new(),
                line => format!("{line}:"),
            };
            format!("{}:{line} {}", self.file.display(), fault.words())
        });
        let more = (self.more > 0).then(|| format!("… and {} more", self.more));
        told.chain(more)
    }
}

impl Told {
    /// `key: what`.
    pub fn words(&self) -> String {
        match self.key.as_str() {
            "" => self.what.clone(),
            key => format!("{key}: {}", self.what),
        }
    }

    fn nowhere(what: impl Into<String>) -> Self {
        Self {
            line: 0,
            column: 0,
            key: String::new(),
            what: what.into(),
        }
    }
}

impl Config {
    /// Reads and checks a file.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        Self::written(file).map(|(config, _)| config)
    }

    /// Reads and checks a text. Returns every error, as `line N: key: what`.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let told = |(faults, _): (Vec<Told>, usize)| {
            let told = faults.iter();
            told.map(|fault| format!("line {}: {}", fault.line, fault.words()))
                .collect()
        };
        load(text).map(|(config, _)| config).map_err(told)
    }

    /// Reads and checks a file; gives it as it is written too.
    pub(crate) fn written(file: &Path) -> Result<(Self, Document), ConfigError> {
        let wrong = |(faults, more)| ConfigError {
            file: file.to_path_buf(),
            faults,
            more,
        };
        let text = text_of(file).map_err(|fault| wrong((vec![fault], 0)))?;
        load(&text).map_err(wrong)
    }
}

fn text_of(file: &Path) -> Result<String, Told> {
    let bytes = fs::read(file).map_err(|e| {
        Told::nowhere(format!(
            "it can't be read: {e}. Write one with 'linli init', or name another with --config"
        ))
    })?;
    String::from_utf8(bytes).map_err(|e| {
        let good = &e.as_bytes()[..e.utf8_error().valid_up_to()];
        Told {
            line: good.iter().filter(|b| **b == b'\n').count() + 1,
            column: 1,
            key: String::new(),
            what: "isn't UTF-8 text: save it as UTF-8, or write that line anew".to_owned(),
        }
    })
}

/// Reads and checks a text. All faults, in the order of the lines, or the configuration.
pub(super) fn load(text: &str) -> Result<(Config, Document), (Vec<Told>, usize)> {
    if text.len() > FILE_MOST_BYTES {
        let what = format!(
            "has {} bytes, at most {FILE_MOST_BYTES} are allowed: is it a configuration?",
            text.len()
        );
        return Err((vec![Told::nowhere(what)], 0));
    }
    let (config, document, errors) = judge(text);
    match config {
        Some(config) if errors.is_empty() => Ok((config, document)),
        _ => Err((told(&document, &errors), errors.more())),
    }
}

/// All that is to say about a text.
pub(super) fn judge(text: &str) -> (Option<Config>, Document, Faults) {
    let mut errors = Faults::default();
    let mut read = syntax::read(text, &mut errors);
    let repaired = structure::check(&mut read, &mut errors);
    let config: Option<Config> = match serde_json::from_value(read.document.root.to_json()) {
        Ok(config) => Some(config),
        Err(e) => {
            errors.at("", format!("can't be taken: {e}; correct it, or remove it"));
            None
        }
    };
    // With so many faults already there is nothing to be gained by more.
    if let Some(config) = config.as_ref().filter(|_| errors.more() == 0) {
        errors.add(config.check(), |fault| repaired.leaves(fault));
    }
    (config, read.document, errors)
}

fn told(document: &Document, errors: &Faults) -> Vec<Told> {
    let all = errors.all().iter().map(|fault| {
        let place = fault.place().unwrap_or_else(|| document.place(&fault.key));
        let (line, column) = document.line_and_column(place.start);
        Told {
            line,
            column,
            key: document.named(&fault.key),
            what: fault.what.clone(),
        }
    });
    let mut told: Vec<Told> = all.collect();
    told.sort();
    told.dedup();
    told
}
