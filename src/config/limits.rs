//! How much a device may send: the section `[limits]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fault::Faults;
use crate::pace::Limits;

/// The highest rate of events, and the largest burst of them.
const EVENTS: (u32, u32) = (100_000, 10_000_000);
/// The highest rate of KiB, and the largest burst of them.
const KIB: (u32, u32) = (1_000_000, 2_000_000);
/// The lowest rate of KiB: a device could hardly say anything with less.
const KIB_LEAST: u32 = 16;
/// The smallest bursts: one full publication must fit.
const EVENTS_BURST_LEAST: u32 = 256;
const KIB_BURST_LEAST: u32 = 128;

/// How much a device may send, in the long run and at once. A rate of 0 is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    /// Events that nobody waits for, a second; 0 for no limit.
    #[schemars(range(max = EVENTS.0))]
    pub events_per_s: u32,
    /// So many of them at once.
    #[schemars(range(max = EVENTS.1))]
    pub events_burst: u32,
    /// Urgent events (keypad, scan, compartment, result, alarm), a second; 0 for no limit.
    #[schemars(range(max = EVENTS.0))]
    pub urgent_per_s: u32,
    /// So many of them at once.
    #[schemars(range(max = EVENTS.1))]
    pub urgent_burst: u32,
    /// KiB a second, with 32 bytes more for each packet; 0 for no limit, else 16 at least.
    #[schemars(range(max = KIB.0))]
    pub kib_per_s: u32,
    /// So many of them at once.
    #[schemars(range(max = KIB.1))]
    pub kib_burst: u32,
}

impl Default for LimitsSection {
    fn default() -> Self {
        let d = Limits::default();
        Self {
            events_per_s: d.events_per_s,
            events_burst: d.events_burst,
            urgent_per_s: d.urgent_per_s,
            urgent_burst: d.urgent_burst,
            kib_per_s: d.kib_per_s,
            kib_burst: d.kib_burst,
        }
    }
}

impl LimitsSection {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            events_per_s: self.events_per_s,
            events_burst: self.events_burst,
            urgent_per_s: self.urgent_per_s,
            urgent_burst: self.urgent_burst,
            kib_per_s: self.kib_per_s,
            kib_burst: self.kib_burst,
        }
    }

    pub(super) fn check(&self, errors: &mut Faults) {
        if (1..KIB_LEAST).contains(&self.kib_per_s) {
            errors.at(
                "limits.kib_per_s",
                format!(
                    "is {}; {KIB_LEAST} to {} is allowed, or 0 for no limit",
                    self.kib_per_s, KIB.0
                ),
            );
        }
        let mut burst = |name: &str, burst: u32, of: &str, rate: u32, least: u32, most: u32| {
            let least = least.max(rate);
            if rate != 0 && !(least..=most).contains(&burst) {
                errors
                    .at(
                        format!("limits.{name}"),
                        format!(
                            "is {burst}; {least} to {most} is allowed with {of} = {rate}: a burst holds at least one second, and one full publication"
                        ),
                    )
                    .rests_on(format!("limits.{of}"));
            }
        };
        burst(
            "events_burst",
            self.events_burst,
            "events_per_s",
            self.events_per_s,
            EVENTS_BURST_LEAST,
            EVENTS.1,
        );
        burst(
            "urgent_burst",
            self.urgent_burst,
            "urgent_per_s",
            self.urgent_per_s,
            EVENTS_BURST_LEAST,
            EVENTS.1,
        );
        burst(
            "kib_burst",
            self.kib_burst,
            "kib_per_s",
            self.kib_per_s,
            KIB_BURST_LEAST,
            KIB.1,
        );
    }
}
