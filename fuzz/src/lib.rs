//! What must hold of every decoder of bytes from outside, as one function a decoder: it takes any
//! bytes and panics if they show a property broken.
//!
//! The fuzz targets in `targets/` hand their bytes to these functions, and so does the workspace's
//! own test `tests/fuzz_corpus.rs`, on stable Rust and without libFuzzer.
//!
//! * [`light`] — the decoders of the two protocol crates. Built in a minute.
//! * `gateway` — those in the daemon's own crate (feature `gateway`). Built in several.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

/// A target's name, which is also its corpus folder, and what takes its bytes.
pub type Target = (&'static str, fn(&[u8]));

#[cfg(feature = "gateway")]
pub mod gateway;
pub mod light;
