//! What a compartment's opening showed: judged from what the bank said before and since, without
//! looking at a clock or a door.
//!
//! A door that works leaves the state it rested in and comes back to it. Which of the two it rests
//! in tells the polarity; which compartment moved tells the wiring.

use std::collections::BTreeMap;

use serde::Serialize;

/// What a door's contact says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Door {
    /// Open.
    Open,
    /// Closed.
    Closed,
    /// It isn't known.
    Unknown,
}

impl Door {
    /// Reads the word of an event or a view.
    pub fn of(word: &str) -> Self {
        match word {
            "open" => Self::Open,
            "closed" => Self::Closed,
            _ => Self::Unknown,
        }
    }
}

/// What is known of a compartment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Its door.
    pub door: Door,
    /// Its occupancy sensor.
    pub occupied: Option<bool>,
}

/// What the opening of a compartment showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// It opened and closed, and was seen to.
    Passed,
    /// The contact says the contrary.
    Inverted,
    /// Another compartment was seen to move instead.
    Swapped {
        /// Which.
        with: u16,
        /// Whether the door that was asked for opened after all, so that only the contacts are
        /// swapped; null if nobody said.
        own_door: Option<bool>,
    },
    /// Its contact moved, but the door that opened carries another number: lock and contact of both
    /// changed places.
    OtherDoor {
        /// The number.
        opened: u16,
    },
    /// It moved, and others with it.
    Together {
        /// Which.
        others: Vec<u16>,
    },
    /// It was seen to open and not to close.
    NotClosed,
    /// It was reported open before and closed since: it may have stood open, or be inverted.
    WasOpen,
    /// The door didn't open.
    Jammed,
    /// The door opened, and wasn't seen to.
    NoSensor,
    /// Nothing moved, and nobody said whether the door opened.
    NothingSeen,
    /// The command wasn't carried out.
    NotCarriedOut {
        /// What became of it.
        state: String,
        /// What the controller said.
        answer: Option<String>,
    },
}

/// What the occupancy sensor showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Occupancy {
    /// It saw something, and that it was gone.
    Works,
    /// It says the contrary.
    Inverted,
    /// It saw nothing, or never that it was gone.
    Silent,
}

/// One opening, as it goes.
#[derive(Debug)]
pub struct Watch {
    compartment: u16,
    before: BTreeMap<u16, Known>,
    /// One that was tried before and hadn't come back: it may still move.
    late: Option<u16>,
    occupancy: bool,
    opening: Option<(String, Option<String>)>,
    /// Each compartment's doors since, without repetitions, beginning with what it was before.
    doors: BTreeMap<u16, Vec<(Door, u64)>>,
    /// Its own sensor since, without repetitions.
    sensor: Vec<bool>,
}

/// The most changes of a door that are kept: a contact that chatters doesn't fill the memory.
const CHANGES_MAX: usize = 64;

impl Verdict {
    /// The same, when somebody says that the door with this number opened instead.
    pub fn with_other_door(self, number: u16) -> Self {
        match self {
            Self::Swapped { with, .. } if with == number => Self::Swapped {
                with,
                own_door: Some(false),
            },
            Self::NotCarriedOut { .. } => self,
            _ => Self::OtherDoor { opened: number },
        }
    }
}

impl Watch {
    /// Begins. `before` is what is known of every compartment, `late` one that was tried before and
    /// hadn't come back; `occupancy` whether its sensor is tried, too.
    pub fn new(
        compartment: u16,
        before: &BTreeMap<u16, Known>,
        late: Option<u16>,
        occupancy: bool,
    ) -> Self {
        let doors = before.iter();
        let own = before.get(&compartment);
        Self {
            compartment,
            late,
            occupancy,
            opening: None,
            doors: doors
                .map(|(n, known)| (*n, vec![(known.door, 0)]))
                .collect(),
            sensor: own.and_then(|known| known.occupied).into_iter().collect(),
            before: before.clone(),
        }
    }

    /// The bank said something of a compartment, so many ms after the opening was asked for.
    pub fn take(&mut self, compartment: u16, known: Known, after_ms: u64) {
        let doors = self.doors.entry(compartment).or_default();
        let changed = doors.last().is_none_or(|(door, _)| *door != known.door);
        if changed && doors.len() < CHANGES_MAX {
            doors.push((known.door, after_ms));
        }
        if let (true, Some(occupied)) = (compartment == self.compartment, known.occupied)
            && self.sensor.last() != Some(&occupied)
            && self.sensor.len() < CHANGES_MAX
        {
            self.sensor.push(occupied);
        }
    }

    /// The command is in this state.
    pub fn opening(&mut self, state: &str, answer: Option<&str>) {
        self.opening = Some((state.to_string(), answer.map(str::to_string)));
    }

    /// What became of the command.
    pub fn state(&self) -> Option<(&str, Option<&str>)> {
        let (state, answer) = self.opening.as_ref()?;
        Some((state, answer.as_deref()))
    }

    /// Nothing more needs to be waited for.
    pub fn is_over(&self) -> bool {
        if self.was_not_carried_out().is_some() {
            return true;
        }
        let own = self.moved(self.compartment);
        if own.len() >= 2 {
            return !self.occupancy || self.sensor.len() >= 3;
        }
        let failed = self.state().is_some_and(|(state, _)| state == "failed");
        own.is_empty()
            && match self.first_other() {
                Some(other) => self.moved(other).len() >= 2,
                None => failed,
            }
    }

    /// Nothing was seen of its own door: only a person can say whether it opened.
    pub fn needs_eyes(&self) -> bool {
        self.moved(self.compartment).is_empty() && self.was_not_carried_out().is_none()
    }

    /// What it showed. `own_door` is what the person in front of it says: whether it opened.
    pub fn verdict(&self, own_door: Option<bool>) -> Verdict {
        if let Some(verdict) = self.was_not_carried_out() {
            return verdict;
        }
        let own = self.moved(self.compartment);
        let others = self.others();
        match own.as_slice() {
            [] => match (self.first_other(), own_door) {
                (Some(with), _) => Verdict::Swapped { with, own_door },
                (None, Some(true)) => Verdict::NoSensor,
                (None, Some(false)) => Verdict::Jammed,
                (None, None) => Verdict::NothingSeen,
            },
            [Door::Open] => Verdict::NotClosed,
            [_] => Verdict::WasOpen,
            [Door::Open, ..] if others.is_empty() => Verdict::Passed,
            [Door::Open, ..] => Verdict::Together { others },
            _ => Verdict::Inverted,
        }
    }

    /// What its occupancy sensor showed, if it was tried.
    pub fn occupancy(&self) -> Option<Occupancy> {
        self.occupancy.then(|| self.seen_occupancy())
    }

    /// When the door was first seen to move, and when it had come back, ms after the opening.
    pub fn times(&self) -> (Option<u64>, Option<u64>) {
        let changes = self.doors.get(&self.compartment);
        let changes: Vec<u64> = changes
            .into_iter()
            .flatten()
            .skip(1)
            .filter(|(door, _)| *door != Door::Unknown)
            .map(|(_, ms)| *ms)
            .collect();
        let back = changes.len().checked_sub(1).filter(|last| *last > 0);
        (
            changes.first().copied(),
            back.and_then(|last| changes.get(last).copied()),
        )
    }

    /// The states that a door took since, beginning with the first that differs from before.
    fn moved(&self, compartment: u16) -> Vec<Door> {
        let before = self.before.get(&compartment).map(|known| known.door);
        let seen = self.doors.get(&compartment).into_iter().flatten();
        let mut states: Vec<Door> = seen
            .map(|(door, _)| *door)
            .filter(|door| *door != Door::Unknown)
            .collect();
        states.dedup();
        if states.first().copied() == before {
            states.remove(0);
        }
        states
    }

    /// The others that left the state they rested in.
    fn others(&self) -> Vec<u16> {
        let numbers = self.doors.keys().copied();
        let others = numbers.filter(|n| *n != self.compartment && Some(*n) != self.late);
        others.filter(|n| !self.moved(*n).is_empty()).collect()
    }

    /// The other that moved first.
    fn first_other(&self) -> Option<u16> {
        let when = |n: &u16| {
            self.doors
                .get(n)
                .and_then(|seen| seen.get(1))
                .map(|(_, ms)| *ms)
        };
        self.others().into_iter().min_by_key(when)
    }

    /// A command that no door has to do with.
    fn was_not_carried_out(&self) -> Option<Verdict> {
        let (state, answer) = self.opening.as_ref()?;
        let nothing = self.moved(self.compartment).is_empty() && self.others().is_empty();
        let in_vain = matches!(
            state.as_str(),
            "refused" | "expired" | "unknown" | "not-taken"
        );
        (nothing && in_vain).then(|| Verdict::NotCarriedOut {
            state: state.clone(),
            answer: answer.clone(),
        })
    }

    fn seen_occupancy(&self) -> Occupancy {
        match self.sensor.as_slice() {
            [] | [_] => Occupancy::Silent,
            [false, true, .., false] | [true, false] => Occupancy::Works,
            [true, .., true] => Occupancy::Inverted,
            _ => Occupancy::Silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSED: Known = Known {
        door: Door::Closed,
        occupied: Some(false),
    };
    const OPEN: Known = Known {
        door: Door::Open,
        occupied: Some(false),
    };

    /// Compartment 2 of four, all at rest as `rest`, and what was said since.
    fn watch(rest: Known, said: &[(u16, Known)]) -> Watch {
        let before: BTreeMap<u16, Known> = (1..=4).map(|n| (n, rest)).collect();
        let mut watch = Watch::new(2, &before, Some(1), false);
        watch.opening("opened", None);
        for (at, (compartment, known)) in said.iter().enumerate() {
            watch.take(*compartment, *known, at as u64 * 100 + 50);
        }
        watch
    }

    #[test]
    fn a_door_that_opens_and_closes_has_passed() {
        let half = watch(CLOSED, &[(2, OPEN)]);
        assert_eq!(
            (half.is_over(), half.verdict(None)),
            (false, Verdict::NotClosed)
        );
        let whole = watch(CLOSED, &[(2, OPEN), (2, CLOSED)]);
        assert_eq!(
            (whole.is_over(), whole.verdict(None)),
            (true, Verdict::Passed)
        );
        assert_eq!(whole.times(), (Some(50), Some(150)));
    }

    #[test]
    fn a_state_that_was_not_known_before_is_no_change() {
        let unknown = Known {
            door: Door::Unknown,
            occupied: None,
        };
        let said = watch(unknown, &[(2, OPEN), (2, unknown), (2, CLOSED)]);
        assert_eq!(
            (said.is_over(), said.verdict(None)),
            (true, Verdict::Passed)
        );
        let silent = watch(unknown, &[]);
        assert!(silent.needs_eyes());
        let none = watch(CLOSED, &[(2, unknown), (2, CLOSED)]);
        assert!(
            none.needs_eyes(),
            "a cable that breaks for a moment is no door"
        );
    }

    #[test]
    fn closed_at_the_opening_and_open_after_closing_is_inverted() {
        let whole = watch(OPEN, &[(2, CLOSED), (2, OPEN)]);
        assert_eq!(
            (whole.is_over(), whole.verdict(None)),
            (true, Verdict::Inverted)
        );
        let half = watch(OPEN, &[(2, CLOSED)]);
        assert_eq!(
            (half.is_over(), half.verdict(None)),
            (false, Verdict::WasOpen)
        );
    }

    #[test]
    fn another_that_moves_instead_is_swapped_with_it() {
        let said = watch(CLOSED, &[(4, OPEN), (4, CLOSED)]);
        assert!(said.is_over() && said.needs_eyes());
        for own_door in [None, Some(true), Some(false)] {
            let swapped = Verdict::Swapped { with: 4, own_door };
            assert_eq!(said.verdict(own_door), swapped);
        }
        let two = watch(CLOSED, &[(4, OPEN), (3, OPEN)]);
        assert!(matches!(
            two.verdict(None),
            Verdict::Swapped { with: 4, .. }
        ));
        let inverted = watch(OPEN, &[(3, CLOSED), (3, OPEN)]);
        assert!(matches!(
            inverted.verdict(None),
            Verdict::Swapped { with: 3, .. }
        ));
    }

    #[test]
    fn another_that_moves_as_well_is_no_pass_but_a_late_one_may() {
        let said = watch(CLOSED, &[(2, OPEN), (3, OPEN), (2, CLOSED)]);
        assert_eq!(said.verdict(None), Verdict::Together { others: vec![3] });
        let late = watch(CLOSED, &[(1, OPEN), (2, OPEN), (1, CLOSED), (2, CLOSED)]);
        assert_eq!(late.verdict(None), Verdict::Passed);
    }

    #[test]
    fn only_eyes_tell_that_a_door_carries_another_number() {
        let passed = watch(CLOSED, &[(2, OPEN), (2, CLOSED)]).verdict(None);
        assert_eq!(passed.with_other_door(4), Verdict::OtherDoor { opened: 4 });
        let swapped = watch(CLOSED, &[(4, OPEN), (4, CLOSED)]).verdict(None);
        let locks = Verdict::Swapped {
            with: 4,
            own_door: Some(false),
        };
        assert_eq!(swapped.with_other_door(4), locks);
    }

    #[test]
    fn only_eyes_tell_a_jammed_door_from_one_without_a_contact() {
        let silent = watch(CLOSED, &[]);
        assert!(!silent.is_over() && silent.needs_eyes());
        assert_eq!(silent.verdict(Some(false)), Verdict::Jammed);
        assert_eq!(silent.verdict(Some(true)), Verdict::NoSensor);
        assert_eq!(silent.verdict(None), Verdict::NothingSeen);
        let mut failed = watch(CLOSED, &[]);
        failed.opening("failed", Some("door not seen open"));
        assert!(failed.is_over() && failed.needs_eyes());
        assert_eq!(failed.verdict(Some(true)), Verdict::NoSensor);
    }

    #[test]
    fn a_command_that_was_not_carried_out_says_nothing_of_the_door() {
        let mut refused = watch(CLOSED, &[]);
        refused.opening("refused", Some("too late"));
        assert!(refused.is_over() && !refused.needs_eyes());
        let wanted = Verdict::NotCarriedOut {
            state: "refused".to_string(),
            answer: Some("too late".to_string()),
        };
        assert_eq!(refused.verdict(Some(true)), wanted);
        // A door that moved all the same is judged by what it did.
        let mut late = watch(CLOSED, &[(2, OPEN), (2, CLOSED)]);
        late.opening("unknown", None);
        assert_eq!(late.verdict(None), Verdict::Passed);
    }

    #[test]
    fn the_occupancy_sensor_must_see_the_hand_and_that_it_is_gone() {
        let known = |door, occupied| Known {
            door,
            occupied: Some(occupied),
        };
        let tried = |rest: bool, seen: &[bool]| {
            let before = BTreeMap::from([(2, known(Door::Closed, rest))]);
            let mut watch = Watch::new(2, &before, None, true);
            for occupied in seen {
                watch.take(2, known(Door::Open, *occupied), 1);
            }
            watch.take(
                2,
                known(Door::Closed, seen.last().copied().unwrap_or(rest)),
                2,
            );
            (watch.is_over(), watch.occupancy())
        };
        assert_eq!(
            tried(false, &[false, true, false]),
            (true, Some(Occupancy::Works))
        );
        assert_eq!(tried(false, &[false]), (false, Some(Occupancy::Silent)));
        assert_eq!(tried(false, &[true]), (false, Some(Occupancy::Silent)));
        assert_eq!(
            tried(true, &[false, true]),
            (true, Some(Occupancy::Inverted))
        );
    }

    #[test]
    fn a_contact_that_chatters_is_bounded() {
        let mut watch = watch(CLOSED, &[]);
        for n in 0..10_000 {
            let known = if n % 2 == 0 { OPEN } else { CLOSED };
            watch.take(2, known, n);
        }
        assert_eq!(watch.doors[&2].len(), CHANGES_MAX);
    }
}
