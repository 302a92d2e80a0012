//! The listener for MQTT over TLS: the section `[broker.tls]`.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fault::Faults;
use super::texts::Address;

/// A listener for MQTT over TLS. Its certificate comes from the estate's own CA (`linli ca`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    /// Where it listens, usually port 8883.
    #[schemars(with = "Address")]
    pub listen: SocketAddr,
    /// The names and addresses that devices reach this box by. Default: its host name and addresses.
    #[serde(default)]
    pub names: Vec<String>,
    /// What becomes of a device's own certificate. Default `optional`.
    #[serde(default)]
    pub client_certificates: ClientCertificates,
}

/// What becomes of a device's own certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificates {
    /// It isn't asked for: devices log in with passwords.
    Off,
    /// Who shows one of the estate's CA needs no password.
    #[default]
    Optional,
    /// Nobody is let in without.
    Required,
}

impl TlsSection {
    pub(super) fn check(&self, _errors: &mut Faults) {}
}
