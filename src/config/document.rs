//! The configuration as it is written: every value with its place in the text.

use std::ops::Range;

use firmware_protocols::Ident;
use serde_json::{Map, Number, Value as Json};
use toml::de::{DeTable, DeValue};

/// How deep tables and lists may lie in each other. What lies deeper is taken for nothing.
const DEPTH_MOST: usize = 16;

/// A document.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its table.
    pub root: Node,
    /// Where each line begins.
    lines: Vec<usize>,
    text: String,
}

/// A value and where it stands. The place of a table with a header is its header.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where.
    pub place: Range<usize>,
    /// What.
    pub value: Value,
}

/// What can stand in a document.
#[derive(Debug, Clone)]
pub enum Value {
    /// Text in quotes.
    Text(String),
    /// A whole number.
    Whole(i128),
    /// Another number.
    Broken(f64),
    /// `true` or `false`.
    Truth(bool),
    /// A date or a time; also what lies too deep.
    Moment,
    /// A list.
    List(Vec<Node>),
    /// A table, in the order of the text.
    Table(Vec<Entry>),
}

/// A key of a table with its value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where it stands.
    pub key_place: Range<usize>,
    /// Its value.
    pub node: Node,
}

/// A step of a key: `device`, `[2]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// Into a table.
    Key(&'a str),
    /// Into a list. `None` for any of it.
    Item(Option<usize>),
}

impl Document {
    /// What was read of a text.
    pub fn new(text: &str, table: &DeTable<'_>) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            root: Node {
                place: 0..0,
                value: entries(table, 0),
            },
            lines: std::iter::once(0).chain(breaks).collect(),
            text: text.to_owned(),
        }
    }

    /// Line and column of a place, counted from 1; the column in characters.
    pub fn line_and_column(&self, at: usize) -> (usize, usize) {
        let at = at.min(self.text.len());
        let line = self.lines.partition_point(|start| *start <= at).max(1);
        let start = self.lines[line - 1];
        let before = self.text.get(start..at).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// Where a key stands; if it isn't there, the table that it is missing in.
    pub fn place(&self, key: &str) -> Range<usize> {
        let mut node = &self.root;
        let mut place = node.place.clone();
        for step in steps(key) {
            let Some((next, key_place)) = node.step(step) else {
                break;
            };
            node = next;
            place = match key_place {
                // A value stands beside its key; a list of tables has no place of its own.
                Some(key) if !matches!(node.value, Value::Table(_)) => key,
                _ => node.place.clone(),
            };
        }
        place
    }

    /// Whether a key is written in the text.
    pub fn holds(&self, key: &str) -> bool {
        let mut node = &self.root;
        steps(key).into_iter().all(|step| {
            let next = node.step(step).map(|(next, _)| next);
            node = next.unwrap_or(node);
            next.is_some()
        })
    }

    /// A key for people: what has an id is named by it, as in `device[door-b1].building`.
    pub fn named(&self, key: &str) -> String {
        let mut named = String::new();
        let mut node = Some(&self.root);
        for step in steps(key) {
            node = node.and_then(|node| node.step(step)).map(|(next, _)| next);
            match step {
                Step::Key(key) => {
                    let dot = if named.is_empty() { "" } else { "." };
                    named.push_str(dot);
                    named.push_str(key);
                }
                Step::Item(i) => {
                    let count = i.map(|i| i.to_string()).unwrap_or_default();
                    let id = node.and_then(|node| self.id(node)).unwrap_or(&count);
                    named.push_str(&format!("[{id}]"));
                }
            }
        }
        named
    }

    /// The id of a table that has one.
    fn id<'a>(&self, node: &'a Node) -> Option<&'a String> {
        let Value::Table(entries) = &node.value else {
            return None;
        };
        let id = entries.iter().find(|entry| entry.key == "id")?;
        let written = self.text.get(id.node.place.clone())?;
        match &id.node.value {
            // A stand-in isn't what is written.
            Value::Text(id) if written.contains(id) && Ident::new(id).is_ok() => Some(id),
            _ => None,
        }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Node {
    /// As JSON. Numbers that JSON can't hold are the nearest that it can.
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Text(text) => Json::from(text.as_str()),
            Value::Whole(n) => whole(*n),
            Value::Broken(n) => Number::from_f64(*n).map_or(Json::Null, Json::Number),
            Value::Truth(b) => Json::from(*b),
            Value::Moment => Json::Null,
            Value::List(nodes) => nodes.iter().map(Self::to_json).collect(),
            Value::Table(entries) => {
                let entries = entries.iter();
                let pairs = entries.map(|entry| (entry.key.clone(), entry.node.to_json()));
                Json::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    /// One step further, with the place of the key if it was one.
    fn step(&self, step: Step<'_>) -> Option<(&Self, Option<Range<usize>>)> {
        match (step, &self.value) {
            (Step::Key(key), Value::Table(entries)) => {
                let entry = entries.iter().find(|entry| entry.key == key)?;
                Some((&entry.node, Some(entry.key_place.clone())))
            }
            (Step::Item(i), Value::List(nodes)) => Some((nodes.get(i?)?, None)),
            _ => None,
        }
    }
}

/// The steps of a key such as `device[2].building`.
pub fn steps(key: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    for part in key.split('.').filter(|part| !part.is_empty()) {
        let mut pieces = part.split('[');
        let name = pieces.next().filter(|name| !name.is_empty());
        steps.extend(name.map(Step::Key));
        let counts = pieces.map(|piece| piece.trim_end_matches(']').parse().ok());
        steps.extend(counts.map(Step::Item));
    }
    steps
}

/// Whether one of two keys lies within the other. `[]` is any item.
pub fn within(one: &str, other: &str) -> bool {
    let same = |(a, b): (Step<'_>, Step<'_>)| match (a, b) {
        (Step::Item(a), Step::Item(b)) => a.is_none() || b.is_none() || a == b,
        (a, b) => a == b,
    };
    let (one, other) = (steps(one), steps(other));
    one.into_iter().zip(other).all(same)
}

fn entries(table: &DeTable<'_>, depth: usize) -> Value {
    let entries = table.iter().map(|(key, value)| Entry {
        key: key.get_ref().to_string(),
        key_place: key.span(),
        node: node(value, depth + 1),
    });
    let mut entries: Vec<Entry> = entries.collect();
    entries.sort_by_key(|entry| entry.key_place.start);
    Value::Table(entries)
}

fn node(value: &toml::Spanned<DeValue<'_>>, depth: usize) -> Node {
    let of = match value.get_ref() {
        _ if depth > DEPTH_MOST => Value::Moment,
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(n) => {
            let beyond = if n.as_str().starts_with('-') {
                i128::MIN
            } else {
                i128::MAX
            };
            Value::Whole(i128::from_str_radix(n.as_str(), n.radix()).unwrap_or(beyond))
        }
        DeValue::Float(n) => Value::Broken(n.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(b) => Value::Truth(*b),
        DeValue::Datetime(_) => Value::Moment,
        DeValue::Array(items) => {
            Value::List(items.iter().map(|item| node(item, depth + 1)).collect())
        }
        DeValue::Table(table) => entries(table, depth),
    };
    Node {
        place: value.span(),
        value: of,
    }
}

fn whole(n: i128) -> Json {
    match (i64::try_from(n), u64::try_from(n)) {
        (Ok(n), _) => Json::from(n),
        (_, Ok(n)) => Json::from(n),
        _ if n < 0 => Json::from(i64::MIN),
        _ => Json::from(u64::MAX),
    }
}
