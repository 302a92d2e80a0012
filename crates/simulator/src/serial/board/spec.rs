//! What a locker board is like, and what can be wrong with it.

use std::time::Duration;

/// What a board speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    /// Kerong CU16: 16 locks with hooks and infrared sensors.
    KerongCu16,
    /// Kerong CU48: 48 locks.
    KerongCu48,
    /// `8A`: 24 locks.
    EightA,
    /// WKLY: it may tell changes by itself.
    Wkly,
}

impl Speech {
    /// The rate that the board leaves the factory with.
    pub const fn baud(self) -> u32 {
        match self {
            Self::KerongCu16 | Self::KerongCu48 => 19_200,
            Self::EightA | Self::Wkly => 9_600,
        }
    }
}

/// What a board is like.
#[derive(Debug, Clone)]
pub struct BoardSpec {
    /// What it speaks.
    pub speech: Speech,
    /// Its address.
    pub address: u8,
    /// How many locks it drives.
    pub channels: u16,
    /// A closed door's bit is 1, or its byte 11 or [`Self::state_one`].
    pub closed_is_one: bool,
    /// CU16: it has infrared sensors, and what one says of something inside.
    pub occupied_is_one: Option<bool>,
    /// Whether it replies to an unlock. Many CU16 don't.
    pub replies_to_unlock: bool,
    /// WKLY: it tells changes by itself.
    pub tells_changes: bool,
    /// WKLY: such a change begins with a status as replies do.
    pub change_has_status: bool,
    /// WKLY: the byte of a state that is set.
    pub state_one: u8,
    /// How long it thinks before it answers.
    pub thinks: Duration,
    /// How long it holds a lock's coil.
    pub pulse: Duration,
    /// How long after the pulse began the door has sprung open.
    pub springs: Duration,
}

impl BoardSpec {
    /// A healthy board as it leaves the factory: set bits are closed doors, no infrared sensors.
    pub fn new(speech: Speech, address: u8) -> Self {
        let channels = match speech {
            Speech::KerongCu16 => 16,
            Speech::KerongCu48 => 48,
            Speech::EightA => 24,
            Speech::Wkly => 12,
        };
        Self {
            speech,
            address,
            channels,
            closed_is_one: true,
            occupied_is_one: None,
            replies_to_unlock: speech != Speech::KerongCu16,
            tells_changes: speech == Speech::Wkly,
            change_has_status: false,
            state_one: 0x01,
            thinks: Duration::from_millis(2),
            pulse: Duration::from_millis(500),
            springs: Duration::from_millis(30),
        }
    }
}

/// What is wrong with a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quirk {
    /// It neither answers nor does anything.
    Dead,
    /// It carries every unlock out twice.
    OpensTwice,
    /// It opens the door beside the right one.
    OpensNeighbour,
    /// The door opens, and its hook goes on saying that it is closed: a broken cable.
    NeverConfirms,
    /// Its hooks say the opposite of what they should.
    WrongPolarity,
    /// The checksums of what it says are wrong.
    BadChecksums,
    /// It opens a lock a second later by itself: a glitch of its own.
    OpensLater,
}
