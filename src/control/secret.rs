//! A pickup code on the socket: its text goes over the wire and to the person who asked, and
//! nowhere else.

use std::fmt;

use firmware_protocols::event::Secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most digits of a code.
pub const CODE_MAX_DIGITS: usize = 16;

/// A pickup code. `Debug` masks it, and no error of reading one repeats it.
#[derive(Clone, PartialEq, Eq)]
pub struct PickupCode(Secret);

impl PickupCode {
    /// Wraps what somebody typed or was issued.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Secret::new(text))
    }

    /// The text itself. Show it to the person who asked; don't store or log it.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }

    /// Its digits without the spaces and dashes by which people group them, full-width ones as the
    /// plain ones that they stand for; `None` unless they are 1 to [`CODE_MAX_DIGITS`].
    pub fn digits(&self) -> Option<Secret> {
        let kept = |c: &char| !c.is_whitespace() && !matches!(c, '-' | '－');
        let typed = self.reveal().chars().filter(kept);
        let digits: String = typed.map(plain).collect();
        let sound = (1..=CODE_MAX_DIGITS).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit());
        sound.then(|| Secret::new(digits))
    }
}

/// A full-width digit (U+FF10 to U+FF19), as a Chinese input method types it, as the plain one.
fn plain(c: char) -> char {
    match u32::from(c) {
        full @ 0xFF10..=0xFF19 => char::from_digit(full - 0xFF10, 10).unwrap_or(c),
        _ => c,
    }
}

impl From<Secret> for PickupCode {
    fn from(secret: Secret) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for PickupCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for PickupCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.reveal())
    }
}

impl<'de> Deserialize<'de> for PickupCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // By way of any value: serde's own error would repeat what stands there.
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Self::new(text)),
            _ => Err(serde::de::Error::custom("a code is text")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_digits_however_they_are_grouped() {
        let digits = |text: &str| {
            let digits = PickupCode::new(text).digits();
            digits.map(|digits| digits.reveal().to_string())
        };
        assert_eq!(digits("12 34-56\n").as_deref(), Some("123456"));
        assert_eq!(
            digits("1234567812345678").as_deref(),
            Some("1234567812345678")
        );
        assert_eq!(digits("１２３４－０９　８").as_deref(), Some("1234098"));
        for wrong in ["", " - ", "12345678123456780", "12a4", "١٢٣", "+12"] {
            assert_eq!(digits(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn neither_debug_nor_an_error_shows_it() {
        let code = PickupCode::new("482915");
        assert_eq!(format!("{code:?}"), "***");
        let error = serde_json::from_str::<PickupCode>("482915").unwrap_err();
        assert!(!error.to_string().contains("4829"), "{error}");
        assert_eq!(serde_json::to_string(&code).unwrap(), "\"482915\"");
    }
}
