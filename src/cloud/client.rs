//! The calls of the sync API, each signed (RFC 9421), packed where it pays (zstd), and tried once
//! more where the cloud's refusal says what to do better.
//!
//! Bounds: 10 s to connect, 30 s for a call, the wait and 15 s more for a long poll. What a call
//! that went through cost is handed over with its answer; all else goes to the [`Meter`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cloud_protocol::enrol::key_change_proof;
use cloud_protocol::secure::compressed::{self, ZSTD};
use cloud_protocol::secure::signed;
use cloud_protocol::{
    Acked, Batch, CBOR, DownlinkItem, Enrolment, GatewayView, JSON, KeyChange, Problem, ProblemType,
};
use firmware_protocols::Form;
use firmware_protocols::Value;
use firmware_protocols::event::Secret;
use firmware_protocols::fields::Malformed;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, Method, Request};
use http_body_util::Full;
use url::Url;

use super::answer;
use super::broken;
use super::certificates::Certificates;
use super::config::CloudConfig;
use super::connect::Connector;
use super::failure::Failure;
use super::http::Http;
use super::identity::{Enrolled, Identity, IdentityError, Key};
use super::ledger::Seal;
use super::meter::{Cost, Meter};
use super::status::CloudStatus;
use super::stream::{Counted, Line};
use super::tls;
use crate::clock::{Clock, plausible};
use crate::names::Names;

const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// What a long poll may take beyond its wait.
const POLL_SLACK: Duration = Duration::from_secs(15);
/// A box whose clock is in step by this much needs no correction.
const IN_STEP_MS: i64 = 60_000;

/// Speaks with one cloud.
pub(super) struct Client {
    http: Http,
    connector: Connector,
    identity: Arc<Identity>,
    certificates: Certificates,
    meter: Meter,
    config: Arc<CloudConfig>,
    status: Arc<CloudStatus>,
    clock: Clock,
    /// Added to the box's clock it gives the time that requests bear: learnt from refusals.
    skew_ms: AtomicI64,
    /// The cloud doesn't take zstd.
    plain_only: AtomicBool,
}

/// A batch, encoded.
pub(super) struct Encoded(pub Vec<u8>);

/// A call before it is signed.
struct Call<'a> {
    method: Method,
    path: &'a [&'a str],
    query: Option<String>,
    content: Bytes,
    time: Duration,
}

/// How a call was sent.
struct Sent {
    key: Arc<Key>,
    created_s: i64,
    packed: bool,
}

/// What was tried already to make a refused call good.
#[derive(Default)]
struct Tried {
    other_key: bool,
    other_time: bool,
    other_nonce: bool,
    unpacked: bool,
}

impl Client {
    /// Fails if the gateway's papers or the files for TLS can't be used.
    pub fn new(
        config: Arc<CloudConfig>,
        status: Arc<CloudStatus>,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let (certificates, meter) = (Certificates::default(), Meter::default());
        let identity = Arc::new(Identity::open(&config.folder)?);
        let tls = match config.url.is_https() {
            true => Some(tls::config(&config.tls, &clock, &certificates)?),
            false => None,
        };
        let connector = Connector::new(
            &config.url,
            tls,
            config.line.metered,
            certificates.clone(),
            meter.clone(),
        )?;
        let client = Self {
            http: Http::new(connector.clone()),
            connector,
            identity,
            certificates,
            meter,
            config,
            status,
            clock,
            skew_ms: AtomicI64::new(0),
            plain_only: AtomicBool::new(false),
        };
        client.show_papers();
        Ok(client)
    }

    /// Who finds the cloud's address.
    pub fn names(&self) -> &Names {
        self.connector.names()
    }

    /// Where bytes are counted that belong to no call that went through.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// The gateway's papers.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// The enrolment at the configured cloud under the configured name.
    pub fn enrolled(&self) -> Option<Enrolled> {
        let url = self.config.url.as_url().as_str();
        self.identity.enrolled(url, &self.config.gateway)
    }

    /// To what codes are sealed now, for whom; fails while the gateway isn't enrolled.
    pub fn seal(&self) -> Result<Seal, Failure> {
        let enrolled = self.enrolled().ok_or_else(|| self.not_enrolled())?;
        Ok(Seal {
            key: enrolled.sealing_key,
            gateway: enrolled.gateway,
        })
    }

    /// That this gateway isn't enrolled.
    pub fn not_enrolled(&self) -> Failure {
        Failure::NotEnrolled(self.config.url.as_url().to_string())
    }

    /// The first step to the cloud by itself: its addresses.
    pub async fn try_name(&self) -> Result<Vec<SocketAddr>, Failure> {
        let found = self.connector.find().await;
        found.map_err(|e| broken::not_connected(&e, self.config.url.host()))
    }

    /// The second: a TCP connection to one of them.
    pub async fn try_connection(&self, found: Vec<SocketAddr>) -> Result<Counted, Failure> {
        let reached = self.connector.reach(found).await;
        reached.map_err(|e| broken::not_connected(&e, self.config.url.host()))
    }

    /// The third: TLS over it. Plain within this machine.
    pub async fn try_tls(&self, tcp: Counted) -> Result<Line, Failure> {
        let secured = self.connector.secure(tcp).await;
        self.show_papers();
        secured.map_err(|e| broken::not_connected(&e, self.config.url.host()))
    }

    /// Encodes a batch as it will be sent, before it is packed.
    pub fn encode(&self, batch: &Batch) -> Encoded {
        Encoded(batch.to_value().write(self.config.form))
    }

    /// `POST …/uplink`
    pub async fn uplink(&self, body: Encoded) -> Result<(Acked, Cost), Failure> {
        let call = Call {
            method: Method::POST,
            path: &self.of_gateway(&["uplink"]),
            query: None,
            content: body.0.into(),
            time: CALL_TIMEOUT,
        };
        self.call(call, Acked::from_value).await
    }

    /// `GET …/downlink`
    pub async fn downlink(
        &self,
        after: u64,
        wait_s: u64,
    ) -> Result<(Vec<DownlinkItem>, Cost), Failure> {
        let call = Call {
            method: Method::GET,
            path: &self.of_gateway(&["downlink"]),
            query: Some(format!("after={after}&wait={wait_s}")),
            content: Bytes::new(),
            time: Duration::from_secs(wait_s) + POLL_SLACK,
        };
        self.call(call, DownlinkItem::read_all).await
    }

    /// `GET /v1/gateways/{gateway}`: what the cloud knows of this gateway.
    pub async fn view(&self) -> Result<(GatewayView, Cost), Failure> {
        let call = Call {
            method: Method::GET,
            path: &self.of_gateway(&[]),
            query: None,
            content: Bytes::new(),
            time: CALL_TIMEOUT,
        };
        self.call(call, GatewayView::from_value).await
    }

    /// `POST /v1/enrol`
    pub async fn enrol(&self, token: &Secret) -> Result<(GatewayView, Cost), Failure> {
        let body = Enrolment {
            token: token.clone(),
            gateway: self.config.gateway.clone(),
            public_key: self.identity.key().public(),
        };
        let call = Call {
            method: Method::POST,
            path: &["v1", "enrol"],
            query: None,
            content: body.to_value().write(self.config.form).into(),
            time: CALL_TIMEOUT,
        };
        self.call(call, GatewayView::from_value).await
    }

    /// `POST …/key`: that `next` comes in the place of the key in force.
    pub async fn change_key(&self, next: &Key) -> Result<(GatewayView, Cost), Failure> {
        let public_key = next.public();
        let proof = key_change_proof(self.config.gateway.as_str(), &public_key);
        let proof = next.pair().sign(&proof).as_ref().try_into();
        let body = KeyChange {
            public_key,
            proof: proof.map_err(|_| IdentityError::Random)?,
        };
        let call = Call {
            method: Method::POST,
            path: &self.of_gateway(&["key"]),
            query: None,
            content: body.to_value().write(self.config.form).into(),
            time: CALL_TIMEOUT,
        };
        self.call(call, GatewayView::from_value).await
    }

    /// Brings the status up to date with the papers and the certificates.
    pub fn show_papers(&self) {
        let enrolled = self.enrolled();
        let changing = self.identity.is_changing();
        let certificates = self.certificates.views(self.clock.at_least_ms());
        self.status.show(|shown| {
            shown.enrolled_since_ms = enrolled.as_ref().map(|e| e.since_ms);
            shown.key_since_ms = enrolled.as_ref().map(|e| e.key_since_ms);
            shown.key_changing = changing;
            shown.certificates = certificates;
        });
    }

    fn of_gateway<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        let mut path = vec!["v1", "gateways", self.config.gateway.as_str()];
        path.extend(rest);
        path
    }

    async fn call<T>(
        &self,
        call: Call<'_>,
        read: impl Fn(&Value) -> Result<T, Malformed>,
    ) -> Result<(T, Cost), Failure> {
        let mut tried = Tried::default();
        loop {
            let packed = self.packed(&call);
            let sent = Sent {
                key: self.identity.key(),
                created_s: self.created_s(),
                packed: packed.is_some(),
            };
            let request = self.signed(&call, packed, &sent)?;
            let answer = self.http.call(request, call.time).await;
            let answer = answer.map_err(|e| broken::failure(&e, self.config.url.host()))?;
            self.heard(&answer.headers);
            let outcome = answer::read(&answer).and_then(|value| {
                let odd = |e| Failure::Odd(format!("the cloud's answer can't be read: {e}"));
                read(&value).map_err(odd)
            });
            let failure = match outcome {
                Ok(outcome) => {
                    self.taken(sent.key).await;
                    return Ok((outcome, answer.cost));
                }
                Err(failure) => failure,
            };
            self.meter.other(answer.cost.sent, answer.cost.received);
            match &failure {
                Failure::Refused(problem)
                    if self.can_do_better(problem, &sent, &answer.headers, &mut tried) => {}
                _ => return Err(failure),
            }
        }
    }

    /// Whether to send it once more after this refusal, in another way than before: each way once.
    fn can_do_better(
        &self,
        problem: &Problem,
        sent: &Sent,
        headers: &HeaderMap,
        tried: &mut Tried,
    ) -> bool {
        let once = |tried: &mut bool| !std::mem::replace(tried, true);
        match (problem.kind, problem.status) {
            (Some(ProblemType::Signature), _) => {
                once(&mut tried.other_key) && self.identity.refused(&sent.key)
            }
            (Some(ProblemType::Clock), _) => {
                once(&mut tried.other_time) && self.learn_skew(headers, sent.created_s)
            }
            (Some(ProblemType::Replay), _) => once(&mut tried.other_nonce),
            (_, 415) if sent.packed => {
                self.plain_only.store(true, Ordering::Relaxed);
                once(&mut tried.unpacked)
            }
            _ => false,
        }
    }

    /// The content packed, if that pays and the cloud takes it.
    fn packed(&self, call: &Call<'_>) -> Option<Bytes> {
        if self.plain_only.load(Ordering::Relaxed) {
            return None;
        }
        compressed::pack(&call.content).map(Bytes::from)
    }

    /// The last touch before a request is sent: every request of this client is made here, its
    /// content complete.
    fn signed(
        &self,
        call: &Call<'_>,
        packed: Option<Bytes>,
        sent: &Sent,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let url = self.url(call);
        let nonce = signed::nonce().ok_or(IdentityError::Random)?;
        let content = packed.unwrap_or_else(|| call.content.clone());
        let media_type = match self.config.form {
            Form::Cbor => CBOR,
            Form::Json => JSON,
        };
        let signature = signed::sign(
            sent.key.pair(),
            (call.method.as_str(), url.as_str()),
            &content,
            self.config.gateway.as_str(),
            (sent.created_s, &nonce),
        );
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(url.as_str())
            .header(USER_AGENT, concat!("linli/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, media_type)
            .header(ACCEPT_ENCODING, ZSTD)
            .header(signed::CONTENT_DIGEST, signature.content_digest)
            .header(signed::SIGNATURE_INPUT, signature.signature_input)
            .header(signed::SIGNATURE, signature.signature);
        if call.method != Method::GET {
            request = request.header(CONTENT_TYPE, media_type);
        }
        if sent.packed {
            request = request.header(CONTENT_ENCODING, ZSTD);
        }
        let request = request.body(Full::new(content));
        request.map_err(|e| Failure::Odd(format!("the request can't be made: {e}")))
    }

    fn url(&self, call: &Call<'_>) -> Url {
        let mut url = self.config.url.as_url().clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(call.path);
        }
        url.set_query(call.query.as_deref());
        url
    }

    /// The time that a request bears, seconds since the Unix epoch.
    fn created_s(&self) -> i64 {
        let skew_ms = self.skew_ms.load(Ordering::Relaxed);
        let now_ms = self.clock.at_cloud_ms().saturating_add(skew_ms);
        now_ms.div_euclid(1000)
    }

    /// Every answer says what time it is at the cloud. It comes over TLS that was checked, or from
    /// this machine.
    fn heard(&self, headers: &HeaderMap) {
        let Some(date_ms) = answer::date_ms(headers) else {
            return;
        };
        if self.clock.cloud_says(date_ms) {
            tracing::info!("the clock isn't set: the time is the cloud's, as an estimate");
        }
        let skew_ms = date_ms.saturating_sub(self.clock.at_cloud_ms());
        if skew_ms.saturating_abs() < IN_STEP_MS {
            self.skew_ms.store(0, Ordering::Relaxed);
        }
        let certificates = self.certificates.views(self.clock.at_least_ms());
        self.status.show(|shown| {
            shown.skew_ms = Some(skew_ms);
            shown.certificates = certificates;
        });
    }

    /// The cloud refused a request for its time: the next ones bear the cloud's. Only that: the
    /// box's own clock isn't moved by it. Returns whether that makes a difference.
    fn learn_skew(&self, headers: &HeaderMap, created_s: i64) -> bool {
        let Some(date_ms) = answer::date_ms(headers).filter(|ms| plausible(*ms)) else {
            return false;
        };
        let skew_ms = date_ms.saturating_sub(self.clock.at_cloud_ms());
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
        let moved_s = self.created_s().saturating_sub(created_s);
        if moved_s.saturating_abs() <= 1 {
            return false;
        }
        tracing::warn!(
            skew_s = skew_ms / 1000,
            "this box's clock and the cloud's differ: requests bear the cloud's time until they \
             agree; set the clock: timedatectl"
        );
        true
    }

    /// The cloud took what this key signed.
    async fn taken(&self, key: Arc<Key>) {
        if !self.identity.is_changing() {
            return;
        }
        let (identity, now_ms) = (Arc::clone(&self.identity), self.clock.now().wall_ms);
        let entered = tokio::task::spawn_blocking(move || identity.taken(&key, now_ms)).await;
        match entered {
            Ok(Ok(true)) => tracing::info!("the new key is in force"),
            Ok(Err(e)) => tracing::error!("the new key is in force at the cloud, but: {e}"),
            Ok(Ok(false)) | Err(_) => {}
        }
        self.show_papers();
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
