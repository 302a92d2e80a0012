//! Non-interference: what may not be told must make no difference to what is told.
//!
//! A tree is disguised by exchanging everything personal in it for something else of the same shape.
//! If the original is refused, the disguised one must be refused in the very same words: then the
//! words say nothing about the person.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use firmware_protocols::Value;
use firmware_protocols::value::Key;

/// The fields of a command that are byte strings: text in JSON.
pub const KEYS: &[&str] = &["salt", "digest"];

/// The fields of an event that hold digits typed, a card's number, a badge or a name.
pub const PERSONAL: &[&str] = &["code", "credential", "household", "symbol"];

/// The tree with the digits under `keys` exchanged, at any depth. `None` if nothing was.
pub fn disguised(tree: &Value, keys: &[&str]) -> Option<Value> {
    let mut other = tree.clone();
    walk(&mut other, keys);
    (!super::tree::same(&other, tree)).then_some(other)
}

fn walk(value: &mut Value, keys: &[&str]) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, keys)),
        Value::Map(entries) => {
            for (key, value) in entries {
                match key {
                    Key::Text(key) if keys.contains(&key.as_str()) => exchange(key, value),
                    _ => walk(value, keys),
                }
            }
        }
        _ => {}
    }
}

/// Another value of the same kind, the same length and the same standing: digits stay digits.
fn exchange(key: &str, value: &mut Value) {
    match value {
        Value::Text(text) if KEYS.contains(&key) => {
            if let Ok(mut bytes) = URL_SAFE_NO_PAD.decode(&text) {
                bytes.iter_mut().for_each(|byte| *byte ^= 1);
                *text = URL_SAFE_NO_PAD.encode(bytes);
            }
        }
        Value::Text(text) => *text = text.chars().map(turned).collect(),
        Value::Bytes(bytes) => bytes.iter_mut().for_each(|byte| *byte ^= 1),
        Value::Int(n) if (100_000..=899_999).contains(n) => *n += 100_000,
        _ => {}
    }
}

fn turned(c: char) -> char {
    match c.to_digit(10) {
        Some(digit) => char::from_digit((digit + 1) % 10, 10).unwrap_or(c),
        None => c,
    }
}
