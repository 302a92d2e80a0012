//! Where devices come in over MQTT, as far as the local API may look and act: who knocked, who is waited
//! for, which passwords are being changed.

use std::sync::Arc;

use super::embedded::{Clients, Pairing};
use crate::credentials::Credentials;
use crate::knocks::Knocks;

/// Where devices come in. Clones share it.
#[derive(Clone, Default)]
pub struct Entrance {
    /// Who knocked and wasn't let in.
    pub knocks: Knocks,
    /// The door of the embedded broker; `None` behind somebody else's.
    pub door: Option<Door>,
}

/// The embedded broker's door.
#[derive(Clone)]
pub struct Door {
    /// Where a device is waited for.
    pub pairing: Pairing,
    /// The passwords.
    pub credentials: Arc<Credentials>,
    /// Who may log in.
    pub clients: Arc<Clients>,
}
