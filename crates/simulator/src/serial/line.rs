//! The line between the gateway and its devices: every byte takes its time, and some come to harm.
//! Pure: it is given the time and knows no files.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Say;
use crate::Random;

/// The most bytes under way in one direction; beyond it the oldest stay and new ones are lost, as in
/// an overrun.
const UNDER_WAY_MAX: usize = 65_536;

/// What is wrong with a line. Chances are per thousand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Added to the time that a device thinks before it answers.
    pub delay: Duration,
    /// A byte gets lost, either way.
    pub loss_per_mille: u16,
    /// One bit of a byte is flipped, either way.
    pub flip_per_mille: u16,
    /// One to four stray bytes stand before what a device says.
    pub stray_per_mille: u16,
    /// What a device says breaks off somewhere.
    pub half_per_mille: u16,
    /// The gateway's adapter hears what it sends.
    pub echo: bool,
}

/// A byte under way to the devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// When it is there, whole.
    pub at: Instant,
    /// The byte.
    pub byte: u8,
    /// The device that said it; `None` if the gateway did.
    pub by: Option<usize>,
}

/// The bytes under way.
pub struct Line {
    byte_time: Duration,
    faults: Faults,
    random: Random,
    to_devices: VecDeque<Heard>,
    to_gateway: VecDeque<(Instant, u8)>,
    /// When the gateway's last byte is over, and the devices' last.
    sent_by: Option<Instant>,
    said_by: Option<Instant>,
}

impl Line {
    /// A line on which a byte takes `byte_time`.
    pub fn new(byte_time: Duration, faults: Faults, random: Random) -> Self {
        Self {
            byte_time,
            faults,
            random,
            to_devices: VecDeque::new(),
            to_gateway: VecDeque::new(),
            sent_by: None,
            said_by: None,
        }
    }

    /// From now on these are wrong with it.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// The gateway sends bytes, with `garbled` at a rate that isn't the line's.
    pub fn send(&mut self, bytes: &[u8], garbled: bool, now: Instant) {
        for byte in bytes {
            let at = self.sent_by.map_or(now, |by| by.max(now)) + self.byte_time;
            self.sent_by = Some(at);
            if self.faults.echo {
                self.queue_for_gateway(at, *byte);
            }
            let byte = if garbled { self.noise() } else { *byte };
            if let Some(byte) = self.harm(byte)
                && self.to_devices.len() < UNDER_WAY_MAX
            {
                insert(&mut self.to_devices, Heard { at, byte, by: None }, |h| h.at);
            }
        }
    }

    /// A device says something. With `garbled` the gateway listens at another rate.
    pub fn say(&mut self, by: usize, say: &Say, garbled: bool, now: Instant) {
        let start = now + say.after + self.faults.delay;
        let mut at = self.said_by.map_or(start, |by| by.max(start));
        let mut bytes = say.bytes.clone();
        if self.happens(self.faults.half_per_mille) {
            let left = self.random.below(bytes.len() as u64);
            bytes.truncate(usize::try_from(left).unwrap_or(0));
        }
        if self.happens(self.faults.stray_per_mille) {
            for _ in 0..self.random.between(1, 4) {
                let stray = self.noise();
                bytes.insert(0, stray);
            }
        }
        for byte in bytes {
            at += self.byte_time;
            let byte = if garbled { self.noise() } else { byte };
            let Some(byte) = self.harm(byte) else {
                continue;
            };
            self.queue_for_gateway(at, byte);
            if self.to_devices.len() < UNDER_WAY_MAX {
                let heard = Heard {
                    at,
                    byte,
                    by: Some(by),
                };
                insert(&mut self.to_devices, heard, |h| h.at);
            }
        }
        self.said_by = Some(at);
    }

    /// Stray bytes come to the gateway by themselves.
    pub fn disturb(&mut self, bytes: &[u8], now: Instant) {
        for byte in bytes {
            let at = self.said_by.map_or(now, |by| by.max(now)) + self.byte_time;
            self.said_by = Some(at);
            self.queue_for_gateway(at, *byte);
        }
    }

    /// The next byte that has reached the devices.
    pub fn heard(&mut self, now: Instant) -> Option<Heard> {
        let first = self.to_devices.front()?;
        (first.at <= now).then(|| self.to_devices.pop_front())?
    }

    /// The bytes that have reached the gateway.
    pub fn reached(&mut self, now: Instant) -> Vec<u8> {
        let there = self.to_gateway.partition_point(|(at, _)| *at <= now);
        self.to_gateway
            .drain(..there)
            .map(|(_, byte)| byte)
            .collect()
    }

    /// When the next byte arrives anywhere.
    pub fn next(&self) -> Option<Instant> {
        let devices = self.to_devices.front().map(|heard| heard.at);
        let gateway = self.to_gateway.front().map(|(at, _)| *at);
        devices.into_iter().chain(gateway).min()
    }

    /// The cable is out: what is under way is lost.
    pub fn cut(&mut self) {
        self.to_devices.clear();
        self.to_gateway.clear();
        self.sent_by = None;
        self.said_by = None;
    }

    fn queue_for_gateway(&mut self, at: Instant, byte: u8) {
        if self.to_gateway.len() < UNDER_WAY_MAX {
            insert(&mut self.to_gateway, (at, byte), |(at, _)| *at);
        }
    }

    fn harm(&mut self, byte: u8) -> Option<u8> {
        if self.happens(self.faults.loss_per_mille) {
            return None;
        }
        if self.happens(self.faults.flip_per_mille) {
            let bit = u32::try_from(self.random.below(8)).unwrap_or(0);
            return Some(byte ^ 1_u8.rotate_left(bit));
        }
        Some(byte)
    }

    fn happens(&mut self, per_mille: u16) -> bool {
        per_mille > 0 && self.random.below(1_000) < u64::from(per_mille)
    }

    fn noise(&mut self) -> u8 {
        u8::try_from(self.random.below(256)).unwrap_or(0)
    }
}

/// Puts an item behind those that are earlier or as early.
fn insert<T>(queue: &mut VecDeque<T>, item: T, at: impl Fn(&T) -> Instant) {
    let when = at(&item);
    let place = queue.partition_point(|other| at(other) <= when);
    queue.insert(place, item);
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTE: Duration = Duration::from_micros(521);

    fn all_heard(line: &mut Line, now: Instant) -> Vec<(Instant, u8)> {
        std::iter::from_fn(|| line.heard(now))
            .map(|heard| (heard.at, heard.byte))
            .collect()
    }

    #[test]
    fn bytes_take_their_time_one_after_the_other() {
        let mut line = Line::new(BYTE, Faults::default(), Random::new(1));
        let now = Instant::now();
        line.send(&[1, 2], false, now);
        assert_eq!(line.next(), Some(now + BYTE));
        assert_eq!(all_heard(&mut line, now + BYTE), [(now + BYTE, 1)]);
        // More while the line is busy: it waits for its turn.
        line.send(&[3], false, now + BYTE);
        let heard = all_heard(&mut line, now + BYTE * 9);
        assert_eq!(heard, [(now + BYTE * 2, 2), (now + BYTE * 3, 3)]);
    }

    #[test]
    fn an_answer_comes_after_its_pause_and_others_on_the_line_hear_it() {
        let faults = Faults {
            delay: BYTE,
            ..Faults::default()
        };
        let mut line = Line::new(BYTE, faults, Random::new(1));
        let now = Instant::now();
        let say = Say {
            after: BYTE,
            bytes: vec![7, 8],
        };
        line.say(4, &say, false, now);
        assert!(line.reached(now + BYTE * 2).is_empty());
        assert_eq!(line.reached(now + BYTE * 3), [7]);
        assert_eq!(line.reached(now + BYTE * 4), [8]);
        let heard = line.heard(now + BYTE * 4).unwrap();
        assert_eq!((heard.byte, heard.by), (7, Some(4)));
    }

    #[test]
    fn an_echo_comes_back_as_it_was_sent() {
        let faults = Faults {
            echo: true,
            ..Faults::default()
        };
        let mut line = Line::new(BYTE, faults, Random::new(1));
        let now = Instant::now();
        line.send(&[1, 2, 3], false, now);
        assert_eq!(line.reached(now + BYTE * 3), [1, 2, 3]);
    }

    #[test]
    fn faults_happen_as_often_as_set_and_the_same_for_a_seed() {
        let harmed = |seed| {
            let faults = Faults {
                loss_per_mille: 100,
                flip_per_mille: 100,
                ..Faults::default()
            };
            let mut line = Line::new(BYTE, faults, Random::new(seed));
            let now = Instant::now();
            line.send(&[0x55; 1_000], false, now);
            let end = now + BYTE * 1_000;
            std::iter::from_fn(|| line.heard(end))
                .map(|heard| heard.byte)
                .collect::<Vec<u8>>()
        };
        let bytes = harmed(7);
        assert_eq!(bytes, harmed(7));
        assert!((850..950).contains(&bytes.len()), "{}", bytes.len());
        let flipped = bytes.iter().filter(|byte| **byte != 0x55);
        let one_bit = flipped.clone().all(|byte| (byte ^ 0x55).count_ones() == 1);
        assert!(one_bit && (50..150).contains(&flipped.count()));
    }

    #[test]
    fn another_rate_garbles_every_frame() {
        let mut line = Line::new(BYTE, Faults::default(), Random::new(1));
        let now = Instant::now();
        line.send(&[0x02; 32], true, now);
        let heard = all_heard(&mut line, now + BYTE * 32);
        assert!(heard.iter().filter(|(_, byte)| *byte != 0x02).count() > 16);
    }
}
