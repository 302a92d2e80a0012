//! Why a call brought nothing, in words, and what follows from it.

use std::io;
use std::time::Duration;

use cloud_protocol::{Problem, ProblemType};

use super::ledger::LedgerError;

/// What kept an answer away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// There is no way to the cloud: nobody listens, or no network is up.
    NoWay,
    /// The time for the request ran out.
    TimedOut,
    /// TLS: the certificate isn't good, or the other end doesn't speak TLS.
    Tls,
    /// All else: the name isn't found, the connection broke, …
    Other,
}

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// No answer: no network, no cloud, or the connection broke.
    #[error("{words}")]
    Network {
        /// What happened, with the host.
        words: String,
        /// As far as the client can tell.
        cause: Cause,
    },
    /// The cloud can't at the moment (408, 425, 429, 5xx).
    #[error("the cloud is busy or unwell: {problem} (HTTP {})", problem.status)]
    Busy {
        /// Its words.
        problem: Box<Problem>,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The cloud won't (other 4xx).
    #[error("the cloud refuses: {0} (HTTP {status})", status = .0.status)]
    Refused(Box<Problem>),
    /// Something answers that doesn't speak the sync API.
    #[error("{0}")]
    Odd(String),
    /// The gateway's own side.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Failure {
    /// From an error of the HTTP client.
    pub fn of_transport(e: &reqwest::Error, host: (&str, u16)) -> Self {
        let (host, port) = host;
        let (root, cause) = trace(e);
        let words = match (e.is_connect(), e.is_timeout()) {
            (true, true) => format!("no connection to {host}:{port} within the time"),
            (true, false) => format!("cannot connect to {host}:{port}: {root}"),
            (false, true) => format!("no answer from {host}:{port} within the time"),
            (false, false) => format!("the connection to {host}:{port} broke: {root}"),
        };
        Self::Network { words, cause }
    }

    /// Whether something at the other end answered.
    pub fn reached(&self) -> bool {
        !matches!(self, Self::Network { .. })
    }

    /// What a person can do, if waiting alone won't help.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Network {
                cause: Cause::Tls, ..
            } => Some(
                "check this machine's clock, its certificate authorities (the package \
                 ca-certificates, or the file that SSL_CERT_FILE names) and the cloud's URL",
            ),
            Self::Network { .. } | Self::Busy { .. } => None,
            Self::Refused(problem) => Some(remedy(problem)),
            Self::Odd(_) => Some(
                "check the cloud's URL in the configuration, and whether a proxy or a captive \
                 portal is in the way; if neither, tell the cloud's operator",
            ),
            Self::Ledger(e) => ledger_remedy(e),
        }
    }
}

/// The innermost error in words, and what it amounts to.
fn trace(e: &reqwest::Error) -> (String, Cause) {
    let mut cause = match e.is_timeout() && !e.is_connect() {
        true => Cause::TimedOut,
        false => Cause::Other,
    };
    let mut inner: &dyn std::error::Error = e;
    loop {
        if let Some(e) = inner.downcast_ref::<io::Error>() {
            cause = of_io(e).unwrap_or(cause);
        }
        match inner.source() {
            Some(source) => inner = source,
            None => return (inner.to_string(), cause),
        }
    }
}

fn of_io(e: &io::Error) -> Option<Cause> {
    // An I/O error hides what it wraps from `source`, and TLS errors come wrapped twice.
    if let Some(inner) = e.get_ref() {
        if inner.is::<rustls::Error>() {
            return Some(Cause::Tls);
        }
        return inner.downcast_ref::<io::Error>().and_then(of_io);
    }
    match e.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown => Some(Cause::NoWay),
        _ => None,
    }
}

/// What a person can do about a refusal.
pub(super) fn remedy(problem: &Problem) -> &'static str {
    match (problem.kind, problem.status) {
        (Some(ProblemType::Gap), _) => {
            "the cloud has lost items that it had acknowledged: ask the cloud's operator to restore \
             them, or start a new epoch by restoring this gateway's store"
        }
        (Some(ProblemType::Fork), _) => {
            "two gateways send under this name, or this store is a copy: find and stop the other \
             one (the cloud's operator can tell from where it sends), or restore this gateway's store to \
             start a new epoch"
        }
        (Some(ProblemType::Epoch), _) => {
            "the cloud has heard from a newer store of this gateway: stop the gateway that runs on \
             the old copy, or restore this store to start a new epoch"
        }
        (Some(ProblemType::Malformed | ProblemType::TooLarge), _) => {
            "gateway and cloud don't understand each other: bring both up to date and report it"
        }
        (Some(ProblemType::UnknownGateway), _) | (None, 404) => {
            "check the gateway's name and the cloud's URL in the configuration, or ask the cloud's \
             operator to list this gateway"
        }
        (Some(ProblemType::Clock), _) => "check the gateway's clock",
        (Some(ProblemType::Signature | ProblemType::Replay | ProblemType::Token), _)
        | (None, 401 | 403) => "ask the cloud's operator to admit this gateway",
        (None, _) => "ask the cloud's operator what this refusal means",
    }
}

fn ledger_remedy(e: &LedgerError) -> Option<&'static str> {
    match e {
        LedgerError::Unavailable(_) => Some("check the gateway's disk and its journal"),
        LedgerError::Ahead { .. } => Some(
            "this store is older than what the cloud has heard: restore it properly, so that it \
             starts a new epoch",
        ),
    }
}
