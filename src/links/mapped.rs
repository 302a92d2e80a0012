//! Devices of other makers, over MQTT: what they publish becomes our events by a profile's program.
//!
//! * `profile` is what a profile says, `input` what its program is given, `output` what it makes.
//! * `child` is a worker process from its parent's side, `frames` what goes between the two, `worker` and
//!   `program` the worker's own side.

pub mod child;
pub mod frames;
pub mod input;
pub mod output;
pub mod profile;
pub mod program;
pub mod worker;

/// The program that a worker runs: this one, also when its file was replaced by a newer one meanwhile.
pub const EXE: &str = "/proc/self/exe";
