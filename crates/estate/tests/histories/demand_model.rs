//! The demand that should be released, by sets of names.

use std::collections::{BTreeMap, BTreeSet};

use estate::{Now, TimeQuality};

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
    open: BTreeMap<(i64, String, String), Count>,
    closed: BTreeSet<i64>,
}

impl DemandModel {
    pub fn count(
        &mut self,
        now: &Now,
        at_ms: i64,
        building: &str,
        series: &str,
        number: u64,
        who: &str,
    ) {
        let at_ms = at_ms.min(now.wall_ms);
        let hour = at_ms - at_ms.rem_euclid(HOUR_MS);
        let over = now.wall_ms >= hour + HOUR_MS + LATENESS_MS;
        if now.quality == TimeQuality::Unknown || over || self.closed.contains(&hour) {
            return;
        }
        let count = self
            .open
            .entry((hour, building.into(), series.into()))
            .or_default();
        count.number += number;
        count.who.insert(who.into());
    }

    pub fn close(&mut self, now: &Now) -> Vec<Release> {
        let mut out = Vec::new();
        if now.quality == TimeQuality::Unknown {
            return out;
        }
        let hours: BTreeSet<_> = self.open.keys().map(|(hour, _, _)| *hour).collect();
        for hour in hours {
            let ahead = hour > now.wall_ms + 24 * HOUR_MS;
            if now.wall_ms < hour + HOUR_MS + LATENESS_MS && !ahead {
                continue;
            }
            if !ahead {
                self.closed.insert(hour);
            }
            let mut released: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
            let mut rest: BTreeMap<String, Count> = BTreeMap::new();
            for ((h, building, series), count) in std::mem::take(&mut self.open) {
                if h != hour {
                    self.open.insert((h, building, series), count);
                } else if count.who.len() >= K {
                    released
                        .entry(building)
                        .or_default()
                        .insert(series, count.number);
                } else {
                    let all = rest.entry(series).or_default();
                    all.number += count.number;
                    all.who.extend(count.who);
                }
            }
            if ahead {
                continue;
            }
            out.extend(
                released
                    .into_iter()
                    .map(|(building, series)| (Some(building), hour, series)),
            );
            rest.retain(|_, count| count.who.len() >= K);
            if !rest.is_empty() {
                let series = rest
                    .into_iter()
                    .map(|(series, count)| (series, count.number));
                out.push((None, hour, series.collect()));
            }
        }
        out
    }
}
