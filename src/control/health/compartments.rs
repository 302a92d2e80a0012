//! What is wrong with compartments: those that aren't used, and those whose occupancy sensor says
//! something else than the parcels that are known to lie in them.

use serde::{Deserialize, Serialize};

use super::Trouble;
use crate::control::views::{BankView, CompartmentState, CompartmentView};

/// A compartment that should hold something, and seems to be empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lacking {
    /// Which: `BANK/NUMBER`.
    pub slot: String,
    /// What should lie in it.
    pub parcels: Vec<String>,
}

/// The troubles of all banks.
pub fn troubles(banks: &[BankView]) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    troubles.extend(lacking(banks));
    troubles.extend(unbooked(banks));
    troubles.extend(banks.iter().filter_map(faulty));
    troubles.extend(banks.iter().filter_map(disabled));
    troubles
}

impl BankView {
    /// Whether a parcel should lie in a closed compartment of this bank whose sensor sees nothing.
    pub fn lacks_its_parcel(&self, compartment: &CompartmentView) -> bool {
        self.sees_closed(compartment, false) && !compartment.parcels.is_empty()
    }

    /// Whether something lies in a closed compartment of this bank that no parcel accounts for. One
    /// that was taken out of use may hold what it likes.
    pub fn holds_unbooked(&self, compartment: &CompartmentView) -> bool {
        self.sees_closed(compartment, true)
            && compartment.parcels.is_empty()
            && compartment.reserved.is_none()
            && compartment.disabled.is_none()
    }

    fn sees_closed(&self, compartment: &CompartmentView, occupied: bool) -> bool {
        self.occupancy_sensor
            && compartment.door == "closed"
            && compartment.occupied == Some(occupied)
    }

    fn slot(&self, compartment: &CompartmentView) -> String {
        format!("{}/{}", self.bank, compartment.compartment)
    }
}

fn lacking(banks: &[BankView]) -> Option<Trouble> {
    let each = |bank: &'_ BankView| -> Vec<Lacking> {
        let lacking = bank.compartments.iter();
        let lacking = lacking.filter(|compartment| bank.lacks_its_parcel(compartment));
        let named = lacking.map(|compartment| Lacking {
            slot: bank.slot(compartment),
            parcels: compartment.parcels.clone(),
        });
        named.collect()
    };
    let compartments: Vec<Lacking> = banks.iter().flat_map(each).collect();
    (!compartments.is_empty()).then_some(Trouble::ParcelsNotSeen { compartments })
}

fn unbooked(banks: &[BankView]) -> Option<Trouble> {
    let each = |bank: &'_ BankView| -> Vec<String> {
        let unbooked = bank.compartments.iter();
        let unbooked = unbooked.filter(|compartment| bank.holds_unbooked(compartment));
        unbooked.map(|compartment| bank.slot(compartment)).collect()
    };
    let slots: Vec<String> = banks.iter().flat_map(each).collect();
    (!slots.is_empty()).then_some(Trouble::NotBooked { slots })
}

fn faulty(bank: &BankView) -> Option<Trouble> {
    let compartments = in_state(bank, CompartmentState::Faulty);
    (!compartments.is_empty()).then(|| Trouble::CompartmentsFaulty {
        bank: bank.bank.clone(),
        compartments,
    })
}

fn disabled(bank: &BankView) -> Option<Trouble> {
    let compartments = in_state(bank, CompartmentState::Disabled);
    (!compartments.is_empty()).then(|| Trouble::CompartmentsDisabled {
        bank: bank.bank.clone(),
        compartments,
    })
}

fn in_state(bank: &BankView, state: CompartmentState) -> Vec<u16> {
    let compartments = bank.compartments.iter();
    compartments
        .filter(|compartment| compartment.state == state)
        .map(|compartment| compartment.compartment)
        .collect()
}
