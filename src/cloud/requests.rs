//! What a technician asks of the sync client while it runs.

use firmware_protocols::event::Secret;
use tokio::sync::{Mutex, mpsc, oneshot};

/// The most requests that wait.
pub const REQUESTS_MAX: usize = 8;

/// The way in. It outlives the client, which may be started again.
#[derive(Debug)]
pub struct Requests {
    sender: mpsc::Sender<Request>,
    waiting: Mutex<mpsc::Receiver<Request>>,
}

impl Default for Requests {
    fn default() -> Self {
        let (sender, waiting) = mpsc::channel(REQUESTS_MAX);
        Self {
            sender,
            waiting: Mutex::new(waiting),
        }
    }
}

impl Requests {
    /// Asks; gives the request back if too many wait.
    pub fn ask(&self, request: Request) -> Result<(), Request> {
        self.sender
            .try_send(request)
            .map_err(|refused| refused.into_inner())
    }

    /// The next request, for the client.
    pub async fn next(&self) -> Request {
        let mut waiting = self.waiting.lock().await;
        match waiting.recv().await {
            Some(request) => request,
            // Never closed: the other end stands beside it.
            None => std::future::pending().await,
        }
    }
}

/// A request; an answer that nobody waits for any more is dropped.
#[derive(Debug)]
pub enum Request {
    /// Enrol with this token.
    Enrol {
        /// One-time.
        token: Secret,
        /// What came of it, in words; an error says what to do.
        reply: oneshot::Sender<Result<String, Told>>,
    },
    /// Change the gateway's key.
    ChangeKey {
        /// What came of it.
        reply: oneshot::Sender<Result<String, Told>>,
    },
    /// This store was restored: start a new epoch.
    NewEpoch {
        /// What came of it.
        reply: oneshot::Sender<Result<String, Told>>,
    },
    /// Try all of it now, and say how each step goes.
    Now {
        /// The steps as they end; closed after the last.
        account: mpsc::Sender<Step>,
    },
}

/// Why something didn't come about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What is wrong.
    pub what: String,
    /// What a person can do.
    pub remedy: Option<String>,
}

/// One step of trying it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `name`, `connection`, `tls`, `clock`, `enrolment`, `lanes`, `uplink`, `downlink`.
    pub name: &'static str,
    /// What was found, in words.
    pub outcome: Result<String, Told>,
    /// How long it took, ms.
    pub took_ms: u64,
}
