//! The cloud's settings: numbers by name, kept whether known or not, in force only within limits.
//!
//! Known names, with the range in which they take force; outside of it, and under any other name,
//! a number is kept and shown but changes nothing:
//!
//! | name | range | what |
//! |---|---|---|
//! | `courier_session_ms` | 10,000 to 3,600,000 | how long a courier stays known after a scan |
//! | `door_open_alarm_ms` | 10,000 to 3,600,000 | when a door left open raises an alarm |
//! | `reopen_grace_ms` | 0 to 600,000 | how long a used code opens again |
//! | `demand_k` | the configured one to 1,000 | the fewest households for a count to leave |
//!
//! Invariant: no setting weakens what protects residents. Code length, lockout and command expiry
//! are the configuration's alone, and `demand_k` can only be raised.

use alloc::collections::BTreeMap;
use alloc::string::String;

use crate::Verdict;
use crate::estate::Estate;
use crate::layout::Rules;

/// The most names kept; a new one beyond is refused.
pub const SETTINGS_MAX: usize = 256;

impl Estate {
    pub(crate) fn take_settings(&mut self, settings: BTreeMap<String, i64>) -> Verdict {
        let new = settings
            .keys()
            .filter(|name| !self.settings.contains(*name))
            .count();
        if self.settings.len() + new > SETTINGS_MAX {
            return Verdict::Refused(alloc::format!(
                "{new} new settings, but at most {SETTINGS_MAX} are kept: use the known names"
            ));
        }
        for (name, value) in settings {
            if self.settings.get(&name) != Some(&value) {
                self.settings.insert(name, value);
            }
        }
        let all = self
            .settings
            .iter()
            .map(|(name, value)| (name.clone(), *value))
            .collect();
        self.rules = effective(&self.layout.rules, &all);
        Verdict::Taken
    }
}

/// The configured rules with what the settings change of them.
pub(crate) fn effective(rules: &Rules, settings: &BTreeMap<String, i64>) -> Rules {
    let within = |name: &str, min: u64, max: u64| {
        let value = settings
            .get(name)
            .and_then(|value| u64::try_from(*value).ok())?;
        (min..=max).contains(&value).then_some(value)
    };
    let mut rules = rules.clone();
    if let Some(ms) = within("courier_session_ms", 10_000, 3_600_000) {
        rules.courier_session_ms = ms;
    }
    if let Some(ms) = within("door_open_alarm_ms", 10_000, 3_600_000) {
        rules.door_open_alarm_ms = ms;
    }
    if let Some(ms) = within("reopen_grace_ms", 0, 600_000) {
        rules.reopen_grace_ms = ms;
    }
    if let Some(k) = within("demand_k", u64::from(rules.demand_k), 1_000) {
        rules.demand_k = u32::try_from(k).unwrap_or(rules.demand_k);
    }
    rules
}
