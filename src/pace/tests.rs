//! The allowances, with the time in hand.

use super::*;

const LIMITS: Limits = Limits {
    events_per_s: 10,
    events_burst: 100,
    urgent_per_s: 2,
    urgent_burst: 4,
    kib_per_s: 1,
    kib_burst: 10,
};

fn gauge(limits: Limits) -> (Gauge, Instant) {
    let now = Instant::now();
    (Gauge::new(Ident::new("bank-a").ok(), limits, now), now)
}

fn events(n: u32) -> Weight {
    Weight {
        events: n,
        ..Weight::default()
    }
}

fn urgent(n: u32) -> Weight {
    Weight {
        urgent: n,
        ..Weight::default()
    }
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn a_burst_is_free_and_the_rest_comes_at_the_rate() {
    let (gauge, start) = gauge(LIMITS);
    gauge.charge(events(100), start);
    assert_eq!(gauge.due(start), Duration::ZERO);
    gauge.charge(events(256), start);
    let due = gauge.due(start);
    assert!((ms(25_599)..=ms(25_601)).contains(&due), "{due:?}");
    assert_eq!(gauge.due(start + ms(25_601)), Duration::ZERO);
    let mut now = start + ms(25_601);
    let mut taken = 0;
    while now < start + ms(125_601) {
        if gauge.due(now).is_zero() {
            gauge.charge(events(7), now);
            taken += 7;
        }
        now += ms(10);
    }
    assert!((1_000..=1_007).contains(&taken), "{taken} in 100 s");
}

#[test]
fn urgent_events_have_an_allowance_of_their_own() {
    let (gauge, now) = gauge(LIMITS);
    gauge.charge(events(101), now);
    assert!(!gauge.due(now).is_zero());
    assert!(gauge.may_hurry(now));
    gauge.charge(urgent(5), now);
    assert!(!gauge.may_hurry(now), "used up too");
    assert!(gauge.may_hurry(now + ms(501)));
}

#[test]
fn what_goes_ahead_is_on_credit_that_ends() {
    let (gauge, now) = gauge(LIMITS);
    gauge.charge(events(100 + 599), now);
    assert!(gauge.may_hurry(now));
    gauge.charge(events(2), now);
    assert!(!gauge.may_hurry(now), "a minute deep");
}

#[test]
fn bytes_and_packets_count() {
    let (gauge, now) = gauge(LIMITS);
    gauge.charge_bytes(10_240, 0, 0, now);
    assert_eq!(gauge.due(now), Duration::ZERO);
    gauge.charge_bytes(0, 32, 0, now);
    let due = gauge.due(now);
    assert!((ms(999)..=ms(1_001)).contains(&due), "{due:?}");
}

#[test]
fn without_limits_nothing_is_due() {
    let (gauge, now) = gauge(Limits::NONE);
    gauge.charge(events(u32::MAX), now);
    gauge.charge_bytes(usize::MAX, 1, 1, now);
    assert_eq!(gauge.due(now), Duration::ZERO);
    assert_eq!(gauge.slowed(now), None);
}

#[test]
fn an_episode_is_one_until_the_device_has_rested() {
    let pace = Pace::new(LIMITS, Ident::new("bank-a"));
    let device = Ident::new("bank-a").unwrap();
    let gauge = pace.of(&device);
    let now = Instant::now();
    gauge.charge(events(110), now);
    for n in 1..50 {
        let now = now + ms(n * 100);
        gauge.charge(events(1), now);
    }
    gauge.held(ms(300));
    let later = now + ms(5_000);
    let slowed = pace.slowed(later);
    assert_eq!(slowed.len(), 1);
    assert_eq!(slowed[0].device.as_ref(), Some(&device));
    assert_eq!((slowed[0].over, slowed[0].held), (Over::Events, ms(300)));
    assert!(slowed[0].lasts >= ms(4_900), "{slowed:?}");
    assert_eq!(pace.totals().episodes, 1);
    assert_eq!(pace.slowed(now + ms(60_000)), []);
    gauge.charge(events(200), now + ms(60_000));
    assert_eq!(pace.totals().episodes, 2);
}

/// A device that sends one event a publication, all again from the lowest that isn't covered.
#[test]
fn nothing_is_lost_where_nobody_waits_and_the_gaps_stay_few() {
    let (gauge, start) = gauge(LIMITS);
    let mut stored = std::collections::BTreeSet::new();
    let mut now = start;
    let mut rounds = 0;
    let covered = |stored: &std::collections::BTreeSet<u64>| {
        (1..).take_while(|seq| stored.contains(seq)).count() as u64
    };
    while covered(&stored) < 2_000 {
        for seq in covered(&stored) + 1..=2_000 {
            let weight = if seq % 40 == 0 { urgent(1) } else { events(1) };
            if gauge.takes(&[(1, seq)], weight, now) {
                stored.insert(seq);
            }
            now += ms(1);
            let runs = stored.iter().filter(|seq| !stored.contains(&(*seq + 1)));
            assert!(runs.count() <= 64, "more gaps than the ledger follows");
        }
        now += ms(30_000);
        rounds += 1;
        assert!(rounds < 100, "{} of 2,000", covered(&stored));
    }
    assert!(rounds > 3, "it wasn't slowed at all");
    let slowed = pace_of(&gauge, now);
    assert!(slowed > 0, "not shown");
}

fn pace_of(gauge: &Gauge, _: Instant) -> u64 {
    gauge.lock().totals.put_off
}

#[test]
fn what_a_device_has_lost_is_waited_for_only_so_long() {
    let (gauge, now) = gauge(LIMITS);
    assert!(gauge.takes(&[(1, 1)], events(150), now));
    assert!(!gauge.takes(&[(1, 2)], events(1), now));
    let rested = now + ms(20_000);
    assert!(!gauge.takes(&[(1, 3)], events(1), rested), "2 comes first");
    assert!(gauge.takes(&[(2, 1)], events(1), rested), "another boot");
    assert!(gauge.takes(&[(1, 3)], events(1), now + ms(600_000)));
}

#[test]
fn other_limits_leave_a_device_what_it_has_and_forget_who_is_gone() {
    let ident = |name: &str| Ident::new(name).unwrap();
    let pace = Pace::new(LIMITS, [ident("stays"), ident("goes")]);
    let (stays, goes) = (pace.of(&ident("stays")), pace.of(&ident("goes")));
    let now = Instant::now();
    stays.charge(events(150), now);
    goes.charge(events(150), now);
    let before = stays.due(now);
    assert!(before > Duration::ZERO);
    pace.replace(LIMITS, [ident("stays"), ident("comes")]);
    assert!(stays.due(now) > Duration::ZERO, "a reload fills nothing");
    assert!(stays.due(now) <= before);
    assert!(Arc::ptr_eq(&stays, &pace.of(&ident("stays"))));
    assert_eq!(pace.of(&ident("comes")).due(now), Duration::ZERO);
    assert!(Arc::ptr_eq(&pace.of(&ident("goes")), pace.strangers()));
    assert_eq!(pace.totals().episodes, 2, "what was is still counted");
    pace.replace(Limits::NONE, [ident("stays")]);
    assert_eq!(stays.due(now), Duration::ZERO, "no limit any more");
    pace.replace(LIMITS, [ident("stays")]);
    let later = Instant::now();
    stays.charge(events(u32::from(u8::MAX)), later);
    assert!(stays.due(later) > Duration::ZERO, "and one again");
}
