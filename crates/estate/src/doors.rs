//! What compartments report: the doors' part in every hand-over.
//!
//! A hand-over under way ends when the door closes after it was seen open. A deposit then ends with
//! what the occupancy sensor says, a collection likewise; without a sensor, or when it is silent,
//! closing is enough.
//!
//! A door that closes without having been seen open is not yet news: many controllers report their
//! state right after a command, before the bolt moves. It ends the hand-over only if the sensor
//! gives evidence of its own: the reading changed since the last report in the way the hand-over
//! would change it, or the device says that it carried the command out and the reading fits.
//!
//! A door that is seen open late, when its command had already been given up as expired, takes the
//! hand-over up again, for as long as a door may stand open: the compartment knows better than we
//! do what happened.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use firmware_protocols::Slot;
use firmware_protocols::event::Door;

use crate::Now;
use crate::command::{CommandRow, CommandState, Purpose};
use crate::compartment::CompartmentRow;
use crate::deposit::RECIPIENT;
use crate::estate::Estate;
use crate::opening::KEEP_MS;
use crate::parcel::{Back, Stage, Taker};
use crate::turn::{Origin, Turn};

impl Estate {
    /// A bank reports the state of one of its compartments.
    pub(crate) fn compartment_says(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        compartment: u16,
        door: Door,
        occupied: Option<bool>,
    ) {
        let Some(bank) = from.point.clone() else {
            return;
        };
        let sensor = self
            .places
            .bank(&self.layout, &bank)
            .is_some_and(|bank| bank.occupancy_sensor);
        let occupied = occupied.filter(|_| sensor);
        let slot = Slot { bank, compartment };
        let Some(row) = self.compartments.get_mut(&slot) else {
            return;
        };
        let before = row.occupied;
        row.door = door;
        // What the sensor said before the door closed says nothing about now.
        if occupied.is_some() || door == Door::Closed {
            row.occupied = occupied;
        }
        if occupied == Some(true) {
            self.missing.remove(&slot);
        }
        match door {
            Door::Open => {
                self.door_opened(turn, &slot);
                self.settle_late(&turn.now, &slot);
            }
            Door::Closed => {
                self.door_closed(turn, &slot, before, occupied);
                self.settle_closed(turn, from, &slot);
            }
            Door::Unknown => {}
        }
        let row = self.compartments.get(&slot);
        if row.is_some_and(CompartmentRow::is_said_empty) {
            self.missing.insert(slot);
        }
    }

    fn door_opened(&mut self, turn: &mut Turn<'_, '_>, slot: &Slot) {
        if let Some(row) = self.compartments.get_mut(slot) {
            row.fault = None;
        }
        if !self.settle_opened(&turn.now, slot) {
            self.take_up_late(turn, slot);
        }
        let now = turn.now;
        for parcel in self.parcels_in(slot) {
            let Some(row) = self.parcels.get(&parcel) else {
                continue;
            };
            let mut stage = row.stage.clone();
            match &mut stage {
                Stage::Depositing { opened, .. } | Stage::Collecting { opened, .. } if !*opened => {
                    *opened = true;
                }
                _ => continue,
            }
            self.set_stage(&now, &parcel, stage);
            let who = format!("bank {}", slot.bank);
            self.trace(&now, &parcel, "opened", who, Some(slot.to_string()));
        }
    }

    fn door_closed(
        &mut self,
        turn: &mut Turn<'_, '_>,
        slot: &Slot,
        before: Option<bool>,
        occupied: Option<bool>,
    ) {
        let Some(row) = self.compartments.get(slot) else {
            return;
        };
        if row.is_free() {
            self.free_one_closed(turn, slot, before, occupied);
            return;
        }
        let (reserved, contents) = (row.reserved.clone(), row.contents.clone());
        let (taken, rest): (Vec<_>, Vec<_>) = contents.into_iter().partition(|parcel| {
            let stage = self.parcels.get(parcel).map(|row| &row.stage);
            matches!(stage, Some(Stage::Collecting { .. }))
        });
        if let Some(parcel) = &reserved {
            self.deposit_closed(turn, slot, parcel, before, occupied);
        } else if before == Some(true) && occupied == Some(false) {
            self.seen_empty(turn, slot, &rest, &taken);
        }
        if !taken.is_empty() {
            // 'Occupied' says nothing of what was taken if other things stay, or come in.
            let alone = reserved.is_none() && rest.is_empty();
            let occupied = occupied.filter(|occupied| alone || !occupied);
            self.collection_closed(turn, slot, &taken, before, occupied);
        }
    }

    /// The sensor says that parcels are gone which nobody was to take; `taken` was being taken out.
    pub(crate) fn seen_empty(
        &mut self,
        turn: &Turn<'_, '_>,
        slot: &Slot,
        parcels: &[String],
        taken: &[String],
    ) {
        for parcel in parcels {
            let who = format!("bank {}", slot.bank);
            let detail = match taken {
                [] => format!("{slot}: the sensor says empty, without a code"),
                taken => {
                    let taken = taken.join(", ");
                    format!("{slot}: the sensor says empty after {taken} was taken out")
                }
            };
            self.trace(&turn.now, parcel, "seen-empty", who, Some(detail));
        }
    }

    /// The parcels that are in a compartment, or on their way into it.
    pub(crate) fn parcels_in(&self, slot: &Slot) -> Vec<String> {
        let row = self.compartments.get(slot);
        let parcels = row.map(|row| row.reserved.iter().chain(&row.contents));
        parcels.into_iter().flatten().cloned().collect()
    }

    pub(crate) fn is_done(&self, command: &str) -> bool {
        let state = self.commands.get(command).map(|row| &row.state);
        matches!(state, Some(CommandState::Done))
    }

    /// The commands that may have opened this door are answered by it: those without a final
    /// answer whose end isn't longer ago than a door may stand open. Whether there were any.
    fn settle_opened(&mut self, now: &Now, slot: &Slot) -> bool {
        let patience = self.patience_ms();
        let waiting = |row: &&CommandRow| {
            row.slot == *slot
                && (row.state.waiting() || row.state == CommandState::Done)
                && !now.passed(row.expires_tick_ms, patience)
        };
        let ids: Vec<_> = self
            .commands
            .values()
            .filter(waiting)
            .map(|row| row.id.clone())
            .collect();
        for id in &ids {
            if let Some(row) = self.commands.get_mut(id) {
                row.state = CommandState::Opened;
                row.opened_ms = Some(now.wall_ms);
            }
        }
        !ids.is_empty()
    }

    /// Takes up a hand-over whose command had been given up before this door was seen open.
    ///
    /// 'Refused' is no proof either: a bank refuses a command that it has carried out already.
    fn take_up_late(&mut self, turn: &mut Turn<'_, '_>, slot: &Slot) {
        let now = turn.now;
        let patience = self.patience_ms();
        let recent =
            |row: &&CommandRow| row.slot == *slot && !now.passed(row.expires_tick_ms, patience);
        let given_up = |row: &CommandRow| {
            matches!(
                row.state,
                CommandState::Expired | CommandState::Unknown | CommandState::Refused { .. }
            )
        };
        let latest = self
            .commands
            .values()
            .filter(recent)
            .max_by_key(|row| (row.expires_tick_ms, given_up(row), &row.id))
            .filter(|row| given_up(row));
        let Some((command, purpose)) = latest.map(|row| (row.id.clone(), row.purpose.clone()))
        else {
            return;
        };
        match purpose {
            Purpose::Deposit { parcel } => self.take_up_deposit(turn, parcel, slot, command),
            Purpose::Collect { parcel } => self.take_up_collection(turn, &parcel, slot, &command),
            // Who wanted to take it, and whereto, isn't known any more.
            Purpose::Retrieve { .. } | Purpose::ByHand { .. } => {}
        }
    }

    /// How long after a command's end a door may still belong to it, ms.
    pub(crate) fn patience_ms(&self) -> u64 {
        self.rules.door_open_alarm_ms.min(KEEP_MS)
    }

    fn take_up_deposit(
        &mut self,
        turn: &mut Turn<'_, '_>,
        parcel: String,
        slot: &Slot,
        command: String,
    ) {
        let (Some(row), Some(inside)) = (self.parcels.get(&parcel), self.compartments.get(slot))
        else {
            return;
        };
        let his = |id: &String| {
            let inside = self.parcels.get(id).map(|row| &row.parcel.recipient);
            inside == Some(&row.parcel.recipient)
        };
        let room = inside.reserved.is_none() && inside.contents.iter().all(his);
        if row.stage != Stage::Expected || !room {
            return;
        }
        let courier = if row.is_return() {
            RECIPIENT
        } else {
            "unknown"
        };
        let stage = Stage::Depositing {
            slot: slot.clone(),
            courier: courier.to_string(),
            command,
            opened: false,
            alarmed: false,
        };
        self.set_stage(&turn.now, &parcel, stage);
        self.reserve(slot, &parcel);
    }

    /// Everything in a compartment that is for the recipient of `parcel` is being taken out.
    fn take_up_collection(
        &mut self,
        turn: &mut Turn<'_, '_>,
        parcel: &str,
        slot: &Slot,
        command: &str,
    ) {
        let Some(recipient) = self.parcels.get(parcel).map(|row| &row.parcel.recipient) else {
            return;
        };
        let inside = self.compartments.get(slot).map(|row| row.contents.iter());
        let his: Vec<_> = inside
            .into_iter()
            .flatten()
            .filter(|id| {
                self.parcels.get(*id).is_some_and(|row| {
                    let his = row.back.is_none_or(Back::still_for_recipient);
                    let waits = matches!(row.stage, Stage::Deposited { .. });
                    his && waits && row.parcel.recipient == *recipient
                })
            })
            .cloned()
            .collect();
        for id in his {
            let stage = Stage::Collecting {
                slot: slot.clone(),
                taker: Taker::Recipient,
                command: command.to_string(),
                opened: false,
                alarmed: false,
            };
            self.set_stage(&turn.now, &id, stage);
        }
    }
}
