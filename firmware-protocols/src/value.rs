//! The bounded tree that CBOR (RFC 8949) and JSON (RFC 8259) payloads are read into, and its writers.
//!
//! Both encodings meet here, so that everything above is written once. Reading is strict where a
//! second reader could see something else than we do: a duplicate key, trailing bytes, text that
//! isn't UTF-8 and nesting beyond [`DEPTH_MAX`] are errors. Writing CBOR is always the core
//! deterministic encoding (RFC 8949 § 4.2.1), so a hash over it means something.
//!
//! CBOR tags are skipped (the tagged value is taken), except bignums, which no field of ours uses.
//! Half and single floats widen to double.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use minicbor::data::Type;
use serde::ser::{SerializeMap, SerializeSeq};

#[path = "value_json.rs"]
mod json;

/// The deepest nesting that is read: arrays and maps within each other, and CBOR's tags with them.
pub const DEPTH_MAX: usize = 16;

/// How much of a key is repeated in an error, in characters: errors are stored and shown.
const KEY_SHOWN_MAX: usize = 64;

/// Which of the two encodings a payload is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Form {
    /// RFC 8949.
    #[default]
    Cbor,
    /// RFC 8259; byte strings are base64url without padding.
    Json,
}

impl Form {
    /// The first byte of a payload tells: `{` or `[` is JSON, all else CBOR.
    pub fn of(payload: &[u8]) -> Self {
        match payload.first() {
            Some(b'{' | b'[') => Self::Json,
            _ => Self::Cbor,
        }
    }
}

/// A map's key: text, or an integer (SenML's labels in CBOR).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A text key.
    Text(String),
    /// An integer key.
    Int(i64),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Int(n) => write!(f, "{n}"),
        }
    }
}

/// A decoded value. Maps keep the order in which they were read.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Null, or CBOR's undefined.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer from −2⁶³ to 2⁶⁴−1.
    Int(i128),
    /// A finite or non-finite double.
    Float(f64),
    /// A byte string; in JSON it is a [`Value::Text`] until a field asks for bytes.
    Bytes(Vec<u8>),
    /// A text string.
    Text(String),
    /// An array.
    Array(Vec<Value>),
    /// A map without duplicate keys.
    Map(Vec<(Key, Value)>),
}

/// Why a payload can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Not well-formed CBOR.
    #[error("not well-formed CBOR: {0}")]
    Cbor(String),
    /// Not well-formed JSON.
    #[error("not well-formed JSON: {0}")]
    Json(String),
    /// One map names a key twice.
    #[error("duplicate key '{0}'")]
    DuplicateKey(String),
    /// A key that is neither text nor an integer.
    #[error("a map key is {0}, expected text or an integer")]
    Key(&'static str),
    /// Arrays and maps nested too deep.
    #[error("nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// Bytes follow the value.
    #[error("{0} bytes follow the value")]
    Trailing(usize),
    /// An integer that fits neither i64 nor u64, or a simple value without a meaning.
    #[error("a value that no field can hold: {0}")]
    Unsupported(&'static str),
    /// Nothing there.
    #[error("empty payload")]
    Empty,
}

impl Value {
    /// Reads one whole payload in the form that its first byte tells.
    pub fn read(payload: &[u8]) -> Result<Self, ReadError> {
        if payload.is_empty() {
            return Err(ReadError::Empty);
        }
        match Form::of(payload) {
            Form::Json => Self::from_json(payload),
            Form::Cbor => Self::from_cbor(payload),
        }
    }

    /// Reads one whole CBOR data item.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, ReadError> {
        let mut decoder = minicbor::Decoder::new(bytes);
        let value = read_cbor(&mut decoder, 0)?;
        match bytes.len().saturating_sub(decoder.position()) {
            0 => Ok(value),
            rest => Err(ReadError::Trailing(rest)),
        }
    }

    /// Reads one whole JSON text.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ReadError> {
        json::read(bytes)
    }

    /// Writes the value in `form`.
    pub fn write(&self, form: Form) -> Vec<u8> {
        match form {
            Form::Cbor => self.to_cbor(),
            Form::Json => self.to_json().into_bytes(),
        }
    }

    /// The core deterministic encoding (RFC 8949 § 4.2.1): shortest heads and floats, keys sorted
    /// by their encoded bytes.
    pub fn to_cbor(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        write_cbor(self, &mut out);
        out
    }

    /// JSON text; byte strings as base64url without padding, integer keys as text, non-finite
    /// numbers as null.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What kind of value this is, for error messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Bytes(_) => "a byte string",
            Self::Text(_) => "text",
            Self::Array(_) => "an array",
            Self::Map(_) => "a map",
        }
    }

    /// The value under a text key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else {
            return None;
        };
        entries
            .iter()
            .find_map(|(k, v)| matches!(k, Key::Text(text) if text == key).then_some(v))
    }

    /// The bytes of a byte string, or of the base64url text that stands for one in JSON.
    pub fn as_bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Some(bytes.clone()),
            Self::Text(text) => URL_SAFE_NO_PAD.decode(text).ok(),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_string())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

macro_rules! from_int {
    ($($int:ty),*) => {$(
        impl From<$int> for Value {
            fn from(n: $int) -> Self {
                Self::Int(i128::from(n))
            }
        }
    )*};
}
from_int!(u8, u16, u32, u64, i32, i64);

/// A map with text keys, from pairs; a `None` value leaves its key out.
pub fn map<const N: usize>(entries: [(&str, Option<Value>); N]) -> Value {
    Value::Map(
        entries
            .into_iter()
            .filter_map(|(key, value)| Some((Key::Text(key.to_string()), value?)))
            .collect(),
    )
}

fn read_cbor(d: &mut minicbor::Decoder<'_>, depth: usize) -> Result<Value, ReadError> {
    let wrong = |e: minicbor::decode::Error| ReadError::Cbor(e.to_string());
    Ok(match d.datatype().map_err(wrong)? {
        Type::Null => {
            d.null().map_err(wrong)?;
            Value::Null
        }
        Type::Undefined => {
            d.undefined().map_err(wrong)?;
            Value::Null
        }
        Type::Bool => Value::Bool(d.bool().map_err(wrong)?),
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => {
            Value::Int(i128::from(d.u64().map_err(wrong)?))
        }
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => {
            Value::Int(i128::from(d.i64().map_err(wrong)?))
        }
        Type::Int => return Err(ReadError::Unsupported("an integer below -2^63")),
        Type::F16 => Value::Float(f64::from(half(d)?)),
        Type::F32 => Value::Float(f64::from(d.f32().map_err(wrong)?)),
        Type::F64 => Value::Float(d.f64().map_err(wrong)?),
        Type::Bytes => Value::Bytes(d.bytes().map_err(wrong)?.to_vec()),
        Type::String => Value::Text(d.str().map_err(wrong)?.to_string()),
        Type::BytesIndef => {
            let mut all = Vec::new();
            for part in d.bytes_iter().map_err(wrong)? {
                all.extend_from_slice(part.map_err(wrong)?);
            }
            Value::Bytes(all)
        }
        Type::StringIndef => {
            let mut all = String::new();
            for part in d.str_iter().map_err(wrong)? {
                all.push_str(part.map_err(wrong)?);
            }
            Value::Text(all)
        }
        Type::Array | Type::ArrayIndef => read_cbor_array(d, depth)?,
        Type::Map | Type::MapIndef => read_cbor_map(d, depth)?,
        Type::Tag => {
            d.tag().map_err(wrong)?;
            read_cbor(d, inner(depth)?)?
        }
        Type::Simple | Type::Break | Type::Unknown(_) => {
            return Err(ReadError::Unsupported("a simple value"));
        }
    })
}

fn half(d: &mut minicbor::Decoder<'_>) -> Result<f32, ReadError> {
    let at = d.position();
    let bits = d.input().get(at + 1..at + 3);
    let Some(&[high, low]) = bits else {
        return Err(ReadError::Cbor("end of input".to_string()));
    };
    d.set_position(at + 3);
    Ok(widen_half(u16::from_be_bytes([high, low])))
}

/// RFC 8949, appendix D, without floating-point functions that `core` lacks.
fn widen_half(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let exponent = u32::from(bits >> 10 & 0x1f);
    let mantissa = u32::from(bits & 0x3ff);
    match (exponent, mantissa) {
        (0, m) => {
            let magnitude = m as f32 / 16_777_216.0;
            if sign == 0 { magnitude } else { -magnitude }
        }
        (0x1f, m) => f32::from_bits(sign | 0x7f80_0000 | m << 13),
        (e, m) => f32::from_bits(sign | (e + 112) << 23 | m << 13),
    }
}

fn read_cbor_array(d: &mut minicbor::Decoder<'_>, depth: usize) -> Result<Value, ReadError> {
    let wrong = |e: minicbor::decode::Error| ReadError::Cbor(e.to_string());
    let depth = inner(depth)?;
    let len = d.array().map_err(wrong)?;
    let mut items = Vec::new();
    while more(d, len, items.len())? {
        items.push(read_cbor(d, depth)?);
    }
    Ok(Value::Array(items))
}

fn read_cbor_map(d: &mut minicbor::Decoder<'_>, depth: usize) -> Result<Value, ReadError> {
    let wrong = |e: minicbor::decode::Error| ReadError::Cbor(e.to_string());
    let depth = inner(depth)?;
    let len = d.map().map_err(wrong)?;
    let mut entries = Vec::new();
    while more(d, len, entries.len())? {
        let key = match read_cbor(d, depth)? {
            Value::Text(text) => Key::Text(text),
            Value::Int(n) => Key::Int(
                i64::try_from(n).map_err(|_| ReadError::Unsupported("an integer key over 2^63"))?,
            ),
            other => return Err(ReadError::Key(other.kind())),
        };
        let value = read_cbor(d, depth)?;
        entries.push((key, value));
    }
    unique(&entries).map_err(|key| ReadError::DuplicateKey(shown(key)))?;
    Ok(Value::Map(entries))
}

/// The depth of what stands in an array, a map or a tag at `depth`.
fn inner(depth: usize) -> Result<usize, ReadError> {
    if depth >= DEPTH_MAX {
        return Err(ReadError::TooDeep);
    }
    Ok(depth + 1)
}

/// A key as it is shown in an error.
pub(crate) fn shown(key: &Key) -> String {
    key.to_string().chars().take(KEY_SHOWN_MAX).collect()
}

/// Whether another element follows; takes the break of an indefinite length.
fn more(d: &mut minicbor::Decoder<'_>, len: Option<u64>, have: usize) -> Result<bool, ReadError> {
    match len {
        Some(len) => Ok((have as u64) < len),
        None => {
            let next = d.datatype().map_err(|e| ReadError::Cbor(e.to_string()))?;
            if next == Type::Break {
                d.set_position(d.position() + 1);
            }
            Ok(next != Type::Break)
        }
    }
}

/// The key that stands twice, if one does. Sorts when there are many, so the work stays bounded.
fn unique(entries: &[(Key, Value)]) -> Result<(), &Key> {
    if entries.len() <= 16 {
        let mut rest = entries;
        while let [(key, _), tail @ ..] = rest {
            if tail.iter().any(|(other, _)| other == key) {
                return Err(key);
            }
            rest = tail;
        }
        return Ok(());
    }
    let mut keys: Vec<&Key> = entries.iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(pair[0]),
        None => Ok(()),
    }
}

fn write_cbor(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(0xf6),
        Value::Bool(false) => out.push(0xf4),
        Value::Bool(true) => out.push(0xf5),
        Value::Int(n) => write_int(*n, out),
        Value::Float(x) => write_float(*x, out),
        Value::Bytes(bytes) => {
            write_head(2, bytes.len() as u64, out);
            out.extend_from_slice(bytes);
        }
        Value::Text(text) => {
            write_head(3, text.len() as u64, out);
            out.extend_from_slice(text.as_bytes());
        }
        Value::Array(items) => {
            write_head(4, items.len() as u64, out);
            for item in items {
                write_cbor(item, out);
            }
        }
        Value::Map(entries) => {
            let mut sorted: Vec<(Vec<u8>, &Value)> = entries
                .iter()
                .map(|(key, value)| (encoded_key(key), value))
                .collect();
            sorted.sort_by(|a, b| a.0.cmp(&b.0));
            write_head(5, sorted.len() as u64, out);
            for (key, value) in sorted {
                out.extend_from_slice(&key);
                write_cbor(value, out);
            }
        }
    }
}

fn encoded_key(key: &Key) -> Vec<u8> {
    let mut out = Vec::with_capacity(16);
    match key {
        Key::Text(text) => {
            write_head(3, text.len() as u64, &mut out);
            out.extend_from_slice(text.as_bytes());
        }
        Key::Int(n) => write_int(i128::from(*n), &mut out),
    }
    out
}

fn write_int(n: i128, out: &mut Vec<u8>) {
    if n >= 0 {
        write_head(0, u64::try_from(n).unwrap_or(u64::MAX), out);
    } else {
        write_head(1, u64::try_from(-1 - n).unwrap_or(u64::MAX), out);
    }
}

fn write_head(major: u8, argument: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    let bytes = argument.to_be_bytes();
    match argument {
        0..=23 => out.push(major | bytes[7]),
        24..=0xff => out.extend_from_slice(&[major | 24, bytes[7]]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend_from_slice(&bytes[6..]);
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend_from_slice(&bytes[4..]);
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&bytes);
        }
    }
}

fn write_float(x: f64, out: &mut Vec<u8>) {
    if x.is_nan() {
        out.extend_from_slice(&[0xf9, 0x7e, 0x00]);
        return;
    }
    let single = x as f32;
    if f64::from(single).to_bits() != x.to_bits() {
        out.push(0xfb);
        out.extend_from_slice(&x.to_bits().to_be_bytes());
        return;
    }
    if let Some(half) = narrow_to_half(single) {
        out.push(0xf9);
        out.extend_from_slice(&half.to_be_bytes());
        return;
    }
    out.push(0xfa);
    out.extend_from_slice(&single.to_bits().to_be_bytes());
}

/// The half-precision bits that widen back to exactly `x`, if there are any.
fn narrow_to_half(x: f32) -> Option<u16> {
    let bits = x.to_bits();
    let sign = u16::try_from(bits >> 16 & 0x8000).unwrap_or(0);
    let exponent = (bits >> 23 & 0xff) as i32 - 127;
    let mantissa = bits & 0x7f_ffff;
    let magnitude = if bits & 0x7fff_ffff == 0 {
        0
    } else if exponent == 128 {
        0x7c00
    } else if (-14..=15).contains(&exponent) && mantissa & 0x1fff == 0 {
        u16::try_from((exponent + 15) << 10).ok()? | u16::try_from(mantissa >> 13).ok()?
    } else if (-24..-14).contains(&exponent) {
        let shift = (-exponent - 1) as u32;
        let whole = mantissa | 0x80_0000;
        if whole & ((1 << shift) - 1) != 0 {
            return None;
        }
        u16::try_from(whole >> shift).ok()?
    } else {
        return None;
    };
    Some(sign | magnitude)
}

/// Serialises for people and for serde-based writers; bytes become base64url text.
impl serde::Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => s.serialize_unit(),
            Self::Bool(b) => s.serialize_bool(*b),
            Self::Int(n) => match (u64::try_from(*n), i64::try_from(*n)) {
                (Ok(n), _) => s.serialize_u64(n),
                (_, Ok(n)) => s.serialize_i64(n),
                _ => s.serialize_f64(*n as f64),
            },
            Self::Float(x) => s.serialize_f64(*x),
            Self::Bytes(bytes) => s.serialize_str(&URL_SAFE_NO_PAD.encode(bytes)),
            Self::Text(text) => s.serialize_str(text),
            Self::Array(items) => {
                let mut seq = s.serialize_seq(Some(items.len()))?;
                for item in items {
                    seq.serialize_element(item)?;
                }
                seq.end()
            }
            Self::Map(entries) => {
                let mut map = s.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(&key.to_string(), value)?;
                }
                map.end()
            }
        }
    }
}

#[cfg(test)]
#[path = "value_tests.rs"]
mod tests;
