//! Opening a compartment by hand: checked, recorded with the operator's name, and followed until it
//! is known what became of it.

use std::io;
use std::time::{Duration, Instant};

use firmware_protocols::{Ident, Slot};
use serde::Serialize;

use super::answer;
use super::backend::Backend;
use super::conversation::Conversation;
use super::known;
use super::operator::operator;
use super::views::Opening;
use super::wire::{End, Failure, FailureKind, Reply, write_line};
use crate::store::read::CommandRow;

/// What needs a reason.
const WHAT: &str = "opening by hand";

/// How long the journal may take to take something.
pub(super) const TAKE_TIME: Duration = Duration::from_secs(15);

/// How long after the board said 'done' the door may take to be seen open.
const DOOR_TIME: Duration = Duration::from_secs(2);

/// How long past its expiry an answer may still be on its way to the disk.
const LATE_TIME: Duration = Duration::from_secs(3);

/// How often it is looked at even if no event came: an expiry is none.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Answers `open`.
pub(super) async fn open(
    client: &mut Conversation,
    slot: &str,
    reason: &str,
    claims: Option<String>,
) -> io::Result<()> {
    let layout = client.shared.backend.layout();
    let checked =
        known::slot(&layout, slot).and_then(|slot| Ok((slot, known::reason(WHAT, reason)?)));
    let opened = match checked {
        Ok((slot, reason)) => command(client, slot, reason, claims).await,
        Err(failure) => Err(failure),
    };
    match opened {
        Ok(opening) => follow(client, opening, Opening::clone).await,
        Err(failure) => client.fail(failure).await,
    }
}

/// A bank that is known not to be there opens nothing.
pub(super) fn reachable(backend: &dyn Backend, bank: &Ident) -> Result<(), Failure> {
    if !backend.away(bank) {
        return Ok(());
    }
    Err(Failure::new(
        FailureKind::Refused,
        format!(
            "{bank} isn't connected, so nothing was sent. Check its power and network; linli devices says when it was last heard"
        ),
    ))
}

/// Has the command written. From here on it is on its way.
async fn command(
    client: &Conversation,
    slot: Slot,
    reason: &str,
    claims: Option<String>,
) -> Result<Opening, Failure> {
    let uid = client.uid;
    let who = move |_: &dyn Backend| Ok(operator(uid, claims.as_deref()));
    let operator = client.shared.read(who).await?;
    let backend = &client.shared.backend;
    reachable(&**backend, &slot.bank)?;
    let asked = backend.open(slot.clone(), operator.clone(), reason.to_string());
    let command = match tokio::time::timeout(TAKE_TIME, asked).await {
        Ok(Ok(command)) => command,
        Ok(Err(why)) => return Err(Failure::new(FailureKind::Refused, why)),
        Err(_) => {
            let seconds = TAKE_TIME.as_secs();
            return Err(Failure::new(
                FailureKind::Refused,
                format!(
                    "the gateway hasn't written the command within {seconds} s, so it may or may not be sent. Look at the door, then at 'linli status'"
                ),
            ));
        }
    };
    tracing::info!(%slot, %operator, command, "asked to open by hand");
    Ok(Opening {
        command,
        slot: slot.to_string(),
        operator,
        reason: reason.to_string(),
        state: "requested".to_string(),
        answer: None,
        waited_ms: 0,
    })
}

/// Sends each state that is seen, until one that stays; `shown` makes of it what is sent.
pub(super) async fn follow<T: Serialize>(
    client: &mut Conversation,
    mut opening: Opening,
    shown: impl Fn(&Opening) -> T,
) -> io::Result<()> {
    let start = Instant::now();
    let ttl = Duration::from_millis(client.shared.backend.layout().rules.command_ttl_ms);
    let mut end = start + ttl + LATE_TIME;
    let mut newest = client.shared.backend.events_watch();
    send(client, &shown(&opening)).await?;
    loop {
        let id = opening.command.clone();
        let look = client
            .shared
            .read(move |backend| answer::open(backend)?.command(&id).map_err(answer::failed));
        let now = match look.await {
            Ok(row) => row.filter(|row| row.state != opening.state),
            Err(failure) => return client.fail(failure).await,
        };
        if let Some(row) = now {
            update(&mut opening, row, start);
            send(client, &shown(&opening)).await?;
            if opening.state == "done" {
                end = Instant::now() + DOOR_TIME;
            }
        }
        if !opening.under_way() {
            break;
        }
        if Instant::now() >= end {
            if opening.state != "done" {
                // Not even the end of its time has reached the disk.
                opening.state = "unknown".to_string();
                opening.waited_ms = waited_ms(start);
                send(client, &shown(&opening)).await?;
            }
            break;
        }
        // An event may be what is waited for; a daemon that stops ends this conversation itself.
        let _ = tokio::time::timeout(LOOK_EVERY, newest.changed()).await;
    }
    client.send(&[], Some(End::default())).await
}

fn update(opening: &mut Opening, row: CommandRow, start: Instant) {
    opening.state = row.state;
    opening.answer = row.answer;
    opening.waited_ms = waited_ms(start);
}

fn waited_ms(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

async fn send(client: &mut Conversation, item: &impl Serialize) -> io::Result<()> {
    let mut line = Vec::new();
    write_line(&mut line, &Reply::Item(item))?;
    client.send(&line, None).await
}
