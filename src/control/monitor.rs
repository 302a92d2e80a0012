//! Answers `serial-monitor`: what goes over a port, in words, until the client closes.

use std::io;
use std::time::Instant;

use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep_until;

use super::conversation::Conversation;
use super::wire::{End, Failure, FailureKind, Reply, write_line};
use crate::links::serial::monitor::{Heard, Monitor};

/// Answers it. Nobody waits for a client that is slow: it misses something, and is told.
pub(super) async fn monitor(client: &mut Conversation, port: String, raw: bool) -> io::Result<()> {
    let name = port.clone();
    let found = client
        .shared
        .read(move |backend| Ok(backend.serial_tap(&name)));
    let (tap, protocol) = match found.await {
        Ok(Some(found)) => found,
        Ok(None) => {
            let status = client.shared.backend.status();
            let known: Vec<String> = status.serial.into_iter().map(|port| port.port).collect();
            return client.fail(unknown(&port, &known)).await;
        }
        Err(failure) => return client.fail(failure).await,
    };
    let mut chunks = tap.listen();
    let mut monitor = Monitor::new(protocol, false, raw, Instant::now(), now_ms());
    loop {
        let mut heard = Vec::new();
        let due = monitor.due();
        let idle = async {
            match due {
                Some(due) => sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            chunk = chunks.recv() => match chunk {
                Ok(chunk) => monitor.take(chunk.at, chunk.ours, &chunk.bytes, &mut heard),
                Err(RecvError::Lagged(pieces)) => heard.push(missed(pieces)),
                Err(RecvError::Closed) => return client.send(&[], Some(End::default())).await,
            },
            () = idle => monitor.idle(Instant::now(), &mut heard),
            () = client.gone() => return client.send(&[], Some(End::default())).await,
        }
        let mut lines = Vec::new();
        for heard in &heard {
            write_line(&mut lines, &Reply::Item(heard))?;
        }
        if !lines.is_empty() {
            client.send(&lines, None).await?;
        }
    }
}

fn unknown(port: &str, known: &[String]) -> Failure {
    let known = match known.is_empty() {
        true => "none stands in its configuration".to_string(),
        false => format!("it has {}", known.join(", ")),
    };
    Failure::new(
        FailureKind::NotFound,
        format!("the daemon has no serial port '{port}': {known}"),
    )
}

/// The listener was too slow.
fn missed(pieces: u64) -> Heard {
    Heard {
        at_ms: now_ms(),
        gap_ms: 0.0,
        from: "line".to_string(),
        frame: false,
        bytes: 0,
        words: format!("{pieces} pieces were missed here: this listener is too slow"),
        hex: None,
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
