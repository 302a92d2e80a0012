//! How much a device may send: the section `[limits]`.

use serde::Deserialize;

use super::fault::Faults;
use crate::pace::Limits;

/// How much a device may send; see [`Limits`] for each. A rate of 0 is no limit.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct LimitsSection {
    pub events_per_s: Option<u32>,
    pub events_burst: Option<u32>,
    pub urgent_per_s: Option<u32>,
    pub urgent_burst: Option<u32>,
    pub kib_per_s: Option<u32>,
    pub kib_burst: Option<u32>,
}

impl LimitsSection {
    pub(super) fn limits(&self) -> Limits {
        let d = Limits::default();
        Limits {
            events_per_s: self.events_per_s.unwrap_or(d.events_per_s),
            events_burst: self.events_burst.unwrap_or(d.events_burst),
            urgent_per_s: self.urgent_per_s.unwrap_or(d.urgent_per_s),
            urgent_burst: self.urgent_burst.unwrap_or(d.urgent_burst),
            kib_per_s: self.kib_per_s.unwrap_or(d.kib_per_s),
            kib_burst: self.kib_burst.unwrap_or(d.kib_burst),
        }
    }

    pub(super) fn check(&self, errors: &mut Faults) {
        let mut rate = |name: &str, set: Option<u32>, low: u32, high: u32| {
            if let Some(n) = set.filter(|n| *n != 0 && !(low..=high).contains(n)) {
                errors.push(format!(
                    "limits.{name} is {n}, {low} to {high} is allowed, or 0 for no limit"
                ));
            }
        };
        rate("events_per_s", self.events_per_s, 1, 100_000);
        rate("urgent_per_s", self.urgent_per_s, 1, 100_000);
        rate("kib_per_s", self.kib_per_s, 16, 1_000_000);
        let limits = self.limits();
        let mut burst = |name: &str,
                         burst: u32,
                         rate_name: &str,
                         rate: u32,
                         low: u32,
                         high: u32| {
            let low = low.max(rate);
            if rate != 0 && !(low..=high).contains(&burst) {
                errors.push(format!(
                    "limits.{name} is {burst}, {low} to {high} is allowed with {rate_name} = {rate}: a burst holds at least one second, and one full publication"
                ));
            }
        };
        burst(
            "events_burst",
            limits.events_burst,
            "events_per_s",
            limits.events_per_s,
            256,
            10_000_000,
        );
        burst(
            "urgent_burst",
            limits.urgent_burst,
            "urgent_per_s",
            limits.urgent_per_s,
            256,
            10_000_000,
        );
        burst(
            "kib_burst",
            limits.kib_burst,
            "kib_per_s",
            limits.kib_per_s,
            128,
            2_000_000,
        );
    }
}
