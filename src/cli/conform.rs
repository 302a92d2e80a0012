//! `linli conform cloud`: a conformance run against somebody's own cloud, and what came of it.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use firmware_protocols::event::Secret;

use super::args::{ConformCloudArgs, ConformCommand};
use super::look::{Look, Paint, safe, told};
use super::stop::{self, Stop};
use super::words::conform as say;
use super::{Done, Session};
use crate::conform::report::{Outcome, Report};
use crate::conform::{self, Options};

/// The longest token with some white space around it.
const TOKEN_FILE_MAX: u64 = 4 * 1024;

impl Session {
    /// `linli conform …`.
    pub(super) fn conform(&mut self, command: ConformCommand) -> Done {
        match command {
            ConformCommand::Cloud(args) => self.conform_cloud(args),
        }
    }

    fn conform_cloud(&mut self, args: ConformCloudArgs) -> Done {
        let options = Options {
            token: token(&args.token_file)?,
            url: args.url,
            ca_file: args.ca_file,
            gateway: args.gateway,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut trying = |what: &str| {
            // Only news: what came of it is what counts.
            let _ = writeln!(io::stderr(), "{}", told(&say::trying(what)));
        };
        let report = runtime
            .block_on(conform::run(options, &mut trying))
            .map_err(|e| Stop::new(stop::FAILED, safe(&e.to_string())))?;
        if self.global.json {
            writeln!(self.out, "{}", report.to_json())?;
        } else {
            self.out.write_all(drawn(&self.look, &report).as_bytes())?;
        }
        self.out.flush()?;
        match report.counts() {
            (_, 0, _) => Ok(()),
            _ => Err(Stop::Told(stop::FAILED)),
        }
    }
}

/// The first line of a small file.
fn token(file: &Path) -> Result<Secret, Stop> {
    let unreadable = |e: &io::Error| Stop::new(stop::FAILED, say::unreadable_token(file, e));
    let mut text = String::new();
    File::open(file)
        .and_then(|file| file.take(TOKEN_FILE_MAX).read_to_string(&mut text))
        .map_err(|e| unreadable(&e))?;
    match text.lines().next().map(str::trim) {
        Some(token) if !token.is_empty() => Ok(Secret::new(token)),
        _ => Err(Stop::new(stop::FAILED, say::empty_token(file))),
    }
}

/// One line a clause; under a broken one what was asked and what was answered.
fn drawn(look: &Look, report: &Report) -> String {
    let (held, broken, not_shown) = report.counts();
    let mut out = format!(
        "{}\n\n",
        safe(&say::of(&report.url, report.gateway.as_str()))
    );
    for (clause, outcome) in report.clauses() {
        let (paint, word) = match &outcome {
            Outcome::Held => (Paint::Good, say::HELD),
            Outcome::Broken { .. } => (Paint::Bad, say::BROKEN),
            Outcome::NotShown { .. } => (Paint::Warn, say::NOT_SHOWN),
        };
        let word = format!("{word:<9}");
        out.push_str(&format!(
            "{}  {:<25} {}\n",
            look.paint(paint, &word),
            clause.id,
            clause.says
        ));
        let more = match outcome {
            Outcome::Held => Vec::new(),
            Outcome::Broken { asked, answered } => {
                vec![say::asked(&asked), say::answered(&answered)]
            }
            Outcome::NotShown { why } => vec![why],
        };
        for line in more {
            out.push_str(&format!(
                "{:11}{}\n",
                "",
                look.paint(Paint::Dim, &safe(&line))
            ));
        }
    }
    let paint = if broken == 0 { Paint::Good } else { Paint::Bad };
    let sum = say::sum(held, broken, not_shown);
    out.push_str(&format!("\n{}\n", look.paint(paint, &sum)));
    out
}
