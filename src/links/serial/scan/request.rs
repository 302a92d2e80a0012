//! What is asked during a scan, and what counts as an answer.
//!
//! * Locker boards: the status of all channels.
//! * Modbus: one register (functions 3 and 4, address 0). An exception is an answer, too.
//! * OSDP: what it is (`ID`), in a sequence of its own. A refusal is an answer, too. Not `POLL`: that
//!   would take an event out of the reader.
//! * Linli link: the request for a hello.

use firmware_protocols::boards::{BoardFrame, BoardLine, Direction, Request};
use firmware_protocols::frame::{Found, Framing};
use firmware_protocols::link::{Frame, Hello, Kind, Link, wire};

use crate::config::serial::Protocol;
use crate::links::serial::boards::model;
use crate::links::serial::monitor::{boards, link, modbus, osdp};

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What it is meant for.
    pub protocol: Protocol,
    /// Who is asked.
    pub address: u8,
    /// The frame.
    pub bytes: Vec<u8>,
    /// How long an answer is at most, as far as a scan waits for it.
    pub answer_bytes: usize,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Nothing, or the echo of the request.
    Nothing,
    /// An answer: what it says, in words.
    Answer(String),
    /// Something else, so many bytes.
    Unreadable(usize),
}

/// The requests by which a device at an address can be found, the first that are tried first. None
/// if such devices have no such address, or can't be asked.
pub fn probes(protocol: Protocol, address: u8) -> Vec<Probe> {
    let Some((least, most)) = protocol.addresses() else {
        return Vec::new();
    };
    if !(least..=most).contains(&address) {
        return Vec::new();
    }
    let probe = |bytes, answer_bytes| Probe {
        protocol,
        address,
        bytes,
        answer_bytes,
    };
    if let Some(model) = model(protocol) {
        let request = Request::Status { address }.encode(model);
        let request = request.map(|bytes| probe(bytes, model.answer_bytes()));
        return request.into_iter().collect();
    }
    match protocol {
        Protocol::Modbus => [3, 4]
            .map(|function| modbus::closed(vec![address, function, 0, 0, 0, 1]))
            .map(|bytes| probe(bytes, 7))
            .into(),
        Protocol::Osdp => vec![probe(osdp::identify(address), 32)],
        _ => {
            let ask = Frame {
                over: true,
                ..Frame::new(true, address, Kind::Ask)
            };
            vec![probe(ask.encode(), wire::frame_bytes(160))]
        }
    }
}

impl Probe {
    /// What came back says. What follows an answer doesn't matter.
    pub fn judge(&self, came: &[u8]) -> Reply {
        let came = came.strip_prefix(self.bytes.as_slice()).unwrap_or(came);
        if came.is_empty() {
            return Reply::Nothing;
        }
        let answer = match (model(self.protocol), self.protocol) {
            (Some(model), _) => {
                let direction = Direction::FromBoards;
                first(&BoardLine { model, direction }, came, |frame| {
                    self.board(&frame)
                })
            }
            (None, Protocol::Modbus) => self.modbus(came),
            (None, Protocol::Osdp) => self.osdp(came),
            _ => first(&Link, came, |frame| self.link(&frame)),
        };
        match answer {
            Some(words) => Reply::Answer(words),
            None => Reply::Unreadable(came.len()),
        }
    }

    /// Whether what came begins with the request itself.
    pub fn is_echoed(&self, came: &[u8]) -> bool {
        came.starts_with(&self.bytes)
    }

    fn board(&self, frame: &BoardFrame) -> Option<String> {
        let asks = matches!(frame, BoardFrame::Request(_) | BoardFrame::Unlocked { .. });
        if asks || frame.address() != self.address {
            return None;
        }
        Some(boards::words(frame).words)
    }

    fn modbus(&self, came: &[u8]) -> Option<String> {
        let function = *self.bytes.get(1)?;
        let refused = came.get(..5).filter(|frame| modbus::is_whole(frame));
        let value = came.get(..7).filter(|frame| modbus::is_whole(frame));
        match (refused, value) {
            (Some(&[address, code, why, ..]), _)
                if address == self.address && code == function | 0x80 =>
            {
                let why = modbus::exception(why);
                Some(format!("answers function {function}, register 0: {why}"))
            }
            (_, Some(&[address, code, 2, high, low, ..]))
                if address == self.address && code == function =>
            {
                let value = u16::from_be_bytes([high, low]);
                let table = if function == 3 { "holding" } else { "input" };
                Some(format!("{table} register 0 is {value}"))
            }
            _ => None,
        }
    }

    fn osdp(&self, came: &[u8]) -> Option<String> {
        let mut rest = came;
        loop {
            match osdp::find(rest) {
                Found::More => return None,
                Found::Noise(bytes) => rest = rest.get(bytes.max(1)..)?,
                Found::Frame { frame, used } => {
                    if frame.reply && frame.address == self.address {
                        return Some(osdp_words(&frame));
                    }
                    rest = rest.get(used.max(1)..)?;
                }
            }
        }
    }

    fn link(&self, frame: &Frame) -> Option<String> {
        if frame.from_gateway || frame.address != self.address {
            return None;
        }
        Some(match (frame.kind, Hello::decode(&frame.payload)) {
            (Kind::Hello, Ok(hello)) => link::hello_words(&hello),
            _ => "speaks the link".to_string(),
        })
    }
}

fn osdp_words(packet: &osdp::Packet) -> String {
    match (packet.code, packet.data.as_slice()) {
        (0x45, &[v1, v2, v3, model, version, ..]) => {
            format!("reader of vendor {v1:02x}{v2:02x}{v3:02x}, model {model}, version {version}")
        }
        (0x41, &[why, ..]) => format!("reader that refuses to say more ({})", osdp::refusal(why)),
        _ => "reader".to_string(),
    }
}

/// The first frame that answers.
fn first<P: Framing>(
    protocol: &P,
    came: &[u8],
    answers: impl Fn(P::Frame) -> Option<String>,
) -> Option<String> {
    let mut rest = came;
    loop {
        match protocol.find(rest) {
            Found::More => return None,
            Found::Noise(bytes) => rest = rest.get(bytes.max(1)..)?,
            Found::Frame { frame, used } => match answers(frame) {
                Some(words) => return Some(words),
                None => rest = rest.get(used.max(1)..)?,
            },
        }
    }
}

#[cfg(test)]
mod tests;
