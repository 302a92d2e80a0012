//! What is stored of an item, and what it means for the codes: the same for both stores.

use cloud_protocol::uplink::{ParcelReport, ParcelState};
use firmware_protocols::value::{Key, Value};

/// The item as it is stored: without a pickup code, which is kept apart and only while it lives.
pub(super) fn without_code(item: &Value) -> Value {
    let Value::Map(entries) = item else {
        return item.clone();
    };
    let is_code = |key: &Key| matches!(key, Key::Text(name) if name == "code");
    let others = entries.iter().filter(|(key, _)| !is_code(key));
    Value::Map(others.cloned().collect())
}

/// Whether nobody has a use for the parcel's code any more. A return's code is for putting it in.
pub(super) const fn code_is_dead(report: &ParcelReport) -> bool {
    match report.state {
        ParcelState::Expected | ParcelState::Overdue => false,
        ParcelState::Deposited => report.return_of.is_some(),
        ParcelState::Refused
        | ParcelState::Claimed
        | ParcelState::Collected
        | ParcelState::Retrieved
        | ParcelState::Cancelled => true,
    }
}
