//! Opening compartments and telling people: the only place where commands are made.
//!
//! * Each open command has an id of its own, an end, and a row that says what became of it.
//! * A command is made by a gesture of a person only: a scan, a code, a technician. Time and
//!   restarts never make one, so nothing fires again by itself; after a command has ended the
//!   person repeats the gesture, and that makes a new one. Within its time the same command may be
//!   sent again (`retries.rs`).
//! * An authorised open is never refused because a sensor says that the door is open already.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use firmware_protocols::command::{Command, Order, Tone};
use firmware_protocols::{Ident, Slot};

use crate::command::{CommandRow, CommandState, Purpose};
use crate::estate::Estate;
use crate::input::Happening;
use crate::parcel::Stage;
use crate::turn::{Origin, Turn};
use crate::{Effect, Verdict, text};

/// The most commands in memory. They leave it [`KEEP_MS`] after their end; beyond this many, new
/// ones aren't made, and the person is asked to come back in a few minutes.
pub const COMMANDS_MAX: usize = 4_096;

/// How long a command is kept in memory after its end, ms: for results and doors that report late.
pub const KEEP_MS: u64 = 600_000;

/// Why a hand-over failed whose command wasn't answered: whether the door opened isn't known.
pub(crate) const NO_ANSWER: &str = "no answer from the bank";

impl Estate {
    /// Commands a compartment to open. The command's id; `None` if too many are in memory.
    pub(crate) fn open(
        &mut self,
        turn: &mut Turn<'_, '_>,
        slot: &Slot,
        purpose: Purpose,
    ) -> Option<String> {
        if self.commands.len() >= COMMANDS_MAX {
            return None;
        }
        let id = turn.id("o-");
        let ttl_ms = self.rules.command_ttl_ms;
        let now = turn.now;
        let row = CommandRow {
            id: id.clone(),
            slot: slot.clone(),
            purpose,
            at_ms: now.wall_ms,
            quality: now.quality,
            expires_tick_ms: now.tick_in(ttl_ms),
            state: CommandState::Requested,
            sent_ms: None,
            opened_ms: None,
            closed_ms: None,
        };
        self.commands.insert(id.clone(), row);
        if let Some(row) = self.compartments.get_mut(slot) {
            row.openings = row.openings.saturating_add(1);
        }
        let order = Order::Open {
            compartment: slot.compartment,
        };
        let expires_ms = self.command(turn, &slot.bank, id.clone(), order);
        let next_tick_ms = now.tick_in(self.rules.command_retry_ms);
        self.retries.add(&id, slot, expires_ms, next_tick_ms);
        Some(id)
    }

    /// A technician opens a compartment.
    pub(crate) fn open_by_hand(
        &mut self,
        turn: &mut Turn<'_, '_>,
        slot: Slot,
        operator: String,
        reason: String,
    ) -> Verdict {
        let row = match self.compartment_of_layout(&slot) {
            Ok(row) => row,
            Err(why) => return Verdict::Refused(why),
        };
        if operator.trim().is_empty() || reason.trim().is_empty() {
            return Verdict::Refused("say who opens it and why: both are recorded".to_string());
        }
        let held: Vec<_> = row.contents.iter().chain(&row.reserved).cloned().collect();
        let who = format!("operator {operator}");
        let detail = format!("{slot}: {reason}");
        if self
            .open(turn, &slot, Purpose::ByHand { operator, reason })
            .is_none()
        {
            return Verdict::Refused(format!(
                "{COMMANDS_MAX} commands are under way: wait some minutes, and look for a keypad gone mad"
            ));
        }
        for parcel in held {
            let (who, detail) = (who.clone(), Some(detail.clone()));
            self.trace(&turn.now, &parcel, "opened-by-hand", who, detail);
        }
        Verdict::Taken
    }

    /// The parcel whose hand-over waits for this command's door to open.
    pub(crate) fn parcel_waiting_for(&self, command: &str) -> Option<String> {
        let slot = &self.commands.get(command)?.slot;
        let waits = |parcel: &String| {
            let stage = self.parcels.get(parcel).map(|row| &row.stage);
            matches!(
                stage,
                Some(
                    Stage::Depositing { command: c, opened: false, .. }
                    | Stage::Collecting { command: c, opened: false, .. }
                ) if c == command
            )
        };
        self.parcels_in(slot).into_iter().find(waits)
    }

    /// Whether a command is to open again what was collected.
    pub(crate) fn is_reopening(&self, command: &str) -> bool {
        let Some(Purpose::Collect { parcel }) = self.commands.get(command).map(|row| &row.purpose)
        else {
            return false;
        };
        self.parcels
            .get(parcel)
            .is_some_and(|row| row.stage.finished())
    }

    /// The door didn't open, or isn't known to have: the parcel is again where it was before.
    pub(crate) fn hand_over_failed(&mut self, turn: &mut Turn<'_, '_>, parcel: &str, why: &str) {
        let Some((slot, depositing)) = self.under_way(parcel) else {
            return;
        };
        if depositing {
            self.undo_deposit(turn, parcel, why);
        } else {
            self.undo_collection(turn, parcel, why);
        }
        let words = match why {
            NO_ANSWER => text::NO_ANSWER,
            _ => text::DID_NOT_OPEN,
        };
        self.show_at(turn, &slot.bank, words, Tone::Error);
    }

    /// The compartment of a hand-over under way, and whether it is a deposit.
    pub(crate) fn under_way(&self, parcel: &str) -> Option<(Slot, bool)> {
        match &self.parcels.get(parcel)?.stage {
            Stage::Depositing { slot, .. } => Some((slot.clone(), true)),
            Stage::Collecting { slot, .. } => Some((slot.clone(), false)),
            _ => None,
        }
    }

    /// Tells the person at the device where an event came from that it went well.
    pub(crate) fn show_ok(&self, turn: &mut Turn<'_, '_>, from: &Origin, words: impl Into<String>) {
        self.show(turn, &from.device, words.into(), Tone::Ok);
    }

    /// Tells the person at the device where an event came from what to do next.
    pub(crate) fn show_info(
        &self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        words: impl Into<String>,
    ) {
        self.show(turn, &from.device, words.into(), Tone::Info);
    }

    /// Tells the person at the device where an event came from that it can't be.
    pub(crate) fn show_error(
        &self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        words: impl Into<String>,
    ) {
        self.show(turn, &from.device, words.into(), Tone::Error);
    }

    /// Tells the person at a point: at the reader used last, else at the point itself.
    pub(crate) fn show_at(
        &self,
        turn: &mut Turn<'_, '_>,
        point: &Ident,
        words: impl Into<String>,
        tone: Tone,
    ) {
        let device = self.readers.get(point).unwrap_or(point);
        self.show(turn, device, words.into(), tone);
    }

    /// An event that a person waits for went to quarantine: say so.
    pub(crate) fn excuse(&self, turn: &mut Turn<'_, '_>, from: &Origin, what: &Happening) {
        if matches!(what, Happening::Keypad { .. } | Happening::Scan { .. }) {
            self.show_error(turn, from, text::DEVICE_FAULT);
        }
    }

    fn show(&self, turn: &mut Turn<'_, '_>, device: &Ident, text: String, tone: Tone) {
        let id = turn.id("s-");
        let text = text::clipped(text);
        self.command(turn, device, id, Order::Show { text, tone });
    }

    /// Sends an order. Its end, ms since the Unix epoch.
    pub(crate) fn command(
        &self,
        turn: &mut Turn<'_, '_>,
        device: &Ident,
        id: String,
        order: Order,
    ) -> i64 {
        let ttl_ms = self.rules.command_ttl_ms;
        let ttl = i64::try_from(ttl_ms).unwrap_or(i64::MAX);
        let expires = turn.now.wall_ms.saturating_add(ttl);
        turn.effects.push(Effect::Command {
            device: device.clone(),
            form: self.form_of(device),
            command: Command {
                id,
                expires,
                ttl_ms,
                order,
            },
        });
        expires
    }
}
