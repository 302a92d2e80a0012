//! Where the cloud is and how it is spoken to.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use cloud_protocol::WAIT_MAX_SECONDS;
use firmware_protocols::{Form, Ident};
use url::Url;

use super::backoff::BackoffRange;

/// How the cloud is spoken to. [`CloudConfig::new`] fills in what suits a gateway on 4G.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudConfig {
    /// Where it is.
    pub url: CloudUrl,
    /// The name that this gateway has at the cloud.
    pub gateway: Ident,
    /// The encoding of bodies.
    pub form: Form,
    /// The most items in a batch.
    pub batch_items: usize,
    /// About how many bytes of items in a batch.
    pub batch_bytes: usize,
    /// How long a long poll waits for news; at most [`WAIT_MAX_SECONDS`]. Whole seconds.
    pub wait: Duration,
    /// The pauses after failures.
    pub backoff: BackoffRange,
    /// How long the uplink may go on sending what waits when the gateway stops.
    pub drain: Duration,
    /// The folder in which the gateway's key and what it was told at its enrolment are kept.
    pub folder: PathBuf,
    /// Where the one-time token is found while the gateway isn't enrolled.
    pub token_file: Option<PathBuf>,
    /// How the cloud and the gateway prove who they are in TLS.
    pub tls: TlsFiles,
    /// What the line costs.
    pub line: LineConfig,
}

/// PEM files for TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsFiles {
    /// The authorities to trust instead of the machine's.
    pub ca: Option<PathBuf>,
    /// The gateway's certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// What the line costs, and how it is spared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineConfig {
    /// Whether each byte costs.
    pub metered: bool,
    /// Bytes that may cross it in a month, both ways.
    pub monthly_bytes: Option<u64>,
    /// The day on which the month starts, 1 to 28.
    pub month_starts: u8,
    /// Over how long what isn't urgent is spread.
    pub spread: Duration,
}

impl Default for LineConfig {
    fn default() -> Self {
        Self {
            metered: false,
            monthly_bytes: None,
            month_starts: 1,
            spread: Duration::from_secs(900),
        }
    }
}

/// Where a cloud is, checked: `https`, or `http` on this machine's loopback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudUrl(Url);

/// Why a configuration isn't taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not a URL with a host.
    #[error("'{0}' is not a cloud's URL: write it like https://cloud.example.com")]
    NotAUrl(String),
    /// Plain HTTP over a network.
    #[error(
        "plain http is only for a cloud on this machine (127.0.0.0/8, ::1, localhost), but this one \
         is on {0}: use https"
    )]
    PlainHttp(String),
    /// Something in the URL that doesn't belong there.
    #[error("the cloud's URL must not hold {0}: remove it")]
    Extra(&'static str),
}

impl CloudConfig {
    /// The cloud at `url`, which may have a path; `https`, or `http` on this machine's loopback.
    /// `folder`: where the gateway's key is kept.
    pub fn new(url: &str, gateway: Ident, folder: impl Into<PathBuf>) -> Result<Self, ConfigError> {
        Ok(Self {
            url: CloudUrl::new(url)?,
            gateway,
            form: Form::Cbor,
            batch_items: 500,
            batch_bytes: 256 * 1024,
            wait: Duration::from_secs(50),
            backoff: BackoffRange::default(),
            drain: Duration::from_secs(2),
            folder: folder.into(),
            token_file: None,
            tls: TlsFiles::default(),
            line: LineConfig::default(),
        })
    }

    /// The long poll's wait in seconds, as the cloud takes it.
    #[must_use]
    pub fn wait_s(&self) -> u64 {
        self.wait.as_secs().min(WAIT_MAX_SECONDS)
    }
}

impl CloudUrl {
    /// Takes `text` if it is the URL of a cloud; it may have a path.
    pub fn new(text: &str) -> Result<Self, ConfigError> {
        checked(text).map(Self)
    }

    /// The URL.
    #[must_use]
    pub fn as_url(&self) -> &Url {
        &self.0
    }

    /// Whether it is reached over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Host and port to connect to.
    #[must_use]
    pub fn host(&self) -> (&str, u16) {
        let port = self.0.port_or_known_default().unwrap_or(443);
        (bare_host(&self.0).unwrap_or_default(), port)
    }
}

fn checked(text: &str) -> Result<Url, ConfigError> {
    let not_a_url = || ConfigError::NotAUrl(text.chars().take(200).collect());
    let url = Url::parse(text).map_err(|_| not_a_url())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ConfigError::Extra("a user name or password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(ConfigError::Extra("a query or fragment ('?' or '#')"));
    }
    let host = bare_host(&url).ok_or_else(not_a_url)?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(host) => Ok(url),
        "http" => Err(ConfigError::PlainHttp(host.to_string())),
        _ => Err(not_a_url()),
    }
}

fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost",
    }
}

/// The host without the brackets of an IPv6 address.
fn bare_host(url: &Url) -> Option<&str> {
    let host = url.host_str()?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    Some(bare.unwrap_or(host)).filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Result<CloudConfig, ConfigError> {
        CloudConfig::new(url, Ident::new("estate-1").unwrap(), "cloud")
    }

    #[test]
    fn https_goes_anywhere_and_http_only_to_this_machine() {
        for good in [
            "https://cloud.example.com",
            "https://10.0.0.1:8443/linli/",
            "http://127.0.0.1:8470",
            "http://127.8.9.10",
            "http://[::1]:8470/",
            "http://localhost:8470",
            "HTTP://LOCALHOST",
        ] {
            assert!(config(good).is_ok(), "{good}");
        }
        for (bad, host) in [
            ("http://cloud.example.com", "cloud.example.com"),
            ("http://10.0.0.1", "10.0.0.1"),
            ("http://0.0.0.0", "0.0.0.0"),
            ("http://[::ffff:127.0.0.1]", "::ffff:7f00:1"),
            ("http://localhost.example.com", "localhost.example.com"),
            ("http://127.0.0.1.example.com", "127.0.0.1.example.com"),
        ] {
            assert_eq!(
                config(bad),
                Err(ConfigError::PlainHttp(host.to_string())),
                "{bad}"
            );
        }
    }

    #[test]
    fn what_is_no_url_of_a_cloud_is_refused_with_the_remedy() {
        for bad in [
            "",
            "cloud.example.com",
            "ftp://x",
            "file:///etc",
            "https://",
            "mailto:a@b",
        ] {
            assert!(matches!(config(bad), Err(ConfigError::NotAUrl(_))), "{bad}");
        }
        for bad in [
            "http://127.0.0.1@evil.example",
            "https://me:secret@x",
            "https://x/?a",
            "https://x/#a",
        ] {
            let e = config(bad).unwrap_err();
            assert!(matches!(e, ConfigError::Extra(_)), "{bad}");
            assert!(!e.to_string().contains("secret"));
        }
        let e = config("http://192.168.1.9").unwrap_err().to_string();
        assert_eq!(
            e,
            "plain http is only for a cloud on this machine (127.0.0.0/8, ::1, localhost), but this \
             one is on 192.168.1.9: use https"
        );
    }

    #[test]
    fn the_host_to_connect_to_has_no_brackets() {
        assert_eq!(
            config("http://[::1]:8470").unwrap().url.host(),
            ("::1", 8470)
        );
        assert_eq!(
            config("https://a.example").unwrap().url.host(),
            ("a.example", 443)
        );
    }
}
