//! How a taking-out ends: the door is closed, and what was being taken is out, or still inside.
//!
//! What the sensor had said to be gone before the door was opened, and still is, was taken by nobody:
//! the parcel stays where the books have it until the staff has looked into it
//! ([`crate::input::DeskAct::Retrieve`] ends it).
//!
//! One command empties a compartment: all parcels in it that are being taken with the same command
//! are settled together, with one text, whoever takes them.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use firmware_protocols::command::Tone;
use firmware_protocols::{Ident, Slot};

use crate::command::Purpose;
use crate::estate::Estate;
use crate::parcel::{ParcelRow, Place, Stage, Taker};
use crate::turn::Turn;
use crate::{Now, text};

impl Estate {
    /// The door of a compartment from which `taken` are being taken was closed. If not everything
    /// inside is being taken, a sensor that says occupied says nothing.
    pub(crate) fn collection_closed(
        &mut self,
        turn: &mut Turn<'_, '_>,
        slot: &Slot,
        taken: &[String],
        before: Option<bool>,
        occupied: Option<bool>,
    ) {
        let whole = self.compartments.get(slot).is_some_and(|row| {
            row.reserved.is_none() && row.contents.iter().all(|inside| taken.contains(inside))
        });
        for parcel in taken {
            let Some(Stage::Collecting {
                command,
                opened,
                taker,
                ..
            }) = self.parcels.get(parcel).map(|row| row.stage.clone())
            else {
                continue; // Settled together with an earlier one.
            };
            let evidence =
                occupied == Some(false) && (before == Some(true) || self.is_done(&command));
            if self.return_closed(turn, parcel, opened || evidence, occupied) {
                continue;
            }
            let found_empty = occupied == Some(false) && self.missing.contains(slot);
            if found_empty && (opened || evidence) && !matches!(taker, Taker::Operator(_)) {
                self.undo_collection(turn, parcel, "found empty, as the sensor had said before");
                let words = text::found_empty(slot.compartment);
                self.show_at(turn, &slot.bank, words, Tone::Error);
            } else if opened && whole && occupied == Some(true) {
                self.undo_collection(turn, parcel, "closed and still occupied");
                let words = text::not_emptied(slot.compartment, &taker);
                self.show_at(turn, &slot.bank, words, Tone::Info);
            } else if opened || evidence {
                self.finish_collection(turn, parcel, Place::Slot(slot.clone()));
            }
        }
    }

    /// What was being taken out with the same command as `parcel` is out.
    pub(crate) fn finish_collection(
        &mut self,
        turn: &mut Turn<'_, '_>,
        parcel: &str,
        place: Place,
    ) {
        let Some(Stage::Collecting { command, taker, .. }) =
            self.parcels.get(parcel).map(|row| row.stage.clone())
        else {
            return;
        };
        let taken = self.taken_by(&command);
        match taker {
            Taker::Recipient => {
                let code_of = match self.commands.get(&command).map(|row| &row.purpose) {
                    Some(Purpose::Collect { parcel }) => parcel.clone(),
                    _ => parcel.to_string(),
                };
                let point = place.point().clone();
                self.collected(turn, &taken, &place, "gateway");
                self.prolong(&turn.now, &code_of, &point);
                let words = self.thanks(&point, &code_of);
                self.show_at(turn, &point, words, Tone::Ok);
            }
            Taker::Courier(name) => {
                self.retrieved(turn, &taken, &place, &format!("courier {name}"));
            }
            Taker::Operator(name) => {
                self.retrieved(turn, &taken, &place, &format!("operator {name}"));
            }
            Taker::Desk { desk, operator } => {
                self.brought_to_desk(turn, &taken, &place, &desk, &operator);
            }
        }
    }

    /// What was being taken out with the same command as `parcel` is still where it was; the code
    /// stays good.
    pub(crate) fn undo_collection(&mut self, turn: &mut Turn<'_, '_>, parcel: &str, why: &str) {
        let Some(Stage::Collecting { command, slot, .. }) =
            self.parcels.get(parcel).map(|row| row.stage.clone())
        else {
            return;
        };
        let detail = format!("{slot}: {why}");
        for id in self.taken_by(&command) {
            let place = Place::Slot(slot.clone());
            self.set_stage(&turn.now, &id, Stage::Deposited { place });
            let (who, detail) = ("gateway".to_string(), Some(detail.clone()));
            self.trace(&turn.now, &id, "collection-undone", who, detail);
        }
        if let Some(Purpose::Collect { parcel }) =
            self.commands.get(&command).map(|row| row.purpose.clone())
        {
            self.prolong(&turn.now, &parcel, &slot.bank);
        }
    }

    /// Parcels are with their recipient.
    pub(crate) fn collected(
        &mut self,
        turn: &mut Turn<'_, '_>,
        taken: &[String],
        place: &Place,
        who: &str,
    ) {
        let (now, point) = (turn.now, place.point().clone());
        let reopen_until_tick_ms = now.tick_in(self.grace_ms(place));
        for id in taken {
            let Some(row) = self.parcels.get(id) else {
                continue;
            };
            let (code_at, recipient) = (row.parcel.point.clone(), row.parcel.recipient.clone());
            if let Place::Slot(slot) = place {
                self.take_out(slot, id);
            }
            if reopen_until_tick_ms <= now.tick_ms {
                self.kill_code(&code_at, id, now.tick_ms);
            }
            let stage = Stage::Collected {
                place: place.clone(),
                reopen_until_tick_ms,
            };
            self.set_stage(&now, id, stage);
            self.report(&now, id, None);
            let detail = Some(place.to_string());
            self.trace(&now, id, "collected", who.to_string(), detail);
            self.count_parcel(turn, &point, "collections", &recipient);
        }
        self.forgive(&point);
    }

    /// The parcels that are being taken out with a command.
    fn taken_by(&self, command: &str) -> Vec<String> {
        let with = |row: &&ParcelRow| matches!(&row.stage, Stage::Collecting { command: c, .. } if c == command);
        let taken = self.parcels.values().filter(with);
        taken.map(|row| row.parcel.parcel.clone()).collect()
    }

    /// A collected parcel's code was used for another one: its own grace counts anew. A code that
    /// is dead stays dead.
    pub(crate) fn prolong(&mut self, now: &Now, parcel: &str, point: &Ident) {
        let Some(row) = self.parcels.get(parcel) else {
            return;
        };
        let Stage::Collected { place, .. } = &row.stage else {
            return;
        };
        if place.point() != point || self.live_code(&row.parcel.point, parcel).is_none() {
            return;
        }
        let until = now.tick_in(self.grace_ms(place));
        if let Some(row) = self.parcels.get_mut(parcel)
            && let Stage::Collected {
                reopen_until_tick_ms,
                ..
            } = &mut row.stage
        {
            *reopen_until_tick_ms = until.max(*reopen_until_tick_ms);
        }
    }

    /// How long a code opens a place again after a collection, ms.
    fn grace_ms(&self, place: &Place) -> u64 {
        let Place::Slot(slot) = place else {
            return 0;
        };
        let bank = self.places.bank(&self.layout, &slot.bank);
        if bank.is_some_and(|bank| !bank.occupancy_sensor) {
            return self.rules.reopen_grace_ms.max(self.rules.no_sensor_hold_ms);
        }
        self.rules.reopen_grace_ms
    }

    /// What one reads who has just taken something out with the code of `parcel`.
    fn thanks(&self, point: &Ident, parcel: &str) -> String {
        let Some(row) = self.parcels.get(parcel) else {
            return text::THANKS.to_string();
        };
        let more = self.waiting_for(point, &row.parcel.recipient).len();
        let good = self.live_code(&row.parcel.point, parcel).is_some();
        match more {
            0 => text::THANKS.to_string(),
            more => text::thanks_more(more, good),
        }
    }
}
