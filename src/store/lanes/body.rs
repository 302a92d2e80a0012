//! An item as it stands in a row: CBOR without its number, its code apart and sealed.

use cloud_protocol::{CodeForResident, Item, Report};
use firmware_protocols::Value;
use firmware_protocols::event::Secret;
use firmware_protocols::value::Key;

use super::damaged;
use crate::keys::StoreKey;
use crate::store::StoreError;

/// The body of an item. A code that is plain isn't in it.
pub(super) fn encode(item: &Item) -> Vec<u8> {
    let value = match item.to_value() {
        Value::Map(entries) => Value::Map(without_seq(entries)),
        other => other,
    };
    value.to_cbor()
}

/// The item of a body, with its number.
pub(super) fn decode(body: &[u8], seq: u64) -> Result<Item, StoreError> {
    let value = Value::from_cbor(body).map_err(damaged)?;
    let Value::Map(entries) = value else {
        return Err(damaged("the item isn't a map"));
    };
    // Rows of an older version have a number; it doesn't count any more.
    let mut entries = without_seq(entries);
    entries.push((Key::Text("seq".to_owned()), seq.into()));
    Item::from_value(&Value::Map(entries)).map_err(damaged)
}

/// Takes the plain code out of a report.
pub(super) fn part_from_code(report: &mut Report) -> Option<Secret> {
    let Report::Parcel(report) = report else {
        return None;
    };
    match report.code.take() {
        Some(CodeForResident::Plain(digits)) => Some(digits),
        sealed => {
            report.code = sealed;
            None
        }
    }
}

/// The digits of a code that is sealed to the store's key.
pub(super) fn open(secret: &[u8], key: &StoreKey) -> Result<Secret, StoreError> {
    let open = key.open(secret).map_err(damaged)?;
    if open.iter().all(u8::is_ascii_digit) {
        return String::from_utf8(open).map(Secret::new).map_err(damaged);
    }
    // As an older version wrote it: a map with digits and salt.
    let code = Value::from_cbor(&open).map_err(|_| damaged("a code can't be read"))?;
    match code.get("digits") {
        Some(Value::Text(digits)) => Ok(Secret::new(digits.as_str())),
        _ => Err(damaged("a code has no digits")),
    }
}

fn without_seq(mut entries: Vec<(Key, Value)>) -> Vec<(Key, Value)> {
    entries.retain(|(key, _)| !matches!(key, Key::Text(name) if name == "seq"));
    entries
}
