//! What can come in during a walk test, in one queue: what the bank says, what becomes of an
//! opening, what the technician types, the key that interrupts.
//!
//! Each source has a thread of its own that ends with the process. The queue is bounded; whoever
//! fills it waits.

use std::io::{self, BufRead as _, Read as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use crate::control::client::{Client, ClientError};
use crate::control::views::Opening;
use crate::control::wire::Request;
use crate::store::read::EventRow;

/// How many may wait.
const WAITING_MAX: usize = 256;

/// The longest line that is read, bytes.
const LINE_MAX_BYTES: u64 = 1_024;

/// Something that came in.
#[derive(Debug)]
pub enum Happening {
    /// The bank said something of a compartment.
    Said(EventRow),
    /// An opening is in this state now.
    Step(Opening),
    /// An opening goes no further; it may have been turned away.
    Settled(Result<(), ClientError>),
    /// The technician typed a line; `None` at the end of the input.
    Typed(Option<String>),
    /// Ctrl-C, or the end of the session.
    Interrupted,
    /// Events don't come any more.
    Lost(ClientError),
}

/// The queue.
pub struct Happenings {
    socket: PathBuf,
    send: SyncSender<Happening>,
    queue: Receiver<Happening>,
}

impl Happenings {
    /// Listens to the bank, from the event after `after` on; to signals, and if `keys` to the keys.
    ///
    /// # Errors
    /// When the daemon can't be reached.
    pub fn start(socket: &Path, bank: &str, after: i64, keys: bool) -> Result<Self, ClientError> {
        let (send, queue) = sync_channel(WAITING_MAX);
        let mut client = Client::connect(socket)?;
        client.patient()?;
        let request = Request::Events {
            device: Some(bank.to_string()),
            kind: Some("compartment".to_string()),
            after: Some(after),
            limit: None,
            follow: true,
        };
        let to = send.clone();
        thread::spawn(move || {
            let asked = client.ask(&request, |row: EventRow| {
                to.send(Happening::Said(row)).is_ok()
            });
            let ended = io::Error::from(io::ErrorKind::UnexpectedEof);
            let why = asked.err().unwrap_or(ClientError::BrokenOff(ended));
            // Nobody may be listening any more.
            let _ = to.send(Happening::Lost(why));
        });
        let to = send.clone();
        thread::spawn(move || interrupted(&to));
        if keys {
            let to = send.clone();
            thread::spawn(move || lines(&to));
        }
        Ok(Self {
            socket: socket.to_path_buf(),
            send,
            queue,
        })
    }

    /// Has a compartment opened; its steps come as they are seen.
    pub fn open(&self, slot: String, reason: &str) {
        let request = Request::Open {
            slot,
            reason: reason.to_string(),
            claims: std::env::var("SUDO_USER").ok(),
        };
        let (socket, to) = (self.socket.clone(), self.send.clone());
        thread::spawn(move || {
            let asked = Client::connect(&socket).and_then(|mut client| {
                client.ask(&request, |step| to.send(Happening::Step(step)).is_ok())
            });
            let _ = to.send(Happening::Settled(asked.map(|_| ())));
        });
    }

    /// The next, if one comes before `until`.
    pub fn next(&self, until: Option<Instant>) -> Option<Happening> {
        let Some(until) = until else {
            return self.queue.recv().ok();
        };
        let left = until.saturating_duration_since(Instant::now());
        // It can't be disconnected: this struct itself holds a sender.
        self.queue.recv_timeout(left).ok()
    }
}

fn lines(to: &SyncSender<Happening>) {
    let stdin = io::stdin();
    loop {
        let mut line = String::new();
        let read = stdin.lock().take(LINE_MAX_BYTES).read_line(&mut line);
        let typed = read
            .is_ok_and(|n| n > 0)
            .then(|| line.trim().to_lowercase());
        let over = typed.is_none();
        if to.send(Happening::Typed(typed)).is_err() || over {
            return;
        }
    }
}

fn interrupted(to: &SyncSender<Happening>) {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        // Then the system's own way of ending holds: the record on disk is as of the last door.
        return;
    };
    runtime.block_on(async {
        let all = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        let [Ok(mut int), Ok(mut term), Ok(mut hup)] = all.map(signal) else {
            return;
        };
        loop {
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => {}
                _ = hup.recv() => {}
            }
            if to.send(Happening::Interrupted).is_err() {
                return;
            }
        }
    });
}
