//! What keeps the sync API honest and its codes closed: feature `secure`.
//!
//! * [`signed`] — requests signed by HTTP Message Signatures (RFC 9421, RFC 9530).
//! * [`sealed`] — pickup codes sealed by HPKE (RFC 9180).
//! * [`compressed`] — bodies in zstd, with a bound on what comes out.

pub mod compressed;
pub mod sealed;
pub mod signed;
