//! The configuration: checked, shown, taken over.

mod probe;
mod rights;

use std::io::Write as _;
use std::path::PathBuf;

use serde_json::{Value as Json, json};

use super::args::ConfigCommand;
use super::look::Paint;
use super::stop::{self, Stop};
use super::words::config as say;
use super::{Done, Session, locate};
use crate::config::{self, Config, ConfigError, Origin};
use probe::Finding;
pub use rights::Refused;

impl Session {
    /// `linli config …`.
    pub(super) fn config_command(&mut self, command: ConfigCommand) -> Done {
        match command {
            ConfigCommand::Check { file, probe } => self.config_check(file, probe),
            ConfigCommand::Show { key } => self.config_show(key.as_deref()),
            ConfigCommand::Schema => {
                let schema = serde_json::to_string_pretty(config::schema())
                    .map_err(|e| Stop::new(stop::INTERNAL, e.to_string()))?;
                Ok(writeln!(self.out, "{schema}")?)
            }
            ConfigCommand::Reload => self.reload(),
        }
    }

    fn config_check(&mut self, file: Option<PathBuf>, probe: bool) -> Done {
        let file = file.unwrap_or_else(|| locate::config_file(&self.global));
        let config = match Config::read(&file) {
            Ok(config) => config,
            Err(error) => return self.config_faults(&error),
        };
        if !self.global.json {
            writeln!(self.out, "{}", say::good(&file, &config))?;
        }
        if !probe {
            return if self.global.json {
                self.array(&[])
            } else {
                Ok(())
            };
        }
        let mut all_well = true;
        let mut findings = Vec::new();
        let mut told = Ok(());
        probe::all(&config, |finding| {
            all_well &= finding.good;
            if self.global.json {
                findings.push(json!({
                    "file": file, "key": finding.key, "ok": finding.good, "what": finding.what,
                }));
            } else if told.is_ok() {
                told = self.config_finding(&finding);
            }
        })?;
        told?;
        if self.global.json {
            self.array(&findings)?;
        }
        self.ends_well(all_well)
    }

    /// All that is wrong with a file, on standard output: it is what was asked for.
    fn config_faults(&mut self, error: &ConfigError) -> Done {
        if self.global.json {
            let faults: Vec<Json> = error
                .faults
                .iter()
                .map(|fault| {
                    let place = |n: usize| (n > 0).then_some(n);
                    json!({
                        "file": error.file, "line": place(fault.line),
                        "column": place(fault.column), "key": fault.key, "what": fault.what,
                    })
                })
                .collect();
            self.array(&faults)?;
        } else {
            for line in error.lines() {
                writeln!(self.out, "{}", super::look::safe(&line))?;
            }
        }
        self.ends_well(false)
    }

    fn config_finding(&mut self, finding: &Finding) -> Done {
        let mark = match finding.good {
            true => self.look.paint(Paint::Good, "✓"),
            false => self.look.paint(Paint::Bad, "✗"),
        };
        let (key, what) = (&finding.key, super::look::safe(&finding.what));
        writeln!(self.out, "{mark} {key}: {what}")?;
        // Some take seconds: each is shown as it comes.
        Ok(self.out.flush()?)
    }

    fn config_show(&mut self, key: Option<&str>) -> Done {
        let file = locate::config_file(&self.global);
        let held = config::held(&file, key).map_err(|e| Stop::new(stop::FAILED, e.to_string()))?;
        if let Some(key) = key
            && held.is_empty()
        {
            return Err(Stop::new(stop::NOT_FOUND, say::no_such_key(key)));
        }
        if self.global.json {
            let rows: Vec<Json> = held
                .iter()
                .map(|held| {
                    let (line, from) = match held.origin {
                        Origin::Line(line) => (Some(line), None),
                        Origin::Default => (None, None),
                        Origin::From(key) => (None, Some(key)),
                    };
                    json!({
                        "key": held.key, "value": held.value,
                        "file": line.map(|_| &file), "line": line, "from": from,
                    })
                })
                .collect();
            return self.array(&rows);
        }
        let lines: Vec<String> = held
            .iter()
            .map(|held| format!("{} = {}", held.key, toml_of(&held.value)))
            .collect();
        let widest = lines.iter().map(|line| line.chars().count());
        let width = widest.filter(|width| *width <= 60).max().unwrap_or(0);
        for (line, held) in lines.iter().zip(&held) {
            let origin = format!("# {}", say::origin(&file, held.origin));
            let origin = self.look.paint(Paint::Dim, &origin);
            writeln!(self.out, "{line:width$}  {origin}")?;
        }
        Ok(())
    }

    fn ends_well(&mut self, well: bool) -> Done {
        self.out.flush()?;
        match well {
            true => Ok(()),
            false => Err(Stop::Told(stop::FAILED)),
        }
    }
}

/// A plain value, or a list of them, as it is written in TOML.
fn toml_of(value: &Json) -> String {
    match value {
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(toml_of).collect();
            format!("[{}]", items.join(", "))
        }
        value => value.to_string(),
    }
}
