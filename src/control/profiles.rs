//! Devices with a profile, and how it does.

use serde::{Deserialize, Serialize};

/// A device with a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappedView {
    /// The device.
    pub device: String,
}
