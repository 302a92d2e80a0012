//! Retrieval: a courier or the staff takes back what goes back.
//!
//! A courier who has identified types `0`: the compartment of the next parcel that goes back opens,
//! and closing it ends the parcel's life here. At a desk's terminal each `0` gives one back. The
//! staff names the parcel. Out of a shared compartment only what goes back is taken.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use firmware_protocols::command::Tone;
use firmware_protocols::{Ident, Slot};

use crate::announce::unknown;
use crate::command::Purpose;
use crate::estate::Estate;
use crate::input::Told;
use crate::parcel::{Place, Stage, Taker};
use crate::turn::{Origin, Turn};
use crate::{Verdict, text};

impl Estate {
    /// A courier at a point asks for the next parcel that goes back.
    pub(crate) fn retrieve_next(
        &mut self,
        turn: &mut Turn<'_, '_>,
        from: &Origin,
        point: &Ident,
        courier: &str,
    ) {
        let taker = Taker::Courier(courier.to_string());
        let begun = self.retrieval_under_way(point);
        let Some(parcel) = begun.or_else(|| self.waiting_to_go_back(point).into_iter().next())
        else {
            self.show_info(turn, from, text::NOTHING_GOES_BACK);
            return;
        };
        match self.parcels.get(&parcel).map(|row| row.stage.clone()) {
            Some(Stage::Deposited {
                place: place @ Place::Desk(_),
            }) => {
                let taken = [parcel.clone()];
                self.end_retrieved(turn, &taken, &place, &format!("courier {courier}"));
                let more = self.waiting_to_go_back(point).len();
                self.show_ok(turn, from, text::give_back(&parcel, more));
            }
            Some(
                Stage::Deposited {
                    place: Place::Slot(slot),
                }
                | Stage::Collecting { slot, .. },
            ) => {
                let taken = self.to_take_back(&slot);
                match self.start_taking(turn, &slot, &parcel, &taken, taker) {
                    Some(_) => {
                        let words = self.what_to_take(&slot, &taken);
                        self.show_ok(turn, from, words);
                    }
                    None => self.show_error(turn, from, text::BUSY),
                }
            }
            _ => {}
        }
    }

    /// The staff gives a parcel back: out of a desk at once, out of a compartment by opening it.
    pub(crate) fn retrieve(
        &mut self,
        turn: &mut Turn<'_, '_>,
        operator: &str,
        parcel: &str,
        courier: Option<String>,
    ) -> Verdict {
        let Some(row) = self.parcels.get(parcel) else {
            return unknown(parcel);
        };
        let refused = |why: &str| Verdict::Refused(format!("parcel {parcel} {why}"));
        let stage = row.stage.clone();
        let coming = matches!(stage, Stage::Expected | Stage::Depositing { .. });
        if row.back.is_none() && !coming && !stage.finished() {
            return refused("is its recipient's: cancel, claim or refuse it first");
        }
        let slot = match stage {
            Stage::Deposited {
                place: place @ Place::Desk(_),
            } => {
                let to = courier.map_or_else(String::new, |name| format!(", to courier {name}"));
                let who = format!("operator {operator}{to}");
                self.end_retrieved(turn, &[parcel.to_string()], &place, &who);
                turn.told = Some(Told::about(parcel, format!("give back: {parcel}")));
                return Verdict::Taken;
            }
            Stage::Deposited {
                place: Place::Slot(slot),
            } => slot,
            Stage::Collecting {
                slot,
                taker: Taker::Courier(_) | Taker::Operator(_),
                ..
            } => slot,
            Stage::Collecting { .. } => {
                return refused("is being taken out just now: wait until the door is closed");
            }
            Stage::Retrieved { .. } => return Verdict::Taken,
            Stage::Expected | Stage::Depositing { .. } => return refused("isn't here yet"),
            Stage::Collected { .. } | Stage::Cancelled => {
                return refused("isn't here any more: nothing to give back");
            }
        };
        let taker = courier.map_or_else(|| Taker::Operator(operator.to_string()), Taker::Courier);
        let taken = self.to_take_back(&slot);
        let Some(command) = self.start_taking(turn, &slot, parcel, &taken, taker) else {
            return Verdict::Refused(text::BUSY.to_string());
        };
        for id in &taken {
            let (who, detail) = (format!("operator {operator}"), Some(slot.to_string()));
            self.trace(&turn.now, id, "opened-to-retrieve", who, detail);
        }
        turn.told = Some(Told {
            command: Some(command),
            ..Told::about(
                parcel,
                format!(
                    "{slot} opens: take {}{}",
                    taken.join(", "),
                    self.leave(&slot, &taken)
                ),
            )
        });
        Verdict::Taken
    }

    /// Parcels were taken out of a compartment to go back.
    pub(crate) fn retrieved(
        &mut self,
        turn: &mut Turn<'_, '_>,
        taken: &[String],
        place: &Place,
        who: &str,
    ) {
        self.end_retrieved(turn, taken, place, who);
        let more = self.waiting_to_go_back(place.point()).len();
        self.show_at(turn, place.point(), text::taken_back(more), Tone::Ok);
    }

    /// What goes back at a point, the one that has waited longest first.
    pub(crate) fn waiting_to_go_back(&self, point: &Ident) -> Vec<String> {
        let mut waiting: Vec<_> = self
            .going_back(point)
            .map(|row| (row.since_tick_ms, &row.parcel.parcel))
            .collect();
        waiting.sort_unstable();
        waiting.into_iter().map(|(_, id)| id.clone()).collect()
    }

    /// Commands a compartment to open, for `taken` to be taken out of it together. The command's
    /// id; `None` if too many are under way.
    pub(crate) fn start_taking(
        &mut self,
        turn: &mut Turn<'_, '_>,
        slot: &Slot,
        parcel: &str,
        taken: &[String],
        taker: Taker,
    ) -> Option<String> {
        let purpose = Purpose::Retrieve {
            parcel: parcel.to_string(),
        };
        let command = self.open(turn, slot, purpose)?;
        let opened = taken.iter().any(|id| self.is_opened(id));
        for id in taken {
            if let Taker::Courier(name) = &taker {
                let (who, detail) = (format!("courier {name}"), Some(slot.to_string()));
                self.trace(&turn.now, id, "retrieval-started", who, detail);
            }
            let stage = Stage::Collecting {
                slot: slot.clone(),
                taker: taker.clone(),
                command: command.clone(),
                opened,
                alarmed: false,
            };
            self.set_stage(&turn.now, id, stage);
        }
        Some(command)
    }

    /// What one of the staff must leave in a compartment, in words; empty if nothing else is in it.
    pub(crate) fn leave(&self, slot: &Slot, taken: &[String]) -> String {
        let others = self.parcels_in(slot).into_iter();
        let others: Vec<_> = others.filter(|id| !taken.contains(id)).collect();
        match others.as_slice() {
            [] => String::new(),
            others => format!("; leave {} in it", others.join(", ")),
        }
    }

    /// What a person must take who stands before a compartment.
    pub(crate) fn what_to_take(&self, slot: &Slot, taken: &[String]) -> String {
        if self.is_all_of(slot, taken) {
            text::take_back(slot.compartment)
        } else {
            text::take_only(slot.compartment, taken)
        }
    }

    /// A retrieval by a courier at a point whose door isn't closed yet: `0` opens it again, until
    /// the alarm for a door left open.
    fn retrieval_under_way(&self, point: &Ident) -> Option<String> {
        let begun = self.parcels.iter().find(|(_, row)| {
            matches!(
                &row.stage,
                Stage::Collecting { slot, taker: Taker::Courier(_), alarmed: false, .. }
                    if slot.bank == *point
            )
        });
        begun.map(|(id, _)| id.clone())
    }

    /// What goes back out of a compartment: what waits for that, and what is already being taken.
    fn to_take_back(&self, slot: &Slot) -> Vec<String> {
        let taken = self.parcels_in(slot).into_iter().filter(|id| {
            self.parcels.get(id).is_some_and(|row| {
                let begun = matches!(
                    row.stage,
                    Stage::Collecting {
                        taker: Taker::Courier(_) | Taker::Operator(_),
                        ..
                    }
                );
                begun || row.waits_to_go_back()
            })
        });
        taken.collect()
    }

    fn end_retrieved(
        &mut self,
        turn: &mut Turn<'_, '_>,
        taken: &[String],
        place: &Place,
        who: &str,
    ) {
        let now = turn.now;
        for id in taken {
            let Some(code_at) = self.parcels.get(id).map(|row| row.parcel.point.clone()) else {
                continue;
            };
            if let Place::Slot(slot) = place {
                self.take_out(slot, id);
            }
            self.kill_code(&code_at, id, now.tick_ms);
            let place = place.clone();
            let detail = Some(place.to_string());
            self.set_stage(&now, id, Stage::Retrieved { place });
            self.report(&now, id, None);
            self.trace(&now, id, "retrieved", who.to_string(), detail);
        }
    }
}
