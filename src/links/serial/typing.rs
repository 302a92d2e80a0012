//! Lines in what a scanner or keypad types.
//!
//! * A line ends with its terminator: by default a carriage return, a line feed or both. With an
//!   empty one a line ends when nothing was typed for [`IDLE`]: for scanners, and for keypads that
//!   send what was typed at once; a keypad that sends each key as it is pressed needs a terminator.
//! * A prefix stands before each line and isn't part of it. Lines without it are passed over.
//! * Blanks around a line aren't part of it. Empty lines are none.
//! * A line is up to [`LINE_MAX`] bytes of printing UTF-8; a keypad's is 1 to [`DIGITS_MAX`] digits.
//!   Everything else is passed over, with the reason, never the text.
//! * A line that was begun and doesn't go on within [`ABANDONED`] is passed over: its end was lost,
//!   and what comes then belongs to another.

use std::time::Duration;

use firmware_protocols::event::Secret;

use crate::config::serial::{LineMeaning, OnPort};

/// With an empty terminator: so long a pause ends a line.
pub const IDLE: Duration = Duration::from_millis(200);
/// So long a pause within a line, and the rest doesn't come any more. People type slowly.
pub const ABANDONED: Duration = Duration::from_secs(30);
/// The longest line, in bytes.
pub const LINE_MAX: usize = 128;
/// The most digits.
pub const DIGITS_MAX: usize = 16;

/// Why a line was passed over. It doesn't repeat what was typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PassedOver {
    /// Longer than [`LINE_MAX`].
    #[error("it was longer than 128 bytes: is the terminator right?")]
    TooLong,
    /// Control characters, or no UTF-8.
    #[error(
        "it had bytes that don't print: are the baud rate, the parity and the terminator right?"
    )]
    NotPrinting,
    /// Without the prefix.
    #[error("it didn't begin with the prefix")]
    NoPrefix,
    /// Not what a keypad types.
    #[error("it wasn't 1 to 16 digits, as a keypad's line must be")]
    NotDigits,
    /// It was begun and never ended.
    #[error("it had no end: is the terminator right?")]
    NoEnd,
}

/// Puts lines together.
pub struct Typing {
    says: LineMeaning,
    terminator: Terminator,
    prefix: Vec<u8>,
    /// What was typed of the line so far; at most what a whole one can have.
    line: Vec<u8>,
    too_long: bool,
}

enum Terminator {
    /// `\r`, `\n` or both.
    Newline,
    /// These bytes.
    Bytes(Vec<u8>),
    /// A pause.
    Pause,
}

impl Typing {
    /// As configured.
    pub fn new(on: &OnPort) -> Self {
        Self {
            says: on.says.unwrap_or(LineMeaning::Scan),
            terminator: match on.terminator.as_deref() {
                None => Terminator::Newline,
                Some("") => Terminator::Pause,
                Some(text) => Terminator::Bytes(text.as_bytes().to_vec()),
            },
            prefix: on.prefix.clone().unwrap_or_default().into_bytes(),
            line: Vec::new(),
            too_long: false,
        }
    }

    /// A byte was typed. Returns the line that it ends, if it ends one that isn't empty.
    pub fn typed(&mut self, byte: u8) -> Option<Result<Secret, PassedOver>> {
        if matches!(self.terminator, Terminator::Newline) && matches!(byte, b'\r' | b'\n') {
            return self.end();
        }
        let ending = match &self.terminator {
            Terminator::Bytes(bytes) => bytes.as_slice(),
            _ => &[],
        };
        self.line.push(byte);
        if !ending.is_empty() && self.line.ends_with(ending) {
            self.line.truncate(self.line.len() - ending.len());
            return self.end();
        }
        let most = self.prefix.len() + LINE_MAX + ending.len();
        if self.line.len() > most {
            // The end of what was typed is kept: a terminator may have begun there.
            self.too_long = true;
            self.line.drain(..self.line.len() - ending.len().max(1));
        }
        None
    }

    /// How long a pause may be before [`Self::paused`] is to be told; `None` between lines.
    pub fn waits(&self) -> Option<Duration> {
        let begun = self.too_long || !self.line.is_empty();
        begun.then_some(match self.terminator {
            Terminator::Pause => IDLE,
            _ => ABANDONED,
        })
    }

    /// Nothing was typed for so long as it waits. Returns the line that the pause ends.
    pub fn paused(&mut self) -> Option<Result<Secret, PassedOver>> {
        if matches!(self.terminator, Terminator::Pause) {
            return self.end();
        }
        let begun = self.waits().is_some();
        self.forget();
        begun.then_some(Err(PassedOver::NoEnd))
    }

    /// The line is away: what was begun doesn't go on.
    pub fn forget(&mut self) {
        self.line.clear();
        self.too_long = false;
    }

    fn end(&mut self) -> Option<Result<Secret, PassedOver>> {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.too_long) {
            return Some(Err(PassedOver::TooLong));
        }
        self.read(&line).transpose()
    }

    fn read(&self, line: &[u8]) -> Result<Option<Secret>, PassedOver> {
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        let line = line
            .strip_prefix(self.prefix.as_slice())
            .ok_or(PassedOver::NoPrefix)?;
        if line.len() > LINE_MAX {
            return Err(PassedOver::TooLong);
        }
        let text = std::str::from_utf8(line).map_err(|_| PassedOver::NotPrinting)?;
        let text = text.trim_matches([' ', '\t']);
        if text.chars().any(char::is_control) {
            return Err(PassedOver::NotPrinting);
        }
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match self.says {
            _ if text.is_empty() => Ok(None),
            LineMeaning::Keypad if !digits || text.len() > DIGITS_MAX => Err(PassedOver::NotDigits),
            _ => Ok(Some(Secret::new(text))),
        }
    }
}

#[cfg(test)]
#[path = "typing_tests.rs"]
mod tests;
