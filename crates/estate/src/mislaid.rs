//! A parcel put into the wrong compartment: noticed, remembered, and opened again on the next scan.
//!
//! While a deposit is under way, a free compartment of the same bank whose sensor turns to occupied
//! as its door closes most likely got the parcel: the courier is told so at once. Where the parcel
//! may lie is kept in memory only. After a restart the courier scans, and opens, one compartment more.

use alloc::format;
use alloc::string::String;

use cloud_protocol::downlink::ExpectedParcel;
use firmware_protocols::Slot;
use firmware_protocols::command::Tone;

use crate::estate::Estate;
use crate::parcel::{Place, Stage, Taker};
use crate::placing::{fits, is_sound};
use crate::text;
use crate::turn::{Origin, Turn};

impl Estate {
    /// A free compartment was closed. If something was put into it while a deposit into another one
    /// is under way, it may be that parcel.
    pub(crate) fn free_one_closed(
        &mut self,
        turn: &mut Turn<'_, '_>,
        slot: &Slot,
        before: Option<bool>,
        occupied: Option<bool>,
    ) {
        if before == Some(true) || occupied != Some(true) {
            return;
        }
        let Some((parcel, meant)) = self.deposit_at(slot).filter(|_| before == Some(false)) else {
            self.left_inside(turn, slot);
            return;
        };
        // One compartment holds at most one such parcel, so there are never more than compartments.
        self.mislaid.retain(|_, place| place != slot);
        self.mislaid.insert(parcel.clone(), slot.clone());
        let detail = format!("{slot}, meant for {meant}");
        let who = format!("bank {}", slot.bank);
        let step = "wrong-compartment-closed";
        self.trace(&turn.now, &parcel, step, who, Some(detail));
        let words = text::wrong_compartment(slot.compartment, meant.compartment);
        self.show_at(turn, &slot.bank, words, Tone::Error);
    }

    /// A compartment that was emptied not long ago was closed with something in it: its last code
    /// stays good for another grace.
    fn left_inside(&mut self, turn: &mut Turn<'_, '_>, slot: &Slot) {
        let now = turn.now;
        let last = self
            .parcels
            .iter()
            .filter_map(|(id, row)| match &row.stage {
                Stage::Collected {
                    place: Place::Slot(place),
                    reopen_until_tick_ms,
                } if place == slot && now.tick_ms < *reopen_until_tick_ms => {
                    Some((row.since_tick_ms, id))
                }
                _ => None,
            })
            .max();
        let Some((_, parcel)) = last.map(|(since, id)| (since, id.clone())) else {
            return;
        };
        let who = format!("bank {}", slot.bank);
        let detail = Some(format!("{slot}: closed with something in it"));
        self.trace(&now, &parcel, "left-inside", who, detail);
        self.prolong(&now, &parcel, &slot.bank);
        let words = text::not_emptied(slot.compartment, &Taker::Recipient);
        self.show_at(turn, &slot.bank, words, Tone::Info);
    }

    /// A parcel is scanned again that may lie in a wrong compartment. If that one would do, it opens;
    /// else the office must see to it. Whether there was anything to do.
    pub(crate) fn bring_mislaid(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        announced: &ExpectedParcel,
        courier: &str,
    ) -> bool {
        let parcel = announced.parcel.as_str();
        let Some(slot) = self.mislaid.get(parcel).cloned() else {
            return false;
        };
        let row = self.compartments.get(&slot);
        let Some(row) = row.filter(|row| row.is_free() && row.occupied == Some(true)) else {
            self.mislaid.remove(parcel);
            return false;
        };
        let bank = self.places.bank(&self.layout, &slot.bank);
        let spec = bank.and_then(|bank| {
            let index = usize::from(slot.compartment).checked_sub(1)?;
            bank.compartments.get(index)
        });
        let fits = spec.is_some_and(|spec| fits(spec, announced));
        if announced.consent && fits && is_sound(row) && slot.bank == announced.point {
            self.start_deposit(turn, from, parcel, slot, courier.into(), false);
            return true;
        }
        let (who, detail) = (format!("courier {courier}"), format!("may lie in {slot}"));
        self.trace(&turn.now, parcel, "deposit-refused", who, Some(detail));
        self.show_error(turn, from, text::mislaid(slot.compartment));
        true
    }

    /// The latest deposit under way at a compartment's bank, and the compartment it is meant for.
    fn deposit_at(&self, slot: &Slot) -> Option<(String, Slot)> {
        let under_way = self
            .parcels
            .iter()
            .filter_map(|(id, row)| match &row.stage {
                Stage::Depositing { slot: meant, .. } if meant.bank == slot.bank => {
                    Some((row.since_tick_ms, id, meant))
                }
                _ => None,
            });
        let (_, parcel, meant) = under_way.max_by_key(|(since, id, _)| (*since, *id))?;
        Some((parcel.clone(), meant.clone()))
    }
}
