//! Opening a compartment by hand: checked, recorded with the operator's name, and followed until it
//! is known what became of it.

use std::io;
use std::time::{Duration, Instant};

use estate::Layout;
use firmware_protocols::Slot;

use super::answer;
use super::conversation::Conversation;
use super::operator::operator;
use super::views::Opening;
use super::wire::{End, Failure, FailureKind, Reply, write_line};
use crate::store::read::CommandRow;

/// The longest reason, in characters.
pub const REASON_MAX_CHARS: usize = 200;

/// How long the journal may take to take the command.
const TAKE_TIME: Duration = Duration::from_secs(15);

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
    let slot = match check(client.shared.backend.layout(), slot, reason) {
        Ok(slot) => slot,
        Err(failure) => return client.fail(failure).await,
    };
    let reason = reason.trim();
    match command(client, slot, reason, claims).await {
        Ok(opening) => follow(client, opening).await,
        Err(failure) => client.fail(failure).await,
    }
}

/// Has the command written. From here on it is on its way.
async fn command(
    client: &Conversation,
    slot: Slot,
    reason: &str,
    claims: Option<String>,
) -> Result<Opening, Failure> {
    let uid = client.uid;
    let who = move |_: &dyn super::Backend| Ok(operator(uid, claims.as_deref()));
    let operator = client.shared.read(who).await?;
    let backend = &client.shared.backend;
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
        state: "sent".to_string(),
        answer: None,
        waited_ms: 0,
    })
}

/// Sends each state that is seen, until one that stays.
async fn follow(client: &mut Conversation, mut opening: Opening) -> io::Result<()> {
    let start = Instant::now();
    let ttl = Duration::from_millis(client.shared.backend.layout().rules.command_ttl_ms);
    let mut end = start + ttl + LATE_TIME;
    let mut newest = client.shared.backend.events_watch();
    send(client, &opening).await?;
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
            send(client, &opening).await?;
            if opening.state == "done" {
                end = Instant::now() + DOOR_TIME;
            }
        }
        if !matches!(opening.state.as_str(), "sent" | "done") {
            break;
        }
        if Instant::now() >= end {
            if opening.state == "sent" {
                opening.state = "expired".to_string();
                opening.waited_ms = waited_ms(start);
                send(client, &opening).await?;
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

async fn send(client: &mut Conversation, opening: &Opening) -> io::Result<()> {
    let mut line = Vec::new();
    write_line(&mut line, &Reply::Item(opening))?;
    client.send(&line, None).await
}

/// Refuses what can't be asked of the journal.
fn check(layout: &Layout, slot: &str, reason: &str) -> Result<Slot, Failure> {
    let bad = |message: String| Failure::new(FailureKind::BadRequest, message);
    let slot: Slot = slot.parse().map_err(|e| bad(format!("{e}")))?;
    let reason = reason.trim();
    if reason.is_empty() {
        return Err(bad(
            "opening by hand needs a reason, for the record: --reason TEXT".to_string(),
        ));
    }
    if reason.chars().count() > REASON_MAX_CHARS || reason.chars().any(char::is_control) {
        return Err(bad(format!(
            "a reason is one line of at most {REASON_MAX_CHARS} characters: shorten it"
        )));
    }
    let Some(bank) = layout.banks.iter().find(|bank| bank.id == slot.bank) else {
        let known: Vec<&str> = layout.banks.iter().map(|bank| bank.id.as_str()).collect();
        return Err(Failure::new(
            FailureKind::NotFound,
            format!(
                "there is no bank '{}' here. Its banks: {}",
                slot.bank,
                known.join(", ")
            ),
        ));
    };
    let most = bank.compartments.len();
    if usize::from(slot.compartment) > most {
        return Err(Failure::new(
            FailureKind::NotFound,
            format!("bank '{}' has compartments 1 to {most}", slot.bank),
        ));
    }
    Ok(slot)
}
