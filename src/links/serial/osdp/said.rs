//! What a reader says, as events.
//!
//! A card is written `26:deadbec0`: how many bits it has, and these in hexadecimal, the first bit the
//! highest, filled up to whole bytes with zeros. Keys are gathered until `#` (or Enter); `*` clears
//! them, and so does a pause of ten seconds.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use firmware_protocols::event::{Method, Outcome, Secret};
use firmware_protocols::{Ident, Kind};
use osdp::reply::{Fmt, Keypad, LStatR, RStatR, Raw};
use zeroize::{Zeroize as _, Zeroizing};

/// After so long without another key what was typed is forgotten.
const KEYS_IDLE: Duration = Duration::from_secs(10);
/// No code is longer. What is typed beyond it is left out, so a longer entry is wrong and counts so.
const KEYS_MAX: usize = 16;
/// A card of so many bits still fits into a scanned symbol of 128 characters.
const CARD_BITS_MAX: u16 = 480;

const LSTATR: u8 = 0x48;
const RSTATR: u8 = 0x4B;
const RAW: u8 = 0x50;
const FMT: u8 = 0x51;
const KEYPAD: u8 = 0x53;

/// What cards and digits mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// Somebody is at this door.
    Door(Ident),
    /// Somebody is at a pickup point.
    Point,
}

/// An answer that can't be what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Senseless;

/// Listens to one reader.
pub struct Ears {
    meaning: Meaning,
    keys: Keys,
    /// As last reported: the reader's cover, its power, its heads.
    tampered: bool,
    powerless: bool,
    heads: bool,
}

#[derive(Default)]
struct Keys {
    typed: Zeroizing<String>,
    last: Option<Instant>,
}

impl Ears {
    /// For a reader whose cards and digits mean this.
    pub fn new(meaning: Meaning) -> Self {
        Self {
            meaning,
            keys: Keys {
                // Never moved, so that wiping it leaves nothing behind.
                typed: Zeroizing::new(String::with_capacity(KEYS_MAX)),
                last: None,
            },
            tampered: false,
            powerless: false,
            heads: false,
        }
    }

    /// What an answer says. Empty for those that are no news.
    pub fn hear(&mut self, code: u8, data: &[u8], now: Instant) -> Result<Vec<Kind>, Senseless> {
        Ok(match code {
            RAW => {
                let card = Raw::decode(data).map_err(|_| Senseless)?;
                vec![self.card(written(&card).ok_or(Senseless)?)]
            }
            FMT => {
                let card = Fmt::decode(data).map_err(|_| Senseless)?;
                vec![self.card(text(&card.chars).ok_or(Senseless)?)]
            }
            KEYPAD => {
                let keys = Keypad::decode(data).map_err(|_| Senseless)?;
                let digits = Zeroizing::new(keys.digits);
                self.keys(&digits, now)
            }
            LSTATR => {
                let status = LStatR::decode(data).map_err(|_| Senseless)?;
                self.local(status.tamper != 0, status.power != 0)
            }
            RSTATR => {
                let status = RStatR::decode(data).map_err(|_| Senseless)?;
                self.heads(status.readers.iter().any(|head| *head != 0))
            }
            _ => Vec::new(),
        })
    }

    /// Whether the reader is tampered with, as far as it says.
    pub fn tampered(&self) -> bool {
        self.tampered || self.heads
    }

    /// Forgets keys that nobody goes on with.
    pub fn idle(&mut self, now: Instant) {
        let over = |last: Instant| now.saturating_duration_since(last) >= KEYS_IDLE;
        if self.keys.last.is_some_and(over) {
            self.clear();
        }
    }

    /// Forgets what was typed.
    pub fn clear(&mut self) {
        self.keys.typed.zeroize();
        self.keys.last = None;
    }

    fn card(&self, card: Secret) -> Kind {
        match &self.meaning {
            Meaning::Door(door) => presented(door, Method::Card, card),
            Meaning::Point => Kind::Scan { symbol: card },
        }
    }

    fn keys(&mut self, keys: &[u8], now: Instant) -> Vec<Kind> {
        self.idle(now);
        let mut entries = Vec::new();
        for key in keys {
            self.keys.last = Some(now);
            match key {
                b'0'..=b'9' if self.keys.typed.len() < KEYS_MAX => {
                    self.keys.typed.push(char::from(*key));
                }
                // The standard's bytes for these keys, and what some keypads send.
                b'\r' | b'#' if !self.keys.typed.is_empty() => {
                    let code = Secret::new(self.keys.typed.as_str());
                    entries.push(match &self.meaning {
                        Meaning::Door(door) => presented(door, Method::Pin, code),
                        Meaning::Point => Kind::Keypad { code, opened: None },
                    });
                    self.clear();
                }
                0x7F | b'*' => self.clear(),
                _ => {}
            }
        }
        entries
    }

    fn local(&mut self, tampered: bool, powerless: bool) -> Vec<Kind> {
        let mut alarms = Vec::new();
        if tampered && !self.tampered {
            alarms.push(alarm("tamper", "the reader says that its cover is open"));
        }
        if powerless && !self.powerless {
            alarms.push(alarm("power", "the reader says that its power is failing"));
        }
        (self.tampered, self.powerless) = (tampered, powerless);
        alarms
    }

    fn heads(&mut self, tampered: bool) -> Vec<Kind> {
        let news = tampered && !self.heads;
        self.heads = tampered;
        let alarm = || alarm("tamper", "the reader's head is open or was taken away");
        news.then(alarm).into_iter().collect()
    }
}

fn presented(door: &Ident, method: Method, credential: Secret) -> Kind {
    Kind::Access {
        door: door.clone(),
        outcome: Outcome::Presented,
        direction: None,
        method: Some(method),
        credential: Some(credential),
    }
}

fn alarm(word: &str, text: &str) -> Kind {
    Kind::Alarm {
        alarm: word.to_owned(),
        text: Some(text.to_owned()),
    }
}

/// A card's bits, with their number: cards of 26 and of 32 bits never look the same.
fn written(card: &Raw) -> Option<Secret> {
    if !(1..=CARD_BITS_MAX).contains(&card.bit_count) {
        return None;
    }
    let mut text = format!("{}:", card.bit_count);
    let spare = (8 - card.bit_count % 8) % 8;
    let last = card.bits.len().checked_sub(1)?;
    for (index, byte) in card.bits.iter().enumerate() {
        // What stands behind the last bit differs between firmwares.
        let byte = if index == last {
            *byte >> spare << spare
        } else {
            *byte
        };
        write!(text, "{byte:02x}").ok()?;
    }
    Some(Secret::new(text))
}

/// A card that the reader itself has put into characters.
fn text(chars: &[u8]) -> Option<Secret> {
    let plain = chars.iter().all(|byte| (0x20..=0x7E).contains(byte));
    if !plain || !(1..=128).contains(&chars.len()) {
        return None;
    }
    let text: String = chars.iter().copied().map(char::from).collect();
    Some(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn point() -> Ears {
        Ears::new(Meaning::Point)
    }

    fn typed(ears: &mut Ears, keys: &[u8], now: Instant) -> Vec<String> {
        let mut data = vec![0, u8::try_from(keys.len()).unwrap()];
        data.extend(keys);
        let said = ears.hear(KEYPAD, &data, now).unwrap();
        let codes = said.iter().map(|kind| match kind {
            Kind::Keypad { code, opened: None } => code.reveal().to_owned(),
            other => panic!("{other:?}"),
        });
        codes.collect()
    }

    fn scanned(bits: u16, bytes: &[u8]) -> Result<String, Senseless> {
        let mut data = vec![0, 1];
        data.extend(bits.to_le_bytes());
        data.extend(bytes);
        let said = point().hear(RAW, &data, Instant::now())?;
        match said.as_slice() {
            [Kind::Scan { symbol }] => Ok(symbol.reveal().to_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_card_is_its_bits_and_their_number() {
        assert_eq!(
            scanned(26, &[0xDE, 0xAD, 0xBE, 0xC0]).unwrap(),
            "26:deadbec0"
        );
        assert_eq!(
            scanned(32, &[0xDE, 0xAD, 0xBE, 0xC0]).unwrap(),
            "32:deadbec0"
        );
        assert_eq!(scanned(1, &[0x80]).unwrap(), "1:80");
    }

    #[test]
    fn what_stands_behind_the_last_bit_is_not_the_card() {
        assert_eq!(
            scanned(26, &[0xDE, 0xAD, 0xBE, 0xFF]).unwrap(),
            "26:deadbec0"
        );
    }

    #[test]
    fn a_card_without_bits_or_with_too_many_makes_no_sense() {
        assert_eq!(scanned(0, &[]), Err(Senseless));
        assert_eq!(scanned(26, &[1, 2]), Err(Senseless));
        assert_eq!(scanned(481, &[0; 61]), Err(Senseless));
        assert!(scanned(480, &[0xFF; 60]).unwrap().len() <= 128);
    }

    #[test]
    fn at_a_door_a_card_is_presented_and_nothing_is_decided() {
        let door = Ident::new("gate-1").unwrap();
        let mut ears = Ears::new(Meaning::Door(door.clone()));
        let now = Instant::now();
        let said = ears.hear(RAW, &[0, 0, 8, 0, 0xA5], now).unwrap();
        assert_eq!(said, [presented(&door, Method::Card, Secret::new("8:a5"))]);
        let said = ears.hear(KEYPAD, &[0, 3, b'4', b'7', b'\r'], now).unwrap();
        assert_eq!(said, [presented(&door, Method::Pin, Secret::new("47"))]);
    }

    #[test]
    fn keys_make_an_entry_at_the_key_that_ends_it() {
        let (mut ears, now) = (point(), Instant::now());
        assert!(typed(&mut ears, b"47", now).is_empty());
        assert_eq!(typed(&mut ears, b"11#", now), ["4711"]);
        assert_eq!(typed(&mut ears, b"0\r8\r", now), ["0", "8"]);
        assert!(typed(&mut ears, b"##\r", now).is_empty());
    }

    #[test]
    fn a_star_clears() {
        let (mut ears, now) = (point(), Instant::now());
        assert_eq!(typed(&mut ears, b"99*12#", now), ["12"]);
        assert_eq!(typed(&mut ears, b"99\x7f34\r", now), ["34"]);
    }

    #[test]
    fn ten_seconds_without_a_key_clear_and_no_less() {
        let (mut ears, now) = (point(), Instant::now());
        typed(&mut ears, b"47", now);
        let later = now + KEYS_IDLE;
        let just_before = later - Duration::from_millis(1);
        ears.idle(just_before);
        assert_eq!(typed(&mut ears, b"11#", just_before), ["4711"]);
        typed(&mut ears, b"47", now);
        assert_eq!(typed(&mut ears, b"11#", later), ["11"]);
    }

    #[test]
    fn an_entry_has_an_end() {
        let entries = typed(
            &mut point(),
            &[&[b'7'; 40][..], b"#"].concat(),
            Instant::now(),
        );
        assert_eq!(entries, ["7".repeat(16)]);
    }

    #[test]
    fn an_alarm_is_raised_once_and_again_after_it_was_over() {
        let (mut ears, now) = (point(), Instant::now());
        let mut alarms = |code, data: &[u8]| {
            let said = ears.hear(code, data, now).unwrap();
            let words = said.into_iter().map(|kind| match kind {
                Kind::Alarm { alarm, .. } => alarm,
                other => panic!("{other:?}"),
            });
            words.collect::<Vec<_>>()
        };
        assert!(alarms(LSTATR, &[0, 0]).is_empty());
        assert_eq!(alarms(LSTATR, &[1, 0]), ["tamper"]);
        assert!(alarms(LSTATR, &[1, 0]).is_empty());
        assert_eq!(alarms(LSTATR, &[1, 1]), ["power"]);
        assert!(alarms(LSTATR, &[0, 0]).is_empty());
        assert_eq!(alarms(LSTATR, &[1, 1]), ["tamper", "power"]);
        assert_eq!(alarms(RSTATR, &[0, 2]), ["tamper"]);
        assert!(alarms(RSTATR, &[1]).is_empty());
    }

    proptest! {
        #[test]
        fn whatever_is_said_becomes_events_that_are_taken(code: u8, data in prop::collection::vec(any::<u8>(), 0..200)) {
            let said = point().hear(code, &data, Instant::now()).unwrap_or_default();
            for kind in said {
                let event = firmware_protocols::Event {
                    boot: 1,
                    seq: 1,
                    when: firmware_protocols::event::When::Unsaid,
                    kind,
                };
                let payload = firmware_protocols::event::encode(&[event], firmware_protocols::Form::Cbor);
                let read = firmware_protocols::event::decode(&payload).unwrap();
                prop_assert!(read[0].is_ok());
            }
        }
    }
}
