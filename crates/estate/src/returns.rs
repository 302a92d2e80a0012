//! Returns: a recipient brings goods back, with the code that the return was announced with.
//!
//! The code is good at once, for putting the goods in: at its bank it opens a compartment, at a
//! desk they are handed in. From then on the return waits for a courier; the code opens its
//! compartment only for the grace, for something that was forgotten. Goods that are taken out again
//! are expected again. A return never shares a compartment with what waits for its recipient.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use cloud_protocol::downlink::ExpectedParcel;
use firmware_protocols::command::Tone;
use firmware_protocols::{Ident, Slot};

use crate::code::CodeState;
use crate::collect::keypad;
use crate::command::Purpose;
use crate::deposit::RECIPIENT;
use crate::estate::Estate;
use crate::parcel::{ParcelRow, Place, Stage, Taker};
use crate::turn::{Origin, Turn};
use crate::{Now, text};

impl Estate {
    /// The live code of a return was typed.
    pub(crate) fn return_code(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        point: &Ident,
        parcel: &str,
    ) {
        let Some(row) = self.parcels.get(parcel) else {
            return;
        };
        let (announced, since) = (row.parcel.clone(), row.since_tick_ms);
        match row.stage.clone() {
            Stage::Expected if self.places.is_desk(point) => {
                self.take_return_in(turn, parcel, point, &keypad(from));
                self.show_ok(turn, from, text::RETURN_TAKEN_IN);
            }
            Stage::Expected => self.bring_return(turn, from, point, &announced),
            Stage::Depositing { slot, opened, .. } if slot.bank == *point => {
                let faulty = self
                    .compartments
                    .get(&slot)
                    .is_some_and(|row| row.fault.is_some());
                if faulty && !opened {
                    self.undo_deposit(turn, parcel, "faulty");
                    self.bring_return(turn, from, point, &announced);
                } else {
                    self.start_deposit(turn, from, parcel, slot, RECIPIENT.to_string(), opened);
                }
            }
            Stage::Deposited {
                place: Place::Slot(slot),
            } if slot.bank == *point && !turn.now.passed(since, self.rules.reopen_grace_ms) => {
                self.reopen_return(turn, from, parcel, slot);
            }
            Stage::Collecting {
                slot,
                taker: Taker::Recipient,
                ..
            } if slot.bank == *point => self.reopen_return(turn, from, parcel, slot),
            Stage::Collecting { .. } => self.show_info(turn, from, text::BEING_TAKEN_BACK),
            Stage::Depositing { slot, .. } => {
                let words = text::waits_at(&self.named(&slot.bank));
                self.show_info(turn, from, words);
            }
            _ => {
                self.kill_code(&announced.point, parcel, turn.now.tick_ms);
                self.wrong_code(turn, from, Some(text::USED));
            }
        }
    }

    /// A desk takes a return in, handed over with its code.
    pub(crate) fn take_return_in(
        &mut self,
        turn: &mut Turn<'_, '_>,
        parcel: &str,
        desk: &Ident,
        accepted_by: &str,
    ) {
        let who = accepted_by.to_string();
        self.trace(&turn.now, parcel, "code-accepted", who, None);
        let place = Place::Desk(desk.clone());
        self.deposited(turn, parcel, place, RECIPIENT);
    }

    /// The door of a compartment was closed that a recipient had opened again for a return. Whether
    /// it was such a one: if the sensor says empty, the goods are expected again.
    pub(crate) fn return_closed(
        &mut self,
        turn: &mut Turn<'_, '_>,
        parcel: &str,
        settled: bool,
        occupied: Option<bool>,
    ) -> bool {
        let row = self.parcels.get(parcel);
        let Some(Stage::Collecting {
            slot,
            taker: Taker::Recipient,
            ..
        }) = row
            .filter(|row| row.is_return())
            .map(|row| row.stage.clone())
        else {
            return false;
        };
        let now = turn.now;
        if settled && occupied == Some(false) {
            self.take_out(&slot, parcel);
            self.set_stage(&now, parcel, Stage::Expected);
            if let Some(row) = self.parcels.get_mut(parcel) {
                row.back = None;
            }
            let (who, detail) = (RECIPIENT.to_string(), Some(slot.to_string()));
            self.trace(&now, parcel, "return-taken-out", who, detail);
            self.report(&now, parcel, None);
            self.show_at(turn, &slot.bank, text::RETURN_TAKEN_OUT, Tone::Info);
        } else if settled {
            self.undo_collection(turn, parcel, "closed again");
            let words = text::stored(slot.compartment);
            self.show_at(turn, &slot.bank, words, Tone::Ok);
        }
        true
    }

    /// The codes of returns that were put in die with the grace.
    pub(crate) fn end_return_codes(&mut self, now: &Now) {
        let grace = self.rules.reopen_grace_ms;
        let over = |row: &ParcelRow| {
            let inside = matches!(row.stage, Stage::Deposited { .. });
            row.is_return() && inside && now.passed(row.since_tick_ms, grace)
        };
        let dead: Vec<_> = self
            .codes
            .values()
            .filter_map(|code| match &code.state {
                CodeState::Live { parcel } if self.parcels.get(parcel).is_some_and(over) => {
                    Some((code.point.clone(), code.digest))
                }
                _ => None,
            })
            .collect();
        for (point, digest) in dead {
            self.lay_to_rest(&point, digest, now.tick_ms);
        }
    }

    /// Opens a compartment for the recipient to put a return in; if none fits, a desk takes it.
    fn bring_return(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        point: &Ident,
        announced: &ExpectedParcel,
    ) {
        let parcel = announced.parcel.as_str();
        if announced.point != *point {
            let words = text::other_point(&announced.point);
            self.show_info(turn, from, words);
            return;
        }
        if self.another_comes_first(turn, from, point) {
            return;
        }
        if let Some(slot) = self.choose(&turn.now, announced) {
            self.start_deposit(turn, from, parcel, slot, RECIPIENT.to_string(), false);
            return;
        }
        let desk = self.desk_near(point).map(|desk| self.named(&desk.id));
        if let Some(row) = self.parcels.get_mut(parcel) {
            row.to_desk = true;
        }
        let (size, zone) = (announced.size.word(), announced.zone.word());
        let detail = Some(format!("none free for size {size}, {zone}, at {point}"));
        self.trace(&turn.now, parcel, "no-compartment", keypad(from), detail);
        self.show_info(turn, from, text::no_room_for_return(desk.as_deref()));
    }

    /// Opens the compartment of a return once more, for something that was forgotten.
    fn reopen_return(&mut self, turn: &mut Turn<'_, '_>, from: &Origin, parcel: &str, slot: Slot) {
        let purpose = Purpose::Collect {
            parcel: parcel.to_string(),
        };
        let Some(command) = self.open(turn, &slot, purpose) else {
            self.show_error(turn, from, text::BUSY);
            return;
        };
        let (who, detail) = (keypad(from), Some(slot.to_string()));
        self.trace(&turn.now, parcel, "reopened", who, detail);
        let words = text::put_in(slot.compartment);
        let stage = Stage::Collecting {
            slot,
            taker: Taker::Recipient,
            command,
            opened: self.is_opened(parcel),
            alarmed: false,
        };
        self.set_stage(&turn.now, parcel, stage);
        self.show_ok(turn, from, words);
    }
}
