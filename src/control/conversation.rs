//! One client on the control socket: reads its requests, writes what they are answered with.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::act;
use super::answer::{self, Answer};
use super::audit;
use super::backend::Backend;
use super::knocks;
use super::monitor;
use super::open;
use super::pair;
use super::reload;
use super::server::Shared;
use super::sync;
use super::wire::{End, Failure, FailureKind, REQUEST_MAX_BYTES, Reply, Request, write_line};
use crate::store::read::EventFilter;

/// How much of an answer is written at once, and so under one time limit.
const CHUNK_BYTES: usize = 16 * 1024;

/// The most events that are read, and so held in memory, at once.
const PAGE: usize = 500;

/// A client.
pub(super) struct Conversation {
    pub shared: Arc<Shared>,
    /// The user on the other end, by the kernel's word.
    pub uid: Option<u32>,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

/// What came in.
enum Line {
    Whole(Vec<u8>),
    TooLong,
    Closed,
}

impl Conversation {
    /// Takes a client.
    pub fn new(stream: UnixStream, shared: Arc<Shared>) -> Self {
        let uid = stream.peer_cred().ok().map(|peer| peer.uid());
        let (reader, writer) = stream.into_split();
        Self {
            shared,
            uid,
            reader: BufReader::new(reader),
            writer,
        }
    }

    /// Answers until the client goes, falls silent, or takes no answer.
    pub async fn run(mut self) {
        loop {
            let idle = self.shared.limits.idle;
            let line = match timeout(idle, self.line()).await {
                Ok(Ok(line)) => line,
                Ok(Err(_)) | Err(_) => return,
            };
            let answered = match line {
                Line::Whole(line) => self.answer(&line).await,
                Line::TooLong => {
                    let most = REQUEST_MAX_BYTES / 1024;
                    let message = format!("a request is one line of at most {most} KiB");
                    let failure = Failure::new(FailureKind::BadRequest, message);
                    // What follows can't be told from a request: no more is read.
                    let _ = self.fail(failure).await;
                    return;
                }
                Line::Closed => return,
            };
            if answered.is_err() {
                return;
            }
        }
    }

    async fn answer(&mut self, line: &[u8]) -> io::Result<()> {
        let request = match serde_json::from_slice(line) {
            Ok(request) => request,
            Err(e) => {
                let message = format!(
                    "the daemon doesn't understand the request: {e}. Is it older than this linli? Then restart it: systemctl restart linli"
                );
                return self
                    .fail(Failure::new(FailureKind::BadRequest, message))
                    .await;
            }
        };
        match request {
            Request::Open {
                slot,
                reason,
                claims,
            } => open::open(self, &slot, &reason, claims).await,
            Request::Act { act, claims } => act::act(self, act, claims).await,
            Request::SerialMonitor { port, raw } => monitor::monitor(self, port, raw).await,
            Request::Pair {
                device,
                seconds,
                replace,
                from,
                claims,
            } => {
                let asked = pair::Asked {
                    device,
                    seconds,
                    replace,
                    from,
                    claims,
                };
                pair::pair(self, asked).await
            }
            Request::Reload { claims } => reload::reload(self, claims).await,
            Request::SyncNow => sync::now(self).await,
            Request::SyncEnrol { token, claims } => sync::enrol(self, token, claims).await,
            Request::SyncRotateKey { claims } => sync::rotate_key(self, claims).await,
            Request::SyncRestored { claims } => sync::restored(self, claims).await,
            Request::Events {
                device,
                kind,
                after,
                limit,
                follow,
            } => {
                let filter = EventFilter { device, kind };
                let limit = answer::limit(limit);
                self.events(filter, after, limit, follow).await
            }
            other => {
                let answered = self.shared.read(|backend| plain(backend, other)).await;
                match answered {
                    Ok(answer) => self.send(&answer.lines, Some(answer.end)).await,
                    Err(failure) => self.fail(failure).await,
                }
            }
        }
    }

    async fn events(
        &mut self,
        filter: EventFilter,
        after: Option<i64>,
        limit: usize,
        follow: bool,
    ) -> io::Result<()> {
        // Subscribed before the first look, so that nothing falls between the two.
        let mut newest = self.shared.backend.events_watch();
        if let Some(device) = filter.device.clone() {
            let checked = self
                .shared
                .read(move |backend| answer::check_device(backend, &device));
            if let Err(failure) = checked.await {
                return self.fail(failure).await;
            }
        }
        let mut upto = match self.start(&filter, after, limit).await {
            Ok(upto) => upto,
            Err(failure) => return self.fail(failure).await,
        };
        let mut room = limit;
        loop {
            let most = if follow { PAGE } else { PAGE.min(room) };
            let (answer, count, to) = match self.page(&filter, upto, most).await {
                Ok(page) => page,
                Err(failure) => return self.fail(failure).await,
            };
            (upto, room) = (to, room.saturating_sub(count));
            let last = !follow && (room == 0 || !answer.end.cut);
            self.send(&answer.lines, last.then_some(answer.end)).await?;
            if last {
                return Ok(());
            }
            if answer.end.cut {
                continue;
            }
            tokio::select! {
                changed = newest.changed() => if changed.is_err() {
                    let message = "the daemon stops";
                    return self.fail(Failure::new(FailureKind::Stopping, message)).await;
                },
                () = self.gone() => return self.send(&[], Some(End::default())).await,
            }
            tokio::time::sleep(self.shared.limits.gather).await;
        }
    }

    /// Where to begin: after the id that was named, or so that the newest `limit` come.
    async fn start(
        &self,
        filter: &EventFilter,
        after: Option<i64>,
        limit: usize,
    ) -> Result<i64, Failure> {
        if let Some(after) = after {
            return Ok(after);
        }
        let filter = filter.clone();
        self.shared
            .read(move |backend| answer::newest_after(backend, &filter, limit))
            .await
    }

    async fn page(
        &self,
        filter: &EventFilter,
        after: i64,
        limit: usize,
    ) -> Result<(Answer, usize, i64), Failure> {
        let filter = filter.clone();
        self.shared
            .read(move |backend| answer::events(backend, &filter, after, limit))
            .await
    }

    /// Resolves when the client closes, or has something else to say: either way what it followed is
    /// over.
    pub async fn gone(&mut self) {
        let _ = self.reader.fill_buf().await;
    }

    /// Writes lines, and the end if this is it.
    pub async fn send(&mut self, lines: &[u8], end: Option<End>) -> io::Result<()> {
        for chunk in lines.chunks(CHUNK_BYTES) {
            self.write(chunk).await?;
        }
        let mut last = Vec::new();
        if let Some(end) = end {
            write_line(&mut last, &Reply::<()>::End(end))?;
        }
        self.write(&last).await
    }

    /// Writes a failure, which ends the reply.
    pub async fn fail(&mut self, failure: Failure) -> io::Result<()> {
        let mut line = Vec::new();
        write_line(&mut line, &Reply::<()>::Error(failure))?;
        self.write(&line).await
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let limit = self.shared.limits.write;
        match timeout(limit, self.writer.write_all(bytes)).await {
            Ok(written) => written,
            Err(_) => {
                tracing::warn!("a technician's client doesn't take its answer: closed");
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }

    async fn line(&mut self) -> io::Result<Line> {
        let mut line = Vec::new();
        loop {
            let buffer = self.reader.fill_buf().await?;
            if buffer.is_empty() {
                return Ok(Line::Closed);
            }
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or(buffer);
            if line.len() + part.len() >= REQUEST_MAX_BYTES {
                return Ok(Line::TooLong);
            }
            line.extend_from_slice(part);
            let taken = part.len() + usize::from(end.is_some());
            self.reader.consume(taken);
            if end.is_some() {
                return Ok(Line::Whole(line));
            }
        }
    }
}

/// The requests that are one question to the store.
fn plain(backend: &dyn Backend, request: Request) -> Result<Answer, Failure> {
    match request {
        Request::Status => answer::status(backend),
        Request::Devices => answer::devices(backend),
        Request::Banks => answer::banks(backend),
        Request::Parcels { state, limit } => answer::parcels(backend, state.as_deref(), limit),
        Request::Parcel { parcel } => answer::parcel(backend, &parcel),
        Request::Quarantine { limit } => answer::quarantine(backend, limit),
        Request::Sync => answer::sync(backend),
        Request::AtDesks { desk, limit } => answer::at_desks(backend, desk.as_deref(), limit),
        Request::Commands { slot, limit } => answer::commands(backend, slot.as_deref(), limit),
        Request::ParcelVerify { parcel } => audit::verify_one(backend, &parcel),
        Request::ParcelExport { parcel } => audit::export(backend, &parcel),
        Request::AuditVerify { against } => audit::verify(backend, against),
        Request::AuditKey => audit::key(backend),
        Request::Knocks => knocks::knocks(backend),
        Request::Mapped => answer::mapped(backend),
        Request::Events { .. }
        | Request::Reload { .. }
        | Request::Pair { .. }
        | Request::Open { .. }
        | Request::Act { .. }
        | Request::SerialMonitor { .. }
        | Request::SyncNow
        | Request::SyncEnrol { .. }
        | Request::SyncRotateKey { .. }
        | Request::SyncRestored { .. } => Err(Failure::new(
            FailureKind::Internal,
            "the request was taken for another: report this, please",
        )),
    }
}
