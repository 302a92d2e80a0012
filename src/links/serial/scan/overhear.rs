//! What a line with traffic of its own speaks: told by which protocol's frames its bytes make up.

use firmware_protocols::frame::{Found, Framing as _};
use firmware_protocols::link::{Hello, Kind, Link};

use super::{Finding, Rate};
use crate::config::serial::Protocol;
use crate::links::serial::monitor::{self, link};

/// How many bytes make traffic: fewer come when a port is opened, or a wire is touched.
pub const TRAFFIC_BYTES: usize = 4;

/// What a line speaks by itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Overheard {
    /// How many bytes were heard at the rate that fits best.
    pub bytes: usize,
    /// How many frames they make.
    pub frames: usize,
    /// What is spoken, if the bytes make sense at all.
    pub protocol: Option<Protocol>,
    /// How fast, if they do.
    pub rate: Option<Rate>,
    /// What said who it is.
    pub devices: Vec<Finding>,
}

/// Judges what was heard at each rate.
pub fn judge(heard: &[(Rate, Vec<u8>)]) -> Overheard {
    let mut best = Overheard {
        bytes: heard
            .iter()
            .map(|(_, bytes)| bytes.len())
            .max()
            .unwrap_or(0),
        frames: 0,
        protocol: None,
        rate: None,
        devices: Vec::new(),
    };
    let mut best_share = 0;
    for (rate, bytes) in heard {
        for protocol in Protocol::ALL {
            let (frames, framed) = frames(protocol, bytes);
            let share = (framed * 100).checked_div(bytes.len()).unwrap_or(0);
            // Half of it must make sense, and more than what another protocol makes of it.
            if share >= 50 && share > best_share {
                best_share = share;
                best.bytes = bytes.len();
                best.frames = frames;
                best.protocol = Some(protocol);
                best.rate = Some(*rate);
            }
        }
    }
    if let (Some(Protocol::Linli), Some(rate)) = (best.protocol, best.rate) {
        let its = heard.iter().filter(|(at, _)| *at == rate);
        best.devices = its.flat_map(|(_, bytes)| hellos(rate, bytes)).collect();
    }
    best
}

/// How many frames, and how many bytes are in them.
fn frames(protocol: Protocol, bytes: &[u8]) -> (usize, usize) {
    if protocol == Protocol::Lines {
        return lines(bytes);
    }
    let (mut rest, mut frames, mut framed) = (bytes, 0, 0);
    while !rest.is_empty() {
        let used = match monitor::find(protocol, None, rest) {
            Found::Frame { used, .. } => {
                frames += 1;
                framed += used;
                used
            }
            Found::Noise(bytes) => bytes,
            // The end may be missing: but the rest may hold whole ones, too.
            Found::More => 1,
        };
        rest = rest.get(used.max(1)..).unwrap_or(&[]);
    }
    (frames, framed)
}

/// Typed lines are text with an end of line; of anything else none is.
fn lines(bytes: &[u8]) -> (usize, usize) {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t') || is_end(byte);
    if !bytes.iter().all(is_text) || !bytes.iter().any(is_end) {
        return (0, 0);
    }
    let lines = bytes.split(is_end).filter(|line| !line.is_empty());
    (lines.count(), bytes.len())
}

fn hellos(rate: Rate, bytes: &[u8]) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let used = match Link.find(rest) {
            Found::Frame { frame, used } => {
                let known = found.iter().any(|known| known.address == frame.address);
                if frame.kind == Kind::Hello
                    && !known
                    && let Ok(hello) = Hello::decode(&frame.payload)
                {
                    found.push(Finding {
                        protocol: Protocol::Linli,
                        rate,
                        address: frame.address,
                        says: link::hello_words(&hello),
                    });
                }
                used
            }
            Found::Noise(bytes) => bytes,
            Found::More => break,
        };
        rest = rest.get(used.max(1)..).unwrap_or(&[]);
    }
    found
}

#[cfg(test)]
mod tests {
    use firmware_protocols::link::Frame;

    use super::*;

    const SLOW: Rate = Rate::plain(9_600);
    const FAST: Rate = Rate::plain(115_200);

    #[test]
    fn a_device_on_the_link_introduces_itself() {
        let mut hello = Hello::new(4);
        hello.device = Some("bank-b".parse().unwrap());
        let frame = Frame {
            payload: hello.encode(),
            ..Frame::new(false, 2, Kind::Hello)
        };
        let twice = [frame.encode(), frame.encode()].concat();
        let heard = judge(&[(SLOW, vec![0xf0, 0x3c, 0x99, 0xfe, 0x01]), (FAST, twice)]);
        assert_eq!(
            (heard.protocol, heard.rate),
            (Some(Protocol::Linli), Some(FAST))
        );
        assert_eq!((heard.frames, heard.devices.len()), (2, 1));
        assert_eq!(heard.devices[0].says, "device bank-b, boot 4");
    }

    #[test]
    fn boards_that_somebody_else_polls_are_known_by_their_frames() {
        let polled = [
            &[0x02, 0x10, 0x30, 0x03, 0x45][..],
            &[0x02, 0x10, 0x35, 0xff, 0x01, 0x00, 0x00, 0x03, 0x4a],
        ];
        let heard = judge(&[(SLOW, polled.concat())]);
        assert_eq!(
            (heard.protocol, heard.frames),
            (Some(Protocol::KerongCu16), 2)
        );
    }

    #[test]
    fn a_scanner_types_lines() {
        let heard = judge(&[(SLOW, b"SF123456789\r\n".to_vec())]);
        assert_eq!((heard.protocol, heard.frames), (Some(Protocol::Lines), 1));
    }

    #[test]
    fn what_makes_no_sense_is_said_to_make_none() {
        let heard = judge(&[(SLOW, (0_u8..200).rev().collect())]);
        assert_eq!((heard.protocol, heard.rate, heard.bytes), (None, None, 200));
        assert_eq!(judge(&[]).bytes, 0);
    }

    proptest::proptest! {
        #[test]
        fn any_traffic_is_judged(bytes: Vec<u8>) {
            let heard = judge(&[(SLOW, bytes.clone())]);
            proptest::prop_assert_eq!(heard.bytes, bytes.len());
        }
    }
}
