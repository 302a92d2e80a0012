//! One compartment of a walk test: asks, opens, listens, and asks what only eyes can see.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use super::happening::{Happening, Happenings};
use super::judge::{Door, Known, Watch};
use super::record::{Came, Entry};
use super::tell;
use crate::cli::args::WalkTestArgs;
use crate::cli::look::safe;
use crate::cli::words::bank as say;
use crate::control::client::ClientError;
use crate::control::views::BankView;
use crate::store::read::EventRow;

/// How long an opening is looked at further when nobody answers any more: longer than a board may take.
const LAST_LOOK: Duration = Duration::from_secs(10);

/// How long after the technician said that the door is closed its last word may take: sensors are
/// read several times before they are believed.
const GRACE: Duration = Duration::from_millis(1_500);

/// Why the test ends before its end.
#[derive(Debug)]
pub enum Broken {
    /// The technician wanted it.
    Quit,
    /// A signal.
    Interrupted,
    /// Nobody answers questions any more.
    NoAnswers,
    /// The daemon is away, or takes no openings.
    Daemon(String),
}

impl Broken {
    /// For people.
    pub fn words(&self) -> String {
        match self {
            Self::Quit => say::broken::QUIT.to_string(),
            Self::Interrupted => say::broken::INTERRUPTED.to_string(),
            Self::NoAnswers => say::broken::NO_ANSWERS.to_string(),
            Self::Daemon(why) => say::broken::daemon(why),
        }
    }
}

/// The walk.
pub struct Walk {
    bank: String,
    happenings: Happenings,
    /// What the bank said last of each compartment.
    known: BTreeMap<u16, Known>,
    /// The one that was tried last, if its door hadn't come back.
    late: Option<u16>,
    asks: bool,
    occupancy: bool,
    wait: Duration,
    /// Who opens, by the daemon's word.
    pub operator: Option<String>,
}

impl Walk {
    /// Begins.
    pub fn new(bank: &BankView, happenings: Happenings, args: &WalkTestArgs) -> Self {
        let known = bank.compartments.iter().map(|view| {
            let known = Known {
                door: Door::of(&view.door),
                occupied: view.occupied,
            };
            (view.compartment, known)
        });
        Self {
            bank: bank.bank.clone(),
            happenings,
            known: known.collect(),
            late: None,
            asks: !args.yes,
            occupancy: args.occupancy,
            wait: Duration::from_secs(args.wait),
            operator: None,
        }
    }

    /// Tries a compartment until the technician goes on.
    pub fn compartment(&mut self, entry: &mut Entry, nth: usize, of: usize) -> Result<(), Broken> {
        let slot = format!("{}/{}", self.bank, entry.compartment);
        let known = self.known.get(&entry.compartment);
        if self.asks && known.is_some_and(|known| known.door == Door::Open) {
            tell(&say::reported_open(&slot));
        }
        match self.answer(&say::ask_next(&slot, nth, of))?.as_str() {
            "q" => return Err(Broken::Quit),
            "s" => {
                entry.came = Came::SKIPPED;
                return Ok(());
            }
            _ => {}
        }
        loop {
            let tried = self.attempt(entry, &slot);
            tell(&say::result(&slot, entry));
            tried?;
            let answer = self.answer(&say::ask_after(entry.compartment))?;
            match (answer.as_str(), answer.parse()) {
                ("q", _) => return Err(Broken::Quit),
                ("r", _) => {}
                (_, Ok(number)) if number != entry.compartment => {
                    if let Came::Tried(verdict) = &entry.came {
                        entry.came = Came::Tried(verdict.clone().with_other_door(number));
                    }
                    return Ok(());
                }
                _ => return Ok(()),
            }
        }
    }

    /// Opens it once. What came of it stands in the entry, also when it is broken off.
    fn attempt(&mut self, entry: &mut Entry, slot: &str) -> Result<(), Broken> {
        let late = self.late.take().filter(|late| *late != entry.compartment);
        let mut watch = Watch::new(entry.compartment, &self.known, late, self.occupancy);
        tell(&say::opens(slot, self.occupancy, self.asks));
        entry.openings += 1;
        entry.command = None;
        entry.asked_ms = Some(jiff::Timestamp::now().as_millisecond());
        let listened = self.listen(&mut watch, entry, slot);
        self.late = (!watch.is_over()).then_some(entry.compartment);
        let own_door = match listened {
            Ok(()) if watch.needs_eyes() => self.own_door(slot),
            Ok(()) => Ok(None),
            Err(why) => Err(why),
        };
        let eyes = own_door.as_ref().ok().copied().flatten();
        entry.came = Came::Tried(watch.verdict(eyes));
        entry.occupancy = watch.occupancy();
        (entry.opened_after_ms, entry.closed_after_ms) = watch.times();
        own_door.map(|_| ())
    }

    /// Listens until nothing more needs to be waited for, or the time is over.
    fn listen(&mut self, watch: &mut Watch, entry: &mut Entry, slot: &str) -> Result<(), Broken> {
        let start = Instant::now();
        let mut until = start + self.wait;
        let (mut settled, mut no_answers) = (false, false);
        self.happenings.open(slot.to_string(), say::REASON);
        while !(settled && watch.is_over()) {
            let Some(happening) = self.happenings.next(Some(until)) else {
                break;
            };
            match happening {
                Happening::Said(row) => {
                    if let Some((compartment, known)) = self.note(&row) {
                        let after = start.elapsed().as_millis();
                        watch.take(compartment, known, u64::try_from(after).unwrap_or(u64::MAX));
                    }
                }
                Happening::Step(opening) => {
                    watch.opening(&opening.state, opening.answer.as_deref());
                    entry.command = Some(opening.command);
                    self.operator = Some(opening.operator);
                }
                Happening::Settled(Ok(())) => settled = true,
                Happening::Settled(Err(ClientError::Failed(why))) => {
                    watch.opening("not-taken", Some(&why.message));
                    settled = true;
                }
                Happening::Settled(Err(why)) => return Err(Broken::Daemon(why.to_string())),
                Happening::Typed(Some(line)) if line == "q" => return Err(Broken::Quit),
                Happening::Typed(Some(_)) => until = until.min(Instant::now() + GRACE),
                // Its door may be opening: the record is to say what came of it.
                Happening::Typed(None) => {
                    no_answers = true;
                    until = until.min(Instant::now() + LAST_LOOK);
                }
                other => self.ends(other)?,
            }
        }
        match no_answers {
            true => Err(Broken::NoAnswers),
            false => Ok(()),
        }
    }

    /// Whether the door that was asked for opened, if somebody says.
    fn own_door(&mut self, slot: &str) -> Result<Option<bool>, Broken> {
        let answer = self.answer(&say::ask_own_door(slot))?;
        Ok(match answer.as_str() {
            "y" | "yes" => Some(true),
            "n" | "no" => Some(false),
            _ => None,
        })
    }

    /// What the technician answers; nothing if he isn't asked.
    fn answer(&mut self, question: &str) -> Result<String, Broken> {
        if self.asks {
            // Nobody may be reading: then nobody answers either.
            let _ = write!(io::stderr(), "{}", safe(question));
        }
        let until = (!self.asks).then(Instant::now);
        while let Some(happening) = self.happenings.next(until) {
            match happening {
                Happening::Said(row) => {
                    self.note(&row);
                }
                Happening::Typed(Some(line)) => return Ok(line),
                Happening::Step(_) | Happening::Settled(_) => {}
                other => self.ends(other)?,
            }
        }
        Ok(String::new())
    }

    /// What ends the test.
    fn ends(&self, happening: Happening) -> Result<(), Broken> {
        match happening {
            Happening::Interrupted => Err(Broken::Interrupted),
            Happening::Typed(None) => Err(Broken::NoAnswers),
            Happening::Lost(why) => Err(Broken::Daemon(why.to_string())),
            _ => Ok(()),
        }
    }

    /// Keeps what the bank said.
    fn note(&mut self, row: &EventRow) -> Option<(u16, Known)> {
        let compartment = row.body.get("compartment")?.as_u64()?;
        let compartment = u16::try_from(compartment).ok()?;
        let before = self.known.get_mut(&compartment)?;
        let known = Known {
            door: Door::of(row.body.get("door")?.as_str()?),
            occupied: row
                .body
                .get("occupied")
                .and_then(serde_json::Value::as_bool),
        };
        *before = known;
        Some((compartment, known))
    }
}
