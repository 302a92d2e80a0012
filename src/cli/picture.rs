//! A bank as a picture: its compartments as boxes, in rows, readable without colour.
//!
//! Only ASCII draws the lines: box-drawing characters are two columns wide in many Chinese
//! terminals and would tear the picture.

use super::look::{Look, Paint, columns, cut, safe};
use super::words;
use crate::control::views::{BankView, CompartmentState, CompartmentView, StateCounts};

/// The inner width of a box.
const BOX: usize = 7;

/// The most boxes in a row.
const ROW_MAX: usize = 12;

/// All banks with one legend.
pub fn banks(look: &Look, banks: &[BankView]) -> String {
    if banks.is_empty() {
        return format!("{}\n", words::NO_BANKS);
    }
    let mut out = String::new();
    for bank in banks {
        out.push_str(&heading(look, bank));
        out.push_str(&boxes(look, bank));
        for compartment in &bank.compartments {
            out.push_str(&note(look, bank, compartment));
        }
        out.push('\n');
    }
    out.push_str(&legend(look, banks));
    out
}

fn heading(look: &Look, bank: &BankView) -> String {
    let counts = StateCounts::of(bank.compartments.iter().map(|c| c.state));
    let place = match bank.address.is_empty() {
        true => bank.building.clone(),
        false => format!("{}, {}", bank.building, bank.address),
    };
    let facts = format!("  {}  {}  ", safe(&place), words::compartments(&counts));
    let online = words::online(bank.online);
    let paint = match bank.online {
        Some(true) => Paint::Good,
        Some(false) => Paint::Bad,
        None => Paint::Warn,
    };
    let room = look
        .width
        .map(|width| width.saturating_sub(columns(&bank.bank) + columns(online)));
    let facts = match room {
        Some(room) if columns(&facts) > room => {
            format!("{}  ", cut(facts.trim_end(), room.saturating_sub(2)))
        }
        _ => facts,
    };
    format!(
        "{}{facts}{}\n",
        look.paint(Paint::Bold, &bank.bank),
        look.paint(paint, online)
    )
}

fn boxes(look: &Look, bank: &BankView) -> String {
    let fits = (look.width.unwrap_or(80).saturating_sub(3) / (BOX + 1)).clamp(1, ROW_MAX);
    let rule = |boxes: usize| format!("  +{}\n", format!("{}+", "-".repeat(BOX)).repeat(boxes));
    let mut out = String::new();
    let mut below = 0;
    for row in bank.compartments.chunks(fits) {
        out.push_str(&rule(row.len().max(below)));
        below = row.len();
        out.push_str("  |");
        for compartment in row {
            out.push_str(&format!("{:^BOX$}|", title(compartment)));
        }
        out.push_str("\n  |");
        for compartment in row {
            let (mark, paint) = match bank.lacks_its_parcel(compartment) {
                true if compartment.state == CompartmentState::Occupied => LACKS,
                _ => mark(compartment.state),
            };
            out.push_str(&look.paint(paint, &format!("{mark:^BOX$}")));
            out.push('|');
        }
        out.push('\n');
    }
    out.push_str(&rule(below));
    out
}

fn title(compartment: &CompartmentView) -> String {
    let zone = match compartment.zone.as_str() {
        "chilled" => "*",
        "frozen" => "**",
        _ => "",
    };
    let low = if compartment.low { "_" } else { "" };
    let (number, size) = (compartment.compartment, &compartment.size);
    let title = format!("{number} {size}{zone}{low}");
    match title.len() > BOX {
        true => format!("{number}{size}{zone}{low}"),
        false => title,
    }
}

/// A parcel should lie there that the sensor doesn't see.
const LACKS: (&str, Paint) = ("?", Paint::Bad);

/// How a state looks, the more ink the more is in it.
fn mark(state: CompartmentState) -> (&'static str, Paint) {
    match state {
        CompartmentState::Free => (".", Paint::Good),
        CompartmentState::Reserved => ("r", Paint::Warn),
        CompartmentState::Occupied => ("#####", Paint::Used),
        CompartmentState::Open => ("/   /", Paint::Warn),
        CompartmentState::Faulty => ("! ! !", Paint::Bad),
        CompartmentState::Disabled => ("x x x", Paint::Warn),
    }
}

/// What a box can't say: why it isn't used, that there are several parcels in it, what lies in it
/// that no parcel accounts for.
fn note(look: &Look, bank: &BankView, compartment: &CompartmentView) -> String {
    let number = compartment.compartment;
    let mut notes = Vec::new();
    if let Some(reason) = &compartment.disabled {
        notes.push((Paint::Warn, words::out_of_use(reason)));
    }
    if let Some(fault) = &compartment.fault {
        notes.push((Paint::Bad, fault.clone()));
    }
    match compartment.parcels.as_slice() {
        lost if bank.lacks_its_parcel(compartment) => {
            notes.push((Paint::Bad, words::compartments::lacks(lost)));
        }
        [] if compartment.state == CompartmentState::Occupied => {
            notes.push((Paint::Plain, words::NO_PARCEL.to_string()));
        }
        [] | [_] => {}
        several => notes.push((Paint::Plain, words::several(several))),
    }
    let line = |(paint, note): (Paint, String)| {
        let text = format!("  {number}: {}", safe(&note));
        format!("{}\n", look.paint(paint, &text))
    };
    notes.into_iter().map(line).collect()
}

fn legend(look: &Look, banks: &[BankView]) -> String {
    let all = || banks.iter().flat_map(|bank| &bank.compartments);
    let mut states = vec![
        CompartmentState::Free,
        CompartmentState::Reserved,
        CompartmentState::Occupied,
        CompartmentState::Open,
        CompartmentState::Faulty,
    ];
    if all().any(|c| c.state == CompartmentState::Disabled) {
        states.push(CompartmentState::Disabled);
    }
    let mut parts: Vec<String> = states
        .into_iter()
        .map(|state| {
            let (mark, paint) = mark(state);
            format!("{} {}", look.paint(paint, mark), words::state(state))
        })
        .collect();
    if all().any(|c| c.zone != "ambient") {
        parts.push(words::ZONES.to_string());
    }
    if all().any(|c| c.low) {
        parts.push(words::LOW_MARK.to_string());
    }
    let mut out = format!("{}\n", parts.join("   "));
    let lacks = |bank: &BankView| bank.compartments.iter().any(|c| bank.lacks_its_parcel(c));
    if banks.iter().any(lacks) {
        out.push_str(&format!("{}\n", words::compartments::LACKS_MARK));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::look::tests::plain;
    use super::*;

    fn compartment(number: u16, zone: &str, state: CompartmentState) -> CompartmentView {
        CompartmentView {
            compartment: number,
            size: "S".to_string(),
            zone: zone.to_string(),
            state,
            parcels: Vec::new(),
            reserved: None,
            door: "closed".to_string(),
            occupied: None,
            fault: None,
            disabled: None,
            low: false,
            openings: 0,
        }
    }

    fn bank() -> BankView {
        let mut faulty = compartment(5, "ambient", CompartmentState::Faulty);
        faulty.fault = Some("jammed\u{7}".to_string());
        let mut full = compartment(3, "chilled", CompartmentState::Occupied);
        full.parcels = vec!["P-1".to_string()];
        BankView {
            bank: "bank-a".to_string(),
            building: "b1".to_string(),
            address: "Gate 1".to_string(),
            online: Some(true),
            occupancy_sensor: true,
            compartments: vec![
                compartment(1, "ambient", CompartmentState::Free),
                compartment(2, "ambient", CompartmentState::Reserved),
                full,
                compartment(4, "frozen", CompartmentState::Open),
                faulty,
                compartment(6, "ambient", CompartmentState::Occupied),
            ],
        }
    }

    #[test]
    fn a_bank_can_be_read_without_colour() {
        let wanted = "\
bank-a  b1, Gate 1  1 free, 1 reserved, 2 occupied, 1 open, 1 faulty of 6 compartments  connected
  +-------+-------+-------+-------+-------+-------+
  |  1 S  |  2 S  | 3 S*  | 4 S** |  5 S  |  6 S  |
  |   .   |   r   | ##### | /   / | ! ! ! | ##### |
  +-------+-------+-------+-------+-------+-------+
  5: jammed?
  6: something lies in it, though no parcel is known to

. free   r reserved   ##### occupied   /   / open   ! ! ! faulty   * chilled  ** frozen
";
        assert_eq!(banks(&plain(None), &[bank()]), wanted);
    }

    #[test]
    fn what_is_out_of_use_shared_or_low_is_shown() {
        let mut bank = bank();
        let mut disabled = compartment(1, "ambient", CompartmentState::Disabled);
        disabled.disabled = Some("wet\u{1b}".to_string());
        disabled.fault = Some("jammed".to_string());
        let mut shared = compartment(2, "ambient", CompartmentState::Occupied);
        shared.parcels = vec!["P-1".to_string(), "P-2".to_string()];
        let mut low = compartment(103, "frozen", CompartmentState::Free);
        low.low = true;
        bank.compartments = vec![disabled, shared, low];
        let wanted = "\
bank-a  b1, Gate 1  1 free, 1 occupied, 1 out of use of 3 compartments  connected
  +-------+-------+-------+
  |  1 S  |  2 S  |103S**_|
  | x x x | ##### |   .   |
  +-------+-------+-------+
  1: out of use: wet?
  1: jammed
  2: 2 parcels: P-1, P-2

. free   r reserved   ##### occupied   /   / open   ! ! ! faulty   x x x out of use   * chilled  ** frozen   _ within reach from a wheelchair
";
        assert_eq!(banks(&plain(None), &[bank]), wanted);
    }

    #[test]
    fn a_parcel_that_the_sensor_does_not_see_is_marked_with_its_own_legend() {
        let mut bank = bank();
        let mut lost = compartment(1, "ambient", CompartmentState::Occupied);
        lost.parcels = vec!["R2".to_string()];
        lost.occupied = Some(false);
        let mut seen = lost.clone();
        (seen.compartment, seen.occupied) = (2, Some(true));
        bank.compartments = vec![lost, seen];
        let wanted = "\
bank-a  b1, Gate 1  0 free, 2 occupied of 2 compartments  connected
  +-------+-------+
  |  1 S  |  2 S  |
  |   ?   | ##### |
  +-------+-------+
  1: should hold R2, but its sensor says empty

. free   r reserved   ##### occupied   /   / open   ! ! ! faulty
? should hold a parcel, but its sensor says empty
";
        assert_eq!(banks(&plain(None), &[bank.clone()]), wanted);
        bank.occupancy_sensor = false;
        assert!(!banks(&plain(None), &[bank]).contains('?'));
    }

    #[test]
    fn a_narrow_terminal_gets_more_rows() {
        let drawn = boxes(&plain(Some(37)), &bank());
        let wanted = "  +-------+-------+-------+-------+
  |  1 S  |  2 S  | 3 S*  | 4 S** |
  |   .   |   r   | ##### | /   / |
  +-------+-------+-------+-------+
  |  5 S  |  6 S  |
  | ! ! ! | ##### |
  +-------+-------+
";
        assert_eq!(drawn, wanted);
        assert!(heading(&plain(Some(37)), &bank()).trim_end().len() <= 37);
        assert!(drawn.lines().all(|line| line.len() <= 37), "{drawn}");
    }

    #[test]
    fn an_estate_without_banks_says_so() {
        assert_eq!(
            banks(&plain(None), &[]),
            "No banks stand in the configuration.\n"
        );
    }
}
