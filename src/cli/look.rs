//! How things look on this terminal: its width, colour, local time, safe text.

use std::borrow::Cow;
use std::io::IsTerminal as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::words;

/// What is known about the place that output goes to.
#[derive(Debug, Clone)]
pub struct Look {
    /// Columns; `None` if lines may be as long as they like.
    pub width: Option<usize>,
    /// Whether colour is wanted.
    pub colour: bool,
    /// The technician's time zone.
    pub zone: TimeZone,
    /// Now, ms since the Unix epoch.
    pub now_ms: i64,
}

/// What a text is, for its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Paint {
    /// Nothing special.
    #[default]
    Plain,
    /// A heading.
    Bold,
    /// Of little weight.
    Dim,
    /// As it should be.
    Good,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
    /// In use.
    Used,
}

impl Paint {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "1;31",
            Self::Used => "36",
        }
    }
}

impl Look {
    /// The terminal on standard output, or whatever else is there.
    pub fn of_stdout(no_color: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        Self {
            width: width.filter(|_| terminal),
            colour: terminal && !no_color && !set("NO_COLOR") && !dumb,
            zone: TimeZone::system(),
            now_ms: Timestamp::now().as_millisecond(),
        }
    }

    /// `text` in a colour.
    pub fn paint<'a>(&self, paint: Paint, text: &'a str) -> Cow<'a, str> {
        if !self.colour || paint == Paint::Plain || text.is_empty() {
            return Cow::Borrowed(text);
        }
        Cow::Owned(format!("\u{1b}[{}m{text}\u{1b}[0m", paint.code()))
    }

    /// Local time, as short as the day allows.
    pub fn time(&self, at_ms: i64) -> String {
        let local = |ms| Timestamp::from_millisecond(ms).map(|t| t.to_zoned(self.zone.clone()));
        let (Ok(at), Ok(now)) = (local(at_ms), local(self.now_ms)) else {
            return format!("{at_ms} ms");
        };
        let form = if at.date() == now.date() {
            "%H:%M:%S"
        } else if at.year() == now.year() {
            "%m-%d %H:%M:%S"
        } else {
            "%Y-%m-%d %H:%M:%S"
        };
        at.strftime(form).to_string()
    }

    /// Local time, with a mark if the box couldn't trust its clock then.
    pub fn time_of_quality(&self, at_ms: i64, quality: &str) -> String {
        let mark = match quality {
            "synchronised" => "",
            "estimated" => "~",
            _ => "?",
        };
        format!("{mark}{}", self.time(at_ms))
    }

    /// Local date and time, whole.
    pub fn date_time(&self, at_ms: i64) -> String {
        match Timestamp::from_millisecond(at_ms) {
            Ok(at) => {
                let at = at.to_zoned(self.zone.clone());
                at.strftime("%Y-%m-%d %H:%M:%S").to_string()
            }
            Err(_) => format!("{at_ms} ms"),
        }
    }

    /// Local date and time, whole, with the zone's offset.
    pub fn date_time_zone(&self, at_ms: i64) -> String {
        let offset = Timestamp::from_millisecond(at_ms)
            .map(|at| at.to_zoned(self.zone.clone()).strftime("%:z").to_string());
        match offset {
            Ok(offset) => format!("{} (UTC{offset})", self.date_time(at_ms)),
            Err(_) => self.date_time(at_ms),
        }
    }

    /// How long ago.
    pub fn ago(&self, at_ms: i64) -> String {
        words::ago(self.now_ms.saturating_sub(at_ms))
    }

    /// How long ago, as a bare length.
    pub fn age(&self, at_ms: i64) -> String {
        words::length(self.now_ms.saturating_sub(at_ms).max(0).unsigned_abs())
    }
}

/// Text from outside, made safe to print: what could steer a terminal becomes `?`.
pub fn safe(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(
        text.chars()
            .map(|c| if steers(c) { '?' } else { c })
            .collect(),
    )
}

/// The most characters of a line of [`told`].
const LINE_MAX: usize = 600;
/// The most lines of it.
const LINES_MAX: usize = 40;

/// A message for standard error, made safe line by line. What is very long loses its middle: what
/// happened stands first in a message, and what to do last.
pub fn told(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let more = lines.len().saturating_sub(LINES_MAX);
    let mut out: Vec<String> = lines
        .iter()
        .take(LINES_MAX)
        .map(|line| short(line))
        .collect();
    if more > 0 {
        out.push(words::lines_left_out(more));
    }
    out.join("\n")
}

fn short(line: &str) -> String {
    let line: String = line.replace('\t', " ");
    let count = line.chars().count();
    if count <= LINE_MAX {
        return safe(&line).into_owned();
    }
    let half = LINE_MAX / 2;
    let head: String = line.chars().take(half).collect();
    let tail: String = line.chars().skip(count - half).collect();
    format!("{} [...] {}", safe(&head), safe(&tail))
}

/// Controls, and the marks that turn the direction of writing.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// How many columns a text takes.
pub fn columns(text: &str) -> usize {
    text.width()
}

/// A text in at most `width` columns; what is cut off is shown by two dots.
pub fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if columns(text) <= width {
        return Cow::Borrowed(text);
    }
    let room = width.saturating_sub(2);
    let mut used = 0;
    let fits = text.chars().take_while(|c| {
        used += c.width().unwrap_or(0);
        used <= room
    });
    let mut kept: String = fits.collect();
    kept.push_str(".".repeat(width.min(2)).as_str());
    Cow::Owned(kept)
}

/// `head` and `text` after it, in lines of at most `width` columns, each after the first with
/// `indent` before it. Breaks at spaces.
pub fn wrap(head: &str, text: &str, width: Option<usize>, indent: &str) -> String {
    let Some(width) = width.filter(|width| *width > indent.len() + 20) else {
        return format!("{head}{text}");
    };
    let mut out = head.to_string();
    let mut used = columns(head);
    for (index, word) in text.split(' ').enumerate() {
        let wide = columns(word);
        if index > 0 && used + 1 + wide > width {
            out.push('\n');
            out.push_str(indent);
            used = columns(indent);
        } else if index > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += wide;
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// 2026-11-22 09:03:21 UTC, seen from Shanghai.
    pub const NOW_MS: i64 = 1_795_338_201_000;

    /// A place without colour.
    pub fn plain(width: Option<usize>) -> Look {
        Look {
            width,
            colour: false,
            zone: TimeZone::fixed(jiff::tz::offset(8)),
            now_ms: NOW_MS,
        }
    }

    #[test]
    fn times_are_local_and_as_short_as_the_day_allows() {
        let look = plain(None);
        assert_eq!(look.time(NOW_MS), "17:03:21");
        assert_eq!(look.time(NOW_MS - 86_400_000), "11-21 17:03:21");
        assert_eq!(look.time(0), "1970-01-01 08:00:00");
        assert_eq!(look.time(i64::MAX), "9223372036854775807 ms");
        assert_eq!(look.time_of_quality(NOW_MS, "estimated"), "~17:03:21");
        assert_eq!(look.time_of_quality(NOW_MS, "unknown"), "?17:03:21");
        assert_eq!(look.ago(NOW_MS - 125_000), "2 min ago");
    }

    #[test]
    fn text_from_outside_can_not_steer_the_terminal() {
        assert_eq!(safe("a\u{1b}[2Jb\u{202e}c\n"), "a?[2Jb?c?");
        assert_eq!(safe("取件码"), "取件码");
    }

    #[test]
    fn a_message_is_safe_and_bounded_and_keeps_its_ends() {
        assert_eq!(told("a\u{1b}[2J\tb\nc\r"), "a?[2J b\nc?");
        let long = format!("no parcel '{}' is known", "取".repeat(50_000));
        let shown = told(&long);
        assert!(shown.starts_with("no parcel '取") && shown.ends_with("取' is known"));
        assert_eq!(shown.chars().count(), LINE_MAX + " [...] ".len());
        let shown = told(&"x\n".repeat(1_000));
        assert_eq!(shown.lines().count(), LINES_MAX + 1);
    }

    #[test]
    fn text_is_cut_by_columns_not_by_letters() {
        assert_eq!(cut("取件码", 6), "取件码");
        assert_eq!(cut("取件码在这里", 6), "取件..");
        assert_eq!(cut("abcdef", 1), ".");
    }

    #[test]
    fn long_lines_break_at_spaces() {
        let text = "one two three four five six seven";
        let wrapped = wrap("- ", text, Some(24), "  ");
        assert_eq!(wrapped, "- one two three four\n  five six seven");
        assert_eq!(wrap("- ", text, None, "  "), format!("- {text}"));
    }

    #[test]
    fn colour_is_only_where_it_is_wanted() {
        let mut look = plain(None);
        assert_eq!(look.paint(Paint::Bad, "x"), "x");
        look.colour = true;
        assert_eq!(look.paint(Paint::Bad, "x"), "\u{1b}[1;31mx\u{1b}[0m");
    }
}
