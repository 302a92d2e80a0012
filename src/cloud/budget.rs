//! What crossed the line in the month so far, what the month will come to, and what follows.
//!
//! A month begins on a set day, at midnight of the box's own zone. While the clock isn't known, bytes
//! count to the month last known; on a box that has never known one they wait until it does.
//!
//! The forecast is what was used, and for the days left the mean of the last seven days; of what
//! reaches further back than this start only the months' sums are known, so their mean stands for
//! those days. Before a whole day is known there is no forecast.
//!
//! Levels get worse at once, and better only after a day, and only if four fifths of the budget
//! would do; a new month is judged afresh.

use std::collections::{BTreeMap, VecDeque};

use cloud_protocol::Lane;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::ledger::{LineUse, Traffic};
use super::views::Level;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: f64 = 86_400_000.0;
/// The forecast goes by so many days.
const RECENT_DAYS: f64 = 7.0;
const RECENT_HOURS: usize = 7 * 24;
/// A level gets better after so long at the earliest.
const LEVEL_HOLDS_MS: u64 = 24 * HOUR_MS;
/// Months that are kept in memory; the clock may go back and forth between some.
const MONTHS_MAX: usize = 4;

/// A moment as the box knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// ms since the Unix epoch; `None` while the clock isn't known.
    pub wall_ms: Option<i64>,
    /// ms that never go back.
    pub tick_ms: u64,
}

/// Bytes, each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Bytes {
    pub sent: u64,
    pub received: u64,
}

/// A month: its first day, as days since the Unix epoch.
type Month = i32;
type ByTraffic = BTreeMap<Traffic, Bytes>;

/// The books of one line.
pub(super) struct Budget {
    starts: i8,
    monthly: Option<u64>,
    zone: TimeZone,
    started: Option<Moment>,
    /// As read at the start.
    loaded: BTreeMap<Month, ByTraffic>,
    /// With what has been added since.
    months: BTreeMap<Month, ByTraffic>,
    /// Added since, and not given to the ledger yet.
    unwritten: BTreeMap<(Month, Traffic), Bytes>,
    /// Used before any month was known.
    undated: ByTraffic,
    since_start: ByTraffic,
    /// The hours of this run, oldest first.
    recent: VecDeque<Hour>,
    month: Option<Month>,
    level: Level,
    level_since_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct Hour {
    number: u64,
    used: Rates<u64>,
}

/// What always goes (parcels, the downlink, what can't be told apart), and what may wait.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Rates<T> {
    exempt: T,
    patient: T,
}

/// What the month will come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Forecast {
    /// All of it.
    pub total: u64,
    /// If from now on only what always goes did.
    pub exempt: u64,
}

impl Budget {
    /// Months start on the day `starts`, 1 to 28.
    pub fn new(starts: u8, monthly: Option<u64>, zone: TimeZone) -> Self {
        Self {
            starts: i8::try_from(starts.clamp(1, 28)).unwrap_or(1),
            monthly,
            zone,
            started: None,
            loaded: BTreeMap::new(),
            months: BTreeMap::new(),
            unwritten: BTreeMap::new(),
            undated: BTreeMap::new(),
            since_start: BTreeMap::new(),
            recent: VecDeque::new(),
            month: None,
            level: Level::Plenty,
            level_since_ms: 0,
        }
    }

    /// Takes what the ledger knows, at the start of a run.
    pub fn load(&mut self, uses: &[LineUse], now: Moment) {
        self.started = Some(now);
        for line in uses {
            let month = self.loaded.entry(line.month).or_default();
            add(month.entry(line.traffic).or_default(), line.bytes());
        }
        // What was used before the ledger answered is in `unwritten` and counts on top.
        let mut months = self.loaded.clone();
        for ((month, traffic), bytes) in &self.unwritten {
            let month = months.entry(*month).or_default();
            add(month.entry(*traffic).or_default(), *bytes);
        }
        self.months = months;
        if let (None, Some(last)) = (self.month, self.loaded.keys().max()) {
            self.begin(*last);
        }
        self.at(now);
        self.judge_afresh(now);
    }

    /// Adds what crossed the line.
    pub fn used(&mut self, traffic: Traffic, bytes: Bytes, now: Moment) {
        if bytes == Bytes::default() {
            return;
        }
        self.at(now);
        self.count_hour(traffic, bytes, now);
        add(self.since_start.entry(traffic).or_default(), bytes);
        match self.month {
            Some(month) => self.enter(month, traffic, bytes),
            None => add(self.undated.entry(traffic).or_default(), bytes),
        }
    }

    /// What the ledger doesn't know yet; it is taken as known from now on.
    pub fn take_unwritten(&mut self) -> Vec<LineUse> {
        let unwritten = std::mem::take(&mut self.unwritten);
        let line = |((month, traffic), bytes): ((Month, Traffic), Bytes)| LineUse {
            month,
            traffic,
            sent: bytes.sent,
            received: bytes.received,
        };
        unwritten.into_iter().map(line).collect()
    }

    /// The ledger didn't take it.
    pub fn put_back(&mut self, uses: &[LineUse]) {
        for line in uses {
            let key = (line.month, line.traffic);
            add(self.unwritten.entry(key).or_default(), line.bytes());
        }
    }

    /// This month, by traffic.
    pub fn this_month(&self) -> ByTraffic {
        let month = self.month.and_then(|month| self.months.get(&month));
        month.cloned().unwrap_or_else(|| self.undated.clone())
    }

    /// Since the start, by traffic.
    pub fn since_start(&self) -> &ByTraffic {
        &self.since_start
    }

    /// Both ways, this month.
    pub fn used_bytes(&self) -> u64 {
        self.this_month().values().map(|bytes| bytes.both()).sum()
    }

    /// Both ways, of a month.
    pub fn monthly(&self) -> Option<u64> {
        self.monthly
    }

    /// The month that is counted now: from when until when, ms since the Unix epoch.
    pub fn month_ms(&self) -> Option<(i64, i64)> {
        let first = day(self.month?)?;
        let next = first.checked_add(Span::new().months(1)).ok()?;
        Some((self.midnight(first)?, self.midnight(next)?))
    }

    /// What the month will come to; `None` before a day is known, or without a clock.
    pub fn forecast(&self, now: Moment) -> Option<Forecast> {
        let (_, until) = self.month_ms()?;
        let left_days = ((until - now.wall_ms?) as f64 / DAY_MS).max(0.0);
        let rates = self.rates(now)?;
        let used = self.used_bytes();
        let exempt = used.saturating_add((rates.exempt * left_days) as u64);
        Some(Forecast {
            total: exempt.saturating_add((rates.patient * left_days) as u64),
            exempt,
        })
    }

    /// What follows; call it now and then.
    pub fn judge(&mut self, now: Moment) -> Level {
        if self.at(now) {
            self.judge_afresh(now);
            return self.level;
        }
        let plain = self.level_for(now, 1.0);
        let strict = self.level_for(now, 0.8);
        let held = now.tick_ms.saturating_sub(self.level_since_ms) >= LEVEL_HOLDS_MS;
        let next = match plain > self.level {
            true => plain,
            false if held => strict.min(self.level),
            false => self.level,
        };
        if next != self.level {
            self.level = next;
            self.level_since_ms = now.tick_ms;
        }
        self.level
    }

    /// As judged last.
    pub fn level(&self) -> Level {
        self.level
    }

    fn judge_afresh(&mut self, now: Moment) {
        self.level = self.level_for(now, 1.0);
        self.level_since_ms = now.tick_ms;
    }

    /// What would follow if only a part of the budget was there.
    fn level_for(&self, now: Moment, part: f64) -> Level {
        let Some(monthly) = self.monthly else {
            return Level::Plenty;
        };
        let monthly = monthly as f64 * part;
        let used = self.used_bytes() as f64;
        let (total, exempt) = match self.forecast(now) {
            Some(forecast) => (forecast.total as f64, forecast.exempt as f64),
            // Not a day is known, and half of a month is used up.
            None => (used * 2.0, used / 0.9),
        };
        match () {
            () if exempt >= monthly || used >= monthly => Level::Exhausted,
            () if total > monthly => Level::Short,
            () => Level::Plenty,
        }
    }

    /// Bytes a day, of the last seven days as far as they are known.
    fn rates(&self, now: Moment) -> Option<Rates<f64>> {
        let started = self.started?;
        let run_days = now.tick_ms.saturating_sub(started.tick_ms) as f64 / DAY_MS;
        let run_days = run_days.min(RECENT_DAYS);
        let mut days = run_days;
        let mut sum = self.recent_sum(now);
        for (month, known_days) in self.earlier_months(started) {
            let wanted = (RECENT_DAYS - days).min(known_days);
            if wanted > 0.0 {
                let part = wanted / known_days;
                let used = split(&month);
                sum.exempt += used.exempt as f64 * part;
                sum.patient += used.patient as f64 * part;
                days += wanted;
            }
        }
        (days >= 1.0).then(|| Rates {
            exempt: sum.exempt / days,
            patient: sum.patient / days,
        })
    }

    /// What this month used before this run with the days that it took, then the month before.
    fn earlier_months(&self, started: Moment) -> Vec<(ByTraffic, f64)> {
        let Some(then) = started.wall_ms else {
            return Vec::new();
        };
        let Some(first) = self.first_of(then) else {
            return Vec::new();
        };
        let before = first.checked_sub(Span::new().months(1)).ok();
        let known = [
            (Some(first), then),
            (before, self.midnight(first).unwrap_or(then)),
        ];
        let known = known.into_iter().filter_map(|(first, until)| {
            let first = first?;
            let used = self.loaded.get(&number(first))?;
            let days = (until - self.midnight(first)?) as f64 / DAY_MS;
            (days > 0.0).then(|| (used.clone(), days))
        });
        known.collect()
    }

    fn recent_sum(&self, now: Moment) -> Rates<f64> {
        let oldest = (now.tick_ms / HOUR_MS).saturating_sub(RECENT_HOURS as u64 - 1);
        let hours = self.recent.iter().filter(|hour| hour.number >= oldest);
        hours.fold(Rates::default(), |sum, hour| Rates {
            exempt: sum.exempt + hour.used.exempt as f64,
            patient: sum.patient + hour.used.patient as f64,
        })
    }

    fn count_hour(&mut self, traffic: Traffic, bytes: Bytes, now: Moment) {
        let number = now.tick_ms / HOUR_MS;
        if self.recent.back().is_none_or(|hour| hour.number < number) {
            let used = Rates::default();
            self.recent.push_back(Hour { number, used });
        }
        while self.recent.len() > RECENT_HOURS {
            self.recent.pop_front();
        }
        if let Some(hour) = self.recent.back_mut() {
            match may_wait(traffic) {
                true => hour.used.patient += bytes.both(),
                false => hour.used.exempt += bytes.both(),
            }
        }
    }

    /// Notices the month; says whether it is another one.
    fn at(&mut self, now: Moment) -> bool {
        let Some(month) = now.wall_ms.and_then(|ms| self.first_of(ms)).map(number) else {
            return false;
        };
        if self.month == Some(month) {
            return false;
        }
        self.begin(month);
        true
    }

    fn begin(&mut self, month: Month) {
        self.month = Some(month);
        for (traffic, bytes) in std::mem::take(&mut self.undated) {
            self.enter(month, traffic, bytes);
        }
    }

    fn enter(&mut self, month: Month, traffic: Traffic, bytes: Bytes) {
        let used = self.months.entry(month).or_default();
        add(used.entry(traffic).or_default(), bytes);
        let key = (month, traffic);
        add(self.unwritten.entry(key).or_default(), bytes);
        while self.months.len() > MONTHS_MAX {
            let other = self.months.keys().find(|known| **known != month).copied();
            other.map(|other| self.months.remove(&other));
        }
    }

    /// The first day of the month in which a moment is.
    fn first_of(&self, wall_ms: i64) -> Option<Date> {
        let moment = Timestamp::from_millisecond(wall_ms).ok()?;
        let today = moment.to_zoned(self.zone.clone()).date();
        let first = today.with().day(self.starts).build().ok()?;
        if first <= today {
            return Some(first);
        }
        first.checked_sub(Span::new().months(1)).ok()
    }

    fn midnight(&self, day: Date) -> Option<i64> {
        let midnight = day.to_zoned(self.zone.clone()).ok()?;
        Some(midnight.timestamp().as_millisecond())
    }
}

impl Bytes {
    pub fn both(self) -> u64 {
        self.sent.saturating_add(self.received)
    }
}

impl LineUse {
    fn bytes(&self) -> Bytes {
        Bytes {
            sent: self.sent,
            received: self.received,
        }
    }
}

fn add(to: &mut Bytes, more: Bytes) {
    to.sent = to.sent.saturating_add(more.sent);
    to.received = to.received.saturating_add(more.received);
}

fn may_wait(traffic: Traffic) -> bool {
    matches!(traffic, Traffic::Lane(Lane::Demand | Lane::Health))
}

fn split(month: &ByTraffic) -> Rates<u64> {
    let mut rates = Rates::default();
    for (traffic, bytes) in month {
        match may_wait(*traffic) {
            true => rates.patient += bytes.both(),
            false => rates.exempt += bytes.both(),
        }
    }
    rates
}

fn epoch() -> Date {
    jiff::civil::date(1970, 1, 1)
}

fn number(day: Date) -> Month {
    day.since(epoch()).map_or(0, |span| span.get_days())
}

fn day(number: Month) -> Option<Date> {
    let days = Span::new().try_days(number).ok()?;
    epoch().checked_add(days).ok()
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
