//! What digits typed at a keypad mean: a code, or a courier who asks for what goes back.

use crate::desk::Said;
use crate::estate::Estate;
use crate::input::Typed;
use crate::text;
use crate::turn::{Origin, Turn};

impl Estate {
    /// Digits were typed at a keypad.
    pub(crate) fn typed(&mut self, turn: &mut Turn<'_, '_>, from: &Origin, typed: &Typed) {
        let Some(point) = from.point.clone() else {
            self.show_error(turn, from, text::NO_POINT);
            return;
        };
        self.readers.insert(point.clone(), from.device.clone());
        if Self::stale(&turn.now, from) {
            self.show_error(turn, from, text::TOO_LATE);
            return;
        }
        if let Some(left) = self.locked_for_ms(&turn.now, &from.device) {
            self.show_error(turn, from, text::locked(left));
            return;
        }
        if typed.code == turn.digest(&point, "0")
            && let Some(courier) = self.courier_at(&turn.now, &point)
        {
            self.retrieve_next(turn, from, &point, &courier);
            return;
        }
        match self.said(&point, typed) {
            Said::Good { parcel } => self.right_code(turn, from, &point, &parcel),
            Said::Rests => self.wrong_code(turn, from, Some(text::USED)),
            Said::Elsewhere { .. } | Said::Nothing => self.wrong_code(turn, from, None),
        }
    }
}
