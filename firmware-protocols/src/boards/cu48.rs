//! Kerong CU48: `02 DEV LOCK CMD 03 SUM`; replies `02 DEV LOCK 75 LEN DATA SUM`.

use alloc::vec;
use alloc::vec::Vec;

use super::{BoardFrame, Channels, Request, before, closed_by, front, is_whole, sum};
use crate::frame::Found;

const BEGIN: u8 = 0x02;
const END: u8 = 0x03;
const STATUS: u8 = 0x60;
const UNLOCK: u8 = 0x61;
const REPLY: u8 = 0x75;
/// The highest lock.
const LOCK_MAX: u8 = 47;

/// A request in its range.
pub(super) fn encode(request: Request) -> Vec<u8> {
    let lock = request.channel().map_or(0, |channel| channel - 1);
    let command = match request {
        Request::Unlock { .. } => UNLOCK,
        Request::Status { .. } | Request::ChannelStatus { .. } => STATUS,
    };
    let lock = lock.to_le_bytes()[0];
    closed_by(vec![BEGIN, request.address(), lock, command, END], sum)
}

pub(super) fn find(buffer: &[u8]) -> Found<BoardFrame> {
    if let Some(noise) = before(buffer, |byte| byte == BEGIN) {
        return Found::Noise(noise);
    }
    let length = match (buffer.get(3), buffer.get(4)) {
        (None, _) | (Some(&(REPLY | STATUS | UNLOCK)), None) => return Found::More,
        (Some(&(STATUS | UNLOCK)), Some(&END)) | (Some(&REPLY), Some(0)) => 6,
        (Some(&REPLY), Some(6)) => 12,
        _ => return Found::Noise(1),
    };
    front(buffer, length, |frame| {
        read(frame).filter(|_| is_whole(frame, sum))
    })
}

fn read(frame: &[u8]) -> Option<BoardFrame> {
    let channel = |lock: u8| u16::from(lock) + 1;
    match *frame {
        [BEGIN, address, 0, REPLY, 6, d0, d1, d2, d3, d4, d5, _] => Some(BoardFrame::Status {
            address,
            states: Channels::of_bytes(&[d0, d1, d2, d3, d4, d5]),
            occupied: None,
        }),
        [BEGIN, address, lock @ 0..=LOCK_MAX, REPLY, 0, _] => Some(BoardFrame::Unlocked {
            address,
            channel: channel(lock),
            accepted: None,
        }),
        [BEGIN, address, 0..=LOCK_MAX, STATUS, END, _] => {
            Some(BoardFrame::Request(Request::Status { address }))
        }
        [BEGIN, address, lock @ 0..=LOCK_MAX, UNLOCK, END, _] => {
            let channel = channel(lock);
            Some(BoardFrame::Request(Request::Unlock { address, channel }))
        }
        _ => None,
    }
}
