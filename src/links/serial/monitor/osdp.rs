//! OSDP (SIA OSDP 2.2, IEC 60839-11-5), in words: who speaks, and what kind of frame it is. What
//! cards, keys and secure channels carry isn't looked into.

use firmware_protocols::frame::{Found, Framing};

use super::Said;
use crate::links::serial::check::OSDP;

const BEGIN: u8 = 0x53;
const FRAME_MAX_BYTES: usize = 1_440;
/// In the address: a reader speaks.
const REPLY: u8 = 0x80;
/// In the control byte: the check is a CRC; there is a security block.
const WITH_CRC: u8 = 0x04;
const WITH_BLOCK: u8 = 0x08;

/// Frames of OSDP.
#[derive(Debug, Clone, Copy)]
pub struct Osdp;

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The reader.
    pub address: u8,
    /// The reader speaks.
    pub reply: bool,
    /// 0 to 3; 0 begins anew.
    pub sequence: u8,
    /// The type of its security block, if it has one.
    pub security: Option<u8>,
    /// The command or reply.
    pub code: u8,
    /// What comes with it, without its security block; encrypted if that says so.
    pub data: Vec<u8>,
}

impl Framing for Osdp {
    type Frame = Said;

    const MAX_BYTES: usize = FRAME_MAX_BYTES;

    fn find(&self, buffer: &[u8]) -> Found<Said> {
        match find(buffer) {
            Found::Frame { frame, used } => Found::Frame {
                frame: words(&frame),
                used,
            },
            Found::Noise(bytes) => Found::Noise(bytes),
            Found::More => Found::More,
        }
    }
}

/// What the front of a buffer is.
pub fn find(buffer: &[u8]) -> Found<Packet> {
    let before = buffer.iter().take_while(|byte| **byte != BEGIN).count();
    if before > 0 {
        return Found::Noise(before);
    }
    let (Some(low), Some(high)) = (buffer.get(2), buffer.get(3)) else {
        return Found::More;
    };
    let length = usize::from(u16::from_le_bytes([*low, *high]));
    if !(7..=FRAME_MAX_BYTES).contains(&length) {
        return Found::Noise(1);
    }
    let Some(frame) = buffer.get(..length) else {
        return Found::More;
    };
    match read(frame) {
        Some(frame) => Found::Frame {
            frame,
            used: length,
        },
        None => Found::Noise(1),
    }
}

fn read(frame: &[u8]) -> Option<Packet> {
    let (address, control) = (*frame.get(1)?, *frame.get(4)?);
    let body = match control & WITH_CRC {
        0 => {
            let (check, said) = frame.split_last()?;
            (*check == checksum(said)).then_some(said)?
        }
        _ => {
            let (said, check) = frame.split_last_chunk::<2>()?;
            (OSDP.checksum(said).to_le_bytes() == *check).then_some(said)?
        }
    };
    let mut rest = body.get(5..)?;
    let mut security = None;
    if control & WITH_BLOCK != 0 {
        let length = usize::from(*rest.first()?);
        security = Some(*rest.get(1)?);
        rest = rest.get(length.max(2)..)?;
    }
    // What a secure channel carries ends with a code of its own.
    if security.is_some_and(|kind| matches!(kind, 0x15..=0x18)) {
        rest = rest.get(..rest.len().checked_sub(4)?)?;
    }
    let (code, data) = rest.split_first()?;
    Some(Packet {
        address: address & !REPLY,
        reply: address & REPLY != 0,
        sequence: control & 3,
        security,
        code: *code,
        data: data.to_vec(),
    })
}

fn words(packet: &Packet) -> Said {
    let address = packet.address;
    let (name, shown) = match packet.reply {
        true => reply(packet.code),
        false => command(packet.code),
    };
    let mut words = match (packet.reply, address) {
        (true, address) => format!("reader {address}: {name}"),
        (false, 0x7f) => format!("to all readers: {name}"),
        (false, address) => format!("to reader {address}: {name}"),
    };
    if packet.reply && packet.code == 0x41 && packet.security.is_none() {
        let why = packet.data.first().copied().unwrap_or(0);
        words.push_str(&format!(" ({})", refusal(why)));
    }
    if packet.security.is_some() {
        words.push_str(", secure channel");
    }
    words.push_str(&format!(", sequence {}", packet.sequence));
    let said = match shown && packet.security.is_none() {
        true => Said::open(words),
        false => Said::personal(words),
    };
    said.from_gateway(!packet.reply)
}

/// A command's name, and whether its bytes may be shown.
const fn command(code: u8) -> (&'static str, bool) {
    match code {
        0x60 => ("POLL", true),
        0x61 => ("ID", true),
        0x62 => ("CAP", true),
        0x64 => ("LSTAT", true),
        0x65 => ("ISTAT", true),
        0x66 => ("OSTAT", true),
        0x67 => ("RSTAT", true),
        0x68 => ("OUT", true),
        0x69 => ("LED", true),
        0x6a => ("BUZ", true),
        0x6b => ("TEXT (not shown)", false),
        0x6e => ("COMSET", true),
        0x73 => ("BIOREAD", false),
        0x74 => ("BIOMATCH", false),
        0x75 => ("KEYSET (not shown)", false),
        0x76 => ("CHLNG", false),
        0x77 => ("SCRYPT", false),
        0x7c => ("FILETRANSFER", false),
        0x80 => ("MFG", false),
        _ => ("a command that isn't known", false),
    }
}

/// A reply's name, and whether its bytes may be shown.
const fn reply(code: u8) -> (&'static str, bool) {
    match code {
        0x40 => ("ACK", true),
        0x41 => ("NAK", true),
        0x45 => ("PDID", true),
        0x46 => ("PDCAP", true),
        0x48 => ("LSTATR", true),
        0x49 => ("ISTATR", true),
        0x4a => ("OSTATR", true),
        0x4b => ("RSTATR", true),
        0x50 => ("a card (not shown)", false),
        0x51 => ("a card (not shown)", false),
        0x53 => ("keys (not shown)", false),
        0x54 => ("COM", true),
        0x57 => ("BIOREADR (not shown)", false),
        0x58 => ("BIOMATCHR (not shown)", false),
        0x76 => ("CCRYPT", false),
        0x78 => ("RMAC", false),
        0x79 => ("BUSY", true),
        0x7a => ("FTSTAT", false),
        0x90 => ("MFGREP", false),
        _ => ("a reply that isn't known", false),
    }
}

/// Why a command was refused.
pub const fn refusal(code: u8) -> &'static str {
    match code {
        1 => "wrong check",
        2 => "wrong length",
        3 => "command not known",
        4 => "wrong sequence",
        5 => "security block not taken",
        6 => "needs a secure channel",
        7 => "biometric type not known",
        8 => "biometric format not known",
        9 => "can't be carried out",
        _ => "no reason",
    }
}

/// The question of what a reader is, in a sequence of its own.
pub fn identify(address: u8) -> Vec<u8> {
    let mut frame = vec![BEGIN, address & !REPLY, 9, 0, WITH_CRC, 0x61, 0x00];
    let check = OSDP.checksum(&frame);
    frame.extend(check.to_le_bytes());
    frame
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0, |sum: u8, byte| sum.wrapping_sub(*byte))
}
