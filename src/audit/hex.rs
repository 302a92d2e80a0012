//! Keys, heads and chain values as people and `sha256sum` write them: lower-case hexadecimal.

use std::fmt::Write as _;

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String doesn't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Exactly `N` bytes of hexadecimal, in either case; `None` for all else.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks(2)) {
        let [high, low] = pair else {
            return None;
        };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(out)
}

fn digit(c: u8) -> Option<u8> {
    char::from(c)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_hexadecimal_is_read() {
        assert_eq!(hex(&[0, 0xab]), "00ab");
        assert_eq!(unhex::<2>("00aB"), Some([0, 0xab]));
        for wrong in ["", "00a", "00abcd", "00ag", "+0ab", "é0a"] {
            assert_eq!(unhex::<2>(wrong), None, "{wrong}");
        }
    }
}
