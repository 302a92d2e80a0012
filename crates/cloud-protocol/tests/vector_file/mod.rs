//! `vectors.json`, as its tests read it.
#![allow(dead_code)]

use cloud_protocol::{CodeForResident, SealedCode};
use firmware_protocols::Value;

/// The document beside it.
pub const DOCUMENT: &str = include_str!("../../SYNC.md");

/// All of it.
pub fn vectors() -> Value {
    Value::from_json(include_bytes!("../../vectors.json")).unwrap()
}

/// An array.
pub fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    match value.get(name) {
        Some(Value::Array(values)) => values,
        other => panic!("'{name}' is {other:?}"),
    }
}

/// A text.
pub fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    match value.get(name) {
        Some(Value::Text(text)) => text,
        other => panic!("'{name}' is {other:?}"),
    }
}

/// An integer.
pub fn int(value: &Value, name: &str) -> i64 {
    match value.get(name) {
        Some(Value::Int(n)) => i64::try_from(*n).unwrap(),
        other => panic!("'{name}' is {other:?}"),
    }
}

/// The bytes of a text in hex.
pub fn bytes(value: &Value, name: &str) -> Vec<u8> {
    let hex = text(value, name);
    let pairs = (0..hex.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

/// As many of them as there must be.
pub fn exactly<const N: usize>(value: &Value, name: &str) -> [u8; N] {
    bytes(value, name).try_into().unwrap()
}

/// Bytes in hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The code of the first item.
pub fn sealed(vector: &Value) -> SealedCode {
    SealedCode {
        key: text(vector, "key").to_string(),
        enc: exactly(vector, "enc"),
        ct: bytes(vector, "ct"),
    }
}

/// The same as an item has it.
pub fn code() -> CodeForResident {
    CodeForResident::Sealed(sealed(&list(&vectors(), "sealed_codes")[0]))
}
