//! SenML packs (RFC 8428): checked, and brought to text labels whatever encoding they came in.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use crate::fields::Malformed;
use crate::value::{Key, Value, shown};

/// The most records a pack may hold.
pub const RECORDS_MAX: usize = 256;

/// RFC 8428 § 6, table 4: CBOR label, JSON label, whether the value is a number.
const LABELS: [(i64, &str, Holds); 15] = [
    (-1, "bver", Holds::Number),
    (-2, "bn", Holds::Text),
    (-3, "bt", Holds::Number),
    (-4, "bu", Holds::Text),
    (-5, "bv", Holds::Number),
    (-6, "bs", Holds::Number),
    (0, "n", Holds::Text),
    (1, "u", Holds::Text),
    (2, "v", Holds::Number),
    (3, "vs", Holds::Text),
    (4, "vb", Holds::Flag),
    (5, "s", Holds::Number),
    (6, "t", Holds::Number),
    (7, "ut", Holds::Number),
    (8, "vd", Holds::Bytes),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Number,
    Text,
    Flag,
    Bytes,
}

/// Checks a pack and returns it with text labels. Unknown labels are dropped, unless they end in
/// `_`: those must be understood (RFC 8428 § 4.4), so they make the pack malformed.
pub fn normalise(pack: &Value) -> Result<Value, Malformed> {
    let Value::Array(records) = pack else {
        let got = pack.kind();
        return Err(Malformed::field("senml", "an array of records", got));
    };
    if records.is_empty() || records.len() > RECORDS_MAX {
        let expected = format!("1 to {RECORDS_MAX} records");
        return Err(Malformed::field(
            "senml",
            &expected,
            &records.len().to_string(),
        ));
    }
    let records: Result<Vec<Value>, Malformed> = records.iter().map(record).collect();
    Ok(Value::Array(records?))
}

fn record(value: &Value) -> Result<Value, Malformed> {
    let Value::Map(entries) = value else {
        return Err(Malformed::field("senml", "a map a record", value.kind()));
    };
    let mut out: Vec<(Key, Value)> = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let known = LABELS.iter().find(|(number, name, _)| match key {
            Key::Int(n) => n == number,
            Key::Text(text) => text == name,
        });
        let Some((_, name, holds)) = known else {
            if matches!(key, Key::Text(text) if text.ends_with('_')) {
                return Err(Malformed(format!(
                    "senml: label '{}' isn't understood",
                    shown(key)
                )));
            }
            continue;
        };
        let name = Key::Text((*name).to_string());
        if out.iter().any(|(have, _)| *have == name) {
            return Err(Malformed(format!("senml: duplicate label '{name}'")));
        }
        out.push((name.clone(), field(&name, value, *holds)?));
    }
    if out.is_empty() {
        return Err(Malformed("senml: a record says nothing".to_string()));
    }
    Ok(Value::Map(out))
}

fn field(name: &Key, value: &Value, holds: Holds) -> Result<Value, Malformed> {
    let wrong = |expected| {
        let name = format!("senml {name}");
        Err(Malformed::field(&name, expected, value.kind()))
    };
    match holds {
        Holds::Number => match value {
            Value::Int(_) => Ok(value.clone()),
            Value::Float(x) if x.is_finite() => Ok(value.clone()),
            _ => wrong("a finite number"),
        },
        Holds::Text => match value {
            Value::Text(text) if text.len() <= 256 => Ok(value.clone()),
            _ => wrong("text of at most 256 bytes"),
        },
        Holds::Flag => match value {
            Value::Bool(_) => Ok(value.clone()),
            _ => wrong("true or false"),
        },
        Holds::Bytes => match value.as_bytes() {
            Some(bytes) => Ok(Value::Bytes(bytes)),
            None => wrong("bytes"),
        },
    }
}
