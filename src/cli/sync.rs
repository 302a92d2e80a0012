//! `linli sync`: the way to the cloud, shown, tried, and what can be done about it.

mod picture;

use std::io::{self, Write as _};
use std::path::Path;

use serde::Deserialize as _;
use serde_json::Value as Json;

use super::args::SyncCommand;
use super::ask::{self, Asked};
use super::look::{Look, Paint, safe, told, wrap};
use super::stop::{self, Stop};
use super::words::sync as words;
use super::{Done, Session};
use crate::control::client::ClientError;
use crate::control::secret::Token;
use crate::control::sync::{StepView, SyncDone};
use crate::control::views::Sync;
use crate::control::wire::Request;

/// The most that is read of a token's file, bytes.
const TOKEN_FILE_MAX: u64 = 4_096;

/// The last step of `linli sync now`.
const LAST_STEP: &str = "downlink";

impl Session {
    /// `linli sync …`.
    pub(super) fn sync(&mut self, command: Option<SyncCommand>) -> Done {
        let claims = || std::env::var("SUDO_USER").ok();
        let request = match command {
            None => {
                self.one(&Request::Sync, |look, sync: &Sync| {
                    picture::sync(look, sync)
                })?;
                return Ok(());
            }
            Some(SyncCommand::Now) => return self.sync_now(),
            Some(SyncCommand::Enrol { token_file }) => Request::SyncEnrol {
                token: token(token_file.as_deref())?,
                claims: claims(),
            },
            Some(SyncCommand::RotateKey) => Request::SyncRotateKey { claims: claims() },
            Some(SyncCommand::Restored { yes }) => {
                agreed(yes)?;
                Request::SyncRestored { claims: claims() }
            }
        };
        self.one(&request, |look, done: &SyncDone| {
            format!("{}\n", wrap("", &safe(&done.told), look.width, ""))
        })?;
        Ok(())
    }

    /// Each step as it ends; done only if all of them held.
    fn sync_now(&mut self) -> Done {
        let mut client = self.connect()?;
        let mut last: Option<StepView> = None;
        let mut failed = Vec::new();
        let mut printed = Ok(());
        let asked = client.ask(&Request::SyncNow, |item: Json| {
            printed = self.step(&item).map(|step| {
                if !step.held {
                    failed.push(step.step.clone());
                }
                last = Some(step);
            });
            printed.is_ok()
        });
        printed?;
        asked.map_err(|e| self.stop(&e))?;
        self.out.flush()?;
        let whole = last.is_some_and(|step| step.step == LAST_STEP);
        match failed.as_slice() {
            [] if whole => {
                if !self.global.json {
                    writeln!(self.out, "\n{}", words::ALL_HELD)?;
                }
                Ok(())
            }
            [] => Err(Stop::new(stop::FAILED, words::BROKE_OFF)),
            failed => Err(Stop::new(stop::FAILED, words::not_all(failed, whole))),
        }
    }

    fn step(&mut self, item: &Json) -> Result<StepView, Stop> {
        let step =
            StepView::deserialize(item).map_err(|e| self.stop(&ClientError::Unreadable(e)))?;
        match self.global.json {
            true => writeln!(self.out, "{item}")?,
            false => self.out.write_all(drawn(&self.look, &step).as_bytes())?,
        }
        self.out.flush()?;
        Ok(step)
    }
}

/// A step with what was found, and what to do.
fn drawn(look: &Look, step: &StepView) -> String {
    const INDENT: &str = "                  ";
    let (mark, paint) = match step.held {
        true => (words::HELD, Paint::Good),
        false => (words::NOT_HELD, Paint::Bad),
    };
    let head = format!("{mark:<4}  {:<12}", safe(&step.step));
    let found = format!("{} ({} ms)", safe(&step.told), step.took_ms);
    let text = wrap(&head, &found, look.width, INDENT);
    let mut out = text.replacen(mark, &look.paint(paint, mark), 1);
    out.push('\n');
    if let Some(remedy) = &step.remedy {
        let remedy = super::words::desk::sentence(&safe(remedy));
        out.push_str(&wrap(INDENT, &remedy, look.width, INDENT));
        out.push('\n');
    }
    out
}

/// The token: from a file, or asked for.
fn token(file: Option<&Path>) -> Result<Token, Stop> {
    let text = match file {
        Some(file) => {
            read_bounded(file).map_err(|e| Stop::new(stop::FAILED, words::cannot_read(file, &e)))?
        }
        None => ask::secret(&Asked {
            prompt: words::ASK_TOKEN,
            nothing: words::NO_TOKEN,
            cannot: words::cannot_ask,
        })?,
    };
    Token::new(&text).ok_or_else(|| Stop::new(stop::USAGE, words::NOT_A_TOKEN))
}

fn read_bounded(file: &Path) -> io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let opened = std::fs::File::open(file)?;
    opened.take(TOKEN_FILE_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Says what a new epoch is, and goes on only if that is wanted.
fn agreed(yes: bool) -> Done {
    if yes {
        return Ok(());
    }
    writeln!(io::stderr(), "{}", told(words::RESTORED_MEANS))?;
    match ask::agrees(words::ASK_RESTORED)? {
        Some(true) => Ok(()),
        Some(false) => Err(Stop::new(stop::FAILED, words::NOT_AGREED)),
        None => Err(Stop::new(stop::USAGE, words::SAY_YES)),
    }
}
