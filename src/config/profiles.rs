//! Devices that speak their maker's JSON: `[[bridge]]`, and `profile`, `named` and `via` of a device.

use firmware_protocols::Ident;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Config;
use super::fault::Faults;
use super::texts::Name;

/// An MQTT client that speaks for devices of others: `[[bridge]]`. It logs in with its id as the user
/// name, under any client id.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BridgeSection {
    /// Its id.
    #[schemars(with = "Name")]
    pub id: Ident,
}

pub(super) fn check(_config: &Config, _errors: &mut Faults) {}
