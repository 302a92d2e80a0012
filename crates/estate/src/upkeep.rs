//! Taking compartments out of use, and back into it.

use alloc::string::{String, ToString as _};

use firmware_protocols::Slot;

use crate::Verdict;
use crate::estate::Estate;
use crate::turn::Turn;

impl Estate {
    /// A technician takes a compartment out of use, or back into it.
    pub(crate) fn disable(
        &mut self,
        _turn: &mut Turn<'_, '_>,
        _slot: &Slot,
        _operator: &str,
        _reason: Option<String>,
    ) -> Verdict {
        Verdict::Refused("not yet".to_string())
    }
}
