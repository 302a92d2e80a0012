//! The cloud in the configuration: where it is, who is trusted, what the line costs.

use std::path::PathBuf;

use cloud_protocol::WAIT_MAX_SECONDS;
use firmware_protocols::Ident;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fault::Faults;
use super::texts::Name;
use crate::cloud::CloudUrl;

/// The longest `line.spread_s`: a day, as demand is worth little after that.
const SPREAD_MOST_S: u32 = 86_400;

/// The largest `line.monthly_mib`: a tebibyte.
const MONTHLY_MOST_MIB: u32 = 1 << 20;

/// The cloud.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cloud {
    /// `https://…`; plain `http://` only to this machine.
    #[schemars(extend("examples" = ["https://cloud.example"]))]
    pub url: String,
    /// The gateway's id there. Default: the site's.
    #[schemars(with = "Option<Name>")]
    pub gateway: Option<Ident>,
    /// A file with the one-time token to enrol with. Once enrolled it isn't read any more.
    pub token_file: Option<PathBuf>,
    /// The certificate authorities to trust instead of the machine's, PEM.
    pub ca_file: Option<PathBuf>,
    /// A certificate for this gateway, PEM, if the cloud asks for one.
    pub client_certificate_file: Option<PathBuf>,
    /// Its key, PEM.
    pub client_key_file: Option<PathBuf>,
    /// The line to it.
    #[serde(default)]
    pub line: LineSection,
}

/// The line to the cloud.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LineSection {
    /// Whether each byte costs: long polls are quieter then.
    pub metered: bool,
    /// What may cross it in a month, MiB, both ways; 0 for no limit. What waits of demand is sent
    /// coarser and later when it gets short; parcels never are.
    #[schemars(range(max = MONTHLY_MOST_MIB))]
    pub monthly_mib: u32,
    /// On which day of the month the count starts again, 1 to 28.
    #[schemars(range(min = 1, max = 28))]
    pub month_starts: u8,
    /// How long a long poll waits, s, 1 to 600. Default: 50, metered 300.
    #[schemars(range(min = 1, max = WAIT_MAX_SECONDS))]
    pub wait_s: Option<u16>,
    /// Over how long what isn't urgent is spread, s, so that estates don't all send on the hour.
    #[schemars(range(max = SPREAD_MOST_S))]
    pub spread_s: u32,
}

impl Default for LineSection {
    fn default() -> Self {
        Self {
            metered: false,
            monthly_mib: 0,
            month_starts: 1,
            wait_s: None,
            spread_s: 900,
        }
    }
}

impl Cloud {
    pub(super) fn check(&self, errors: &mut Faults) {
        match CloudUrl::new(&self.url) {
            Ok(url) => self.check_tls(url.is_https(), errors),
            Err(e) => {
                errors.at("cloud.url", e.to_string());
            }
        }
        match (&self.client_certificate_file, &self.client_key_file) {
            (Some(_), None) => {
                errors.at(
                    "cloud.client_certificate_file",
                    "needs its key: set cloud.client_key_file to its PEM file",
                );
            }
            (None, Some(_)) => {
                errors.at(
                    "cloud.client_key_file",
                    "needs its certificate: set cloud.client_certificate_file to its PEM file",
                );
            }
            _ => {}
        }
    }

    /// Plain HTTP is this machine's own: what is set for TLS would be silently without effect.
    fn check_tls(&self, https: bool, errors: &mut Faults) {
        let files = [
            ("ca_file", &self.ca_file),
            ("client_certificate_file", &self.client_certificate_file),
            ("client_key_file", &self.client_key_file),
        ];
        for (key, file) in files {
            if file.is_some() && !https {
                errors
                    .at(
                        format!("cloud.{key}"),
                        format!(
                            "is for TLS, but cloud.url is plain http: make it https, or remove cloud.{key}"
                        ),
                    )
                    .rests_on("cloud.url");
            }
        }
    }

    /// How long a long poll waits, s: as it is set, else as suits the line.
    pub fn wait_s(&self) -> u16 {
        let usual = if self.line.metered { 300 } else { 50 };
        self.line.wait_s.unwrap_or(usual)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    const ESTATE: &str = r#"
site = "s"

[cloud]
url = "https://cloud.example"
gateway = "s-1"
token_file = "/etc/linli/token"
ca_file = "/etc/linli/ca.pem"
client_certificate_file = "/etc/linli/s-1.pem"
client_key_file = "/etc/linli/s-1.key"

[cloud.line]
metered = true
monthly_mib = 500
month_starts = 20
wait_s = 600
spread_s = 0
"#;

    #[test]
    fn a_cloud_with_all_its_keys_is_taken() {
        let cloud = Config::parse(ESTATE).unwrap().cloud.unwrap();
        assert_eq!(
            (cloud.line.monthly_mib, cloud.line.wait_s),
            (500, Some(600))
        );
        let plain = "site = 's'\ncloud = { url = 'http://127.0.0.1:8470' }";
        let line = Config::parse(plain).unwrap().cloud.unwrap().line;
        assert_eq!(
            (line.month_starts, line.spread_s, line.metered),
            (1, 900, false)
        );
    }

    #[test]
    fn each_mistake_says_what_is_allowed() {
        for (right, wrong, said) in [
            ("https://", "http://", "use https"),
            (
                "https://cloud.example",
                "cloud.example",
                "write it like https://",
            ),
            (
                "cloud.example",
                "me:secret@cloud.example",
                "must not hold a user name",
            ),
            (
                "wait_s = 600",
                "wait_s = 601",
                "cloud.line.wait_s: is 601; 1 to 600 is allowed",
            ),
            ("wait_s = 600", "wait_s = 0", "1 to 600 is allowed"),
            (
                "month_starts = 20",
                "month_starts = 29",
                "1 to 28 is allowed",
            ),
            (
                "month_starts = 20",
                "month_starts = 0",
                "1 to 28 is allowed",
            ),
            ("spread_s = 0", "spread_s = 86401", "0 to 86400 is allowed"),
            (
                "monthly_mib = 500",
                "monthly_mib = 2000000",
                "0 to 1048576 is allowed",
            ),
            (
                "monthly_mib = 500",
                "monthly_mb = 500",
                "did you mean 'monthly_mib'?",
            ),
            (
                "gateway = \"s-1\"",
                "gateway = \"S 1\"",
                "cloud.gateway: is 'S 1'; 1 to 63 of",
            ),
            (
                "client_key_file = \"/etc/linli/s-1.key\"",
                "",
                "set cloud.client_key_file",
            ),
            (
                "client_certificate_file = \"/etc/linli/s-1.pem\"",
                "",
                "set cloud.client_certificate_file",
            ),
            (
                "https://cloud.example",
                "http://127.0.0.1:8470",
                "cloud.ca_file: is for TLS, but cloud.url is plain http",
            ),
        ] {
            assert!(ESTATE.contains(right), "{right}");
            let text = ESTATE.replacen(right, wrong, 1);
            let errors = Config::parse(&text).err().unwrap_or_default().join("\n");
            assert!(errors.contains(said), "{wrong}: {errors}");
            assert!(!errors.contains("me:secret@"), "{errors}");
        }
    }
}
