//! Deposits: a courier who has identified scans a waybill, and the parcel comes to a compartment or a
//! desk.
//!
//! At a bank one deposit is under way at a time: another waybill opens nothing until the first
//! parcel's door was closed, its command has come to nothing, or the alarm for its open door was
//! raised. So it is always clear which parcel went through which door.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use cloud_protocol::downlink::ExpectedParcel;
use firmware_protocols::command::Tone;
use firmware_protocols::{Ident, Slot};

use crate::command::Purpose;
use crate::estate::Estate;
use crate::parcel::{Back, ParcelRow, Place, Stage};
use crate::placing::is_sound;
use crate::turn::{Origin, Turn};
use crate::{Digest, text};

/// The name under which a recipient puts in a return.
pub(crate) const RECIPIENT: &str = "recipient";

impl Estate {
    /// A scanner has read something.
    pub(crate) fn scanned(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        parcel: Option<String>,
        badge: &Digest,
    ) {
        let Some(point) = from.point.clone() else {
            self.show_error(turn, from, text::NO_POINT);
            return;
        };
        self.readers.insert(point.clone(), from.device.clone());
        // At a desk nothing opens: what its terminal kept while it was cut off did happen.
        if !self.places.is_desk(&point) && Self::stale(from) {
            self.show_error(turn, from, text::TOO_LATE);
            return;
        }
        match parcel {
            Some(parcel) if self.parcels.contains(&parcel) => {
                self.waybill(turn, from, point, parcel);
            }
            Some(parcel) if self.lets_in_unlisted(&point, &parcel, badge) => {
                self.bring_unlisted(turn, from, point, parcel);
            }
            _ if self.couriers.contains(badge) => self.open_session(turn, from, point, badge),
            _ => self.show_error(turn, from, text::UNKNOWN_SYMBOL),
        }
    }

    /// The parcel whose deposit is under way is in its compartment, and the door closed.
    pub(crate) fn finish_deposit(&mut self, turn: &mut Turn<'_, '_>, parcel: &str, slot: &Slot) {
        let courier = match self.parcels.get(parcel).map(|row| &row.stage) {
            Some(Stage::Depositing { courier, .. }) => courier.clone(),
            _ => return,
        };
        self.put_in(slot, parcel);
        self.mislaid.remove(parcel);
        if let Some(row) = self.parcels.get_mut(parcel) {
            row.to_desk = false;
        }
        self.deposited(turn, parcel, Place::Slot(slot.clone()), &courier);
        if self.parcels.get(parcel).and_then(|row| row.back) == Some(Back::Cancelled) {
            self.show_at(turn, &slot.bank, text::CANCELLED, Tone::Error);
            return;
        }
        self.show_at(turn, &slot.bank, text::stored(slot.compartment), Tone::Ok);
    }

    /// The door of a deposit under way was closed. If other parcels are in there, 'occupied' is no
    /// evidence of its own, and 'empty' says that they are gone too.
    pub(crate) fn deposit_closed(
        &mut self,
        turn: &mut Turn<'_, '_>,
        slot: &Slot,
        parcel: &str,
        before: Option<bool>,
        occupied: Option<bool>,
    ) {
        let Some(Stage::Depositing {
            command, opened, ..
        }) = self.parcels.get(parcel).map(|row| &row.stage)
        else {
            return;
        };
        let (opened, done) = (*opened, self.is_done(command));
        let inside = self.compartments.get(slot).map(|row| row.contents.clone());
        let inside = inside.unwrap_or_default();
        let turned = before == Some(false) || done;
        let evidence = inside.is_empty() && occupied == Some(true) && turned;
        match (opened, occupied) {
            (true, Some(false)) => {
                let waiting: Vec<_> = inside
                    .into_iter()
                    .filter(|id| {
                        let stage = self.parcels.get(id).map(|row| &row.stage);
                        matches!(stage, Some(Stage::Deposited { .. }))
                    })
                    .collect();
                self.seen_empty(turn, slot, &waiting, &[]);
                let words = match self.parcels.get(parcel).is_some_and(ParcelRow::is_return) {
                    true => text::NOT_PUT_IN,
                    false => text::NOTHING_INSIDE,
                };
                self.undo_deposit(turn, parcel, "closed and empty");
                self.show_at(turn, &slot.bank, words, Tone::Error);
            }
            (true, _) => self.finish_deposit(turn, parcel, slot),
            (false, _) if evidence => self.finish_deposit(turn, parcel, slot),
            (false, _) => {}
        }
    }

    /// Takes a reservation back: the parcel is expected again.
    pub(crate) fn undo_deposit(&mut self, turn: &mut Turn<'_, '_>, parcel: &str, why: &str) {
        let Some((slot, true)) = self.under_way(parcel) else {
            return;
        };
        self.take_out(&slot, parcel);
        self.set_stage(&turn.now, parcel, Stage::Expected);
        let detail = Some(format!("{slot}: {why}"));
        self.trace(
            &turn.now,
            parcel,
            "deposit-undone",
            "gateway".to_string(),
            detail,
        );
        self.apply_cancellation(&turn.now, parcel);
    }

    fn waybill(&mut self, turn: &mut Turn<'_, '_>, from: &Origin, point: Ident, parcel: String) {
        let Some(courier) = self.courier_at(&turn.now, &point) else {
            self.show_info(turn, from, text::BADGE_FIRST);
            return;
        };
        let Some(row) = self.parcels.get(&parcel) else {
            return;
        };
        let announced = row.parcel.clone();
        let at_this_desk = match &row.stage {
            Stage::Expected => row.to_desk && self.places.is_desk(&point),
            Stage::Deposited {
                place: Place::Desk(desk),
            } => *desk == point,
            _ => false,
        };
        if announced.point != point && !at_this_desk {
            self.show_error(turn, from, text::other_point(&announced.point));
            return;
        }
        match row.stage.clone() {
            Stage::Expected => self.bring(turn, from, &point, &announced, courier),
            // Nothing opens where nobody stands.
            Stage::Depositing { slot, .. } if slot.bank != point => {
                self.show_error(turn, from, text::other_point(&slot.bank));
            }
            Stage::Depositing { slot, .. } => {
                self.bring_again(turn, from, &announced, slot, courier)
            }
            Stage::Deposited { place } => match place {
                Place::Slot(slot) => self.show_info(turn, from, text::stored(slot.compartment)),
                Place::Desk(_) => self.show_info(turn, from, text::AT_DESK),
            },
            Stage::Collecting { slot, .. } => {
                self.show_info(turn, from, text::stored(slot.compartment));
            }
            Stage::Collected { .. } | Stage::Retrieved { .. } => {
                self.show_error(turn, from, text::COLLECTED_ALREADY);
            }
            Stage::Cancelled => self.show_error(turn, from, text::CANCELLED),
        }
    }

    /// A courier brings an expected parcel to its bank, or to a desk that takes it.
    pub(crate) fn bring(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        point: &Ident,
        announced: &ExpectedParcel,
        courier: String,
    ) {
        let parcel = announced.parcel.as_str();
        if self.places.is_desk(point) {
            self.deposited(turn, parcel, Place::Desk(point.clone()), &courier);
            self.show_ok(turn, from, text::AT_DESK);
            return;
        }
        if self.another_comes_first(turn, from, point)
            || self.bring_mislaid(turn, from, announced, &courier)
        {
            return;
        }
        if !announced.consent {
            let detail = "the recipient didn't agree to a locker".to_string();
            self.send_away(turn, announced, "deposit-refused", &courier, detail);
            self.send_to_desk(parcel);
            let desk = self.desk_near(point).map(|desk| self.named(&desk.id));
            let words = desk.as_deref().map(text::no_consent);
            let words = words.unwrap_or_else(|| text::NO_CONSENT.to_string());
            self.show_error(turn, from, words);
            return;
        }
        let Some(slot) = self.choose(&turn.now, announced) else {
            let (size, zone) = (announced.size.word(), announced.zone.word());
            let detail = format!("none free for size {size}, {zone}, at {point}");
            self.send_away(turn, announced, "no-compartment", &courier, detail);
            self.unplaceable(turn, announced);
            let desk = self.desk_near(point).map(|desk| self.named(&desk.id));
            let words = desk.as_deref().map(text::full);
            let words = words.unwrap_or_else(|| text::FULL.to_string());
            self.show_error(turn, from, words);
            return;
        };
        self.start_deposit(turn, from, parcel, slot, courier, false);
    }

    /// Whether another deposit is under way at a bank that must be ended first; the courier is told.
    pub(crate) fn another_comes_first(
        &self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        bank: &Ident,
    ) -> bool {
        let now = turn.now;
        let words = self.parcels.values().find_map(|row| {
            let Stage::Depositing {
                slot,
                command,
                opened,
                alarmed,
                ..
            } = &row.stage
            else {
                return None;
            };
            let over = *alarmed || now.passed(row.since_tick_ms, self.rules.door_open_alarm_ms);
            let given_up = self.commands.get(command).is_some_and(|command| {
                command.state.waiting() && command.expires_tick_ms <= now.tick_ms
            });
            match opened {
                _ if slot.bank != *bank || over => None,
                true => Some(text::close_first(slot.compartment)),
                false if given_up => None,
                false => Some(text::put_in_first(slot.compartment)),
            }
        });
        let Some(words) = words else {
            return false;
        };
        self.show_error(turn, from, words);
        true
    }

    fn send_away(
        &mut self,
        turn: &Turn<'_, '_>,
        announced: &ExpectedParcel,
        step: &'static str,
        courier: &str,
        why: String,
    ) {
        let who = format!("courier {courier}");
        self.trace(&turn.now, &announced.parcel, step, who, Some(why));
    }

    /// The courier scans a parcel again whose deposit is under way: the same compartment opens
    /// again, unless it has turned out to be faulty or was taken out of use.
    fn bring_again(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        announced: &ExpectedParcel,
        slot: Slot,
        courier: String,
    ) {
        let parcel = announced.parcel.as_str();
        let row = self.parcels.get(parcel);
        let was_open = matches!(
            row.map(|row| &row.stage),
            Some(Stage::Depositing { opened: true, .. })
        );
        let sound = self.compartments.get(&slot).is_some_and(is_sound);
        if !sound && !was_open {
            self.undo_deposit(turn, parcel, "faulty or out of use");
            self.bring(turn, from, &slot.bank, announced, courier);
            return;
        }
        self.start_deposit(turn, from, parcel, slot, courier, was_open);
    }

    /// Opens a compartment for a parcel to be put in, by a courier or by `recipient` for a return.
    pub(crate) fn start_deposit(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        parcel: &str,
        slot: Slot,
        courier: String,
        opened: bool,
    ) {
        let purpose = Purpose::Deposit {
            parcel: parcel.to_string(),
        };
        let Some(command) = self.open(turn, &slot, purpose) else {
            self.show_error(turn, from, text::BUSY);
            return;
        };
        let by_courier = courier != RECIPIENT;
        let (who, unchecked) = match (by_courier, turn.now.wall_known()) {
            (false, _) => (courier.clone(), ""),
            (true, true) => (format!("courier {courier}"), ""),
            (true, false) => (
                format!("courier {courier}"),
                ", clock unknown: badge's end not checked",
            ),
        };
        let detail = Some(format!("{slot}{unchecked}"));
        self.trace(&turn.now, parcel, "deposit-started", who, detail);
        let words = text::put_in(slot.compartment);
        self.reserve(&slot, parcel);
        let stage = Stage::Depositing {
            slot,
            courier,
            command,
            opened,
            alarmed: false,
        };
        self.set_stage(&turn.now, parcel, stage);
        self.show_ok(turn, from, words);
    }
}
