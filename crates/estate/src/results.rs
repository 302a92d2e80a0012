//! What becomes of commands to open: the link's, the device's and the door's word, entered into the
//! ledger ([`crate::command`]).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use firmware_protocols::Slot;
use firmware_protocols::command::Tone;
use firmware_protocols::event::Done;

use crate::command::{CommandRow, CommandState};
use crate::estate::Estate;
use crate::parcel::Stage;
use crate::turn::{Origin, Turn};
use crate::{Now, Verdict, text};

impl Estate {
    /// A link has handed a command to its device for the first time. When it has ended already, its
    /// end stands, and only the time is noted.
    pub(crate) fn command_sent(&mut self, now: &Now, id: &str) -> Verdict {
        let unsent = |row: &CommandRow| row.sent_ms.is_none();
        if self.commands.get(id).is_some_and(unsent)
            && let Some(row) = self.commands.get_mut(id)
        {
            row.sent_ms = Some(now.wall_ms);
            if row.state == CommandState::Requested {
                row.state = CommandState::Sent;
            }
        }
        Verdict::Taken
    }

    /// A device says what became of a command.
    pub(crate) fn command_result(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        id: &str,
        outcome: Done,
        reason: Option<String>,
    ) {
        let Some(row) = self.commands.get(id) else {
            return;
        };
        let slot = row.slot.clone();
        let own = slot.bank == from.device || from.point.as_ref() == Some(&slot.bank);
        // One that was sent twice may be refused because it was carried out the first time.
        let twice = outcome == Done::Refused && self.retries.repeated(id);
        if !own || !row.state.waiting() || twice {
            return;
        }
        let reason = reason.unwrap_or_else(|| "no reason given".to_string());
        let state = match outcome {
            Done::Done => CommandState::Done,
            Done::Refused => CommandState::Refused {
                reason: reason.clone(),
            },
            Done::Failed => CommandState::Failed {
                reason: reason.clone(),
            },
        };
        if let Some(row) = self.commands.get_mut(id) {
            row.state = state;
        }
        if outcome == Done::Done {
            return;
        }
        if outcome == Done::Failed
            && let Some(row) = self.compartments.get_mut(&slot)
        {
            row.fault = Some(format!("did not open: {reason}"));
        }
        if let Some(parcel) = self.parcel_waiting_for(id) {
            let why = format!("{} by {}: {reason}", outcome.word(), from.device);
            self.hand_over_failed(turn, &parcel, &why);
        } else if self.is_reopening(id) {
            self.show_at(turn, &slot.bank, text::DID_NOT_OPEN, Tone::Error);
        }
    }

    /// A door is open: commands that had been given up have opened it after all, if a hand-over
    /// was taken up with them, or if nothing else explains the door.
    pub(crate) fn settle_late(&mut self, now: &Now, slot: &Slot) {
        let mut late: Vec<String> = Vec::new();
        for parcel in self.parcels_in(slot) {
            if let Some(Stage::Depositing { command, .. } | Stage::Collecting { command, .. }) =
                self.parcels.get(&parcel).map(|row| &row.stage)
            {
                late.push(command.clone());
            }
        }
        let here = || self.commands.values().filter(|row| row.slot == *slot);
        if late.is_empty() && !here().any(|row| row.state == CommandState::Opened) {
            let patience = self.patience_ms();
            let last = here().max_by_key(|row| (row.expires_tick_ms, &row.id));
            let recent = last.filter(|row| !now.passed(row.expires_tick_ms, patience));
            late.extend(recent.map(|row| row.id.clone()));
        }
        let given_up = |row: &CommandRow| {
            matches!(
                row.state,
                CommandState::Expired | CommandState::Unknown | CommandState::Refused { .. }
            )
        };
        for id in late {
            if self.commands.get(&id).is_some_and(given_up)
                && let Some(row) = self.commands.get_mut(&id)
            {
                row.state = CommandState::Opened;
                row.opened_ms = Some(now.wall_ms);
            }
        }
    }

    /// A door was closed: the commands that had opened it are complete.
    pub(crate) fn settle_closed(&mut self, turn: &Turn<'_, '_>, from: &Origin, slot: &Slot) {
        let opened = |row: &&CommandRow| row.slot == *slot && row.state == CommandState::Opened;
        let ids: Vec<String> = self
            .commands
            .values()
            .filter(opened)
            .map(|row| row.id.clone())
            .collect();
        for id in ids {
            if let Some(row) = self.commands.get_mut(&id) {
                row.state = CommandState::Closed;
                row.closed_ms = Some(turn.now.wall_ms);
            }
            if Self::is_banks_own(&id) {
                self.shorten_grace(&turn.now, slot, from.age_ms(&turn.now));
            }
        }
    }
}
