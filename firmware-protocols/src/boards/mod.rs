//! Locker boards of the market: what is asked of them, and what they say, in the same words for all.
//!
//! `BOARDS.md` tells the four protocols in full. Everything here goes by it: [`Request::encode`] writes
//! a request, [`BoardLine`] finds the frames in a stream of bytes, requests too, since an adapter that
//! hears itself returns them, and a monitor shows both directions.
//!
//! Invariant: what can't be undone can't be written. There is no request that opens several locks,
//! holds a coil, or changes the time of a pulse; where a board knows such, it is read as
//! [`BoardFrame::Foreign`] and no more.

mod cu16;
mod cu48;
mod eight_a;
mod wkly;

use alloc::vec::Vec;

use crate::frame::{Found, Framing};

/// A family of boards that speak alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Model {
    /// Kerong CU16: 16 locks, with occupancy inputs.
    KerongCu16,
    /// Kerong CU48: 48 locks.
    KerongCu48,
    /// The 24-way board that is opened with `8A`.
    EightA,
    /// Boards whose frames begin with `WKLY`.
    Wkly,
}

/// What a board may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Request {
    /// Say the states of all channels.
    Status {
        /// The board.
        address: u8,
    },
    /// Say the state of one channel. `8A` and WKLY boards only.
    ChannelStatus {
        /// The board.
        address: u8,
        /// From 1.
        channel: u16,
    },
    /// Release one lock. The board times the pulse.
    Unlock {
        /// The board.
        address: u8,
        /// From 1.
        channel: u16,
    },
}

/// Why a request can't be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unencodable {
    /// No such board.
    #[error("address {0}: such boards have 0 to {1}")]
    Address(u8, u8),
    /// No such channel.
    #[error("channel {0}: such boards have 1 to {1}")]
    Channel(u16, u16),
    /// The board can be asked for all its channels only.
    #[error("such boards can't be asked for one channel")]
    NotByChannel,
}

/// What a frame on the line says. Bits and bytes of states are as on the wire: whether a set bit is a
/// closed door depends on the lock and its wires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoardFrame {
    /// Somebody asks a board: what we sent and hear back, or another controller.
    Request(Request),
    /// The states of all channels.
    Status {
        /// The board.
        address: u8,
        /// The locks.
        states: Channels,
        /// The occupancy sensors, on a board that has inputs for them.
        occupied: Option<Channels>,
    },
    /// The state of one channel, asked for.
    Channel {
        /// The board.
        address: u8,
        /// From 1.
        channel: u16,
        /// Its state; `None` if the board says that it couldn't read it.
        state: Option<bool>,
    },
    /// A board's reply to an unlock. It doesn't say that the door is open, and not every board gives
    /// it; from an `8A` board it can't be told from the echo of the request.
    Unlocked {
        /// The board.
        address: u8,
        /// From 1.
        channel: u16,
        /// Whether it did it, if the reply says so.
        accepted: Option<bool>,
    },
    /// A state that has changed, told unasked.
    Changed {
        /// The board.
        address: u8,
        /// From 1.
        channel: u16,
        /// Its state.
        state: bool,
    },
    /// A whole frame that nothing here asks for: its meaning isn't known, or it is a request that
    /// this crate doesn't write.
    Foreign {
        /// The board.
        address: u8,
        /// The command byte.
        command: u8,
    },
}

/// A bit for each channel of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channels {
    count: u16,
    bits: u64,
}

/// Which way the bytes of a stream go. Only an `8A` board's reply can't be told from a request by
/// itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// What a controller sends.
    ToBoards,
    /// What a controller hears: replies, and echoes.
    FromBoards,
}

/// Finds the frames of a model's boards in a stream of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoardLine {
    /// What is spoken.
    pub model: Model,
    /// Which way the bytes go.
    pub direction: Direction,
}

impl Model {
    /// Every model.
    pub const ALL: [Self; 4] = [Self::KerongCu16, Self::KerongCu48, Self::EightA, Self::Wkly];

    /// The highest address; the lowest is 0.
    pub const fn address_max(self) -> u8 {
        match self {
            Self::KerongCu16 => 15,
            Self::KerongCu48 | Self::EightA | Self::Wkly => 255,
        }
    }

    /// The highest channel that can be named; the lowest is 1.
    pub const fn channel_max(self) -> u16 {
        match self {
            Self::KerongCu16 => 16,
            Self::KerongCu48 => 48,
            Self::EightA => 24,
            Self::Wkly => 255,
        }
    }

    /// Whether one channel can be asked for by itself.
    pub const fn by_channel(self) -> bool {
        matches!(self, Self::EightA | Self::Wkly)
    }

    /// Whether it is known how a board says the states of all its channels at once.
    pub const fn by_board(self) -> bool {
        !matches!(self, Self::Wkly)
    }

    /// The longest answer to a request, in bytes, as far as it is known: for reckoning how long one
    /// may take.
    pub const fn answer_bytes(self) -> usize {
        match self {
            Self::KerongCu16 => 9,
            Self::KerongCu48 => 12,
            Self::EightA => 7,
            Self::Wkly => 11,
        }
    }
}

impl Request {
    /// The board that is asked.
    pub const fn address(self) -> u8 {
        match self {
            Self::Status { address }
            | Self::ChannelStatus { address, .. }
            | Self::Unlock { address, .. } => address,
        }
    }

    /// The channel that it is about, from 1.
    pub const fn channel(self) -> Option<u16> {
        match self {
            Self::Status { .. } => None,
            Self::ChannelStatus { channel, .. } | Self::Unlock { channel, .. } => Some(channel),
        }
    }

    /// The frame.
    ///
    /// # Errors
    /// If such boards have no such address or channel, or can't be asked for one channel.
    pub fn encode(self, model: Model) -> Result<Vec<u8>, Unencodable> {
        if self.address() > model.address_max() {
            return Err(Unencodable::Address(self.address(), model.address_max()));
        }
        let max = model.channel_max();
        if let Some(channel) = self.channel()
            && !(1..=max).contains(&channel)
        {
            return Err(Unencodable::Channel(channel, max));
        }
        if matches!(self, Self::ChannelStatus { .. }) && !model.by_channel() {
            return Err(Unencodable::NotByChannel);
        }
        Ok(match model {
            Model::KerongCu16 => cu16::encode(self),
            Model::KerongCu48 => cu48::encode(self),
            Model::EightA => eight_a::encode(self),
            Model::Wkly => wkly::encode(self),
        })
    }
}

impl BoardFrame {
    /// The board that asks or is asked.
    pub const fn address(&self) -> u8 {
        match self {
            Self::Request(request) => request.address(),
            Self::Status { address, .. }
            | Self::Channel { address, .. }
            | Self::Unlocked { address, .. }
            | Self::Changed { address, .. }
            | Self::Foreign { address, .. } => *address,
        }
    }

    /// The channel that it is about, if it is about one; from 1.
    pub const fn channel(&self) -> Option<u16> {
        match self {
            Self::Request(request) => request.channel(),
            Self::Channel { channel, .. }
            | Self::Unlocked { channel, .. }
            | Self::Changed { channel, .. } => Some(*channel),
            Self::Status { .. } | Self::Foreign { .. } => None,
        }
    }
}

impl Channels {
    /// From bytes, the lowest bit of the first one being channel 1. Of at most 8 bytes.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let (mut count, mut bits) = (0, 0);
        for byte in bytes.iter().take(8) {
            bits |= u64::from(*byte) << count;
            count += 8;
        }
        Self { count, bits }
    }

    /// How many channels there are.
    pub const fn count(self) -> u16 {
        self.count
    }

    /// A channel's bit; channels count from 1.
    pub const fn get(self, channel: u16) -> Option<bool> {
        if channel < 1 || channel > self.count {
            return None;
        }
        Some(self.bits >> (channel - 1) & 1 == 1)
    }
}

impl Framing for BoardLine {
    type Frame = BoardFrame;

    const MAX_BYTES: usize = wkly::MAX_BYTES;

    fn find(&self, buffer: &[u8]) -> Found<BoardFrame> {
        match self.model {
            Model::KerongCu16 => cu16::find(buffer),
            Model::KerongCu48 => cu48::find(buffer),
            Model::EightA => eight_a::find(buffer, self.direction),
            Model::Wkly => wkly::find(buffer),
        }
    }
}

/// Bytes before the first that may begin a frame, if there are any; of at most so many that are
/// looked at.
fn before(buffer: &[u8], begins: impl Fn(u8) -> bool) -> Option<usize> {
    let looked_at = buffer.iter().take(BoardLine::MAX_BYTES);
    let count = looked_at.take_while(|byte| !begins(**byte)).count();
    (count > 0).then_some(count)
}

/// What a buffer's front is that would be a frame of this length.
fn front(
    buffer: &[u8],
    length: usize,
    read: impl Fn(&[u8]) -> Option<BoardFrame>,
) -> Found<BoardFrame> {
    let Some(bytes) = buffer.get(..length) else {
        return Found::More;
    };
    match read(bytes) {
        Some(frame) => Found::Frame {
            frame,
            used: length,
        },
        None => Found::Noise(1),
    }
}

/// The low byte of the sum.
fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// All bytes, exclusive-or.
fn xor(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}

/// The frame of these bytes, and the check over them.
fn closed_by(mut frame: Vec<u8>, check: impl Fn(&[u8]) -> u8) -> Vec<u8> {
    frame.push(check(&frame));
    frame
}

/// Whether the last byte is the check over those before it.
fn is_whole(frame: &[u8], check: impl Fn(&[u8]) -> u8) -> bool {
    let split = frame.split_last();
    split.is_some_and(|(last, rest)| *last == check(rest))
}
