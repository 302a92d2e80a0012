//! Asks for a pickup code: on a terminal without showing it, from a pipe as a line. So it stands in
//! no list of processes and no shell's history.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Stdin, Write as _};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use super::stop::{self, Stop};
use super::words;
use crate::control::secret::PickupCode;

/// The longest line that is read, bytes: far beyond any code.
const LINE_MAX_BYTES: u64 = 256;

/// What somebody types, or what comes down a pipe.
pub fn code() -> Result<PickupCode, Stop> {
    let stdin = io::stdin();
    let typed = if stdin.is_terminal() {
        let typed = unseen(&stdin);
        let _ = writeln!(io::stderr());
        typed
    } else {
        line(&stdin)
    };
    match typed {
        Ok(text) if text.trim().is_empty() => Err(Stop::new(stop::USAGE, words::desk::NO_CODE)),
        Ok(text) => Ok(PickupCode::new(text)),
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(Stop::Told(stop::INTERRUPTED)),
        Err(e) => Err(Stop::new(stop::FAILED, words::desk::cannot_ask(&e))),
    }
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

fn unseen(stdin: &Stdin) -> io::Result<String> {
    let _unseen = Unseen::new(stdin)?;
    // Only now: whoever types as soon as he is asked is heard.
    write!(io::stderr(), "{}", words::desk::ASK_CODE)?;
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
