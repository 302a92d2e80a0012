//! The server's end of the control socket: who is let in, and how long for.
//!
//! Bounds ([`Limits`]): connections beyond the most are told so and closed; a client that says
//! nothing, or takes no answer, loses its connection; only a few read the store at once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::JoinSet;

use super::backend::Backend;
use super::conversation::Conversation;
use super::socket::Socket;
use super::wire::{Failure, FailureKind, Reply};

/// The server's bounds.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once; more are answered `busy`. Default 32.
    pub connections: usize,
    /// Requests that read the store at once; more wait their turn. Default 4.
    pub readers: usize,
    /// How long a client may take to send its next request. Default 30 s.
    pub idle: Duration,
    /// How long a client may take to read 16 KiB of its answer. Default 10 s.
    pub write: Duration,
    /// How long to gather events before they are sent to one who follows. Default 100 ms.
    pub gather: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 32,
            readers: 4,
            idle: Duration::from_secs(30),
            write: Duration::from_secs(10),
            gather: Duration::from_millis(100),
        }
    }
}

/// What every conversation shares.
pub(super) struct Shared {
    pub backend: Arc<dyn Backend>,
    pub limits: Limits,
    readers: Arc<Semaphore>,
}

impl Shared {
    /// Runs `ask` where it may block. It waits its turn when too many read at once.
    pub async fn read<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Backend) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let turn = Arc::clone(&self.readers).acquire_owned();
        let Ok(Ok(turn)) = tokio::time::timeout(self.limits.idle, turn).await else {
            return Err(busy("too many questions wait for the store: try again"));
        };
        let backend = Arc::clone(&self.backend);
        let answered = tokio::task::spawn_blocking(move || {
            // Held until the work is really over, even if nobody waits for it any more.
            let _turn: OwnedSemaphorePermit = turn;
            ask(&*backend)
        });
        answered.await.unwrap_or_else(|e| {
            tracing::error!(error = %e, "a question of a technician could not be answered");
            Err(Failure::new(
                FailureKind::Internal,
                "the question could not be answered: see the daemon's log",
            ))
        })
    }
}

/// Serves the control API at `path` until `shutdown` becomes true, within the default [`Limits`].
///
/// `ready` is told once clients can connect. The socket's file is removed at the end.
pub async fn serve(
    path: &Path,
    backend: Arc<dyn Backend>,
    shutdown: watch::Receiver<bool>,
    ready: oneshot::Sender<()>,
) -> anyhow::Result<()> {
    serve_within(Limits::default(), path, backend, shutdown, ready).await
}

/// [`serve`] within other limits.
pub async fn serve_within(
    limits: Limits,
    path: &Path,
    backend: Arc<dyn Backend>,
    mut shutdown: watch::Receiver<bool>,
    ready: oneshot::Sender<()>,
) -> anyhow::Result<()> {
    let socket = Socket::bind(path).await?;
    tracing::info!(path = %path.display(), "technicians are answered");
    // Whoever started us may not care.
    let _ = ready.send(());
    let places = Arc::new(Semaphore::new(limits.connections));
    let shared = Arc::new(Shared {
        backend,
        readers: Arc::new(Semaphore::new(limits.readers)),
        limits,
    });
    let mut conversations = JoinSet::new();
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok(stream) => match Arc::clone(&places).try_acquire_owned() {
                    Ok(place) => {
                        let shared = Arc::clone(&shared);
                        conversations.spawn(async move {
                            let _place = place;
                            Conversation::new(stream, shared).run().await;
                        });
                    }
                    Err(_) => turn_away(&stream),
                },
                Err(e) => {
                    // Out of file descriptors, most likely: others give theirs back in time.
                    tracing::warn!(error = %e, "a technician could not be let in");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            },
            Some(ended) = conversations.join_next(), if !conversations.is_empty() => {
                if let Err(e) = ended {
                    tracing::error!(error = %e, "a conversation with a technician broke off");
                }
            }
            () = async { drop(shutdown.wait_for(|stop| *stop).await) } => break,
        }
    }
    drop(socket);
    conversations.shutdown().await;
    Ok(())
}

/// Says why, as far as that goes without waiting.
fn turn_away(stream: &UnixStream) {
    let failure = busy("too many are connected: close another linli command, and try again");
    let reply: Reply = Reply::Error(failure);
    if let Ok(mut line) = serde_json::to_vec(&reply) {
        line.push(b'\n');
        let _ = stream.try_write(&line);
    }
}

fn busy(message: &str) -> Failure {
    Failure::new(FailureKind::Busy, message)
}
