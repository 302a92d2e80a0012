//! What digits typed at a keypad mean, in this order:
//!
//! 1. a live code of the point;
//! 2. a live code of another point whose parcel was brought here (to a desk): as good as 1;
//! 3. a courier's code: like a badge;
//! 4. [`TAKE_BACK`] while a courier is known at the point: the next parcel that goes back;
//! 5. a live code of another point: where its parcel is, counted mildly;
//! 6. anything else is wrong.
//!
//! Before all that: digits that arrive late open nothing, and a locked keypad looks at nothing.

use alloc::string::String;

use firmware_protocols::Ident;

use crate::code::{CodeState, same};
use crate::estate::Estate;
use crate::input::Typed;
use crate::keypad::Wrong;
use crate::parcel::{Place, Stage};
use crate::turn::{Origin, Turn};
use crate::{Now, text};

/// What a courier types to be opened the next parcel that goes back.
const TAKE_BACK: &str = "0";

/// What typed digits mean at a point.
enum Meaning {
    /// The live code of this parcel, which is, was or is expected here.
    Parcel(String),
    /// A courier's code; `expired` if it was one.
    Courier { expired: bool },
    /// This courier wants the next parcel that goes back.
    TakeBack { courier: String },
    /// The live code of a parcel that is at another point.
    Elsewhere { point: Ident },
    /// A code that was good once.
    Used,
    /// Nothing.
    Unknown,
}

impl Estate {
    /// Digits were typed at a keypad.
    pub(crate) fn typed(&mut self, turn: &mut Turn<'_, '_>, from: &Origin, typed: &Typed) {
        let Some(point) = from.point.clone() else {
            self.show_error(turn, from, text::NO_POINT);
            return;
        };
        self.readers.insert(point.clone(), from.device.clone());
        if Self::stale(from) {
            self.show_error(turn, from, text::TOO_LATE);
            return;
        }
        if let Some(left) = self.locked_for_ms(&turn.now, &from.device) {
            self.show_error(turn, from, text::locked(left));
            return;
        }
        match self.meaning(turn, &point, typed) {
            Meaning::Parcel(parcel) => self.right_code(turn, from, &point, &parcel),
            Meaning::Courier { expired: false } => {
                self.open_session(turn, from, point, &typed.courier);
            }
            Meaning::Courier { expired: true } => {
                self.wrong_code(turn, from, Some(text::CODE_EXPIRED));
            }
            Meaning::TakeBack { courier } => self.retrieve_next(turn, from, &point, &courier),
            Meaning::Elsewhere { point } => self.astray(turn, from, &point),
            Meaning::Used => self.wrong_code(turn, from, Some(text::USED)),
            Meaning::Unknown => self.wrong_code(turn, from, None),
        }
    }

    fn meaning(&mut self, turn: &Turn<'_, '_>, point: &Ident, typed: &Typed) -> Meaning {
        if let Some(parcel) = self.parcel_of_code(point, &typed.code) {
            return Meaning::Parcel(parcel.clone());
        }
        let elsewhere = self.code_elsewhere(typed);
        if let Some((parcel, place)) = &elsewhere
            && (place == point || self.takes_in(point, parcel))
        {
            return Meaning::Parcel(parcel.clone());
        }
        if let Some(expired) = self.courier_of_code(&turn.now, typed) {
            return Meaning::Courier { expired };
        }
        if same(&turn.digest(point, TAKE_BACK), &typed.code)
            && let Some(courier) = self.courier_at(&turn.now, point)
        {
            return Meaning::TakeBack { courier };
        }
        if let Some((_, point)) = elsewhere {
            return Meaning::Elsewhere { point };
        }
        let resting = self.codes.get(&(point.clone(), typed.code));
        match resting.map(|row| &row.state) {
            Some(CodeState::Resting { .. }) => Meaning::Used,
            _ => Meaning::Unknown,
        }
    }

    /// The parcel of which these digits are the live code at another point, and the point at which
    /// it is.
    fn code_elsewhere(&self, typed: &Typed) -> Option<(String, Ident)> {
        typed.elsewhere.iter().find_map(|(point, digest)| {
            let parcel = self.parcel_of_code(point, digest)?;
            Some((parcel.clone(), self.point_where(parcel)?))
        })
    }

    /// Whether a desk takes in a return that its own point had no room for.
    fn takes_in(&self, point: &Ident, parcel: &str) -> bool {
        let row = self.parcels.get(parcel);
        let expected = row.filter(|row| matches!(row.stage, Stage::Expected));
        self.places.is_desk(point) && expected.is_some_and(|row| row.is_return() && row.to_desk)
    }

    /// The point at which a parcel is, was last, or is expected.
    pub(crate) fn point_where(&self, parcel: &str) -> Option<Ident> {
        let row = self.parcels.get(parcel)?;
        let point = match &row.stage {
            Stage::Depositing { slot, .. } | Stage::Collecting { slot, .. } => &slot.bank,
            Stage::Deposited { place }
            | Stage::Collected { place, .. }
            | Stage::Retrieved { place } => match place {
                Place::Slot(slot) => &slot.bank,
                Place::Desk(desk) => desk,
            },
            Stage::Expected | Stage::Cancelled => &row.parcel.point,
        };
        Some(point.clone())
    }

    /// Whether these digits are a courier's code, and if so, whether it has run out.
    fn courier_of_code(&self, now: &Now, typed: &Typed) -> Option<bool> {
        let row = self.couriers.get(&typed.courier)?;
        row.digits.map(|_| row.valid_until.passed(now))
    }

    /// The code of a parcel that is at another point: says where.
    fn astray(&mut self, turn: &mut Turn<'_, '_>, from: &Origin, point: &Ident) {
        match self.count_wrong(&turn.now, &from.device, true) {
            Wrong::Left(_) => {
                let words = text::waits_elsewhere(&self.named(point));
                self.show_info(turn, from, words);
            }
            Wrong::Locked(length) => self.show_error(turn, from, text::locked(length)),
        }
    }
}
