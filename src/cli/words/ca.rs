//! What linli says about the estate's certificate authority.
