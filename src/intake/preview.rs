//! The beginning of a malformed payload, for the technician, with everything personal masked.

use firmware_protocols::value::{Key, Value};

/// The longest preview, in characters.
const PREVIEW_MAX: usize = 256;
/// Fields that may hold digits typed, a card's number, a badge or a name.
const PERSONAL: [&str; 4] = ["code", "credential", "household", "symbol"];

/// A payload that can be read as a tree is shown with its personal fields masked. One that can't is
/// shown as text with every digit masked, since nobody can tell which of them were typed.
pub fn masked(payload: &[u8]) -> String {
    let text = match Value::read(payload) {
        Ok(value) if payload.len() <= firmware_protocols::PAYLOAD_MAX_BYTES => {
            mask(value).to_json()
        }
        _ => {
            let start = &payload[..payload.len().min(4 * PREVIEW_MAX)];
            String::from_utf8_lossy(start)
                .chars()
                .map(|c| match c {
                    _ if c.is_numeric() => '#',
                    _ if c.is_control() => '·',
                    _ => c,
                })
                .collect()
        }
    };
    text.chars().take(PREVIEW_MAX).collect()
}

fn mask(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(mask).collect()),
        Value::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| match &key {
                    Key::Text(text) if personal(text) => (key, Value::from("***")),
                    _ => (key, mask(value)),
                })
                .collect(),
        ),
        // A bare number or text may be what somebody typed.
        Value::Int(n) if !(0..1000).contains(&n) => Value::from("#"),
        Value::Text(text) if text.chars().any(char::is_numeric) => Value::from(
            text.chars()
                .map(|c| if c.is_numeric() { '#' } else { c })
                .collect::<String>(),
        ),
        Value::Bytes(bytes) => Value::from(format!("{} bytes", bytes.len())),
        other => other,
    }
}

fn personal(key: &str) -> bool {
    let key = key.to_lowercase();
    PERSONAL.iter().any(|word| key.contains(word))
}
