//! What gateway and cloud say to each other.
