//! The frames of WKLY boards, as a board reads and writes them.
//!
//! Known from third-party drivers; no manual of the maker was found.
//! `57 4B 4C 59 LEN ADDR CMD DATA XOR`, LEN the whole frame: 82 open, 83 status of one, 84 of all,
//! 85 a change that the board tells by itself. Replies begin their data with a status, 00 or FF; the
//! states of all follow their number. A change is known with and without that status: a setting.

use super::board::{Asked, Request};

const START: [u8; 4] = [0x57, 0x4B, 0x4C, 0x59];
const DONE: u8 = 0x00;
const FAILED: u8 = 0xFF;

/// What a board is asked, if the bytes end with a request.
pub fn request(tail: &[u8]) -> Option<Request> {
    // Without data, with a channel; longer ones are other boards' or none that the gateway may send.
    (8..=24).find_map(|length| {
        let frame = tail.get(tail.len().checked_sub(length)?..)?;
        let (xor, body) = frame.split_last()?;
        let [0x57, 0x4B, 0x4C, 0x59, len, address, command, data @ ..] = body else {
            return None;
        };
        if usize::from(*len) != length || *xor != xor_of(body) {
            return None;
        }
        let asked = match (command, data) {
            (0x82, [channel]) => Asked::Unlock(u16::from(*channel)),
            (0x83, [channel]) => Asked::StatusOf(u16::from(*channel)),
            (0x84, []) => Asked::Status,
            // What other boards on the line answer and tell.
            (0x82..=0x85, _) => return None,
            (0x86, _) => Asked::UnlockAll,
            (command, _) => Asked::Other(*command),
        };
        Some(Request {
            address: *address,
            asked,
        })
    })
}

/// The reply to an open (82) or to the status of one (83); `state` is none if there is no such
/// channel.
pub fn one(address: u8, command: u8, channel: u16, state: Option<u8>) -> Vec<u8> {
    let status = state.map_or(FAILED, |_| DONE);
    let data = [status, byte(channel), state.unwrap_or(0)];
    frame(address, command, &data)
}

/// The states of all channels.
pub fn all(address: u8, states: &[u8]) -> Vec<u8> {
    let count = u8::try_from(states.len()).unwrap_or(u8::MAX);
    let data = [&[DONE, count], states].concat();
    frame(address, 0x84, &data)
}

/// A change that it tells by itself.
pub fn change(address: u8, channel: u16, state: u8, with_status: bool) -> Vec<u8> {
    match with_status {
        true => frame(address, 0x85, &[DONE, byte(channel), state]),
        false => frame(address, 0x85, &[byte(channel), state]),
    }
}

fn frame(address: u8, command: u8, data: &[u8]) -> Vec<u8> {
    let length = u8::try_from(data.len() + 8).unwrap_or(u8::MAX);
    let mut frame = [&START[..], &[length, address, command], data].concat();
    frame.push(xor_of(&frame));
    frame
}

fn byte(channel: u16) -> u8 {
    u8::try_from(channel).unwrap_or(u8::MAX)
}

fn xor_of(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |xor, byte| xor ^ byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_open_is_read() {
        let open = Request {
            address: 10,
            asked: Asked::Unlock(1),
        };
        let known = [0x57, 0x4B, 0x4C, 0x59, 0x09, 0x0A, 0x82, 0x01, 0x89];
        assert_eq!(request(&known), Some(open));
        let behind_noise = [&[0x57, 0x4B], &known[..]].concat();
        assert_eq!(request(&behind_noise), Some(open));
        assert_eq!(request(&known[..8]), None);
    }

    #[test]
    fn its_answers_are_right_byte_by_byte() {
        let opened = one(0, 0x82, 1, Some(0));
        assert_eq!(
            opened,
            [
                0x57, 0x4B, 0x4C, 0x59, 0x0B, 0x00, 0x82, 0x00, 0x01, 0x00, 0x81
            ]
        );
        let states = all(0, &[0, 1, 1, 0]);
        assert_eq!(
            states,
            [
                0x57, 0x4B, 0x4C, 0x59, 0x0E, 0x00, 0x84, 0x00, 0x04, 0x00, 0x01, 0x01, 0x00, 0x87
            ]
        );
        let changed = change(0, 1, 1, false);
        assert_eq!(
            changed,
            [0x57, 0x4B, 0x4C, 0x59, 0x0A, 0x00, 0x85, 0x01, 0x01, 0x86]
        );
        // An answer of another board is no request.
        assert_eq!(request(&opened), None);
        assert_eq!(request(&states), None);
    }
}
