//! Asks for what is secret, a pickup code or an enrolment token: on a terminal without showing it, from
//! a pipe as a line. So it stands in no list of processes and no shell's history.

use std::fmt::Display;
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Stdin, Write as _};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use super::stop::{self, Stop};
use super::words;
use crate::control::secret::PickupCode;

/// The longest line that is read, bytes: beyond any code and token.
const LINE_MAX_BYTES: u64 = 2_048;

/// How something is asked for.
pub struct Asked<'a> {
    /// What stands before the cursor.
    pub prompt: &'a str,
    /// What is said if nothing comes.
    pub nothing: &'a str,
    /// What is said if nobody can be asked.
    pub cannot: fn(&dyn Display) -> String,
}

/// A pickup code.
pub fn code() -> Result<PickupCode, Stop> {
    let text = secret(&Asked {
        prompt: words::desk::ASK_CODE,
        nothing: words::desk::NO_CODE,
        cannot: words::desk::cannot_ask,
    })?;
    Ok(PickupCode::new(text))
}

/// What somebody types, or what comes down a pipe.
pub fn secret(asked: &Asked<'_>) -> Result<String, Stop> {
    let stdin = io::stdin();
    let typed = if stdin.is_terminal() {
        let typed = unseen(&stdin, asked.prompt);
        let _ = writeln!(io::stderr());
        typed
    } else {
        line(&stdin)
    };
    match typed {
        Ok(text) if text.trim().is_empty() => Err(Stop::new(stop::USAGE, asked.nothing)),
        Ok(text) => Ok(text),
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(Stop::Told(stop::INTERRUPTED)),
        Err(e) => Err(Stop::new(stop::FAILED, (asked.cannot)(&e))),
    }
}

/// Whether somebody at the terminal agrees; `None` if there is no terminal to ask on.
pub fn agrees(prompt: &str) -> Result<Option<bool>, Stop> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Ok(None);
    }
    write!(io::stderr(), "{prompt}")?;
    let typed = line(&stdin)?;
    let typed = typed.trim().to_lowercase();
    Ok(Some(matches!(typed.as_str(), "y" | "yes")))
}

fn line(stdin: &Stdin) -> io::Result<String> {
    let mut line = String::new();
    stdin.lock().take(LINE_MAX_BYTES).read_line(&mut line)?;
    Ok(line)
}

/// A terminal that shows nothing of what is typed, and is as before at the end, however that comes:
/// the keys that would end the process come as bytes meanwhile.
struct Unseen<'a> {
    stdin: &'a Stdin,
    before: Termios,
}

impl<'a> Unseen<'a> {
    fn new(stdin: &'a Stdin) -> io::Result<Self> {
        let before = tcgetattr(stdin)?;
        let mut quiet = before.clone();
        quiet
            .local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        tcsetattr(stdin, SetArg::TCSAFLUSH, &quiet)?;
        Ok(Self { stdin, before })
    }
}

impl Drop for Unseen<'_> {
    fn drop(&mut self) {
        // If it can't be set back, `reset` helps; there is nobody left to tell.
        let _ = tcsetattr(self.stdin, SetArg::TCSANOW, &self.before);
    }
}

fn unseen(stdin: &Stdin, prompt: &str) -> io::Result<String> {
    let _unseen = Unseen::new(stdin)?;
    // Only now: whoever types as soon as he is asked is heard.
    write!(io::stderr(), "{prompt}")?;
    let mut typed = Vec::new();
    for byte in stdin.lock().take(LINE_MAX_BYTES).bytes() {
        match byte? {
            b'\n' | b'\r' | 4 => break,
            3 | 28 => return Err(io::ErrorKind::Interrupted.into()),
            8 | 127 => {
                typed.pop();
            }
            byte => typed.push(byte),
        }
    }
    // What isn't text is no code either.
    Ok(String::from_utf8(typed).unwrap_or_else(|_| "?".to_string()))
}
