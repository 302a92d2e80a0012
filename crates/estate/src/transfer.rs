//! Transfer: the staff brings a parcel from its compartment to a desk, where the same code works.

use alloc::format;
use alloc::string::{String, ToString};

use firmware_protocols::Ident;
use firmware_protocols::command::Tone;

use crate::announce::unknown;
use crate::estate::Estate;
use crate::input::Told;
use crate::parcel::{Place, Stage, Taker};
use crate::turn::Turn;
use crate::{Verdict, text};

impl Estate {
    /// Opens a parcel's compartment to bring this one parcel to a desk.
    pub(crate) fn transfer(
        &mut self,
        turn: &mut Turn<'_, '_>,
        operator: &str,
        desk: &Ident,
        parcel: &str,
    ) -> Verdict {
        let Some(row) = self.parcels.get(parcel) else {
            return unknown(parcel);
        };
        let refused = |why: String| Verdict::Refused(format!("parcel {parcel} {why}"));
        let slot = match row.stage.clone() {
            Stage::Deposited {
                place: Place::Slot(slot),
            } => slot,
            Stage::Collecting {
                slot,
                taker: Taker::Desk { .. },
                ..
            } => slot,
            Stage::Deposited {
                place: Place::Desk(at),
            } if at == *desk => return Verdict::Taken,
            Stage::Deposited {
                place: Place::Desk(at),
            } => {
                return refused(format!(
                    "is already at a desk, {at}: only lockers are emptied so"
                ));
            }
            Stage::Collecting { .. } => {
                let why = "is being taken out just now: wait until the door is closed";
                return refused(why.to_string());
            }
            stage => {
                let word = stage.word();
                return refused(format!(
                    "is {word}: only what is in a compartment is brought"
                ));
            }
        };
        if let Some(back) = row.back.filter(|back| !back.still_for_recipient()) {
            let word = back.word();
            return refused(format!("goes back ({word}): retrieve it instead"));
        }
        let taker = Taker::Desk {
            desk: desk.clone(),
            operator: operator.to_string(),
        };
        let taken = [parcel.to_string()];
        let Some(command) = self.start_taking(turn, &slot, parcel, &taken, taker) else {
            return Verdict::Refused(text::BUSY.to_string());
        };
        let who = format!("operator {operator} at {desk}");
        let detail = Some(format!("{slot} to {desk}"));
        self.trace(&turn.now, parcel, "transfer-started", who, detail);
        turn.told = Some(Told {
            command: Some(command),
            ..Told::about(
                parcel,
                format!(
                    "{slot} opens: bring {parcel} to {desk}{}",
                    self.leave(&slot, &taken)
                ),
            )
        });
        Verdict::Taken
    }

    /// Parcels were taken out of a compartment for a desk.
    pub(crate) fn brought_to_desk(
        &mut self,
        turn: &mut Turn<'_, '_>,
        taken: &[String],
        from: &Place,
        desk: &Ident,
        operator: &str,
    ) {
        let now = turn.now;
        for id in taken {
            if let Place::Slot(slot) = from {
                self.take_out(slot, id);
            }
            let place = Place::Desk(desk.clone());
            self.set_stage(&now, id, Stage::Deposited { place });
            self.report(&now, id, None);
            let who = format!("operator {operator} at {desk}");
            self.trace(
                &now,
                id,
                "transferred",
                who,
                Some(format!("{from} to {desk}")),
            );
        }
        let words = text::bring_to_desk(&self.named(desk));
        self.show_at(turn, from.point(), words, Tone::Ok);
    }
}
