//! A line with slaves that die, come back and answer now and then, at a simulated clock: what
//! [`Rounds`] promises, over random histories.

use super::*;
use proptest::prelude::*;

const TIMEOUT: Duration = Duration::from_millis(100);
const EXCHANGE: Duration = Duration::from_millis(10);

/// How a slave of the simulation is.
#[derive(Debug, Clone)]
enum Life {
    /// It always answers.
    Steady,
    /// It answers or not, by spans of so many ms in turn, beginning with answers.
    Spans(Vec<u16>),
    /// It answers every so many askings only.
    NowAndThen(u8),
    Dead,
}

impl Life {
    fn answers(&self, at: Duration, asked: usize) -> bool {
        match self {
            Self::Steady => true,
            Self::Dead => false,
            Self::NowAndThen(each) => asked.is_multiple_of(usize::from(*each).max(1)),
            Self::Spans(spans) => {
                let mut end = Duration::ZERO;
                for (n, span) in spans.iter().enumerate() {
                    end += Duration::from_millis(u64::from(*span));
                    if at < end {
                        return n % 2 == 0;
                    }
                }
                true
            }
        }
    }
}

fn a_life() -> impl Strategy<Value = Life> {
    prop_oneof![
        Just(Life::Steady),
        Just(Life::Dead),
        prop::collection::vec(1_u16..20_000, 1..6).prop_map(Life::Spans),
        (2_u8..6).prop_map(Life::NowAndThen),
    ]
}

/// One asking.
#[derive(Debug, Clone, Copy)]
struct Asking {
    slave: usize,
    /// When it was due, when it was asked.
    due: Duration,
    at: Duration,
    answered: bool,
    /// It had answered all the time, or long enough, before.
    trusted: bool,
}

/// Runs a line until `end`. Without a trusted slave that is due it rests.
fn run(lives: &[Life], every: &[Duration], end: Duration) -> Vec<Asking> {
    let start = Instant::now();
    let mut now = start;
    let mut rounds = Rounds::each(every, now);
    let mut asked = vec![0; lives.len()];
    let mut due = vec![now; lives.len()];
    let mut good = vec![TRUSTED_AFTER; lives.len()];
    let mut askings = Vec::new();
    while now - start < end {
        let slave = match rounds.next(now) {
            Turn::Ask(slave) => slave,
            Turn::Rest(until) => {
                assert!(until > now, "it never stands still");
                now = until;
                continue;
            }
        };
        let at = now - start;
        let answered = lives[slave].answers(at, asked[slave]);
        askings.push(Asking {
            slave,
            due: due[slave] - start,
            at,
            answered,
            trusted: good[slave] >= TRUSTED_AFTER,
        });
        asked[slave] += 1;
        if answered {
            now += EXCHANGE;
            rounds.answered(slave, now);
            good[slave] += 1;
            due[slave] = now + every[slave];
        } else {
            now += TIMEOUT;
            let pause = rounds.missed(slave, now);
            assert!((PAUSE_FIRST..=PAUSE_LONGEST).contains(&pause));
            good[slave] = 0;
            due[slave] = now + pause;
        }
    }
    askings
}

/// The askings between the moment when this one was due and its own, and the one that was under way
/// then.
fn meanwhile(askings: &[Asking], this: usize) -> impl Iterator<Item = &Asking> {
    let due = askings[this].due;
    let ends = |asking: &Asking| asking.at + if asking.answered { EXCHANGE } else { TIMEOUT };
    let before = askings[..this].iter().rev();
    before.take_while(move |asking| ends(asking) > due)
}

fn lives_and_periods() -> impl Strategy<Value = (Vec<Life>, Vec<Duration>)> {
    let one = (a_life(), prop_oneof![Just(0_u64), 50_u64..3_000]);
    prop::collection::vec(one, 1..12).prop_map(|all| {
        all.into_iter()
            .map(|(life, every)| (life, Duration::from_millis(every)))
            .unzip()
    })
}

const END: Duration = Duration::from_secs(40);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn slaves_in_doubt_cost_one_that_answers_at_most_one_time_out((lives, every) in lives_and_periods()) {
        let askings = run(&lives, &every, END);
        for (n, waited) in askings.iter().enumerate().filter(|(_, asking)| asking.trusted) {
            let between = || meanwhile(&askings, n)
                .filter(|asking| asking.slave != waited.slave);
            let in_vain = between().filter(|asking| !asking.answered && !asking.trusted).count();
            prop_assert!(in_vain <= 1, "{waited:?} waited for {in_vain} time-outs of slaves in doubt");
            // Others that answer: each once before it, and what one in doubt answered once.
            for other in 0..lives.len() {
                let times = between().filter(|asking| asking.slave == other && asking.trusted).count();
                prop_assert!(times <= 2, "{waited:?} waited for {other} {times} times");
            }
        }
    }

    #[test]
    fn the_wait_of_one_that_answers_is_bounded((lives, every) in lives_and_periods()) {
        let askings = run(&lives, &every, END);
        let slaves = u32::try_from(lives.len()).unwrap();
        for (n, waited) in askings.iter().enumerate().filter(|(_, asking)| asking.trusted) {
            let deaths = meanwhile(&askings, n)
                .filter(|asking| !asking.answered && asking.trusted).count();
            let deaths = u32::try_from(deaths).unwrap();
            let most = TIMEOUT * (1 + deaths) + EXCHANGE * 2 * slaves;
            prop_assert!(waited.at - waited.due <= most, "{waited:?}, {deaths} deaths");
        }
    }

    #[test]
    fn one_that_comes_back_is_found_within_its_pause_and_a_round_for_each_in_doubt(
        (mut lives, every) in lives_and_periods(),
        dead in 1_u16..40_000,
    ) {
        lives[0] = Life::Spans(vec![1, dead]);
        let back = Duration::from_millis(u64::from(dead) + 1);
        let askings = run(&lives, &every, back + Duration::from_secs(60));
        let found = askings.iter().find(|asking| asking.slave == 0 && asking.at >= back);
        let found = found.map(|asking| asking.at - back);
        let slaves = u32::try_from(lives.len()).unwrap();
        let round = TIMEOUT + EXCHANGE * 2 * slaves;
        // A slave that dies costs one more.
        let most = PAUSE_LONGEST + round * slaves + TIMEOUT * slaves;
        prop_assert!(found.is_some_and(|after| after <= most), "{found:?}, {most:?}");
    }

    #[test]
    fn nobody_starves((lives, every) in lives_and_periods()) {
        let askings = run(&lives, &every, END);
        let slaves = u32::try_from(lives.len()).unwrap();
        let longest = every.iter().max().copied().unwrap_or_default().max(PAUSE_LONGEST);
        let most = longest + (TIMEOUT + EXCHANGE * 2 * slaves) * slaves + TIMEOUT * slaves;
        for slave in 0..lives.len() {
            let mut last = Duration::ZERO;
            let times = askings.iter().filter(|asking| asking.slave == slave).map(|asking| asking.at);
            for at in times.chain([END]) {
                prop_assert!(at - last <= most, "{slave} wasn't asked from {last:?} to {at:?}");
                last = at;
            }
        }
    }
}

#[test]
fn the_pause_grows_and_an_answer_ends_it() {
    let mut now = Instant::now();
    let mut rounds = Rounds::new(1, Duration::from_millis(250), now);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let pause = rounds.missed(0, now);
        assert_eq!(rounds.next(now), Turn::Rest(now + pause));
        now += pause;
        assert_eq!(rounds.next(now), Turn::Ask(0));
        pauses.push(pause.as_millis());
    }
    assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
    assert!(rounds.is_silent(0));
    rounds.answered(0, now);
    assert!(!rounds.is_silent(0));
    assert_eq!(
        rounds.next(now),
        Turn::Rest(now + Duration::from_millis(250))
    );
    assert_eq!(rounds.missed(0, now), PAUSE_FIRST);
}

#[test]
fn a_hurried_one_is_asked_before_it_is_due_and_a_line_without_slaves_rests() {
    let now = Instant::now();
    let mut rounds = Rounds::new(2, Duration::from_secs(5), now);
    rounds.answered(0, now);
    rounds.answered(1, now);
    assert!(matches!(rounds.next(now), Turn::Rest(_)));
    rounds.hurry(1, now);
    assert_eq!(rounds.next(now), Turn::Ask(1));
    let none = Rounds::new(0, Duration::ZERO, now);
    assert!(matches!(none.next(now), Turn::Rest(_)));
}
