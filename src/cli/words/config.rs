//! What linli says about the configuration.
