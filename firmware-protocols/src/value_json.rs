//! Reading JSON into the tree: strict about duplicate keys, depth and what follows.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::{DEPTH_MAX, Key, ReadError, Value, shown, unique};

/// Reads one whole JSON text.
pub(super) fn read(bytes: &[u8]) -> Result<Value, ReadError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Seed { depth: 0 }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    value.map_err(json_error)
}

const DUPLICATE: &str = "\u{1}duplicate ";
const DEEP: &str = "\u{1}deep";
const INTEGER: &str = "\u{1}integer";

/// serde_json's errors are text; ours travel through it with a mark.
fn json_error(e: serde_json::Error) -> ReadError {
    let text = e.to_string();
    if let Some(rest) = text.strip_prefix(DUPLICATE) {
        let key = rest.rsplit_once(" at line").map_or(rest, |(key, _)| key);
        return ReadError::DuplicateKey(key.to_string());
    }
    if text.starts_with(DEEP) {
        return ReadError::TooDeep;
    }
    if text.starts_with(INTEGER) {
        return ReadError::Unsupported("an integer over 64 bits");
    }
    ReadError::Json(text)
}

#[derive(Clone, Copy)]
struct Seed {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = Value;
    fn deserialize<D: serde::Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl Seed {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= DEPTH_MAX {
            return Err(E::custom(DEEP));
        }
        Ok(Self {
            depth: self.depth + 1,
        })
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }
    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(Value::Int(i128::from(n)))
    }
    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(Value::Int(i128::from(n)))
    }
    fn visit_f64<E: serde::de::Error>(self, x: f64) -> Result<Value, E> {
        if !x.is_finite() {
            return Err(E::custom(INTEGER));
        }
        Ok(Value::Float(x))
    }
    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_string()))
    }
    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut entries: Vec<(Key, Value)> = Vec::new();
        while let Some(key) = access.next_key::<Box<str>>()? {
            let value = access.next_value_seed(inner)?;
            entries.push((Key::Text(key.into_string()), value));
        }
        unique(&entries)
            .map_err(|key| serde::de::Error::custom(alloc::format!("{DUPLICATE}{}", shown(key))))?;
        Ok(Value::Map(entries))
    }
}
