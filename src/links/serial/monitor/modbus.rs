//! Modbus RTU (Modbus over serial line, V1.02), in words.
//!
//! On the line only silence tells where a frame ends. Here the length follows from the function, and
//! the CRC confirms it; where request and reply have different lengths and it isn't known which it
//! is, both are tried.

use firmware_protocols::frame::{Found, Framing};

use super::Said;
use crate::links::serial::check::MODBUS;

/// The longest frame.
pub const FRAME_MAX_BYTES: usize = 256;

/// Frames of Modbus RTU.
#[derive(Debug, Clone, Copy)]
pub struct Rtu {
    /// Whether the gateway sent them, if that is known.
    pub ours: Option<bool>,
}

impl Framing for Rtu {
    type Frame = Said;

    const MAX_BYTES: usize = FRAME_MAX_BYTES;

    fn find(&self, buffer: &[u8]) -> Found<Said> {
        let mut may_grow = false;
        let requests = [(true, request_bytes(buffer)), (false, reply_bytes(buffer))];
        for (request, length) in requests {
            if self.ours.is_some_and(|ours| ours != request) {
                continue;
            }
            match length {
                Length::Known(length) => match buffer.get(..length) {
                    Some(frame) if is_whole(frame) => {
                        return Found::Frame {
                            frame: words(frame, request),
                            used: length,
                        };
                    }
                    Some(_) => {}
                    None => may_grow = true,
                },
                Length::Later => may_grow = true,
                Length::None => {}
            }
        }
        match may_grow && buffer.len() < Self::MAX_BYTES {
            true => Found::More,
            false => Found::Noise(1),
        }
    }
}

/// How long a frame is.
enum Length {
    Known(usize),
    /// Too little has come to say.
    Later,
    /// It is none.
    None,
}

fn request_bytes(buffer: &[u8]) -> Length {
    match (buffer.first(), buffer.get(1)) {
        (Some(248..), _) => Length::None,
        (_, None) => Length::Later,
        (_, Some(1..=6)) => Length::Known(8),
        (_, Some(15 | 16)) => counted(buffer.get(6), 9),
        _ => Length::None,
    }
}

fn reply_bytes(buffer: &[u8]) -> Length {
    match (buffer.first(), buffer.get(1)) {
        (Some(248..), _) => Length::None,
        (_, None) => Length::Later,
        (_, Some(1..=4)) => counted(buffer.get(2), 5),
        (_, Some(5 | 6 | 15 | 16)) => Length::Known(8),
        (_, Some(0x81..=0x90)) => Length::Known(5),
        _ => Length::None,
    }
}

fn counted(count: Option<&u8>, beside: usize) -> Length {
    match count {
        Some(count) if usize::from(*count) + beside <= FRAME_MAX_BYTES => {
            Length::Known(usize::from(*count) + beside)
        }
        Some(_) => Length::None,
        None => Length::Later,
    }
}

fn words(frame: &[u8], request: bool) -> Said {
    let byte = |at: usize| frame.get(at).copied().unwrap_or(0);
    let word = |at: usize| u16::from_be_bytes([byte(at), byte(at + 1)]);
    let slave = match byte(0) {
        0 => "all slaves".to_string(),
        slave => format!("slave {slave}"),
    };
    let function = byte(1);
    let text = match (function, request) {
        (1..=4, true) => {
            let (first, count) = (word(2), word(4));
            format!(
                "{slave}: {} from {first}, {count} of them?",
                table(function)
            )
        }
        (1 | 2, false) => {
            let data = frame.get(3..frame.len() - 2).unwrap_or(&[]);
            let bits: Vec<String> = data.iter().map(|byte| format!("{byte:08b}")).collect();
            format!("{slave}: {} {}", table(function), bits.join(" "))
        }
        (3 | 4, false) => {
            let data = frame.get(3..frame.len() - 2).unwrap_or(&[]);
            let words = data.chunks_exact(2).take(16);
            let words: Vec<String> = words
                .map(|pair| match pair {
                    [high, low] => u16::from_be_bytes([*high, *low]).to_string(),
                    _ => String::new(),
                })
                .collect();
            let more = if data.len() > 32 { " ..." } else { "" };
            format!("{slave}: {} {}{more}", table(function), words.join(" "))
        }
        (5 | 6, request) => {
            let what = if function == 5 { "coil" } else { "register" };
            let done = if request { "SET" } else { "has set" };
            format!("{slave}: {done} {what} {} to {}", word(2), word(4))
        }
        (15 | 16, request) => {
            let what = if function == 15 { "coils" } else { "registers" };
            let done = if request { "SET" } else { "has set" };
            format!("{slave}: {done} {} {what} from {}", word(4), word(2))
        }
        (function, _) => {
            let said = exception(byte(2));
            format!("{slave}: EXCEPTION to function {}: {said}", function & 0x7f)
        }
    };
    Said::open(text).from_gateway(request)
}

const fn table(function: u8) -> &'static str {
    match function {
        1 => "coils",
        2 => "discrete inputs",
        3 => "holding registers",
        _ => "input registers",
    }
}

/// An exception's meaning (Modbus application protocol V1.1b3 § 7).
pub const fn exception(code: u8) -> &'static str {
    match code {
        1 => "no such function",
        2 => "no such address",
        3 => "no such value",
        4 => "the device failed",
        5 => "accepted, it takes a while",
        6 => "busy",
        8 => "its memory is damaged",
        10 => "no path to the device behind it",
        11 => "the device behind it doesn't answer",
        _ => "unknown",
    }
}

/// Whether the last two bytes are the CRC of those before.
pub fn is_whole(frame: &[u8]) -> bool {
    frame
        .split_last_chunk::<2>()
        .is_some_and(|(said, check)| MODBUS.checksum(said).to_le_bytes() == *check)
}

/// The frame with its CRC.
pub fn closed(mut frame: Vec<u8>) -> Vec<u8> {
    let check = MODBUS.checksum(&frame);
    frame.extend(check.to_le_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_and_its_replies_are_told_apart() {
        // Modbus over serial line, an example known everywhere: slave 1, two registers from 0.
        let request = [0x01, 0x03, 0x00, 0x00, 0x00, 0x02, 0xc4, 0x0b];
        assert_eq!(closed(request[..6].to_vec()), request);
        let any = Rtu { ours: None };
        let Found::Frame { frame, used: 8 } = any.find(&request) else {
            panic!("{:?}", any.find(&request));
        };
        assert_eq!(frame.words, "slave 1: holding registers from 0, 2 of them?");
        assert_eq!(frame.from_gateway, Some(true));
        let reply = closed(vec![1, 3, 4, 0, 7, 1, 0]);
        let Found::Frame { frame, .. } = any.find(&reply) else {
            panic!();
        };
        assert_eq!(frame.words, "slave 1: holding registers 7 256");
        let refused = closed(vec![1, 0x83, 2]);
        let Found::Frame { frame, used: 5 } = any.find(&refused) else {
            panic!();
        };
        assert_eq!(
            frame.words,
            "slave 1: EXCEPTION to function 3: no such address"
        );
        let both = [request.to_vec(), reply].concat();
        let theirs = Rtu { ours: Some(false) };
        assert!(matches!(theirs.find(&both), Found::Noise(1)));
    }

    #[test]
    fn a_wrong_check_is_no_frame() {
        let mut request = closed(vec![1, 3, 0, 0, 0, 2]);
        request[4] ^= 1;
        assert!(matches!(
            Rtu { ours: Some(true) }.find(&request),
            Found::Noise(1)
        ));
    }
}
