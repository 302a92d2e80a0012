//! The frames of the 24-way `8A` board, as the board reads and writes them.
//!
//! Known from third-party drivers; no manual of the maker was found. Open `8A BOARD CH 11 XOR`,
//! status of one `80 BOARD CH 33 XOR`, of all `80 BOARD 00 33 XOR`. Not known for sure: what answers
//! an open and the status of one; here it is the request with the state, 11 or 00, in place of its
//! fourth byte, so an open may be answered with its own bytes.

use super::board::{Asked, Request};

/// What a board is asked, if the bytes end with a request.
pub fn request(tail: &[u8]) -> Option<Request> {
    let &[start, board, channel, command, xor] = tail.last_chunk::<5>()?;
    let asked = match (start, command, channel) {
        (0x8A, 0x11, 1..) => Asked::Unlock(u16::from(channel)),
        (0x8A, 0x11, 0) => Asked::UnlockAll,
        (0x80, 0x33, 0) => Asked::Status,
        (0x80, 0x33, 1..) => Asked::StatusOf(u16::from(channel)),
        _ => return None,
    };
    (xor == start ^ board ^ channel ^ command).then_some(Request {
        address: board,
        asked,
    })
}

/// The status of all: a bit for each channel; S3 has channels 1 to 8, channel 1 the lowest.
pub fn status(board: u8, bits: u32) -> Vec<u8> {
    let [s3, s2, s1, _] = bits.to_le_bytes();
    xored(vec![0x80, board, s1, s2, s3, 0x33])
}

/// The status of one channel.
pub fn status_of(board: u8, channel: u16, one: bool) -> Vec<u8> {
    xored(vec![0x80, board, byte(channel), state(one)])
}

/// The reply to an open.
pub fn unlocked(board: u8, channel: u16, one: bool) -> Vec<u8> {
    xored(vec![0x8A, board, byte(channel), state(one)])
}

fn state(one: bool) -> u8 {
    if one { 0x11 } else { 0x00 }
}

fn byte(channel: u16) -> u8 {
    u8::try_from(channel).unwrap_or(u8::MAX)
}

fn xored(mut frame: Vec<u8>) -> Vec<u8> {
    frame.push(frame.iter().fold(0, |xor, byte| xor ^ byte));
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_open_is_read() {
        let open = Request {
            address: 1,
            asked: Asked::Unlock(1),
        };
        assert_eq!(request(&[0x8A, 0x01, 0x01, 0x11, 0x9B]), Some(open));
        assert_eq!(request(&[0x8A, 0x01, 0x01, 0x11, 0x9A]), None);
        let status = request(&[0x80, 0x02, 0x00, 0x33, 0xB1]);
        assert_eq!(status.map(|request| request.asked), Some(Asked::Status));
        let one = request(&[0x80, 0x02, 0x18, 0x33, 0xA9]);
        assert_eq!(one.map(|request| request.asked), Some(Asked::StatusOf(24)));
    }

    #[test]
    fn its_answers_are_right_byte_by_byte() {
        // Channels 1 and 24.
        let all = status(1, 0x80_0001);
        assert_eq!(all, [0x80, 0x01, 0x80, 0x00, 0x01, 0x33, 0x33]);
        assert_eq!(status_of(1, 24, true), [0x80, 0x01, 0x18, 0x11, 0x88]);
        assert_eq!(unlocked(1, 1, true), [0x8A, 0x01, 0x01, 0x11, 0x9B]);
        assert_eq!(unlocked(1, 1, false), [0x8A, 0x01, 0x01, 0x00, 0x8A]);
    }
}
