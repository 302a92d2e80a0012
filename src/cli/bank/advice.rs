//! What to change in the configuration, or at the boards, after a walk test.

use std::collections::{BTreeMap, BTreeSet};

use super::judge::Verdict;
use crate::cli::words::bank as say;
use crate::config::serial::{BoardSection, Level};

/// What is to be changed, line by line. `boards` are the bank's, if it hangs on a serial port.
pub fn advice(verdicts: &BTreeMap<u16, Verdict>, boards: &[BoardSection]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut on_boards = BTreeSet::new();
    for board in boards {
        let [first, last] = board.compartments;
        on_boards.extend(first..=last);
        let its: BTreeMap<u16, &Verdict> = verdicts
            .range(first..=last)
            .map(|(n, verdict)| (*n, verdict))
            .collect();
        lines.extend(polarity(board, &its));
        lines.extend(channels(board, &its));
    }
    let elsewhere = verdicts.iter().filter(|(n, _)| !on_boards.contains(n));
    let elsewhere: BTreeMap<u16, &Verdict> = elsewhere.map(|(n, v)| (*n, v)).collect();
    let inverted = of(&elsewhere, |verdict| *verdict == Verdict::Inverted);
    if !inverted.is_empty() {
        lines.push(say::inverted_at_controller(&inverted));
    }
    for (n, verdict) in &elsewhere {
        match verdict {
            Verdict::Swapped { with, own_door } => lines.push(say::swapped(*n, *with, *own_door)),
            Verdict::OtherDoor { opened } => lines.push(say::other_door(*n, *opened)),
            _ => {}
        }
    }
    lines
}

/// A board whose contacts are all the other way round has another kind of lock; a single one is a
/// fault of wiring.
fn polarity(board: &BoardSection, its: &BTreeMap<u16, &Verdict>) -> Option<String> {
    let inverted = of(its, |verdict| *verdict == Verdict::Inverted);
    let right = of(its, |verdict| {
        matches!(verdict, Verdict::Passed | Verdict::Together { .. })
    });
    match (inverted.is_empty(), right.is_empty()) {
        (true, _) => None,
        (false, true) => {
            let wanted = match board.closed {
                Level::One => "zero",
                Level::Zero => "one",
            };
            Some(say::change_polarity(board.address, wanted))
        }
        (false, false) => Some(say::single_inverted(board.address, &inverted)),
    }
}

/// Locks that changed places together with their contacts are put right by `channels`, if they are on
/// one board; what only half changed places, or leads to another board, only by rewiring.
fn channels(board: &BoardSection, its: &BTreeMap<u16, &Verdict>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut opens: BTreeMap<u16, u16> = BTreeMap::new();
    for (n, verdict) in its {
        match verdict {
            Verdict::Swapped { with, own_door } => lines.push(say::swapped(*n, *with, *own_door)),
            Verdict::OtherDoor { opened } => {
                opens.insert(*n, *opened);
            }
            _ => {}
        }
    }
    let sources: BTreeSet<u16> = opens.keys().copied().collect();
    let targets: BTreeSet<u16> = opens.values().copied().collect();
    if opens.is_empty() {
        return lines;
    }
    if sources != targets {
        let each = opens.iter();
        lines.extend(each.map(|(n, opened)| say::other_door(*n, *opened)));
        return lines;
    }
    let now: BTreeMap<u16, u16> = board.mapping().into_iter().collect();
    let mut wanted = now.clone();
    for (asked, opened) in &opens {
        if let Some(channel) = now.get(asked) {
            wanted.insert(*opened, *channel);
        }
    }
    let list: Vec<u16> = wanted.into_values().collect();
    lines.push(say::change_channels(board.address, &list));
    lines
}

fn of(its: &BTreeMap<u16, &Verdict>, is: impl Fn(&Verdict) -> bool) -> Vec<u16> {
    let found = its.iter().filter(|(_, verdict)| is(verdict));
    found.map(|(n, _)| *n).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(text: &str) -> BoardSection {
        toml::from_str(text).unwrap()
    }

    fn on_board(text: &str, verdicts: &[(u16, Verdict)]) -> Vec<String> {
        let verdicts = verdicts.iter().cloned().collect();
        advice(&verdicts, &[board(text)])
    }

    const BOARD: &str = "port = \"a\"\naddress = 1\ncompartments = [1, 4]";

    fn opens(opened: u16) -> Verdict {
        Verdict::OtherDoor { opened }
    }

    #[test]
    fn nothing_is_changed_where_all_passed() {
        assert!(on_board(BOARD, &[(1, Verdict::Passed), (2, Verdict::Jammed)]).is_empty());
    }

    #[test]
    fn a_whole_board_the_other_way_round_is_a_setting() {
        let all = [(1, Verdict::Inverted), (2, Verdict::Inverted)];
        let lines = on_board(BOARD, &all);
        assert!(
            lines[0].contains("address = 1: closed = \"zero\""),
            "{lines:?}"
        );
        let other = on_board(&format!("{BOARD}\nclosed = \"zero\""), &all);
        assert!(other[0].contains("closed = \"one\""), "{other:?}");
    }

    #[test]
    fn a_single_one_the_other_way_round_is_wiring() {
        let lines = on_board(BOARD, &[(1, Verdict::Passed), (2, Verdict::Inverted)]);
        assert!(
            lines[0].contains("compartment 2") && !lines[0].contains("closed ="),
            "{lines:?}"
        );
    }

    #[test]
    fn locks_that_changed_places_are_put_right_by_channels() {
        let lines = on_board(BOARD, &[(1, Verdict::Passed), (2, opens(4)), (4, opens(2))]);
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("channels = [1, 4, 3, 2]"), "{lines:?}");
        // In a ring: asked for 1 opens 2, 2 opens 3, 3 opens 1; channels stood otherwise before.
        let ring = [(1, opens(2)), (2, opens(3)), (3, opens(1))];
        let lines = on_board(&format!("{BOARD}\nchannels = [11, 12, 13, 14]"), &ring);
        assert!(
            lines[0].contains("channels = [13, 11, 12, 14]"),
            "{lines:?}"
        );
    }

    #[test]
    fn wires_that_lead_elsewhere_are_for_hands() {
        let half = on_board(BOARD, &[(2, opens(4)), (4, Verdict::Jammed)]);
        assert!(!half[0].contains("channels ="), "{half:?}");
        for (own_door, part) in [(true, "the contact of"), (false, "the lock of")] {
            let half = Verdict::Swapped {
                with: 4,
                own_door: Some(own_door),
            };
            let lines = on_board(BOARD, &[(2, half)]);
            assert!(
                lines[0].contains(part) && !lines[0].contains("channels"),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn a_bank_with_a_controller_of_its_own_is_set_there() {
        let verdicts = BTreeMap::from([(1, Verdict::Inverted), (2, opens(3))]);
        let lines = advice(&verdicts, &[]);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("controller"), "{lines:?}");
    }
}
