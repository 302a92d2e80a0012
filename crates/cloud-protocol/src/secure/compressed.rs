//! `Content-Encoding: zstd` (RFC 8878), bounded on both sides.

use alloc::vec::Vec;
use std::io::Read as _;

use crate::BODY_MAX_BYTES;

/// The content coding's name.
pub const ZSTD: &str = "zstd";
/// Smaller bodies are sent as they are: the frame would cost more than it saves.
pub const WORTH_BYTES: usize = 256;
/// What a decoder may keep as its window: 2²⁰ bytes, as much as a body may have.
const WINDOW_LOG_MAX: u32 = 20;
const LEVEL: i32 = 6;

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

/// The body again. Stops reading, and keeps nothing, past [`BODY_MAX_BYTES`].
pub fn unpack(packed: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut decoder = zstd::stream::read::Decoder::new(packed).map_err(|_| Refused::Damaged)?;
    decoder
        .window_log_max(WINDOW_LOG_MAX)
        .map_err(|_| Refused::Damaged)?;
    let mut body = Vec::new();
    let bound = BODY_MAX_BYTES as u64 + 1;
    decoder
        .take(bound)
        .read_to_end(&mut body)
        .map_err(|_| Refused::Damaged)?;
    if body.len() > BODY_MAX_BYTES {
        return Err(Refused::TooLarge);
    }
    Ok(body)
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
        // Its window alone is over the bound, or what comes out is.
        assert!(unpack(&bomb).is_err());
        let long = zstd::bulk::compress(&vec![0_u8; BODY_MAX_BYTES + 1], 3).unwrap();
        assert!(unpack(&long).is_err());
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
