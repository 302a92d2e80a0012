//! What the operator sets about hand-overs: the section `[rules]`.

use super::fault::Faults;
use cloud_protocol::downlink::Size;
use estate::layout::{Rules, Unlisted};
use serde::Deserialize;

/// What the operator sets about hand-overs; see [`estate::layout::Rules`] for each.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct RulesSection {
    pub command_ttl_s: Option<u64>,
    pub courier_session_s: Option<u64>,
    pub door_open_alarm_s: Option<u64>,
    pub reopen_grace_s: Option<u64>,
    pub code_rest_h: Option<u64>,
    pub code_min_digits: Option<u8>,
    pub code_max_digits: Option<u8>,
    pub guess_one_in: Option<u32>,
    pub lockout_after: Option<u32>,
    pub lockout_first_s: Option<u64>,
    pub lockout_longest_s: Option<u64>,
    pub demand_k: Option<u32>,
    pub demand_lateness_s: Option<u64>,
    pub finished_keep_days: Option<u64>,
    pub share_compartments: Option<bool>,
    pub no_sensor_hold_s: Option<u64>,
    /// `refuse`, `desk` or `accept`.
    pub unlisted: Option<String>,
    /// `S`, `M` or `L`.
    pub unlisted_size: Option<String>,
    pub retention_h: Option<u64>,
    pub command_retry_s: Option<u64>,
}

impl RulesSection {
    pub(super) fn rules(&self) -> Rules {
        let d = Rules::default();
        let seconds = |set: Option<u64>, default: u64| set.map_or(default, |s| times(s, 1_000));
        Rules {
            command_ttl_ms: seconds(self.command_ttl_s, d.command_ttl_ms),
            courier_session_ms: seconds(self.courier_session_s, d.courier_session_ms),
            door_open_alarm_ms: seconds(self.door_open_alarm_s, d.door_open_alarm_ms),
            reopen_grace_ms: seconds(self.reopen_grace_s, d.reopen_grace_ms),
            code_rest_ms: self
                .code_rest_h
                .map_or(d.code_rest_ms, |h| times(h, 3_600_000)),
            code_min_digits: self.code_min_digits.unwrap_or(d.code_min_digits),
            code_max_digits: self.code_max_digits.unwrap_or(d.code_max_digits),
            guess_one_in: self.guess_one_in.unwrap_or(d.guess_one_in),
            lockout_after: self.lockout_after.unwrap_or(d.lockout_after),
            lockout_first_ms: seconds(self.lockout_first_s, d.lockout_first_ms),
            lockout_longest_ms: seconds(self.lockout_longest_s, d.lockout_longest_ms),
            demand_k: self.demand_k.unwrap_or(d.demand_k),
            demand_lateness_ms: seconds(self.demand_lateness_s, d.demand_lateness_ms),
            finished_keep_ms: self
                .finished_keep_days
                .map_or(d.finished_keep_ms, |days| times(days, 86_400_000)),
            share_compartments: self.share_compartments.unwrap_or(d.share_compartments),
            no_sensor_hold_ms: seconds(self.no_sensor_hold_s, d.no_sensor_hold_ms),
            unlisted: word(self.unlisted.as_ref(), Unlisted::WORDS).unwrap_or(d.unlisted),
            unlisted_size: word(self.unlisted_size.as_ref(), Size::WORDS)
                .unwrap_or(d.unlisted_size),
            retention_ms: self
                .retention_h
                .map_or(d.retention_ms, |h| times(h, 3_600_000)),
            command_retry_ms: seconds(self.command_retry_s, d.command_retry_ms),
        }
    }

    pub(super) fn check(&self, errors: &mut Faults) {
        let mut within = |name: &str, set: Option<u64>, low: u64, high: u64| {
            if let Some(n) = set.filter(|n| !(low..=high).contains(n)) {
                errors.push(format!("rules.{name} is {n}, {low} to {high} is allowed"));
            }
        };
        within("command_ttl_s", self.command_ttl_s, 1, 600);
        within("courier_session_s", self.courier_session_s, 10, 86_400);
        within("door_open_alarm_s", self.door_open_alarm_s, 5, 86_400);
        within("reopen_grace_s", self.reopen_grace_s, 0, 3_600);
        within("code_rest_h", self.code_rest_h, 1, 8_760);
        let digits = |n: Option<u8>| n.map(u64::from);
        within("code_min_digits", digits(self.code_min_digits), 4, 12);
        within("code_max_digits", digits(self.code_max_digits), 4, 12);
        within(
            "guess_one_in",
            self.guess_one_in.map(u64::from),
            10,
            1_000_000_000,
        );
        within("lockout_after", self.lockout_after.map(u64::from), 1, 100);
        within("lockout_first_s", self.lockout_first_s, 1, 86_400);
        within("lockout_longest_s", self.lockout_longest_s, 1, 86_400);
        within("demand_k", self.demand_k.map(u64::from), 2, 1_000);
        within("demand_lateness_s", self.demand_lateness_s, 0, 86_400);
        within("finished_keep_days", self.finished_keep_days, 1, 3_650);
        within("no_sensor_hold_s", self.no_sensor_hold_s, 0, 86_400);
        within("retention_h", self.retention_h, 1, 8_760);
        within("command_retry_s", self.command_retry_s, 1, 600);
        one_of("unlisted", self.unlisted.as_ref(), Unlisted::WORDS, errors);
        one_of(
            "unlisted_size",
            self.unlisted_size.as_ref(),
            Size::WORDS,
            errors,
        );
        let rules = self.rules();
        if rules.code_min_digits > rules.code_max_digits {
            errors.push(format!(
                "rules.code_min_digits is {}, more than code_max_digits, {}: exchange them",
                rules.code_min_digits, rules.code_max_digits
            ));
        }
        if rules.lockout_first_ms > rules.lockout_longest_ms {
            errors.push(
                "rules.lockout_first_s is longer than lockout_longest_s: exchange them".to_owned(),
            );
        }
    }
}

/// Milliseconds. What is too much for them is refused by its bound; until then it is the most there is.
fn times(n: u64, ms: u64) -> u64 {
    n.saturating_mul(ms)
}

fn word<T: Copy>(set: Option<&String>, words: &[(&str, T)]) -> Option<T> {
    let found = words
        .iter()
        .find(|(word, _)| Some(*word) == set.map(String::as_str));
    found.map(|(_, meaning)| *meaning)
}

fn one_of<T: Copy>(name: &str, set: Option<&String>, words: &[(&str, T)], errors: &mut Faults) {
    if let (Some(text), None) = (set, word(set, words)) {
        let allowed: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        errors.push(format!(
            "rules.{name} is '{text}', allowed are {}",
            allowed.join(", ")
        ));
    }
}
