//! What a client has sent while its link is held.
//!
//! Publications wait here in their order. What keeps the link itself alive, acknowledgements and
//! PINGREQ, may go ahead of them: MQTT orders publications among themselves and nothing else, and a
//! bank that sends too much must still be able to acknowledge the command that opens its door.
//! Nothing goes ahead of a DISCONNECT.

use super::frames::{PUBLISH, event_payload, first_packet, kind};
use crate::intake;

/// How much may wait. More stays with the client. Enough for a window of 64 ordinary
/// publications.
pub(super) const PARKED_MAX_BYTES: usize = 64 * 1024;

const DISCONNECT: u8 = 14;

/// Whole packets, and the beginning of one.
#[derive(Debug, Default)]
pub(super) struct Parked {
    bytes: Vec<u8>,
    /// How many of the bytes were looked at, up to the end of a packet.
    sorted: usize,
    /// How many of them, up to the last publication that a person waits for.
    urgent: usize,
    /// A DISCONNECT is among them.
    ends: bool,
}

impl Parked {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many bytes still have room.
    pub(super) fn room(&self) -> usize {
        PARKED_MAX_BYTES - self.bytes.len().min(PARKED_MAX_BYTES)
    }

    /// Adds what the client sent. Returns the packets that may go ahead.
    pub(super) fn add(&mut self, bytes: &[u8], five: bool) -> Vec<u8> {
        self.bytes.extend_from_slice(bytes);
        let mut ahead = Vec::new();
        while let Some(packet) = first_packet(&self.bytes[self.sorted..]) {
            let (length, kind) = (packet.len(), kind(packet));
            if goes_ahead(kind) && !self.ends {
                ahead.extend_from_slice(packet);
                self.bytes.drain(self.sorted..self.sorted + length);
                continue;
            }
            let urgent =
                kind == PUBLISH && event_payload(packet, five).is_some_and(intake::is_urgent);
            self.ends |= kind == DISCONNECT;
            self.sorted += length;
            if urgent {
                self.urgent = self.sorted;
            }
        }
        ahead
    }

    /// Whether a publication waits that a person waits for.
    pub(super) fn has_urgent(&self) -> bool {
        self.urgent > 0
    }

    /// Takes out everything up to the last publication that a person waits for.
    pub(super) fn take_urgent(&mut self) -> Vec<u8> {
        self.take(self.urgent)
    }

    /// Takes the first packet out, or what there is of one that doesn't fit. `None`: its rest must
    /// come first.
    pub(super) fn take_first(&mut self) -> Option<Vec<u8>> {
        match first_packet(&self.bytes[..self.sorted]).map(<[u8]>::len) {
            Some(length) => Some(self.take(length)),
            None if self.room() == 0 => Some(self.take(self.bytes.len())),
            None => None,
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let rest = self.bytes.split_off(length);
        self.sorted = self.sorted.saturating_sub(length);
        self.urgent = self.urgent.saturating_sub(length);
        std::mem::replace(&mut self.bytes, rest)
    }
}

/// Acknowledgements and PINGREQ.
fn goes_ahead(kind: u8) -> bool {
    matches!(kind, 4..=7 | 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(payload: &str) -> Vec<u8> {
        let topic = b"linli/v1/bank-a/event";
        let length = 2 + topic.len() + 2 + payload.len();
        let mut packet = vec![0x32, u8::try_from(length).unwrap(), 0, 21];
        packet.extend_from_slice(topic);
        packet.extend_from_slice(&[0, 7]);
        packet.extend_from_slice(payload.as_bytes());
        packet
    }

    fn reading() -> Vec<u8> {
        event(r#"{"kind":"rating","boot":1,"seq":1,"score":3}"#)
    }

    fn key_press() -> Vec<u8> {
        event(r#"{"kind":"keypad","boot":1,"seq":2,"code":"123456"}"#)
    }

    #[test]
    fn acknowledgements_and_pings_go_ahead_of_publications() {
        let mut parked = Parked::default();
        let puback = b"\x40\x02\x00\x01";
        let bytes = [&reading()[..], puback, b"\xc0\x00", &reading()[..], puback].concat();
        let mut ahead = Vec::new();
        for part in bytes.chunks(7) {
            ahead.extend(parked.add(part, false));
        }
        assert_eq!(ahead, [&puback[..], b"\xc0\x00", puback].concat());
        assert!(!parked.has_urgent());
        assert_eq!(parked.take_first(), Some(reading()));
        assert_eq!(parked.take_first(), Some(reading()));
        assert!(parked.is_empty());
    }

    #[test]
    fn nothing_goes_ahead_of_the_end() {
        let mut parked = Parked::default();
        let bytes = [&reading()[..], b"\xe0\x00\xc0\x00"].concat();
        assert_eq!(parked.add(&bytes, false), b"");
        assert_eq!(parked.take_first(), Some(reading()));
        assert_eq!(parked.take_first().as_deref(), Some(&b"\xe0\x00"[..]));
        assert_eq!(parked.take_first().as_deref(), Some(&b"\xc0\x00"[..]));
    }

    #[test]
    fn what_a_person_waits_for_is_found_with_all_that_stands_before_it() {
        let mut parked = Parked::default();
        let before = [reading(), key_press()].concat();
        let bytes = [&before[..], &reading()[..10]].concat();
        parked.add(&bytes, false);
        assert!(parked.has_urgent());
        assert_eq!(parked.take_urgent(), before);
        assert!(!parked.has_urgent());
        assert_eq!(parked.take_first(), None, "only a part");
        parked.add(&reading()[10..], false);
        assert_eq!(parked.take_first(), Some(reading()));
    }

    #[test]
    fn there_is_an_end_to_the_room() {
        let mut parked = Parked::default();
        assert_eq!(parked.room(), PARKED_MAX_BYTES);
        parked.add(&vec![0xff; PARKED_MAX_BYTES], false);
        assert_eq!(parked.room(), 0);
        let passed = parked.take_first().map(|bytes| bytes.len());
        assert_eq!(passed, Some(PARKED_MAX_BYTES), "no packet");
        assert_eq!(parked.room(), PARKED_MAX_BYTES);
    }
}
