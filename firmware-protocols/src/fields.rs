//! Typed access to the fields of a map, with errors that name the field and what it should hold.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::value::Value;
use crate::{Ident, ident};

/// Why a map isn't what it should be: which field, what was expected, what was there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

impl Malformed {
    /// A field that is there but wrong.
    pub fn field(name: &str, expected: &str, got: &str) -> Self {
        Self(format!("field '{name}': expected {expected}, got {got}"))
    }
}

impl From<crate::value::ReadError> for Malformed {
    fn from(e: crate::value::ReadError) -> Self {
        Self(e.to_string())
    }
}

/// A map whose fields are asked for by name. Unknown fields are ignored: newer firmware may say more.
#[derive(Clone, Copy)]
pub struct Fields<'a>(&'a Value);

impl<'a> Fields<'a> {
    /// Takes `value` as a map.
    pub fn of(value: &'a Value) -> Result<Self, Malformed> {
        match value {
            Value::Map(_) => Ok(Self(value)),
            other => Err(Malformed(format!("expected a map, got {}", other.kind()))),
        }
    }

    /// The raw value of a field; null counts as absent.
    pub fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| **value != Value::Null)
    }

    /// The raw value of a field that must be there.
    pub fn need(self, name: &str) -> Result<&'a Value, Malformed> {
        self.get(name)
            .ok_or_else(|| Malformed(format!("field '{name}' is missing")))
    }

    /// Text of 1 to `max` characters.
    pub fn text(self, name: &str, max: usize) -> Result<&'a str, Malformed> {
        text(name, self.need(name)?, max)
    }

    /// Optional text of 1 to `max` characters.
    pub fn text_opt(self, name: &str, max: usize) -> Result<Option<&'a str>, Malformed> {
        self.get(name).map(|v| text(name, v, max)).transpose()
    }

    /// An unsigned integer from `min` to `max`.
    pub fn uint(self, name: &str, min: u64, max: u64) -> Result<u64, Malformed> {
        uint(name, self.need(name)?, min, max)
    }

    /// An optional unsigned integer from `min` to `max`.
    pub fn uint_opt(self, name: &str, min: u64, max: u64) -> Result<Option<u64>, Malformed> {
        self.get(name).map(|v| uint(name, v, min, max)).transpose()
    }

    /// An optional boolean.
    pub fn bool_opt(self, name: &str) -> Result<Option<bool>, Malformed> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(Malformed::field(name, "true or false", other.kind())),
        }
    }

    /// An identifier.
    pub fn ident(self, name: &str) -> Result<Ident, Malformed> {
        let text = self.text(name, ident::Ident::MAX_LEN)?;
        Ident::new(text).map_err(|e| Malformed(format!("field '{name}': {e}")))
    }

    /// One of a closed set of words.
    pub fn word<T: Copy>(self, name: &str, words: &[(&str, T)]) -> Result<T, Malformed> {
        self.word_opt(name, words)?
            .ok_or_else(|| Malformed(format!("field '{name}' is missing")))
    }

    /// Optionally one of a closed set of words.
    pub fn word_opt<T: Copy>(
        self,
        name: &str,
        words: &[(&str, T)],
    ) -> Result<Option<T>, Malformed> {
        let Some(text) = self.text_opt(name, 64)? else {
            return Ok(None);
        };
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, meaning)) => Ok(Some(*meaning)),
            None => {
                let allowed: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                let allowed = format!("one of {}", allowed.join(", "));
                Err(Malformed::field(name, &allowed, &format!("'{text}'")))
            }
        }
    }
}

fn text<'a>(name: &str, value: &'a Value, max: usize) -> Result<&'a str, Malformed> {
    let expected = || format!("text of 1 to {max} characters");
    let Value::Text(text) = value else {
        return Err(Malformed::field(name, &expected(), value.kind()));
    };
    let length = text.chars().count();
    if length == 0 || length > max {
        let got = format!("{length} characters");
        return Err(Malformed::field(name, &expected(), &got));
    }
    if text.contains('\0') {
        return Err(Malformed::field(name, "text", "text with a NUL"));
    }
    Ok(text)
}

fn uint(name: &str, value: &Value, min: u64, max: u64) -> Result<u64, Malformed> {
    let expected = || format!("an integer from {min} to {max}");
    let Value::Int(n) = value else {
        return Err(Malformed::field(name, &expected(), value.kind()));
    };
    match u64::try_from(*n) {
        Ok(n) if (min..=max).contains(&n) => Ok(n),
        _ => Err(Malformed::field(name, &expected(), &n.to_string())),
    }
}
