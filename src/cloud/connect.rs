//! The way to the cloud, in its three steps: its name, a TCP connection, TLS. Together they may take
//! [`CONNECT_TIMEOUT`].
//!
//! Each step can be tried by itself, for a technician who asks where it ends; the HTTP client goes
//! through the same three. No proxy is asked, whatever the environment says.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::certificates::{Certificates, Whose};
use super::config::CloudUrl;
use super::meter::Meter;
use super::stream::{Counted, Line};
use crate::names::Names;

/// How long the three steps may take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a quiet connection shows that it is still there; it also keeps it in the tables of
/// the network's address translation.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// The same where each byte costs.
const KEEPALIVE_METERED: Duration = Duration::from_secs(120);
const KEEPALIVE_TRIES: u32 = 4;

/// The steps of the way to the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Name,
    Tcp,
    Tls,
}

/// A step that didn't come about.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub(crate) struct NotConnected {
    /// Which.
    pub step: Step,
    /// Why; of the kind `TimedOut` when the time ran out.
    #[source]
    pub source: io::Error,
}

/// Makes connections to one cloud.
#[derive(Clone)]
pub(crate) struct Connector {
    host: Arc<(String, u16)>,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    keepalive: Duration,
    names: Names,
    certificates: Certificates,
    meter: Meter,
}

impl Connector {
    /// To the cloud at `url`, over TLS if `tls` says how.
    pub fn new(
        url: &CloudUrl,
        tls: Option<Arc<rustls::ClientConfig>>,
        metered: bool,
        certificates: Certificates,
        meter: Meter,
    ) -> anyhow::Result<Self> {
        let (host, port) = url.host();
        let tls = match tls {
            Some(config) => {
                let name = ServerName::try_from(host.to_owned())?;
                Some((TlsConnector::from(config), name))
            }
            None => None,
        };
        Ok(Self {
            host: Arc::new((host.to_owned(), port)),
            tls,
            keepalive: if metered {
                KEEPALIVE_METERED
            } else {
                KEEPALIVE
            },
            names: Names::default(),
            certificates,
            meter,
        })
    }

    /// Who finds the cloud's address.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// First: where the cloud is.
    pub async fn find(&self) -> Result<Vec<SocketAddr>, NotConnected> {
        let (host, port) = &*self.host;
        let found = self.names.find(host, *port).await;
        found.map_err(|source| NotConnected {
            step: Step::Name,
            source,
        })
    }

    /// Second: a TCP connection to one of these, IPv6 and IPv4 tried beside each other.
    pub async fn reach(&self, found: Vec<SocketAddr>) -> Result<Counted, NotConnected> {
        let mut tcp = HttpConnector::new_with_resolver(Found(found));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(self.keepalive));
        tcp.set_keepalive_interval(Some(self.keepalive));
        tcp.set_keepalive_retries(Some(KEEPALIVE_TRIES));
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let (host, port) = &*self.host;
        let bracketed = match host.contains(':') {
            true => format!("[{host}]"),
            false => host.clone(),
        };
        let uri = format!("http://{bracketed}:{port}/").parse::<Uri>();
        let uri = uri.map_err(|e| broken(Step::Tcp, io::Error::other(e)))?;
        match tcp.call(uri).await {
            Ok(stream) => Ok(Counted::new(stream.into_inner(), &self.meter)),
            Err(e) => Err(broken(Step::Tcp, innermost(&e))),
        }
    }

    /// Third: TLS over it, if the URL says so.
    pub async fn secure(&self, tcp: Counted) -> Result<Line, NotConnected> {
        let Some((tls, name)) = &self.tls else {
            return Ok(Line::Plain(tcp));
        };
        let secured = tls.connect(name.clone(), tcp).await;
        let secured = secured.map_err(|e| broken(Step::Tls, e))?;
        if let Some(certificate) = of_peer(&secured) {
            self.certificates.note(Whose::Cloud, certificate);
        }
        Ok(Line::Tls(Box::new(secured)))
    }

    async fn connect(self) -> Result<TokioIo<Line>, NotConnected> {
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        let found = within(deadline, Step::Name, self.find()).await?;
        let tcp = within(deadline, Step::Tcp, self.reach(found)).await?;
        let line = within(deadline, Step::Tls, self.secure(tcp)).await?;
        Ok(TokioIo::new(line))
    }
}

/// The cloud's own certificate, as it showed it.
pub(super) fn of_peer(
    stream: &tokio_rustls::client::TlsStream<Counted>,
) -> Option<&CertificateDer<'static>> {
    stream.get_ref().1.peer_certificates()?.first()
}

async fn within<T>(
    deadline: Instant,
    step: Step,
    trying: impl Future<Output = Result<T, NotConnected>>,
) -> Result<T, NotConnected> {
    match timeout_at(deadline, trying).await {
        Ok(tried) => tried,
        Err(_) => Err(broken(step, io::ErrorKind::TimedOut.into())),
    }
}

fn broken(step: Step, source: io::Error) -> NotConnected {
    NotConnected { step, source }
}

/// The system's error in what the TCP connector says.
fn innermost(e: &(dyn std::error::Error + 'static)) -> io::Error {
    let mut inner = e;
    while let Some(source) = inner.source() {
        inner = source;
    }
    match inner.downcast_ref::<io::Error>() {
        Some(e) if e.raw_os_error().is_some() => {
            io::Error::from_raw_os_error(e.raw_os_error().unwrap_or_default())
        }
        Some(e) => io::Error::new(e.kind(), e.to_string()),
        None => io::Error::other(inner.to_string()),
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Line>;
    type Error = NotConnected;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    /// The URI only ever names the one cloud.
    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}

/// Addresses that were found already.
#[derive(Clone)]
struct Found(Vec<SocketAddr>);

impl Service<Name> for Found {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        std::future::ready(Ok(self.0.clone().into_iter()))
    }
}
