//! MQTT over TLS: the listener of the embedded broker, the certificates of the estate's own authority,
//! and the tools that a technician has at hand (`mosquitto_pub`, `openssl`).
//!
//! The clients of `sessions`, `certificates` and `flood` are `rustls` and exact bytes over it; `tools`
//! runs the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bed;
mod certificates;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/controller.rs"]
mod controller;
#[path = "../embedded/mod.rs"]
mod embedded;
mod flood;
mod sessions;
mod tools;
