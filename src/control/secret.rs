//! What is secret on the socket, a pickup code or an enrolment token: its text goes over the wire and
//! to where it is for, and nowhere else.

use std::fmt;

use cloud_protocol::enrol::TOKEN_MAX;
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

/// A one-time enrolment token. `Debug` masks it, and no error of reading one repeats it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Secret);

impl Token {
    /// Takes what somebody typed or a file holds, without the space around it; `None` unless 1 to
    /// [`TOKEN_MAX`] characters are left, without controls.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let sound = (1..=TOKEN_MAX).contains(&text.chars().count());
        let sound = sound && !text.chars().any(char::is_control);
        sound.then(|| Self(Secret::new(text)))
    }

    /// For the sync client.
    pub fn into_secret(self) -> Secret {
        self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.reveal())
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Self::new(&text),
            _ => None,
        };
        let wrong = || serde::de::Error::custom("a token is text of 1 to 256 characters");
        read.ok_or_else(wrong)
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

    #[test]
    fn a_token_is_text_and_stays_hidden() {
        let token = Token::new(" abc-DEF_1 \n").unwrap();
        assert_eq!(format!("{token:?}"), "***");
        assert_eq!(serde_json::to_string(&token).unwrap(), "\"abc-DEF_1\"");
        for wrong in ["", " \n", "a\u{1b}b", &"x".repeat(257)] {
            assert_eq!(Token::new(wrong), None, "{wrong:?}");
        }
        let error = serde_json::from_str::<Token>("\"sec\\nret\"").unwrap_err();
        assert!(!error.to_string().contains("sec"), "{error}");
    }
}
