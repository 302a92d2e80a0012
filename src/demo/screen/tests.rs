//! The view, drawn into a buffer and read back without its colours.

use super::*;
use crate::demo::script::at;
use crate::demo::story::Counts;
use simulator::Latency;

fn cell(holds: Holds, open: bool, faulty: bool) -> Cell {
    Cell {
        holds,
        open,
        faulty,
    }
}

#[test]
fn a_moment_can_be_read_without_colour() {
    let cells = vec![
        (cell(Holds::Nothing, false, false), ' '),
        (cell(Holds::Reserved, false, false), ' '),
        (cell(Holds::Parcel, false, false), 'c'),
        (cell(Holds::Parcel, true, false), 'f'),
        (cell(Holds::Nothing, false, true), ' '),
    ];
    let view = View {
        at_ms: at(17, 42),
        banks: vec![
            BankView {
                name: "bank-a",
                cells: cells.clone(),
                locked: false,
            },
            BankView {
                name: "bank-b",
                cells,
                locked: true,
            },
        ],
        shelf: 3,
        cloud_up: false,
        backlog: 30,
        backlog_most: 60,
        delivered: 7,
        acknowledged: 1_893,
        per_second: 56,
        again: 12,
        expected: 20,
        deposited: 14,
        collected: 8,
        counts: Counts::default(),
        key_to_open: Latency::default(),
    };
    let area = Rect::new(0, 0, 80, HEIGHT);
    let mut buffer = Buffer::empty(area);
    paint("Linli", &view, area, &mut buffer);
    let rows: Vec<String> = (0..HEIGHT)
        .map(|y| (0..80).map(|x| buffer[(x, y)].symbol()).collect())
        .collect();
    assert!(rows[0].contains(" Linli ") && rows[0].contains(" 17:42 "));
    assert!(
        rows[1].contains("bank-a   1   2   3c  4f  5"),
        "{}",
        rows[1]
    );
    assert!(rows[2].contains("·   r   ■   O   !"), "{}", rows[2]);
    assert!(rows[4].contains("LOCKED"), "{}", rows[4]);
    assert!(rows[5].contains("▪▪▪ 3 on the shelf"), "{}", rows[5]);
    let bar = format!("○ unreachable {}{} 30 wait", "▮".repeat(15), "▯".repeat(15));
    assert!(rows[7].contains(&bar), "{}", rows[7]);
    assert!(rows[11].contains("median –"), "{}", rows[11]);
}
