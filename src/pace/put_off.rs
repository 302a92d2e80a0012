//! What wasn't taken and must come again, where nobody can be made to wait.
//!
//! A device numbers its events, and the ledger follows only so many gaps in them before it gives
//! the lowest up. If now one event were taken and now one not, as the allowance fills, there would
//! soon be more gaps than that, and what wasn't taken would count as lost. So once an event of a
//! boot wasn't taken, what the boot says after it isn't either, until it has been sent again from
//! there on, as devices do for which no receipt comes. What is urgent may leap over the gap, at
//! most [`LEAPS_MAX`] times.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How many urgent publications of a boot may be taken beyond what was put off. Half of the gaps
/// that the ledger follows.
const LEAPS_MAX: usize = 32;

/// How many boots of a device are followed. More are put off as long as these wait.
const BOOTS_MAX: usize = 8;

/// How long something put off is waited for. A device that hasn't sent it by then has lost it: two
/// of the longest pauses between its tries.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// What wasn't taken of a device, by boot.
#[derive(Debug, Default)]
pub(super) struct PutOff(BTreeMap<u32, Gap>);

#[derive(Debug)]
struct Gap {
    /// The lowest number that wasn't taken.
    from: u64,
    /// The highest.
    to: u64,
    /// The first numbers of what was taken beyond `from`.
    leaps: BTreeSet<u64>,
    /// When it last grew or shrank.
    touched: Instant,
}

impl PutOff {
    /// Whether a publication with these events is taken. `over`: the allowance is used up.
    /// `hurries`: something in it is urgent, and has an allowance.
    pub(super) fn takes(
        &mut self,
        numbers: &[(u32, u64)],
        over: bool,
        hurries: bool,
        now: Instant,
    ) -> bool {
        self.0
            .retain(|_, gap| now.saturating_duration_since(gap.touched) < WAIT_MAX);
        let boots = by_boot(numbers);
        if !over
            && boots
                .iter()
                .all(|(boot, range)| self.follows(*boot, *range))
        {
            boots
                .iter()
                .for_each(|(boot, range)| self.came(*boot, *range, now));
            return true;
        }
        if hurries
            && boots
                .iter()
                .all(|(boot, range)| self.may_leap(*boot, *range))
        {
            boots
                .iter()
                .for_each(|(boot, range)| self.leapt(*boot, *range));
            return true;
        }
        for (boot, (low, high)) in boots {
            self.put_off(boot, low, high, now);
        }
        false
    }

    fn follows(&self, boot: u32, (low, _): (u64, u64)) -> bool {
        match self.0.get(&boot) {
            Some(gap) => low <= gap.from,
            None => self.0.len() < BOOTS_MAX,
        }
    }

    fn came(&mut self, boot: u32, (_, high): (u64, u64), now: Instant) {
        let Some(gap) = self.0.get_mut(&boot) else {
            return;
        };
        if high < gap.from {
            return;
        }
        gap.touched = now;
        gap.from = high.saturating_add(1);
        gap.leaps = gap.leaps.split_off(&gap.from);
        if gap.from > gap.to {
            self.0.remove(&boot);
        }
    }

    fn may_leap(&self, boot: u32, (low, _): (u64, u64)) -> bool {
        self.0.get(&boot).is_none_or(|gap| {
            low <= gap.from || gap.leaps.len() < LEAPS_MAX || gap.leaps.contains(&low)
        })
    }

    fn leapt(&mut self, boot: u32, (low, _): (u64, u64)) {
        if let Some(gap) = self.0.get_mut(&boot) {
            gap.leaps.insert(low);
        }
    }

    fn put_off(&mut self, boot: u32, low: u64, high: u64, now: Instant) {
        let room = self.0.len() < BOOTS_MAX;
        match self.0.get_mut(&boot) {
            Some(gap) => {
                if low < gap.from {
                    gap.from = low;
                    gap.touched = now;
                }
                gap.to = gap.to.max(high);
            }
            None if room => {
                let gap = Gap {
                    from: low,
                    to: high,
                    leaps: BTreeSet::new(),
                    touched: now,
                };
                self.0.insert(boot, gap);
            }
            None => {}
        }
    }
}

/// The lowest and the highest number of each boot.
fn by_boot(numbers: &[(u32, u64)]) -> BTreeMap<u32, (u64, u64)> {
    let mut boots: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for (boot, seq) in numbers {
        let range = boots.entry(*boot).or_insert((*seq, *seq));
        *range = (range.0.min(*seq), range.1.max(*seq));
    }
    boots
}
