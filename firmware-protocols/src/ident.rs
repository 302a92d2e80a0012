//! Identifiers: sites, devices, banks, buildings and doors are named alike everywhere.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::borrow::Borrow;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A name of the form `[a-z0-9][a-z0-9-]{0,62}`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ident(Arc<str>);

/// A text that isn't an [`Ident`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a valid identifier: use 1 to 63 of a-z, 0-9 and '-', not starting with '-'")]
pub struct NotAnIdent(pub String);

impl Ident {
    /// The longest identifier, in characters.
    pub const MAX_LEN: usize = 63;

    /// Takes `text` as an identifier if it has the form of one.
    pub fn new(text: &str) -> Result<Self, NotAnIdent> {
        let bytes = text.as_bytes();
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let valid = match bytes.split_first() {
            Some((first, rest)) => {
                bytes.len() <= Self::MAX_LEN
                    && plain(*first)
                    && rest.iter().all(|b| plain(*b) || *b == b'-')
            }
            None => false,
        };
        if valid {
            Ok(Self(Arc::from(text)))
        } else {
            Err(NotAnIdent(text.chars().take(80).collect()))
        }
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", &self.0)
    }
}

impl FromStr for Ident {
    type Err = NotAnIdent;
    fn from_str(text: &str) -> Result<Self, NotAnIdent> {
        Self::new(text)
    }
}

impl Borrow<str> for Ident {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Ident {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Serialize for Ident {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Ident {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// One compartment of a bank, written `bank-a/7`. Compartments are numbered from 1.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot {
    /// The bank.
    pub bank: Ident,
    /// The compartment's number in the bank, from 1.
    pub compartment: u16,
}

/// A text that isn't a [`Slot`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a compartment: write BANK/NUMBER, as in bank-a/7")]
pub struct NotASlot(pub String);

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bank, self.compartment)
    }
}

impl FromStr for Slot {
    type Err = NotASlot;
    fn from_str(text: &str) -> Result<Self, NotASlot> {
        let wrong = || NotASlot(text.to_string());
        let (bank, number) = text.split_once('/').ok_or_else(wrong)?;
        let compartment: u16 = number.parse().map_err(|_| wrong())?;
        if compartment == 0 {
            return Err(wrong());
        }
        let bank = Ident::new(bank).map_err(|_| wrong())?;
        Ok(Self { bank, compartment })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_one_form() {
        for good in ["a", "0", "bank-a", "b--", &"x".repeat(63)] {
            assert!(Ident::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a/b", "a\0", "a b", "门", &"x".repeat(64)] {
            assert!(Ident::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn slots_read_as_written() {
        let slot: Slot = "bank-a/7".parse().unwrap();
        assert_eq!(slot.to_string(), "bank-a/7");
        for bad in [
            "bank-a",
            "bank-a/0",
            "bank-a/x",
            "/7",
            "Bank/7",
            "bank-a/70000",
        ] {
            assert!(bad.parse::<Slot>().is_err(), "{bad}");
        }
    }
}
