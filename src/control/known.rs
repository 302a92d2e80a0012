//! What a request names, checked against what stands in the configuration.

use estate::Layout;
use firmware_protocols::{Ident, Slot};

use super::views::PointView;
use super::wire::{Failure, FailureKind};

/// The longest reason, in characters.
pub const REASON_MAX_CHARS: usize = 200;

/// A request that can't be.
pub fn bad(message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::BadRequest, message)
}

fn not_found(message: String) -> Failure {
    Failure::new(FailureKind::NotFound, message)
}

/// A compartment of a configured bank, from `BANK/NUMBER`.
pub fn slot(layout: &Layout, text: &str) -> Result<Slot, Failure> {
    let slot: Slot = text.parse().map_err(|e| bad(format!("{e}")))?;
    let Some(bank) = layout.banks.iter().find(|bank| bank.id == slot.bank) else {
        let known: Vec<&str> = layout.banks.iter().map(|bank| bank.id.as_str()).collect();
        return Err(not_found(format!(
            "there is no bank '{}' here. Its banks: {}",
            slot.bank,
            known.join(", ")
        )));
    };
    let most = bank.compartments.len();
    if usize::from(slot.compartment) > most {
        return Err(not_found(format!(
            "bank '{}' has compartments 1 to {most}",
            slot.bank
        )));
    }
    Ok(slot)
}

/// The desk of that name, or the only one there is.
pub fn desk<'a>(layout: &'a Layout, named: Option<&str>) -> Result<&'a Ident, Failure> {
    let known = || {
        let ids: Vec<&str> = layout.desks.iter().map(|desk| desk.id.as_str()).collect();
        ids.join(", ")
    };
    match (named, layout.desks.as_slice()) {
        (_, []) => Err(not_found(
            "no desk stands in the configuration: add one ([[desk]]), and restart the daemon"
                .to_string(),
        )),
        (Some(name), desks) => match desks.iter().find(|desk| desk.id.as_str() == name) {
            Some(desk) => Ok(&desk.id),
            None => Err(not_found(format!(
                "there is no desk '{name}' here. Its desks: {}",
                known()
            ))),
        },
        (None, [only]) => Ok(&only.id),
        (None, _) => Err(bad(format!(
            "there are several desks, so say which: --desk, one of {}",
            known()
        ))),
    }
}

/// A bank or a desk, for people.
pub fn point(layout: &Layout, id: &str) -> Option<PointView> {
    let banks = layout.banks.iter().map(|bank| (&bank.id, &bank.address));
    let desks = layout.desks.iter().map(|desk| (&desk.id, &desk.address));
    banks
        .chain(desks)
        .find(|(point, _)| point.as_str() == id)
        .map(|(point, address)| PointView {
            point: point.to_string(),
            address: address.clone(),
        })
}

/// A bank or a desk to which goods can be brought.
pub fn return_point(layout: &Layout, id: &str) -> Result<Ident, Failure> {
    match (point(layout, id), Ident::new(id)) {
        (Some(_), Ok(id)) => Ok(id),
        _ => Err(not_found(format!(
            "there is no bank or desk '{id}' here: see 'linli devices'"
        ))),
    }
}

/// Why somebody does something, for the record.
pub fn reason<'a>(what: &str, text: &'a str) -> Result<&'a str, Failure> {
    let text = text.trim();
    if text.is_empty() {
        return Err(bad(format!(
            "{what} needs a reason, for the record: --reason TEXT"
        )));
    }
    line("a reason", text, REASON_MAX_CHARS)
}

/// One line of text with a bound.
pub fn line<'a>(what: &str, text: &'a str, most: usize) -> Result<&'a str, Failure> {
    let text = text.trim();
    let count = text.chars().count();
    if count == 0 || count > most || text.chars().any(char::is_control) {
        return Err(bad(format!(
            "{what} is one line of 1 to {most} characters: correct it"
        )));
    }
    Ok(text)
}
