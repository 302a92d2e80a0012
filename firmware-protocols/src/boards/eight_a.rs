//! The 24-way board: open `8A BOARD CH 11 XOR`, status `80 BOARD CH 33 XOR`.
//!
//! Two things look alike on this line. The reply to an open with state 11 is the request, byte by
//! byte: from the boards' side both are read as a reply. And a status reply of 7 bytes can begin like
//! a whole frame of 5: so 5 bytes count from the boards' side only when the sixth shows that it isn't
//! one of 7.

use alloc::vec;
use alloc::vec::Vec;

use super::{BoardFrame, Channels, Direction, Request, before, closed_by, front, is_whole, xor};
use crate::frame::Found;

const OPEN: u8 = 0x8a;
const STATUS: u8 = 0x80;
const ASK: u8 = 0x33;
const SET: u8 = 0x11;
const CLEAR: u8 = 0x00;
/// The highest channel.
const CHANNEL_MAX: u8 = 24;

/// A request in its range.
pub(super) fn encode(request: Request) -> Vec<u8> {
    let channel = request.channel().unwrap_or(0).to_le_bytes()[0];
    let (begin, what) = match request {
        Request::Unlock { .. } => (OPEN, SET),
        Request::Status { .. } | Request::ChannelStatus { .. } => (STATUS, ASK),
    };
    closed_by(vec![begin, request.address(), channel, what], xor)
}

pub(super) fn find(buffer: &[u8], direction: Direction) -> Found<BoardFrame> {
    if let Some(noise) = before(buffer, |byte| matches!(byte, OPEN | STATUS)) {
        return Found::Noise(noise);
    }
    let may_be_long = direction == Direction::FromBoards && buffer.first() == Some(&STATUS);
    if may_be_long && let Some(long) = buffer.get(..7).and_then(read_long) {
        return Found::Frame {
            frame: long,
            used: 7,
        };
    }
    if may_be_long && buffer.len() < 7 && buffer.get(5).is_none_or(|byte| *byte == ASK) {
        return Found::More;
    }
    front(buffer, 5, |short| read_short(short, direction))
}

/// The states of all channels: the last byte of the three is channels 1 to 8.
fn read_long(frame: &[u8]) -> Option<BoardFrame> {
    match *frame {
        [STATUS, address, s1, s2, s3, ASK, _] if is_whole(frame, xor) => Some(BoardFrame::Status {
            address,
            states: Channels::of_bytes(&[s3, s2, s1]),
            occupied: None,
        }),
        _ => None,
    }
}

fn read_short(frame: &[u8], direction: Direction) -> Option<BoardFrame> {
    if !is_whole(frame, xor) {
        return None;
    }
    match *frame {
        [STATUS, address, 0, ASK, _] => Some(BoardFrame::Request(Request::Status { address })),
        [STATUS, address, channel @ 1..=CHANNEL_MAX, what, _] => {
            let channel = u16::from(channel);
            match (what, direction) {
                (ASK, _) => {
                    let request = Request::ChannelStatus { address, channel };
                    Some(BoardFrame::Request(request))
                }
                (SET | CLEAR, Direction::FromBoards) => Some(BoardFrame::Channel {
                    address,
                    channel,
                    state: Some(what == SET),
                }),
                _ => None,
            }
        }
        [OPEN, address, channel @ 1..=CHANNEL_MAX, what, _] => {
            let channel = u16::from(channel);
            match (what, direction) {
                (SET, Direction::ToBoards) => {
                    Some(BoardFrame::Request(Request::Unlock { address, channel }))
                }
                (SET | CLEAR, Direction::FromBoards) => Some(BoardFrame::Unlocked {
                    address,
                    channel,
                    accepted: None,
                }),
                _ => None,
            }
        }
        _ => None,
    }
}
