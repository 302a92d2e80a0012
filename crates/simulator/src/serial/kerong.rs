//! The frames of Kerong's CU16 and CU48 boards, as a board reads and writes them.
//!
//! Known from third-party drivers; no manual of the maker was found. CU16: `02 ADDR CMD 03 SUM`, in
//! ADDR the board in the high nibble and the lock, from 0, in the low one. CU48:
//! `02 DEV LOCK CMD 03 SUM`. SUM is the low byte of the sum of all bytes before it.

use super::board::{Asked, Request};

/// What a CU16 board is asked, if the bytes end with a request.
pub fn cu16_request(tail: &[u8]) -> Option<Request> {
    let &[2, address, command, 3, sum] = tail.last_chunk::<5>()? else {
        return None;
    };
    let body = [2, address, command, 3];
    let (board, channel) = (address >> 4, u16::from(address & 0x0F) + 1);
    let asked = match command {
        0x30 => Asked::Status,
        0x31 => Asked::Unlock(channel),
        0x33 => Asked::UnlockAll,
        _ => Asked::Other(command),
    };
    (sum == sum_of(&body)).then_some(Request {
        address: board,
        asked,
    })
}

/// A CU16 board's status: a bit for each hook and each infrared sensor, lock 1 the lowest.
pub fn cu16_status(board: u8, hooks: u16, infrared: u16) -> Vec<u8> {
    let [h1, h2] = hooks.to_le_bytes();
    let [i1, i2] = infrared.to_le_bytes();
    summed(vec![2, board << 4, 0x35, h1, h2, i1, i2, 3])
}

/// What a CU48 board is asked, if the bytes end with a request.
pub fn cu48_request(tail: &[u8]) -> Option<Request> {
    let &[2, device, lock, command, 3, sum] = tail.last_chunk::<6>()? else {
        return None;
    };
    let asked = match command {
        0x60 => Asked::Status,
        0x61 => Asked::Unlock(u16::from(lock) + 1),
        _ => Asked::Other(command),
    };
    (sum == sum_of(&[2, device, lock, command, 3])).then_some(Request {
        address: device,
        asked,
    })
}

/// A CU48 board's status: a bit for each lock, lock 1 the lowest of the first byte.
pub fn cu48_status(device: u8, hooks: u64) -> Vec<u8> {
    let mut frame = vec![2, device, 0, 0x75, 6];
    frame.extend_from_slice(hooks.to_le_bytes().get(..6).unwrap_or(&[]));
    summed(frame)
}

/// A CU48 board's reply to an unlock.
pub fn cu48_unlocked(device: u8, channel: u16) -> Vec<u8> {
    let lock = u8::try_from(channel.saturating_sub(1)).unwrap_or(u8::MAX);
    summed(vec![2, device, lock, 0x75, 0])
}

fn summed(mut frame: Vec<u8>) -> Vec<u8> {
    frame.push(sum_of(&frame));
    frame
}

fn sum_of(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_unlock_of_a_cu16_is_read() {
        let request = cu16_request(&[0x02, 0x00, 0x31, 0x03, 0x36]);
        let unlock = Request {
            address: 0,
            asked: Asked::Unlock(1),
        };
        assert_eq!(request, Some(unlock));
        // Board 10, lock 7; behind something else.
        let request = cu16_request(&[0xFF, 0x02, 0xA6, 0x31, 0x03, 0xDC]);
        let unlock = Request {
            address: 10,
            asked: Asked::Unlock(7),
        };
        assert_eq!(request, Some(unlock));
        assert_eq!(cu16_request(&[0x02, 0x00, 0x31, 0x03, 0x37]), None);
        assert_eq!(cu16_request(&[0x02, 0x00, 0x31, 0x03]), None);
    }

    #[test]
    fn a_cu16_says_its_status_byte_by_byte() {
        // Board 1: locks 1 and 16 closed, something behind sensors 2 and 9.
        let status = cu16_status(1, 0x8001, 0x0102);
        let expected = [0x02, 0x10, 0x35, 0x01, 0x80, 0x02, 0x01, 0x03, 0xCE];
        assert_eq!(status, expected);
    }

    #[test]
    fn a_cu48_is_read_and_answers_byte_by_byte() {
        let request = cu48_request(&[0x02, 0x01, 0x2F, 0x61, 0x03, 0x96]);
        let unlock = Request {
            address: 1,
            asked: Asked::Unlock(48),
        };
        assert_eq!(request, Some(unlock));
        let request = cu48_request(&[0x02, 0x01, 0x00, 0x60, 0x03, 0x66]);
        assert_eq!(request.map(|request| request.asked), Some(Asked::Status));
        let unlocked = cu48_unlocked(1, 48);
        assert_eq!(unlocked, [0x02, 0x01, 0x2F, 0x75, 0x00, 0xA7]);
        let status = cu48_status(1, 0x8000_0000_0001);
        let expected = [2, 1, 0, 0x75, 6, 0x01, 0, 0, 0, 0, 0x80, 0xFF];
        assert_eq!(status, expected);
    }
}
