//! Devices are added, let in, given new passwords and taken out, and those that can't get in are found:
//! the real daemon, the real commands, real MQTT libraries.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bed;
#[path = "../common/mod.rs"]
mod common;
mod file;
mod knocks;
mod live;
mod pair;
mod passwords;
