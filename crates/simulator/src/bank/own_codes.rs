//! What a bank keeps to check codes by itself: the list, what was used of it, its own lockout. It
//! survives a reboot, as flash does. The rules are those of `DEVICES.md`, 'Banks that check codes by
//! themselves'.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use firmware_protocols::command::BankCode;
use ring::hmac;

use crate::device::Place;

/// Wrong codes until the keypad is locked.
const LOCKOUT_AFTER: u32 = 5;
/// The first lockout; it doubles with each up to the longest.
const LOCKOUT_FIRST_MS: i64 = 60_000;
const LOCKOUT_LONGEST_MS: i64 = 900_000;
/// How long without a lockout until the next has the first length again.
const QUIET_MS: i64 = 86_400_000;
/// How long after the promise an `open` may still be the gateway's late answer.
const LATE_ANSWER: Duration = Duration::from_secs(10);

/// What the bank itself makes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The code is good; it is marked as used.
    Opens(u16),
    /// Not in the list, or used.
    Wrong,
    /// Nothing is looked up while the lockout runs.
    Locked,
    /// One digit: a function of the gateway's.
    Function,
}

/// The bank's own memory of codes.
#[derive(Default)]
pub(super) struct OwnCodes {
    salt: Vec<u8>,
    list: BTreeMap<[u8; 32], u16>,
    /// Codes that opened, and how far that is known; gone with the first list after the promise, as
    /// is the mark of a use that a power cut kept from being reported.
    used: BTreeMap<[u8; 32], Use>,
    wrong: u32,
    lockouts: u32,
    locked_until_ms: Option<i64>,
    late: Option<LateAnswer>,
}

/// How far the news of a used code has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Unreported,
    Reported(Place),
    Promised,
}

/// An entry that was sent and then decided by the bank: an `open` may still come for it.
struct LateAnswer {
    entry: Place,
    until: Option<Instant>,
}

impl OwnCodes {
    /// A new list in the place of the old one; false while it can't be told which of its codes
    /// were used, as the salt is another.
    pub(super) fn take_list(&mut self, salt: &[u8], codes: &[BankCode]) -> bool {
        let told = |how_far: &Use| !matches!(how_far, Use::Reported(_));
        if self.salt != salt && !self.used.values().all(told) {
            return false;
        }
        self.salt = salt.to_vec();
        self.list = codes.iter().map(|c| (c.digest, c.compartment)).collect();
        self.used.retain(|_, how_far| !told(how_far));
        true
    }

    /// Judges an entry, and marks a good code as used.
    pub(super) fn check(&mut self, digits: &str, now_ms: i64) -> Verdict {
        if self.locked_until_ms.is_some_and(|until| now_ms < until) {
            return Verdict::Locked;
        }
        if digits.len() < 2 {
            return Verdict::Function;
        }
        let digest = self.digest(digits);
        match self.list.get(&digest) {
            Some(compartment) if !self.used.contains_key(&digest) => {
                self.used.insert(digest, Use::Unreported);
                self.wrong = 0;
                Verdict::Opens(*compartment)
            }
            _ => {
                self.count_wrong(now_ms);
                Verdict::Wrong
            }
        }
    }

    /// The use of `digits` is reported by this event.
    pub(super) fn reported(&mut self, digits: &str, place: Place) {
        let digest = self.digest(digits);
        self.used.insert(digest, Use::Reported(place));
    }

    /// The lock didn't move: the code is as good as before.
    pub(super) fn not_used(&mut self, digits: &str) {
        let digest = self.digest(digits);
        self.used.remove(&digest);
    }

    /// These events are on disk.
    pub(super) fn promised(&mut self, places: &[Place]) {
        for how_far in self.used.values_mut() {
            if matches!(how_far, Use::Reported(place) if places.contains(place)) {
                *how_far = Use::Promised;
            }
        }
        if let Some(late) = &mut self.late
            && places.contains(&late.entry)
        {
            late.until = Some(Instant::now() + LATE_ANSWER);
        }
    }

    /// The bank decides an entry that it has sent before; `waits`: its promise is still to come.
    pub(super) fn decided(&mut self, entry: Place, waits: bool) {
        let until = (!waits).then(|| Instant::now() + LATE_ANSWER);
        self.late = Some(LateAnswer { entry, until });
    }

    /// Somebody types or scans with a connection: what is opened from now on may be for them.
    pub(super) fn gateway_is_asked(&mut self) {
        self.late = None;
    }

    /// Whether an `open` that comes now may be for somebody who has gone.
    pub(super) fn answer_is_late(&self) -> bool {
        let over = |until: Instant| until <= Instant::now();
        self.late
            .as_ref()
            .is_some_and(|late| !late.until.is_some_and(over))
    }

    fn count_wrong(&mut self, now_ms: i64) {
        if self
            .locked_until_ms
            .is_some_and(|until| now_ms - until >= QUIET_MS)
        {
            self.lockouts = 0;
        }
        self.wrong += 1;
        if self.wrong < LOCKOUT_AFTER {
            return;
        }
        let length = LOCKOUT_FIRST_MS << self.lockouts.min(4);
        self.wrong = 0;
        self.lockouts += 1;
        self.locked_until_ms = Some(now_ms + length.min(LOCKOUT_LONGEST_MS));
    }

    fn digest(&self, digits: &str) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.salt);
        let mut digest = [0; 32];
        digest.copy_from_slice(hmac::sign(&key, digits.as_bytes()).as_ref());
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: i64 = 60_000;

    fn bank_codes(codes: &OwnCodes, list: &[(&str, u16)]) -> Vec<BankCode> {
        let code = |&(digits, compartment): &(&str, u16)| BankCode {
            digest: codes.digest(digits),
            compartment,
        };
        list.iter().map(code).collect()
    }

    fn with(list: &[(&str, u16)]) -> OwnCodes {
        let mut codes = OwnCodes {
            salt: vec![7; 32],
            ..OwnCodes::default()
        };
        let list = bank_codes(&codes, list);
        assert!(codes.take_list(&[7; 32], &list));
        codes
    }

    /// The worked example of the document.
    #[test]
    fn a_digest_is_that_of_the_document() {
        let codes = OwnCodes {
            salt: (0..32).collect(),
            ..OwnCodes::default()
        };
        let hex: String = codes
            .digest("004711")
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(
            hex,
            "333f5785bdca374c98dfb3e8ee184a84da25d588924ddd0759cf0a93be66591e"
        );
    }

    #[test]
    fn a_code_opens_once_until_a_list_after_the_promise_names_it() {
        let mut codes = with(&[("123456", 3)]);
        let list = bank_codes(&codes, &[("123456", 3)]);
        assert_eq!(codes.check("123456", 0), Verdict::Opens(3));
        codes.reported("123456", (1, 9));
        assert_eq!(codes.check("123456", 0), Verdict::Wrong);
        assert!(codes.take_list(&[7; 32], &list));
        assert_eq!(codes.check("123456", 0), Verdict::Wrong, "an older list");
        assert!(!codes.take_list(&[8; 32], &list), "another salt");
        codes.promised(&[(1, 8)]);
        assert!(codes.take_list(&[7; 32], &list));
        assert_eq!(codes.check("123456", 0), Verdict::Wrong, "another event");
        codes.promised(&[(1, 9)]);
        assert_eq!(codes.check("123456", 0), Verdict::Wrong, "no newer list");
        assert!(codes.take_list(&[7; 32], &list));
        assert_eq!(codes.check("123456", 0), Verdict::Opens(3));
    }

    #[test]
    fn what_is_not_in_the_list_is_revoked() {
        let mut codes = with(&[("123456", 3), ("654321", 4)]);
        let list = bank_codes(&codes, &[("654321", 5)]);
        assert!(codes.take_list(&[7; 32], &list));
        assert_eq!(codes.check("123456", 0), Verdict::Wrong);
        assert_eq!(codes.check("654321", 0), Verdict::Opens(5));
        codes.reported("654321", (1, 1));
        codes.promised(&[(1, 1)]);
        assert!(codes.take_list(&[8; 32], &list));
        assert_eq!(codes.check("654321", 0), Verdict::Wrong, "another salt");
    }

    #[test]
    fn the_lockout_climbs_the_ladder_and_starts_over_after_a_quiet_day() {
        let mut codes = with(&[("123456", 3)]);
        let mut now_ms = 0;
        for minutes in [1, 2, 4, 8, 15, 15] {
            for _ in 0..5 {
                assert_eq!(codes.check("000000", now_ms), Verdict::Wrong);
            }
            now_ms += minutes * MINUTE_MS;
            assert_eq!(codes.check("123456", now_ms - 1), Verdict::Locked);
        }
        now_ms += QUIET_MS;
        for _ in 0..5 {
            assert_eq!(codes.check("000000", now_ms), Verdict::Wrong);
        }
        assert_eq!(
            codes.check("123456", now_ms + MINUTE_MS - 1),
            Verdict::Locked
        );
        assert_eq!(codes.check("123456", now_ms + MINUTE_MS), Verdict::Opens(3));
    }

    #[test]
    fn an_opening_forgives_wrong_codes_and_a_function_is_none() {
        let mut codes = with(&[("123456", 3)]);
        for _ in 0..4 {
            assert_eq!(codes.check("000000", 0), Verdict::Wrong);
        }
        assert_eq!(codes.check("0", 0), Verdict::Function);
        assert_eq!(codes.check("123456", 0), Verdict::Opens(3));
        for _ in 0..4 {
            assert_eq!(codes.check("123456", 0), Verdict::Wrong);
        }
        assert_eq!(codes.check("0", 0), Verdict::Function);
        assert_eq!(codes.check("000000", 0), Verdict::Wrong);
        assert_eq!(codes.check("0", 0), Verdict::Locked);
    }

    #[test]
    fn a_late_answer_is_told_until_the_gateway_is_asked_again() {
        let mut codes = with(&[]);
        assert!(!codes.answer_is_late());
        codes.decided((1, 5), true);
        assert!(codes.answer_is_late());
        codes.promised(&[(1, 5)]);
        assert!(codes.answer_is_late(), "for ten seconds");
        codes.gateway_is_asked();
        assert!(!codes.answer_is_late());
        codes.decided((1, 6), false);
        assert!(codes.answer_is_late());
    }
}
