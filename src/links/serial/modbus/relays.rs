//! Relay boards as locks.
//!
//! A lock is released by a flash: function 5 writes a time to the channel's flash coil, and the board
//! switches the relay on and, by its own clock, off. There is never an 'on' that waits for an 'off': if
//! this program or the cable fails, no coil stays energised. That it opened is confirmed by the door's
//! contact, a discrete input of the same board; the rules are the [`Bank`]'s.
//!
//! A board without contacts can't show its doors: they stay unknown, and the board's own answer to the
//! flash is taken for the opening's result. It is asked for a sign of life at the port's pace.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::Outgoing;
use super::super::bank::{Bank, Raw, SOON, Unlock};
use super::super::line::LineError;
use super::super::plan::PortPlan;
use super::super::rounds::Rounds;
use super::super::status::{PortStatus, SlaveStatus};
use super::blocks::{Block, Contents};
use super::master::{self, Master, Trouble};
use crate::config::serial::{BoardSection, PortSection, RegisterFunction, RelaySection};
use crate::links::DeviceIntake;

/// How often contacts are asked for, unless the port's `poll_ms` is shorter.
const CONTACTS_EVERY: Duration = Duration::from_millis(250);

/// All relay boards of a port, and the banks that they belong to.
pub struct Relays {
    banks: Vec<Bank>,
    boards: Vec<Board>,
    /// The place of the first board in the port's rounds.
    first: usize,
}

struct Board {
    /// Its bank, and its place there.
    bank: usize,
    index: usize,
    address: u8,
    relay: RelaySection,
    asks: Block,
    /// The channel of the first contact that is asked for.
    first_channel: u16,
    every: Duration,
    status: Option<Arc<SlaveStatus>>,
}

impl Relays {
    /// Those of this plan; `first` is the place of the first board in the port's rounds. Runs in the
    /// async runtime.
    pub fn start(plan: &PortPlan, first: usize, intake: &Arc<dyn DeviceIntake>) -> Self {
        let start = |plan| Bank::start(plan, "modbus relays", intake);
        let banks: Vec<Bank> = plan.banks.iter().map(start).collect();
        let mut boards = Vec::new();
        for (bank, plan_of_bank) in plan.banks.iter().enumerate() {
            for (index, section) in plan_of_bank.boards.iter().enumerate() {
                boards.extend(Board::new(bank, index, section, &plan.port));
            }
        }
        Self {
            banks,
            boards,
            first,
        }
    }

    /// How often each board is asked.
    pub fn every(&self) -> impl Iterator<Item = Duration> {
        self.boards.iter().map(|board| board.every)
    }

    /// They take their places in the port's status, once.
    pub fn show_in(&mut self, port: &PortStatus) {
        for board in &mut self.boards {
            let Some(bank) = self.banks.get(board.bank) else {
                continue;
            };
            let new = || port.slave(bank.id(), Some(board.address));
            board.status.get_or_insert_with(new);
            board.say_note(board.note());
        }
    }

    /// A message for one of the banks. Returns whether it is.
    pub fn take(&mut self, outgoing: &Outgoing, now: Instant) -> bool {
        self.bank_of(outgoing)
            .map(|bank| bank.take(outgoing, now))
            .is_some()
    }

    /// The same while the port is away.
    pub fn away(&mut self, outgoing: &Outgoing, why: &str) -> bool {
        self.bank_of(outgoing)
            .map(|bank| bank.away(outgoing, why))
            .is_some()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) {
        for bank in &mut self.banks {
            bank.tick(now);
        }
    }

    /// When there is something to do again, if that is known.
    pub fn due(&self) -> Option<Instant> {
        self.banks.iter().filter_map(Bank::due).min()
    }

    /// Sends the next unlock, if there is one: one exchange. Returns whether there was.
    ///
    /// # Errors
    /// The line's.
    pub async fn unlock(
        &mut self,
        master: &Master,
        rounds: &mut Rounds,
    ) -> Result<bool, LineError> {
        let now = Instant::now();
        let mut banks = self.banks.iter_mut().enumerate();
        let next = banks.find_map(|(index, bank)| Some((index, bank.unlock(now)?)));
        let Some((bank_index, unlock)) = next else {
            return Ok(false);
        };
        let is = |board: &Board| board.bank == bank_index && board.index == unlock.board;
        let place = self.boards.iter().position(is);
        let board = place.and_then(|place| self.boards.get(place));
        let bank = self.banks.get_mut(bank_index);
        let (Some(place), Some(board), Some(bank)) = (place, board, bank) else {
            return Ok(true);
        };
        let coil = board.relay.flash_address.saturating_add(unlock.channel - 1);
        let answer = master.flash(board.address, coil, board.relay.flash_time);
        match answer.await {
            Err(Trouble::Line(failed)) => return Err(failed),
            answer => board.answered_unlock(bank, &unlock, answer),
        }
        rounds.hurry(self.first + place, Instant::now() + SOON);
        Ok(true)
    }

    /// Asks a board, by its place among them: one exchange.
    ///
    /// # Errors
    /// The line's.
    pub async fn ask(
        &mut self,
        place: usize,
        master: &Master,
        rounds: &mut Rounds,
    ) -> Result<(), LineError> {
        let Some(board) = self.boards.get(place) else {
            return Ok(());
        };
        let Some(bank) = self.banks.get_mut(board.bank) else {
            return Ok(());
        };
        let outcome = master.read(board.address, &board.asks).await;
        let now = Instant::now();
        let index = self.first + place;
        let round_trip = match outcome {
            Ok((contents, round_trip)) => {
                board.shows(bank, &contents, now);
                board.say_note(board.note());
                round_trip
            }
            Err(Trouble::Refused(code, round_trip)) => {
                bank.answered(board.index, now);
                if board.relay.contact_address.is_some() {
                    let words = master::words(code);
                    board.say_note(Some(format!("relay.contact_address: {words}")));
                }
                round_trip
            }
            Err(Trouble::Line(failed)) => return Err(failed),
            Err(trouble) => {
                let pause = rounds.missed(index, now);
                board.missed(&trouble, pause);
                if rounds.is_silent(index) {
                    bank.silent(board.index);
                    board.silent();
                }
                return Ok(());
            }
        };
        if let Some(status) = &board.status {
            status.answered(round_trip);
        }
        rounds.answered(index, now);
        if !bank.watched(board.index).is_empty() {
            rounds.hurry(index, now + SOON);
        }
        Ok(())
    }

    /// The port went away.
    pub fn lost(&mut self) {
        self.banks.iter_mut().for_each(Bank::port_lost);
        self.boards.iter().for_each(Board::silent);
    }

    fn bank_of(&mut self, outgoing: &Outgoing) -> Option<&mut Bank> {
        let mut banks = self.banks.iter_mut();
        banks.find(|bank| *bank.id() == outgoing.message.device)
    }
}

impl Board {
    /// `None` for one without a relay, or without channels: the configuration's check refuses both.
    fn new(bank: usize, index: usize, section: &BoardSection, port: &PortSection) -> Option<Self> {
        let relay = section.relay.clone()?;
        let mapping = section.mapping();
        let channels = mapping.iter().map(|(_, channel)| *channel);
        let (first_channel, last) = (channels.clone().min()?, channels.max()?);
        let asks = match relay.contact_address {
            Some(contacts) => Block {
                function: RegisterFunction::Discrete,
                start: contacts.saturating_add(first_channel - 1),
                count: last - first_channel + 1,
                registers: Vec::new(),
            },
            // Any answer is a sign of life, a refusal too.
            None => Block {
                function: RegisterFunction::Coil,
                start: 0,
                count: 1,
                registers: Vec::new(),
            },
        };
        let every = match relay.contact_address {
            Some(_) => port.poll().min(CONTACTS_EVERY),
            None => port.poll().max(CONTACTS_EVERY),
        };
        Some(Self {
            bank,
            index,
            address: section.address,
            relay,
            asks,
            first_channel,
            every,
            status: None,
        })
    }

    fn shows(&self, bank: &mut Bank, contents: &Contents, now: Instant) {
        let (Contents::Bits(bits), Some(_)) = (contents, self.relay.contact_address) else {
            return bank.answered(self.index, now);
        };
        bank.shown(self.index, now, |channel| {
            let at = channel.checked_sub(self.first_channel)?;
            bits.get(usize::from(at)).map(|bit| Raw {
                state: *bit,
                occupied: None,
            })
        });
    }

    /// What the board says to a flash. Where there is a contact, only a refusal counts.
    fn answered_unlock(&self, bank: &mut Bank, unlock: &Unlock, answer: Result<Duration, Trouble>) {
        let now = Instant::now();
        if let Err(ref busy @ Trouble::Busy) = answer {
            self.missed(busy, Duration::ZERO);
            return bank.unlock_failed(unlock, &busy.to_string());
        }
        bank.unlock_sent(unlock, now);
        let sees = self.relay.contact_address.is_some();
        match answer {
            Ok(round_trip) | Err(Trouble::Refused(_, round_trip)) => {
                bank.answered(self.index, now);
                if let Some(status) = &self.status {
                    status.answered(round_trip);
                }
            }
            Err(ref trouble) => self.missed(trouble, Duration::ZERO),
        }
        match answer {
            Ok(_) if sees => {}
            Ok(_) => bank.unlock_carried_out(unlock),
            Err(Trouble::Refused(code, _)) => {
                let words = master::words(code);
                bank.unlock_failed(unlock, &format!("relay.flash_address: {words}"));
            }
            Err(_) if sees => {}
            Err(trouble) => {
                let address = self.address;
                let why = format!(
                    "board {address}: {trouble}; it has no contacts, so it isn't known whether it opened: look"
                );
                bank.unlock_failed(unlock, &why);
            }
        }
    }

    fn missed(&self, trouble: &Trouble, pause: Duration) {
        match (&self.status, trouble) {
            (Some(status), Trouble::Unreadable | Trouble::Busy) => status.unreadable(pause),
            (Some(status), _) => status.missed(pause),
            (None, _) => {}
        }
    }

    fn silent(&self) {
        if let Some(status) = &self.status {
            status.silent();
        }
    }

    fn say_note(&self, note: Option<String>) {
        if let Some(status) = &self.status {
            status.note(note);
        }
    }

    fn note(&self) -> Option<String> {
        let blind = self.relay.contact_address.is_none();
        blind.then(|| "no relay.contact_address: whether its doors are open isn't known".to_owned())
    }
}
