//! What linli says about the configuration.

pub mod reload;
