//! The live view: the estate at the bottom of the terminal, the story scrolling above it, so that
//! the story stays when the demo is over. Every colour has a letter beside it.

use std::io::{self, Stdout, stdout};

use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::{cursor, execute, terminal};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Row, Span};
use ratatui::widgets::{Block, Paragraph, Widget};
use ratatui::{Terminal, TerminalOptions, Viewport};

use super::balance::latency;
use super::books::{Cell, Holds};
use super::story::{Line, Mood, clock};
use super::view::{BankView, View};

/// Rows of the view, its frame included.
const HEIGHT: u16 = 13;
/// A terminal with fewer rows or columns gets plain lines.
const ROWS_MIN: u16 = HEIGHT + 3;
const COLUMNS_MIN: u16 = 60;
/// Characters of the bar that shows what waits for the cloud.
const BAR: u64 = 30;

/// The live view. Dropping it gives the terminal back.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    title: String,
}

impl Screen {
    /// Takes the bottom of the terminal. `None` where it is too small or doesn't answer.
    pub(super) fn open(title: String) -> Option<Self> {
        let (columns, rows) = terminal::size().ok()?;
        if columns < COLUMNS_MIN || rows < ROWS_MIN {
            return None;
        }
        let options = TerminalOptions {
            viewport: Viewport::Inline(HEIGHT),
        };
        let terminal = Terminal::with_options(CrosstermBackend::new(stdout()), options).ok()?;
        execute!(stdout(), cursor::Hide).ok()?;
        Some(Self { terminal, title })
    }

    /// Adds lines to the story and draws the present moment.
    pub(super) fn draw(&mut self, lines: &[Line], view: &View) -> io::Result<()> {
        for line in lines {
            self.terminal.insert_before(1, |buffer| {
                let area = buffer.area;
                told(line).render(area, buffer);
            })?;
        }
        let title = self.title.clone();
        self.terminal.draw(|frame| {
            let area = frame.area();
            paint(&title, view, area, frame.buffer_mut());
        })?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let top = self.terminal.get_frame().area().y;
        // The terminal may be gone; then there is nobody to give it back to.
        let _ = self.terminal.clear();
        let _ = execute!(stdout(), cursor::MoveTo(0, top), cursor::Show);
    }
}

fn told(line: &Line) -> Row<'static> {
    let colour = match line.mood {
        Mood::Good => Color::Green,
        Mood::Bad => Color::Red,
        Mood::Calm => Color::Reset,
        Mood::Fault => Color::Magenta,
        Mood::Cloud => Color::Cyan,
    };
    let time = Span::styled(
        clock(line.at_ms, "%H:%M "),
        Style::new().fg(Color::DarkGray),
    );
    Row::from(vec![
        time,
        Span::styled(line.text.clone(), Style::new().fg(colour)),
    ])
}

/// Draws a moment into a buffer.
fn paint(title: &str, view: &View, area: Rect, buffer: &mut Buffer) {
    let now = clock(view.at_ms, " %H:%M ");
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let frame = Block::bordered()
        .title_top(Row::styled(format!(" {title} "), bold))
        .title_top(Row::styled(now, bold.fg(Color::Yellow)).right_aligned());
    let inside = frame.inner(area);
    frame.render(area, buffer);
    let mut rows: Vec<Row<'_>> = Vec::new();
    for bank in &view.banks {
        rows.extend(bank_rows(bank));
    }
    rows.push(desk_row(view));
    rows.push(legend());
    rows.push(cloud_row(view));
    rows.push(Row::from(format!(
        " events   {} acknowledged, {}/s, {} sent again",
        view.acknowledged, view.per_second, view.again
    )));
    rows.push(Row::from(format!(
        " parcels  {} expected, {} waiting, {} collected",
        view.expected, view.deposited, view.collected
    )));
    let counts = view.counts;
    rows.push(Row::from(format!(
        " people   {} at doors, {} wishes, {} refused at keypads ({} by lockout)",
        counts.at_doors, counts.wishes, counts.refused, counts.locked
    )));
    rows.push(Row::from(format!(" {}", latency(&view.key_to_open))));
    Paragraph::new(rows).render(inside, buffer);
}

/// A bank as two rows: numbers, and what is in them.
fn bank_rows(bank: &BankView) -> [Row<'static>; 2] {
    let mut numbers = vec![Span::raw(format!(" {:<8}", bank.name))];
    let locked = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
    let mut signs = vec![match bank.locked {
        true => Span::styled(" LOCKED  ", locked),
        false => Span::raw(" ".repeat(9)),
    }];
    for (n, (cell, zone)) in bank.cells.iter().enumerate() {
        let (sign, style) = appearance(*cell);
        numbers.push(Span::styled(format!("{:>2}{zone}", n + 1), style));
        signs.push(Span::styled(format!(" {sign} "), style));
        numbers.push(Span::raw(" "));
        signs.push(Span::raw(" "));
    }
    [Row::from(numbers), Row::from(signs)]
}

/// The letter and the colour of a compartment.
fn appearance(cell: Cell) -> (char, Style) {
    let on = |colour| Style::new().fg(Color::Black).bg(colour);
    match cell {
        Cell { faulty: true, .. } => ('!', on(Color::Red)),
        Cell { open: true, .. } => ('O', on(Color::Green)),
        Cell {
            holds: Holds::Parcel,
            ..
        } => ('■', on(Color::Blue)),
        Cell {
            holds: Holds::Reserved,
            ..
        } => ('r', on(Color::Yellow)),
        _ => ('·', Style::new().fg(Color::Gray).bg(Color::DarkGray)),
    }
}

fn legend() -> Row<'static> {
    let dim = Style::new().fg(Color::DarkGray);
    let text = "          · free  r reserved  ■ parcel  O open  ! faulty   c chilled  f frozen";
    Row::styled(text, dim)
}

fn desk_row(view: &View) -> Row<'static> {
    let shelf = "▪".repeat(view.shelf.min(40));
    let style = Style::new().fg(Color::Blue);
    Row::from(vec![
        Span::raw(" desk-1   "),
        Span::styled(shelf, style),
        Span::raw(format!(" {} on the shelf", view.shelf)),
    ])
}

fn cloud_row(view: &View) -> Row<'static> {
    let (word, colour) = match view.cloud_up {
        true => ("● in reach   ", Color::Green),
        false => ("○ unreachable", Color::Red),
    };
    let full = view.backlog_most.max(20);
    let filled = (view.backlog * BAR).div_ceil(full).min(BAR);
    let bar = "▮".repeat(filled as usize) + &"▯".repeat((BAR - filled) as usize);
    Row::from(vec![
        Span::raw(" cloud    "),
        Span::styled(word, Style::new().fg(colour)),
        Span::raw(" "),
        Span::styled(bar, Style::new().fg(colour)),
        Span::raw(format!(
            " {} wait, {} delivered",
            view.backlog, view.delivered
        )),
    ])
}

#[cfg(test)]
mod tests;
