//! What goes over a line, in words, for `linli serial monitor`.
//!
//! Bytes go in as they were sent or heard, frames come out, each with its time, the pause before it,
//! and what it says. Whatever isn't a frame is named as such. What is personal never comes out: not
//! digits, cards, symbols that were scanned, nor pickup codes; the bytes of a frame only if it can't
//! hold any of these.
//!
//! Bound: [`Framing::MAX_BYTES`] and [`NOISE_MAX`] bytes each way.

pub mod boards;
pub mod link;
pub mod modbus;
pub mod osdp;

use std::time::{Duration, Instant};

use firmware_protocols::boards::Model;
use firmware_protocols::frame::{Found, Framing};
use serde::{Deserialize, Serialize};

use crate::config::serial::Protocol;

/// After so long without a byte what waits is no frame any more.
pub const IDLE: Duration = Duration::from_millis(60);

/// How many bytes that are no frame are shown together.
const NOISE_MAX: usize = 512;

/// The most bytes that are shown of a frame.
const HEX_MAX: usize = 64;

/// What a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// In words, without anything personal.
    pub words: String,
    /// Whether its bytes may hold something personal.
    pub personal: bool,
    /// Whether the gateway sends it, as far as the frame itself tells.
    pub from_gateway: Option<bool>,
}

impl Said {
    /// Something that anybody may see.
    pub fn open(words: impl Into<String>) -> Self {
        Self {
            words: words.into(),
            personal: false,
            from_gateway: None,
        }
    }

    /// Something of which only the words may be seen.
    pub fn personal(words: impl Into<String>) -> Self {
        Self {
            personal: true,
            ..Self::open(words)
        }
    }

    /// Of the gateway, or of a device.
    pub fn from_gateway(self, from_gateway: bool) -> Self {
        Self {
            from_gateway: Some(from_gateway),
            ..self
        }
    }
}

/// Something that went over the line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    /// When its first byte was seen, ms since the Unix epoch.
    pub at_ms: i64,
    /// How long the line was quiet before it, ms.
    pub gap_ms: f64,
    /// `gateway`, `device`, or `line` if that can't be told.
    pub from: String,
    /// Whether it is a whole frame.
    pub frame: bool,
    /// How many bytes it has.
    pub bytes: usize,
    /// In words.
    pub words: String,
    /// Its bytes, if they were asked for and hold nothing personal.
    pub hex: Option<String>,
}

/// Listens to a line.
#[derive(Debug)]
pub struct Monitor {
    protocol: Protocol,
    /// Both directions come together: who speaks is known from the frames at most.
    mixed: bool,
    raw: bool,
    began: Instant,
    began_ms: i64,
    quiet_since: Option<Instant>,
    /// What devices say, and what we say.
    ways: [Way; 2],
}

#[derive(Debug, Default)]
struct Way {
    buffer: Vec<u8>,
    /// When the first byte of the buffer came.
    since: Option<Instant>,
    /// How long the line had been quiet then.
    gap: Duration,
    noise: Vec<u8>,
}

impl Monitor {
    /// Listens to a line that speaks `protocol`. `mixed`: what devices say and what is said to them
    /// can't be told apart by where it comes from. `raw`: bytes are shown, too.
    pub fn new(protocol: Protocol, mixed: bool, raw: bool, now: Instant, now_ms: i64) -> Self {
        Self {
            protocol,
            mixed,
            raw,
            began: now,
            began_ms: now_ms,
            quiet_since: None,
            ways: Default::default(),
        }
    }

    /// These bytes went over the line; `ours` if the gateway sent them.
    pub fn take(&mut self, at: Instant, ours: bool, bytes: &[u8], out: &mut Vec<Heard>) {
        self.idle(at, out);
        let quiet = self
            .quiet_since
            .map(|since| at.saturating_duration_since(since));
        self.quiet_since = Some(at);
        for chunk in bytes.chunks(NOISE_MAX) {
            let way = self.way(ours);
            if way.since.is_none() {
                way.since = Some(at);
                way.gap = quiet.unwrap_or_default();
            }
            way.buffer.extend_from_slice(chunk);
            self.find(ours, at, out);
        }
    }

    /// It is now; what has waited for more bytes for too long is no frame.
    pub fn idle(&mut self, now: Instant, out: &mut Vec<Heard>) {
        let quiet = self
            .quiet_since
            .map(|since| now.saturating_duration_since(since));
        if quiet.is_none_or(|quiet| quiet < IDLE) {
            return;
        }
        for ours in [false, true] {
            let way = self.way(ours);
            let rest = std::mem::take(&mut way.buffer);
            way.noise.extend(rest);
            self.tell_noise(ours, out);
            self.way(ours).since = None;
        }
    }

    /// When [`Self::idle`] is to be called if nothing more comes.
    pub fn due(&self) -> Option<Instant> {
        let waits = self.ways.iter().any(|way| way.since.is_some());
        self.quiet_since.filter(|_| waits).map(|since| since + IDLE)
    }

    fn find(&mut self, ours: bool, at: Instant, out: &mut Vec<Heard>) {
        loop {
            let direction = (!self.mixed).then_some(ours);
            let (protocol, way) = (self.protocol, self.way(ours));
            if way.buffer.is_empty() {
                if way.noise.is_empty() {
                    way.since = None;
                }
                return;
            }
            match find(protocol, direction, &way.buffer) {
                Found::More => return,
                Found::Noise(bytes) => {
                    let bytes = bytes.clamp(1, way.buffer.len());
                    way.noise.extend(way.buffer.drain(..bytes));
                    if way.noise.len() >= NOISE_MAX {
                        self.tell_noise(ours, out);
                    }
                }
                Found::Frame { frame, used } => {
                    self.tell_noise(ours, out);
                    let way = self.way(ours);
                    let used = used.clamp(1, way.buffer.len());
                    let bytes: Vec<u8> = way.buffer.drain(..used).collect();
                    let heard = self.heard(ours, frame, true, &bytes);
                    out.push(heard);
                    let way = self.way(ours);
                    (way.since, way.gap) = (Some(at), Duration::ZERO);
                }
            }
        }
    }

    fn tell_noise(&mut self, ours: bool, out: &mut Vec<Heard>) {
        let noise = std::mem::take(&mut self.way(ours).noise);
        if noise.is_empty() {
            return;
        }
        let said = noise_words(self.protocol, &noise);
        let heard = self.heard(ours, said, false, &noise);
        out.push(heard);
        self.way(ours).gap = Duration::ZERO;
    }

    fn heard(&mut self, ours: bool, said: Said, frame: bool, bytes: &[u8]) -> Heard {
        let from = match (self.mixed, said.from_gateway) {
            (false, _) => Some(ours),
            (true, from) => from,
        };
        let (began, began_ms, raw) = (self.began, self.began_ms, self.raw);
        let way = self.way(ours);
        let at = way.since.unwrap_or(began).saturating_duration_since(began);
        Heard {
            at_ms: began_ms.saturating_add(i64::try_from(at.as_millis()).unwrap_or(i64::MAX)),
            gap_ms: way.gap.as_secs_f64() * 1_000.0,
            from: match from {
                Some(true) => "gateway",
                Some(false) => "device",
                None => "line",
            }
            .to_string(),
            frame,
            bytes: bytes.len(),
            words: said.words,
            hex: (raw && !said.personal).then(|| hex(bytes)),
        }
    }

    /// Both directions share one buffer when they come together.
    fn way(&mut self, ours: bool) -> &mut Way {
        let [theirs, our] = &mut self.ways;
        match ours && !self.mixed {
            true => our,
            false => theirs,
        }
    }
}

/// What the front of a buffer is. `ours`: whether the gateway sent it, if that is known.
pub fn find(protocol: Protocol, ours: Option<bool>, buffer: &[u8]) -> Found<Said> {
    match protocol {
        Protocol::Linli => link::Words.find(buffer),
        Protocol::KerongCu16 => boards::find(Model::KerongCu16, ours, buffer),
        Protocol::KerongCu48 => boards::find(Model::KerongCu48, ours, buffer),
        Protocol::EightA => boards::find(Model::EightA, ours, buffer),
        Protocol::Wkly => boards::find(Model::Wkly, ours, buffer),
        Protocol::Modbus => modbus::Rtu { ours }.find(buffer),
        Protocol::Osdp => osdp::Osdp.find(buffer),
        Protocol::Lines => line(buffer),
    }
}

/// A typed line, up to its end.
fn line(buffer: &[u8]) -> Found<Said> {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let ends = buffer.iter().take_while(|byte| is_end(byte)).count();
    if ends > 0 {
        return Found::Frame {
            frame: Said::personal("end of a line"),
            used: ends,
        };
    }
    match buffer.iter().position(is_end) {
        Some(length) => Found::Frame {
            frame: Said::personal(format!("a line of {length} characters (not shown)")),
            used: length
                + buffer
                    .iter()
                    .skip(length)
                    .take_while(|byte| is_end(byte))
                    .count(),
        },
        None if buffer.len() < NOISE_MAX => Found::More,
        None => Found::Noise(buffer.len()),
    }
}

/// Bytes that belong to no frame. Of protocols that carry something personal they aren't shown:
/// they may be a damaged frame.
fn noise_words(protocol: Protocol, bytes: &[u8]) -> Said {
    let count = bytes.len();
    let damaged = match (protocol, bytes) {
        (Protocol::Lines, _) => {
            return Said::personal(format!(
                "{count} characters without an end of line (not shown)"
            ));
        }
        (Protocol::KerongCu16 | Protocol::KerongCu48, [0x02, ..]) => count >= 5,
        (Protocol::EightA, [0x80 | 0x8a, ..]) => count >= 5,
        (Protocol::Wkly, bytes) => count >= 8 && bytes.starts_with(b"WKLY"),
        (Protocol::Osdp, [0x53, ..]) => count >= 7,
        (Protocol::Linli, _) => count >= 14,
        (Protocol::Modbus, _) => count >= 4,
        _ => false,
    };
    let words = match damaged {
        true => format!("NO FRAME: {count} bytes; like one with a wrong check or a part of one"),
        false => format!("NO FRAME: {count} bytes"),
    };
    match protocol {
        Protocol::Linli | Protocol::Osdp => Said::personal(words),
        _ => Said::open(words),
    }
}

/// Bytes as two digits each, with a space between.
fn hex(bytes: &[u8]) -> String {
    let shown = bytes.iter().take(HEX_MAX);
    let mut text: Vec<String> = shown.map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > HEX_MAX {
        text.push("...".to_string());
    }
    text.join(" ")
}

#[cfg(test)]
mod tests;
