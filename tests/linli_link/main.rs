//! The driver of the Linli link against devices that speak by the same machine as the simulator's, over
//! a stream in memory and over a pseudo-terminal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bed;
mod one_device;
mod shared_line;
