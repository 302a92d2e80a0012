//! Kerong CU16: `02 ADDR CMD 03 SUM`, the board in the high nibble of ADDR and the lock in the low one.

use alloc::vec;
use alloc::vec::Vec;

use super::{BoardFrame, Channels, Request, before, closed_by, front, is_whole, sum};
use crate::frame::Found;

const BEGIN: u8 = 0x02;
const END: u8 = 0x03;
const STATUS: u8 = 0x30;
const UNLOCK: u8 = 0x31;
const STATUS_REPLY: u8 = 0x35;
/// Status of all boards; unlock all; the time of the pulse, asked and set.
const FOREIGN: [u8; 4] = [0x32, 0x33, 0x37, 0x38];

/// A request in its range.
pub(super) fn encode(request: Request) -> Vec<u8> {
    let lock = request.channel().map_or(0, |channel| channel - 1);
    let command = match request {
        Request::Unlock { .. } => UNLOCK,
        Request::Status { .. } | Request::ChannelStatus { .. } => STATUS,
    };
    let address = request.address() << 4 | lock.to_le_bytes()[0] & 0x0f;
    closed_by(vec![BEGIN, address, command, END], sum)
}

pub(super) fn find(buffer: &[u8]) -> Found<BoardFrame> {
    if let Some(noise) = before(buffer, |byte| byte == BEGIN) {
        return Found::Noise(noise);
    }
    let length = match buffer.get(2) {
        None => return Found::More,
        Some(&STATUS_REPLY) => 9,
        Some(&(STATUS | UNLOCK)) => 5,
        Some(command) if FOREIGN.contains(command) => 5,
        Some(_) => return Found::Noise(1),
    };
    front(buffer, length, |frame| {
        read(frame).filter(|_| is_whole(frame, sum))
    })
}

fn read(frame: &[u8]) -> Option<BoardFrame> {
    match *frame {
        [BEGIN, at, STATUS_REPLY, h1, h2, i1, i2, END, _] => Some(BoardFrame::Status {
            address: at >> 4,
            states: Channels::of_bytes(&[h1, h2]),
            occupied: Some(Channels::of_bytes(&[i1, i2])),
        }),
        [BEGIN, at, command, END, _] => {
            let address = at >> 4;
            let channel = u16::from(at & 0x0f) + 1;
            Some(match command {
                STATUS => BoardFrame::Request(Request::Status { address }),
                UNLOCK => BoardFrame::Request(Request::Unlock { address, channel }),
                command => BoardFrame::Foreign { address, command },
            })
        }
        _ => None,
    }
}
