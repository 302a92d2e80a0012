//! The listener for MQTT over TLS: the section `[broker.tls]`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fault::Faults;
use super::secret::secret_path;
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
    /// The same with each credential of the service as the file that it is.
    #[must_use]
    pub fn with_secrets(&self) -> Self {
        let path = |file: &Option<PathBuf>| file.as_deref().map(secret_path);
        Self {
            certificate_file: path(&self.certificate_file),
            key_file: path(&self.key_file),
            client_ca_file: path(&self.client_ca_file),
            ..self.clone()
        }
    }

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
                        "is missing, but broker.tls.{} is there: set both, or remove both to use the estate's own CA",
                        own[there].0
                    ),
                );
            }
        }
        if self.certificate_file.is_some() && !self.names.is_empty() {
            errors.at(
                "broker.tls.names",
                "is for a certificate of the estate's own CA, but broker.tls.certificate_file brings its own names: remove one of them",
            );
        }
        if self.client_ca_file.is_some() && self.client_certificates == ClientCertificates::Off {
            errors.at(
                "broker.tls.client_ca_file",
                "says whose certificates devices may show, but broker.tls.client_certificates is \"off\": set it to \"optional\" or \"required\", or remove the file",
            );
        }
        self.check_names(errors);
    }

    fn check_names(&self, errors: &mut Faults) {
        if self.names.len() > NAMES_MAX {
            errors.at(
                "broker.tls.names",
                format!(
                    "has {} names, at most {NAMES_MAX} are allowed: a small device has to take the whole certificate",
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
                        "is {name:?}, which is neither a host's name nor an address: write it like \"box.example.cn\" or \"192.168.1.2\", without port or wildcard"
                    ),
                );
            }
            if !seen.insert(name.to_ascii_lowercase()) {
                errors.at(key(), format!("{name:?} stands twice: remove one"));
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
            ("names = [\"box\", \"Box\"]", "stands twice: remove one"),
            (many.as_str(), "at most 24 are allowed"),
            (
                "certificate_file = \"a.pem\"",
                "broker.tls.key_file: is missing",
            ),
            (
                "key_file = \"a.key\"",
                "broker.tls.certificate_file: is missing",
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
            ("cert = \"a.pem\"", "broker.tls.cert: isn't known"),
        ] {
            let parsed = Config::parse(&format!("{TLS}{wrong}"));
            let errors = parsed.err().unwrap_or_default().join("\n");
            assert!(errors.contains(said), "{wrong}: {errors}");
        }
    }
}
