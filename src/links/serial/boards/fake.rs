//! Boards to test the driver against: bytes in, bytes out, each protocol written once more by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use crate::config::serial::Protocol;

/// A board on the fake line. Its hooks show a set bit for a closed door.
#[derive(Debug, Clone, Default)]
pub struct FakeBoard {
    /// Channels whose door is open.
    pub open: BTreeSet<u16>,
    /// Channels with something inside.
    pub full: BTreeSet<u16>,
    /// Channels whose lock doesn't move.
    pub jammed: BTreeSet<u16>,
    /// It says nothing and does nothing.
    pub dead: bool,
    /// It replies to an unlock.
    pub replies: bool,
    /// It answers only after this long.
    pub slow: Duration,
}

/// What the far end of a line knows.
#[derive(Default)]
pub struct Wire {
    /// By address.
    pub boards: BTreeMap<u8, FakeBoard>,
    /// Each unlock: when, the address, the channel.
    pub unlocks: Vec<(Instant, u8, u16)>,
    /// Each request for a status: the address.
    pub asked: Vec<(Instant, u8)>,
    /// The adapter hears itself.
    pub echo: bool,
    /// Bytes that go out before the next answer.
    pub noise: Vec<u8>,
}

pub type Shared = Arc<Mutex<Wire>>;

/// Answers on the far end until it is closed; what is sent into `by_itself` goes out at once.
pub async fn play(
    protocol: Protocol,
    mut far: DuplexStream,
    wire: Shared,
    mut by_itself: tokio::sync::mpsc::Receiver<Vec<u8>>,
) {
    let mut came = Vec::new();
    loop {
        let mut chunk = [0; 64];
        tokio::select! {
            read = far.read(&mut chunk) => match read {
                Ok(n @ 1..) => came.extend_from_slice(&chunk[..n]),
                _ => return,
            },
            Some(bytes) = by_itself.recv() => {
                if far.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        }
        while let Some(request) = cut(protocol, &mut came) {
            let (answer, slow) = wire.lock().unwrap().answer(protocol, &request);
            tokio::time::sleep(slow).await;
            if far.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}

/// A whole request off the front.
fn cut(protocol: Protocol, came: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = match protocol {
        Protocol::KerongCu16 | Protocol::EightA => 5,
        Protocol::KerongCu48 => 6,
        _ => usize::from(*came.get(4)?),
    };
    (came.len() >= length).then(|| came.drain(..length).collect())
}

impl Wire {
    fn answer(&mut self, protocol: Protocol, request: &[u8]) -> (Vec<u8>, Duration) {
        let now = Instant::now();
        let (address, unlock) = read(protocol, request);
        let mut out = match self.echo {
            true => request.to_vec(),
            false => Vec::new(),
        };
        out.append(&mut self.noise);
        match unlock {
            Some(channel) => self.unlocks.push((now, address, channel)),
            None => self.asked.push((now, address)),
        }
        let Some(board) = self.boards.get_mut(&address).filter(|board| !board.dead) else {
            return (out, Duration::ZERO);
        };
        let slow = board.slow;
        if let Some(channel) = unlock {
            if !board.jammed.contains(&channel) {
                board.open.insert(channel);
            }
            if board.replies {
                out.extend(reply_to_unlock(protocol, address, channel, request));
            }
            return (out, slow);
        }
        out.extend(board.status(protocol, address, request));
        (out, slow)
    }
}

impl FakeBoard {
    fn status(&self, protocol: Protocol, address: u8, request: &[u8]) -> Vec<u8> {
        let closed = |first: u16| bits(first, |channel| !self.open.contains(&channel));
        let full = |first: u16| bits(first, |channel| self.full.contains(&channel));
        match protocol {
            Protocol::KerongCu16 => {
                let hooks = [closed(1), closed(9), full(1), full(9)];
                let mut frame = vec![0x02, address << 4, 0x35];
                frame.extend(hooks);
                frame.push(0x03);
                summed(frame)
            }
            Protocol::KerongCu48 => {
                let mut frame = vec![0x02, address, 0x00, 0x75, 0x06];
                frame.extend([1, 9, 17, 25, 33, 41].map(closed));
                summed(frame)
            }
            Protocol::EightA => xored(vec![0x80, address, closed(17), closed(9), closed(1), 0x33]),
            _ => wkly_state(
                0x83,
                address,
                request[7],
                !self.open.contains(&u16::from(request[7])),
            ),
        }
    }
}

/// A WKLY board's word on a channel.
pub fn wkly_state(command: u8, address: u8, channel: u8, closed: bool) -> Vec<u8> {
    let state = if closed { 0xff } else { 0x00 };
    let mut frame = b"WKLY".to_vec();
    frame.extend([0x0b, address, command, 0x00, channel, state]);
    xored(frame)
}

fn reply_to_unlock(protocol: Protocol, address: u8, channel: u16, request: &[u8]) -> Vec<u8> {
    let channel = u8::try_from(channel).unwrap();
    match protocol {
        Protocol::KerongCu48 => summed(vec![0x02, address, channel - 1, 0x75, 0x00]),
        Protocol::EightA => request.to_vec(),
        Protocol::Wkly => wkly_state(0x82, address, channel, true),
        _ => Vec::new(),
    }
}

/// The address, and the channel to be unlocked.
fn read(protocol: Protocol, request: &[u8]) -> (u8, Option<u16>) {
    let (address, unlock, channel) = match protocol {
        Protocol::KerongCu16 => {
            let unlock = request[2] == 0x31;
            (request[1] >> 4, unlock, (request[1] & 0x0f) + 1)
        }
        Protocol::KerongCu48 => (request[1], request[3] == 0x61, request[2] + 1),
        Protocol::EightA => (request[1], request[0] == 0x8a, request[2]),
        _ => (request[5], request[6] == 0x82, request[7]),
    };
    (address, unlock.then_some(u16::from(channel)))
}

fn bits(first: u16, set: impl Fn(u16) -> bool) -> u8 {
    (0..8).fold(0, |bits, n| bits | u8::from(set(first + n)) << n)
}

fn summed(mut frame: Vec<u8>) -> Vec<u8> {
    let sum = frame.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    frame.push((sum % 256) as u8);
    frame
}

fn xored(mut frame: Vec<u8>) -> Vec<u8> {
    frame.push(frame.iter().fold(0, |all, byte| all ^ byte));
    frame
}
