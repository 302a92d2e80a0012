//! Frames in a stream of bytes: what every serial protocol's decoder answers.
//!
//! A decoder looks at a buffer and says what its front is. It keeps no state, so what it says depends
//! on the bytes alone, and whoever reads the line decides how long to wait for more.

/// What the front of a buffer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<F> {
    /// A frame: `used` bytes of the buffer, at least one.
    Frame {
        /// What it says.
        frame: F,
        /// How many bytes it takes.
        used: usize,
    },
    /// So many bytes, at least one, that belong to no frame: pass over them and look again.
    Noise(usize),
    /// It may become a frame: wait for more. Never said of a buffer of [`Framing::MAX_BYTES`] or more.
    More,
}

/// A protocol's way to tell frames from a stream of bytes.
pub trait Framing {
    /// What a frame says.
    type Frame;

    /// The longest frame, in bytes.
    const MAX_BYTES: usize;

    /// What the front of the buffer is. Any bytes are allowed; the work is bounded by
    /// [`Self::MAX_BYTES`]. After noise the next whole frame is found: a decoder that was misled by
    /// bytes that looked like a beginning gives up one byte, not all that came since.
    fn find(&self, buffer: &[u8]) -> Found<Self::Frame>;
}
