//! What goes between the gateway and a worker: frames with a length, over the worker's standard input
//! and output.
//!
//! ```text
//!  gateway ──length (4, little endian), bytes──────────▶ worker    first the program, then inputs
//!  gateway ◀──word (1), length (4, little endian), bytes── worker    one answer for each
//! ```

use std::io::{self, Read, Write};

/// The longest program, bytes.
pub const PROGRAM_MAX_BYTES: usize = 64 * 1024;
/// The largest payload that a program is given, bytes.
pub const PAYLOAD_MAX_BYTES: usize = 256 * 1024;
/// The largest input: a payload whose every byte was escaped, its topic and names.
pub const INPUT_MAX_BYTES: usize = 6 * PAYLOAD_MAX_BYTES + 16 * 1024;
/// The most events that a program makes of one payload.
pub const OUTPUTS_MAX: usize = 256;
/// The most that a program says about one payload, bytes.
pub const OUTPUT_MAX_BYTES: usize = 64 * 1024;
/// The longest words of a program that fails, bytes.
pub const WHY_MAX_BYTES: usize = 400;

/// The program, or this input, did well: what it made, as a JSON array.
pub const WELL: u8 = 0;
/// It didn't: why, in words.
pub const ILL: u8 = 1;

/// Reads what the gateway sends. `None`: it has ended.
pub fn read(from: &mut impl Read, max_bytes: usize) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > max_bytes {
        return Err(io::Error::other("a frame is longer than it may be"));
    }
    let mut frame = vec![0; length];
    from.read_exact(&mut frame)?;
    Ok(Some(frame))
}

/// Answers.
pub fn answer(to: &mut impl Write, word: u8, bytes: &[u8]) -> io::Result<()> {
    let mut frame = Vec::with_capacity(5 + bytes.len());
    frame.push(word);
    frame.extend_from_slice(&length_of(bytes));
    frame.extend_from_slice(bytes);
    to.write_all(&frame)?;
    to.flush()
}

/// A frame's length, as it is sent.
pub fn length_of(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()
}
