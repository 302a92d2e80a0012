//! What both sides say of themselves before anything else. `link.cddl` has both.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{COMMAND_MAX_BYTES, PAYLOAD_LEAST_BYTES, PAYLOAD_MAX_BYTES, VERSION, WINDOW_MAX};
use crate::Ident;
use crate::fields::{Fields, Malformed};
use crate::value::{Value, map};

/// The most capabilities in a hello.
const CAPABILITIES_MAX: usize = 16;

/// What a device is, and what it can take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The device's boot, as in its events.
    pub boot: u32,
    /// The highest version of the link that it speaks.
    pub version: u8,
    /// The largest payload of a frame that it can take and send, in bytes.
    pub max: u16,
    /// How many frames with events it may leave unacknowledged.
    pub window: u8,
    /// The largest command that it can put together out of several frames, in bytes.
    pub command_max: u32,
    /// Its id, if it knows it: a device with another id is refused, as its wires or its address
    /// were mixed up.
    pub device: Option<Ident>,
    /// What it is, for people.
    pub model: Option<String>,
    /// Its firmware's version, for people.
    pub firmware: Option<String>,
    /// The words of its hello event.
    pub capabilities: Vec<String>,
}

impl Hello {
    /// A device with room for everything, of which nothing more is known than its boot.
    pub const fn new(boot: u32) -> Self {
        Self {
            boot,
            version: VERSION,
            max: PAYLOAD_MAX_BYTES as u16,
            window: WINDOW_MAX,
            command_max: COMMAND_MAX_BYTES as u32,
            device: None,
            model: None,
            firmware: None,
            capabilities: Vec::new(),
        }
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let words = self.capabilities.iter();
        let words: Vec<Value> = words.map(|word| word.as_str().into()).collect();
        map([
            ("boot", Some(self.boot.into())),
            ("version", Some(u32::from(self.version).into())),
            ("max", Some(self.max.into())),
            ("window", Some(u32::from(self.window).into())),
            ("command", Some(self.command_max.into())),
            ("device", self.device.as_ref().map(|id| id.as_str().into())),
            ("model", self.model.as_deref().map(Value::from)),
            ("firmware", self.firmware.as_deref().map(Value::from)),
            (
                "capabilities",
                (!words.is_empty()).then_some(Value::Array(words)),
            ),
        ])
        .to_cbor()
    }

    /// Reads a payload: the gateway's side.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let value = Value::from_cbor(payload)?;
        let f = Fields::of(&value)?;
        let text = |name| {
            f.text_opt(name, 128)
                .map(|text| text.map(ToString::to_string))
        };
        let device = match f.get("device") {
            Some(_) => Some(f.ident("device")?),
            None => None,
        };
        Ok(Self {
            boot: number(f, "boot", 0, u32::MAX)?,
            version: number(f, "version", 1, 255)?,
            max: number(f, "max", PAYLOAD_LEAST_BYTES as u64, u16::MAX)?.min(PAYLOAD_MAX),
            window: number(f, "window", 1, 255)?.min(WINDOW_MAX),
            command_max: number(f, "command", PAYLOAD_LEAST_BYTES as u64, u32::MAX)?
                .min(COMMAND_MAX_BYTES as u32),
            device,
            model: text("model")?,
            firmware: text("firmware")?,
            capabilities: capabilities(f)?,
        })
    }
}

/// How the session is, from the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcome {
    /// The boot in the hello that it answers.
    pub boot: u32,
    /// The version to be spoken.
    pub version: u8,
    /// The largest payload of a frame, in bytes: the lesser of both sides'.
    pub max: u16,
    /// How many frames with events may be unacknowledged: the lesser of both sides'.
    pub window: u8,
    /// Several devices on a line: a turn ends with the frame with which so many bytes of payload were
    /// sent in it.
    pub turn: u16,
}

impl Welcome {
    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        map([
            ("boot", Some(self.boot.into())),
            ("version", Some(u32::from(self.version).into())),
            ("max", Some(self.max.into())),
            ("window", Some(u32::from(self.window).into())),
            ("turn", Some(self.turn.into())),
        ])
        .to_cbor()
    }

    /// Reads a payload: the device's side.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        let value = Value::from_cbor(payload)?;
        let f = Fields::of(&value)?;
        Ok(Self {
            boot: number(f, "boot", 0, u32::MAX)?,
            version: number(f, "version", 1, 255)?,
            max: number(f, "max", PAYLOAD_LEAST_BYTES as u64, u16::MAX)?.min(PAYLOAD_MAX),
            window: number(f, "window", 1, 255)?.min(WINDOW_MAX),
            turn: number(f, "turn", 1, u16::MAX)?,
        })
    }
}

const PAYLOAD_MAX: u16 = PAYLOAD_MAX_BYTES as u16;

/// A whole number that fits into its type.
fn number<N>(f: Fields<'_>, name: &str, least: u64, most: N) -> Result<N, Malformed>
where
    N: Copy + Into<u64> + TryFrom<u64>,
{
    let number = f.uint(name, least, most.into())?;
    Ok(N::try_from(number).unwrap_or(most))
}

fn capabilities(f: Fields<'_>) -> Result<Vec<String>, Malformed> {
    let wrong =
        |got: &str| Malformed::field("capabilities", "up to 16 texts of up to 32 bytes", got);
    let items = match f.get("capabilities") {
        None => return Ok(Vec::new()),
        Some(Value::Array(items)) if items.len() <= CAPABILITIES_MAX => items,
        Some(other) => return Err(wrong(other.kind())),
    };
    let word = |item: &Value| match item {
        Value::Text(word) if word.len() <= 32 => Ok(word.clone()),
        other => Err(wrong(other.kind())),
    };
    items.iter().map(word).collect()
}
