//! Devices that speak their maker's JSON: `[[bridge]]`, and `profile`, `named` and `via` of a device.

use firmware_protocols::Ident;
use serde::Deserialize;

use super::Config;
use super::fault::Faults;

/// An MQTT client that speaks for devices of others: `[[bridge]]`. It logs in with its id as the user
/// name, under any client id.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeSection {
    /// Its id.
    pub id: Ident,
}

pub(super) fn check(_config: &Config, _errors: &mut Faults) {}
