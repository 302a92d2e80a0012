//! The demand that should be released, by sets of names: comings, goings and intents. (What parcels
//! count is tried in the behaviour tests.)

use std::collections::{BTreeMap, BTreeSet};

use estate::{Now, TimeQuality};
use firmware_protocols::Ident;
use firmware_protocols::event::Direction;

use crate::field::Said;
use crate::keep;
use crate::record::Kept;

const HOUR_MS: i64 = 3_600_000;
const LATENESS_MS: i64 = 120_000;
const K: usize = 5;

/// What leaves: the building or the site, the hour, the counts.
pub type Release = (Option<String>, i64, BTreeMap<String, u64>);

#[derive(Clone, Default)]
struct Count {
    number: u64,
    who: BTreeSet<String>,
}

#[derive(Clone, Default)]
pub struct DemandModel {
    /// By hour, building, series.
    open: BTreeMap<(i64, &'static str, String), Count>,
    closed: BTreeSet<i64>,
    /// Hours in which parcels were counted: they close too.
    others: BTreeSet<i64>,
    due: Vec<Release>,
    pub released: u64,
}

impl DemandModel {
    /// Something was said by a device for the first time.
    pub fn happened(&mut self, now: &Now, at_ms: i64, device: &Ident, said: &Said) {
        let (series, number, who) = match said {
            Said::Access(Direction::In, who) => ("comings".to_string(), 1, who),
            Said::Access(Direction::Out, who) => ("goings".to_string(), 1, who),
            Said::Intent(item, quantity, who) => {
                (format!("intent:{item}"), u64::from(*quantity), who)
            }
            _ => return,
        };
        let at_ms = at_ms.min(now.wall_ms);
        let hour = at_ms - at_ms.rem_euclid(HOUR_MS);
        if now.quality == TimeQuality::Unknown || over(now, hour) || self.closed.contains(&hour) {
            return;
        }
        let building = if device.as_str() == "door-1" {
            "b1"
        } else {
            "b2"
        };
        let count = self.open.entry((hour, building, series)).or_default();
        count.number += number;
        count.who.insert(who.clone());
    }

    /// A parcel was counted.
    pub fn counted(&mut self, hour: i64, series: &str) {
        if !compared(series) && !series.is_empty() {
            self.others.insert(hour);
        }
    }

    /// The box looks at its clock.
    pub fn close(&mut self, now: &Now) {
        if now.quality == TimeQuality::Unknown {
            return;
        }
        let open = self.open.keys().map(|(hour, ..)| *hour);
        let hours: BTreeSet<_> = open.chain(std::mem::take(&mut self.others)).collect();
        for hour in hours {
            let ahead = hour > now.wall_ms + 24 * HOUR_MS;
            if over(now, hour) {
                self.release(hour);
            } else if ahead {
                self.open.retain(|(h, ..), _| *h != hour);
            } else {
                self.others.insert(hour);
            }
        }
    }

    fn release(&mut self, hour: i64) {
        self.closed.insert(hour);
        let mut buildings: BTreeMap<&str, BTreeMap<String, u64>> = BTreeMap::new();
        let mut rest: BTreeMap<String, Count> = BTreeMap::new();
        for ((h, building, series), count) in std::mem::take(&mut self.open) {
            if h != hour {
                self.open.insert((h, building, series), count);
            } else if count.who.len() >= K {
                buildings
                    .entry(building)
                    .or_default()
                    .insert(series, count.number);
            } else {
                let all = rest.entry(series).or_default();
                all.number += count.number;
                all.who.extend(count.who);
            }
        }
        let own = buildings.into_iter();
        self.due
            .extend(own.map(|(building, series)| (Some(building.into()), hour, series)));
        rest.retain(|_, count| count.who.len() >= K);
        if !rest.is_empty() {
            let series = rest
                .into_iter()
                .map(|(series, count)| (series, count.number));
            self.due.push((None, hour, series.collect()));
        }
    }

    /// Demand is released once, and only what enough households share.
    pub fn check(&mut self, reported: Vec<Release>) -> Kept {
        let mut said = reported;
        for (_, _, series) in &mut said {
            series.retain(|name, _| compared(name));
        }
        said.retain(|(_, _, series)| !series.is_empty());
        let due = std::mem::take(&mut self.due);
        keep!(
            "demand is released once",
            said == due,
            "{due:?} is due, {said:?} is said"
        );
        self.released += due.len() as u64;
        Ok(())
    }
}

fn compared(series: &str) -> bool {
    ["comings", "goings"].contains(&series) || series.starts_with("intent:")
}

const fn over(now: &Now, hour: i64) -> bool {
    now.wall_ms >= hour + HOUR_MS + LATENESS_MS
}
