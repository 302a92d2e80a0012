//! The gateway.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
pub mod credentials;
pub mod intake;
pub mod links;
