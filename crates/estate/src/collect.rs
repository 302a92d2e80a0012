//! Collection: a code is typed, the right compartment opens, what is in it is taken out.
//!
//! A code works from the deposit of its parcel on, until the grace after the last collection made
//! with it is over: in case the door jammed, or something was left behind. It hands over everything
//! that waits for its recipient at the point, one compartment after the other: its own parcel
//! first, then what was deposited first. Only when nothing waits any more does it open the last
//! compartment again, unless that was given away since. A compartment that can't tell whether it is
//! empty stays open to the code for longer. At a desk there is no grace: everything is handed over.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use firmware_protocols::{Ident, Slot};

use crate::command::Purpose;
use crate::estate::Estate;
use crate::parcel::{ParcelRow, Place, Stage, Taker};
use crate::turn::{Origin, Turn};
use crate::{Now, text};

impl Estate {
    /// The code of `parcel` was typed at `point`, and is good there.
    pub(crate) fn right_code(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        point: &Ident,
        parcel: &str,
    ) {
        match self.parcels.get(parcel).map(ParcelRow::is_return) {
            Some(true) => self.return_code(turn, from, point, parcel),
            Some(false) => self.collect_next(turn, from, point, parcel),
            None => {}
        }
    }

    /// Opens what comes next for one who typed the code of `parcel`: its own parcel, another one of
    /// its recipient, or once more the compartment that was emptied last.
    pub(crate) fn collect_next(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        point: &Ident,
        parcel: &str,
    ) {
        let Some(stage) = self.parcels.get(parcel).map(|row| row.stage.clone()) else {
            return;
        };
        match stage {
            Stage::Expected | Stage::Depositing { .. } => {
                self.show_info(turn, from, text::NOT_HERE_YET);
            }
            Stage::Collecting {
                taker: Taker::Recipient,
                slot,
                ..
            } if slot.bank == *point => self.start_collection(turn, from, parcel, slot),
            Stage::Collecting { taker, slot, .. } => {
                let words = match taker {
                    Taker::Recipient => text::waits_at(&self.named(&slot.bank)),
                    Taker::Desk { desk, .. } => text::being_moved(&self.named(&desk)),
                    Taker::Courier(_) | Taker::Operator(_) => text::BEING_TAKEN_BACK.to_string(),
                };
                self.show_info(turn, from, words);
            }
            Stage::Deposited { place } => {
                let good = self
                    .parcels
                    .get(parcel)
                    .is_some_and(ParcelRow::waits_for_recipient);
                if !good {
                    self.wrong_code(turn, from, Some(text::USED));
                } else if place.point() == point {
                    self.hand_over(turn, from, parcel, place);
                } else if !self.collect_others(turn, from, point, parcel) {
                    let words = text::waits_at(&self.named(place.point()));
                    self.show_info(turn, from, words);
                }
            }
            Stage::Collected {
                reopen_until_tick_ms,
                ..
            } => self.collect_more(turn, from, point, parcel, reopen_until_tick_ms),
            Stage::Retrieved { .. } | Stage::Cancelled => {
                self.wrong_code(turn, from, Some(text::USED));
            }
        }
    }

    /// What waits at `point` for `recipient`, in the order of the hand-over.
    pub(crate) fn waiting_for(&self, point: &Ident, recipient: &str) -> Vec<String> {
        let waiting = self.parcels.iter().filter(|(_, row)| {
            let here = matches!(&row.stage, Stage::Deposited { place } if place.point() == point);
            here && row.waits_for_recipient() && row.parcel.recipient == recipient
        });
        let mut waiting: Vec<_> = waiting.map(|(id, row)| (row.since_tick_ms, id)).collect();
        waiting.sort_unstable();
        waiting.into_iter().map(|(_, id)| id.clone()).collect()
    }

    /// Whether a compartment is open just now that was opened with the code of `parcel`.
    pub(crate) fn is_collecting_with(&self, parcel: &str) -> bool {
        self.opened_with(parcel, None).is_some()
    }

    /// A point with its address, for a person who must go there.
    pub(crate) fn named(&self, point: &Ident) -> String {
        let bank = self.places.bank(&self.layout, point);
        let mut desks = self.layout.desks.iter();
        let address = match bank {
            Some(bank) => Some(&bank.address),
            None => desks
                .find(|desk| desk.id == *point)
                .map(|desk| &desk.address),
        };
        match address.filter(|address| !address.trim().is_empty()) {
            Some(address) => format!("{point}, {address}"),
            None => point.to_string(),
        }
    }

    /// The compartment, of this point if one is named, that is just being emptied with the code of
    /// `parcel`.
    fn opened_with(&self, parcel: &str, point: Option<&Ident>) -> Option<Slot> {
        let recipient = &self.parcels.get(parcel)?.parcel.recipient;
        self.parcels.values().find_map(|row| match &row.stage {
            Stage::Collecting {
                slot,
                taker: Taker::Recipient,
                command,
                ..
            } if row.parcel.recipient == *recipient
                && point.is_none_or(|point| slot.bank == *point) =>
            {
                let purpose = self.commands.get(command).map(|row| &row.purpose);
                matches!(purpose, Some(Purpose::Collect { parcel: p }) if p == parcel)
                    .then(|| slot.clone())
            }
            _ => None,
        })
    }

    /// Hands a waiting parcel over: opens its compartment, or has the desk give out everything that
    /// waits there for its recipient.
    fn hand_over(&mut self, turn: &mut Turn<'_, '_>, from: &Origin, parcel: &str, place: Place) {
        match place {
            Place::Slot(slot) => self.start_collection(turn, from, parcel, slot),
            Place::Desk(desk) => {
                let given = self.give_out(turn, &desk, parcel, &keypad(from), "gateway");
                self.show_ok(turn, from, text::hand_over(&given));
            }
        }
    }

    /// A desk gives out everything that waits there for the recipient of `parcel`, whose code was
    /// accepted. What it gives out.
    pub(crate) fn give_out(
        &mut self,
        turn: &mut Turn<'_, '_>,
        desk: &Ident,
        parcel: &str,
        accepted_by: &str,
        who: &str,
    ) -> Vec<String> {
        let Some(row) = self.parcels.get(parcel) else {
            return Vec::new();
        };
        let given = self.waiting_for(desk, &row.parcel.recipient);
        if given.is_empty() {
            return given;
        }
        for id in &given {
            let detail = by_code_of(parcel, id);
            self.trace(
                &turn.now,
                id,
                "code-accepted",
                accepted_by.to_string(),
                detail,
            );
        }
        self.collected(turn, &given, &Place::Desk(desk.clone()), who);
        given
    }

    /// Opens the next compartment with something else for the recipient of `parcel`. Whether there
    /// was any.
    fn collect_others(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        point: &Ident,
        parcel: &str,
    ) -> bool {
        if let Some(slot) = self.opened_with(parcel, Some(point)) {
            self.start_collection(turn, from, parcel, slot);
            return true;
        }
        let Some(row) = self.parcels.get(parcel) else {
            return false;
        };
        let next = self
            .waiting_for(point, &row.parcel.recipient)
            .into_iter()
            .next();
        let place = match next
            .and_then(|id| self.parcels.get(&id))
            .map(|row| &row.stage)
        {
            Some(Stage::Deposited { place }) => place.clone(),
            _ => return false,
        };
        self.hand_over(turn, from, parcel, place);
        true
    }

    /// The code of a collected parcel: for what else waits, or to open again.
    fn collect_more(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        point: &Ident,
        parcel: &str,
        over_tick_ms: u64,
    ) {
        let now = turn.now;
        if now.tick_ms >= over_tick_ms && !self.is_collecting_with(parcel) {
            if let Some(code_at) = self.parcels.get(parcel).map(|row| row.parcel.point.clone()) {
                self.kill_code(&code_at, parcel, over_tick_ms);
            }
            self.wrong_code(turn, from, Some(text::USED));
            return;
        }
        if self.collect_others(turn, from, point, parcel) {
            return;
        }
        match self.emptied_last(&now, point, parcel) {
            Some((last, slot)) => self.reopen(turn, from, parcel, &last, &slot),
            None => self.show_info(turn, from, text::COLLECTED_ALREADY),
        }
    }

    /// The compartment of this point that the recipient of `parcel` emptied last, within the grace.
    fn emptied_last(&self, now: &Now, point: &Ident, parcel: &str) -> Option<(String, Slot)> {
        let recipient = &self.parcels.get(parcel)?.parcel.recipient;
        let emptied = self
            .parcels
            .iter()
            .filter_map(|(id, row)| match &row.stage {
                Stage::Collected {
                    place: Place::Slot(slot),
                    reopen_until_tick_ms,
                } if slot.bank == *point
                    && now.tick_ms < *reopen_until_tick_ms
                    && row.parcel.recipient == *recipient =>
                {
                    Some((row.since_tick_ms, id == parcel, id, slot))
                }
                _ => None,
            });
        let (_, _, id, slot) = emptied.max_by_key(|(since, own, id, _)| (*since, *own, *id))?;
        Some((id.clone(), slot.clone()))
    }

    /// Opens a compartment for the recipient of `parcel`, whose code was typed: everything in it
    /// that is his is taken out together.
    fn start_collection(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        parcel: &str,
        slot: Slot,
    ) {
        let Some(recipient) = self
            .parcels
            .get(parcel)
            .map(|row| row.parcel.recipient.clone())
        else {
            return;
        };
        if self.is_being_filled(&slot) {
            self.show_info(turn, from, text::being_filled(slot.compartment));
            return;
        }
        let purpose = Purpose::Collect {
            parcel: parcel.to_string(),
        };
        let Some(command) = self.open(turn, &slot, purpose) else {
            self.show_error(turn, from, text::BUSY);
            return;
        };
        let taken = self.to_take_out(&slot, &recipient);
        let opened = taken.iter().any(|id| self.is_opened(id));
        let words = match self.is_all_of(&slot, &taken) {
            true => text::take_out(slot.compartment),
            false => text::take_only(slot.compartment, &taken),
        };
        for id in taken {
            let by = by_code_of(parcel, &id).unwrap_or_default();
            let detail = Some(format!("{slot}{by}"));
            self.trace(&turn.now, &id, "code-accepted", keypad(from), detail);
            let stage = Stage::Collecting {
                slot: slot.clone(),
                taker: Taker::Recipient,
                command: command.clone(),
                opened,
                alarmed: false,
            };
            self.set_stage(&turn.now, &id, stage);
        }
        self.prolong(&turn.now, parcel, &slot.bank);
        self.show_ok(turn, from, words);
    }

    /// Whether nothing else lies in a compartment, or comes into it.
    pub(crate) fn is_all_of(&self, slot: &Slot, taken: &[String]) -> bool {
        self.parcels_in(slot).iter().all(|id| taken.contains(id))
    }

    /// Whether what lies in a compartment, if anything does, is this recipient's, and nothing comes
    /// into it.
    fn is_his_or_free(&self, slot: &Slot, recipient: &str) -> bool {
        self.compartments.get(slot).is_some_and(|row| {
            let his = |id: &String| {
                let inside = self.parcels.get(id);
                inside.is_some_and(|row| row.parcel.recipient == recipient)
            };
            row.reserved.is_none() && row.contents.iter().all(his)
        })
    }

    /// Whether a deposit into a compartment is under way, and not so long that it may be forgotten.
    fn is_being_filled(&self, slot: &Slot) -> bool {
        let row = self.compartments.get(slot);
        let coming = row.and_then(|row| row.reserved.as_ref());
        let stage = coming
            .and_then(|id| self.parcels.get(id))
            .map(|row| &row.stage);
        matches!(stage, Some(Stage::Depositing { alarmed: false, .. }))
    }

    /// What one recipient takes out of a compartment: what waits for him, and what he has begun to
    /// take out.
    fn to_take_out(&self, slot: &Slot, recipient: &str) -> Vec<String> {
        let taken = self.parcels_in(slot).into_iter().filter(|id| {
            self.parcels.get(id).is_some_and(|row| {
                let begun = matches!(
                    row.stage,
                    Stage::Collecting {
                        taker: Taker::Recipient,
                        ..
                    }
                );
                row.parcel.recipient == recipient && (begun || row.waits_for_recipient())
            })
        });
        taken.collect()
    }

    /// Whether the door was seen open through which a parcel is being taken out.
    pub(crate) fn is_opened(&self, parcel: &str) -> bool {
        let stage = self.parcels.get(parcel).map(|row| &row.stage);
        matches!(stage, Some(Stage::Collecting { opened: true, .. }))
    }

    /// Opens a compartment once more that was emptied a moment ago, unless it was given away since.
    fn reopen(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        parcel: &str,
        last: &str,
        slot: &Slot,
    ) {
        let recipient = self.parcels.get(last).map(|row| &row.parcel.recipient);
        let free = recipient.is_some_and(|recipient| self.is_his_or_free(slot, recipient));
        if !free || self.was_given_away(last, slot) {
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
        let by = by_code_of(parcel, last).unwrap_or_default();
        let detail = Some(format!("{slot}{by}"));
        self.trace(&turn.now, last, "reopened", keypad(from), detail);
        self.show_ok(turn, from, text::take_out(slot.compartment));
    }

    /// Whether somebody else's parcel was in the compartment since a parcel was taken out of it: what
    /// may have been left inside is that one's.
    fn was_given_away(&self, parcel: &str, slot: &Slot) -> bool {
        let Some(before) = self.parcels.get(parcel) else {
            return false;
        };
        self.parcels.values().any(|row| {
            let emptied = match &row.stage {
                Stage::Collected { place, .. } | Stage::Retrieved { place } => {
                    matches!(place, Place::Slot(at) if at == slot)
                }
                _ => false,
            };
            emptied
                && row.parcel.recipient != before.parcel.recipient
                && row.since_tick_ms >= before.since_tick_ms
        })
    }
}

/// Who accepted a code at a keypad.
pub(crate) fn keypad(from: &Origin) -> String {
    format!("keypad {}", from.device)
}

/// Whose code it was, if it wasn't the parcel's own.
fn by_code_of(parcel: &str, taken: &str) -> Option<String> {
    (parcel != taken).then(|| format!(" by the code of {parcel}"))
}
