//! The gateway.
pub mod intake;
pub mod links;
