//! The driver for locker boards: Kerong CU16 and CU48, the 24-way `8A`, WKLY.
//!
//! One request is on the line at a time. In this order: what came by itself is taken in; an unlock
//! goes out; whoever's turn it is in the rounds is asked. So an unlock waits for one exchange at most,
//! and after it the line is left to the board for as long as a reply may take: some boards reply, some
//! don't, and a request sent meanwhile would be lost in the collision.
//!
//! What a reply to an unlock says isn't gone by ([`Bank`] says what is). A WKLY board is asked channel
//! by channel, since it isn't known how it says all of them at once; what it tells unasked is taken
//! like a status.

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use firmware_protocols::boards::{BoardFrame, BoardLine, Direction, Model, Request};
use tokio::sync::mpsc::error::TryRecvError;

use super::bank::{Bank, Raw, SOON, Unlock};
use super::line::{Line, LineError, NoAnswer};
use super::plan::PortPlan;
use super::rounds::{Rounds, Turn};
use super::status::SlaveStatus;
use super::{Bus, Driver, Outgoing};
use crate::config::serial::{PortSection, Protocol};
use crate::links::DeviceIntake;

/// So many frames that don't answer are kept during an exchange; no board says more in that time.
const ASIDE_MAX: usize = 32;
/// So many frames that came by themselves are taken in before something else gets its turn.
const TAKEN_IN_MAX: usize = 64;
/// After a reply to an unlock: it may have been the echo, and the reply comes yet.
const AFTER_REPLY: Duration = Duration::from_millis(20);
/// The loop looks around after this long, whatever it waits for.
const REST_LONGEST: Duration = Duration::from_secs(1);

/// The driver of a port.
pub struct Boards {
    line: BoardLine,
    banks: Vec<Bank>,
    slaves: Vec<Slave>,
    rounds: Rounds,
    /// What was sent last: if it is heard, it is an echo.
    asked: Option<Request>,
    strays: Strays,
}

/// A board.
struct Slave {
    bank: usize,
    board: usize,
    address: u8,
    /// The channels that are used, for boards that are asked for one at a time.
    channels: Vec<u16>,
    /// Whose turn it is among them.
    next: usize,
    /// Whether a watched channel was asked last: the others must get their turn too.
    watched_last: bool,
    status: Option<Arc<SlaveStatus>>,
}

/// Frames that nobody on this line should have sent.
#[derive(Default)]
struct Strays {
    count: u64,
    addresses: BTreeSet<u8>,
    /// Requests that we didn't send.
    requests: u64,
}

impl Boards {
    /// The driver of a port.
    ///
    /// # Errors
    /// If the port speaks something else.
    pub fn new(plan: &PortPlan, intake: &Arc<dyn DeviceIntake>) -> anyhow::Result<Self> {
        let protocol = plan.port.protocol;
        let Some(model) = model(protocol) else {
            anyhow::bail!(
                "port '{}' speaks {}, which locker boards don't: correct 'protocol'",
                plan.port.id,
                protocol.word()
            );
        };
        let name = format!("{} boards", protocol.word());
        let banks: Vec<Bank> = plan
            .banks
            .iter()
            .map(|bank| Bank::start(bank, &name, intake))
            .collect();
        let slaves: Vec<Slave> = banks
            .iter()
            .enumerate()
            .flat_map(|(index, bank)| slaves(index, bank))
            .collect();
        Ok(Self {
            line: BoardLine {
                model,
                direction: Direction::FromBoards,
            },
            rounds: Rounds::new(slaves.len(), plan.port.poll(), Instant::now()),
            banks,
            slaves,
            asked: None,
            strays: Strays::default(),
        })
    }

    /// One thing after the other, for as long as the line works.
    async fn step(&mut self, line: &mut Line, bus: &mut Bus) -> Result<(), LineError> {
        self.take_outbound(bus)?;
        self.take_in(line).await?;
        let now = Instant::now();
        for bank in &mut self.banks {
            bank.tick(now);
        }
        if let Some((bank, unlock)) = self.next_unlock(now) {
            return self.unlock(bank, &unlock, line, bus).await;
        }
        match self.rounds.next(now) {
            Turn::Ask(slave) => self.ask(slave, line, &bus.port).await,
            Turn::Rest(until) => self.rest(until, now, line, bus).await,
        }
    }

    fn take_outbound(&mut self, bus: &mut Bus) -> Result<(), LineError> {
        if *bus.stopped.borrow() {
            return Err(LineError::Stopped);
        }
        loop {
            match bus.outbound.try_recv() {
                Ok(outgoing) => self.take(&outgoing),
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(LineError::Stopped),
            }
        }
    }

    fn take(&mut self, outgoing: &Outgoing) {
        let device = &outgoing.message.device;
        if let Some(bank) = self.banks.iter_mut().find(|bank| bank.id() == device) {
            bank.take(outgoing, Instant::now());
        }
    }

    /// What came by itself.
    async fn take_in(&mut self, line: &mut Line) -> Result<(), LineError> {
        let now = Instant::now();
        for _ in 0..TAKEN_IN_MAX {
            let Some(frame) = line.next(&self.line, now.into()).await? else {
                break;
            };
            self.heard(frame, now);
        }
        Ok(())
    }

    fn next_unlock(&mut self, now: Instant) -> Option<(usize, Unlock)> {
        let mut banks = self.banks.iter_mut().enumerate();
        banks.find_map(|(index, bank)| Some((index, bank.unlock(now)?)))
    }

    async fn unlock(
        &mut self,
        bank: usize,
        unlock: &Unlock,
        line: &mut Line,
        bus: &Bus,
    ) -> Result<(), LineError> {
        let is_its = |slave: &Slave| slave.bank == bank && slave.board == unlock.board;
        let Some(index) = self.slaves.iter().position(is_its) else {
            return Ok(());
        };
        let (address, model) = (self.address(index), self.line.model);
        let channel = unlock.channel;
        let request = Request::Unlock { address, channel };
        let Some(bank) = self.banks.get_mut(bank) else {
            return Ok(());
        };
        let frame = match request.encode(model) {
            Ok(frame) => frame,
            Err(why) => {
                bank.unlock_failed(unlock, &why.to_string());
                return Ok(());
            }
        };
        if let Err(e) = line.send(&frame).await {
            bank.unlock_failed(
                unlock,
                "the port failed while it was sent: look whether it opened",
            );
            return Err(e);
        }
        let now = Instant::now();
        bank.unlock_sent(unlock, now);
        self.asked = Some(request);
        self.rounds.hurry(index, now);
        self.leave_room_for_reply(address, now + within(&bus.port, model, frame.len()), line)
            .await
    }

    /// Listens until a reply was heard, or none can come any more.
    async fn leave_room_for_reply(
        &mut self,
        address: u8,
        mut until: Instant,
        line: &mut Line,
    ) -> Result<(), LineError> {
        while let Some(frame) = line.next(&self.line, until.into()).await? {
            let now = Instant::now();
            if frame.address() == address && !matches!(frame, BoardFrame::Request(_)) {
                until = until.min(now + AFTER_REPLY);
            }
            self.heard(frame, now);
        }
        Ok(())
    }

    /// Asks a board for its states.
    async fn ask(
        &mut self,
        index: usize,
        line: &mut Line,
        port: &PortSection,
    ) -> Result<(), LineError> {
        let Some(request) = self.request(index) else {
            self.missed(index, false);
            return Ok(());
        };
        let Ok(frame) = request.encode(self.line.model) else {
            self.missed(index, false);
            return Ok(());
        };
        self.asked = Some(request);
        let asked_at = Instant::now();
        let within = within(port, self.line.model, frame.len());
        let mut aside = Vec::new();
        let answer = line
            .exchange(&self.line, &frame, within, |frame| {
                if answers(request, &frame) {
                    return Some(frame);
                }
                if aside.len() < ASIDE_MAX {
                    aside.push(frame);
                }
                None
            })
            .await;
        let now = Instant::now();
        let only_echoes = aside.iter().all(|it| *it == BoardFrame::Request(request));
        let nothing_but_echoes = only_echoes && !aside.is_empty();
        for frame in aside {
            self.heard(frame, now);
        }
        match answer {
            Ok(frame) => self.answered(index, frame, asked_at, now),
            Err(NoAnswer::Line(e)) => return Err(e),
            Err(NoAnswer::Silence) => self.missed(index, false),
            Err(NoAnswer::Unreadable) => self.missed(index, !nothing_but_echoes),
        }
        Ok(())
    }

    /// What a board is to be asked now.
    fn request(&mut self, index: usize) -> Option<Request> {
        let slave = self.slaves.get_mut(index)?;
        let address = slave.address;
        if self.line.model.by_board() {
            return Some(Request::Status { address });
        }
        let watched = self.banks.get(slave.bank)?.watched(slave.board);
        let channel = slave.next_channel(&watched)?;
        Some(Request::ChannelStatus { address, channel })
    }

    fn answered(&mut self, index: usize, frame: BoardFrame, asked_at: Instant, now: Instant) {
        self.rounds.answered(index, now);
        if let Some(status) = self.status(index) {
            status.answered(now.saturating_duration_since(asked_at));
        }
        self.shows(index, frame, now);
        let in_the_middle = self.slaves.get(index).is_some_and(Slave::in_the_middle);
        if !self.line.model.by_board() && in_the_middle {
            self.rounds.hurry(index, now);
        }
    }

    fn missed(&mut self, index: usize, unreadable: bool) {
        let now = Instant::now();
        let pause = self.rounds.missed(index, now);
        let silent = self.rounds.is_silent(index);
        let Some(slave) = self.slaves.get(index) else {
            return;
        };
        if let Some(status) = &slave.status {
            match unreadable {
                true => status.unreadable(pause),
                false => status.missed(pause),
            }
            if silent {
                status.silent();
            }
        }
        if silent && let Some(bank) = self.banks.get_mut(slave.bank) {
            bank.silent(slave.board);
        }
        self.watch(index, now);
    }

    /// A frame that nothing waited for.
    fn heard(&mut self, frame: BoardFrame, now: Instant) {
        if let BoardFrame::Request(request) = frame {
            if self.asked != Some(request) {
                self.strays.requests += 1;
                self.tell_strays();
            }
            return;
        }
        let address = frame.address();
        let Some(index) = self.slaves.iter().position(|s| s.address == address) else {
            self.strays.count += 1;
            if self.strays.addresses.insert(address) {
                tracing::warn!(
                    address,
                    "a board answers that the configuration doesn't have"
                );
            }
            return self.tell_strays();
        };
        if let Some(status) = self.status(index) {
            status.heard();
        }
        self.shows(index, frame, now);
    }

    /// What a frame of a board shows of its channels.
    fn shows(&mut self, index: usize, frame: BoardFrame, now: Instant) {
        let Some(slave) = self.slaves.get(index) else {
            return;
        };
        let Some(bank) = self.banks.get_mut(slave.bank) else {
            return;
        };
        match frame {
            BoardFrame::Status {
                states, occupied, ..
            } => bank.shown(slave.board, now, |channel| {
                Some(Raw {
                    state: states.get(channel)?,
                    occupied: occupied.and_then(|bits| bits.get(channel)),
                })
            }),
            BoardFrame::Channel {
                channel,
                state: Some(state),
                ..
            }
            | BoardFrame::Changed { channel, state, .. } => {
                let raw = Raw {
                    state,
                    occupied: None,
                };
                bank.shown(slave.board, now, |of| (of == channel).then_some(raw));
            }
            BoardFrame::Channel { state: None, .. }
            | BoardFrame::Unlocked { .. }
            | BoardFrame::Foreign { .. }
            | BoardFrame::Request(_) => bank.answered(slave.board, now),
        }
        self.watch(index, now);
    }

    /// A board where something is going on is asked again soon.
    fn watch(&mut self, index: usize, now: Instant) {
        let Some(slave) = self.slaves.get(index) else {
            return;
        };
        let bank = self.banks.get(slave.bank);
        if bank.is_some_and(|bank| !bank.watched(slave.board).is_empty()) {
            self.rounds.hurry(index, now + SOON);
        }
    }

    /// Nothing is due. Waits for whatever comes first.
    async fn rest(
        &mut self,
        until: Instant,
        now: Instant,
        line: &mut Line,
        bus: &mut Bus,
    ) -> Result<(), LineError> {
        let due = self.banks.iter().filter_map(Bank::due).min();
        let until = due.unwrap_or(until).min(until).min(now + REST_LONGEST);
        tokio::select! {
            _ = bus.stopped.wait_for(|stop| *stop) => Err(LineError::Stopped),
            outgoing = bus.outbound.recv() => {
                let outgoing = outgoing.ok_or(LineError::Stopped)?;
                self.take(&outgoing);
                Ok(())
            }
            frame = line.next(&self.line, until.into()) => {
                if let Some(frame) = frame? {
                    self.heard(frame, Instant::now());
                }
                Ok(())
            }
        }
    }

    fn address(&self, index: usize) -> u8 {
        self.slaves.get(index).map_or(0, |slave| slave.address)
    }

    fn status(&self, index: usize) -> Option<&SlaveStatus> {
        self.slaves.get(index)?.status.as_deref()
    }

    /// Says at the first board of the line what is wrong with the line.
    fn tell_strays(&self) {
        if let Some(status) = self.status(0) {
            status.note(self.strays.words());
        }
    }
}

#[async_trait]
impl Driver for Boards {
    async fn run(&mut self, mut line: Line, bus: &mut Bus) -> LineError {
        for slave in &mut self.slaves {
            if let Some(bank) = self.banks.get(slave.bank)
                && slave.status.is_none()
            {
                slave.status = Some(bus.status.slave(bank.id(), Some(slave.address)));
            }
        }
        self.rounds = Rounds::new(self.slaves.len(), bus.port.poll(), Instant::now());
        self.asked = None;
        loop {
            if let Err(e) = self.step(&mut line, bus).await {
                return e;
            }
        }
    }

    fn away(&mut self, outgoing: Outgoing, why: &str) {
        let device = &outgoing.message.device;
        if let Some(bank) = self.banks.iter_mut().find(|bank| bank.id() == device) {
            bank.away(&outgoing, why);
        }
    }

    fn lost(&mut self, _: &Bus) {
        for bank in &mut self.banks {
            bank.port_lost();
        }
        for slave in &self.slaves {
            if let Some(status) = &slave.status {
                status.silent();
            }
        }
    }
}

impl Slave {
    /// The next channel, by turns of those that are watched and all the others.
    fn next_channel(&mut self, watched: &[u16]) -> Option<u16> {
        self.watched_last = !self.watched_last && !watched.is_empty();
        let count = self.channels.len().max(1);
        let (from, only_watched) = (self.next, self.watched_last);
        let turns = (0..count).map(|offset| (from + offset) % count);
        let mut may = turns.filter_map(|at| {
            let channel = *self.channels.get(at)?;
            (!only_watched || watched.contains(&channel)).then_some((at, channel))
        });
        let (at, channel) = may.next()?;
        if !only_watched {
            self.next = (at + 1) % count;
        }
        Some(channel)
    }

    /// Whether some channels have been asked in this turn, and some not.
    fn in_the_middle(&self) -> bool {
        self.next != 0
    }
}

impl Strays {
    fn words(&self) -> Option<String> {
        let mut words = Vec::new();
        if self.count > 0 {
            let addresses: Vec<String> = self.addresses.iter().map(u8::to_string).collect();
            words.push(format!(
                "{} frames of boards that the configuration doesn't have (address {})",
                self.count,
                addresses.join(", ")
            ));
        }
        if self.requests > 0 {
            words.push(format!(
                "{} requests that weren't ours: another controller hangs on this line, disconnect it",
                self.requests
            ));
        }
        (!words.is_empty()).then(|| words.join("; "))
    }
}

/// What a port's protocol is called among the boards.
pub const fn model(protocol: Protocol) -> Option<Model> {
    match protocol {
        Protocol::KerongCu16 => Some(Model::KerongCu16),
        Protocol::KerongCu48 => Some(Model::KerongCu48),
        Protocol::EightA => Some(Model::EightA),
        Protocol::Wkly => Some(Model::Wkly),
        Protocol::Linli | Protocol::Modbus | Protocol::Osdp | Protocol::Lines => None,
    }
}

fn slaves(index: usize, bank: &Bank) -> Vec<Slave> {
    let slave = |(board, section): (usize, &crate::config::serial::BoardSection)| Slave {
        bank: index,
        board,
        address: section.address,
        channels: section.mapping().iter().map(|(_, c)| *c).collect(),
        next: 0,
        watched_last: false,
        status: None,
    };
    bank.boards().enumerate().map(slave).collect()
}

/// How long an answer may take, from the sending of a request of so many bytes on.
fn within(port: &PortSection, model: Model, request_bytes: usize) -> Duration {
    port.time_of(request_bytes + model.answer_bytes()) + port.timeout()
}

fn answers(request: Request, frame: &BoardFrame) -> bool {
    match (request, frame) {
        (Request::Status { address }, BoardFrame::Status { address: from, .. }) => *from == address,
        (
            Request::ChannelStatus { address, channel },
            BoardFrame::Channel {
                address: from,
                channel: of,
                ..
            },
        ) => (*from, *of) == (address, channel),
        _ => false,
    }
}
