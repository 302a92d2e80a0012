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
pub(crate) struct Demand {
    cells: Tracked<CellKey, Cell>,
    households: BTreeMap<CellKey, BTreeSet<u64>>,
    new_households: Vec<(CellKey, u64)>,
    open: BTreeSet<i64>,
    marks: BTreeSet<i64>,
    late: u64,
}

impl PartialEq for Demand {
    fn eq(&self, other: &Self) -> bool {
        self.cells == other.cells && self.households == other.households
    }
}

impl Demand {
    pub(crate) fn load(
        cells: BTreeMap<CellKey, Cell>,
        households: BTreeMap<CellKey, BTreeSet<u64>>,
    ) -> Self {
        let hours = |open: bool| {
            let of = cells.values().filter(move |cell| (cell.count > 0) == open);
            of.map(|cell| cell.key.start_ms).collect()
        };
        Self {
            open: hours(true),
            marks: hours(false),
            cells: cells.into(),
            households,
            new_households: Vec::new(),
            late: 0,
        }
    }

    pub(crate) const fn late(&self) -> u64 {
        self.late
    }

    /// What must be written: cells, then their new households.
    pub(crate) fn drain(&mut self, out: &mut Vec<Change>) {
        out.extend(
            self.cells
                .drain()
                .map(|(key, cell)| cell.map_or(Change::CellGone(key), Change::Cell)),
        );
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
        }
        let cell = self.cells.get_or_insert_with(&key, || Cell {
            key: key.clone(),
            count: 0,
        });
        cell.count = cell.count.saturating_add(quantity.max(1));
        if let Some(household) = household {
            self.note_household(key, household);
        }
    }

    fn note_household(&mut self, key: CellKey, household: u64) {
        let Some(seen) = self.households.get_mut(&key) else {
            self.households
                .insert(key.clone(), BTreeSet::from([household]));
            self.new_households.push((key, household));
            return;
        };
        if seen.len() < HOUSEHOLDS_MAX && seen.insert(household) {
            self.new_households.push((key, household));
        }
    }

    /// How many items of intents a cell's hour and building count apart.
    fn intents(&self, key: &CellKey) -> usize {
        let at = |series: &str| CellKey {
            series: series.to_string(),
            ..key.clone()
        };
        self.cells.range(&at("intent:"), &at("intent;")).count()
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
            self.release(&withhold(rules), start_ms, &mut out);
        }
        out
    }

    fn release(&mut self, rules: &Rules, start_ms: i64, out: &mut Vec<DemandReport>) {
        let k = usize::try_from(rules.demand_k.max(1)).unwrap_or(usize::MAX);
        let mut buildings: BTreeMap<Ident, BTreeMap<String, u64>> = BTreeMap::new();
        let mut folded: BTreeMap<String, (u64, BTreeSet<u64>)> = BTreeMap::new();
        for (cell, households) in self.take_hour(start_ms) {
            let CellKey {
                building, series, ..
            } = cell.key;
            match building {
                Some(building) if households.len() >= k => {
                    buildings
                        .entry(building)
                        .or_default()
                        .insert(series, cell.count);
                }
                _ => {
                    let (count, all) = folded.entry(series).or_default();
                    *count = count.saturating_add(cell.count);
                    all.extend(households);
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
        let enough = folded
            .into_iter()
            .filter(|(_, (_, households))| households.len() >= k);
        let site: BTreeMap<_, _> = enough.map(|(series, (count, _))| (series, count)).collect();
        if !site.is_empty() {
            out.push(report(None, site));
        }
        self.mark(start_ms);
    }

    /// Takes out the cells of an hour, with their households.
    fn take_hour(&mut self, start_ms: i64) -> Vec<(Cell, BTreeSet<u64>)> {
        let (first, next) = (hour_key(start_ms), hour_key(start_ms.saturating_add(1)));
        let keys: Vec<_> = self
            .cells
            .range(&first, &next)
            .map(|(key, _)| key.clone())
            .collect();
        self.new_households
            .retain(|(key, _)| key.start_ms != start_ms);
        let cells = keys
            .into_iter()
            .filter(|key| key.start_ms == start_ms)
            .filter_map(|key| {
                let cell = self.cells.remove(&key)?;
                Some((cell, self.households.remove(&key).unwrap_or_default()))
            });
        cells.collect()
    }

    /// Remembers that an hour is closed.
    fn mark(&mut self, start_ms: i64) {
        let key = hour_key(start_ms);
        self.cells.insert(key.clone(), Cell { key, count: 0 });
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

/// Rules under which nothing is released.
fn withhold(rules: &Rules) -> Rules {
    Rules {
        demand_k: u32::MAX,
        ..rules.clone()
    }
}

fn hour_of(at_ms: i64) -> i64 {
    at_ms.saturating_sub(at_ms.rem_euclid(HOUR_MS))
}

fn over(now: &Now, rules: &Rules, start_ms: i64) -> bool {
    let lateness = i64::try_from(rules.demand_lateness_ms).unwrap_or(i64::MAX);
    now.wall_ms >= start_ms.saturating_add(HOUR_MS).saturating_add(lateness)
}
