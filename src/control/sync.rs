//! Answers what is asked of the sync client: to enrol, to change its key, to start a new epoch, and
//! to try all of it now.
//!
//! The client does it and says what came of it; here it is asked, with the operator's name in the
//! log, and its answer is waited for within bounds. A token goes from the request to the client and
//! is in no log.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::conversation::Conversation;
use super::operator::operator;
use super::secret::Token;
use super::wire::{End, Failure, FailureKind, Reply, write_line};
use crate::cloud::{Request as Ask, Step, Told};

/// The sync client's name among the daemon's parts.
pub const SYNC_PART: &str = "the sync client";

/// How long the cloud's answer, and all tries for it, may take. Below what the command line waits.
const ANSWER_TIME: Duration = Duration::from_secs(50);

const CHANGE_KEY: &str = "to change the gateway's key";

/// What is added when a change of the key has begun and its answer didn't come.
const CHANGE_GOES_ON: &str =
    ". The change has begun, and ends by itself once the cloud answers: see linli sync";

/// Steps that wait to be sent on.
const STEPS_WAITING: usize = 8;

/// What came of a request, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncDone {
    /// In words.
    pub told: String,
}

/// One step of trying it now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    /// `name`, `connection`, `tls`, `clock`, `enrolment`, `lanes`, `uplink`, `downlink`.
    pub step: String,
    /// Whether it held.
    pub held: bool,
    /// What was found, in words.
    pub told: String,
    /// What a person can do, if it didn't hold.
    pub remedy: Option<String>,
    /// How long it took.
    pub took_ms: u64,
}

impl From<Step> for StepView {
    fn from(step: Step) -> Self {
        let (held, told, remedy) = match step.outcome {
            Ok(told) => (true, told, None),
            Err(why) => (false, why.what, why.remedy),
        };
        Self {
            step: step.name.to_string(),
            held,
            told,
            remedy,
            took_ms: step.took_ms,
        }
    }
}

type Answer = oneshot::Receiver<Result<String, Told>>;

/// Answers `sync-enrol`.
pub(super) async fn enrol(
    client: &mut Conversation,
    token: Token,
    claims: Option<String>,
) -> io::Result<()> {
    let (reply, answer) = oneshot::channel();
    let token = token.into_secret();
    let ask = Ask::Enrol { token, reply };
    done(client, "to enrol", ask, answer, claims).await
}

/// Answers `sync-rotate-key`.
pub(super) async fn rotate_key(
    client: &mut Conversation,
    claims: Option<String>,
) -> io::Result<()> {
    let (reply, answer) = oneshot::channel();
    let ask = Ask::ChangeKey { reply };
    done(client, CHANGE_KEY, ask, answer, claims).await
}

/// Answers `sync-restored`.
pub(super) async fn restored(client: &mut Conversation, claims: Option<String>) -> io::Result<()> {
    let (reply, answer) = oneshot::channel();
    let ask = Ask::NewEpoch { reply };
    done(client, "to start a new epoch", ask, answer, claims).await
}

/// Asks, and sends on what came of it.
async fn done(
    client: &mut Conversation,
    what: &'static str,
    ask: Ask,
    answer: Answer,
    claims: Option<String>,
) -> io::Result<()> {
    let uid = client.uid;
    let who = client
        .shared
        .read(move |_| Ok(operator(uid, claims.as_deref())));
    let asked = match who.await {
        Ok(operator) => {
            tracing::info!(%operator, "asked {what}");
            hand_over(client, ask)
        }
        Err(failure) => Err(failure),
    };
    let answered = match asked {
        Ok(()) => of_client(answer).await,
        Err(failure) => Err(failure),
    };
    match answered {
        Ok(told) => {
            let mut line = Vec::new();
            write_line(&mut line, &Reply::Item(SyncDone { told }))?;
            client.send(&line, Some(End::default())).await
        }
        Err(mut failure) => {
            let cloud = client.shared.backend.status().cloud;
            if what == CHANGE_KEY && cloud["key_changing"] == true {
                failure.message.push_str(CHANGE_GOES_ON);
            }
            client.fail(failure).await
        }
    }
}

/// Answers `sync-now`: each step as it ends.
pub(super) async fn now(client: &mut Conversation) -> io::Result<()> {
    let (account, mut steps) = mpsc::channel(STEPS_WAITING);
    if let Err(failure) = hand_over(client, Ask::Now { account }) {
        return client.fail(failure).await;
    }
    let mut any = false;
    loop {
        let step = tokio::select! {
            step = timeout(ANSWER_TIME, steps.recv()) => step,
            // The client sees that nobody listens any more, and stops.
            () = client.gone() => return client.send(&[], Some(End::default())).await,
        };
        match step {
            Ok(Some(step)) => {
                any = true;
                let mut line = Vec::new();
                write_line(&mut line, &Reply::Item(StepView::from(step)))?;
                client.send(&line, None).await?;
            }
            Ok(None) if any => return client.send(&[], Some(End::default())).await,
            Ok(None) => return client.fail(ended()).await,
            Err(_) => return client.fail(silent()).await,
        }
    }
}

fn hand_over(client: &Conversation, ask: Ask) -> Result<(), Failure> {
    let backend = &client.shared.backend;
    let mut parts = backend.status().parts.into_iter();
    if let Some(down) = parts.find(|part| part.name == SYNC_PART && !part.running) {
        let why = down.last_error.unwrap_or_default();
        return Err(refused(format!(
            "the sync client isn't running: {why}. Once that is mended it starts by itself within a minute"
        )));
    }
    let Some(requests) = backend.sync_requests() else {
        return Err(refused(
            "no cloud stands in the configuration: add [cloud] with its url, then: linli config reload",
        ));
    };
    requests.ask(ask).map_err(|_| {
        let words = "the sync client is busy with what others asked for: try again in a minute";
        Failure::new(FailureKind::Busy, words)
    })
}

async fn of_client(answer: Answer) -> Result<String, Failure> {
    match timeout(ANSWER_TIME, answer).await {
        Ok(Ok(Ok(told))) => Ok(told),
        Ok(Ok(Err(Told { what, remedy }))) => {
            let remedy = remedy.map_or_else(String::new, |remedy| format!(". {}", begun(&remedy)));
            Err(refused(format!("{what}{remedy}")))
        }
        Ok(Err(_)) => Err(ended()),
        Err(_) => Err(silent()),
    }
}

/// Its first letter as a sentence has it.
fn begun(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(letters).collect()
}

fn ended() -> Failure {
    refused(
        "the sync client ended before it could answer: see linli status for why, then ask again",
    )
}

fn silent() -> Failure {
    refused(format!(
        "the sync client didn't answer within {} s. It may still come about: see linli sync, then ask again",
        ANSWER_TIME.as_secs()
    ))
}

fn refused(words: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Refused, words)
}
