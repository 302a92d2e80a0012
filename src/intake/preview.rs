//! The beginning of a malformed payload, for the technician, with everything personal masked.

use firmware_protocols::value::{Key, Value};

/// The longest preview, in characters.
const PREVIEW_MAX: usize = 256;
/// The most digits that may stay together.
const DIGITS_MAX: usize = 3;
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
            plain(&String::from_utf8_lossy(start))
        }
    };
    text.chars().take(PREVIEW_MAX).collect()
}

/// What isn't personal by its name may still be what somebody typed: a number, a text, a name of its
/// own, or digits one by one in an array. So no more than three digits of anything stay together.
fn mask(value: Value) -> Value {
    match value {
        Value::Array(items) => {
            let mask_item = |item| match item {
                Value::Int(_) | Value::Float(_) => Value::from("#"),
                other => mask(other),
            };
            Value::Array(items.into_iter().map(mask_item).collect())
        }
        Value::Map(entries) => Value::Map(entries.into_iter().map(mask_entry).collect()),
        Value::Int(n) if !(0..1000).contains(&n) => Value::from("#"),
        Value::Float(x) if tells(&x.to_string()) => Value::from("#"),
        Value::Text(text) => Value::from(plain(&text)),
        Value::Bytes(_) => Value::from("bytes"),
        other => other,
    }
}

fn mask_entry((key, value): (Key, Value)) -> (Key, Value) {
    let personal = matches!(&key, Key::Text(text) if personal(text));
    let value = if personal {
        Value::from("***")
    } else {
        mask(value)
    };
    let key = match key {
        Key::Text(text) if tells(&text) || text.chars().any(char::is_control) => {
            Key::Text(plain(&text))
        }
        Key::Int(n) if tells(&n.to_string()) => Key::Text("#".to_owned()),
        key => key,
    };
    (key, value)
}

/// Whether there are enough digits in a text for a code.
fn tells(text: &str) -> bool {
    text.chars().filter(|c| c.is_numeric()).count() > DIGITS_MAX
}

/// Without digits and control characters.
fn plain(text: &str) -> String {
    let shown = |c: char| match c {
        _ if c.is_numeric() => '#',
        _ if c.is_control() => '·',
        _ => c,
    };
    text.chars().map(shown).collect()
}

fn personal(key: &str) -> bool {
    let key = key.to_lowercase();
    PERSONAL.iter().any(|word| key.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by the fuzz target `intake`: what a keypad of strange firmware may call its digits.
    #[test]
    fn digits_are_masked_whatever_they_are_and_are_called() {
        for payload in [
            r#"{"kind":"keypad","boot":1,"seq":1,"pin":"482915"}"#,
            r#"{"kind":"keypad","boot":1,"seq":1,"pin":482915}"#,
            r#"{"kind":"keypad","boot":1,"seq":1,"pin":482915.0}"#,
            r#"{"kind":"keypad","boot":1,"seq":1,"pin":4.82915}"#,
            r#"{"kind":"keypad","boot":1,"seq":1,"pin":[4,8,2,9,1,5]}"#,
            r#"{"kind":"keypad","boot":1,"seq":1,"482915":true}"#,
            r#"{"kind":"keypad","boot":1,"seq":1,"Codes":[{"482915":"x"}]}"#,
            r#"{"kind":"keypad","boot":1,"seq":1,"code":"482915","code":""}"#,
        ] {
            let preview = masked(payload.as_bytes());
            let digits: String = preview.chars().filter(char::is_ascii_digit).collect();
            assert!(digits.is_empty() || digits == "11", "{preview}");
        }
        assert_eq!(masked(b"\xa1\x1a\x00\x07\x5e\x63\xf5"), r##"{"#":true}"##);
    }

    #[test]
    fn what_helps_a_technician_stays() {
        let payload =
            br#"{"kind":"reading","boot":12,"seq":900,"senml":[{"n":"t","v":21.5}],"x":null}"#;
        assert_eq!(masked(payload), std::str::from_utf8(payload).unwrap());
    }
}
