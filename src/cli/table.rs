//! Aligned tables that fit the terminal.

use super::look::{Look, Paint, columns, cut, safe};

/// A column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    title: &'static str,
    right: bool,
    stretches: bool,
}

impl Column {
    /// A column of text.
    pub const fn left(title: &'static str) -> Self {
        Self {
            title,
            right: false,
            stretches: false,
        }
    }

    /// A column of numbers.
    pub const fn right(title: &'static str) -> Self {
        Self {
            title,
            right: true,
            stretches: false,
        }
    }

    /// A column of text that is cut when the terminal is narrow.
    pub const fn stretching(title: &'static str) -> Self {
        Self {
            title,
            right: false,
            stretches: true,
        }
    }
}

/// A cell.
#[derive(Debug, Clone, Default)]
pub struct Cell {
    text: String,
    paint: Paint,
}

impl Cell {
    /// A cell in a colour.
    pub fn painted(text: impl AsRef<str>, paint: Paint) -> Self {
        Self {
            text: safe(text.as_ref()).into_owned(),
            paint,
        }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::painted(text, Paint::Plain)
    }
}

/// The narrowest that a stretching column becomes.
const NARROWEST: usize = 8;

/// The space between columns.
const GAP: usize = 2;

/// A table, one line a row under a heading.
pub fn table(look: &Look, head: &[Column], rows: &[Vec<Cell>]) -> String {
    let widths = widths(look.width, head, rows);
    let mut out = String::new();
    let titles = head
        .iter()
        .map(|column| Cell::painted(column.title, Paint::Dim));
    line(&mut out, look, head, &widths, &titles.collect::<Vec<_>>());
    for row in rows {
        line(&mut out, look, head, &widths, row);
    }
    out
}

fn widths(limit: Option<usize>, head: &[Column], rows: &[Vec<Cell>]) -> Vec<usize> {
    let mut widths: Vec<usize> = head.iter().map(|column| columns(column.title)).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(columns(&cell.text));
        }
    }
    let Some(limit) = limit else {
        return widths;
    };
    let gaps = GAP * head.len().saturating_sub(1);
    loop {
        let total = widths.iter().sum::<usize>() + gaps;
        let over = total.saturating_sub(limit);
        let widest = head
            .iter()
            .zip(&mut widths)
            .filter(|(column, width)| column.stretches && **width > NARROWEST)
            .map(|(_, width)| width)
            .max();
        match widest {
            Some(width) if over > 0 => *width -= 1,
            _ => return widths,
        }
    }
}

fn line(out: &mut String, look: &Look, head: &[Column], widths: &[usize], cells: &[Cell]) {
    let last = head.len().saturating_sub(1);
    for (index, ((column, width), cell)) in head.iter().zip(widths).zip(cells).enumerate() {
        let text = cut(&cell.text, *width);
        let space = " ".repeat(width.saturating_sub(columns(&text)));
        let painted = look.paint(cell.paint, &text);
        match (column.right, index == last) {
            (true, _) => {
                out.push_str(&space);
                out.push_str(&painted);
            }
            (false, true) => out.push_str(&painted),
            (false, false) => {
                out.push_str(&painted);
                out.push_str(&space);
            }
        }
        if index != last {
            out.push_str(&" ".repeat(GAP));
        }
    }
    while out.ends_with(' ') {
        out.pop();
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::look::tests::plain;
    use super::*;

    fn sample(width: Option<usize>) -> String {
        let head = [
            Column::left("DEVICE"),
            Column::right("STORED"),
            Column::stretching("MODEL"),
        ];
        let rows = [
            vec!["bank-a".into(), "1204".into(), "快递柜 LB-24".into()],
            vec!["d".into(), "7".into(), "a\u{1b}[31m longer model".into()],
        ];
        table(&plain(width), &head, &rows)
    }

    #[test]
    fn columns_are_aligned() {
        let wanted = "\
DEVICE  STORED  MODEL
bank-a    1204  快递柜 LB-24
d            7  a?[31m longer model
";
        assert_eq!(sample(None), wanted);
    }

    #[test]
    fn a_narrow_terminal_cuts_what_stretches() {
        let wanted = "\
DEVICE  STORED  MODEL
bank-a    1204  快递柜..
d            7  a?[31m..
";
        assert_eq!(sample(Some(24)), wanted);
    }
}
