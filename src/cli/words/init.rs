//! What linli says about the first set-up.
