//! What is said of compartments whose sensor and parcels don't agree.

use super::{count, some};
use crate::control::health::compartments::Lacking;

/// Parcels that no sensor sees, and what to do about it.
pub fn not_seen(compartments: &[Lacking]) -> (String, String) {
    let names = |lacking: &Lacking| some(&lacking.parcels);
    let (what, slot, parcel) = match compartments {
        [only] => (
            format!(
                "{} should hold {}, but its sensor says empty.",
                only.slot,
                names(only)
            ),
            only.slot.as_str(),
            only.parcels.first().map_or("PARCEL", String::as_str),
        ),
        several => {
            let each: Vec<String> = several
                .iter()
                .map(|lacking| format!("{} ({})", lacking.slot, names(lacking)))
                .collect();
            let n = count(each.len() as u64, "compartment", "compartments");
            let what = format!(
                "{n} should hold parcels, but their sensors say empty: {}.",
                some(&each)
            );
            (what, "BANK/N", "PARCEL")
        }
    };
    (
        what,
        format!(
            "Look into it: linli open {slot} --reason TEXT. If the parcel is gone: linli desk claim {parcel} --kind damaged --note missing --desk DESK, then linli desk retrieve {parcel}"
        ),
    )
}

/// What lies in compartments without a parcel, and what to do about it.
pub fn not_booked(slots: &[String]) -> (String, String) {
    let slot = match slots {
        [only] => only.as_str(),
        _ => "BANK/N",
    };
    (
        format!("Something lies in {} that nobody booked.", some(slots)),
        format!("Open it by hand and take it out: linli open {slot} --reason TEXT"),
    )
}

/// Under a picture with such a compartment.
pub const LACKS_MARK: &str = "? should hold a parcel, but its sensor says empty";

/// Beside its number.
pub fn lacks(parcels: &[String]) -> String {
    format!("should hold {}, but its sensor says empty", some(parcels))
}
