//! A new configuration, taken over while the daemon runs.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::conversation::Conversation;
use super::operator::operator;
use super::wire::{End, Failure, FailureKind, Reply, write_line};

/// How long it may take. Below what the command line waits.
const ANSWER_TIME: Duration = Duration::from_secs(50);

/// What became of a new configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadView {
    /// What has changed and holds now, in words.
    pub applied: Vec<String>,
    /// Keys that have changed and hold only after a restart.
    pub after_restart: Vec<String>,
    /// What somebody should know of it or see to, in words.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Why it was refused, in words, a line for each fault: then nothing has changed.
    #[serde(default)]
    pub refused: Option<String>,
}

/// Which configuration holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationReport {
    /// Its file; null if the daemon wasn't started from one.
    pub file: Option<String>,
    /// When it was taken.
    pub taken_ms: i64,
    /// Who had it taken; null for the start of the daemon.
    pub by: Option<String>,
    /// Keys that have changed in the file and hold only after a restart.
    pub after_restart: Vec<String>,
    /// The last try to take another one, if it was refused.
    pub refused: Option<RefusedConfiguration>,
}

/// A configuration that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedConfiguration {
    /// When.
    pub at_ms: i64,
    /// Who wanted it taken.
    pub by: String,
    /// Why, in words, a line for each fault.
    pub why: String,
}

/// Answers `reload`.
pub(super) async fn reload(client: &mut Conversation, claims: Option<String>) -> io::Result<()> {
    let uid = client.uid;
    let who = client
        .shared
        .read(move |_| Ok(operator(uid, claims.as_deref())));
    let operator = match who.await {
        Ok(operator) => operator,
        Err(failure) => return client.fail(failure).await,
    };
    let taken = timeout(ANSWER_TIME, client.shared.backend.reload(operator));
    match taken.await {
        Ok(view) => {
            let mut line = Vec::new();
            write_line(&mut line, &Reply::Item(view))?;
            client.send(&line, Some(End::default())).await
        }
        Err(_) => {
            let words = "the new configuration isn't taken over yet; that goes on. 'linli status' says when it is";
            client.fail(Failure::new(FailureKind::Busy, words)).await
        }
    }
}
