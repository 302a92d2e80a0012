//! Which devices are there, as far as their links know. Kept in memory: it is true only now.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use firmware_protocols::Ident;

/// Which devices are there. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Presence(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    there: HashMap<Ident, bool>,
    /// Those that count; all, as long as nobody has said.
    known: Option<HashSet<Ident>>,
}

impl Presence {
    /// From now on only these count. What was known of others is forgotten.
    pub fn only(&self, devices: impl IntoIterator<Item = Ident>) {
        let known: HashSet<Ident> = devices.into_iter().collect();
        let mut state = self.lock();
        state.there.retain(|device, _| known.contains(device));
        state.known = Some(known);
    }

    /// A device came or went.
    pub fn set(&self, device: &Ident, online: bool) {
        let mut state = self.lock();
        let counts = state.known.as_ref().is_none_or(|all| all.contains(device));
        if counts {
            state.there.insert(device.clone(), online);
        }
    }

    /// Whether a device is there; `None` if nothing was heard of it since the daemon started.
    pub fn of(&self, device: &Ident) -> Option<bool> {
        self.lock().there.get(device).copied()
    }

    /// How many devices are there.
    pub fn online(&self) -> usize {
        let state = self.lock();
        state.there.values().filter(|online| **online).count()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_configured_any_more_is_forgotten_and_stays_so() {
        let ident = |name: &str| Ident::new(name).unwrap();
        let presence = Presence::default();
        presence.set(&ident("a"), true);
        presence.set(&ident("b"), true);
        presence.only([ident("a"), ident("c")]);
        presence.set(&ident("b"), false);
        assert_eq!(presence.of(&ident("b")), None);
        assert_eq!(presence.of(&ident("a")), Some(true));
        presence.set(&ident("c"), true);
        assert_eq!(presence.online(), 2);
    }
}
