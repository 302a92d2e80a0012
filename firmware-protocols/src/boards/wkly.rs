//! WKLY: `57 4B 4C 59 LEN ADDR CMD DATA XOR`, LEN being the whole frame's length.

use alloc::vec;
use alloc::vec::Vec;

use super::{BoardFrame, Request, before, closed_by, front, is_whole, xor};
use crate::frame::Found;

const BEGIN: [u8; 4] = *b"WKLY";
const UNLOCK: u8 = 0x82;
const CHANNEL_STATUS: u8 = 0x83;
const STATUS: u8 = 0x84;
const CHANGED: u8 = 0x85;
/// A status byte: it went well.
const WELL: u8 = 0x00;
/// A frame without data.
const MIN_BYTES: usize = 8;
/// The longest that is taken for a frame: one whose length says more is none.
pub(super) const MAX_BYTES: usize = 128;

/// A request in its range.
pub(super) fn encode(request: Request) -> Vec<u8> {
    let command = match request {
        Request::Unlock { .. } => UNLOCK,
        Request::ChannelStatus { .. } => CHANNEL_STATUS,
        Request::Status { .. } => STATUS,
    };
    let mut frame = BEGIN.to_vec();
    let data = request.channel().map(|channel| channel.to_le_bytes()[0]);
    let length = match data {
        Some(_) => 9,
        None => 8,
    };
    frame.extend(vec![length, request.address(), command]);
    frame.extend(data);
    closed_by(frame, xor)
}

pub(super) fn find(buffer: &[u8]) -> Found<BoardFrame> {
    let [first, ..] = BEGIN;
    if let Some(noise) = before(buffer, |byte| byte == first) {
        return Found::Noise(noise);
    }
    if buffer.iter().zip(BEGIN).any(|(byte, begin)| *byte != begin) {
        return Found::Noise(1);
    }
    let Some(length) = buffer.get(4).map(|length| usize::from(*length)) else {
        return Found::More;
    };
    if !(MIN_BYTES..=MAX_BYTES).contains(&length) {
        return Found::Noise(1);
    }
    match front(buffer, length, read) {
        Found::More => waiting(buffer),
        found => found,
    }
}

/// The length may have been damaged. A whole frame within what came since says so.
fn waiting(buffer: &[u8]) -> Found<BoardFrame> {
    for begin in BEGIN.len()..buffer.len() {
        let rest = buffer.get(begin..).unwrap_or(&[]);
        if !rest.starts_with(&BEGIN) {
            continue;
        }
        let length = rest.get(4).map_or(0, |length| usize::from(*length));
        let frame = rest.get(..length).filter(|_| length >= MIN_BYTES);
        if frame.and_then(read).is_some() {
            return Found::Noise(begin);
        }
    }
    Found::More
}

/// The four bytes that begin a frame don't occur within one: its data are states and numbers of
/// channels. So a long one that holds them is none, whatever its check says.
fn read(frame: &[u8]) -> Option<BoardFrame> {
    let mut within = frame.get(1..)?.windows(BEGIN.len());
    if !is_whole(frame, xor) || within.any(|bytes| bytes == BEGIN) {
        return None;
    }
    let (address, command) = (*frame.get(5)?, *frame.get(6)?);
    let data = frame.get(7..frame.len().checked_sub(1)?)?;
    let frame = match (command, data) {
        (STATUS, []) => BoardFrame::Request(Request::Status { address }),
        (UNLOCK, &[channel]) => {
            let channel = u16::from(channel);
            BoardFrame::Request(Request::Unlock { address, channel })
        }
        (CHANNEL_STATUS, &[channel]) => {
            let channel = u16::from(channel);
            BoardFrame::Request(Request::ChannelStatus { address, channel })
        }
        (UNLOCK, &[status, channel, _]) => BoardFrame::Unlocked {
            address,
            channel: u16::from(channel),
            accepted: Some(status == WELL),
        },
        (CHANNEL_STATUS | STATUS, &[status, channel, state]) => BoardFrame::Channel {
            address,
            channel: u16::from(channel),
            state: (status == WELL).then_some(state != 0),
        },
        (CHANGED, &[WELL, channel, state]) | (CHANGED, &[channel, state]) => BoardFrame::Changed {
            address,
            channel: u16::from(channel),
            state: state != 0,
        },
        _ => BoardFrame::Foreign { address, command },
    };
    Some(match frame.channel() {
        Some(0) => BoardFrame::Foreign { address, command },
        _ => frame,
    })
}
