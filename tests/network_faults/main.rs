//! The network's faults, with the real daemon: see each part.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod the_proxy;
