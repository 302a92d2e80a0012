//! OSDP frames in what comes over the line.
//!
//! A frame begins with `53`, says its length and ends with a CRC-16 (or, in old devices, a checksum).
//! Bytes `FF` in front of it are the line settling, and no noise. Our own commands, which some adapters
//! echo, are frames too: whoever waits for a reply passes them over.

use std::fmt;

use firmware_protocols::frame::{Found, Framing};
use osdp::SOM;
use osdp::packet::{HEADER_LEN, ParsedPacket, Trailer};

/// The line settling before a frame.
pub(super) const MARK: u8 = 0xFF;
/// So many of them belong to a frame.
const MARKS_MAX: usize = 4;
/// Nothing shorter is a frame: header, code, checksum.
const LEAST: usize = HEADER_LEN + 2;

/// A whole frame without its marks, its check character checked. Printed without its content, which may
/// be a card.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(Vec<u8>);

impl Frame {
    /// Its parts.
    pub fn packet(&self) -> Option<ParsedPacket<'_>> {
        ParsedPacket::parse(&self.0).ok().map(|(packet, _)| packet)
    }

    /// Its bytes, `53` first.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} bytes)", self.0.len())
    }
}

/// Tells OSDP frames from a stream of bytes.
#[derive(Debug, Clone, Copy)]
pub struct Frames;

impl Framing for Frames {
    type Frame = Frame;

    /// Much more than what is asked for here: a card, some digits, a list of capabilities. Files and
    /// pictures, for which OSDP has longer ones, aren't.
    const MAX_BYTES: usize = 512;

    fn find(&self, buffer: &[u8]) -> Found<Frame> {
        let marks = buffer.iter().take_while(|byte| **byte == MARK).count();
        if marks > MARKS_MAX {
            return Found::Noise(marks - MARKS_MAX);
        }
        let rest = buffer.get(marks..).unwrap_or(&[]);
        let Some(first) = rest.first() else {
            return Found::More;
        };
        if *first != SOM {
            let begins = |byte: &u8| *byte == SOM || *byte == MARK;
            let skip = rest.iter().position(begins).unwrap_or(rest.len());
            return Found::Noise(marks + skip.max(1));
        }
        match front(rest) {
            Front::Whole(length) => Found::Frame {
                frame: Frame(rest.get(..length).unwrap_or(rest).to_vec()),
                used: marks + length,
            },
            Front::No => Found::Noise(marks + 1),
            Front::Begun => match later(rest) {
                Some(position) => Found::Noise(marks + position),
                None => Found::More,
            },
        }
    }
}

enum Front {
    /// A frame of so many bytes.
    Whole(usize),
    /// It may become one.
    Begun,
    /// It can't.
    No,
}

fn front(bytes: &[u8]) -> Front {
    if let [_, _, low, high, ..] = *bytes {
        let length = usize::from(u16::from_le_bytes([low, high]));
        if !(LEAST..=Frames::MAX_BYTES - MARKS_MAX).contains(&length) {
            return Front::No;
        }
        if bytes.len() >= length {
            return match ParsedPacket::parse(bytes) {
                Ok((_, used)) => Front::Whole(used),
                Err(_) => Front::No,
            };
        }
    }
    Front::Begun
}

/// Where a whole frame begins behind bytes that only look like a beginning. Its CRC says that it is one.
fn later(bytes: &[u8]) -> Option<usize> {
    let starts = bytes.iter().enumerate().skip(1);
    let mut starts = starts.filter(|(_, byte)| **byte == SOM);
    let whole = |position: usize| {
        let parsed = bytes.get(position..).map(ParsedPacket::parse);
        matches!(parsed, Some(Ok((packet, _))) if matches!(packet.trailer, Trailer::Crc(_)))
    };
    starts.find_map(|(position, _)| whole(position).then_some(position))
}

#[cfg(test)]
mod tests {
    use osdp::packet::{Address, ControlByte, CtrlFlags, PacketBuilder, Sqn};
    use proptest::prelude::*;

    use super::*;

    fn frame(data: &[u8], crc: bool) -> Vec<u8> {
        let flags = if crc {
            CtrlFlags::USE_CRC
        } else {
            CtrlFlags::empty()
        };
        let control = ControlByte::new(Sqn::ZERO, flags);
        let address = Address::reply(1).unwrap();
        let packet = PacketBuilder::plain(address, control, 0x50, data.to_vec());
        packet.encode().unwrap()
    }

    /// Everything that is found in a stream, and how many bytes were noise.
    fn all(mut stream: &[u8]) -> (Vec<Frame>, usize) {
        let (mut frames, mut noise) = (Vec::new(), 0);
        loop {
            let used = match Frames.find(stream) {
                Found::Frame { frame, used } => {
                    frames.push(frame);
                    used
                }
                Found::Noise(bytes) => {
                    noise += bytes;
                    bytes
                }
                Found::More => return (frames, noise),
            };
            assert!(used > 0);
            stream = &stream[used..];
        }
    }

    #[test]
    fn the_example_of_the_standard_is_a_frame() {
        let poll = [0x53, 0x05, 0x08, 0x00, 0x04, 0x60, 0xBC, 0x89];
        assert_eq!(all(&poll).0[0].packet().unwrap().code, 0x60);
    }

    #[test]
    fn marks_belong_to_the_frame() {
        let mut stream = vec![MARK, MARK];
        stream.extend(frame(&[1, 2], true));
        stream.push(MARK);
        stream.extend(frame(&[3], false));
        let (frames, noise) = all(&stream);
        assert_eq!((frames.len(), noise), (2, 0));
    }

    #[test]
    fn bytes_that_look_like_a_beginning_do_not_hide_the_next_frame() {
        let mut stream = vec![SOM, 0x81, 0xF0, 0x01, 0x04];
        stream.extend(frame(&[1, 2, 3], true));
        let (frames, noise) = all(&stream);
        assert_eq!((frames.len(), noise), (1, 5));
    }

    #[test]
    fn what_a_frame_holds_is_not_printed() {
        let (frames, _) = all(&frame(&[0xDE, 0xAD], true));
        assert_eq!(format!("{:?}", frames[0]), "Frame(10 bytes)");
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_frames_noise_or_waiting(stream in prop::collection::vec(any::<u8>(), 0..1_200)) {
            all(&stream);
            if stream.len() >= Frames::MAX_BYTES {
                prop_assert!(!matches!(Frames.find(&stream), Found::More));
            }
        }

        #[test]
        fn bytes_of_the_protocol_end_too(
            stream in prop::collection::vec(prop::sample::select(vec![0x53, 0xFF, 0x81, 0x08, 0x00, 0x04, 0x0C, 0x02, 0x16]), 0..600)
        ) {
            all(&stream);
        }

        #[test]
        fn the_frame_after_noise_is_found(
            noise in prop::collection::vec(any::<u8>(), 0..64),
            data in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let wanted = frame(&data, true);
            let mut stream = noise;
            stream.extend(&wanted);
            let (frames, _) = all(&stream);
            prop_assert!(frames.iter().any(|frame| frame.bytes() == wanted));
        }
    }
}
