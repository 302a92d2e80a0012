//! The JSON Schema of the configuration. It is derived from the types, so that they are the one
//! definition of what is allowed; the check of a file's structure and editors go by it.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json};

use super::Config;

static SCHEMA: LazyLock<Json> = LazyLock::new(derived);

/// The JSON Schema of the configuration (draft 2020-12).
pub fn schema() -> &'static Json {
    &SCHEMA
}

/// A piece of the schema, with what it refers to looked up.
pub(super) fn resolved(piece: &Json) -> &Json {
    let Some(refers) = piece["$ref"].as_str() else {
        return piece;
    };
    let name = refers.strip_prefix("#/$defs/").unwrap_or_default();
    &SCHEMA["$defs"][name]
}

fn derived() -> Json {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Config>().to_value();
    plain(&mut schema);
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), Json::from("linli.toml"));
    }
    schema
}

/// TOML has no null, and what says so is of no use to anybody; nor are the widths of Rust's numbers.
fn plain(piece: &mut Json) {
    match piece {
        Json::Array(pieces) => pieces.iter_mut().for_each(plain),
        Json::Object(keys) => {
            without_null(keys);
            for (key, piece) in keys.iter_mut() {
                if !matches!(key.as_str(), "default" | "examples" | "enum") {
                    plain(piece);
                }
            }
        }
        _ => {}
    }
}

fn without_null(keys: &mut Map<String, Json>) {
    if let Some(Json::Array(types)) = keys.get_mut("type") {
        types.retain(|of| of != "null");
        if let [of] = &types[..] {
            let of = of.clone();
            keys.insert("type".to_owned(), of);
        }
    }
    if let Some(Json::Array(words)) = keys.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if let Some(Json::Array(pieces)) = keys.get_mut("anyOf") {
        pieces.retain(|piece| piece["type"] != "null");
        if let [Json::Object(only)] = &pieces[..] {
            let only = only.clone();
            keys.remove("anyOf");
            for (key, piece) in only {
                keys.entry(key).or_insert(piece);
            }
        }
    }
    if let Some(Json::Null | Json::Object(_)) = keys.get("default")
        && !keys.contains_key("properties")
    {
        keys.remove("default");
    }
    if let Some(Json::String(format)) = keys.get("format")
        && !format.starts_with("linli-")
    {
        keys.remove("format");
    }
    if let Some(Json::String(words)) = keys.get_mut("description") {
        *words = words
            .replace("\n\n", "\u{0}")
            .replace('\n', " ")
            .replace('\u{0}', "\n");
    }
}
