//! An open serial line: bytes in and out, without the echo of what was sent, and with the silence
//! that has to stand between two frames.
//!
//! It is used frame by frame ([`Line::exchange`], [`Line::send`], [`Line::next`]), or handed to a
//! library as a stream of bytes: both go through the same reading and writing. Nothing that was read
//! is lost when a future is dropped; everything kept is bounded.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use firmware_protocols::frame::{Found, Framing};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until, timeout, timeout_at};

use super::echo::Echo;
use super::status::PortStatus;
use crate::config::serial::{PortSection, Protocol};

/// How much is read at once.
const CHUNK: usize = 256;

/// What may have come in before a request and is looked through; a line can't hold more.
const STALE_MAX: usize = 4_096;

/// How much longer than its own time on the line a frame may take to be written.
const WRITING: Duration = Duration::from_secs(1);

/// The shortest silence that ends a frame, above 19,200 baud (Modbus over serial line 1.02, 2.5.1.1).
const SILENCE_LEAST: Duration = Duration::from_micros(1_750);

/// Why a line can't be used any more.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It failed: the adapter was unplugged, most likely.
    #[error("the port failed: {0}")]
    Failed(#[from] io::Error),
    /// The gateway stops.
    #[error("the gateway stops")]
    Stopped,
}

/// Why an exchange came to nothing. The line can be used further, unless it failed.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// Nothing came within the time.
    #[error("no answer in time")]
    Silence,
    /// Bytes came, but no frame that answers.
    #[error("an answer that can't be read")]
    Unreadable,
    /// The line failed.
    #[error(transparent)]
    Line(#[from] LineError),
}

/// A duplex stream of bytes.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An open line.
pub struct Line {
    io: Box<dyn Io>,
    status: Arc<PortStatus>,
    /// What was read and isn't a frame yet.
    buffer: Vec<u8>,
    echo: Echo,
    /// What was read, is no echo, and wasn't taken yet.
    came: VecDeque<u8>,
    /// The silence between frames on this line.
    silence: Duration,
    /// It lasts until then; nothing is sent before.
    quiet_until: Instant,
    /// What was written has gone over the line by then.
    sent_until: Instant,
    waiting: Option<Pin<Box<Sleep>>>,
    /// A frame was written only in part: its rest goes out without a silence.
    mid_frame: bool,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

impl Line {
    /// A line over an open port, or in a test over anything that carries bytes.
    pub fn over(io: impl Io + 'static, status: Arc<PortStatus>) -> Self {
        let port = status.port();
        let (echo, silence) = (Echo::new(port.protocol, port.echo), silence(port));
        Self {
            io: Box::new(io),
            status,
            buffer: Vec::new(),
            echo,
            came: VecDeque::new(),
            silence,
            quiet_until: Instant::now(),
            sent_until: Instant::now(),
            waiting: None,
            mid_frame: false,
        }
    }

    /// Sends a frame whole, after the silence that must stand before it. Returns once it is handed
    /// to the system, which may be before it has gone over the line.
    ///
    /// # Errors
    /// If the port fails, or takes nothing for a second longer than the frame's own time.
    pub async fn send(&mut self, frame: &[u8]) -> Result<(), LineError> {
        let within = self.silence + self.status.port().time_of(frame.len()) + WRITING;
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it takes no bytes");
        timeout(within, self.write_all(frame))
            .await
            .map_err(late)??;
        Ok(())
    }

    /// The next frame that comes before `deadline`; `None` when none does. Bytes of no frame are
    /// counted as noise and passed over. May be dropped at any await without losing a byte.
    ///
    /// # Errors
    /// If the port fails.
    pub async fn next<P: Framing>(
        &mut self,
        protocol: &P,
        deadline: Instant,
    ) -> Result<Option<P::Frame>, LineError> {
        let mut last = false;
        loop {
            if let Some(frame) = self.front(protocol) {
                return Ok(Some(frame));
            }
            // On a line that never falls silent the deadline would never come up.
            if last {
                return Ok(None);
            }
            last = Instant::now() >= deadline;
            let mut chunk = [0; CHUNK];
            match timeout_at(deadline, self.read(&mut chunk)).await {
                Ok(Ok(0)) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(Ok(n)) => self.buffer.extend_from_slice(chunk.get(..n).unwrap_or(&[])),
                Ok(Err(e)) => return Err(e.into()),
                Err(_) => return Ok(None),
            }
        }
    }

    /// Sends a request and waits `within` for the first frame that `answers` it; `within` begins
    /// when the request is written, so it covers both frames' own time on the line. Every other
    /// frame is shown to `answers` too. So are frames that came before the request, but these answer
    /// nothing, whatever it says of them; what else came before is noise. A frame that is coming in
    /// just then, as from a board that tells changes by itself, is let through first: talking into it
    /// would cost both.
    ///
    /// # Errors
    /// If nothing answers in time, or the port fails.
    pub async fn exchange<P: Framing, T>(
        &mut self,
        protocol: &P,
        request: &[u8],
        within: Duration,
        mut answers: impl FnMut(P::Frame) -> Option<T>,
    ) -> Result<T, NoAnswer> {
        self.take_stale().await.map_err(LineError::from)?;
        while let Some(frame) = self.front(protocol) {
            let _ = answers(frame);
        }
        self.let_through(protocol, &mut answers).await?;
        self.forget();
        self.send(request).await?;
        let deadline = Instant::now() + within;
        let mut heard = false;
        while let Some(frame) = self.next(protocol, deadline).await? {
            heard = true;
            if let Some(answer) = answers(frame) {
                return Ok(answer);
            }
        }
        heard |= !self.buffer.is_empty();
        self.forget();
        Err(match heard {
            true => NoAnswer::Unreadable,
            false => NoAnswer::Silence,
        })
    }

    /// Waits for the rest of a frame that has begun: until the line is silent, at most for the bytes
    /// and the time of the longest frame.
    async fn let_through<P: Framing, T>(
        &mut self,
        protocol: &P,
        answers: &mut impl FnMut(P::Frame) -> Option<T>,
    ) -> Result<(), LineError> {
        let patience = Instant::now() + self.status.port().time_of(P::MAX_BYTES);
        let mut left = P::MAX_BYTES;
        while !self.buffer.is_empty() && left > 0 {
            let until = self.quiet_until.min(patience);
            let mut chunk = [0; CHUNK];
            let Ok(read) = timeout_at(until, self.read(&mut chunk)).await else {
                return Ok(());
            };
            let came = chunk.get(..read?).unwrap_or(&[]);
            if came.is_empty() {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            left = left.saturating_sub(came.len());
            self.buffer.extend_from_slice(came);
            while let Some(frame) = self.front(protocol) {
                let _ = answers(frame);
            }
        }
        Ok(())
    }

    /// Forgets what was read and isn't a frame: it is counted as noise.
    pub fn forget(&mut self) {
        if !self.buffer.is_empty() {
            self.status.noise(self.buffer.len());
            self.buffer.clear();
        }
    }

    /// The frame at the front of what was read; noise before it is passed over.
    fn front<P: Framing>(&mut self, protocol: &P) -> Option<P::Frame> {
        loop {
            match protocol.find(&self.buffer) {
                Found::Frame { frame, used } => {
                    self.pass_over(used);
                    self.status.made_sense();
                    return Some(frame);
                }
                Found::Noise(bytes) => {
                    let bytes = self.pass_over(bytes);
                    self.status.noise(bytes);
                }
                Found::More if self.buffer.len() > P::MAX_BYTES => {
                    let bytes = self.pass_over(1);
                    self.status.noise(bytes);
                }
                Found::More => return None,
            }
            if self.buffer.is_empty() {
                return None;
            }
        }
    }

    fn pass_over(&mut self, bytes: usize) -> usize {
        let bytes = bytes.clamp(1, self.buffer.len().max(1));
        self.buffer.drain(..bytes.min(self.buffer.len()));
        bytes
    }

    /// Reads what is there already, into the buffer.
    async fn take_stale(&mut self) -> io::Result<()> {
        self.mid_frame = false;
        let mut chunk = [0; CHUNK];
        let mut taken = 0;
        while taken < STALE_MAX {
            let read = poll_fn(|cx| Poll::Ready(self.poll_some(cx, &mut chunk))).await;
            match read {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Poll::Ready(read) => {
                    let read = read?;
                    taken += read;
                    self.buffer
                        .extend_from_slice(chunk.get(..read).unwrap_or(&[]));
                }
            }
        }
        let mut held = Vec::new();
        self.echo.settle(&mut held);
        self.buffer.append(&mut held);
        Ok(())
    }

    /// The Modbus library takes the next frame that comes for the answer. One that came before its
    /// request is of a slave that was too late.
    fn pass_over_stale(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut held = Vec::new();
        self.echo.settle(&mut held);
        let mut stale = held.len();
        let mut chunk = [0; CHUNK];
        while stale < STALE_MAX {
            match self.poll_some(cx, &mut chunk) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Poll::Ready(read) => stale += read?,
                Poll::Pending => break,
            }
        }
        if stale > 0 {
            self.status.noise(stale);
        }
        Ok(())
    }

    /// Reads bytes that are no echo; 0 at the end of the stream.
    fn poll_some(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        while self.came.is_empty() {
            let mut chunk = [0; CHUNK];
            let mut read = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
            let new = read.filled();
            if new.is_empty() {
                return Poll::Ready(Ok(0));
            }
            let mut out = Vec::with_capacity(new.len());
            let echoed = self.echo.came(new, &mut out);
            if !out.is_empty() {
                self.quiet_until = Instant::now() + self.silence;
            }
            self.status.echo(self.echo.is(), echoed);
            self.status.heard(out.len());
            self.tap(false, &out);
            self.came.extend(out);
        }
        let bytes = into.len().min(self.came.len());
        for (to, from) in into.iter_mut().zip(self.came.drain(..bytes)) {
            *to = from;
        }
        Poll::Ready(Ok(bytes))
    }

    /// Ready once the silence before a frame is over.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.mid_frame || self.silence.is_zero() {
            return Poll::Ready(());
        }
        loop {
            if Instant::now() >= self.quiet_until {
                self.waiting = None;
                return Poll::Ready(());
            }
            let until = self.quiet_until;
            let waiting = self
                .waiting
                .get_or_insert_with(|| Box::pin(sleep_until(until)));
            if waiting.deadline() != until {
                waiting.as_mut().reset(until);
            }
            ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
        }
    }

    /// What is typed on a line is a secret: whoever listens sees that something is typed, not what.
    fn tap(&self, ours: bool, bytes: &[u8]) {
        let tap = self.status.tap();
        if self.status.port().protocol != Protocol::Lines {
            return tap.pass(ours, bytes);
        }
        let masked = bytes.iter().map(|byte| match byte {
            0x21..=0x7E | 0x80.. => b'*',
            _ => *byte,
        });
        tap.pass(ours, &masked.collect::<Vec<u8>>());
    }
}

/// The silence that ends a frame: 3.5 characters, as Modbus asks for. On a shared line it also gives
/// whoever spoke last the time to let go of it. Our own link and what types lines need none.
fn silence(port: &PortSection) -> Duration {
    match port.protocol {
        Protocol::Linli | Protocol::Lines => Duration::ZERO,
        Protocol::Modbus => (port.time_of(7) / 2).max(SILENCE_LEAST),
        _ => port.time_of(7) / 2,
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut chunk = [0; CHUNK];
        let room = buf.remaining().min(CHUNK);
        if room == 0 {
            return Poll::Ready(Ok(()));
        }
        let into = chunk.get_mut(..room).unwrap_or(&mut []);
        let read = ready!(self.poll_some(cx, into))?;
        buf.put_slice(into.get(..read).unwrap_or(&[]));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.status.port().protocol == Protocol::Modbus && !self.mid_frame {
            self.pass_over_stale(cx)?;
        }
        ready!(self.poll_silence(cx));
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        let sent = bytes.get(..written).unwrap_or(bytes);
        self.echo.sent(sent);
        self.mid_frame = written < bytes.len();
        let begins = Instant::now().max(self.sent_until);
        self.sent_until = begins + self.status.port().time_of(written);
        self.quiet_until = self.sent_until + self.silence;
        self.tap(true, sent);
        Poll::Ready(Ok(written))
    }

    /// Nothing is kept back here. To wait until the last bit is on the line would block the thread:
    /// the system has no other way to wait for that.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
