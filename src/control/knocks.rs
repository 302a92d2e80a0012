//! Who knocked and wasn't let in, and the pairing of a device.

use serde::{Deserialize, Serialize};

/// Somebody that wasn't let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnockView {
    /// What it calls itself.
    pub client_id: String,
}

/// What happens while a device is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairStep {
    /// Whether the device is in.
    pub paired: bool,
}
