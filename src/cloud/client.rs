//! The two calls of the sync API over HTTP.
//!
//! No proxy from the environment, no redirects, no waiting without bound: 10 s to connect, 30 s for
//! an uplink, the wait and 15 s more for a long poll, and at most [`BODY_MAX_BYTES`] of an answer,
//! counted while it comes in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cloud_protocol::{
    Acked, BODY_MAX_BYTES, Batch, CBOR, DownlinkItem, JSON, PROBLEM_JSON, Problem, SealingKey,
};
use firmware_protocols::{Form, Value};
use reqwest::header::{ACCEPT, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Request, Response, StatusCode, Url};
use rustls::ClientConfig;
use rustls::crypto::ring::default_provider;
use rustls_platform_verifier::BuilderVerifierExt as _;

use super::config::CloudConfig;
use super::failure::{Cause, Failure};
use super::ledger::Seal;
use super::meter::{Cost, Meter};
use super::status::CloudStatus;
use crate::names::Names;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const UPLINK_TIMEOUT: Duration = Duration::from_secs(30);
/// What a long poll may take beyond its wait.
const POLL_SLACK: Duration = Duration::from_secs(15);
const KEEPALIVE: Duration = Duration::from_secs(30);
/// The longest that a cloud can ask to be left alone: fulfilment can't wait for a mistaken header.
const RETRY_AFTER_LONGEST: Duration = Duration::from_secs(3600);

/// Speaks with one cloud.
pub(super) struct Client {
    http: reqwest::Client,
    config: Arc<CloudConfig>,
    status: Arc<CloudStatus>,
    gateway_url: Url,
    names: Names,
    meter: Meter,
}

/// A batch, encoded.
pub(super) struct Encoded(pub Vec<u8>);

impl Client {
    /// Fails if this machine has no certificate authorities to check a cloud's certificate by.
    pub fn new(config: Arc<CloudConfig>, status: Arc<CloudStatus>) -> anyhow::Result<Self> {
        let names = Names::default();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(config.url.is_https())?)
            .https_only(config.url.is_https())
            .user_agent(concat!("linli/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .dns_resolver(Arc::new(names.clone()))
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .tcp_keepalive(KEEPALIVE)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(2)
            .build()
            .context("cannot set up the HTTP client for the cloud")?;
        let mut gateway_url = config.url.as_url().clone();
        if let Ok(mut path) = gateway_url.path_segments_mut() {
            let gateway = config.gateway.as_str();
            path.pop_if_empty().extend(["v1", "gateways", gateway]);
        }
        Ok(Self {
            http,
            config,
            status,
            gateway_url,
            names,
            meter: Meter::default(),
        })
    }

    /// Who finds the cloud's address.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Encodes a batch as it will be sent.
    pub fn encode(&self, batch: &Batch) -> Encoded {
        Encoded(batch.to_value().write(self.config.form))
    }

    /// Where bytes are counted that belong to no call.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// To what codes are sealed now, for whom.
    pub fn seal(&self) -> Seal {
        Seal {
            key: SealingKey {
                id: String::new(),
                public_key: [0; 32],
            },
            gateway: self.config.gateway.clone(),
        }
    }

    /// The cloud's addresses.
    pub async fn try_name(&self) -> Result<Vec<SocketAddr>, Failure> {
        let (host, port) = self.config.url.host();
        let found = self.names.find(host, port).await;
        found.map_err(|e| Failure::Network {
            words: format!("cannot find {host}: {e}"),
            cause: Cause::Other,
        })
    }

    /// `POST …/uplink`
    pub async fn uplink(&self, body: Encoded) -> Result<(Acked, Cost), Failure> {
        let asked = Instant::now();
        let sent = body.0.len() as u64;
        let mut request = self.request(Method::POST, "uplink", UPLINK_TIMEOUT);
        self.status.sent_bytes(body.0.len());
        request
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type()));
        *request.body_mut() = Some(body.0.into());
        let answer = self.call(request).await?;
        let acked = Acked::from_value(&answer)
            .map_err(|e| Failure::Odd(format!("the cloud's answer can't be read: {e}")))?;
        let cost = Cost {
            sent,
            received: 0,
            took: asked.elapsed(),
        };
        Ok((acked, cost))
    }

    /// `GET …/downlink`
    pub async fn downlink(
        &self,
        after: u64,
        wait_s: u64,
    ) -> Result<(Vec<DownlinkItem>, Cost), Failure> {
        let asked = Instant::now();
        let timeout = Duration::from_secs(wait_s) + POLL_SLACK;
        let mut request = self.request(Method::GET, "downlink", timeout);
        let query = format!("after={after}&wait={wait_s}");
        request.url_mut().set_query(Some(&query));
        let answer = self.call(request).await?;
        let items = DownlinkItem::read_all(&answer)
            .map_err(|e| Failure::Odd(format!("the cloud's downlink can't be read: {e}")))?;
        let cost = Cost {
            took: asked.elapsed(),
            ..Cost::default()
        };
        Ok((items, cost))
    }

    fn request(&self, method: Method, call: &str, timeout: Duration) -> Request {
        let mut url = self.gateway_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(call);
        }
        let mut request = Request::new(method, url);
        *request.timeout_mut() = Some(timeout);
        request
    }

    /// The last touch before a request is sent: every request of this client goes through here, its
    /// body complete. The place for what covers a whole request, as its signature does.
    fn finish(&self, mut request: Request) -> Request {
        request
            .headers_mut()
            .insert(ACCEPT, HeaderValue::from_static(self.media_type()));
        request
    }

    async fn call(&self, request: Request) -> Result<Value, Failure> {
        let host = self.config.url.host();
        let response = self
            .http
            .execute(self.finish(request))
            .await
            .map_err(|e| Failure::of_transport(&e, host))?;
        let status = response.status();
        let headers = response.headers().clone();
        let media_type = media_type(&headers);
        let body = self.bounded(response).await?;
        if status == StatusCode::OK {
            return read_answer(media_type.as_deref(), &body);
        }
        Err(refusal(status, &headers, media_type.as_deref(), &body))
    }

    async fn bounded(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let too_long =
            || Failure::Odd(format!("the cloud's answer is over {BODY_MAX_BYTES} bytes"));
        if response
            .content_length()
            .is_some_and(|n| n > BODY_MAX_BYTES as u64)
        {
            return Err(too_long());
        }
        let mut body = Vec::new();
        loop {
            let chunk = response.chunk().await;
            let chunk = chunk.map_err(|e| Failure::of_transport(&e, self.config.url.host()))?;
            let Some(chunk) = chunk else {
                self.status.received_bytes(body.len());
                return Ok(body);
            };
            if body.len() + chunk.len() > BODY_MAX_BYTES {
                return Err(too_long());
            }
            body.extend_from_slice(&chunk);
        }
    }

    fn media_type(&self) -> &'static str {
        match self.config.form {
            Form::Cbor => CBOR,
            Form::Json => JSON,
        }
    }
}

/// TLS by `ring`, certificates by the machine's own authorities (on Debian: the package
/// `ca-certificates`, or the file that `SSL_CERT_FILE` names). A cloud on this machine over plain
/// HTTP needs none of them, so they aren't loaded for it.
fn tls(authorities: bool) -> anyhow::Result<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .context("no usable TLS version")?;
    let config = if authorities {
        config.with_platform_verifier().context(
            "no certificate authorities on this machine: install the package ca-certificates, or \
             name a file of them in SSL_CERT_FILE",
        )?
    } else {
        config.with_root_certificates(rustls::RootCertStore::empty())
    };
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next()?.trim().to_ascii_lowercase())
}

fn read_answer(media_type: Option<&str>, body: &[u8]) -> Result<Value, Failure> {
    let value = match media_type {
        Some(CBOR) => Value::from_cbor(body),
        Some(JSON) => Value::from_json(body),
        other => {
            let other: String = other.unwrap_or("nothing").chars().take(64).collect();
            return Err(Failure::Odd(format!(
                "what answers isn't the cloud: its answer is of the type '{other}'"
            )));
        }
    };
    value.map_err(|e| Failure::Odd(format!("the cloud's answer can't be read: {e}")))
}

fn refusal(
    status: StatusCode,
    headers: &HeaderMap,
    media_type: Option<&str>,
    body: &[u8],
) -> Failure {
    if status.is_redirection() || status.is_success() || status.is_informational() {
        return Failure::Odd(format!(
            "what answers isn't the cloud: HTTP {status} (redirects aren't followed)"
        ));
    }
    let stated = match media_type {
        Some(PROBLEM_JSON | JSON) => Value::from_json(body).ok(),
        _ => None,
    };
    let mut problem = stated
        .and_then(|value| Problem::from_value(&value).ok())
        .unwrap_or_else(|| unstated(status));
    problem.status = status.as_u16();
    let problem = Box::new(problem);
    match status.as_u16() {
        408 | 425 | 429 | 500.. => Failure::Busy {
            problem,
            retry_after: retry_after(headers),
        },
        _ => Failure::Refused(problem),
    }
}

fn unstated(status: StatusCode) -> Problem {
    Problem {
        kind: None,
        status: status.as_u16(),
        title: status.canonical_reason().unwrap_or("no reason").to_string(),
        detail: None,
        lane: None,
        expected: None,
    }
}

/// `Retry-After` in seconds or as a date, the date read by the cloud's own clock (`Date`), as ours
/// may not be set.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let then = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            let now = headers.get(DATE)?.to_str().ok()?;
            let now = jiff::fmt::rfc2822::parse(now).ok()?.timestamp();
            let seconds = then.as_second().saturating_sub(now.as_second());
            Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
        }
    };
    Some(pause.min(RETRY_AFTER_LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_by_the_clouds_clock() {
        let read = |retry: &'static str, date: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(retry));
            if let Some(date) = date {
                headers.insert(DATE, HeaderValue::from_static(date));
            }
            retry_after(&headers).map(|d| d.as_secs())
        };
        let noon = Some("Fri, 31 Dec 1999 12:00:00 GMT");
        assert_eq!(read("120", None), Some(120));
        assert_eq!(read("86400", None), Some(3600));
        assert_eq!(read("Fri, 31 Dec 1999 12:00:30 GMT", noon), Some(30));
        assert_eq!(read("Fri, 31 Dec 1999 11:00:00 GMT", noon), Some(0));
        assert_eq!(read("Fri, 31 Dec 1999 12:00:30 GMT", None), None);
        assert_eq!(read("soon", noon), None);
        assert_eq!(read("-5", noon), None);
    }
}
