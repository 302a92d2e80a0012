//! What the operator sets about hand-overs: the section `[rules]`.

use cloud_protocol::downlink::Size;
use estate::layout::{Rules, Unlisted};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::fault::Faults;
use super::texts::one_of;

const S_MS: u64 = 1_000;
const H_MS: u64 = 3_600_000;
const DAY_MS: u64 = 86_400_000;

/// What the operator sets about hand-overs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RulesSection {
    /// How long an open command holds, s.
    #[schemars(range(min = 1, max = 600))]
    pub command_ttl_s: u64,
    /// How long after it was sent a command that wasn't answered is sent again, s, within its time.
    #[schemars(range(min = 1, max = 600))]
    pub command_retry_s: u64,
    /// How long a courier stays known at a point after the last scan, s.
    #[schemars(range(min = 10, max = 86_400))]
    pub courier_session_s: u64,
    /// After how long a compartment that is open for a hand-over raises an alarm, s.
    #[schemars(range(min = 5, max = 86_400))]
    pub door_open_alarm_s: u64,
    /// How long a used code opens its compartment again, s.
    #[schemars(range(max = 3_600))]
    pub reopen_grace_s: u64,
    /// How long a dead code isn't given again, h.
    #[schemars(range(min = 1, max = 8_760))]
    pub code_rest_h: u64,
    /// The shortest code, digits.
    #[schemars(range(min = 4, max = 12))]
    pub code_min_digits: u8,
    /// The longest code, digits.
    #[schemars(range(min = 4, max = 12))]
    pub code_max_digits: u8,
    /// The chance per day to guess any live code of a point, as one in so many.
    #[schemars(range(min = 10, max = 1_000_000_000))]
    pub guess_one_in: u32,
    /// Wrong codes before a keypad locks.
    #[schemars(range(min = 1, max = 100))]
    pub lockout_after: u32,
    /// The first lockout, s; it doubles each time.
    #[schemars(range(min = 1, max = 86_400))]
    pub lockout_first_s: u64,
    /// The longest lockout, s.
    #[schemars(range(min = 1, max = 86_400))]
    pub lockout_longest_s: u64,
    /// The fewest distinct households for a count to leave the estate.
    #[schemars(range(min = 2, max = 1_000))]
    pub demand_k: u32,
    /// How long after its end an hour is closed, s: for events that come late.
    #[schemars(range(max = 86_400))]
    pub demand_lateness_s: u64,
    /// How long a finished parcel is still known by id, days.
    #[schemars(range(min = 1, max = 3_650))]
    pub finished_keep_days: u64,
    /// Whether several parcels of one recipient share a compartment that is large enough.
    pub share_compartments: bool,
    /// How long a compartment without an occupancy sensor stays its recipient's after the door was
    /// closed, s: nobody knows whether something was left in it.
    #[schemars(range(max = 86_400))]
    pub no_sensor_hold_s: u64,
    /// What becomes of a parcel that nobody announced: `refuse` (the courier takes it back), `desk` (a
    /// desk takes it), `accept` (a locker too; the operator answers for the recipients' consent).
    #[schemars(schema_with = "unlisted")]
    pub unlisted: String,
    /// The compartment that such a parcel gets: `S`, `M` or `L`.
    #[schemars(schema_with = "super::banks::sizes")]
    pub unlisted_size: String,
    /// How long a parcel may wait whose deadline nobody named, h.
    #[schemars(range(min = 1, max = 8_760))]
    pub retention_h: u64,
}

impl Default for RulesSection {
    fn default() -> Self {
        let d = Rules::default();
        Self {
            command_ttl_s: d.command_ttl_ms / S_MS,
            command_retry_s: d.command_retry_ms / S_MS,
            courier_session_s: d.courier_session_ms / S_MS,
            door_open_alarm_s: d.door_open_alarm_ms / S_MS,
            reopen_grace_s: d.reopen_grace_ms / S_MS,
            code_rest_h: d.code_rest_ms / H_MS,
            code_min_digits: d.code_min_digits,
            code_max_digits: d.code_max_digits,
            guess_one_in: d.guess_one_in,
            lockout_after: d.lockout_after,
            lockout_first_s: d.lockout_first_ms / S_MS,
            lockout_longest_s: d.lockout_longest_ms / S_MS,
            demand_k: d.demand_k,
            demand_lateness_s: d.demand_lateness_ms / S_MS,
            finished_keep_days: d.finished_keep_ms / DAY_MS,
            share_compartments: d.share_compartments,
            no_sensor_hold_s: d.no_sensor_hold_ms / S_MS,
            unlisted: word_of(d.unlisted, Unlisted::WORDS),
            unlisted_size: word_of(d.unlisted_size, Size::WORDS),
            retention_h: d.retention_ms / H_MS,
        }
    }
}

impl RulesSection {
    pub(super) fn rules(&self) -> Rules {
        let d = Rules::default();
        Rules {
            command_ttl_ms: times(self.command_ttl_s, S_MS),
            command_retry_ms: times(self.command_retry_s, S_MS),
            courier_session_ms: times(self.courier_session_s, S_MS),
            door_open_alarm_ms: times(self.door_open_alarm_s, S_MS),
            reopen_grace_ms: times(self.reopen_grace_s, S_MS),
            code_rest_ms: times(self.code_rest_h, H_MS),
            code_min_digits: self.code_min_digits,
            code_max_digits: self.code_max_digits,
            guess_one_in: self.guess_one_in,
            lockout_after: self.lockout_after,
            lockout_first_ms: times(self.lockout_first_s, S_MS),
            lockout_longest_ms: times(self.lockout_longest_s, S_MS),
            demand_k: self.demand_k,
            demand_lateness_ms: times(self.demand_lateness_s, S_MS),
            finished_keep_ms: times(self.finished_keep_days, DAY_MS),
            share_compartments: self.share_compartments,
            no_sensor_hold_ms: times(self.no_sensor_hold_s, S_MS),
            unlisted: meaning(&self.unlisted, Unlisted::WORDS).unwrap_or(d.unlisted),
            unlisted_size: meaning(&self.unlisted_size, Size::WORDS).unwrap_or(d.unlisted_size),
            retention_ms: times(self.retention_h, H_MS),
        }
    }

    pub(super) fn check(&self, errors: &mut Faults) {
        if self.code_min_digits > self.code_max_digits {
            errors
                .at(
                    "rules.code_min_digits",
                    format!(
                        "is {}, more than code_max_digits, {}: exchange them, or set both",
                        self.code_min_digits, self.code_max_digits
                    ),
                )
                .rests_on("rules.code_max_digits");
        }
        if self.lockout_first_s > self.lockout_longest_s {
            errors
                .at(
                    "rules.lockout_first_s",
                    format!(
                        "is {}, longer than lockout_longest_s, {}: exchange them, or set both",
                        self.lockout_first_s, self.lockout_longest_s
                    ),
                )
                .rests_on("rules.lockout_longest_s");
        }
    }
}

fn unlisted(_: &mut SchemaGenerator) -> Schema {
    one_of(Unlisted::WORDS)
}

/// Milliseconds. What is too much for them is refused by its bound; until then it is the most there is.
fn times(n: u64, ms: u64) -> u64 {
    n.saturating_mul(ms)
}

fn meaning<T: Copy>(text: &str, words: &[(&str, T)]) -> Option<T> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, meaning)| *meaning)
}

fn word_of<T: Copy + PartialEq>(meaning: T, words: &[(&str, T)]) -> String {
    let found = words.iter().find(|(_, known)| *known == meaning);
    found.map_or_else(String::new, |(word, _)| (*word).to_owned())
}
