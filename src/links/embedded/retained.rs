//! The retained messages: the last status of each device, in memory. There is nothing else that is
//! retained, so its size is bounded by the configuration.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use firmware_protocols::Ident;

/// The last status that each device asked to be retained.
#[derive(Default)]
pub(super) struct LastStatus(Mutex<HashMap<Ident, bool>>);

impl LastStatus {
    /// Keeps a status.
    pub fn set(&self, device: &Ident, online: bool) {
        self.lock().insert(device.clone(), online);
    }

    /// The status of a device, as its payload.
    pub fn get(&self, device: &Ident) -> Option<&'static [u8]> {
        self.lock().get(device).map(|online| payload(*online))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Ident, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The payload of a status.
pub(super) const fn payload(online: bool) -> &'static [u8] {
    match online {
        true => b"online",
        false => b"offline",
    }
}
