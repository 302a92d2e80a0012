//! Who may log in. It can change while the broker runs: a login goes by what holds then.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use firmware_protocols::Ident;

use crate::config::Config;

/// Who may log in. Shared between the broker and whoever changes it.
#[derive(Debug, Default)]
pub struct Clients(RwLock<Arc<Admitted>>);

/// Who may log in at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admitted {
    /// Devices, with their id as client id and user name.
    pub devices: HashSet<Ident>,
    /// Those of them, and of `mapped`, that may log in without a password, the client id alone naming
    /// them.
    pub anonymous: HashSet<Ident>,
    /// Bridges, and devices with a profile: with their id as user name, under any client id.
    pub mapped: HashSet<Ident>,
}

impl Admitted {
    /// Who may log in by a configuration.
    pub fn of(config: &Config) -> Self {
        let broker = config.broker.clone().unwrap_or_default();
        Self {
            devices: config.mqtt_device_ids().into_iter().collect(),
            anonymous: broker.anonymous.into_iter().collect(),
            mapped: config.mapped_client_ids().into_iter().collect(),
        }
    }
}

impl Clients {
    /// These from the start.
    pub fn new(admitted: Admitted) -> Self {
        Self(RwLock::new(Arc::new(admitted)))
    }

    /// Who may log in now.
    pub fn now(&self) -> Arc<Admitted> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on these. Connections that are up aren't ended by it.
    pub fn replace(&self, admitted: Admitted) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(admitted);
    }
}
