//! Why a call brought nothing, in words, and what follows from it.

use std::time::Duration;

use cloud_protocol::{Problem, ProblemType};

pub(super) use super::broken::Cause;
use super::identity::IdentityError;
use super::ledger::LedgerError;

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
    /// Something between here and the cloud answers in its place.
    #[error("what answers isn't the cloud: {words}")]
    Between {
        /// What it said.
        words: String,
        /// What it is.
        what: Between,
    },
    /// Something answers that doesn't speak the sync API.
    #[error("{0}")]
    Odd(String),
    /// The gateway isn't enrolled at this cloud, and has no token.
    #[error("this gateway isn't enrolled at {0}")]
    NotEnrolled(String),
    /// The file with the token can't be read.
    #[error("the enrolment token in {path} can't be used: {why}")]
    Token {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// The gateway's papers can't be written.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The gateway's own side.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What can stand between gateway and cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Between {
    /// A network that wants somebody to log in first.
    Portal,
    /// A proxy that wants a password.
    Proxy,
}

impl Failure {
    /// Whether something at the other end answered.
    pub fn reached(&self) -> bool {
        !matches!(
            self,
            Self::Network { .. } | Self::NotEnrolled(_) | Self::Token { .. }
        )
    }

    /// What a person can do, if waiting alone won't help.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Network { cause, .. } if cause.lasts() => Some(cause.remedy()),
            Self::Network { .. } | Self::Busy { .. } => None,
            Self::Refused(problem) => Some(remedy(problem)),
            Self::Between {
                what: Between::Portal,
                ..
            } => Some(
                "check the cloud's URL; if it is right, a captive portal is in the way: log in to this \
                 network once, or have its operator let this box through",
            ),
            Self::Between {
                what: Between::Proxy,
                ..
            } => Some(
                "check the cloud's URL; if it is right, this network wants a proxy, which this box \
                 doesn't use: have its operator let this box through to the cloud directly",
            ),
            Self::Odd(_) => Some(
                "check the cloud's URL in the configuration, and whether a proxy or a captive \
                 portal is in the way; if neither, tell the cloud's operator",
            ),
            Self::NotEnrolled(_) => Some(
                "get a one-time token from the cloud's operator and enrol: linli sync enrol (or name \
                 a file with it as token_file in [cloud])",
            ),
            Self::Token { .. } => Some(
                "check token_file in [cloud] and the file's rights, or enrol with the token by hand: \
                 linli sync enrol",
            ),
            Self::Identity(e) => Some(identity_remedy(e)),
            Self::Ledger(e) => ledger_remedy(e),
        }
    }

    /// What a person can look at, also where waiting may be all: for one who is there and asks.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Network { cause, .. } => cause.remedy(),
            Self::Busy { .. } => {
                "wait: it is tried again by itself; if it lasts, ask the cloud's operator"
            }
            _ => self.remedy().unwrap_or("wait: it is tried again by itself"),
        }
    }
}

/// What a person can do about a refusal.
pub(super) fn remedy(problem: &Problem) -> &'static str {
    match (problem.kind, problem.status) {
        (Some(ProblemType::Gap), _) => {
            "the cloud has lost items that it had acknowledged: ask the cloud's operator to restore \
             them; if they can't, start a new epoch: linli sync restored"
        }
        (Some(ProblemType::Fork), _) => {
            "two gateways send under this name, or this store is a copy: find and stop the other \
             one (the cloud's operator can tell from where it sends), or, if this is \
             the right box, start a new epoch: linli sync restored"
        }
        (Some(ProblemType::Epoch), _) => {
            "the cloud has heard from a newer store of this gateway: stop the gateway that runs on \
             the old copy, or, if this is the right box, start a new epoch: linli sync restored"
        }
        (Some(ProblemType::Malformed | ProblemType::TooLarge), _) => {
            "gateway and cloud don't understand each other: bring both up to date and report it"
        }
        (Some(ProblemType::UnknownGateway), _) | (None, 404) => {
            "check the gateway's name and the cloud's URL in the configuration; if they are right, \
             the cloud has lost this gateway: enrol again with a fresh token: linli sync enrol"
        }
        (Some(ProblemType::Clock), _) => {
            "set this box's clock (timedatectl), or have the cloud's operator check the cloud's"
        }
        (Some(ProblemType::Signature), _) => {
            "the cloud knows another key for this gateway: another box was enrolled under this name, \
             or the cloud was restored. Enrol again with a fresh token: linli sync enrol"
        }
        (Some(ProblemType::Token), _) => {
            "the token was used, is over or is for another gateway: get a fresh one from the cloud's \
             operator and enrol with it: linli sync enrol"
        }
        (Some(ProblemType::Replay), _) => {
            "something between here and the cloud sends requests twice: look for a proxy; if there is \
             none, tell the cloud's operator"
        }
        (None, 401 | 403) => "ask the cloud's operator to admit this gateway",
        (None, _) => "ask the cloud's operator what this refusal means",
    }
}

fn identity_remedy(e: &IdentityError) -> &'static str {
    match e {
        IdentityError::Io { .. } | IdentityError::Random => {
            "check the gateway's disk and its rights"
        }
        IdentityError::Open { .. } => "chmod 600 the file, then: linli sync rotate-key",
        IdentityError::Damaged(_) => "restore the file, or remove it and: linli sync enrol",
    }
}

fn ledger_remedy(e: &LedgerError) -> Option<&'static str> {
    match e {
        LedgerError::Unavailable(_) => Some("check the gateway's disk and its journal"),
        LedgerError::Ahead { .. } => Some(
            "this store is older than what the cloud has heard: if this is the right box, start a new \
             epoch: linli sync restored",
        ),
    }
}
