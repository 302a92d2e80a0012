//! Asks on a terminal: a question, what is taken if nothing is typed, and again what is allowed if the
//! answer can't be taken. Ctrl-C ends the process as ever, as nothing is written before the last yes.

use std::fmt::Display;
use std::io::{self, BufRead as _, Read as _, Write as _};

use crate::cli::ask::{self, Asked};
use crate::cli::look::{safe, told};
use crate::cli::stop::{self, Stop};
use crate::cli::words;
use crate::cli::words::init as say;
use crate::control::secret::Token;

/// The longest answer, bytes.
const LINE_MAX_BYTES: u64 = 4_096;

/// An answer that `read` takes. `default` is what Enter means; without one something must be typed.
pub fn ask<T, E: Display>(
    question: &str,
    default: Option<&str>,
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<T, Stop> {
    loop {
        let typed = match default {
            Some(default) if !default.is_empty() => line(&format!("{question} [{default}]: "))?,
            _ => line(&format!("{question}: "))?,
        };
        let typed = typed.trim();
        let answer = match (typed.is_empty(), default) {
            (true, Some(default)) => default,
            _ => typed,
        };
        match read(answer) {
            Ok(answer) => return Ok(answer),
            Err(why) => tell(&format!(
                "  {}",
                words::desk::sentence(&safe(&why.to_string()))
            )),
        }
    }
}

/// Asks until what is made of the answer is taken, too.
pub fn until_taken<T>(
    mut once: impl FnMut() -> Result<T, Stop>,
    mut take: impl FnMut(T) -> Result<(), String>,
) -> Result<(), Stop> {
    loop {
        match take(once()?) {
            Ok(()) => return Ok(()),
            Err(why) => tell(&format!("  {}", words::desk::sentence(&safe(&why)))),
        }
    }
}

/// Yes or no.
pub fn agrees(question: &str, default: bool) -> Result<bool, Stop> {
    let default = if default { "y" } else { "n" };
    ask(question, Some(default), |typed| {
        match typed.to_lowercase().as_str() {
            "y" | "yes" => Ok(true),
            "n" | "no" => Ok(false),
            _ => Err(say::YES_OR_NO),
        }
    })
}

/// How many, at most 99.
pub fn count(question: &str, default: &str) -> Result<usize, Stop> {
    ask(question, Some(default), |typed| {
        let read = typed.parse().ok().filter(|n| *n <= 99);
        read.ok_or(say::COUNT_WRONG)
    })
}

/// A token, which isn't shown; `None` if nothing is typed.
pub fn token() -> Result<Option<Token>, Stop> {
    loop {
        let asked = Asked {
            prompt: say::ASK_TOKEN,
            nothing: "",
            cannot: words::sync::cannot_ask,
        };
        match ask::secret(&asked) {
            Ok(text) => match Token::new(&text) {
                Some(token) => return Ok(Some(token)),
                None => tell(&format!("  {}", words::desk::sentence(say::TOKEN_WRONG))),
            },
            Err(Stop::Failed { code, .. }) if code == stop::USAGE => return Ok(None),
            Err(stop) => return Err(stop),
        }
    }
}

/// Says something between the questions.
pub fn tell(text: &str) {
    // Nobody may be reading: then nobody answers either.
    let _ = writeln!(io::stderr(), "{}", told(text));
}

fn line(prompt: &str) -> Result<String, Stop> {
    let mut err = io::stderr();
    let _ = write!(err, "{prompt}").and_then(|()| err.flush());
    let mut bytes = Vec::new();
    let read = io::stdin()
        .lock()
        .take(LINE_MAX_BYTES)
        .read_until(b'\n', &mut bytes)?;
    if read == 0 {
        let _ = writeln!(err);
        return Err(Stop::new(stop::FAILED, say::ENDED));
    }
    // What isn't text is refused as an answer.
    Ok(String::from_utf8(bytes).unwrap_or_else(|_| "\u{fffd}".to_string()))
}
