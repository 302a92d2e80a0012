//! What the screen shows at one moment, gathered from all sides.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use simulator::world::Point;
use simulator::{Latency, Tempo, World};

use super::books::{Books, Cell, Glance, Holds};
use super::plan::{self, BANKS};
use super::script::BEGIN_MS;
use super::stage::key_to_open;
use super::story::{Counts, Story};
use super::wiring::{BOARDED, PANEL};

/// Where a view is gathered from.
pub(super) struct Sources {
    pub(super) tempo: Tempo,
    pub(super) story: Arc<Story>,
    pub(super) world: Arc<World>,
    pub(super) cloud_up: Arc<AtomicBool>,
    pub(super) books: Books,
    /// Acknowledged events at some moments, for the rate.
    acknowledged: VecDeque<(Instant, u64)>,
    /// The longest backlog so far: the bar's full length.
    backlog_most: u64,
    glance: Glance,
}

/// One moment.
pub(super) struct View {
    pub(super) at_ms: i64,
    pub(super) banks: Vec<BankView>,
    pub(super) shelf: usize,
    pub(super) cloud_up: bool,
    pub(super) backlog: u64,
    pub(super) backlog_most: u64,
    pub(super) delivered: u64,
    pub(super) acknowledged: u64,
    pub(super) per_second: u64,
    pub(super) again: u64,
    pub(super) expected: u64,
    pub(super) deposited: u64,
    pub(super) collected: u64,
    pub(super) counts: Counts,
    pub(super) key_to_open: Latency,
}

/// A bank at one moment.
pub(super) struct BankView {
    pub(super) name: &'static str,
    pub(super) cells: Vec<(Cell, char)>,
    /// Its keypad takes nothing.
    pub(super) locked: bool,
}

/// Over how long the rate of events is taken.
const RATE_OVER: Duration = Duration::from_secs(2);
const FREE: Cell = Cell {
    holds: Holds::Nothing,
    open: false,
    faulty: false,
};

impl Sources {
    pub(super) fn new(
        tempo: Tempo,
        story: Arc<Story>,
        world: Arc<World>,
        cloud_up: Arc<AtomicBool>,
        books: Books,
    ) -> Self {
        Self {
            tempo,
            story,
            world,
            cloud_up,
            books,
            acknowledged: VecDeque::new(),
            backlog_most: 0,
            glance: Glance::default(),
        }
    }

    /// The present moment. Where the store can't be read just now, its last glance stays.
    pub(super) fn view(&mut self) -> View {
        if let Ok(glance) = self.books.glance() {
            self.glance = glance;
        }
        let tallies: Vec<_> = self.world.all_devices().iter().map(|d| d.tally()).collect();
        let acknowledged = tallies.iter().map(|t| t.acknowledged).sum();
        self.backlog_most = self.backlog_most.max(self.glance.backlog);
        let stage = |name: &str| self.glance.stages.get(name).copied().unwrap_or(0);
        let at_ms = self.tempo.now_ms();
        View {
            at_ms,
            banks: BANKS
                .into_iter()
                .map(|bank| self.bank(bank, at_ms))
                .collect(),
            shelf: self.shelf(),
            cloud_up: self.cloud_up.load(Ordering::Relaxed),
            backlog: self.glance.backlog,
            backlog_most: self.backlog_most,
            delivered: self.glance.delivered,
            per_second: 0,
            again: tallies.iter().map(|t| t.resent).sum(),
            expected: stage("expected") + stage("depositing"),
            deposited: stage("deposited") + stage("collecting"),
            collected: stage("collected"),
            counts: self.story.counts(),
            key_to_open: key_to_open(&self.world),
            acknowledged,
        }
        .with_rate(&mut self.acknowledged)
    }

    fn bank(&self, name: &'static str, at_ms: i64) -> BankView {
        let cells = (1..=plan::compartments(name)).map(|number| {
            let cell = self.glance.cells.get(&(name.to_string(), number));
            (cell.copied().unwrap_or(FREE), zone(name, number))
        });
        // The store is new, so its ticks began with the play.
        let tick_ms = u64::try_from(at_ms - BEGIN_MS).unwrap_or(0);
        // A bank on locker boards has its keypad beside it.
        let beside = (name == BOARDED).then_some(PANEL);
        let keypads = [Some(name), beside].into_iter().flatten();
        let until = keypads.filter_map(|keypad| self.glance.locked_until.get(keypad));
        BankView {
            name,
            cells: cells.collect(),
            locked: until.max().is_some_and(|until| *until > tick_ms),
        }
    }

    fn shelf(&self) -> usize {
        let points = self.world.points.values();
        points
            .map(|point| match point {
                Point::Desk(desk) => desk.shelf().len(),
                Point::Bank(_) => 0,
            })
            .sum()
    }
}

impl View {
    fn with_rate(mut self, seen: &mut VecDeque<(Instant, u64)>) -> Self {
        let now = Instant::now();
        seen.push_back((now, self.acknowledged));
        while seen
            .front()
            .is_some_and(|(then, _)| now - *then > RATE_OVER)
        {
            seen.pop_front();
        }
        if let Some((then, before)) = seen.front() {
            let seconds = (now - *then).as_secs_f64().max(0.1);
            let more = self.acknowledged.saturating_sub(*before) as f64;
            self.per_second = (more / seconds).round() as u64;
        }
        self
    }
}

/// `c` for a chilled compartment, `f` for a frozen one.
fn zone(bank: &str, number: u16) -> char {
    let mut left = number;
    for run in plan::COMPARTMENTS.iter().filter(|run| run.bank == bank) {
        if left <= run.count {
            return match run.zone.word() {
                "chilled" => 'c',
                "frozen" => 'f',
                _ => ' ',
            };
        }
        left -= run.count;
    }
    ' '
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cold_compartments_are_marked_where_they_are() {
        let zones = |bank: &str| -> String {
            (1..=plan::compartments(bank))
                .map(|number| zone(bank, number))
                .collect()
        };
        assert_eq!(zones("bank-a"), "                cc");
        assert_eq!(zones("bank-b"), "         ccf");
    }
}
