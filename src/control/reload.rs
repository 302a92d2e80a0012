//! A new configuration, taken over while the daemon runs.

use serde::{Deserialize, Serialize};

/// What became of a new configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadView {
    /// What has changed and holds now, in words.
    pub applied: Vec<String>,
    /// Keys that have changed and hold only after a restart.
    pub after_restart: Vec<String>,
}
