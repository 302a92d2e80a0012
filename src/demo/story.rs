//! The story of the evening in lines: what a bystander would tell. Codes are never in it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use firmware_protocols::Ident;
use simulator::{Sight, Tempo, Witness};

/// A line of the story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// When, ms since the Unix epoch by the clock of the play.
    pub(super) at_ms: i64,
    /// A word for machines.
    pub(super) what: &'static str,
    /// How it is meant.
    pub(super) mood: Mood,
    /// For people; begins with a sign of its own, so that it can be read without colour.
    pub(super) text: String,
}

/// How a line is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// A parcel moved on.
    Good,
    /// Somebody was refused.
    Bad,
    /// Something that happens.
    Calm,
    /// A fault on purpose.
    Fault,
    /// The cloud.
    Cloud,
}

/// What was seen, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) brought: u64,
    pub(super) collected: u64,
    pub(super) refused: u64,
    pub(super) stranger_refused: u64,
    pub(super) locked: u64,
    pub(super) without_notice: u64,
    pub(super) at_doors: u64,
    pub(super) turned_away: u64,
    pub(super) wishes: u64,
}

/// The most lines that wait to be shown; beyond it the oldest are left out of the story.
const LINES_MAX: usize = 10_000;

/// The story so far. Shared by all who tell and the one who shows it.
pub(super) struct Story {
    tempo: Tempo,
    lines: Mutex<VecDeque<Line>>,
    counts: Mutex<Counts>,
    brought_at: Mutex<BTreeMap<String, i64>>,
}

impl Story {
    pub(super) fn new(tempo: Tempo) -> Self {
        Self {
            tempo,
            lines: Mutex::default(),
            counts: Mutex::default(),
            brought_at: Mutex::default(),
        }
    }

    /// Adds a line at the present time.
    pub(super) fn tell(&self, what: &'static str, mood: Mood, text: impl Into<String>) {
        self.add(Line {
            at_ms: self.tempo.now_ms(),
            what,
            mood,
            text: text.into(),
        });
    }

    /// The lines that nobody took yet.
    pub(super) fn take_lines(&self) -> Vec<Line> {
        lock(&self.lines).drain(..).collect()
    }

    /// What was seen so far.
    pub(super) fn counts(&self) -> Counts {
        *lock(&self.counts)
    }

    fn add(&self, line: Line) {
        let mut lines = lock(&self.lines);
        if lines.len() >= LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// Counts a sight, and puts it into words if it is worth a line.
    fn words(&self, at_ms: i64, sight: Sight) -> Option<(&'static str, Mood, String)> {
        let mut counts = lock(&self.counts);
        Some(match sight {
            Sight::CourierCame { courier, parcels } => {
                let text = format!("▶ {courier} comes with {parcels} parcels");
                ("courier", Mood::Calm, text)
            }
            Sight::CourierWent {
                courier,
                undelivered,
            } => {
                let text = match undelivered {
                    0 => format!("▶ {courier} goes, all delivered"),
                    n => format!("▶ {courier} goes, {n} stay in the van"),
                };
                ("courier", Mood::Calm, text)
            }
            Sight::Brought {
                parcel,
                point,
                compartment,
            } => {
                counts.brought += 1;
                lock(&self.brought_at).insert(parcel.clone(), at_ms);
                let text = format!("← {parcel} into {}", place(&point, compartment));
                ("brought", Mood::Good, text)
            }
            Sight::Collected {
                parcel,
                point,
                compartment,
            } => {
                counts.collected += 1;
                let waited = lock(&self.brought_at).get(&parcel).map(|then| at_ms - then);
                let waited = waited.map_or(0, |ms| ms / 60_000);
                let from = place(&point, compartment);
                let text = format!("→ {parcel} out of {from} after {waited} min");
                ("collected", Mood::Good, text)
            }
            Sight::TakenBack {
                parcel,
                point,
                compartment,
            } => {
                let text = format!("↩ {parcel} back from {}", place(&point, compartment));
                ("taken-back", Mood::Calm, text)
            }
            other => return self.mishap(&mut counts, other),
        })
    }

    fn mishap(&self, counts: &mut Counts, sight: Sight) -> Option<(&'static str, Mood, String)> {
        Some(match sight {
            Sight::Forgotten {
                parcel,
                point,
                compartment,
            } => {
                let at = place(&point, Some(compartment));
                let text = format!("· {at} closed empty: {parcel} is still in the courier's hands");
                ("closed-empty", Mood::Calm, text)
            }
            Sight::LeftInside {
                parcel,
                point,
                compartment,
            } => {
                let at = place(&point, Some(compartment));
                let text = format!("· {at} closed again with {parcel} still inside");
                ("left-inside", Mood::Calm, text)
            }
            Sight::NotTaken {
                parcel,
                point,
                said,
            } => {
                let text = format!("✗ {point} doesn't take {parcel}: {}", words(&said));
                ("not-taken", Mood::Bad, text)
            }
            Sight::NoNotice { parcel } => {
                counts.without_notice += 1;
                let text = format!("… the recipient of {parcel} has no notice yet, and waits");
                ("no-notice", Mood::Cloud, text)
            }
            Sight::Refused {
                point,
                stranger,
                said,
            } => {
                counts.refused += 1;
                counts.stranger_refused += u64::from(stranger);
                counts.locked += u64::from(said.contains("Locked"));
                let who = if stranger { "a stranger" } else { "a resident" };
                let text = format!("✗ {who} at {point}: {}", words(&said));
                ("refused", Mood::Bad, text)
            }
            Sight::WrongDoor { point, compartment } => {
                let at = place(&point, Some(compartment));
                let text = format!("‼ {at} opened for somebody who has nothing in it");
                ("wrong-door", Mood::Bad, text)
            }
            Sight::AtDoor { granted: true, .. } => {
                counts.at_doors += 1;
                return None;
            }
            Sight::AtDoor { door, .. } => {
                counts.at_doors += 1;
                counts.turned_away += 1;
                let text = format!("✗ {door}: a card that isn't known");
                ("door", Mood::Bad, text)
            }
            Sight::Wish { item, quantity } => {
                counts.wishes += 1;
                // One in four is enough to see that they come.
                if counts.wishes % 4 != 1 {
                    return None;
                }
                (
                    "wish",
                    Mood::Calm,
                    format!("♥ a household wishes {quantity} × {item}"),
                )
            }
            Sight::Fault { device, what } => ("fault", Mood::Fault, format!("⚡ {device}: {what}")),
            Sight::CourierCame { .. }
            | Sight::CourierWent { .. }
            | Sight::Brought { .. }
            | Sight::Collected { .. }
            | Sight::TakenBack { .. } => return None,
        })
    }
}

impl Witness for Story {
    fn saw(&self, at_ms: i64, sight: Sight) {
        if let Some((what, mood, text)) = self.words(at_ms, sight) {
            self.add(Line {
                at_ms,
                what,
                mood,
                text,
            });
        }
    }
}

/// A time of the play as a clock on a Chinese wall shows it.
pub(super) fn clock(at_ms: i64, format: &str) -> String {
    let Ok(time) = jiff::Timestamp::from_millisecond(at_ms) else {
        return String::new();
    };
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(8));
    time.to_zoned(zone).strftime(format).to_string()
}

fn place(point: &Ident, compartment: Option<u16>) -> String {
    match compartment {
        Some(number) => format!("{point}/{number}"),
        None => point.to_string(),
    }
}

fn words(said: &str) -> String {
    match said {
        "" => "no answer".to_string(),
        said => format!("“{said}”"),
    }
}

/// The value behind a lock; a panic elsewhere doesn't make it wrong.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sights_become_lines_and_numbers() {
        let story = Story::new(Tempo::new(super::super::script::at(17, 12), 0.001));
        let point = Ident::new("bank-a").unwrap();
        let parcel = "P0612-007".to_string();
        let at = super::super::script::at;
        let compartment = Some(7);
        story.saw(
            at(17, 12),
            Sight::Brought {
                parcel: parcel.clone(),
                point: point.clone(),
                compartment,
            },
        );
        story.saw(
            at(17, 40),
            Sight::Collected {
                parcel,
                point: point.clone(),
                compartment,
            },
        );
        story.saw(
            at(17, 41),
            Sight::Refused {
                point: point.clone(),
                stranger: true,
                said: "键盘已锁定 Locked: try again in 1 min".to_string(),
            },
        );
        story.saw(
            at(17, 42),
            Sight::AtDoor {
                door: point,
                granted: true,
            },
        );
        let told: Vec<String> = story
            .take_lines()
            .iter()
            .map(|line| format!("{} {}", clock(line.at_ms, "%H:%M"), line.text))
            .collect();
        assert_eq!(
            told,
            [
                "17:12 ← P0612-007 into bank-a/7",
                "17:40 → P0612-007 out of bank-a/7 after 28 min",
                "17:41 ✗ a stranger at bank-a: “键盘已锁定 Locked: try again in 1 min”",
            ]
        );
        let counts = story.counts();
        assert_eq!((counts.brought, counts.collected, counts.locked), (1, 1, 1));
        assert_eq!(counts.at_doors, 1);
    }
}
