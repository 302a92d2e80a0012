//! Taking compartments out of use, and back into it.
//!
//! Nothing new is put into a compartment that is out of use. What is inside is collected as ever,
//! and a deposit whose door is already open ends as ever.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use firmware_protocols::Slot;

use crate::Verdict;
use crate::compartment::CompartmentRow;
use crate::estate::Estate;
use crate::turn::Turn;

impl Estate {
    /// A technician takes a compartment out of use, with a reason, or back into it. What is so
    /// already stays so and isn't recorded again.
    pub(crate) fn disable(
        &mut self,
        turn: &mut Turn<'_, '_>,
        slot: &Slot,
        operator: &str,
        reason: Option<String>,
    ) -> Verdict {
        let row = match self.compartment_of_layout(slot) {
            Ok(row) => row,
            Err(why) => return Verdict::Refused(why),
        };
        let no_reason = reason.as_ref().is_some_and(|why| why.trim().is_empty());
        if operator.trim().is_empty() || no_reason {
            let why = "say who takes it out of use and why: both are recorded";
            return Verdict::Refused(why.to_string());
        }
        if row.disabled == reason {
            return Verdict::Taken;
        }
        let step = match reason {
            Some(_) => "compartment-disabled",
            None => "compartment-enabled",
        };
        let detail = match &reason {
            Some(why) => format!("{slot}: {why}"),
            None => slot.to_string(),
        };
        if let Some(row) = self.compartments.get_mut(slot) {
            row.disabled = reason;
        }
        for parcel in self.parcels_in(slot) {
            let (who, detail) = (format!("operator {operator}"), Some(detail.clone()));
            self.trace(&turn.now, &parcel, step, who, detail);
        }
        Verdict::Taken
    }

    /// A compartment of a configured bank, or what there is instead.
    pub(crate) fn compartment_of_layout(&self, slot: &Slot) -> Result<&CompartmentRow, String> {
        let Some(bank) = self.places.bank(&self.layout, &slot.bank) else {
            let banks = self.layout.banks.iter().map(|bank| bank.id.as_str());
            let banks: Vec<_> = banks.collect();
            let banks = match banks.is_empty() {
                true => "none".to_string(),
                false => banks.join(", "),
            };
            return Err(format!(
                "'{}' isn't a bank of this estate; banks: {banks}",
                slot.bank
            ));
        };
        self.compartments.get(slot).ok_or_else(|| {
            let (bank, count) = (&bank.id, bank.compartments.len());
            format!("{bank} has the compartments 1 to {count}")
        })
    }
}
