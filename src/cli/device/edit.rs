//! The configuration's text with a device more or less. Everything else stays as it is, comments and
//! order too. Pure: nothing is read or written here.

use std::ops::Range;

use firmware_protocols::Ident;
use toml_edit::{ArrayOfTables, Document, DocumentMut, InlineTable, Item, Table, Value};

/// The tables whose ids must differ from each other.
const NAMED: [&str; 4] = ["bank", "desk", "device", "bridge"];

/// The remark above a device that was added.
const REMARK: &str = "# Added by 'linli device add'.";

/// A device to add.
#[derive(Debug, Clone)]
pub struct NewDevice<'a> {
    /// Its id.
    pub id: &'a Ident,
    /// The building it belongs to.
    pub building: &'a Ident,
    /// The bank or desk that it is a keypad or scanner of.
    pub point: Option<&'a Ident>,
    /// The profile for its JSON.
    pub profile: Option<&'a str>,
    /// What it calls itself in its topics.
    pub named: Option<&'a str>,
    /// The bridge that speaks for it.
    pub via: Option<&'a Ident>,
}

impl NewDevice<'_> {
    /// Its keys, in the order in which they are written.
    fn keys(&self) -> Vec<(&'static str, String)> {
        let keys = [
            ("id", Some(self.id.as_str())),
            ("building", Some(self.building.as_str())),
            ("point", self.point.map(Ident::as_str)),
            ("profile", self.profile),
            ("named", self.named),
            ("via", self.via.map(Ident::as_str)),
        ];
        let set = keys.into_iter();
        set.filter_map(|(key, value)| Some((key, value?.to_string())))
            .collect()
    }
}

/// Where something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// `bank`, `desk`, `device` or `bridge`.
    pub kind: &'static str,
    /// The line, from 1.
    pub line: usize,
}

/// Why a text can't be changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It isn't TOML.
    #[error(transparent)]
    Syntax(#[from] toml_edit::TomlError),
    /// `device` is written in a way that isn't understood here.
    #[error(
        "'device' stands there neither as [[device]] nor as device = [{{...}}]: change it by hand"
    )]
    Form,
}

/// Where `id` stands as a bank, desk, device or bridge.
pub fn find(text: &str, id: &Ident) -> Result<Option<Found>, EditError> {
    let document = Document::parse(text)?;
    for kind in NAMED {
        let Some(item) = document.get(kind) else {
            continue;
        };
        let at = tables(item)
            .find(|(found, _)| *found == Some(id.as_str()))
            .map(|(_, span)| span.map_or(0, |span| span.start));
        if let Some(at) = at {
            let line = text.get(..at).unwrap_or_default().matches('\n').count() + 1;
            return Ok(Some(Found { kind, line }));
        }
    }
    Ok(None)
}

/// The text with the device, behind the last one.
pub fn add(text: &str, device: &NewDevice<'_>) -> Result<String, EditError> {
    let document = Document::parse(text)?;
    match document.get("device") {
        None => Ok(insert(text, text.len(), device)),
        Some(Item::ArrayOfTables(all)) => Ok(insert(text, end_of(text, all), device)),
        Some(Item::Value(Value::Array(_))) => add_inline(text, device),
        Some(_) => Err(EditError::Form),
    }
}

/// The text without the device, and without the remark right above it. `None`: it isn't there.
pub fn remove(text: &str, id: &Ident) -> Result<Option<String>, EditError> {
    let document = Document::parse(text)?;
    match document.get("device") {
        None => Ok(None),
        Some(Item::ArrayOfTables(all)) => {
            let found = all
                .iter()
                .find(|table| id_of(table.get("id")) == Some(id.as_str()));
            Ok(found.map(|table| without(text, table)))
        }
        Some(Item::Value(Value::Array(_))) => remove_inline(text, id),
        Some(_) => Err(EditError::Form),
    }
}

/// An id, and where its table stands.
type Named<'a> = (Option<&'a str>, Option<Range<usize>>);

/// The ids of an array of tables in either form, with where each stands.
fn tables(item: &Item) -> Box<dyn Iterator<Item = Named<'_>> + '_> {
    match item {
        Item::ArrayOfTables(all) => Box::new(
            all.iter()
                .map(|table| (id_of(table.get("id")), table.span())),
        ),
        Item::Value(Value::Array(all)) => Box::new(all.iter().map(|value| {
            let id = value.as_inline_table().and_then(|table| table.get("id"));
            (id.and_then(Value::as_str), value.span())
        })),
        _ => Box::new(std::iter::empty()),
    }
}

fn id_of(item: Option<&Item>) -> Option<&str> {
    item.and_then(Item::as_str)
}

/// Where the last of them ends, with all that belongs to it.
fn end_of(text: &str, all: &ArrayOfTables) -> usize {
    let mut ranges = Vec::new();
    if let Some(last) = all.iter().last() {
        gather(last, &mut ranges);
    }
    let end = ranges.iter().map(|range| range.end).max();
    line_end(text, end.unwrap_or(text.len()))
}

/// The parts of the text that a table and the tables in it stand in.
fn gather(table: &Table, out: &mut Vec<Range<usize>>) {
    let mut own = table.span();
    for (_, item) in table.iter() {
        match item {
            Item::Table(inner) if !inner.is_dotted() => gather(inner, out),
            Item::ArrayOfTables(all) => all.iter().for_each(|inner| gather(inner, out)),
            item => {
                let end = last_byte(item);
                if let Some(own) = &mut own {
                    own.end = own.end.max(end);
                }
            }
        }
    }
    out.extend(own);
}

fn last_byte(item: &Item) -> usize {
    let own = item.span().map_or(0, |span| span.end);
    let inner = item.as_table().into_iter().flat_map(Table::iter);
    inner.map(|(_, item)| last_byte(item)).fold(own, usize::max)
}

/// Behind the line's newline, or the end of the text.
fn line_end(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    rest.find('\n')
        .map_or(text.len(), |newline| at + newline + 1)
}

fn line_start(text: &str, at: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    before.rfind('\n').map_or(0, |newline| newline + 1)
}

fn insert(text: &str, at: usize, device: &NewDevice<'_>) -> String {
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
    let mut out = before.to_string();
    if !out.is_empty() && !out.ends_with('\n') {
        out.push_str(newline);
    }
    if !out.is_empty() {
        out.push_str(newline);
    }
    for line in [REMARK, "[[device]]"] {
        out.push_str(line);
        out.push_str(newline);
    }
    for (key, value) in device.keys() {
        out.push_str(&format!("{key} = {}{newline}", Value::from(value)));
    }
    if !after.is_empty() && !after.starts_with(['\r', '\n']) {
        out.push_str(newline);
    }
    out.push_str(after);
    out
}

fn add_inline(text: &str, device: &NewDevice<'_>) -> Result<String, EditError> {
    let mut document: DocumentMut = text.parse()?;
    let array = document.get_mut("device").and_then(Item::as_array_mut);
    let array = array.ok_or(EditError::Form)?;
    let table: InlineTable = device
        .keys()
        .into_iter()
        .map(|(key, value)| (key, Value::from(value)))
        .collect();
    let mut table = Value::from(table);
    // As the one before: on a line of its own, or not.
    let last = array.iter().last().map(|value| value.decor().clone());
    let prefix = last.as_ref().and_then(|decor| decor.prefix()?.as_str());
    let prefix = match prefix.and_then(|prefix| prefix.rfind('\n').map(|at| &prefix[at..])) {
        Some(own_line) => own_line.to_string(),
        None if array.is_empty() => String::new(),
        None => " ".to_string(),
    };
    table.decor_mut().set_prefix(prefix);
    array.push_formatted(table);
    Ok(document.to_string())
}

fn remove_inline(text: &str, id: &Ident) -> Result<Option<String>, EditError> {
    let mut document: DocumentMut = text.parse()?;
    let array = document.get_mut("device").and_then(Item::as_array_mut);
    let array = array.ok_or(EditError::Form)?;
    let found = array.iter().position(|value| {
        let id_there = value.as_inline_table().and_then(|table| table.get("id"));
        id_there.and_then(Value::as_str) == Some(id.as_str())
    });
    let Some(index) = found else {
        return Ok(None);
    };
    let removed = array.remove(index);
    // What stood before the first stands before the one that is first now.
    if index == 0
        && let Some(first) = array.get_mut(0)
        && let Some(prefix) = removed.decor().prefix()
    {
        first.decor_mut().set_prefix(prefix.clone());
    }
    Ok(Some(document.to_string()))
}

/// Without a table, the tables in it, and the comment right above.
fn without(text: &str, table: &Table) -> String {
    let mut ranges = Vec::new();
    gather(table, &mut ranges);
    ranges.sort_by_key(|range| std::cmp::Reverse(range.start));
    let mut out = text.to_string();
    for range in ranges {
        let mut start = line_start(&out, range.start);
        let end = line_end(&out, range.end);
        while start > 0 {
            let above = line_start(&out, start - 1);
            let is_comment = out
                .get(above..start)
                .is_some_and(|line| line.trim_start().starts_with('#'));
            if !is_comment {
                break;
            }
            start = above;
        }
        let after = out.get(end..).unwrap_or_default().to_string();
        out.truncate(start);
        let blank_before = out.is_empty() || out.ends_with("\n\n") || out.ends_with("\n\r\n");
        let after = match (blank_before, after.is_empty()) {
            // No blank line at the end of the file, nor two where one was.
            (true, true) if !out.is_empty() => {
                let kept = out.trim_end_matches(['\r', '\n']).len();
                let kept = line_end(&out, kept);
                out.truncate(kept);
                ""
            }
            (true, _) => after
                .strip_prefix("\r\n")
                .or_else(|| after.strip_prefix('\n'))
                .unwrap_or(&after),
            (false, _) => &after,
        };
        out.push_str(after);
    }
    out
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
