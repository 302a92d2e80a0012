//! The gateway.
pub mod cloud;
pub mod intake;
pub mod links;
