//! The sync client of a gateway in a test: started, watched, stopped.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cloud_protocol::Batch;
use cloud_protocol::secure::signed;
use firmware_protocols::Ident;
use linli::clock::Clock;
use linli::cloud::{
    BackoffRange, CloudConfig, CloudSnapshot, CloudStatus, Ledger, LineConfig, Request, Requests,
    Told,
};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tempfile::TempDir;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::ledger::Memory;

pub fn ident(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

/// Like a gateway's, with pauses short enough for a test, and nothing spread.
pub fn config(url: &str) -> CloudConfig {
    CloudConfig {
        line: LineConfig {
            spread: Duration::ZERO,
            ..LineConfig::default()
        },
        backoff: BackoffRange {
            first: Duration::from_millis(5),
            longest: Duration::from_millis(50),
        },
        ..CloudConfig::new(url, ident("estate-1"), "unused").unwrap()
    }
}

/// With pauses so long that nothing happens by waiting for them.
pub fn patient(url: &str) -> CloudConfig {
    CloudConfig {
        backoff: BackoffRange {
            first: Duration::from_secs(1_000_000),
            longest: Duration::from_secs(1_000_000),
        },
        ..config(url)
    }
}

/// The folder with a gateway's papers, and a token in a file beside them.
pub struct Papers(TempDir);

impl Papers {
    pub fn new() -> Arc<Self> {
        let papers = Self(tempfile::tempdir().unwrap());
        std::fs::write(papers.token_file(), "a-token\n").unwrap();
        Arc::new(papers)
    }

    pub fn folder(&self) -> PathBuf {
        self.0.path().join("cloud")
    }

    pub fn token_file(&self) -> PathBuf {
        self.0.path().join("token")
    }

    /// The key that signs now.
    pub fn key(&self) -> Ed25519KeyPair {
        let seed = std::fs::read(self.folder().join("gateway.key")).unwrap();
        Ed25519KeyPair::from_seed_unchecked(&seed).unwrap()
    }

    pub fn public_key(&self) -> [u8; 32] {
        self.key().public_key().as_ref().try_into().unwrap()
    }

    pub fn is_enrolled(&self) -> bool {
        self.folder().join("enrolment.json").exists()
    }

    /// With these papers, and the token.
    pub fn config(&self, config: CloudConfig) -> CloudConfig {
        CloudConfig {
            folder: self.folder(),
            token_file: Some(self.token_file()),
            ..config
        }
    }

    /// Sends a batch past the gateway, in its name.
    pub async fn post(&self, cloud: &str, batch: &Batch) {
        let url = format!("{cloud}/v1/gateways/estate-1/uplink");
        let body = batch.to_value().to_cbor();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let created = i64::try_from(now.as_secs()).unwrap();
        let headers = signed::sign(
            &self.key(),
            ("POST", &url),
            &body,
            "estate-1",
            (created, &signed::nonce().unwrap()),
        );
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(no_tls())
            .no_proxy()
            .build()
            .unwrap();
        let taken = http
            .post(url)
            .header("content-type", "application/cbor")
            .header(signed::CONTENT_DIGEST, headers.content_digest)
            .header(signed::SIGNATURE_INPUT, headers.signature_input)
            .header(signed::SIGNATURE, headers.signature)
            .body(body)
            .send();
        assert_eq!(taken.await.unwrap().status(), 200);
    }
}

fn no_tls() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

pub struct Sync {
    pub papers: Arc<Papers>,
    pub requests: Arc<Requests>,
    pub ledger: Arc<Memory>,
    status: Arc<CloudStatus>,
    stop: watch::Sender<bool>,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Sync {
    /// A gateway with papers of its own and a token.
    pub fn start(config: CloudConfig, ledger: &Arc<Memory>) -> Self {
        Self::start_with(&Papers::new(), config, ledger)
    }

    /// One with these papers.
    pub fn start_with(papers: &Arc<Papers>, config: CloudConfig, ledger: &Arc<Memory>) -> Self {
        Self::start_as_is(papers, papers.config(config), ledger, Clock::system())
    }

    /// One that is told everything.
    pub fn start_as_is(
        papers: &Arc<Papers>,
        config: CloudConfig,
        ledger: &Arc<Memory>,
        clock: Clock,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let status = Arc::new(CloudStatus::new());
        let requests = Arc::new(Requests::default());
        let running = tokio::spawn(linli::cloud::run(
            config,
            Arc::clone(ledger) as Arc<dyn Ledger>,
            Arc::clone(&status),
            Arc::clone(&ledger.nudge),
            Arc::clone(&requests),
            clock,
            stopped,
        ));
        Self {
            papers: Arc::clone(papers),
            requests,
            ledger: Arc::clone(ledger),
            status,
            stop,
            running,
        }
    }

    /// Asks as a technician does, and waits for what came of it.
    pub async fn ask(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<String, Told>>) -> Request,
    ) -> Result<String, Told> {
        let (reply, answer) = oneshot::channel();
        self.requests.ask(request(reply)).unwrap();
        answer.await.unwrap()
    }

    /// Cut short wherever it is.
    pub async fn kill(self) {
        self.running.abort();
        let _ = self.running.await;
    }

    /// Ends by itself, as it can't be set up.
    pub async fn ends(self) -> anyhow::Error {
        self.running.await.unwrap().unwrap_err()
    }

    pub fn status(&self) -> CloudSnapshot {
        self.status.snapshot()
    }

    pub async fn all_acked(&self) {
        until("everything is acknowledged", || self.ledger.all_acked()).await;
    }

    pub async fn until(&self, what: &str, done: impl Fn(&CloudSnapshot) -> bool) {
        let waited = until(what, || done(&self.status()));
        waited.await;
    }

    /// Stops, and says how long that took.
    pub async fn stop(self) -> Duration {
        let started = Instant::now();
        self.stop.send_replace(true);
        self.running.await.unwrap().unwrap();
        started.elapsed()
    }
}

/// Waits for a condition, at most 20 s.
pub async fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "in time: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
