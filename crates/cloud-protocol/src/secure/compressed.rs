//! `Content-Encoding: zstd` (RFC 8878, windows as in RFC 9659), bounded on both sides.
//!
//! A body is unpacked in one go into a buffer of [`BODY_MAX_BYTES`], which is its window as well: so no
//! frame, whatever it says of itself, makes more memory needed than that.

use alloc::vec::Vec;

use zstd::zstd_safe;
use zstd_safe::zstd_sys::ZSTD_ErrorCode;

use crate::BODY_MAX_BYTES;

/// The content coding's name.
pub const ZSTD: &str = "zstd";
/// Smaller bodies are sent as they are: the frame would cost more than it saves.
pub const WORTH_BYTES: usize = 256;
const LEVEL: i32 = 6;
/// How `zstd` says that the buffer is full.
const NO_ROOM: usize = (ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall as usize).wrapping_neg();

/// Why a compressed body isn't taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// More than [`BODY_MAX_BYTES`] come out of it.
    #[error("more than {BODY_MAX_BYTES} bytes come out of the compressed body")]
    TooLarge,
    /// It isn't zstd, or broken.
    #[error("the body isn't zstd, or is damaged")]
    Damaged,
}

/// The body compressed, if that makes it smaller.
pub fn pack(body: &[u8]) -> Option<Vec<u8>> {
    if body.len() < WORTH_BYTES {
        return None;
    }
    let packed = zstd::bulk::compress(body, LEVEL).ok()?;
    (packed.len() < body.len()).then_some(packed)
}

/// The body again, if it is no longer than [`BODY_MAX_BYTES`].
pub fn unpack(packed: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut body = Vec::with_capacity(BODY_MAX_BYTES);
    match zstd_safe::decompress(&mut body, packed) {
        Ok(_) => {
            body.shrink_to_fit();
            Ok(body)
        }
        Err(NO_ROOM) => Err(Refused::TooLarge),
        Err(_) => Err(Refused::Damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn what_goes_in_comes_out_and_a_bomb_does_not() {
        let body = b"{\"kind\":\"health\"}".repeat(100);
        let packed = pack(&body).unwrap();
        assert!(packed.len() < body.len() / 10);
        assert_eq!(unpack(&packed).unwrap(), body);
        let whole = vec![0_u8; BODY_MAX_BYTES];
        assert_eq!(unpack(&pack(&whole).unwrap()).unwrap(), whole);
        let bomb = zstd::bulk::compress(&vec![0_u8; 64 << 20], 3).unwrap();
        assert!(bomb.len() < 10_000);
        assert_eq!(unpack(&bomb), Err(Refused::TooLarge));
        let long = zstd::bulk::compress(&vec![0_u8; BODY_MAX_BYTES + 1], 3).unwrap();
        assert_eq!(unpack(&long), Err(Refused::TooLarge));
    }

    #[test]
    fn what_is_not_zstd_is_refused() {
        assert_eq!(unpack(b"plainly not"), Err(Refused::Damaged));
        let mut packed = pack(&b"a text that repeats itself ".repeat(40)).unwrap();
        packed.truncate(packed.len() / 2);
        assert_eq!(unpack(&packed), Err(Refused::Damaged));
        assert_eq!(pack(b"short"), None);
    }
}
