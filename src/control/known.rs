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
            "no desk stands in the configuration: add one ([[desk]]), then: linli config reload"
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

#[cfg(test)]
mod tests {
    use estate::layout::{Desk, Rules};

    use super::*;

    fn layout(desks: &[&str]) -> Layout {
        let ident = |text: &str| Ident::new(text).unwrap();
        let desk = |id: &&str| Desk {
            id: ident(id),
            building: ident("b1"),
            address: "Office".to_string(),
        };
        Layout {
            site: ident("court"),
            buildings: vec![ident("b1")],
            banks: Vec::new(),
            desks: desks.iter().map(desk).collect(),
            devices: Vec::new(),
            rules: Rules::default(),
        }
    }

    #[test]
    fn a_desk_may_be_left_out_where_there_is_one() {
        let pick = |desks: &[&str], named| {
            let layout = layout(desks);
            desk(&layout, named).map(Ident::to_string)
        };
        assert_eq!(pick(&["d1"], None).unwrap(), "d1");
        assert_eq!(pick(&["d1", "d2"], Some("d2")).unwrap(), "d2");
        let several = pick(&["d1", "d2"], None).unwrap_err();
        assert_eq!(several.kind, FailureKind::BadRequest);
        assert!(several.message.contains("d1, d2"), "{several}");
        let unknown = pick(&["d1"], Some("d9")).unwrap_err();
        assert_eq!(unknown.kind, FailureKind::NotFound);
        let none = pick(&[], None).unwrap_err();
        assert!(none.message.contains("[[desk]]"), "{none}");
    }

    #[test]
    fn a_line_is_trimmed_and_bounded() {
        assert_eq!(line("x", "  a b ", 3).unwrap(), "a b");
        for wrong in ["", "  ", "abcd", "a\tb", "a\u{1b}"] {
            assert!(line("x", wrong, 3).is_err(), "{wrong:?}");
        }
        assert!(reason("it", " ").unwrap_err().message.contains("--reason"));
    }
}
