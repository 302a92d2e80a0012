//! Deposits: a courier identifies, scans a waybill, and the parcel comes to a compartment or a desk.
//!
//! A courier's badge is checked here, without the cloud. A badge that was good opens a session at
//! the point, in memory only: after a restart the courier shows the badge again. While nobody has
//! told the box the time, a badge's end can't be checked; the badge is taken then, since a courier
//! turned away means warm food, and the parcel's history says that it wasn't checked.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};

use cloud_protocol::downlink::ExpectedParcel;
use firmware_protocols::command::Tone;
use firmware_protocols::event::Door;
use firmware_protocols::{Ident, Slot};

use crate::command::Purpose;
use crate::estate::Estate;
use crate::parcel::{Place, Stage};
use crate::turn::{Origin, Turn};
use crate::{Digest, Now, text};

/// A courier known at a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    badge: Digest,
    until_tick_ms: u64,
}

impl Session {
    /// Whether it was opened with this badge.
    pub(crate) fn is_by(&self, badge: &Digest) -> bool {
        self.badge == *badge
    }

    pub(crate) const fn over(&self, now: &Now) -> bool {
        self.until_tick_ms <= now.tick_ms
    }
}

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
        match parcel.filter(|id| self.parcels.contains(id)) {
            Some(parcel) => self.waybill(turn, from, point, parcel),
            None => self.open_session(turn, from, point, badge),
        }
    }

    /// Puts a parcel into the hands of a desk or a compartment: the deposit is complete.
    pub(crate) fn finish_deposit(&mut self, turn: &mut Turn<'_, '_>, parcel: &str, slot: &Slot) {
        let courier = match self.parcels.get(parcel).map(|row| &row.stage) {
            Some(Stage::Depositing { courier, .. }) => courier.clone(),
            _ => return,
        };
        self.put_in(slot, parcel);
        self.deposited(turn, parcel, Place::Slot(slot.clone()), &courier);
        self.show_at(turn, &slot.bank, text::stored(slot.compartment), Tone::Ok);
    }

    /// The door of a deposit under way was closed.
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
        let evidence = occupied == Some(true) && (before == Some(false) || self.is_done(command));
        match (*opened, occupied) {
            (true, Some(false)) => {
                self.undo_deposit(turn, parcel, "closed and empty");
                self.show_at(turn, &slot.bank, text::NOTHING_INSIDE, Tone::Error);
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
    }

    /// A courier identifies at a point, with a badge or a code.
    pub(crate) fn open_session(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        point: Ident,
        badge: &Digest,
    ) {
        let Some(row) = self.couriers.get(badge) else {
            self.show_error(turn, from, text::UNKNOWN_SYMBOL);
            return;
        };
        if row.valid_until.passed(&turn.now) {
            self.sessions.remove(&point);
            self.show_error(turn, from, text::BADGE_EXPIRED);
            return;
        }
        let session = Session {
            badge: *badge,
            until_tick_ms: turn.now.tick_in(self.rules.courier_session_ms),
        };
        self.sessions.insert(point, session);
        self.show_ok(turn, from, text::SCAN_WAYBILL);
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
        if announced.point != point {
            self.show_error(turn, from, text::other_point(&announced.point));
            return;
        }
        match row.stage.clone() {
            Stage::Expected => self.bring(turn, from, &announced, courier),
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

    /// The courier at a point, if one has identified and the badge is still good. Each use
    /// prolongs it.
    pub(crate) fn courier_at(&mut self, now: &Now, point: &Ident) -> Option<String> {
        let until_tick_ms = now.tick_in(self.rules.courier_session_ms);
        let session = self.sessions.get_mut(point)?;
        let courier = self.couriers.get(&session.badge);
        match courier {
            Some(row) if !session.over(now) && !row.valid_until.passed(now) => {
                session.until_tick_ms = until_tick_ms;
                Some(row.courier.clone())
            }
            _ => {
                self.sessions.remove(point);
                None
            }
        }
    }

    /// A courier brings an expected parcel to its point.
    fn bring(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        announced: &ExpectedParcel,
        courier: String,
    ) {
        let parcel = announced.parcel.as_str();
        if self.places.is_desk(&announced.point) {
            self.deposited(turn, parcel, Place::Desk(announced.point.clone()), &courier);
            self.show_ok(turn, from, text::AT_DESK);
            return;
        }
        let who = format!("courier {courier}");
        if !announced.consent {
            let detail = Some("the recipient didn't agree to a locker".to_string());
            self.trace(&turn.now, parcel, "deposit-refused", who, detail);
            self.show_error(turn, from, text::NO_CONSENT);
            return;
        }
        let Some(slot) = self.choose(&turn.now, announced) else {
            let (size, zone) = (announced.size.word(), announced.zone.word());
            let detail = Some(format!(
                "none free for size {size}, {zone}, at {}",
                announced.point
            ));
            self.trace(&turn.now, parcel, "no-compartment", who, detail);
            self.show_error(turn, from, text::FULL);
            return;
        };
        self.start_deposit(turn, from, parcel, slot, courier, false);
    }

    /// The courier scans a parcel again whose deposit is under way: the same compartment opens
    /// again, unless it has turned out to be faulty.
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
        let faulty = self
            .compartments
            .get(&slot)
            .is_some_and(|row| row.fault.is_some());
        if faulty && !was_open {
            self.undo_deposit(turn, parcel, "faulty");
            self.bring(turn, from, announced, courier);
            return;
        }
        self.start_deposit(turn, from, parcel, slot, courier, was_open);
    }

    fn start_deposit(
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
        let unchecked = if turn.now.wall_known() {
            ""
        } else {
            ", clock unknown: badge's end not checked"
        };
        let detail = Some(format!("{slot}{unchecked}"));
        self.trace(
            &turn.now,
            parcel,
            "deposit-started",
            format!("courier {courier}"),
            detail,
        );
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

    /// The compartment for a parcel: free, sound, closed, empty, of its zone and large enough. Of
    /// these the smallest, of the smallest the one opened least, of those the lowest number. One
    /// that its last parcel's code still opens again comes last.
    fn choose(&self, now: &Now, announced: &ExpectedParcel) -> Option<Slot> {
        let bank = self.places.bank(&self.layout, &announced.point)?;
        let in_grace = self.compartments_in_grace(now, &bank.id);
        let fits = (1_u16..)
            .zip(&bank.compartments)
            .filter_map(|(compartment, spec)| {
                let slot = Slot {
                    bank: bank.id.clone(),
                    compartment,
                };
                let row = self.compartments.get(&slot)?;
                let free = row.is_free()
                    && row.fault.is_none()
                    && row.disabled.is_none()
                    && row.door != Door::Open
                    && row.occupied != Some(true);
                let fits = spec.zone == announced.zone && spec.size >= announced.size;
                let last = in_grace.contains(&compartment);
                (free && fits).then_some(((last, spec.size, row.openings, compartment), slot))
            });
        fits.min_by_key(|(rank, _)| *rank).map(|(_, slot)| slot)
    }

    fn compartments_in_grace(&self, now: &Now, bank: &Ident) -> BTreeSet<u16> {
        let slots = self.parcels.values().filter_map(|row| match &row.stage {
            Stage::Collected {
                place: Place::Slot(slot),
                reopen_until_tick_ms,
            } if slot.bank == *bank && now.tick_ms < *reopen_until_tick_ms => {
                Some(slot.compartment)
            }
            _ => None,
        });
        slots.collect()
    }
}
