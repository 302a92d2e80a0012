//! How somebody else's broker is reached: its address, who we are there, TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use firmware_protocols::Ident;
use rumqttc::{TlsConfiguration, Transport};

use super::super::embedded::Clients;
use super::super::mapped::Mapped;
use crate::config::secret_path;
use crate::knocks::Knocks;

/// How to reach the broker.
#[derive(Clone)]
pub struct Settings {
    /// As it is configured.
    pub url: String,
    /// The broker's host.
    pub host: String,
    /// The broker's port.
    pub port: u16,
    /// The CA to believe with TLS: `None` for plain TCP, `Some(None)` for the system's.
    pub tls: Option<Option<PathBuf>>,
    /// User name and password.
    pub login: Option<(String, String)>,
    /// The client id, which names the persistent session.
    pub client_id: String,
    /// How many events may be under way to the disk at once.
    pub window: u16,
    /// The devices that may speak: those that might log in at a broker of our own.
    pub clients: Arc<Clients>,
    /// Who spoke and isn't one of them.
    pub knocks: Knocks,
    /// The devices of other makers.
    pub mapped: Arc<Mapped>,
}

impl Settings {
    /// From the configuration; reads the password file.
    pub fn new(
        section: &crate::config::ExternalBroker,
        site: &Ident,
        clients: Arc<Clients>,
    ) -> anyhow::Result<Self> {
        let (host, port, tls) = address(&section.url)?;
        let login = match (&section.username, &section.password_file) {
            (Some(user), Some(file)) => Some((user.clone(), read_password(&secret_path(file))?)),
            (Some(user), None) => Some((user.clone(), String::new())),
            (None, Some(_)) => {
                bail!("external_broker.password_file needs external_broker.username beside it")
            }
            (None, None) => None,
        };
        Ok(Self {
            url: section.url.clone(),
            host,
            port,
            tls: tls.then(|| section.ca_file.as_deref().map(secret_path)),
            login,
            client_id: section
                .client_id
                .clone()
                .unwrap_or_else(|| format!("linli-{site}")),
            window: section.window.clamp(1, 4_096),
            clients,
            knocks: Knocks::default(),
            mapped: Arc::default(),
        })
    }

    /// Whether the same broker is reached in the same way.
    pub fn is_same(&self, other: &Self) -> bool {
        let all = |it: &Self| {
            let way = (it.host.clone(), it.port, it.tls.clone());
            (way, it.login.clone(), it.client_id.clone(), it.window)
        };
        all(self) == all(other)
    }
}

pub(super) fn transport(settings: &Settings) -> anyhow::Result<Option<Transport>> {
    let Some(ca) = &settings.tls else {
        return Ok(None);
    };
    let configuration = match ca {
        Some(file) => TlsConfiguration::Simple {
            ca: fs::read(file)
                .with_context(|| format!("external_broker.ca_file {}", file.display()))?,
            alpn: None,
            client_auth: None,
        },
        None => TlsConfiguration::try_default_rustls()
            .context("the system's certificates: set external_broker.ca_file instead")?,
    };
    Ok(Some(Transport::tls_with_config(configuration)))
}

/// Host, port and whether by TLS, of `mqtt://HOST:PORT` or `mqtts://HOST:PORT`.
pub(crate) fn address(url: &str) -> anyhow::Result<(String, u16, bool)> {
    let wrong =
        || format!("external_broker.url is '{url}': write mqtt://HOST:PORT or mqtts://HOST:PORT");
    let (scheme, rest) = url.split_once("://").with_context(wrong)?;
    let (tls, port) = match scheme {
        "mqtt" => (false, 1883),
        "mqtts" => (true, 8883),
        _ => bail!(wrong()),
    };
    let rest = rest.trim_end_matches('/');
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') => (host, port.parse().with_context(wrong)?),
        _ => (rest, port),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || host.contains('@') || host.contains('/') {
        bail!(wrong());
    }
    Ok((host.to_owned(), port, tls))
}

fn read_password(file: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("external_broker.password_file {}", file.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_brokers() {
        let parsed = |url| address(url).ok();
        let is = |host: &str, port, tls| Some((host.to_owned(), port, tls));
        assert_eq!(
            parsed("mqtt://127.0.0.1:1884"),
            is("127.0.0.1", 1884, false)
        );
        assert_eq!(
            parsed("mqtts://broker.example"),
            is("broker.example", 8883, true)
        );
        assert_eq!(parsed("mqtt://[::1]:1883/"), is("::1", 1883, false));
        for bad in [
            "127.0.0.1:1883",
            "http://x",
            "mqtt://",
            "mqtt://u@h",
            "mqtt://h:x",
        ] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }
}
