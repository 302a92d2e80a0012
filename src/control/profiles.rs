//! Devices with a profile, and how it does.

use serde::{Deserialize, Serialize};

/// A device with a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappedView {
    /// The device.
    pub device: String,
    /// Its profile: the name of one that is shipped, or a file.
    pub profile: String,
    /// What the device calls itself in its topics.
    pub named: String,
    /// The bridge that speaks for it.
    pub via: Option<String>,
    /// How its profile does.
    pub state: MappedState,
    /// What is wrong with the profile.
    pub why: Option<String>,
    /// Until when the profile is suspended, ms since the Unix epoch.
    pub until_ms: Option<i64>,
    /// Payloads that came since the start.
    pub payloads: u64,
    /// Events that were made of them.
    pub events: u64,
    /// Payloads that couldn't be mapped; they are in quarantine.
    pub refused: u64,
    /// Payloads that came a second time: deliveries that were repeated.
    pub repeated: u64,
    /// Why the last one couldn't.
    pub last_refusal: Option<String>,
    /// When the last payload came, ms since the Unix epoch.
    pub heard_ms: Option<i64>,
    /// What its client, the bridge or itself, published to topics that no device has. Read and dropped.
    pub unmapped: u64,
}

/// A profile that isn't run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileDown {
    /// Its name, or its file.
    pub profile: String,
    /// Why, in words.
    pub why: String,
    /// Until when, ms since the Unix epoch. `None`: until it is mended.
    pub until_ms: Option<i64>,
    /// How many devices have it.
    pub devices: u64,
}

impl ProfileDown {
    /// Those among the profiles of these devices that aren't run.
    pub fn among(views: &[MappedView]) -> Vec<Self> {
        let mut down: Vec<Self> = Vec::new();
        for view in views {
            if view.state == MappedState::Works {
                continue;
            }
            match down.iter_mut().find(|down| down.profile == view.profile) {
                Some(known) => known.devices += 1,
                None => down.push(Self {
                    profile: view.profile.clone(),
                    why: view.why.clone().unwrap_or_default(),
                    until_ms: view.until_ms,
                    devices: 1,
                }),
            }
        }
        down
    }
}

/// How a profile does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MappedState {
    /// Well, or nothing came yet.
    Works,
    /// Its program broke its bounds again and again: it isn't run for a while.
    Suspended,
    /// Its file can't be read, or its program can't be compiled.
    Broken,
}
