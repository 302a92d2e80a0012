//! Why a call brought nothing, in words, and what follows from it.

use std::time::Duration;

use cloud_protocol::{Problem, ProblemType};

use super::ledger::LedgerError;

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// No answer: no network, no cloud, or the connection broke.
    #[error("{words}")]
    Network {
        /// What happened, with the host.
        words: String,
        /// The time for the request ran out.
        timed_out: bool,
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
        let mut cause: &dyn std::error::Error = e;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let words = match (e.is_connect(), e.is_timeout()) {
            (true, true) => format!("no connection to {host}:{port} within the time"),
            (true, false) => format!("cannot connect to {host}:{port}: {cause}"),
            (false, true) => format!("no answer from {host}:{port} within the time"),
            (false, false) => format!("the connection to {host}:{port} broke: {cause}"),
        };
        Self::Network {
            words,
            timed_out: e.is_timeout() && !e.is_connect(),
        }
    }

    /// Whether something at the other end answered.
    pub fn reached(&self) -> bool {
        !matches!(self, Self::Network { .. })
    }

    /// What a person can do, if waiting alone won't help.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
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

/// What a person can do about a refusal.
pub(super) fn remedy(problem: &Problem) -> &'static str {
    match (problem.kind, problem.status) {
        (Some(ProblemType::Gap), _) => {
            "the cloud has lost items that it had acknowledged: ask its operator to restore them, \
             or start a new epoch by restoring this gateway's store"
        }
        (Some(ProblemType::Fork), _) => {
            "two gateways send under this name, or this store is a copy: find and stop the other \
             one, or restore this gateway's store to start a new epoch"
        }
        (Some(ProblemType::Epoch), _) => {
            "the cloud has heard from a newer store of this gateway: stop the gateway that runs on \
             the old copy, or restore this store to start a new epoch"
        }
        (Some(ProblemType::Malformed | ProblemType::TooLarge), _) => {
            "gateway and cloud don't understand each other: bring both up to date and report it"
        }
        (Some(ProblemType::UnknownGateway), _) | (None, 404) => {
            "check the gateway's name and the cloud's URL in the configuration, or have the gateway \
             listed at the cloud"
        }
        (Some(ProblemType::Clock), _) => "check the gateway's clock",
        (Some(ProblemType::Signature | ProblemType::Replay | ProblemType::Token), _)
        | (None, 401 | 403) => "have the gateway admitted at the cloud",
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
