//! The desk: what the staff does there, by the same rules and with the same lockout as a keypad.

use alloc::string::ToString as _;

use crate::Verdict;
use crate::estate::Estate;
use crate::input::DeskAct;
use crate::turn::Turn;

impl Estate {
    /// Somebody of the staff does something.
    pub(crate) fn at_desk(
        &mut self,
        _turn: &mut Turn<'_, '_>,
        _operator: &str,
        _act: DeskAct,
    ) -> Verdict {
        Verdict::Refused("not yet".to_string())
    }
}
