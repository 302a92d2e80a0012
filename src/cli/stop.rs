//! Why a command ends early: the message for people, and the exit code for programs.

use std::io;
use std::path::Path;

use super::look::safe;
use super::words;
use crate::control::client::ClientError;
use crate::control::wire::{Failure, FailureKind};

/// It can't be done, or was refused.
pub const FAILED: u8 = 1;
/// It was asked for in the wrong way.
pub const USAGE: u8 = 2;
/// The daemon isn't running.
pub const NOT_RUNNING: u8 = 3;
/// What was named isn't there.
pub const NOT_FOUND: u8 = 4;
/// Ctrl-C, as shells report it.
pub const INTERRUPTED: u8 = 130;
/// A fault of linli's own (`EX_SOFTWARE` of sysexits).
pub const INTERNAL: u8 = 70;

/// Why a command ends early.
#[derive(Debug)]
pub enum Stop {
    /// Nobody reads what is printed any more: no matter.
    Unread,
    /// Something to tell.
    Failed {
        /// The exit code.
        code: u8,
        /// What happened and what to do, in words.
        message: String,
    },
    /// Everything was told already.
    Told(u8),
}

impl Stop {
    /// With a message.
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self::Failed {
            code,
            message: message.into(),
        }
    }

    /// What is told, in words.
    pub fn words(&self) -> String {
        match self {
            Self::Failed { message, .. } => message.clone(),
            Self::Told(_) | Self::Unread => String::new(),
        }
    }

    /// What the daemon, or the way to it, said.
    pub fn of_client(error: &ClientError, config: &Path) -> Self {
        match error {
            ClientError::NotRunning(socket) => {
                Self::new(NOT_RUNNING, words::not_running(socket, config))
            }
            ClientError::Unreachable { path, source } => {
                Self::new(FAILED, words::unreachable(path, source))
            }
            ClientError::BrokenOff(source) => Self::new(FAILED, words::broken_off(source)),
            ClientError::Unreadable(source) => Self::new(INTERNAL, words::unreadable(source)),
            ClientError::Failed(failure) => Self::of_failure(failure),
        }
    }

    fn of_failure(failure: &Failure) -> Self {
        let code = match failure.kind {
            FailureKind::BadRequest => USAGE,
            FailureKind::NotFound => NOT_FOUND,
            FailureKind::Refused | FailureKind::Busy | FailureKind::Stopping => FAILED,
            FailureKind::Internal => INTERNAL,
        };
        // One line, whatever it repeats of what was asked.
        Self::new(code, safe(&failure.message))
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Unread,
            _ => Self::new(FAILED, words::cannot_print(&error)),
        }
    }
}
