//! Old gestures open nothing, fresh ones do, also when the box's clock or the device's is wrong by a
//! year.

use estate::{DeviceEvent, Happening, Input, Outcome, TimeQuality};
use firmware_protocols::Form;

use crate::common::*;

const YEAR_MS: i64 = 31_536_000_000;

/// bank-a's keypad with a clock of its own, and a parcel to collect.
struct Keypad {
    world: World,
    code: String,
    /// How far the device's clock is ahead of the true time, ms.
    ahead_ms: i64,
    boot: u32,
    seq: u64,
}

impl Keypad {
    fn new() -> Self {
        let mut world = World::new();
        let (_, code) = world.bring("p1");
        Self {
            world,
            code,
            ahead_ms: 0,
            boot: 7,
            seq: 0,
        }
    }

    /// One whose clock is known from an event just now.
    fn known() -> Self {
        let mut keypad = Self::new();
        keypad.says(Happening::Reading, 3);
        keypad
    }

    fn true_ms(&self) -> i64 {
        EVENING_MS + i64::try_from(self.world.now.tick_ms).unwrap() - 1_000_000
    }

    /// An event that happened `age_ms` ago.
    fn says(&mut self, what: Happening, age_ms: i64) -> Outcome {
        self.seq += 1;
        let event = DeviceEvent {
            device: id("bank-a"),
            form: Form::Json,
            boot: self.boot,
            seq: self.seq,
            at_ms: self.true_ms() - age_ms + self.ahead_ms,
            said_ms: Some(self.true_ms() - age_ms + self.ahead_ms),
            fingerprint: self.seq,
            what,
        };
        self.world.handle(Input::Event(event))
    }

    /// The right code, typed `age_ms` ago. Whether it opens.
    fn press(&mut self, age_ms: i64) -> bool {
        let what = Happening::Keypad {
            typed: typed(&self.world.layout, &id("bank-a"), &self.code),
            opened: None,
        };
        let outcome = self.says(what, age_ms);
        let opens = opened(&outcome).is_some();
        assert!(opens || text(&outcome).contains("too late"), "{outcome:?}");
        opens
    }

    /// Presses that were kept for half an hour arrive one after the other.
    fn drain(&mut self) -> bool {
        let mut opens = false;
        for n in 0..20 {
            opens |= self.press(1_800_000 - n * 60_000);
            self.world.skip(200);
        }
        opens
    }

    fn jump_wall(&mut self, ms: i64) {
        self.world.now.wall_ms += ms;
    }
}

#[test]
fn with_both_clocks_right_the_age_decides_to_the_millisecond() {
    for (age_ms, opens) in [
        (1, true),
        (120_000, true),
        (120_001, false),
        (YEAR_MS, false),
    ] {
        assert_eq!(Keypad::new().press(age_ms), opens, "{age_ms}");
    }
    // A known one is compared with the event that told it, which arrived 3 ms late.
    assert!(Keypad::known().press(120_003));
    let mut keypad = Keypad::known();
    keypad.world.skip(1_000_000);
    assert!(!keypad.press(500_000));
}

#[test]
fn an_event_without_a_time_of_its_own_is_fresh() {
    let mut keypad = Keypad::new();
    keypad.jump_wall(YEAR_MS);
    let code = keypad.code.clone();
    assert!(opened(&keypad.world.key("bank-a", &code)).is_some());
}

#[test]
fn a_year_of_the_boxs_clock_stops_nobody() {
    for jump in [YEAR_MS, -YEAR_MS] {
        let mut keypad = Keypad::known();
        keypad.jump_wall(jump);
        assert!(keypad.press(1_500), "at once");
        keypad.world.pass(7_200_000);
        assert!(keypad.press(1_500), "hours later");
        keypad.jump_wall(-jump);
        assert!(keypad.press(1_500), "and back");
    }
}

#[test]
fn a_year_of_the_devices_clock_stops_nobody() {
    for jump in [YEAR_MS, -YEAR_MS] {
        let mut keypad = Keypad::known();
        keypad.ahead_ms += jump;
        keypad.world.skip(60_000);
        assert!(keypad.press(1_500), "just heard, so it can't be old");
        keypad.world.skip(7_200_000);
        assert!(keypad.press(1_500), "its clock is known now");
        keypad.ahead_ms -= jump;
        keypad.world.skip(60_000);
        assert!(keypad.press(1_500), "and back");
    }
}

#[test]
fn a_device_that_was_silent_while_its_clock_jumped_is_asked_once_more() {
    for jump in [YEAR_MS, -YEAR_MS] {
        let mut keypad = Keypad::known();
        keypad.world.skip(7_200_000);
        keypad.ahead_ms += jump;
        assert!(!keypad.press(1_500));
        keypad.world.skip(3_000);
        assert!(keypad.press(1_500));
    }
}

#[test]
fn a_backlog_opens_nothing_whatever_the_clocks_say() {
    for jump in [0, YEAR_MS, -YEAR_MS, 900_007, -900_007] {
        let mut keypad = Keypad::known();
        keypad.world.skip(2_400_000);
        keypad.jump_wall(jump);
        assert!(!keypad.drain(), "wall {jump}");
        assert!(keypad.press(1_000), "the live one after it opens: {jump}");
    }
}

#[test]
fn a_backlog_with_a_jump_of_the_devices_clock_in_it_opens_nothing() {
    for jump in [YEAR_MS, -YEAR_MS] {
        let mut keypad = Keypad::known();
        keypad.world.skip(2_400_000);
        assert!(!keypad.drain());
        keypad.ahead_ms += jump;
        assert!(!keypad.drain(), "{jump}");
    }
}

#[test]
fn an_old_press_sent_again_after_newer_events_opens_nothing() {
    let mut keypad = Keypad::known();
    keypad.seq += 1;
    let missing = keypad.seq;
    keypad.world.skip(900_000);
    keypad.says(Happening::Reading, 10);
    keypad.world.skip(1_000);
    keypad.seq = missing - 1;
    assert!(!keypad.press(850_000));
}

#[test]
fn a_backlog_after_a_restart_opens_nothing() {
    for jump in [0, YEAR_MS, -YEAR_MS, -900_007] {
        for ahead_ms in [0, YEAR_MS, -YEAR_MS] {
            let mut keypad = Keypad::known();
            keypad.world.skip(2_400_000);
            keypad.world.reload();
            keypad.jump_wall(jump);
            keypad.ahead_ms = ahead_ms;
            let opens = keypad.drain();
            // By chance the wrong wall may fit the wrong device: then nobody can tell.
            let alike = jump == ahead_ms || (jump - ahead_ms).abs() == 900_007;
            assert!(
                !opens || (alike && jump != 0),
                "wall {jump}, device {ahead_ms}"
            );
        }
    }
}

#[test]
fn after_a_restart_with_a_wrong_clock_typing_again_opens() {
    for jump in [YEAR_MS, -YEAR_MS] {
        let mut keypad = Keypad::known();
        keypad.jump_wall(jump);
        keypad.world.reload();
        assert!(!keypad.press(0), "nobody can tell");
        keypad.world.skip(2_999);
        assert!(!keypad.press(0), "too quick to tell");
        keypad.world.skip(1);
        assert!(keypad.press(0));
        keypad.world.skip(60_000);
        assert!(keypad.press(0), "known from then on");
        keypad.world.reload();
        assert!(!keypad.press(0));
        keypad.world.skip(4_000);
        assert!(!keypad.press(2_001), "the two don't agree");
        keypad.world.skip(4_000);
        assert!(keypad.press(2_001), "these two do");
    }
}

#[test]
fn every_event_tells_how_a_clock_stands() {
    let mut keypad = Keypad::new();
    keypad.jump_wall(YEAR_MS);
    keypad.says(Happening::Reading, 0);
    keypad.world.skip(10_000);
    keypad.says(Happening::Reading, 0);
    assert!(keypad.press(500), "two readings told it");
}

#[test]
fn another_start_of_the_device_is_judged_anew() {
    let mut keypad = Keypad::known();
    keypad.jump_wall(YEAR_MS);
    keypad.boot += 1;
    keypad.seq = 0;
    assert!(!keypad.press(0));
    keypad.world.skip(3_000);
    assert!(keypad.press(0));
}

#[test]
fn lateness_does_not_creep() {
    let mut keypad = Keypad::known();
    keypad.jump_wall(YEAR_MS);
    let opens: Vec<_> = (1..=5)
        .map(|n| {
            keypad.world.skip(600_000);
            keypad.press(n * 100_000)
        })
        .collect();
    assert_eq!(opens, [true, false, false, false, false]);
}

#[test]
fn while_nobody_knows_the_time_a_device_that_is_known_is_judged_and_another_taken() {
    let mut keypad = Keypad::known();
    keypad.world.now.quality = TimeQuality::Unknown;
    keypad.jump_wall(-YEAR_MS);
    keypad.world.skip(2_400_000);
    assert!(!keypad.drain());
    assert!(keypad.press(1_000));
    keypad.world.reload();
    assert!(keypad.press(1_000));
}

#[test]
fn a_scan_for_a_locker_is_judged_alike() {
    let mut keypad = Keypad::known();
    keypad.world.courier("badge", i64::MAX);
    let scan = || Happening::Scan {
        parcel: None,
        badge: cloud_protocol::badge_digest("badge"),
    };
    keypad.jump_wall(YEAR_MS);
    keypad.world.skip(900_000);
    assert!(text(&keypad.says(scan(), 600_000)).contains("too late"));
    assert!(text(&keypad.says(scan(), 1_000)).contains("accepted"));
}
