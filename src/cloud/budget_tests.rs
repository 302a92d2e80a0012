//! A month of a metered line, day by day.

use super::*;

const MIB: u64 = 1 << 20;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// 2026-03-01, midnight in Shanghai.
const MARCH: i64 = 1_772_294_400_000;

fn shanghai() -> TimeZone {
    TimeZone::fixed(jiff::tz::offset(8))
}

fn budget(monthly: Option<u64>) -> Budget {
    Budget::new(1, monthly, shanghai())
}

/// `ms` after the beginning of March, on a box whose ticks started with it.
fn at(ms: i64) -> Moment {
    Moment {
        wall_ms: Some(MARCH + ms),
        tick_ms: ms.unsigned_abs(),
    }
}

fn unset(tick_ms: u64) -> Moment {
    Moment {
        wall_ms: None,
        tick_ms,
    }
}

fn bytes(n: u64) -> Bytes {
    Bytes {
        sent: n,
        received: 0,
    }
}

fn row(month: Month, traffic: Traffic, sent: u64) -> LineUse {
    LineUse {
        month,
        traffic,
        sent,
        received: 0,
    }
}

fn month_of(ms: i64, starts: u8) -> String {
    let budget = Budget::new(starts, None, shanghai());
    budget.first_of(ms).unwrap().to_string()
}

const DEMAND: Traffic = Traffic::Lane(Lane::Demand);
const PARCELS: Traffic = Traffic::Lane(Lane::Fulfilment);

/// So much a day from `from` to `to` days, hour by hour, judged each hour.
fn live(budget: &mut Budget, from: i64, to: i64, parcels: u64, demand: u64) -> Vec<Level> {
    let mut levels = Vec::new();
    for hour in from * 24..to * 24 {
        let now = at(hour * HOUR);
        budget.used(PARCELS, bytes(parcels / 24), now);
        let thinned = match budget.level() {
            Level::Plenty => demand,
            Level::Short => demand / 4,
            Level::Exhausted => demand / 24,
        };
        budget.used(DEMAND, bytes(thinned / 24), now);
        let level = budget.judge(now);
        if levels.last() != Some(&level) {
            levels.push(level);
        }
    }
    levels
}

#[test]
fn a_month_begins_on_its_day_at_the_box_s_midnight() {
    assert_eq!(month_of(MARCH, 1), "2026-03-01");
    assert_eq!(month_of(MARCH - 1, 1), "2026-02-01");
    assert_eq!(month_of(MARCH, 15), "2026-02-15");
    assert_eq!(month_of(MARCH + 14 * DAY, 15), "2026-03-15");
    assert_eq!(month_of(MARCH + 14 * DAY - 1, 15), "2026-02-15");
    assert_eq!(month_of(MARCH - 59 * DAY - 1, 28), "2025-12-28");
    assert_eq!(number(jiff::civil::date(1970, 2, 1)), 31);
    assert_eq!(day(20_513).unwrap().to_string(), "2026-03-01");
    assert_eq!(number(day(20_513).unwrap()), 20_513);
}

#[test]
fn a_new_month_starts_from_nothing_and_the_old_one_is_written_as_its_own() {
    let mut budget = budget(None);
    budget.load(&[], at(30 * DAY));
    budget.used(PARCELS, bytes(10), at(30 * DAY));
    budget.used(PARCELS, bytes(5), at(31 * DAY));
    assert_eq!(budget.used_bytes(), 5);
    let march = 20_513;
    assert_eq!(
        budget.take_unwritten(),
        [row(march, PARCELS, 10), row(march + 31, PARCELS, 5)]
    );
    assert_eq!(budget.take_unwritten(), []);
    let (from, until) = budget.month_ms().unwrap();
    assert_eq!((from, until), (MARCH + 31 * DAY, MARCH + 61 * DAY));
}

#[test]
fn while_the_clock_is_not_known_bytes_count_to_the_month_last_known() {
    let mut budget = budget(None);
    budget.load(&[row(20_513, DEMAND, 7)], unset(0));
    budget.used(DEMAND, bytes(1), unset(5));
    assert_eq!(budget.used_bytes(), 8);
    assert_eq!(budget.forecast(unset(0)), None);
    assert_eq!(budget.take_unwritten(), [row(20_513, DEMAND, 1)]);
}

#[test]
fn before_any_month_is_known_bytes_wait_for_one() {
    let mut budget = budget(Some(MIB));
    budget.load(&[], unset(0));
    budget.used(PARCELS, bytes(9), unset(5));
    assert_eq!(budget.used_bytes(), 9);
    assert_eq!(budget.take_unwritten(), []);
    budget.judge(at(DAY));
    assert_eq!(budget.used_bytes(), 9);
    assert_eq!(budget.take_unwritten(), [row(20_513, PARCELS, 9)]);
}

#[test]
fn what_the_ledger_did_not_take_is_given_again() {
    let mut budget = budget(None);
    budget.used(PARCELS, bytes(3), at(0));
    let uses = budget.take_unwritten();
    budget.used(PARCELS, bytes(4), at(1));
    budget.put_back(&uses);
    assert_eq!(budget.take_unwritten(), [row(20_513, PARCELS, 7)]);
    assert_eq!(budget.used_bytes(), 7);
}

#[test]
fn what_is_used_before_the_ledger_answers_counts_once() {
    let mut budget = budget(None);
    budget.used(PARCELS, bytes(3), at(0));
    budget.load(&[row(20_513, PARCELS, 100)], at(1));
    assert_eq!(budget.used_bytes(), 103);
    assert_eq!(budget.take_unwritten(), [row(20_513, PARCELS, 3)]);
}

#[test]
fn the_forecast_goes_on_as_the_last_days_went() {
    let mut budget = budget(Some(1000 * MIB));
    budget.load(&[], at(0));
    assert_eq!(budget.forecast(at(23 * HOUR)), None);
    live(&mut budget, 0, 10, MIB, 2 * MIB);
    let forecast = budget.forecast(at(10 * DAY)).unwrap();
    assert_eq!(
        forecast.total / MIB,
        93 - 1,
        "31 days of 3 MiB, rounded down"
    );
    assert_eq!(forecast.exempt / MIB, 30 + 21 - 1);
}

#[test]
fn over_a_restart_the_forecast_goes_by_what_the_ledger_knows() {
    let mut budget = budget(Some(1000 * MIB));
    let uses = [
        row(20_513, PARCELS, 2 * MIB),
        row(20_513 - 28, PARCELS, 56 * MIB),
    ];
    // Two days of 1 MiB, and for the rest of the week February's 2 MiB a day.
    budget.load(&uses, at(2 * DAY));
    let forecast = budget.forecast(at(2 * DAY)).unwrap();
    let a_day = (2.0 * 1.0 + 5.0 * 2.0) / 7.0;
    let expected = 2.0 + 29.0 * a_day;
    assert!((forecast.total as f64 / MIB as f64 - expected).abs() < 0.01);
}

#[test]
fn within_the_budget_nothing_is_thinned() {
    let mut budget = budget(Some(100 * MIB));
    budget.load(&[], at(0));
    assert_eq!(live(&mut budget, 0, 31, MIB, 2 * MIB), [Level::Plenty]);
    let mut unlimited = Budget::new(1, None, shanghai());
    unlimited.load(&[], at(0));
    assert_eq!(live(&mut unlimited, 0, 31, 900 * MIB, MIB), [Level::Plenty]);
}

/// Full demand would come to 93 MiB, thinned by the hour to 46.
#[test]
fn over_the_budget_demand_is_thinned_and_the_month_ends_within_it() {
    let mut budget = budget(Some(60 * MIB));
    budget.load(&[], at(0));
    let levels = live(&mut budget, 0, 31, MIB, 2 * MIB);
    assert!(levels.contains(&Level::Short), "{levels:?}");
    assert!(!levels.contains(&Level::Exhausted), "{levels:?}");
    assert!(levels.len() <= 8, "it flaps: {levels:?}");
    assert!(budget.used_bytes() <= 60 * MIB, "{}", budget.used_bytes());
}

/// Parcels alone come to 31 MiB; a burst early on has left too little for anything else.
#[test]
fn what_is_left_is_kept_for_parcels() {
    let mut budget = budget(Some(60 * MIB));
    budget.load(&[], at(0));
    live(&mut budget, 0, 3, MIB, 0);
    budget.used(DEMAND, bytes(30 * MIB), at(3 * DAY));
    assert_eq!(budget.judge(at(3 * DAY)), Level::Exhausted);
    let levels = live(&mut budget, 3, 31, MIB, 2 * MIB);
    assert_eq!(levels[0], Level::Exhausted);
    assert!(levels.len() <= 6, "it flaps: {levels:?}");
    assert!(budget.used_bytes() < 66 * MIB, "{}", budget.used_bytes());
}

#[test]
fn a_spent_budget_stays_exhausted_until_the_month_is_over() {
    let mut budget = budget(Some(10 * MIB));
    budget.load(&[row(20_513, PARCELS, 11 * MIB)], at(20 * DAY));
    assert_eq!(budget.level(), Level::Exhausted);
    assert_eq!(budget.judge(at(31 * DAY - 1)), Level::Exhausted);
    assert_ne!(budget.judge(at(31 * DAY)), Level::Exhausted);
}

#[test]
fn a_level_holds_a_day_before_it_gets_better() {
    let mut budget = budget(Some(100 * MIB));
    budget.load(&[], at(0));
    live(&mut budget, 0, 2, MIB, MIB);
    budget.used(DEMAND, bytes(20 * MIB), at(2 * DAY));
    assert_eq!(budget.judge(at(2 * DAY)), Level::Short);
    budget.monthly = Some(10_000 * MIB);
    assert_eq!(budget.judge(at(3 * DAY - 1)), Level::Short);
    assert_eq!(budget.judge(at(3 * DAY)), Level::Plenty);
}
