//! The desk: what the staff does there, by the same rules and with the same lockout as a keypad.
//!
//! Everything is recorded with the name of who did it. What can't be done is refused with the
//! reason and what to do instead.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use firmware_protocols::Ident;

use crate::announce::unknown;
use crate::estate::Estate;
use crate::input::{DeskAct, Told, Typed};
use crate::keypad::Wrong;
use crate::parcel::{Place, Stage};
use crate::turn::Turn;
use crate::{Verdict, text};

/// The longest name of one of the staff, characters.
const OPERATOR_MAX: usize = 128;

/// What digits that a resident says mean at a point.
pub(crate) enum Said {
    /// The live code of a parcel of this point, or of one that waits at it.
    Good {
        /// The parcel.
        parcel: String,
    },
    /// The live code of a parcel of another point that isn't here.
    Elsewhere {
        /// The parcel.
        parcel: String,
    },
    /// A dead code.
    Rests,
    /// No code.
    Nothing,
}

impl Estate {
    /// Somebody of the staff does something.
    pub(crate) fn at_desk(
        &mut self,
        turn: &mut Turn<'_, '_>,
        operator: &str,
        act: DeskAct,
    ) -> Verdict {
        let operator = operator.trim();
        if !is_line(operator, OPERATOR_MAX) {
            return Verdict::Refused(format!(
                "say who does it, in one line of at most {OPERATOR_MAX} characters: it is recorded"
            ));
        }
        match act {
            DeskAct::HandOver { desk, typed } => match self.no_desk(&desk) {
                Some(refused) => refused,
                None => self.hand_over_at(turn, operator, &desk, &typed),
            },
            DeskAct::Receive {
                desk,
                parcel,
                courier,
            } => match self.no_desk(&desk) {
                Some(refused) => refused,
                None => self.receive_at(turn, operator, &desk, &parcel, courier),
            },
            DeskAct::Claim {
                desk,
                parcel,
                claim,
            } => match self.no_desk(&desk) {
                Some(refused) => refused,
                None => self.claim(turn, operator, &desk, &parcel, claim),
            },
            DeskAct::Transfer { desk, parcel } => match self.no_desk(&desk) {
                Some(refused) => refused,
                None => self.transfer(turn, operator, &desk, &parcel),
            },
            DeskAct::Retrieve { parcel, courier } => {
                self.retrieve(turn, operator, &parcel, courier)
            }
            DeskAct::Reissue { parcel } => self.reissue_by(turn, operator, &parcel),
            DeskAct::Extend { parcel, deadline } => {
                let verdict = self.extend(turn, &parcel, deadline, format!("operator {operator}"));
                if verdict == Verdict::Taken {
                    let words = format!("it may wait until {}", text::moment(deadline));
                    turn.told = Some(Told::about(&parcel, words));
                }
                verdict
            }
        }
    }

    /// What digits that a resident says mean at a point.
    pub(crate) fn said(&self, point: &Ident, typed: &Typed) -> Said {
        if let Some(parcel) = self.parcel_of_code(point, &typed.code) {
            return Said::Good {
                parcel: parcel.clone(),
            };
        }
        let own = self.codes.get(&(point.clone(), typed.code));
        let live: Vec<_> = typed
            .elsewhere
            .iter()
            .filter_map(|(point, digest)| self.parcel_of_code(point, digest).cloned())
            .collect();
        let waits_here = |parcel: &&String| {
            let stage = self.parcels.get(*parcel).map(|row| &row.stage);
            matches!(stage, Some(Stage::Deposited { place }) if place.point() == point)
        };
        if let Some(parcel) = live.iter().find(waits_here) {
            return Said::Good {
                parcel: parcel.clone(),
            };
        }
        match (live.into_iter().next(), own) {
            (Some(parcel), _) => Said::Elsewhere { parcel },
            (None, Some(_)) => Said::Rests,
            (None, None) => Said::Nothing,
        }
    }

    /// A resident says a code at a desk: everything that waits there for its recipient is given
    /// out; a return is taken in.
    fn hand_over_at(
        &mut self,
        turn: &mut Turn<'_, '_>,
        operator: &str,
        desk: &Ident,
        typed: &Typed,
    ) -> Verdict {
        if let Some(ms) = self.locked_for_ms(&turn.now, desk) {
            return locked(desk, ms);
        }
        let who = format!("operator {operator} at {desk}");
        let (parcel, ours) = match self.said(desk, typed) {
            Said::Good { parcel } => (parcel, true),
            Said::Elsewhere { parcel } => (parcel, false),
            Said::Rests => return self.wrong_at(turn, desk, "this code is not good any more"),
            Said::Nothing => return self.wrong_at(turn, desk, "wrong code"),
        };
        let Some(row) = self.parcels.get(&parcel) else {
            return self.wrong_at(turn, desk, "wrong code");
        };
        if row.is_return() && matches!(row.stage, Stage::Expected) {
            self.take_return_in(turn, &parcel, desk, &who);
            let words = format!("return {parcel} is taken in: keep it for the courier");
            turn.told = Some(Told::about(&parcel, words));
            return Verdict::Taken;
        }
        let good = row.waits_for_recipient() || matches!(row.stage, Stage::Collected { .. });
        if ours && good {
            let given = self.give_out(turn, desk, &parcel, &who, &who);
            if !given.is_empty() {
                let first = given.first().map_or(parcel.as_str(), String::as_str);
                let words = format!("hand over: {}", given.join(", "));
                turn.told = Some(Told::about(first, words));
                return Verdict::Taken;
            }
        }
        self.not_here(turn, desk, &parcel, ours)
    }

    /// Says where a parcel is whose code is right, but which isn't at this desk.
    fn not_here(&mut self, turn: &Turn<'_, '_>, desk: &Ident, parcel: &str, ours: bool) -> Verdict {
        if !ours && let Wrong::Locked(ms) = self.count_wrong(&turn.now, desk, true) {
            return locked(desk, ms);
        }
        let Some(row) = self.parcels.get(parcel) else {
            return unknown(parcel);
        };
        let where_to = match &row.stage {
            Stage::Expected | Stage::Depositing { .. } => {
                let point = self.named(&row.parcel.point);
                format!("isn't here yet; it will wait at {point}")
            }
            Stage::Deposited { place } => {
                format!(
                    "waits at {}: the code works there",
                    self.named(place.point())
                )
            }
            Stage::Collecting { slot, .. } => {
                format!("is being taken out of {slot} just now: wait until the door is closed")
            }
            stage => format!("is {} already: nothing to hand over", stage.word()),
        };
        Verdict::Refused(format!("parcel {parcel} {where_to}"))
    }

    fn wrong_at(&mut self, turn: &Turn<'_, '_>, desk: &Ident, what: &str) -> Verdict {
        match self.count_wrong(&turn.now, desk, false) {
            Wrong::Left(left) => Verdict::Refused(format!(
                "{what}: {} before {desk} is locked; have the notice shown",
                text::tries(left)
            )),
            Wrong::Locked(ms) => locked(desk, ms),
        }
    }

    /// A desk takes in a parcel that is expected there, or that no compartment took.
    fn receive_at(
        &mut self,
        turn: &mut Turn<'_, '_>,
        operator: &str,
        desk: &Ident,
        parcel: &str,
        courier: Option<String>,
    ) -> Verdict {
        let Some(row) = self.parcels.get(parcel) else {
            return unknown(parcel);
        };
        let refused = |why: String| Verdict::Refused(format!("parcel {parcel} {why}"));
        let point = &row.parcel.point;
        match &row.stage {
            Stage::Expected if point == desk || row.to_desk => {}
            Stage::Expected => {
                return refused(format!(
                    "belongs to {}: have it scanned there, or announced for {desk}",
                    self.named(point)
                ));
            }
            Stage::Deposited {
                place: Place::Desk(at),
            } if at == desk => {
                turn.told = Some(Told::about(parcel, "it is here already".to_string()));
                return Verdict::Taken;
            }
            Stage::Cancelled => return refused("is cancelled: the courier keeps it".to_string()),
            stage => {
                let word = stage.word();
                return refused(format!("is {word} already: look it up by its id"));
            }
        }
        let brought =
            courier.map_or_else(String::new, |name| format!(", brought by courier {name}"));
        let who = format!("operator {operator} at {desk}");
        let place = Place::Desk(desk.clone());
        self.deposited_by(turn, parcel, place, who, format!("{desk}{brought}"));
        turn.told = Some(Told::about(parcel, format!("{parcel} waits at {desk}")));
        Verdict::Taken
    }

    fn reissue_by(&mut self, turn: &mut Turn<'_, '_>, operator: &str, parcel: &str) -> Verdict {
        match self.reissue(turn, parcel, format!("operator {operator}")) {
            Ok(code) => {
                turn.told = Some(Told {
                    code: Some(code),
                    ..Told::about(parcel, "the old code is dead, the new one:".to_string())
                });
                Verdict::Taken
            }
            Err(refused) => refused,
        }
    }

    /// Refuses what isn't a desk.
    fn no_desk(&self, desk: &Ident) -> Option<Verdict> {
        if self.places.is_desk(desk) {
            return None;
        }
        let desks: Vec<_> = self.layout.desks.iter().map(|d| d.id.as_str()).collect();
        let desks = if desks.is_empty() {
            "none is configured".to_string()
        } else {
            desks.join(", ")
        };
        Some(Verdict::Refused(format!(
            "'{desk}' isn't a desk of this estate; desks: {desks}"
        )))
    }
}

/// Whether a text is one line, neither empty nor longer than `most` characters.
pub(crate) fn is_line(text: &str, most: usize) -> bool {
    let fits = (1..=most).contains(&text.chars().count());
    fits && !text.chars().any(char::is_control)
}

fn locked(desk: &Ident, ms: u64) -> Verdict {
    let minutes = ms.div_ceil(60_000);
    Verdict::Refused(format!(
        "{desk} is locked after wrong codes: try again in {minutes} min"
    ))
}
