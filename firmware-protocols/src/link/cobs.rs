//! Consistent overhead byte stuffing (Cheshire and Baker, 1999): any bytes as bytes without a zero,
//! so that a zero always ends a frame.
//!
//! Forty lines of our own rather than a crate: a decoder that appends to a buffer, refuses a zero
//! inside and never looks ahead, and that the reference in C follows line by line.

use alloc::vec::Vec;

/// The most bytes that follow one code byte.
const RUN_MAX: usize = 254;

/// How many bytes so many become at most.
pub const fn coded_bytes(plain: usize) -> usize {
    plain + plain / RUN_MAX + 1
}

/// Appends the coded form, without a delimiter. A run of 254 bytes at the very end is followed by
/// nothing.
pub fn encode(plain: &[u8], coded: &mut Vec<u8>) {
    let mut rest = plain;
    loop {
        let (window, _) = rest.split_at(rest.len().min(RUN_MAX));
        let zero = window.iter().position(|byte| *byte == 0);
        let (run, tail) = rest.split_at(zero.unwrap_or(window.len()));
        coded.push(u8::try_from(run.len() + 1).unwrap_or(u8::MAX));
        coded.extend_from_slice(run);
        rest = match tail.split_first() {
            Some((0, after)) if run.len() < RUN_MAX => after,
            Some(_) => tail,
            None => return,
        };
    }
}

/// Appends the plain form of what stood between two delimiters. `None`, when it is no coded form:
/// a zero inside, or a run beyond the end.
pub fn decode(coded: &[u8], plain: &mut Vec<u8>) -> Option<()> {
    let mut rest = coded;
    while let Some((code, tail)) = rest.split_first() {
        let length = usize::from(code.checked_sub(1)?);
        let run = tail.get(..length).filter(|run| !run.contains(&0))?;
        plain.extend_from_slice(run);
        rest = tail.get(length..)?;
        if length < RUN_MAX && !rest.is_empty() {
            plain.push(0);
        }
    }
    Some(())
}
