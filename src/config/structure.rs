//! The check of a file's structure against the schema: unknown, missing and wrong keys, everywhere and
//! all at once. What is wrong is then repaired in memory, so that the rest can be judged too.

use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::{Map, Value as Json};

use super::document::{Entry, Node, Value, within};
use super::fault::{Fault, Faults};
use super::repair::{self, example};
use super::schema::{resolved, schema};
use super::spelling::nearest;
use super::syntax::{Read, next_header};
use super::texts;

/// Up to so many keys are all named where one isn't known.
const NAMED_MOST: usize = 14;

/// What isn't as it was written: nothing that follows from it alone is worth saying.
pub(super) struct Repaired(BTreeSet<String>);

impl Repaired {
    /// Whether a fault says something that doesn't only follow from another.
    pub(super) fn leaves(&self, fault: &Fault) -> bool {
        !fault
            .about()
            .any(|key| self.0.iter().any(|repaired| within(key, repaired)))
    }
}

/// Adds every fault of a document's structure, and repairs it.
pub(super) fn check(read: &mut Read, errors: &mut Faults) -> Repaired {
    let text = read.document.text().to_owned();
    let mut check = Check {
        text: &text,
        left_out: &read.left_out,
        repaired: read.sections.drain(..).collect(),
        errors,
    };
    check.value(&mut read.document.root, schema(), "");
    Repaired(check.repaired)
}

struct Check<'a> {
    text: &'a str,
    left_out: &'a [Range<usize>],
    repaired: BTreeSet<String>,
    errors: &'a mut Faults,
}

impl Check<'_> {
    /// Whether a value has the form that it must have, now. What is wrong within it is repaired.
    fn value(&mut self, node: &mut Node, piece: &Json, key: &str) -> bool {
        let rules = resolved(piece);
        if !key.is_empty() && self.lacks(node) {
            self.repaired.insert(key.to_owned());
        }
        match rules["type"].as_str() {
            Some("object") => self.table(node, rules, key),
            Some("array") => self.list(node, rules, key),
            Some("integer" | "number") => self.number(node, piece, key),
            Some("boolean") if matches!(node.value, Value::Truth(_)) => true,
            Some("boolean") => self.wrong_kind(node, piece, key),
            _ => self.text(node, piece, key),
        }
    }

    fn table(&mut self, node: &mut Node, rules: &Json, key: &str) -> bool {
        if let Value::List(items) = &mut node.value
            && let [
                Node {
                    value: Value::Table(_),
                    ..
                },
            ] = &items[..]
        {
            self.errors
                .at(
                    key,
                    format!("is there once: write [{key}], with one pair of brackets"),
                )
                .placed(items[0].place.clone());
            *node = items.remove(0);
        }
        let lacks = self.lacks(node);
        let place = node.place.clone();
        let Value::Table(entries) = &mut node.value else {
            return self.wrong_kind(node, rules, key);
        };
        let (none, no_names) = (Map::new(), Vec::new());
        let known = rules["properties"].as_object().unwrap_or(&none);
        let required = rules["required"].as_array().unwrap_or(&no_names);
        let is_required = |name: &str| required.iter().any(|required| required == name);
        self.drop_unknown(entries, known, key);
        entries.retain_mut(|entry| {
            let (at, piece) = (joined(key, &entry.key), &known[&entry.key]);
            if self.value(&mut entry.node, piece, &at) {
                return true;
            }
            if is_required(&entry.key) {
                entry.node.value = repair::stand_in(piece, entry.node.place.start);
            }
            self.repaired.insert(at);
            is_required(&entry.key)
        });
        for name in required.iter().filter_map(Json::as_str) {
            if entries.iter().any(|entry| entry.key == name) {
                continue;
            }
            let at = joined(key, name);
            // It may have stood in what couldn't be read, or under another name.
            if !lacks && !self.repaired.contains(&at) {
                let what = format!(
                    "is missing: add it, as in {name} = {}",
                    example(&known[name])
                );
                self.errors.at(&at, what).placed(place.clone());
            }
            entries.push(Entry {
                key: name.to_owned(),
                key_place: place.clone(),
                node: Node {
                    place: place.clone(),
                    value: repair::stand_in(&known[name], place.start),
                },
            });
            self.repaired.insert(at);
        }
        true
    }

    /// Takes out the keys that aren't known; one that was only misspelt goes on under its right name.
    fn drop_unknown(&mut self, entries: &mut Vec<Entry>, known: &Map<String, Json>, key: &str) {
        let there: BTreeSet<String> = entries.iter().map(|entry| entry.key.clone()).collect();
        entries.retain_mut(|entry| {
            if known.contains_key(&entry.key) {
                return true;
            }
            let free = known.keys().filter(|name| !there.contains(*name));
            let meant = nearest(&entry.key, free.map(String::as_str));
            let name: String = entry.key.chars().take(64).collect();
            let at = joined(key, &name.escape_debug().to_string());
            let what = unknown(&entry.key, meant, known);
            self.errors.at(at, what).placed(entry.key_place.clone());
            let Some(meant) = meant else { return false };
            let fits = repair::same_kind(&entry.node.value, &known[meant]);
            self.repaired.extend((!fits).then(|| joined(key, meant)));
            entry.key = meant.to_owned();
            fits
        });
        // Two slips may have become one name.
        let mut seen = Vec::new();
        entries.retain(|entry| {
            let first = !seen.contains(&entry.key);
            seen.push(entry.key.clone());
            first
        });
    }

    fn list(&mut self, node: &mut Node, rules: &Json, key: &str) -> bool {
        let items = &rules["items"];
        if !matches!(node.value, Value::List(_)) && repair::same_kind(&node.value, items) {
            let last = key.rsplit('.').next().unwrap_or(key);
            let what = match node.value {
                Value::Table(_) if self.written(node).starts_with('[') => {
                    format!(
                        "is a list: write [[{last}]], with two pairs of brackets, once for each"
                    )
                }
                _ => "is a list: put what stands there in [ ]".to_owned(),
            };
            self.errors.at(key, what).placed(node.place.clone());
            let only = node.clone();
            node.value = Value::List(vec![only]);
        }
        let Value::List(values) = &mut node.value else {
            return self.wrong_kind(node, rules, key);
        };
        let count = values.len() as u64;
        let (least, most) = (rules["minItems"].as_u64(), rules["maxItems"].as_u64());
        if least.is_some_and(|least| count < least) || most.is_some_and(|most| count > most) {
            let what = format!(
                "has {count} items; {} allowed",
                span(&rules["minItems"], &rules["maxItems"])
            );
            self.errors.at(key, what).placed(node.place.clone());
            return false;
        }
        for (i, value) in values.iter_mut().enumerate() {
            let at = format!("{key}[{i}]");
            if !self.value(value, items, &at) {
                value.value = repair::stand_in(items, value.place.start);
                self.repaired.insert(at);
            }
        }
        true
    }

    fn number(&mut self, node: &Node, piece: &Json, key: &str) -> bool {
        let rules = resolved(piece);
        let n = match node.value {
            Value::Whole(n) => n,
            Value::Broken(n) if rules["type"] == "number" => {
                if n.is_finite() {
                    return true;
                }
                self.errors
                    .at(
                        key,
                        format!("is {n}; a finite number is allowed, such as 0.1"),
                    )
                    .placed(node.place.clone());
                return false;
            }
            _ => return self.wrong_kind(node, piece, key),
        };
        let bound = |name: &str, else_: i128| match &rules[name] {
            Json::Number(n) => n
                .as_i128()
                .or(n.as_f64().map(|n| n as i128))
                .unwrap_or(else_),
            _ => else_,
        };
        let (least, most) = (
            bound("minimum", i64::MIN.into()),
            bound("maximum", u64::MAX.into()),
        );
        if (least..=most).contains(&n) {
            return true;
        }
        let usual = match &piece["default"] {
            Json::Number(usual) => format!(" ({usual} if it is left out)"),
            _ => String::new(),
        };
        let allowed = match rules["maximum"].is_null() {
            true => format!("{least} or more is allowed"),
            false => format!("{least} to {most} is allowed"),
        };
        self.errors
            .at(key, format!("is {n}; {allowed}{usual}"))
            .placed(node.place.clone());
        false
    }

    fn text(&mut self, node: &Node, piece: &Json, key: &str) -> bool {
        let Value::Text(text) = &node.value else {
            return self.wrong_kind(node, piece, key);
        };
        let rules = resolved(piece);
        let shown: String = text.chars().take(64).collect();
        let shown = shown.escape_debug();
        let words = repair::words(rules);
        if !words.is_empty() && !words.contains(&text.as_str()) {
            let meant = nearest(text, words.iter().copied());
            let meant = meant.map(|word| format!("; did you mean '{word}'?"));
            let what = format!(
                "is '{shown}'; allowed: {}{}",
                words.join(", "),
                meant.unwrap_or_default()
            );
            self.errors.at(key, what).placed(node.place.clone());
            return false;
        }
        let form = rules["format"].as_str().and_then(texts::form);
        if let Some(form) = form.filter(|form| !(form.fits)(text)) {
            let what = format!("is '{shown}'; {}", form.allowed);
            self.errors.at(key, what).placed(node.place.clone());
            return false;
        }
        true
    }

    /// Says what kind of value is allowed. The value itself isn't told: it may be a secret in the wrong
    /// place.
    fn wrong_kind(&mut self, node: &Node, piece: &Json, key: &str) -> bool {
        let is = match node.value {
            Value::Text(_) => "text",
            Value::Whole(_) => "a whole number",
            Value::Broken(_) => "a broken number",
            Value::Truth(_) => "true or false",
            Value::Moment => "a date, or lies too deep",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        };
        let allowed = repair::kind(resolved(piece));
        let what = format!("is {is}; {allowed} is allowed, as in {}", example(piece));
        self.errors.at(key, what).placed(node.place.clone());
        false
    }

    /// The text from a value on.
    fn written(&self, node: &Node) -> &str {
        self.text.get(node.place.start..).unwrap_or_default()
    }

    /// Whether something of a table or list couldn't be read.
    fn lacks(&self, node: &Node) -> bool {
        let Range { start, end } = node.place.clone();
        let written = self.written(node);
        let end = match &node.value {
            Value::Table(_) if start == end => next_header(self.text),
            Value::Table(_) if written.starts_with('[') => {
                let header = written.find('\n').map_or(written.len(), |end| end + 1);
                start + header + next_header(&written[header..])
            }
            Value::Table(_) | Value::List(_) => end,
            _ => return false,
        };
        let mut left_out = self.left_out.iter();
        left_out.any(|part| part.start < end && start <= part.start)
    }
}

fn joined(key: &str, name: &str) -> String {
    match key {
        "" => name.to_owned(),
        key => format!("{key}.{name}"),
    }
}

fn span(least: &Json, most: &Json) -> String {
    match (least.as_u64(), most.as_u64()) {
        (Some(least), Some(most)) if least == most => format!("{least} are"),
        (least, Some(most)) => format!("{} to {most} are", least.unwrap_or(0)),
        (least, None) => format!("{} or more are", least.unwrap_or(0)),
    }
}

/// What to do about a key that isn't known.
fn unknown(key: &str, meant: Option<&str>, known: &Map<String, Json>) -> String {
    let mut what = "isn't known".to_owned();
    if let Some(meant) = meant {
        what.push_str(&format!("; did you mean '{meant}'?"));
    } else if let Some(home) = home(key) {
        what.push_str(&format!("; it belongs {home}"));
    }
    if known.len() <= NAMED_MOST {
        let known: Vec<&str> = known.keys().map(String::as_str).collect();
        what.push_str(&format!("; allowed: {}", known.join(", ")));
    } else if meant.is_none() {
        what.push_str("; remove it, or see 'linli config schema' for all that is allowed");
    }
    what
}

/// The section that a key belongs to, if just one has it.
fn home(key: &str) -> Option<String> {
    let top = schema()["properties"].as_object()?;
    if top.contains_key(key) {
        return Some("to the top of the file, before the first [section]".to_owned());
    }
    let mut homes = top.iter().filter_map(|(name, piece)| {
        let rules = resolved(piece);
        let (rules, home) = match rules["type"] == "array" {
            true => (resolved(&rules["items"]), format!("to [[{name}]]")),
            false => (rules, format!("to [{name}]")),
        };
        rules["properties"].get(key).map(|_| home)
    });
    let home = homes.next()?;
    homes.next().is_none().then_some(home)
}
