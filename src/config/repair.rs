//! What a piece of the schema allows, in words, and a harmless value that fits it: a stand-in for one
//! that is wrong or missing, so that the rest of a configuration can be judged.

use serde_json::Value as Json;

use super::document::{Entry, Node, Value};
use super::schema::resolved;

/// The words that are allowed, if only some are.
pub(super) fn words(rules: &Json) -> Vec<&str> {
    let enums = rules["enum"].as_array();
    let either = rules["oneOf"].as_array();
    let either = either.into_iter().flatten();
    let of_either = either.flat_map(|one| {
        let more = one["enum"].as_array().into_iter().flatten();
        more.chain(one.get("const")).filter_map(Json::as_str)
    });
    let plain = enums.into_iter().flatten().filter_map(Json::as_str);
    plain.chain(of_either).collect()
}

/// What kind of value is allowed, in words.
pub(super) fn kind(rules: &Json) -> &'static str {
    match rules["type"].as_str() {
        Some("object") => "a table",
        Some("array") => "a list",
        Some("integer") => "a whole number",
        Some("number") => "a number",
        Some("boolean") => "true or false",
        _ => "text in quotes",
    }
}

/// Whether a value is at least of the kind that is allowed.
pub(super) fn same_kind(value: &Value, piece: &Json) -> bool {
    matches!(
        (resolved(piece)["type"].as_str(), value),
        (Some("object"), Value::Table(_))
            | (Some("array"), Value::List(_))
            | (Some("integer" | "number"), Value::Whole(_))
            | (Some("number"), Value::Broken(_))
            | (Some("boolean"), Value::Truth(_))
            | (Some("string") | None, Value::Text(_))
    )
}

/// A value as it could be written.
pub(super) fn example(piece: &Json) -> String {
    let rules = resolved(piece);
    let given = [
        &piece["examples"][0],
        &rules["examples"][0],
        &piece["default"],
    ];
    if let Some(given) = given.into_iter().find(|given| !given.is_null()) {
        return given.to_string();
    }
    match (rules["type"].as_str(), words(rules).first()) {
        (_, Some(word)) => format!("\"{word}\""),
        (Some("object"), _) => "{ … }".to_owned(),
        (Some("array"), _) => format!("[{}]", example(&rules["items"])),
        (Some("integer" | "number"), _) => least(rules).to_string(),
        (Some("boolean"), _) => "true".to_owned(),
        _ => "\"…\"".to_owned(),
    }
}

/// A value that fits. Names and texts are made different by where they stand, so that no two are the
/// same.
pub(super) fn stand_in(piece: &Json, place: usize) -> Value {
    let rules = resolved(piece);
    if let Some(word) = words(rules).first() {
        return Value::Text((*word).to_owned());
    }
    match rules["type"].as_str() {
        Some("object") => {
            let required = rules["required"].as_array();
            let names = required.into_iter().flatten().filter_map(Json::as_str);
            let entries = names.map(|name| Entry {
                key: name.to_owned(),
                key_place: place..place,
                node: node(&rules["properties"][name], place),
            });
            Value::Table(entries.collect())
        }
        Some("array") => {
            let count = rules["minItems"].as_u64().unwrap_or(0).min(16);
            Value::List((0..count).map(|_| node(&rules["items"], place)).collect())
        }
        Some("integer" | "number") => Value::Whole(least(rules).into()),
        Some("boolean") => Value::Truth(false),
        _ if rules["format"] == "linli-address" => Value::Text("127.0.0.1:0".to_owned()),
        _ if rules["format"] == "linli-unit" => Value::Text("Cel".to_owned()),
        _ => Value::Text(format!("repaired-{place}")),
    }
}

fn node(piece: &Json, place: usize) -> Node {
    Node {
        place: place..place,
        value: stand_in(piece, place),
    }
}

/// The smallest number above 0 that is allowed.
fn least(rules: &Json) -> i64 {
    let bound = |name: &str| rules[name].as_i64();
    let least = bound("minimum").unwrap_or(1).max(1);
    bound("maximum").map_or(least, |most| least.min(most))
}
