//! A frame, byte by byte, and how it is told from a stream of bytes.
//!
//! ```text
//! 00 | COBS( version address kind flags  session:2 seq:2 ack:2  payload:0..1024  crc:4 ) | 00
//! ```
//!
//! Numbers are big-endian. The CRC is CRC-32/ISO-HDLC over header and payload.

use alloc::vec::Vec;

use crc::{CRC_32_ISO_HDLC, Crc};

use super::cobs;
use super::{PAYLOAD_MAX_BYTES, VERSION};
use crate::frame::{Found, Framing};

/// The header's length.
pub const HEADER_BYTES: usize = 10;
/// The check's length.
pub const CRC_BYTES: usize = 4;
/// What a frame with a command has in front of the command's bytes.
pub const COMMAND_HEADER_BYTES: usize = 12;

/// In the address: the gateway speaks.
const FROM_GATEWAY: u8 = 0x80;

/// The polynomial of Ethernet, zip and PNG.
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The device says what it is: [`super::Hello`]. `seq` is the hello's number.
    Hello,
    /// The gateway begins a session: [`super::Welcome`]. `ack` is the hello's number.
    Welcome,
    /// The gateway asks for a hello.
    Ask,
    /// The device's events, as in a publication over MQTT.
    Events,
    /// A command of the gateway, or a part of one: [`Part`].
    Command,
    /// Nothing but the header.
    Ack,
    /// What this version doesn't know.
    Other(u8),
}

impl Kind {
    /// The number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::Hello => 1,
            Self::Welcome => 2,
            Self::Ask => 3,
            Self::Events => 4,
            Self::Command => 5,
            Self::Ack => 6,
            Self::Other(number) => number,
        }
    }

    const fn of(number: u8) -> Self {
        match number {
            1 => Self::Hello,
            2 => Self::Welcome,
            3 => Self::Ask,
            4 => Self::Events,
            5 => Self::Command,
            6 => Self::Ack,
            number => Self::Other(number),
        }
    }
}

/// A frame.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// The protocol's version; what a frame of another one says isn't known beyond the header.
    pub version: u8,
    /// Whether the gateway sends it.
    pub from_gateway: bool,
    /// The device that sends it, or that it is for.
    pub address: u8,
    /// What it is.
    pub kind: Kind,
    /// Several devices on a line: the sender has ended, the other one may speak. Point to point: the
    /// other one is to answer at once.
    pub over: bool,
    /// From the gateway: it can't take events to the disk at the moment.
    pub busy: bool,
    /// From the gateway: send everything after `ack` again.
    pub again: bool,
    /// With a command: the device has no room for it; in its stead are its id and its kind.
    pub withheld: bool,
    /// The session that it belongs to; 0 before there is one.
    pub session: u16,
    /// The number of the events, of the command's part, or of the hello; otherwise 0.
    pub seq: u16,
    /// From the gateway: all events up to this number are on disk. From the device: this part of a
    /// command was read.
    pub ack: u16,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame of this version with nothing but a kind and an address.
    pub const fn new(from_gateway: bool, address: u8, kind: Kind) -> Self {
        Self {
            version: VERSION,
            from_gateway,
            address,
            kind,
            over: false,
            busy: false,
            again: false,
            withheld: false,
            session: 0,
            seq: 0,
            ack: 0,
            payload: Vec::new(),
        }
    }

    /// The bytes on the line, with both delimiters.
    pub fn encode(&self) -> Vec<u8> {
        let mut plain = Vec::with_capacity(HEADER_BYTES + self.payload.len() + CRC_BYTES);
        let from = if self.from_gateway { FROM_GATEWAY } else { 0 };
        plain.extend([
            self.version,
            from | self.address & !FROM_GATEWAY,
            self.kind.number(),
            self.flags(),
        ]);
        for number in [self.session, self.seq, self.ack] {
            plain.extend(number.to_be_bytes());
        }
        plain.extend_from_slice(&self.payload);
        let check = CRC.checksum(&plain);
        plain.extend(check.to_be_bytes());
        let mut bytes = Vec::with_capacity(frame_bytes(self.payload.len()));
        bytes.push(0);
        cobs::encode(&plain, &mut bytes);
        bytes.push(0);
        bytes
    }

    /// Reads what stood between two delimiters. `None`, when it isn't a frame.
    pub fn decode(coded: &[u8]) -> Option<Self> {
        let mut plain = Vec::with_capacity(coded.len());
        cobs::decode(coded, &mut plain)?;
        let (said, check) = plain.split_last_chunk::<CRC_BYTES>()?;
        if CRC.checksum(said) != u32::from_be_bytes(*check) {
            return None;
        }
        let (header, payload) = said.split_first_chunk::<HEADER_BYTES>()?;
        if payload.len() > PAYLOAD_MAX_BYTES {
            return None;
        }
        let [version, address, kind, flags, s1, s2, q1, q2, a1, a2] = *header;
        Some(Self {
            version,
            from_gateway: address & FROM_GATEWAY != 0,
            address: address & !FROM_GATEWAY,
            kind: Kind::of(kind),
            over: flags & 1 != 0,
            busy: flags & 2 != 0,
            again: flags & 4 != 0,
            withheld: flags & 8 != 0,
            session: u16::from_be_bytes([s1, s2]),
            seq: u16::from_be_bytes([q1, q2]),
            ack: u16::from_be_bytes([a1, a2]),
            payload: payload.to_vec(),
        })
    }

    fn flags(&self) -> u8 {
        u8::from(self.over)
            | u8::from(self.busy) << 1
            | u8::from(self.again) << 2
            | u8::from(self.withheld) << 3
    }
}

/// Without the payload: codes and badges are in it.
impl core::fmt::Debug for Frame {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let from = if self.from_gateway {
            "gateway to"
        } else {
            "from"
        };
        write!(f, "{from} {}: {:?}", self.address, self.kind)?;
        for (set, word) in [
            (self.over, "over"),
            (self.busy, "busy"),
            (self.again, "again"),
            (self.withheld, "withheld"),
        ] {
            if set {
                write!(f, " {word}")?;
            }
        }
        let (session, seq, ack) = (self.session, self.seq, self.ack);
        write!(f, " session {session} seq {seq} ack {ack}")?;
        write!(f, " with {} bytes", self.payload.len())
    }
}

/// A part of a command: the payload of a [`Kind::Command`] frame. Most commands have one.
#[derive(Clone, PartialEq, Eq)]
pub struct Part {
    /// How long the command is still good when the frame is sent, ms. It, and not the `ttl` in the
    /// command, is counted from the moment at which the frame is read.
    pub left_ms: u32,
    /// Where the part begins in the command.
    pub offset: u32,
    /// How long the whole command is.
    pub total: u32,
    /// The part's bytes.
    pub bytes: Vec<u8>,
}

impl Part {
    /// The payload of its frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(COMMAND_HEADER_BYTES + self.bytes.len());
        for number in [self.left_ms, self.offset, self.total] {
            payload.extend(number.to_be_bytes());
        }
        payload.extend_from_slice(&self.bytes);
        payload
    }

    /// Reads one. `None`, when it says something impossible: no byte, or one beyond the end.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (left, rest) = payload.split_first_chunk::<4>()?;
        let (offset, rest) = rest.split_first_chunk::<4>()?;
        let (total, bytes) = rest.split_first_chunk::<4>()?;
        let (offset, total) = (u32::from_be_bytes(*offset), u32::from_be_bytes(*total));
        let end = offset.checked_add(u32::try_from(bytes.len()).ok()?)?;
        if bytes.is_empty() || end > total {
            return None;
        }
        Some(Self {
            left_ms: u32::from_be_bytes(*left),
            offset,
            total,
            bytes: bytes.to_vec(),
        })
    }

    /// Whether it is the command's end.
    pub fn is_last(&self) -> bool {
        u64::from(self.offset) + self.bytes.len() as u64 == u64::from(self.total)
    }
}

/// Without the bytes: codes are in them.
impl core::fmt::Debug for Part {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (left, length) = (self.left_ms, self.bytes.len());
        let (offset, total) = (self.offset, self.total);
        write!(
            f,
            "{length} bytes at {offset} of {total}, good for {left} ms"
        )
    }
}

/// How many bytes a frame with so many bytes of payload has on the line, at most.
pub const fn frame_bytes(payload: usize) -> usize {
    cobs::coded_bytes(HEADER_BYTES + payload + CRC_BYTES) + 2
}

/// The link's way to tell frames from a stream of bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Link;

impl Framing for Link {
    type Frame = Frame;

    const MAX_BYTES: usize = frame_bytes(PAYLOAD_MAX_BYTES);

    fn find(&self, buffer: &[u8]) -> Found<Frame> {
        let (front, _) = buffer.split_at(buffer.len().min(Self::MAX_BYTES));
        let zeros = front.iter().take_while(|byte| **byte == 0).count();
        if zeros > 1 {
            return Found::Noise(zeros - 1);
        }
        let coded = front.get(zeros..).unwrap_or(&[]);
        let Some(length) = coded.iter().position(|byte| *byte == 0) else {
            return match front.len() < Self::MAX_BYTES {
                true => Found::More,
                false => Found::Noise(front.len()),
            };
        };
        match coded.get(..length).and_then(Frame::decode) {
            Some(frame) => Found::Frame {
                frame,
                used: zeros + length + 1,
            },
            // The zero that ended it may be the one that begins the next.
            None => Found::Noise(zeros + length),
        }
    }
}
