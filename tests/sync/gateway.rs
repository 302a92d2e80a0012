//! The sync client of a gateway in a test: started, watched, stopped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use firmware_protocols::Ident;
use linli::clock::Clock;
use linli::cloud::{BackoffRange, CloudConfig, CloudSnapshot, CloudStatus, Ledger, LineConfig};
use tokio::sync::watch;
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
        ..CloudConfig::new(url, ident("estate-1"), std::env::temp_dir()).unwrap()
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

pub struct Sync {
    pub ledger: Arc<Memory>,
    status: Arc<CloudStatus>,
    stop: watch::Sender<bool>,
    running: JoinHandle<anyhow::Result<()>>,
}

impl Sync {
    pub fn start(config: CloudConfig, ledger: &Arc<Memory>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let status = Arc::new(CloudStatus::new());
        let running = tokio::spawn(linli::cloud::run(
            config,
            Arc::clone(ledger) as Arc<dyn Ledger>,
            Arc::clone(&status),
            Arc::clone(&ledger.nudge),
            Arc::default(),
            Clock::system(),
            stopped,
        ));
        Self {
            ledger: Arc::clone(ledger),
            status,
            stop,
            running,
        }
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
