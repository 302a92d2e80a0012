//! One who guesses codes for whole days, at every keypad of a point, as fast as the lockout lets
//! him, while residents collect beside him and so forgive his wrong tries.
//!
//! The code space is made small, so that the chance can be measured: 3 wrong codes lock for 1, 2,
//! 4, 4, … hours, so D = 24; with 2 keypads and 3 collections T = 2 × (24 + 3 × 2) = 60; with 8
//! codes that can be found, 4 digits hold a chance of 1 in 20 a day: 8 × 60 × 20 = 9,600.

use cloud_protocol::Downlink;
use cloud_protocol::downlink::Proof;
use firmware_protocols::event::{Door, Secret};

use crate::common::*;

const DAYS: u64 = 1_500;
const ONE_IN: u32 = 20;
const KEYPADS: [&str; 2] = ["bank-b", "keypad-b"];

/// The hours at which a keypad under attack is free again.
const FREE_AT_H: [u64; 8] = [0, 1, 3, 7, 11, 15, 19, 23];

/// Of these visits, the ones at which a resident comes by.
const RESIDENTS: [usize; 3] = [1, 4, 6];

/// How many guesses he makes at a keypad in one visit if nothing stops him.
const PATIENCE: u32 = 20;

struct Day {
    world: World,
    first: u64,
    step: u64,
    guesses: u64,
}

impl Day {
    /// Three parcels at the attacked point, four at another one, a courier's code.
    fn new(seed: u64) -> Self {
        let mut world = World::rules(|rules| {
            rules.code_min_digits = 1;
            rules.code_max_digits = 4;
            rules.lockout_after = 3;
            rules.lockout_first_ms = HOUR_MS;
            rules.lockout_longest_ms = 4 * HOUR_MS;
            rules.guess_one_in = ONE_IN;
            rules.no_sensor_hold_ms = rules.reopen_grace_ms;
        });
        world.dice = Dice::new(seed);
        let code = format!("{:04}", world.dice.below(10_000));
        world.cloud(Downlink::Courier {
            courier: "c".into(),
            proof: Proof::Code(Secret::new(code)),
            valid_until: i64::MAX,
        });
        for n in 0..4 {
            world.expect(parcel(&format!("a{n}"), "bank-a"));
        }
        for n in 0..3 {
            world.expect(parcel(&format!("b{n}"), "bank-b"));
        }
        world.courier("badge", i64::MAX);
        // Distinct guesses: the step has no divisor in common with 10,000.
        let mut dice = Dice::new(!seed);
        let (first, step) = (dice.below(10_000), 10 * dice.below(1_000) + 3);
        Self {
            world,
            first,
            step,
            guesses: 0,
        }
    }

    fn deposit(&mut self, name: &str) {
        self.world.scan("keypad-b", "badge");
        let place = opened(&self.world.scan("keypad-b", name)).expect("a compartment is free");
        self.world.door(&place.to_string(), Door::Open, None);
        self.world.door(&place.to_string(), Door::Closed, None);
    }

    /// One guess: what is shown.
    fn guess(&mut self, keypad: &str) -> String {
        let digits = format!("{:04}", (self.first + self.guesses * self.step) % 10_000);
        self.guesses += 1;
        text(&self.world.key(keypad, &digits))
    }

    /// Guesses at a keypad until it really is locked, or `at_most` times. Whether one found a code.
    fn visit(&mut self, keypad: &str, at_most: u32) -> bool {
        let mut said_locked = false;
        for _ in 0..at_most {
            let words = self.guess(keypad);
            let locked = words.contains("Locked");
            if locked && said_locked {
                // This one wasn't looked at.
                self.guesses -= 1;
                return false;
            }
            said_locked = locked;
            let vain = words.contains("Wrong code") || words.contains("not good any more");
            if !locked && !vain {
                return true;
            }
        }
        false
    }

    /// A resident takes a parcel out; a new one is expected instead.
    fn collect(&mut self, n: usize) {
        let name = format!("b{n}");
        let code = self.world.codes[&name].clone();
        let place = opened(&self.world.key("keypad-b", &code)).expect("his compartment opens");
        self.world.door(&place.to_string(), Door::Open, None);
        self.world.door(&place.to_string(), Door::Closed, None);
        assert_eq!(self.world.stage(&name), "collected");
        self.world.pass(120_000);
        self.world.expect(parcel(&format!("next {n}"), "bank-b"));
    }

    /// Whether the attacker finds any code in 24 hours.
    fn is_hit(&mut self) -> bool {
        let start = self.world.now.tick_ms;
        let mut residents = 0;
        for (visit, hour) in FREE_AT_H.into_iter().enumerate() {
            // A little late each time: what a resident's visit takes.
            let at = start + hour * HOUR_MS + 150_000 * visit as u64;
            self.world.pass(at - self.world.now.tick_ms);
            if RESIDENTS.contains(&visit) {
                self.deposit(&format!("b{residents}"));
                // He stops short of the lockout until the resident has forgiven him.
                if KEYPADS.into_iter().any(|keypad| self.visit(keypad, 2)) {
                    return true;
                }
                self.collect(residents);
                residents += 1;
            }
            if KEYPADS
                .into_iter()
                .any(|keypad| self.visit(keypad, PATIENCE))
            {
                return true;
            }
        }
        false
    }
}

/// The share of days with a hit, in hits; and the most guesses of one day.
fn attack(days: u64, change: impl Fn(&mut World)) -> (u64, u64) {
    let (mut hits, mut most) = (0, 0);
    for seed in 1..=days {
        let mut day = Day::new(seed);
        change(&mut day.world);
        hits += u64::from(day.is_hit());
        most = most.max(day.guesses);
        assert!(day.world.codes.values().all(|code| code.len() == 4));
        let short = day.world.traces.iter().any(|t| t.step == "code-too-short");
        let as_reckoned = day.world.layout.rules.lockout_after == 3;
        assert!(
            !(short && as_reckoned),
            "the formula promises to hold the chance"
        );
    }
    (hits, most)
}

/// Three standard deviations of how many of `days` are hit at a chance of 1 in 20.
fn error(days: u64) -> u64 {
    let variance = days * u64::from(ONE_IN - 1) / u64::from(ONE_IN * ONE_IN);
    3 * variance.isqrt()
}

#[test]
fn an_attacker_finds_a_code_on_no_more_days_than_the_rules_say() {
    let (hits, most) = attack(DAYS, |_| {});
    let allowed = DAYS / u64::from(ONE_IN);
    assert_eq!(most, 60, "he makes every try that the formula reckons with");
    assert!(hits <= allowed + error(DAYS), "{hits} of {DAYS} days");
    // 8 × 60 / 10,000 of the days were to be expected at most: he is no straw man.
    assert!(hits >= allowed - error(DAYS), "{hits} of {DAYS} days");
}

#[test]
fn without_the_lockout_the_same_attacker_finds_far_more() {
    let days = DAYS / 5;
    let (hits, most) = attack(days, |world| {
        world.layout.rules.lockout_after = 1_000;
        world.reload();
    });
    assert!(most > 200, "{most}");
    let allowed = days / u64::from(ONE_IN);
    assert!(hits > allowed + error(days), "{hits} of {days} days");
}

#[test]
fn a_restart_between_tries_gives_no_more_of_them() {
    let mut day = Day::new(5);
    let mut tries = 0;
    for _ in 0..20 {
        tries += u32::from(day.guess("keypad-b").contains("Wrong code"));
        day.world.reload();
    }
    assert!(tries <= 2, "the third locks: {tries}");
}
