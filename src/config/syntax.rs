//! Reading TOML past its faults. The parser gives up, or loses its way, after the first; so each
//! statement with a fault is told, blanked out, and the rest read again.

use std::ops::Range;

use toml::de::DeTable;

use super::document::Document;
use super::fault::Faults;

/// After so many faults nothing more is looked for: this isn't TOML.
const FAULTS_MOST: usize = 20;

/// How TOML is written, in short.
const HOW: &str =
    "write KEY = VALUE, where a value is \"text\", 12, true, or [a list], or [SECTION]";

/// What could be read, and where something couldn't.
pub struct Read {
    /// What could be read.
    pub document: Document,
    /// The statements that were left out.
    pub left_out: Vec<Range<usize>>,
    /// The sections that were left out, with all that stands in them.
    pub sections: Vec<String>,
}

/// Reads a text, with every fault.
pub fn read(text: &str, errors: &mut Faults) -> Read {
    let mut rest = text.to_owned();
    let mut left_out = Vec::new();
    let mut sections = Vec::new();
    loop {
        let error = match DeTable::parse(&rest) {
            Ok(table) => {
                return Read {
                    document: Document::new(text, table.get_ref()),
                    left_out,
                    sections,
                };
            }
            Err(error) => error,
        };
        let at = error.span().map_or(0, |span| span.start).min(rest.len());
        let wrong = wrong_part(&rest, at);
        match &wrong {
            Wrong::Line(line) => {
                let what = in_words(error.message(), &rest[line.clone()]);
                let column = at.clamp(line.start, line.end.max(line.start));
                errors.at("", what).placed(column..line.end);
            }
            Wrong::Section(section, name) => {
                let header = line_of(&rest, section.start);
                errors
                    .at("", in_words(error.message(), &rest[header.clone()]))
                    .placed(header);
                sections.extend(name.clone());
            }
            Wrong::Open(statement) => {
                errors
                    .at(
                        "",
                        "isn't closed: add the ] of its list, the } of its table, or the quotes of its text",
                    )
                    .placed(statement.clone());
            }
        }
        let (Wrong::Line(part) | Wrong::Section(part, _) | Wrong::Open(part)) = wrong;
        let blank = rest[part.clone()].trim().is_empty();
        if blank || left_out.len() + 1 >= FAULTS_MOST {
            if !blank {
                errors
                    .at(
                        "",
                        "nothing from here on was read, as too much isn't TOML: correct what is named first",
                    )
                    .placed(part.end..part.end);
            }
            blank_out(&mut rest, 0..text.len());
            left_out.push(0..text.len());
            continue;
        }
        blank_out(&mut rest, part.clone());
        left_out.push(part);
    }
}

/// What has to be left out for the rest to be read.
enum Wrong {
    /// One line.
    Line(Range<usize>),
    /// A section whose header can't be read, or stands twice; and its name.
    Section(Range<usize>, Option<String>),
    /// A statement that isn't closed, before the line where that was noticed.
    Open(Range<usize>),
}

fn wrong_part(text: &str, at: usize) -> Wrong {
    let line = line_of(text, at);
    let written = text[line.clone()].trim();
    if (written.is_empty() || begins(written))
        && let Some(open) = open_before(text, line.start, written.is_empty())
    {
        return Wrong::Open(open);
    }
    if written.starts_with('[') {
        let end = line.end + next_header(&text[line.end..]);
        let name = written.trim_matches(['[', ']', ' ']);
        let name = name.split(['.', ' ', '#', ']']).next();
        let name = name.filter(|name| !name.is_empty()).map(str::to_owned);
        return Wrong::Section(line.start..end, name);
    }
    Wrong::Line(line)
}

/// The statement above that is still open at the start of a line, if one is. `far`: whether other
/// statements may lie between, as in a text of several lines that nobody closed.
fn open_before(text: &str, end: usize, far: bool) -> Option<Range<usize>> {
    let mut start = end;
    for _ in 0..LINES_BACK {
        if start == 0 {
            return None;
        }
        let line = line_of(text, start - 1);
        start = line.start;
        if !begins(text[line].trim()) {
            continue;
        }
        let statement = &text[start..end];
        let wrong = DeTable::parse(statement).err().and_then(|e| e.span());
        // What is only open has its fault at the end.
        if wrong.is_some_and(|span| span.start >= statement.trim_end().len()) {
            return Some(start..end);
        }
        if !far {
            return None;
        }
    }
    None
}

/// How far up an open statement is looked for.
const LINES_BACK: usize = 200;

/// Whether a line looks like the begin of a statement.
fn begins(line: &str) -> bool {
    let bare = |text: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !text.is_empty() && text.chars().all(allowed)
    };
    if line.starts_with('[') {
        return bare(line.trim_matches(['[', ']']));
    }
    line.split_once('=')
        .is_some_and(|(key, _)| bare(key.trim()))
}

fn in_words(message: &str, line: &str) -> String {
    if message == "duplicate key" {
        let name = line.split('=').next().unwrap_or_default().trim();
        let name: String = name.chars().take(64).collect();
        return format!("'{}' stands twice: remove one", name.escape_debug());
    }
    format!("this is no TOML ({message}): {HOW}")
}

/// The line that a place is in, without its end.
fn line_of(text: &str, at: usize) -> Range<usize> {
    let at = at.min(text.len());
    let bytes = text.as_bytes();
    let start = bytes[..at]
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |i| i + 1);
    let end = bytes[at..].iter().position(|b| *b == b'\n');
    start..end.map_or(text.len(), |i| at + i)
}

/// Where the next header begins.
pub fn next_header(text: &str) -> usize {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with('[') {
            return at;
        }
        at += line.len();
    }
    at
}

/// Spaces in place of all but the ends of lines, so that the places of the rest stay. What is blank
/// can always be read.
fn blank_out(text: &mut String, part: Range<usize>) {
    let bytes = text[part.clone()].bytes();
    let blank: String = bytes.map(|b| if b == b'\n' { '\n' } else { ' ' }).collect();
    text.replace_range(part, &blank);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn whatever_is_written_comes_to_an_end() {
        for text in [
            "\r",
            "\u{feff}",
            "=",
            "[",
            "[[",
            "\"",
            "'''",
            "\"\"\"\n\nx",
            "é = é\n[é",
            "a = [\n\n\n",
            "a = {\n",
            "[a]\n[a]\n[[a]]\n",
            "\u{0}",
            "a.b.c = 1\na.b = 2",
            "x\n\r\n\ry = '\r'",
            "a = \"\"\"\nb = 1\nc = 2\n",
        ] {
            let mut errors = Faults::default();
            let read = read(text, &mut errors);
            assert!(read.document.root.to_json().is_object(), "{text:?}");
            assert!(errors.all().len() <= FAULTS_MOST + 1, "{text:?}");
        }
    }

    #[test]
    fn the_rest_is_read_past_a_fault() {
        let text = "a = 1\nb = [\n  1,\n  2 2,\n  3,\n]\nc 7\n[d\nx = 1\n[e]\ny = \"f\nz = 2\n";
        let mut errors = Faults::default();
        let read = read(text, &mut errors);
        let json = serde_json::json!({ "a": 1, "b": [1, 3], "e": { "z": 2 } });
        assert_eq!(read.document.root.to_json(), json);
        assert_eq!(read.sections, ["d"]);
        let lines = errors.all().iter().map(|fault| {
            let place = fault.place().unwrap();
            read.document.line_and_column(place.start).0
        });
        assert_eq!(lines.collect::<BTreeSet<_>>(), [4, 7, 8, 11].into());
    }
}
