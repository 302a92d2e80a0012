//! The rules of the estate: pure, deterministic, no_std.
