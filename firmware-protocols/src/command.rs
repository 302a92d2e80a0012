//! Commands: what the gateway asks of devices, and the receipt that events are on disk.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::fields::{Fields, Malformed};
use crate::value::{Form, Value, map};

/// An order with its identity and its end. Past either end, or when repeated, it does nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Unique; an id already carried out is refused.
    pub id: String,
    /// When it ends, ms since the Unix epoch, for a device with a clock.
    pub expires: i64,
    /// When it ends, ms from receipt, for a device without one.
    pub ttl_ms: u64,
    /// What to do.
    pub order: Order,
}

/// What a device is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Release the lock of a compartment; the board times the pulse.
    Open {
        /// Its number, from 1.
        compartment: u16,
    },
    /// Tell the person at the keypad.
    Show {
        /// The words.
        text: String,
        /// How it is meant.
        tone: Tone,
    },
    /// The pickup codes that a bank may check by itself while nobody answers it. The whole list each
    /// time: what isn't in it is revoked.
    Codes {
        /// The key of the digests.
        salt: Vec<u8>,
        /// The codes that are good, and what each opens.
        digests: Vec<BankCode>,
    },
    /// Blink, beep, or otherwise say which one you are.
    Identify,
}

/// A pickup code that a bank may check by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BankCode {
    /// HMAC-SHA256 over the digits in ASCII, with the command's salt as the key.
    pub digest: [u8; 32],
    /// The compartment that it opens, from 1.
    pub compartment: u16,
}

/// How a shown text is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// It worked.
    Ok,
    /// It didn't.
    Error,
    /// Neither.
    Info,
}

impl Tone {
    /// Every word with its meaning.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("ok", Self::Ok),
        ("error", Self::Error),
        ("info", Self::Info),
    ];

    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Info => "info",
        }
    }
}

impl Order {
    /// The word on the wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "open",
            Self::Show { .. } => "show",
            Self::Codes { .. } => "codes",
            Self::Identify => "identify",
        }
    }
}

impl Command {
    /// The payload in `form`.
    pub fn encode(&self, form: Form) -> Vec<u8> {
        self.to_value().write(form)
    }

    /// Reads a payload: the device's side.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let value = Value::read(payload)?;
        let f = Fields::of(&value)?;
        let order = match f.text("kind", 32)? {
            "open" => Order::Open {
                compartment: u16::try_from(f.uint("compartment", 1, 65_535)?).unwrap_or(u16::MAX),
            },
            "show" => Order::Show {
                text: f.text("text", 256)?.to_string(),
                tone: f.word("tone", Tone::WORDS)?,
            },
            "codes" => Order::Codes {
                salt: bytes("salt", f.need("salt")?)?,
                digests: match f.need("digests")? {
                    Value::Array(items) => items
                        .iter()
                        .map(BankCode::from_value)
                        .collect::<Result<_, _>>()?,
                    other => return Err(Malformed::field("digests", "an array", other.kind())),
                },
            },
            "identify" => Order::Identify,
            unknown => return Err(Malformed(format!("unknown command '{unknown}'"))),
        };
        Ok(Self {
            id: f.text("id", 64)?.to_string(),
            expires: i64::try_from(f.uint("expires", 0, i64::MAX.unsigned_abs())?)
                .unwrap_or(i64::MAX),
            ttl_ms: f.uint("ttl", 0, u64::MAX)?,
            order,
        })
    }

    fn to_value(&self) -> Value {
        let Value::Map(mut entries) = map([
            ("id", Some(self.id.as_str().into())),
            ("kind", Some(self.order.name().into())),
            ("expires", Some(self.expires.into())),
            ("ttl", Some(self.ttl_ms.into())),
        ]) else {
            return Value::Null;
        };
        let own = match &self.order {
            Order::Open { compartment } => map([("compartment", Some((*compartment).into()))]),
            Order::Show { text, tone } => map([
                ("text", Some(text.as_str().into())),
                ("tone", Some(tone.word().into())),
            ]),
            Order::Codes { salt, digests } => map([
                ("salt", Some(Value::Bytes(salt.clone()))),
                (
                    "digests",
                    Some(Value::Array(
                        digests.iter().map(BankCode::to_value).collect(),
                    )),
                ),
            ]),
            Order::Identify => map([]),
        };
        if let Value::Map(own) = own {
            entries.extend(own);
        }
        Value::Map(entries)
    }
}

impl BankCode {
    fn to_value(&self) -> Value {
        map([
            ("digest", Some(Value::Bytes(self.digest.to_vec()))),
            ("compartment", Some(self.compartment.into())),
        ])
    }

    fn from_value(value: &Value) -> Result<Self, Malformed> {
        let f = Fields::of(value)?;
        let digest = bytes("digest", f.need("digest")?)?;
        Ok(Self {
            digest: digest
                .try_into()
                .map_err(|_| Malformed::field("digest", "32 bytes", "another length"))?,
            compartment: u16::try_from(f.uint("compartment", 1, 65_535)?).unwrap_or(u16::MAX),
        })
    }
}

fn bytes(name: &str, value: &Value) -> Result<Vec<u8>, Malformed> {
    value
        .as_bytes()
        .ok_or_else(|| Malformed::field(name, "bytes", value.kind()))
}

/// Every event of `boot` up to `seq`, without a gap, is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The device's boot.
    pub boot: u32,
    /// The last sequence number without a gap before it.
    pub seq: u64,
}

impl Receipt {
    /// The payload in `form`.
    pub fn encode(&self, form: Form) -> Vec<u8> {
        map([
            ("boot", Some(self.boot.into())),
            ("seq", Some(self.seq.into())),
        ])
        .write(form)
    }

    /// Reads a payload: the device's side.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let value = Value::read(payload)?;
        let f = Fields::of(&value)?;
        Ok(Self {
            boot: u32::try_from(f.uint("boot", 0, u64::from(u32::MAX))?).unwrap_or(u32::MAX),
            seq: f.uint("seq", 0, u64::MAX)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_survive_the_wire_in_both_forms() {
        let orders = [
            Order::Open { compartment: 7 },
            Order::Show {
                text: "请取件".to_string(),
                tone: Tone::Ok,
            },
            Order::Codes {
                salt: alloc::vec![1, 2, 3],
                digests: alloc::vec![BankCode {
                    digest: [9; 32],
                    compartment: 3,
                }],
            },
            Order::Identify,
        ];
        for order in orders {
            let command = Command {
                id: "c-1".to_string(),
                expires: 1_780_000_000_000,
                ttl_ms: 5_000,
                order,
            };
            for form in [Form::Cbor, Form::Json] {
                assert_eq!(Command::decode(&command.encode(form)), Ok(command.clone()));
            }
        }
    }

    #[test]
    fn a_receipt_is_small_and_exact() {
        let receipt = Receipt { boot: 3, seq: 900 };
        assert_eq!(receipt.encode(Form::Json), br#"{"boot":3,"seq":900}"#);
        assert_eq!(
            receipt.encode(Form::Cbor),
            b"\xa2\x63seq\x19\x03\x84\x64boot\x03"
        );
        assert_eq!(Receipt::decode(&receipt.encode(Form::Cbor)), Ok(receipt));
    }
}
