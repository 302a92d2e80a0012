//! Commands: what the gateway asks of devices, and the receipt that events are on disk.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

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

/// The most codes in one `codes` command: in JSON it then still fits into 65,536 bytes.
pub const BANK_CODES_MAX: usize = 700;

/// What a device is asked to do.
#[derive(Clone, PartialEq, Eq)]
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
        /// The key of the digests, 16 to 64 bytes; a secret, as whoever has it can guess the codes
        /// out of the digests.
        salt: Vec<u8>,
        /// The codes that are good, and what each opens: at most [`BANK_CODES_MAX`], no digest
        /// twice.
        digests: Vec<BankCode>,
    },
    /// Blink, beep, or otherwise say which one you are.
    Identify,
}

/// A pickup code that a bank may check by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
                salt: bytes("salt", f.need("salt")?, 16..=64)?,
                digests: bank_codes(f.need("digests")?)?,
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
                        digests.iter().copied().map(BankCode::to_value).collect(),
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
    fn to_value(self) -> Value {
        map([
            ("digest", Some(Value::Bytes(self.digest.to_vec()))),
            ("compartment", Some(self.compartment.into())),
        ])
    }

    fn from_value(value: &Value) -> Result<Self, Malformed> {
        let f = Fields::of(value)?;
        let mut digest = [0; 32];
        digest.copy_from_slice(&bytes("digest", f.need("digest")?, 32..=32)?);
        Ok(Self {
            digest,
            compartment: u16::try_from(f.uint("compartment", 1, 65_535)?).unwrap_or(u16::MAX),
        })
    }
}

/// Without the salt and the digests: together they give short codes away.
impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { compartment } => f
                .debug_struct("Open")
                .field("compartment", compartment)
                .finish(),
            Self::Show { text, tone } => f
                .debug_struct("Show")
                .field("text", text)
                .field("tone", tone)
                .finish(),
            Self::Codes { digests, .. } => f
                .debug_struct("Codes")
                .field("count", &digests.len())
                .finish_non_exhaustive(),
            Self::Identify => f.write_str("Identify"),
        }
    }
}

/// Without the digest.
impl fmt::Debug for BankCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BankCode")
            .field("compartment", &self.compartment)
            .finish_non_exhaustive()
    }
}

/// The list of a `codes` command.
fn bank_codes(value: &Value) -> Result<Vec<BankCode>, Malformed> {
    let Value::Array(items) = value else {
        return Err(Malformed::field("digests", "an array", value.kind()));
    };
    if items.len() > BANK_CODES_MAX {
        let expected = format!("at most {BANK_CODES_MAX} codes");
        let got = items.len().to_string();
        return Err(Malformed::field("digests", &expected, &got));
    }
    let codes: Vec<BankCode> = items
        .iter()
        .map(BankCode::from_value)
        .collect::<Result<_, _>>()?;
    let mut digests: Vec<&[u8; 32]> = codes.iter().map(|code| &code.digest).collect();
    digests.sort_unstable();
    if digests.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Malformed::field("digests", "each digest once", "one twice"));
    }
    Ok(codes)
}

/// A byte string of so many bytes. The error never repeats them.
fn bytes(
    name: &str,
    value: &Value,
    length: core::ops::RangeInclusive<usize>,
) -> Result<Vec<u8>, Malformed> {
    let (min, max) = (length.start(), length.end());
    let expected = match min == max {
        true => format!("{min} bytes (in JSON: base64url without padding)"),
        false => format!("{min} to {max} bytes (in JSON: base64url without padding)"),
    };
    match value.as_bytes() {
        Some(bytes) if length.contains(&bytes.len()) => Ok(bytes),
        Some(bytes) => {
            let got = format!("{} bytes", bytes.len());
            Err(Malformed::field(name, &expected, &got))
        }
        None => Err(Malformed::field(name, &expected, value.kind())),
    }
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

    fn codes(count: u16) -> Vec<BankCode> {
        (1..=count)
            .map(|n| BankCode {
                digest: [n.to_be_bytes(); 16].concat().try_into().unwrap(),
                compartment: u16::MAX - n,
            })
            .collect()
    }

    fn codes_command(salt: Vec<u8>, digests: Vec<BankCode>) -> Command {
        Command {
            id: "k".repeat(64),
            expires: i64::MAX,
            ttl_ms: u64::MAX,
            order: Order::Codes { salt, digests },
        }
    }

    #[test]
    fn the_longest_list_fits_into_a_payload_and_a_longer_one_is_refused() {
        let longest = codes_command(alloc::vec![7; 64], codes(700));
        for form in [Form::Cbor, Form::Json] {
            let payload = longest.encode(form);
            assert!(payload.len() <= crate::PAYLOAD_MAX_BYTES, "{form:?}");
            assert_eq!(Command::decode(&payload), Ok(longest.clone()));
        }
        let longer = codes_command(alloc::vec![7; 32], codes(701));
        assert_eq!(
            Command::decode(&longer.encode(Form::Cbor)).unwrap_err().0,
            "field 'digests': expected at most 700 codes, got 701"
        );
    }

    #[test]
    fn neither_the_salt_nor_a_digest_is_printed() {
        let command = codes_command(alloc::vec![171; 32], codes(2));
        assert_eq!(format!("{:?}", command.order), "Codes { count: 2, .. }");
        let code = format!("{:?}", codes(1)[0]);
        assert_eq!(code, "BankCode { compartment: 65534, .. }");
        assert!(!format!("{command:?}").contains("171"));
    }

    #[test]
    fn commands_survive_the_wire_in_both_forms() {
        let orders = [
            Order::Open { compartment: 7 },
            Order::Show {
                text: "请取件".to_string(),
                tone: Tone::Ok,
            },
            Order::Codes {
                salt: alloc::vec![1; 32],
                digests: codes(2),
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
