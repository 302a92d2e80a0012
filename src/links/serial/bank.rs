//! A bank of boards as the estate sees it: the same as one on MQTT, whatever its locks hang on.
//!
//! The driver speaks with the boards. It takes the [`Unlock`]s from here when the line is free, says
//! when their bytes left, and passes on what each board shows; here it becomes events.
//!
//! ```text
//! take ─▶ waiting ─▶ unlock ─▶ unlock_sent ─▶ its board shows the door open ─▶ done
//!            │                                 not within CONFIRM             ─▶ failed
//!            └─▶ refused: too late, or a newer command took its place
//! ```
//!
//! * **An opening is confirmed by what the board shows, not by what it replies.** A door that was
//!   open already, and stays so, confirms it too: no opening is refused because of a sensor.
//! * **A pulse is never repeated.** [`Bank::unlock`] hands a command out once; a frame that was lost is
//!   a failed opening, and the person types again. A command that came twice is carried out once.
//! * Between two pulses of a board lie [`BETWEEN_PULSES`]: two coils at once draw more than most
//!   boards' supply gives, and then neither bolt moves.
//! * A board that is silent makes its doors `unknown`; back again, each state is said once.

mod compartment;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use firmware_protocols::event::{Done, Door};
use firmware_protocols::topic::Channel;
use firmware_protocols::{Command, Ident, Kind, Order};

use self::compartment::Compartment;
pub use self::compartment::{Raw, STEADY};
use super::Outgoing;
use super::plan::BankPlan;
use super::voice::{Voice, WAITING_MAX};
use crate::config::serial::BoardSection;
use crate::links::DeviceIntake;

/// How long a door may take to be seen open after its unlock left.
pub const CONFIRM: Duration = Duration::from_secs(3);
/// The time between two pulses of a board.
pub const BETWEEN_PULSES: Duration = Duration::from_millis(300);
/// While something is going on at a board, it is asked again after this long.
pub const SOON: Duration = Duration::from_millis(50);
/// So many openings may wait or be under way in a bank; further ones are refused.
pub const OPENINGS_MAX: usize = 64;
/// So many ids of commands to open are remembered.
pub const IDS_MAX: usize = 256;

/// A bank of boards.
pub struct Bank {
    id: Ident,
    boards: Vec<Board>,
    compartments: Vec<Compartment>,
    /// Those that wait and those under way, in the order in which they came.
    openings: VecDeque<Opening>,
    /// The ids of the last commands to open, oldest first.
    ids: VecDeque<String>,
    voice: Voice,
    /// How many events were known to be lost when all states were last said.
    lost: u64,
    online: Option<bool>,
    intake: Arc<dyn DeviceIntake>,
}

/// An unlock that is to go out now. Each is handed out once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlock {
    /// The command's id.
    pub command: String,
    /// The board, by its index in [`Bank::boards`].
    pub board: usize,
    /// The channel, from 1.
    pub channel: u16,
}

struct Board {
    section: BoardSection,
    heard: Heard,
    last_shown: Option<Instant>,
    /// No pulse before this.
    next_pulse: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    NotYet,
    Answers,
    Silent,
}

/// A command to open.
struct Opening {
    id: String,
    /// Its number, from 1.
    compartment: u16,
    board: usize,
    channel: u16,
    /// It doesn't go out later than this.
    expires: Instant,
    /// Handed to the driver: since when, and until when the door may take.
    under_way: Option<(Instant, Instant)>,
    /// How often it came again meanwhile.
    repeated: u32,
}

impl Bank {
    /// The bank of a plan. Its events begin with a hello that names `model`. Runs in the async
    /// runtime.
    pub fn start(plan: &BankPlan, model: &str, intake: &Arc<dyn DeviceIntake>) -> Self {
        let mut compartments = Vec::new();
        for (board, section) in plan.boards.iter().enumerate() {
            for (number, channel) in section.mapping() {
                compartments.push(Compartment::new(number, board, channel, section));
            }
        }
        let board = |section: &BoardSection| Board {
            section: section.clone(),
            heard: Heard::NotYet,
            last_shown: None,
            next_pulse: None,
        };
        Self {
            id: plan.id.clone(),
            boards: plan.boards.iter().map(board).collect(),
            compartments,
            openings: VecDeque::new(),
            ids: VecDeque::new(),
            voice: Voice::start(
                plan.id.clone(),
                plan.boot,
                model,
                &["open"],
                Arc::clone(intake),
            ),
            lost: 0,
            online: None,
            intake: Arc::clone(intake),
        }
    }

    /// Its id.
    pub fn id(&self) -> &Ident {
        &self.id
    }

    /// Its boards; everything else names them by their index here.
    pub fn boards(&self) -> impl ExactSizeIterator<Item = &BoardSection> {
        self.boards.iter().map(|board| &board.section)
    }

    /// The gateway has something for it.
    pub fn take(&mut self, outgoing: &Outgoing, now: Instant) {
        let Some((id, compartment, ttl)) = self.order_to_open(outgoing) else {
            return;
        };
        if let Some(known) = self.openings.iter_mut().find(|known| known.id == id) {
            known.repeated = known.repeated.saturating_add(1);
            return;
        }
        if self.ids.contains(&id) {
            return self.result(id, Done::Refused, "carried out before");
        }
        if self.ids.len() == IDS_MAX {
            self.ids.pop_front();
        }
        self.ids.push_back(id.clone());
        let place = self.compartments.iter().find(|c| c.number == compartment);
        let Some((board, channel)) = place.map(|c| (c.board, c.channel)) else {
            let why = format!("no board opens compartment {compartment}: see [[bank.board]]");
            return self.result(id, Done::Failed, &why);
        };
        self.end_waiting(
            |waiting| waiting.compartment == compartment,
            "a newer command took its place",
        );
        if self.openings.len() >= OPENINGS_MAX {
            let why = format!("{OPENINGS_MAX} openings wait already: try again in a moment");
            return self.result(id, Done::Refused, &why);
        }
        self.openings.push_back(Opening {
            id,
            compartment,
            board,
            channel,
            expires: outgoing.came + ttl,
            under_way: None,
            repeated: 0,
        });
        self.expire(now);
    }

    /// The gateway has something for it, and its port is away (`why`, in words).
    pub fn away(&mut self, outgoing: &Outgoing, why: &str) {
        if let Some((id, ..)) = self.order_to_open(outgoing) {
            self.result(id, Done::Refused, why);
        }
    }

    /// The unlock that is to go out now, if any. The driver sends it at once, and says so.
    pub fn unlock(&mut self, now: Instant) -> Option<Unlock> {
        self.expire(now);
        let boards = &self.boards;
        let may = |opening: &&mut Opening| {
            let next_pulse = boards.get(opening.board).and_then(|b| b.next_pulse);
            opening.under_way.is_none() && next_pulse.is_none_or(|next| next <= now)
        };
        let opening = self.openings.iter_mut().find(may)?;
        opening.under_way = Some((now, now + CONFIRM));
        let unlock = Unlock {
            command: opening.id.clone(),
            board: opening.board,
            channel: opening.channel,
        };
        if let Some(board) = self.boards.get_mut(unlock.board) {
            board.next_pulse = Some(now + BETWEEN_PULSES);
        }
        Some(unlock)
    }

    /// Its bytes left. From now on its door is waited for.
    pub fn unlock_sent(&mut self, unlock: &Unlock, now: Instant) {
        self.intake.command_sent(unlock.command.clone());
        if let Some(board) = self.boards.get_mut(unlock.board) {
            board.next_pulse = Some(now + BETWEEN_PULSES);
        }
        let mut openings = self.openings.iter_mut();
        if let Some(opening) = openings.find(|opening| opening.id == unlock.command) {
            opening.under_way = Some((now, now + CONFIRM));
        }
    }

    /// It is known that it can't be confirmed, and why: the board refused it, or the line failed.
    pub fn unlock_failed(&mut self, unlock: &Unlock, why: &str) {
        self.end(|opening| opening.id == unlock.command, Done::Failed, why);
    }

    /// The board carried it out, and has no sensor by which the door could be seen: that must do.
    pub fn unlock_carried_out(&mut self, unlock: &Unlock) {
        self.end(|opening| opening.id == unlock.command, Done::Done, "");
    }

    /// A board shows its channels. `shown` is called with the number of each, from 1; `None` for one
    /// that wasn't shown.
    pub fn shown(&mut self, board: usize, now: Instant, shown: impl Fn(u16) -> Option<Raw>) {
        self.answered(board, now);
        for index in 0..self.compartments.len() {
            let Some(compartment) = self.compartments.get_mut(index) else {
                continue;
            };
            if compartment.board != board {
                continue;
            }
            let Some(raw) = shown(compartment.channel) else {
                continue;
            };
            let number = compartment.number;
            let waited_for = |opening: &Opening| {
                opening.compartment == number && opening.under_way.is_some_and(|(at, _)| at <= now)
            };
            if compartment.see(raw, now) == Door::Open && self.openings.iter().any(waited_for) {
                compartment.is_open();
                let kind = compartment.say();
                self.voice.say_at(now, kind);
                self.end(waited_for, Done::Done, "");
            } else if let Some(kind) = compartment.news(now) {
                self.voice.say_at(now, kind);
            }
        }
    }

    /// A board answers, whatever it said.
    pub fn answered(&mut self, board: usize, now: Instant) {
        if let Some(board) = self.boards.get_mut(board) {
            board.heard = Heard::Answers;
            board.last_shown = Some(now);
        }
        self.tell_presence();
    }

    /// A board counts as silent. May be said again and again.
    pub fn silent(&mut self, board: usize) {
        if let Some(board) = self.boards.get_mut(board) {
            board.heard = Heard::Silent;
        }
        self.forget_states(|compartment| compartment.board == board);
        self.tell_presence();
    }

    /// The port went away, and with it all boards.
    pub fn port_lost(&mut self) {
        for board in &mut self.boards {
            board.heard = Heard::NotYet;
        }
        self.end_waiting(|_| true, "the port went away");
        self.end(
            |_| true,
            Done::Failed,
            "the port went away before the door was seen open: look whether it opened",
        );
        self.forget_states(|_| true);
        if self.online != Some(false) {
            self.online = Some(false);
            self.intake.presence(&self.id, false);
        }
    }

    /// Time has passed: what is too late ends, and what waited to be said is said.
    pub fn tick(&mut self, now: Instant) {
        self.expire(now);
        self.give_up(now);
        self.say_again_what_was_lost();
        for compartment in &mut self.compartments {
            if let Some(kind) = compartment.news(now) {
                self.voice.say_at(now, kind);
            }
        }
    }

    /// When [`Self::unlock`] or [`Self::tick`] has something to do again, if anything is known to
    /// come.
    pub fn due(&self) -> Option<Instant> {
        let openings = self.openings.iter().map(|opening| match opening.under_way {
            Some((_, until)) => until,
            None => {
                let next_pulse = self.boards.get(opening.board).and_then(|b| b.next_pulse);
                next_pulse.map_or(opening.expires, |next| next.min(opening.expires))
            }
        });
        let news = self.compartments.iter().filter_map(Compartment::due);
        openings.chain(news).min()
    }

    /// The channels of a board where something is going on: doors that are waited for, states that
    /// aren't certain yet. As long as there are any, the board is asked again after [`SOON`].
    pub fn watched(&self, board: usize) -> Vec<u16> {
        let under_way = |opening: &&Opening| opening.board == board && opening.under_way.is_some();
        let openings = self.openings.iter().filter(under_way);
        let mut channels: Vec<u16> = openings.map(|opening| opening.channel).collect();
        let unsettled = |c: &&Compartment| c.board == board && c.unsettled();
        let unsettled = self.compartments.iter().filter(unsettled);
        channels.extend(unsettled.map(|compartment| compartment.channel));
        channels
    }

    /// What the message orders, if it is to open: the command's id, the compartment, how long it is
    /// good from when it came. Everything else is answered.
    fn order_to_open(&self, outgoing: &Outgoing) -> Option<(String, u16, Duration)> {
        if outgoing.message.channel != Channel::Command {
            return None; // A receipt: the voice goes by the answer itself.
        }
        let command = match Command::decode(&outgoing.message.payload) {
            Ok(command) => command,
            Err(why) => {
                tracing::error!(bank = %self.id, %why, "a command can't be read");
                return None;
            }
        };
        let why = match command.order {
            Order::Open { compartment } => {
                let expiry_ms = outgoing.message.expiry_ms.unwrap_or(u64::MAX);
                // Longer than any command lives, and short enough to be added to a time.
                let ttl_ms = command.ttl_ms.min(expiry_ms).min(3_600_000);
                return Some((command.id, compartment, Duration::from_millis(ttl_ms)));
            }
            Order::Show { .. } | Order::Identify => "a locker board has no display",
            Order::Codes { .. } => "a locker board can't check codes",
        };
        self.result(command.id, Done::Refused, why);
        None
    }

    /// Those that wait, and whose time is over, are refused.
    fn expire(&mut self, now: Instant) {
        self.end_waiting(
            |waiting| waiting.expires <= now,
            "too late: its time was over before the board could be told",
        );
    }

    /// Those whose door wasn't seen open in time have failed.
    fn give_up(&mut self, now: Instant) {
        let over = |opening: &Opening| opening.under_way.is_some_and(|(_, until)| until <= now);
        while let Some(opening) = self.openings.iter().find(|opening| over(opening)) {
            let since = opening.under_way.map(|(at, _)| at);
            let board = self.boards.get(opening.board);
            let shown = board.and_then(|board| board.last_shown);
            let address = board.map(|board| board.section.address);
            let why = match shown >= since {
                true => format!(
                    "its door wasn't seen open within {} s: a jammed lock, a cable, or 'closed' of board {} the wrong way round",
                    CONFIRM.as_secs(),
                    address.unwrap_or_default()
                ),
                false => format!(
                    "board {} doesn't answer, so it isn't known whether it opened: look at its power and its cable",
                    address.unwrap_or_default()
                ),
            };
            let id = opening.id.clone();
            self.end(|opening| opening.id == id, Done::Failed, &why);
        }
    }

    fn end_waiting(&mut self, which: impl Fn(&Opening) -> bool, why: &str) {
        self.end(
            |opening| opening.under_way.is_none() && which(opening),
            Done::Refused,
            why,
        );
    }

    /// Ends openings, each with its result, and one more for each time that it came again.
    fn end(&mut self, which: impl Fn(&Opening) -> bool, outcome: Done, why: &str) {
        while let Some(index) = self.openings.iter().position(&which) {
            let Some(opening) = self.openings.remove(index) else {
                return;
            };
            self.result(opening.id.clone(), outcome, why);
            for _ in 0..opening.repeated.min(8) {
                self.result(opening.id.clone(), Done::Refused, "carried out before");
            }
        }
    }

    fn result(&self, command: String, outcome: Done, why: &str) {
        let reason = (!why.is_empty()).then(|| why.chars().take(200).collect());
        self.voice.say(Kind::Result {
            command,
            outcome,
            reason,
        });
    }

    fn forget_states(&mut self, which: impl Fn(&Compartment) -> bool) {
        for compartment in self.compartments.iter_mut().filter(|c| which(c)) {
            if let Some(kind) = compartment.is_unknown() {
                self.voice.say(kind);
            }
        }
    }

    /// After events were lost, every state is said again as soon as there is room.
    fn say_again_what_was_lost(&mut self) {
        let lost = self.voice.lost();
        let room = WAITING_MAX.saturating_sub(self.voice.waiting());
        if lost == self.lost || room < WAITING_MAX / 2 {
            return;
        }
        self.lost = lost;
        for compartment in &mut self.compartments {
            if let Some(kind) = compartment.say_again() {
                self.voice.say(kind);
            }
        }
    }

    /// It is online while any of its boards answers, and offline when all are silent.
    fn tell_presence(&mut self) {
        let is = |heard: Heard| move |board: &Board| board.heard == heard;
        let online = match self.boards.iter().any(is(Heard::Answers)) {
            true => Some(true),
            false if self.boards.iter().all(is(Heard::Silent)) => Some(false),
            false => self.online,
        };
        if let Some(now_online) = online.filter(|_| online != self.online) {
            self.online = online;
            self.intake.presence(&self.id, now_online);
        }
    }
}
