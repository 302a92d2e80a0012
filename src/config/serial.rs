//! Serial ports, and what hangs on them.
//!
//! A port speaks one protocol. A bank's compartments are mapped to the boards on a port
//! (`[[bank.board]]`); every other device on a port says so by `serial = { port = "…", … }`.

use std::path::PathBuf;
use std::time::Duration;

use firmware_protocols::Ident;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::texts::{Name, RegisterName, Unit};

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Our own, for firmware that numbers and keeps its events.
    Linli,
    /// Kerong CU16 locker boards.
    KerongCu16,
    /// Kerong CU48 locker boards.
    KerongCu48,
    /// The 24-way `8A` locker board.
    #[serde(rename = "8a")]
    EightA,
    /// WKLY locker boards.
    Wkly,
    /// Modbus RTU.
    Modbus,
    /// OSDP (IEC 60839-11-5).
    Osdp,
    /// Scanners and keypads that type lines.
    Lines,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Self; 8] = [
        Self::Linli,
        Self::KerongCu16,
        Self::KerongCu48,
        Self::EightA,
        Self::Wkly,
        Self::Modbus,
        Self::Osdp,
        Self::Lines,
    ];

    /// The word in the configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Linli => "linli",
            Self::KerongCu16 => "kerong-cu16",
            Self::KerongCu48 => "kerong-cu48",
            Self::EightA => "8a",
            Self::Wkly => "wkly",
            Self::Modbus => "modbus",
            Self::Osdp => "osdp",
            Self::Lines => "lines",
        }
    }

    /// The rate that such devices leave the factory with, as far as it is known.
    pub const fn default_baud(self) -> u32 {
        match self {
            Self::Linli => 115_200,
            Self::KerongCu16 | Self::KerongCu48 => 19_200,
            Self::EightA | Self::Wkly | Self::Modbus | Self::Osdp | Self::Lines => 9_600,
        }
    }

    /// The addresses that its devices can have; `None` if they have none.
    pub const fn addresses(self) -> Option<(u8, u8)> {
        match self {
            Self::KerongCu16 => Some((0, 15)),
            Self::KerongCu48 | Self::EightA | Self::Wkly => Some((0, 255)),
            Self::Modbus => Some((1, 247)),
            Self::Osdp => Some((0, 126)),
            Self::Linli => Some((1, 126)),
            Self::Lines => None,
        }
    }

    /// Whether locker boards speak it: compartments can be mapped to it.
    pub const fn has_boards(self) -> bool {
        matches!(
            self,
            Self::KerongCu16 | Self::KerongCu48 | Self::EightA | Self::Wkly | Self::Modbus
        )
    }
}

/// The parity bit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Parity {
    /// None.
    #[default]
    None,
    /// Even.
    Even,
    /// Odd.
    Odd,
}

/// A serial port: `[[port]]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortSection {
    /// Its id, for status and mapping.
    #[schemars(with = "Name")]
    pub id: Ident,
    /// Its device file; one below `/dev/serial/by-id` or `by-path` stays the same over a replugging.
    pub path: PathBuf,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Bits a second; see the device's manual, or try `linli serial scan`. Default: what the protocol's devices leave the factory with.
    #[schemars(range(min = 300, max = 4_000_000))]
    pub baud: Option<u32>,
    /// The parity bit. Default none.
    #[serde(default)]
    pub parity: Parity,
    /// 1 or 2. Default 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 2))]
    pub stop_bits: u8,
    /// How long an answer may take, ms, beside the frames' own time on the line. Default 100; OSDP
    /// devices are given 200 at least, as their standard says.
    #[serde(default = "default_timeout_ms")]
    #[schemars(range(min = 10, max = 5_000))]
    pub timeout_ms: u64,
    /// How often each slave is asked, ms; 0 for as often as the line allows. Default by protocol:
    /// boards 250, Modbus 5,000, OSDP 50, others as often as the line allows.
    #[schemars(range(max = 3_600_000))]
    pub poll_ms: Option<u64>,
    /// Whether the adapter hears what it sends. Default: found out.
    pub echo: Option<bool>,
    /// Linli link: whether several devices share the line and are polled. Default no.
    #[serde(default)]
    pub multi_drop: bool,
}

/// Where a device other than a bank with boards hangs.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnPort {
    /// The port.
    #[schemars(with = "Name")]
    pub port: Ident,
    /// Its address on the port (Linli link 1 to 126, Modbus 1 to 247, OSDP 0 to 126).
    #[schemars(range(max = 247))]
    pub address: Option<u8>,
    /// OSDP: the file with the device's own secure channel key, 32 hexadecimal digits, which
    /// `linli serial commission` makes.
    pub key_file: Option<PathBuf>,
    /// OSDP: the device has no secure channel, and is used all the same. Whoever reaches its wires can
    /// then read cards and codes, and make up others.
    #[serde(default)]
    pub insecure: bool,
    /// OSDP: the door that it reads for; cards are then access events. Without it, and with `point`,
    /// they are scans.
    #[schemars(with = "Option<Name>")]
    pub door: Option<Ident>,
    /// Modbus: what is read.
    #[serde(default)]
    pub registers: Vec<RegisterSection>,
    /// Lines: what a line is.
    pub says: Option<LineMeaning>,
    /// Lines: what ends one. Default `\r`, `\n` or both.
    pub terminator: Option<String>,
    /// Lines: what stands before each and isn't part of it. Lines without it are passed over.
    pub prefix: Option<String>,
}

/// What a line typed on a port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LineMeaning {
    /// A symbol that was scanned.
    Scan,
    /// Digits that were typed.
    Keypad,
}

/// A value in a Modbus device.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterSection {
    /// Its name in the readings, or of the door.
    #[schemars(with = "RegisterName")]
    pub name: String,
    /// `coil`, `discrete`, `holding` or `input`.
    pub function: RegisterFunction,
    /// Its address as it goes over the line, from 0.
    pub address: u16,
    /// `bool`, `u16`, `i16`, `u32`, `i32`, `f32`. Default: `bool` for coils and discrete inputs,
    /// `u16` for registers.
    #[serde(rename = "type")]
    pub kind: Option<RegisterKind>,
    /// The order of two words: `big` (the first is the higher) or `little`. Default big.
    #[serde(default)]
    pub words: WordOrder,
    /// What the raw number is multiplied by. Default 1.
    #[serde(default = "unit_scale")]
    pub scale: f64,
    /// The unit, as in SenML (RFC 8428 § 12.1): `Cel`, `%RH`, …
    #[schemars(with = "Option<Unit>")]
    pub unit: Option<String>,
    /// For `coil` and `discrete`: it is a door's contact, and this is its state when the door is
    /// closed. Its reading says whether the door is open, at once when that changes.
    pub door_closed: Option<bool>,
    /// For a door's contact: how long it may stay open, seconds, before that is reported as access
    /// `held-open`. Default: never.
    #[schemars(range(min = 1))]
    pub held_open_s: Option<u32>,
}

/// Which of a Modbus device's four tables.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum RegisterFunction {
    /// Function 1.
    Coil,
    /// Function 2.
    Discrete,
    /// Function 3.
    Holding,
    /// Function 4.
    Input,
}

/// How a number is written in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RegisterKind {
    /// One bit.
    Bool,
    /// One register.
    U16,
    /// One register, two's complement.
    I16,
    /// Two registers.
    U32,
    /// Two registers, two's complement.
    I32,
    /// Two registers, IEEE 754.
    F32,
}

/// The order of two words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WordOrder {
    /// The first is the higher.
    #[default]
    Big,
    /// The first is the lower.
    Little,
}

/// A locker board of a bank: `[[bank.board]]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BoardSection {
    /// The port. All boards of a bank hang on the same one.
    #[schemars(with = "Name")]
    pub port: Ident,
    /// Its address on the port.
    pub address: u8,
    /// The first and the last of the bank's compartments that it opens.
    pub compartments: [u16; 2],
    /// The channels of these compartments, in their order, counted from 1 as on the board's
    /// terminals. Default: from 1 on.
    pub channels: Option<Vec<u16>>,
    /// The state bit or byte of a closed door: `one` or `zero`. Default `one`.
    #[serde(default)]
    pub closed: Level,
    /// The occupancy sensor's bit when something is inside, on boards that have one (CU16): `one` or
    /// `zero`. Default: there is none.
    pub occupied: Option<Level>,
    /// Modbus: how the relay is flashed and the contact read.
    pub relay: Option<RelaySection>,
}

/// The level of a state bit. For boards that say it with a byte: `one` is FF or 11, `zero` 00.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Set.
    #[default]
    One,
    /// Not set.
    Zero,
}

/// A Modbus relay board as locks: the board times the pulse.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RelaySection {
    /// The coil address of channel 1 that starts a board-timed flash when a time is written to it
    /// by function 5 (on many relay boards 0x0200).
    pub flash_address: u16,
    /// What is written: the pulse in the board's own unit (often 100 ms); a lock's coil bears no
    /// longer pulse than 100. Default 5.
    #[serde(default = "default_flash_time")]
    #[schemars(range(min = 1, max = 100))]
    pub flash_time: u16,
    /// The discrete input of channel 1's door contact; those of the other channels follow. Default:
    /// there are none, and whether a door is open isn't known.
    pub contact_address: Option<u16>,
}

impl PortSection {
    /// Bits a second.
    pub fn baud(&self) -> u32 {
        self.baud.unwrap_or(self.protocol.default_baud())
    }

    /// Why so many devices can't hang on it, with the remedy; `None` if they can.
    pub fn crowded(&self, devices: usize) -> Option<String> {
        let alone = self.protocol == Protocol::Linli && !self.multi_drop;
        (alone && devices > 1).then(|| {
            format!(
                "port '{}' has {devices} devices: set multi_drop = true, and the devices to polled mode, or give each a port",
                self.id
            )
        })
    }

    /// How long an answer may take, beside the frames' own time on the line.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// How often each slave is asked.
    pub fn poll(&self) -> Duration {
        let default_ms = match self.protocol {
            Protocol::Modbus => 5_000,
            Protocol::Osdp => 50,
            protocol if protocol.has_boards() => 250,
            _ => 0,
        };
        Duration::from_millis(self.poll_ms.unwrap_or(default_ms))
    }

    /// How long so many bytes take on the line.
    pub fn time_of(&self, bytes: usize) -> Duration {
        let parity = u64::from(self.parity != Parity::None);
        let bits = 9 + u64::from(self.stop_bits) + parity;
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        Duration::from_micros(
            bytes.saturating_mul(bits * 1_000_000) / u64::from(self.baud().max(1)),
        )
    }
}

impl RegisterSection {
    /// How it is written: what is set, or what goes without saying.
    pub fn kind(&self) -> RegisterKind {
        self.kind.unwrap_or(match self.function.is_bit() {
            true => RegisterKind::Bool,
            false => RegisterKind::U16,
        })
    }
}

impl RegisterFunction {
    /// Whether the table holds bits.
    pub const fn is_bit(self) -> bool {
        matches!(self, Self::Coil | Self::Discrete)
    }
}

impl RegisterKind {
    /// How many addresses of its table it takes.
    pub const fn words(self) -> u16 {
        match self {
            Self::Bool | Self::U16 | Self::I16 => 1,
            Self::U32 | Self::I32 | Self::F32 => 2,
        }
    }
}

impl BoardSection {
    /// Whether its compartments are some of a bank that has so many.
    pub(super) fn within(&self, count: u16) -> bool {
        let [first, last] = self.compartments;
        first >= 1 && first <= last && last <= count
    }

    /// Each compartment with its channel, in order.
    pub fn mapping(&self) -> Vec<(u16, u16)> {
        let [first, last] = self.compartments;
        let channels: Vec<u16> = match &self.channels {
            Some(channels) => channels.clone(),
            None => (1..=last.saturating_sub(first).saturating_add(1)).collect(),
        };
        (first..=last).zip(channels).collect()
    }
}

const fn one() -> u8 {
    1
}

const fn default_timeout_ms() -> u64 {
    100
}

const fn unit_scale() -> f64 {
    1.0
}

const fn default_flash_time() -> u16 {
    5
}
