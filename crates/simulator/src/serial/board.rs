//! A locker board of the market: it hears requests, moves locks, says what its hooks and infrared
//! sensors feel, and keeps a record of every pulse, so that a test can say 'opened exactly once'.

mod spec;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{Say, Slave, Waker, eight_a, kerong, wkly};
use crate::compartments::Compartments;
use crate::device::lock;
pub use spec::{BoardSpec, Quirk, Speech};

/// The longest tail that a request is looked for in.
const TAIL_MAX: usize = 24;
/// How many pulses are kept; later ones are counted only.
const PULSES_MAX: usize = 10_000;
/// How many commands are kept that no gateway may send.
const FORBIDDEN_MAX: usize = 100;

/// A pulse that went to a lock's coil.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulse {
    /// When it began.
    pub at: Instant,
    /// The channel, from 1.
    pub channel: u16,
    /// How long it was.
    pub length: Duration,
}

/// What a board is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Which board.
    pub address: u8,
    /// What.
    pub asked: Asked,
}

/// What a board is asked. Channels count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The status of all locks.
    Status,
    /// The status of one.
    StatusOf(u16),
    /// To unlock one.
    Unlock(u16),
    /// To unlock all: no gateway may ask for it.
    UnlockAll,
    /// Another command, by its number: no gateway has a reason to send it.
    Other(u8),
}

/// A board. Clones are the same one.
#[derive(Clone)]
pub struct Board(Arc<Shared>);

struct Shared {
    spec: BoardSpec,
    compartments: Compartments,
    /// The compartment that each channel's lock is of.
    wiring: BTreeMap<u16, u16>,
    state: Mutex<State>,
    /// Channels whose doors moved, to be told.
    moved: Mutex<VecDeque<u16>>,
    waker: Mutex<Option<Waker>>,
}

#[derive(Default)]
struct State {
    tail: Vec<u8>,
    quirks: BTreeSet<Quirk>,
    pulses: Vec<Pulse>,
    pulses_more: u64,
    /// Pulses to come, and doors that are springing open.
    later: VecDeque<(Instant, Later)>,
    asked: u64,
    forbidden: Vec<String>,
}

#[derive(Clone, Copy)]
enum Later {
    Pulse(u16),
    Springs(u16),
}

impl Board {
    /// A board whose channel 1 is the compartment `first`.
    pub fn new(spec: BoardSpec, compartments: &Compartments, first: u16) -> Self {
        let channels = 1..=spec.channels;
        let wiring = channels.map(|channel| (channel, first.saturating_add(channel - 1)));
        let wiring = wiring.collect();
        Self::wired(spec, compartments, wiring)
    }

    /// A board whose channels are wired to these compartments.
    pub fn wired(spec: BoardSpec, compartments: &Compartments, wiring: BTreeMap<u16, u16>) -> Self {
        let tells = spec.tells_changes && spec.speech == Speech::Wkly;
        let board = Self(Arc::new(Shared {
            spec,
            compartments: compartments.clone(),
            wiring,
            state: Mutex::default(),
            moved: Mutex::default(),
            waker: Mutex::default(),
        }));
        if tells {
            let told = Arc::downgrade(&board.0);
            compartments.on_move(Box::new(move |compartment| {
                if let Some(board) = told.upgrade()
                    && let Some(channel) = board.channel(compartment)
                {
                    lock(&board.moved).push_back(channel);
                    board.wake();
                }
            }));
        }
        board
    }

    /// What it is like.
    pub fn spec(&self) -> &BoardSpec {
        &self.0.spec
    }

    /// The compartment that each channel's lock is of.
    pub fn wiring(&self) -> &BTreeMap<u16, u16> {
        &self.0.wiring
    }

    /// Every pulse that went to a lock, in order.
    pub fn pulses(&self) -> Vec<Pulse> {
        lock(&self.0.state).pulses.clone()
    }

    /// How many went to the lock of one compartment.
    pub fn pulses_of(&self, compartment: u16) -> usize {
        let channel = self.0.channel(compartment);
        let state = lock(&self.0.state);
        let pulses = state.pulses.iter();
        pulses.filter(|p| Some(p.channel) == channel).count()
    }

    /// How many pulses there were in all, also those beyond what is kept.
    pub fn pulse_count(&self) -> u64 {
        let state = lock(&self.0.state);
        state.pulses.len() as u64 + state.pulses_more
    }

    /// How many requests for it came.
    pub fn asked(&self) -> u64 {
        lock(&self.0.state).asked
    }

    /// What no gateway may send and came all the same, in words.
    pub fn forbidden(&self) -> Vec<String> {
        lock(&self.0.state).forbidden.clone()
    }

    /// Something is wrong with it from now on, or not any more.
    pub fn set(&self, quirk: Quirk, there: bool) {
        let mut state = lock(&self.0.state);
        match there {
            true => state.quirks.insert(quirk),
            false => state.quirks.remove(&quirk),
        };
    }

    /// A visible sign that the board was started anew: nothing under way goes on.
    pub fn restart(&self) {
        let mut state = lock(&self.0.state);
        state.tail.clear();
        state.later.clear();
        lock(&self.0.moved).clear();
    }
}

impl Slave for Board {
    fn connected(&mut self, waker: Waker) {
        *lock(&self.0.waker) = Some(waker);
    }

    fn hear(&mut self, byte: u8, at: Instant) -> Option<Say> {
        let board = &*self.0;
        let mut state = lock(&board.state);
        if state.tail.len() == TAIL_MAX {
            state.tail.remove(0);
        }
        state.tail.push(byte);
        let request = board.request(&state.tail)?;
        state.tail.clear();
        if request.address != board.spec.address || state.has(Quirk::Dead) {
            return None;
        }
        state.asked += 1;
        board.obey(&mut state, request.asked, at)
    }

    fn due(&self) -> Option<Instant> {
        let state = lock(&self.0.state);
        let later = state.later.iter().map(|(at, _)| *at).min();
        let moved = !lock(&self.0.moved).is_empty();
        // A second ago is due in any case.
        let now = moved.then(|| Instant::now().checked_sub(Duration::from_secs(1)));
        later.into_iter().chain(now.flatten()).min()
    }

    fn act(&mut self, now: Instant) -> Option<Say> {
        let board = &*self.0;
        let mut state = lock(&board.state);
        while let Some(index) = state.later.iter().position(|(at, _)| *at <= now) {
            match state.later.remove(index) {
                Some((at, Later::Pulse(channel))) => board.pulse(&mut state, channel, at),
                Some((_, Later::Springs(channel))) => {
                    if let Some(compartment) = board.wiring.get(&channel) {
                        board.compartments.unlock(*compartment);
                    }
                }
                None => {}
            }
        }
        let channel = lock(&board.moved).pop_front()?;
        if state.has(Quirk::Dead) {
            return None;
        }
        let told = board.state_byte(&state, channel)?;
        let (address, with_status) = (board.spec.address, board.spec.change_has_status);
        Some(board.say(&state, wkly::change(address, channel, told, with_status)))
    }
}

impl Shared {
    fn request(&self, tail: &[u8]) -> Option<Request> {
        match self.spec.speech {
            Speech::KerongCu16 => kerong::cu16_request(tail),
            Speech::KerongCu48 => kerong::cu48_request(tail),
            Speech::EightA => eight_a::request(tail),
            Speech::Wkly => wkly::request(tail),
        }
    }

    fn obey(&self, state: &mut State, asked: Asked, at: Instant) -> Option<Say> {
        let reply = match asked {
            Asked::Status => Some(self.status(state)),
            Asked::StatusOf(channel) => self.status_of(state, channel),
            Asked::Unlock(channel) => self.unlock(state, channel, at),
            Asked::UnlockAll => {
                state.forbid("unlock all");
                for channel in 1..=self.spec.channels {
                    self.pulse(state, channel, at);
                }
                None
            }
            Asked::Other(command) => {
                state.forbid(&format!("command {command:02X}"));
                None
            }
        };
        reply.map(|bytes| self.say(state, bytes))
    }

    fn unlock(&self, state: &mut State, channel: u16, at: Instant) -> Option<Vec<u8>> {
        let there = (1..=self.spec.channels).contains(&channel);
        if there {
            let beside = if channel == self.spec.channels {
                channel - 1
            } else {
                channel + 1
            };
            let moved = match state.has(Quirk::OpensNeighbour) {
                true => beside,
                false => channel,
            };
            self.pulse(state, moved, at);
            if state.has(Quirk::OpensTwice) {
                let again = at + self.spec.pulse;
                state.later.push_back((again, Later::Pulse(moved)));
            }
            if state.has(Quirk::OpensLater) {
                let later = at + Duration::from_secs(1);
                state.later.push_back((later, Later::Pulse(beside)));
            }
        }
        if !self.spec.replies_to_unlock {
            return None;
        }
        let address = self.spec.address;
        let one = self.is_one(state, channel);
        match self.spec.speech {
            Speech::KerongCu16 => Some(self.status(state)),
            Speech::KerongCu48 => Some(kerong::cu48_unlocked(address, channel)),
            Speech::EightA => Some(eight_a::unlocked(address, channel, one)),
            Speech::Wkly => {
                let byte = self.state_byte(state, channel).filter(|_| there);
                Some(wkly::one(address, 0x82, channel, byte))
            }
        }
    }

    fn pulse(&self, state: &mut State, channel: u16, at: Instant) {
        if state.pulses.len() < PULSES_MAX {
            state.pulses.push(Pulse {
                at,
                channel,
                length: self.spec.pulse,
            });
        } else {
            state.pulses_more += 1;
        }
        let springs = at + self.spec.springs;
        state.later.push_back((springs, Later::Springs(channel)));
    }

    fn status(&self, state: &State) -> Vec<u8> {
        let address = self.spec.address;
        let channels = 1..=self.spec.channels;
        let bits = channels
            .clone()
            .filter(|channel| self.is_one(state, *channel))
            .fold(0_u64, |bits, channel| bits | 1 << (channel - 1));
        match self.spec.speech {
            Speech::KerongCu16 => {
                let infrared = self.infrared();
                kerong::cu16_status(address, low(bits), infrared)
            }
            Speech::KerongCu48 => kerong::cu48_status(address, bits),
            Speech::EightA => {
                let [a, b, c, d, ..] = bits.to_le_bytes();
                eight_a::status(address, u32::from_le_bytes([a, b, c, d]))
            }
            Speech::Wkly => {
                let states = channels.filter_map(|channel| self.state_byte(state, channel));
                wkly::all(address, &states.collect::<Vec<u8>>())
            }
        }
    }

    fn status_of(&self, state: &State, channel: u16) -> Option<Vec<u8>> {
        let address = self.spec.address;
        match self.spec.speech {
            Speech::EightA => {
                let one = self.is_one(state, channel);
                Some(eight_a::status_of(address, channel, one))
            }
            Speech::Wkly => {
                let byte = self.state_byte(state, channel);
                Some(wkly::one(address, 0x83, channel, byte))
            }
            _ => Some(self.status(state)),
        }
    }

    /// Whether a lock's bit is set. One without a door feels no hook: open.
    fn is_one(&self, state: &State, channel: u16) -> bool {
        let compartment = self.wiring.get(&channel);
        let open = compartment.and_then(|compartment| self.compartments.is_open(*compartment));
        let closed = open == Some(false) || state.has(Quirk::NeverConfirms);
        (closed == self.spec.closed_is_one) != state.has(Quirk::WrongPolarity)
    }

    fn state_byte(&self, state: &State, channel: u16) -> Option<u8> {
        if !(1..=self.spec.channels).contains(&channel) {
            return None;
        }
        Some(match self.is_one(state, channel) {
            true => self.spec.state_one,
            false => 0,
        })
    }

    fn infrared(&self) -> u16 {
        let Some(occupied_is_one) = self.spec.occupied_is_one else {
            return 0;
        };
        (1..=self.spec.channels.min(16)).fold(0, |bits, channel| {
            let compartment = self.wiring.get(&channel).copied().unwrap_or(0);
            let empty = self.compartments.inside(compartment).is_empty();
            let one = empty != occupied_is_one;
            bits | u16::from(one) << (channel - 1)
        })
    }

    fn say(&self, state: &State, mut bytes: Vec<u8>) -> Say {
        if state.has(Quirk::BadChecksums)
            && let Some(last) = bytes.last_mut()
        {
            *last ^= 0x5A;
        }
        Say {
            after: self.spec.thinks,
            bytes,
        }
    }

    fn channel(&self, compartment: u16) -> Option<u16> {
        let mut wires = self.wiring.iter();
        let found = wires.find(|(_, wired)| **wired == compartment);
        found.map(|(channel, _)| *channel)
    }

    fn wake(&self) {
        if let Some(waker) = &*lock(&self.waker) {
            waker.wake();
        }
    }
}

impl State {
    fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }

    fn forbid(&mut self, what: &str) {
        if self.forbidden.len() < FORBIDDEN_MAX {
            self.forbidden.push(what.to_string());
        }
    }
}

/// The lowest 16.
fn low(bits: u64) -> u16 {
    let [a, b, ..] = bits.to_le_bytes();
    u16::from_le_bytes([a, b])
}
