//! Which call fails, how, and for how long.

use std::fmt;

use crate::common::interposed::kind;

/// A kind of calls, by name and bit.
const KINDS: [(&str, u32); 7] = [
    ("open-read", kind::OPEN_READ),
    ("open-write", kind::OPEN_WRITE),
    ("read", kind::READ),
    ("write", kind::WRITE),
    ("truncate", kind::TRUNCATE),
    ("sync", kind::SYNC),
    ("name", kind::NAME),
];

pub const EIO: i32 = 5;
pub const ENOSPC: i32 = 28;
pub const EROFS: i32 = 30;
const ERRORS: [(&str, i32); 3] = [("EIO", EIO), ("ENOSPC", ENOSPC), ("EROFS", EROFS)];

/// About so many points when nobody says how many.
const POINTS: u64 = 60;

/// A point of a life at which calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// Index into the kinds.
    kind: usize,
    /// Index into the errors; `None`: nothing fails, calls are only counted.
    error: Option<usize>,
    /// From this call on, until the cause is taken away.
    pub for_good: bool,
    /// The call's number.
    pub number: u64,
}

impl Point {
    /// What `LINLI_FAULT` names.
    pub fn asked_for() -> Option<Self> {
        let text = std::env::var("LINLI_FAULT").ok()?;
        let parts: Vec<&str> = text.split(':').collect();
        let [kind, error, how, number] = parts.as_slice() else {
            panic!("LINLI_FAULT is {text:?}: write it as write:EIO:once:17");
        };
        Some(Self {
            kind: KINDS
                .iter()
                .position(|(name, _)| name == kind)
                .expect("a kind"),
            error: ERRORS.iter().position(|(name, _)| name == error),
            for_good: *how == "for-good",
            number: number.parse().expect("a number"),
        })
    }

    /// The bit of its kind.
    pub fn kind(self) -> u32 {
        KINDS[self.kind].1
    }

    /// `None` if nothing fails.
    pub fn errno(self) -> Option<i32> {
        self.error.map(|index| ERRORS[index].1)
    }

    /// Whether the daemon can't but notice when this lasts while it runs.
    pub fn is_felt(self) -> bool {
        let felt = kind::OPEN_READ | kind::READ | kind::WRITE | kind::SYNC;
        self.kind() & felt != 0
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = self.error.map_or("nothing", |index| ERRORS[index].0);
        let how = if self.for_good { "for-good" } else { "once" };
        write!(f, "{}:{error}:{how}:{}", KINDS[self.kind].0, self.number)
    }
}

/// A life of each kind in which nothing fails, to count its calls.
pub fn clean() -> Vec<Point> {
    let clean = |kind| Point {
        kind,
        error: None,
        for_good: false,
        number: 0,
    };
    (0..KINDS.len()).map(clean).collect()
}

/// The points to try, given how many calls of each kind a life makes.
pub fn choose(calls: &[u64]) -> Vec<Point> {
    let wanted = std::env::var("LINLI_FAULTS").unwrap_or_default();
    let seed = std::env::var("LINLI_SEED").ok();
    let mut seed: u64 = seed.map_or(1, |seed| seed.parse().expect("LINLI_SEED is a number"));
    let counted = KINDS.iter().zip(calls);
    let counted: Vec<String> = counted
        .map(|((name, _), n)| format!("{n} {name}"))
        .collect();
    println!(
        "a life makes these calls: {}; seed {seed}",
        counted.join(", ")
    );
    let series = series();
    let each = match wanted.as_str() {
        "all" => u64::MAX,
        "" => POINTS.div_ceil(series.len() as u64),
        n => n
            .parse::<u64>()
            .expect("LINLI_FAULTS is 'all' or a number")
            .div_ceil(series.len() as u64),
    };
    let mut points = Vec::new();
    for one in series {
        let calls = calls[one.kind].max(1);
        let each = each.min(calls);
        // One out of each of as many equal stretches.
        for stretch in 0..each {
            let (from, to) = (stretch * calls / each, (stretch + 1) * calls / each);
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let number = from + (seed >> 33) % (to - from).max(1);
            points.push(Point { number, ..one });
        }
    }
    points
}

/// Each kind with each error that it can have, once and for good.
fn series() -> Vec<Point> {
    let mut series = Vec::new();
    for (kind, (_, bit)) in KINDS.iter().enumerate() {
        let changing = kind::CHANGING & bit != 0;
        for error in 0..if changing { ERRORS.len() } else { 1 } {
            for for_good in [false, true] {
                series.push(Point {
                    kind,
                    error: Some(error),
                    for_good,
                    number: 0,
                });
            }
        }
    }
    series
}
