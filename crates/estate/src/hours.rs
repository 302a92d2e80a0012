//! The running counts of demand: cells while their hour is open, marks when it is closed.
//!
//! The rules of release stand in [`crate::demand`].

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use cloud_protocol::uplink::DemandReport;
use firmware_protocols::Ident;

use crate::demand::{Cell, CellKey, HOUR_MS, HOUSEHOLDS_MAX, INTENTS_MAX, MARKS_MAX};
use crate::layout::Rules;
use crate::tracked::Tracked;
use crate::{Change, Now};

/// The running counts.
#[derive(Clone)]
pub(crate) struct Demand {
    cells: Tracked<CellKey, Tally>,
    new_households: Vec<(CellKey, u64)>,
    /// The hours that have cells.
    open: BTreeSet<i64>,
    /// The closed hours that are remembered.
    marks: BTreeSet<i64>,
    late: u64,
}

/// A count and its distinct households.
#[derive(Clone, Default, PartialEq)]
struct Tally {
    count: u64,
    households: BTreeSet<u64>,
}

impl PartialEq for Demand {
    fn eq(&self, other: &Self) -> bool {
        self.cells == other.cells
    }
}

impl Demand {
    pub(crate) fn load(
        cells: BTreeMap<CellKey, Cell>,
        mut households: BTreeMap<CellKey, BTreeSet<u64>>,
    ) -> Self {
        let hours = |open: bool| {
            let of = cells.values().filter(move |cell| (cell.count > 0) == open);
            of.map(|cell| cell.key.start_ms).collect()
        };
        let (open, marks) = (hours(true), hours(false));
        let tally = |(key, cell): (CellKey, Cell)| {
            let households = households.remove(&key).unwrap_or_default();
            let count = cell.count;
            (key, Tally { count, households })
        };
        Self {
            cells: cells.into_iter().map(tally).collect(),
            new_households: Vec::new(),
            open,
            marks,
            late: 0,
        }
    }

    pub(crate) const fn late(&self) -> u64 {
        self.late
    }

    /// What must be written: cells, then their new households.
    pub(crate) fn drain(&mut self, out: &mut Vec<Change>) {
        let cell = |key: CellKey, tally: Option<&Tally>| {
            Some(match tally {
                Some(Tally { count, .. }) => Change::Cell(Cell { key, count: *count }),
                None => Change::CellGone(key),
            })
        };
        self.cells.drain(cell, out);
        let new = core::mem::take(&mut self.new_households);
        out.extend(
            new.into_iter()
                .map(|(cell, household)| Change::CellHousehold { cell, household }),
        );
    }

    #[allow(clippy::too_many_arguments)]
    pub(crate) fn count(
        &mut self,
        now: &Now,
        rules: &Rules,
        at_ms: i64,
        building: &Ident,
        series: &str,
        quantity: u64,
        household: Option<u64>,
    ) {
        let start_ms = hour_of(at_ms.min(now.wall_ms));
        if !now.wall_known() || self.is_closed(now, rules, start_ms) {
            self.late = self.late.saturating_add(1);
            return;
        }
        let mut key = CellKey {
            start_ms,
            building: Some(building.clone()),
            series: series.to_string(),
        };
        if !self.cells.contains(&key) {
            if series.starts_with("intent:") && self.intents(&key) >= INTENTS_MAX {
                key.series = "intent:other".to_string();
            }
            self.open.insert(start_ms);
            if !self.cells.contains(&key) {
                self.cells.insert(key.clone(), Tally::default());
            }
        }
        let Some(tally) = self.cells.get_mut(&key) else {
            return;
        };
        tally.count = tally.count.saturating_add(quantity.max(1));
        if let Some(household) = household
            && tally.households.len() < HOUSEHOLDS_MAX
            && tally.households.insert(household)
        {
            self.new_households.push((key, household));
        }
    }

    /// How many items of intents a cell's hour and building count apart.
    fn intents(&self, key: &CellKey) -> usize {
        let at = |series: &str| CellKey {
            series: series.to_string(),
            ..key.clone()
        };
        self.cells.range(at("intent:"), at("intent;")).count()
    }

    fn is_closed(&self, now: &Now, rules: &Rules, start_ms: i64) -> bool {
        let forgotten = self.marks.len() >= MARKS_MAX
            && self.marks.first().is_some_and(|first| start_ms < *first);
        over(now, rules, start_ms) || forgotten || self.marks.contains(&start_ms)
    }

    /// Releases, folds and deletes the hours that are over, oldest first.
    pub(crate) fn close(&mut self, now: &Now, rules: &Rules) -> Vec<DemandReport> {
        let mut out = Vec::new();
        if !now.wall_known() {
            return out;
        }
        while let Some(start_ms) = self
            .open
            .first()
            .copied()
            .filter(|start| over(now, rules, *start))
        {
            self.open.remove(&start_ms);
            self.release(rules, start_ms, &mut out);
        }
        // A clock that was ahead has dated these: nobody knows when they were, so they are withheld.
        while let Some(start_ms) = self
            .open
            .last()
            .copied()
            .filter(|start| *start > now.wall_ms.saturating_add(24 * HOUR_MS))
        {
            self.open.remove(&start_ms);
            self.take_hour(start_ms);
        }
        out
    }

    fn release(&mut self, rules: &Rules, start_ms: i64, out: &mut Vec<DemandReport>) {
        let k = usize::try_from(rules.demand_k.max(1)).unwrap_or(usize::MAX);
        let mut buildings: BTreeMap<Ident, BTreeMap<String, u64>> = BTreeMap::new();
        let mut folded: BTreeMap<String, Tally> = BTreeMap::new();
        for (key, tally) in self.take_hour(start_ms) {
            match key.building {
                Some(building) if tally.households.len() >= k => {
                    let series = buildings.entry(building).or_default();
                    series.insert(key.series, tally.count);
                }
                _ => {
                    let all = folded.entry(key.series).or_default();
                    all.count = all.count.saturating_add(tally.count);
                    all.households.extend(tally.households);
                }
            }
        }
        let report = |building, series| DemandReport {
            building,
            start: start_ms,
            minutes: 60,
            revision: 1,
            series,
        };
        out.extend(
            buildings
                .into_iter()
                .map(|(building, series)| report(Some(building), series)),
        );
        let site: BTreeMap<_, _> = folded
            .into_iter()
            .filter(|(_, tally)| tally.households.len() >= k)
            .map(|(series, tally)| (series, tally.count))
            .collect();
        if !site.is_empty() {
            out.push(report(None, site));
        }
        self.mark(start_ms);
    }

    /// Takes out the cells of an hour, with their households.
    fn take_hour(&mut self, start_ms: i64) -> Vec<(CellKey, Tally)> {
        let (first, next) = (hour_key(start_ms), hour_key(start_ms.saturating_add(1)));
        let all = self.cells.range(first, next).map(|(key, _)| key);
        let keys: Vec<_> = all
            .filter(|key| key.start_ms == start_ms)
            .cloned()
            .collect();
        self.new_households
            .retain(|(key, _)| key.start_ms != start_ms);
        let taken = keys.into_iter().filter_map(|key| {
            let tally = self.cells.remove(&key)?;
            Some((key, tally))
        });
        taken.collect()
    }

    /// Remembers that an hour is closed.
    fn mark(&mut self, start_ms: i64) {
        let key = hour_key(start_ms);
        self.cells.insert(key, Tally::default());
        self.marks.insert(start_ms);
        while self.marks.len() > MARKS_MAX {
            let Some(oldest) = self.marks.pop_first() else {
                return;
            };
            self.cells.remove(&hour_key(oldest));
        }
    }
}

/// The mark of an hour, which also sorts before all its cells.
const fn hour_key(start_ms: i64) -> CellKey {
    CellKey {
        start_ms,
        building: None,
        series: String::new(),
    }
}

fn hour_of(at_ms: i64) -> i64 {
    at_ms.saturating_sub(at_ms.rem_euclid(HOUR_MS))
}

fn over(now: &Now, rules: &Rules, start_ms: i64) -> bool {
    let lateness = i64::try_from(rules.demand_lateness_ms).unwrap_or(i64::MAX);
    now.wall_ms >= start_ms.saturating_add(HOUR_MS).saturating_add(lateness)
}
