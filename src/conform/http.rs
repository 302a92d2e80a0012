//! The way to the cloud: one request at a time or several, each within 30 s and a body's bound.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cloud_protocol::secure::compressed::{ZSTD, unpack};
use cloud_protocol::{BODY_MAX_BYTES, Problem};
use firmware_protocols::Value;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;

use super::CannotRun;
use super::request::Draft;
use crate::cloud::config::CloudUrl;
use crate::cloud::connector;
use crate::disk::chain;

const TIMEOUT: Duration = Duration::from_secs(30);
/// How much of an answer is shown.
const SHOWN_CHARS: usize = 300;

/// Sends requests.
pub(super) struct Http {
    client: Client<connector::Connector, Full<Bytes>>,
    base: String,
}

/// An answer, unpacked if it came packed.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Why the body couldn't be unpacked.
    pub damaged: Option<String>,
}

impl Http {
    pub fn new(url: &CloudUrl, ca_file: Option<&Path>) -> Result<Self, CannotRun> {
        let tls = match url.is_https() {
            true => Some(Arc::new(tls(ca_file)?)),
            false => None,
        };
        let connector = connector::to(url, tls).map_err(|e| CannotRun::Tls(format!("{e:#}")))?;
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            base: url.as_url().as_str().trim_end_matches('/').to_string(),
        })
    }

    /// The cloud's URL, without a slash at its end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The whole URI of a request.
    pub fn uri(&self, draft: &Draft) -> String {
        format!("{}{}", self.base, draft.path)
    }

    /// Sends it as it is. The error is in words.
    pub async fn send(&self, draft: &Draft) -> Result<Answer, String> {
        let mut request = Request::builder()
            .method(draft.method)
            .uri(self.uri(draft))
            .header(
                "user-agent",
                concat!("linli-conform/", env!("CARGO_PKG_VERSION")),
            );
        for (name, value) in &draft.headers {
            request = request.header(*name, value);
        }
        let body = Full::new(Bytes::from(draft.body.clone()));
        let request = request.body(body).map_err(|e| e.to_string())?;
        match tokio::time::timeout(TIMEOUT, self.answer(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} s", TIMEOUT.as_secs())),
        }
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        let response = self.client.request(request).await.map_err(|e| chain(&e))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, BODY_MAX_BYTES).collect().await;
        let body = body.map_err(|e| format!("the answer broke off or is over 1 MiB: {e}"))?;
        let mut answer = Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.to_bytes().to_vec(),
            damaged: None,
        };
        if answer.is_packed() {
            match unpack(&answer.body) {
                Ok(body) => answer.body = body,
                Err(e) => answer.damaged = Some(e.to_string()),
            }
        }
        Ok(answer)
    }
}

impl Answer {
    pub fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The media type, without parameters.
    pub fn media_type(&self) -> Option<&str> {
        let value = self.header(CONTENT_TYPE)?;
        value.split(';').next().map(str::trim)
    }

    pub fn is_packed(&self) -> bool {
        self.header(CONTENT_ENCODING)
            .is_some_and(|coding| coding.eq_ignore_ascii_case(ZSTD))
    }

    pub fn value(&self) -> Option<Value> {
        match self.media_type() {
            Some(cloud_protocol::CBOR) => Value::from_cbor(&self.body).ok(),
            _ => Value::from_json(&self.body).ok(),
        }
    }

    pub fn problem(&self) -> Option<Problem> {
        Problem::from_value(&self.value()?).ok()
    }

    /// Status and body in one line, cut.
    pub fn shown(&self) -> String {
        let body = match self.value() {
            Some(value) => value.to_json(),
            None if self.body.is_empty() => "no body".to_string(),
            None => String::from_utf8_lossy(&self.body).into_owned(),
        };
        let one_line = body.chars().map(|c| if c.is_control() { ' ' } else { c });
        let cut: String = one_line.take(SHOWN_CHARS).collect();
        format!("{} {cut}", self.status)
    }
}

fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, CannotRun> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| CannotRun::Tls(e.to_string()))?;
    let config = match ca_file {
        Some(file) => config.with_root_certificates(pinned(file)?),
        None => config.with_platform_verifier().map_err(|_| {
            CannotRun::Tls(
                "no certificate authorities on this machine: install the package ca-certificates, \
                 or name the cloud's own with --ca-file"
                    .to_string(),
            )
        })?,
    };
    Ok(config.with_no_client_auth())
}

fn pinned(file: &Path) -> Result<RootCertStore, CannotRun> {
    let unusable = |why: String| {
        let file = file.display();
        CannotRun::Tls(format!("{file}: {why}. It must hold certificates in PEM"))
    };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).map_err(|e| unusable(e.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|e| unusable(e.to_string()))?;
        roots
            .add(certificate)
            .map_err(|e| unusable(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("no certificate is in it".to_string()));
    }
    Ok(roots)
}
