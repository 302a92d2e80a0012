//! Where MQTT packets begin and end in a client's bytes.
//!
//! The door only carries bytes, but must know three things of them: whether a whole packet came (a
//! sign of life), where a packet ends (so that something may pass between two), and whether a
//! packet is a publication that a person waits for. What is malformed is passed on as it is: the
//! broker behind closes on it.

use firmware_protocols::topic::{self, Channel};

/// PUBLISH, the first byte's upper half.
pub(super) const PUBLISH: u8 = 3;
const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 10;

/// Follows bytes that pass, without keeping them.
#[derive(Debug, Clone, Default)]
pub(super) struct Follow {
    place: Place,
    /// The first byte of the packet.
    first: u8,
    /// How many publications have passed.
    pub publications: u64,
    /// How many packets have passed that cost as much, SUBSCRIBE and UNSUBSCRIBE.
    pub subscriptions: u32,
}

#[derive(Debug, Clone, Copy, Default)]
enum Place {
    /// Between two packets.
    #[default]
    Between,
    /// After the first byte, or in the length.
    Length { length: usize, shift: u32 },
    /// So many bytes are still to come of this packet.
    Body(usize),
    /// The length can't be one: no packet ends any more.
    Lost,
}

impl Follow {
    /// Passes bytes. How many packets ended in them.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) -> usize {
        let mut ended = 0;
        while !bytes.is_empty() {
            bytes = &bytes[self.pass_one(bytes)..];
            if self.is_between() {
                ended += 1;
                match self.first >> 4 {
                    PUBLISH => self.publications += 1,
                    SUBSCRIBE | UNSUBSCRIBE => self.subscriptions += 1,
                    _ => {}
                }
            }
        }
        ended
    }

    /// Whether a packet ended with the last byte.
    pub(super) fn is_between(&self) -> bool {
        matches!(self.place, Place::Between)
    }

    /// How many of `bytes` still belong to the packet that has begun.
    pub(super) fn rest(&self, bytes: &[u8]) -> usize {
        match self.is_between() {
            true => 0,
            false => self.clone().pass_one(bytes),
        }
    }

    /// Passes bytes up to the end of one packet. How many.
    fn pass_one(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while used < bytes.len() {
            let byte = bytes[used];
            match self.place {
                Place::Between => {
                    self.first = byte;
                    self.place = LENGTH;
                    used += 1;
                }
                Place::Length { length, shift } => {
                    self.place = after_length_byte(length, shift, byte);
                    used += 1;
                    if self.is_between() {
                        return used;
                    }
                }
                Place::Body(left) => {
                    let here = left.min(bytes.len() - used);
                    used += here;
                    if here == left {
                        self.place = Place::Between;
                        return used;
                    }
                    self.place = Place::Body(left - here);
                }
                Place::Lost => return bytes.len(),
            }
        }
        used
    }
}

/// Before the first byte of the length.
const LENGTH: Place = Place::Length {
    length: 0,
    shift: 0,
};

fn after_length_byte(length: usize, shift: u32, byte: u8) -> Place {
    let length = length | usize::from(byte & 0x7f) << shift;
    match (byte & 0x80 != 0, shift < 21, length) {
        (true, true, _) => Place::Length {
            length,
            shift: shift + 7,
        },
        (true, false, _) => Place::Lost,
        (false, _, 0) => Place::Between,
        (false, ..) => Place::Body(length),
    }
}

/// The first whole packet in `bytes`, which begin with one.
pub(super) fn first_packet(bytes: &[u8]) -> Option<&[u8]> {
    let mut follow = Follow::default();
    let length = follow.pass_one(bytes);
    (length > 0 && follow.is_between()).then(|| &bytes[..length])
}

/// The kind of a packet: its first byte's upper half.
pub(super) fn kind(packet: &[u8]) -> u8 {
    packet.first().map_or(0, |first| first >> 4)
}

/// The payload of a publication to an event topic. `None`: it is something else, or malformed.
pub(super) fn event_payload(packet: &[u8], five: bool) -> Option<&[u8]> {
    let first = *packet.first()?;
    if first >> 4 != PUBLISH {
        return None;
    }
    let header = 2 + packet[1..]
        .iter()
        .take_while(|byte| **byte & 0x80 != 0)
        .count();
    let (length, rest) = packet.get(header..)?.split_first_chunk::<2>()?;
    let (name, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let (_, channel) = topic::parse(std::str::from_utf8(name).ok()?)?;
    if channel != Channel::Event {
        return None;
    }
    let rest = rest.get(if first & 6 == 0 { 0 } else { 2 }..)?;
    if !five {
        return Some(rest);
    }
    let mut follow = Follow {
        place: LENGTH,
        ..Follow::default()
    };
    let properties = follow.pass_one(rest);
    follow.is_between().then(|| &rest[properties..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(first: u8, length: usize) -> Vec<u8> {
        let mut packet = vec![first];
        let mut rest = length;
        loop {
            let byte = u8::try_from(rest & 0x7f).unwrap();
            rest >>= 7;
            packet.push(if rest > 0 { byte | 0x80 } else { byte });
            if rest == 0 {
                break;
            }
        }
        packet.resize(packet.len() + length, 0xaa);
        packet
    }

    #[test]
    fn a_publication_of_events_is_found_in_its_packet() {
        let three = b"\x32\x1a\x00\x15linli/v1/bank-a/event\x00\x07x";
        assert_eq!(event_payload(three, false), Some(&b"x"[..]));
        let five = b"\x32\x1d\x00\x15linli/v1/bank-a/event\x00\x07\x02\x01\x01x";
        assert_eq!(event_payload(five, true), Some(&b"x"[..]));
        let at_most_once = b"\x30\x18\x00\x15linli/v1/bank-a/eventx";
        assert_eq!(event_payload(at_most_once, false), Some(&b"x"[..]));
        let status = b"\x30\x18\x00\x16linli/v1/bank-a/statusx";
        assert_eq!(event_payload(status, false), None);
        for length in 0..three.len() {
            let cut = event_payload(&three[..length], false);
            assert!(cut.is_none_or(<[u8]>::is_empty), "{length}");
        }
        assert_eq!(event_payload(b"\xc0\x00", true), None);
    }

    #[test]
    fn a_length_that_is_none_ends_nothing() {
        let mut follow = Follow::default();
        assert_eq!(follow.pass(b"\x30\xff\xff\xff\xff\x01\xc0\x00\xc0\x00"), 0);
        assert_eq!(first_packet(b"\x30\xff\xff\xff\xff\x01"), None);
    }

    proptest! {
        #[test]
        fn packets_are_counted_however_they_are_cut(
            lengths in proptest::collection::vec(prop_oneof![Just(0_usize), 1..300_usize, 16_000..20_000_usize], 1..20),
            step in 1..5_000_usize,
        ) {
            let packets: Vec<Vec<u8>> = lengths.iter().map(|length| packet(0x30, *length)).collect();
            let bytes = packets.concat();
            let mut follow = Follow::default();
            let ended: usize = bytes.chunks(step).map(|chunk| follow.pass(chunk)).sum();
            prop_assert_eq!(ended, packets.len());
            prop_assert!(follow.is_between());
            prop_assert_eq!(follow.publications, packets.len() as u64);
            prop_assert_eq!(first_packet(&bytes), Some(&packets[0][..]));
            let cut = packets[0].len() - 1;
            prop_assert_eq!(first_packet(&bytes[..cut]), None);
            let mut follow = Follow::default();
            follow.pass(&bytes[..cut]);
            prop_assert_eq!(follow.rest(&bytes[cut..]), 1);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), five: bool) {
            let mut follow = Follow::default();
            follow.rest(&bytes);
            follow.pass(&bytes);
            event_payload(&bytes, five);
            first_packet(&bytes);
        }
    }
}
