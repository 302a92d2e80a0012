//! The listener for MQTT over TLS: the section `[broker.tls]`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fault::Faults;
use super::texts::Address;
use crate::ca::{NAMES_MAX, is_name};

/// A listener for MQTT over TLS. Its certificate comes from the estate's own CA (`linli ca`), unless
/// files of another are named.
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
    /// A certificate of another CA for this box, in PEM, with what leads to that CA after it.
    pub certificate_file: Option<PathBuf>,
    /// The key of `certificate_file`, in PEM.
    pub key_file: Option<PathBuf>,
    /// The CAs whose certificates devices may show, in PEM. Default: the estate's own.
    pub client_ca_file: Option<PathBuf>,
}

/// What becomes of a device's own certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificates {
    /// It isn't asked for: devices log in with passwords.
    Off,
    /// Who shows one needs no password.
    #[default]
    Optional,
    /// Nobody is let in without.
    Required,
}

impl TlsSection {
    pub(super) fn check(&self, errors: &mut Faults) {
        let own = [
            ("certificate_file", self.certificate_file.is_some()),
            ("key_file", self.key_file.is_some()),
        ];
        for (there, missing) in [(0, 1), (1, 0)] {
            if own[there].1 && !own[missing].1 {
                errors.at(
                    format!("broker.tls.{}", own[missing].0),
                    format!(
                        "broker.tls.{} needs its other half: set broker.tls.{} too, or remove it to use the estate's own CA",
                        own[there].0, own[missing].0
                    ),
                );
            }
        }
        if self.certificate_file.is_some() && !self.names.is_empty() {
            errors.at(
                "broker.tls.names",
                "broker.tls.names is for a certificate of the estate's own CA, but broker.tls.certificate_file brings its own names: remove one of them",
            );
        }
        if self.client_ca_file.is_some() && self.client_certificates == ClientCertificates::Off {
            errors.at(
                "broker.tls.client_ca_file",
                "broker.tls.client_ca_file says whose certificates devices may show, but broker.tls.client_certificates is \"off\": set it to \"optional\" or \"required\", or remove the file",
            );
        }
        self.check_names(errors);
    }

    fn check_names(&self, errors: &mut Faults) {
        if self.names.len() > NAMES_MAX {
            errors.at(
                "broker.tls.names",
                format!(
                    "broker.tls.names has {} names, at most {NAMES_MAX} are allowed: a small device has to take the whole certificate",
                    self.names.len()
                ),
            );
        }
        let mut seen = BTreeSet::new();
        for (index, name) in self.names.iter().enumerate() {
            let key = || format!("broker.tls.names[{index}]");
            if !is_name(name) {
                errors.at(
                    key(),
                    format!(
                        "broker.tls.names has {name:?}, which is neither a host's name nor an address: write it like \"box.example.cn\" or \"192.168.1.2\", without port or wildcard"
                    ),
                );
            }
            if !seen.insert(name.to_ascii_lowercase()) {
                errors.at(
                    key(),
                    format!("broker.tls.names has {name:?} twice: remove one"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    const TLS: &str = "site = \"s\"\n[broker.tls]\nlisten = \"0.0.0.0:8883\"\n";

    #[test]
    fn a_listener_needs_no_more_than_an_address() {
        let tls = Config::parse(TLS).unwrap().broker.unwrap().tls.unwrap();
        assert_eq!(tls.client_certificates, ClientCertificates::Optional);
        assert!(tls.names.is_empty());
        let all = "names = [\"box-7.local\", \"192.168.7.9\", \"fd00::9\"]\nclient_certificates = \"required\"\nclient_ca_file = \"/etc/linli/devices.pem\"\n";
        let tls = Config::parse(&format!("{TLS}{all}")).unwrap();
        let tls = tls.broker.unwrap().tls.unwrap();
        assert_eq!(tls.client_certificates, ClientCertificates::Required);
        assert_eq!(tls.names.len(), 3);
    }

    #[test]
    fn each_mistake_says_what_is_allowed() {
        let many = format!("names = [{}]", "\"a.example\",".repeat(NAMES_MAX + 1));
        for (wrong, said) in [
            (
                "names = [\"*.example.cn\"]",
                "neither a host's name nor an address",
            ),
            ("names = [\"box:8883\"]", "without port or wildcard"),
            ("names = [\"box\", \"Box\"]", "twice: remove one"),
            (many.as_str(), "at most 24 are allowed"),
            (
                "certificate_file = \"a.pem\"",
                "set broker.tls.key_file too",
            ),
            (
                "key_file = \"a.key\"",
                "set broker.tls.certificate_file too",
            ),
            (
                "certificate_file = \"a\"\nkey_file = \"b\"\nnames = [\"box\"]",
                "brings its own names",
            ),
            (
                "client_certificates = \"off\"\nclient_ca_file = \"a\"",
                "is \"off\": set it to",
            ),
            ("client_certificates = \"maybe\"", "optional"),
            ("cert = \"a.pem\"", "unknown field `cert`"),
        ] {
            let parsed = Config::parse(&format!("{TLS}{wrong}"));
            let errors = parsed.err().unwrap_or_default().join("\n");
            assert!(errors.contains(said), "{wrong}: {errors}");
        }
    }
}
