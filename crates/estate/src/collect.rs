//! Collection: a code is typed, the right compartment opens, the parcel is taken out.
//!
//! A code works from the deposit on until the parcel is collected, and then a short grace longer,
//! if the door jammed or something was left behind; the grace ends early when the compartment is
//! given to another parcel. At a desk there is no grace: the parcel is handed over.

use alloc::format;
use alloc::string::{String, ToString};

use firmware_protocols::command::Tone;
use firmware_protocols::{Ident, Slot};

use crate::command::Purpose;
use crate::compartment::CompartmentRow;
use crate::estate::Estate;
use crate::parcel::{Place, Stage, Taker};
use crate::text;
use crate::turn::{Origin, Turn};

impl Estate {
    /// The door of a compartment from which `taken` are being taken was closed.
    pub(crate) fn collection_closed(
        &mut self,
        turn: &mut Turn<'_, '_>,
        slot: &Slot,
        taken: &[String],
        before: Option<bool>,
        occupied: Option<bool>,
    ) {
        let Some(Stage::Collecting {
            command, opened, ..
        }) = taken
            .first()
            .and_then(|parcel| self.parcels.get(parcel))
            .map(|row| &row.stage)
        else {
            return;
        };
        let evidence = occupied == Some(false) && (before == Some(true) || self.is_done(command));
        match (*opened, occupied) {
            (true, Some(true)) => {
                for parcel in taken {
                    self.undo_collection(turn, parcel, "closed and still occupied");
                }
                let words = text::still_inside(slot.compartment);
                self.show_at(turn, &slot.bank, words, Tone::Info);
            }
            (opened, _) if opened || evidence => {
                for parcel in taken {
                    self.finish_collection(turn, parcel, Place::Slot(slot.clone()));
                }
            }
            _ => {}
        }
    }

    /// The parcel is with its recipient.
    pub(crate) fn finish_collection(
        &mut self,
        turn: &mut Turn<'_, '_>,
        parcel: &str,
        place: Place,
    ) {
        let now = turn.now;
        let Some(row) = self.parcels.get(parcel) else {
            return;
        };
        let (point, recipient) = (row.parcel.point.clone(), row.parcel.recipient.clone());
        let (grace, words) = match &place {
            Place::Slot(slot) => {
                self.take_out(slot, parcel);
                (self.rules.reopen_grace_ms, text::THANKS)
            }
            Place::Desk(_) => (0, text::HAND_OVER),
        };
        let reopen_until_tick_ms = now.tick_in(grace);
        if grace == 0 {
            self.kill_code(&point, parcel, now.tick_ms);
        }
        let stage = Stage::Collected {
            place: place.clone(),
            reopen_until_tick_ms,
        };
        self.set_stage(&now, parcel, stage);
        self.report(&now, parcel, None);
        self.trace(
            &now,
            parcel,
            "collected",
            "gateway".to_string(),
            Some(place.to_string()),
        );
        self.count_parcel(turn, &point, "collections", &recipient);
        self.forgive(&point);
        self.show_at(turn, &point, words, Tone::Ok);
    }

    /// The parcel is still where it was; its code stays good.
    pub(crate) fn undo_collection(&mut self, turn: &mut Turn<'_, '_>, parcel: &str, why: &str) {
        let Some((slot, false)) = self.under_way(parcel) else {
            return;
        };
        let detail = Some(format!("{slot}: {why}"));
        self.set_stage(
            &turn.now,
            parcel,
            Stage::Deposited {
                place: Place::Slot(slot),
            },
        );
        self.trace(
            &turn.now,
            parcel,
            "collection-undone",
            "gateway".to_string(),
            detail,
        );
    }

    /// The live code of a parcel was typed at `point`, where the parcel is, was or is expected.
    pub(crate) fn right_code(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        point: &Ident,
        parcel: &str,
    ) {
        let Some(row) = self.parcels.get(parcel) else {
            return;
        };
        match row.stage.clone() {
            Stage::Expected | Stage::Depositing { .. } => {
                self.show_info(turn, from, text::NOT_HERE_YET);
            }
            Stage::Deposited {
                place: Place::Slot(slot),
            } => {
                self.start_collection(turn, from, parcel, slot, false);
            }
            Stage::Deposited {
                place: Place::Desk(desk),
            } => {
                self.trace(&turn.now, parcel, "code-accepted", keypad(from), None);
                self.finish_collection(turn, parcel, Place::Desk(desk));
            }
            Stage::Collecting { slot, opened, .. } => {
                self.start_collection(turn, from, parcel, slot, opened);
            }
            Stage::Collected {
                place: Place::Slot(slot),
                reopen_until_tick_ms,
            } if turn.now.tick_ms < reopen_until_tick_ms => self.reopen(turn, from, parcel, &slot),
            Stage::Collected {
                reopen_until_tick_ms: over,
                ..
            } => {
                self.kill_code(point, parcel, over);
                self.wrong_code(turn, from, Some(text::USED));
            }
            Stage::Retrieved { .. } | Stage::Cancelled => {
                self.wrong_code(turn, from, Some(text::USED));
            }
        }
    }

    fn start_collection(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        parcel: &str,
        slot: Slot,
        opened: bool,
    ) {
        let purpose = Purpose::Collect {
            parcel: parcel.to_string(),
        };
        let Some(command) = self.open(turn, &slot, purpose) else {
            self.show_error(turn, from, text::BUSY);
            return;
        };
        self.trace(
            &turn.now,
            parcel,
            "code-accepted",
            keypad(from),
            Some(slot.to_string()),
        );
        let words = text::take_out(slot.compartment);
        let stage = Stage::Collecting {
            slot,
            taker: Taker::Recipient,
            command,
            opened,
            alarmed: false,
        };
        self.set_stage(&turn.now, parcel, stage);
        self.show_ok(turn, from, words);
    }

    /// Opens a compartment once more that was emptied a moment ago, unless it was given away since.
    fn reopen(&mut self, turn: &mut Turn<'_, '_>, from: &Origin, parcel: &str, slot: &Slot) {
        let free = self
            .compartments
            .get(slot)
            .is_some_and(CompartmentRow::is_free);
        if !free {
            self.show_error(turn, from, text::IN_USE_AGAIN);
            return;
        }
        let purpose = Purpose::Collect {
            parcel: parcel.to_string(),
        };
        if self.open(turn, slot, purpose).is_none() {
            self.show_error(turn, from, text::BUSY);
            return;
        }
        self.trace(
            &turn.now,
            parcel,
            "reopened",
            keypad(from),
            Some(slot.to_string()),
        );
        self.show_ok(turn, from, text::take_out(slot.compartment));
    }
}

fn keypad(from: &Origin) -> String {
    format!("keypad {}", from.device)
}
