//! Which devices are there, as far as their links know. Kept in memory: it is true only now.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use firmware_protocols::Ident;

/// Which devices are there. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Presence(Arc<Mutex<HashMap<Ident, bool>>>);

impl Presence {
    /// A device came or went.
    pub fn set(&self, device: &Ident, online: bool) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(device.clone(), online);
    }

    /// Whether a device is there; `None` if nothing was heard of it since the daemon started.
    pub fn of(&self, device: &Ident) -> Option<bool> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(device).copied()
    }

    /// How many devices are there.
    pub fn online(&self) -> usize {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().filter(|online| **online).count()
    }
}
