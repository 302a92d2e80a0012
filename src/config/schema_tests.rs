//! The schema that is shipped, and all that must fit it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::schema::{resolved, schema};
use super::{Config, texts};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn the_shipped_schema_is_that_of_the_types() {
    let text = fs::read_to_string(here("config/linli.schema.json")).unwrap_or_default();
    let shipped: Json = serde_json::from_str(&text).unwrap_or_default();
    assert!(
        shipped == *schema(),
        "config/linli.schema.json isn't that of the types any more: cargo run --bin linli -- config schema > config/linli.schema.json"
    );
}

#[test]
fn every_table_is_closed_and_every_key_is_described() {
    let mut tables = vec![(String::new(), schema())];
    let mut keys = 0;
    while let Some((name, table)) = tables.pop() {
        assert_eq!(table["additionalProperties"], false, "{name}");
        let Some(properties) = table["properties"].as_object() else {
            panic!("{name} has no keys");
        };
        for (key, piece) in properties {
            let name = format!("{name}.{key}");
            keys += 1;
            let description = piece["description"].as_str().unwrap_or_default();
            assert!(description.len() > 5, "{name} isn't described");
            assert!(
                !description.contains("[`"),
                "{name} speaks of Rust: {description}"
            );
            let mut piece = resolved(piece);
            if piece["type"] == "array" {
                piece = resolved(&piece["items"]);
            }
            if piece["type"] == "object" {
                tables.push((name, piece));
            } else {
                let known = ["string", "integer", "number", "boolean"];
                let is_known = known.iter().any(|known| piece["type"] == *known);
                assert!(is_known || piece["oneOf"].is_array(), "{name}: {piece}");
                let form = piece["format"].as_str();
                assert!(
                    form.is_none_or(|form| texts::form(form).is_some()),
                    "{name}"
                );
            }
        }
    }
    assert!(keys > 100, "{keys}");
}

#[test]
fn the_example_and_every_whole_configuration_in_the_docs_are_good() {
    let good = |place: &str, text: &str| {
        if let Err(errors) = Config::parse(text) {
            panic!("{place}: {}", errors.join("\n"));
        }
    };
    good(
        "config/linli.toml",
        &fs::read_to_string(here("config/linli.toml")).unwrap(),
    );
    let mut folders = vec![here("."), here("docs"), here("firmware-protocols")];
    let mut blocks = 0;
    while let Some(folder) = folders.pop() {
        for file in fs::read_dir(&folder).unwrap() {
            let file = file.unwrap().path();
            if file.extension().is_none_or(|end| end != "md") {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            for block in text.split("```toml\n").skip(1) {
                blocks += 1;
                let block = block.split("```").next().unwrap();
                let whole = block.lines().any(|line| line.starts_with("site ="));
                if whole && !block.contains('…') {
                    good(&file.display().to_string(), block);
                }
            }
        }
    }
    assert!(blocks > 3, "where are the docs?");
}

/// The example shows what can be set: what is commented out there is good, too.
#[test]
fn what_is_commented_out_in_the_example_is_good_too() {
    let text = fs::read_to_string(here("config/linli.toml")).unwrap();
    let mut shown = 0;
    let lines = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(setting) if setting.contains(" = ") || setting.starts_with("[cloud") => {
            shown += 1;
            setting
        }
        _ => line,
    });
    // Of the two brokers one.
    let lines: Vec<&str> = lines
        .filter(|line| {
            !["url = \"mqtt", "username", "password_file"]
                .iter()
                .any(|key| line.starts_with(key))
        })
        .collect();
    if let Err(errors) = Config::parse(&lines.join("\n")) {
        panic!("{}", errors.join("\n"));
    }
    assert!(shown > 8, "{shown}");
}
