//! Keypads: wrong tries and the lockout that grows.

use firmware_protocols::Ident;

/// A keypad's wrong tries. Survives restarts; runs on ticks, so the wall clock can't shorten it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeypadRow {
    /// The device that has the keypad.
    pub keypad: Ident,
    /// Wrong codes since the last right one or the last lockout.
    pub wrong: u32,
    /// Lockouts since the last right code: the next one's length doubles with each.
    pub lockouts: u32,
    /// The end of the running lockout, in ticks.
    pub locked_until_tick_ms: Option<u64>,
}
