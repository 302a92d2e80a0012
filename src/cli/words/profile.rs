//! What linli says about profiles.
