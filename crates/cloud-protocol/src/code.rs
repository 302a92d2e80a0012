//! A pickup code on its way to the resident's notice: plain inside the gateway, sealed on the wire.
//!
//! Sealed is HPKE (RFC 9180), base mode, X25519-HKDF-SHA256, HKDF-SHA256, ChaCha20-Poly1305, to the
//! cloud's sealing key. A sealed code is made once and kept, as its item is part of a hash chain.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use firmware_protocols::event::Secret;
use firmware_protocols::fields::{Fields, Malformed};
use firmware_protocols::value::{Value, map};

use crate::read::{bytes, within};

/// The `info` of HPKE for a pickup code.
pub const SEALING_INFO: &[u8] = b"linli/v1/pickup-code";
/// The longest id of a sealing key, characters.
pub const KEY_ID_MAX: usize = 64;
/// The longest ciphertext of a code: 16 digits and the tag.
pub const CIPHERTEXT_MAX: usize = 32;

/// A code for a resident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeForResident {
    /// The digits: inside the gateway's process only. An item with it is encoded without it.
    Plain(Secret),
    /// As it travels.
    Sealed(SealedCode),
}

/// The field `code` on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedCode {
    /// The id of the sealing key.
    pub key: String,
    /// HPKE's encapsulated key.
    pub enc: [u8; 32],
    /// The ciphertext with its tag: 17 to 32 bytes.
    pub ct: Vec<u8>,
}

/// The cloud's public key for codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealingKey {
    /// Its id: text of 1 to 64 characters.
    pub id: String,
    /// X25519.
    pub public_key: [u8; 32],
}

/// The `aad` of HPKE: gateway id, a zero byte, parcel id, in UTF-8.
pub fn sealing_aad(gateway: &str, parcel: &str) -> Vec<u8> {
    [gateway.as_bytes(), b"\0", parcel.as_bytes()].concat()
}

impl CodeForResident {
    /// The digits, inside the gateway.
    pub fn plain(&self) -> Option<&Secret> {
        match self {
            Self::Plain(digits) => Some(digits),
            Self::Sealed(_) => None,
        }
    }

    /// The field, if it may be on the wire.
    pub(crate) fn to_value(&self) -> Option<Value> {
        match self {
            Self::Plain(_) => None,
            Self::Sealed(sealed) => Some(sealed.to_value()),
        }
    }

    pub(crate) fn from_value(value: &Value) -> Result<Self, Malformed> {
        SealedCode::from_value(value).map(Self::Sealed)
    }
}

impl SealedCode {
    /// The field.
    pub fn to_value(&self) -> Value {
        map([
            ("key", Some(self.key.as_str().into())),
            ("enc", Some(Value::Bytes(self.enc.to_vec()))),
            ("ct", Some(Value::Bytes(self.ct.clone()))),
        ])
    }

    /// Reads the field.
    pub fn from_value(value: &Value) -> Result<Self, Malformed> {
        let place = |e: Malformed| within("field 'code'", &e);
        let f = Fields::of(value).map_err(place)?;
        let read = || {
            Ok(Self {
                key: f.text("key", KEY_ID_MAX)?.to_string(),
                enc: bytes(f, "enc")?,
                ct: ciphertext(f)?,
            })
        };
        read().map_err(place)
    }
}

fn ciphertext(f: Fields<'_>) -> Result<Vec<u8>, Malformed> {
    let value = f.need("ct")?;
    match value.as_bytes() {
        Some(bytes) if (17..=CIPHERTEXT_MAX).contains(&bytes.len()) => Ok(bytes.to_vec()),
        _ => Err(Malformed::field(
            "ct",
            "17 to 32 bytes (in JSON: base64url without padding)",
            value.kind(),
        )),
    }
}

impl SealingKey {
    /// The field `sealing_key` of what the cloud says of a gateway.
    pub fn to_value(&self) -> Value {
        map([
            ("id", Some(self.id.as_str().into())),
            ("public_key", Some(Value::Bytes(self.public_key.to_vec()))),
        ])
    }

    /// Reads the field.
    pub fn from_value(value: &Value) -> Result<Self, Malformed> {
        let f = Fields::of(value)?;
        Ok(Self {
            id: f.text("id", KEY_ID_MAX)?.to_string(),
            public_key: bytes(f, "public_key")?,
        })
    }
}
