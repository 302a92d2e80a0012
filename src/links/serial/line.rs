//! An open serial line: bytes in and out, with what the status and the monitor want to know of them.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use firmware_protocols::frame::{Found, Framing};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, timeout_at};

use super::status::PortStatus;

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

/// Why an exchange came to nothing. The line can be used further.
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
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

impl Line {
    /// A line over an open port, or in a test over anything that carries bytes.
    pub fn over(io: impl Io + 'static, status: Arc<PortStatus>) -> Self {
        Self {
            io: Box::new(io),
            status,
            buffer: Vec::new(),
        }
    }

    /// Sends a frame whole.
    pub async fn send(&mut self, frame: &[u8]) -> Result<(), LineError> {
        self.write_all(frame).await?;
        self.flush().await?;
        Ok(())
    }

    /// The next frame that comes before `deadline`; `None` when none does. Bytes of no frame are
    /// counted as noise and passed over. May be dropped at any await without losing a byte.
    pub async fn next<P: Framing>(
        &mut self,
        protocol: &P,
        deadline: Instant,
    ) -> Result<Option<P::Frame>, LineError> {
        loop {
            match protocol.find(&self.buffer) {
                Found::Frame { frame, used } => {
                    self.buffer.drain(..used.min(self.buffer.len()));
                    return Ok(Some(frame));
                }
                Found::Noise(bytes) => {
                    self.buffer.drain(..bytes.min(self.buffer.len()));
                    self.status.noise(bytes);
                    continue;
                }
                Found::More => {}
            }
            let mut chunk = [0; 256];
            match timeout_at(deadline, self.read(&mut chunk)).await {
                Ok(Ok(0)) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(Ok(n)) => self.buffer.extend_from_slice(chunk.get(..n).unwrap_or(&[])),
                Ok(Err(e)) => return Err(e.into()),
                Err(_) => return Ok(None),
            }
        }
    }

    /// Sends a request and waits for the first frame that `answers` it; others are passed over, and
    /// handed to `aside`. What came in before the request and isn't a whole frame is forgotten as
    /// noise.
    pub async fn exchange<P: Framing, T>(
        &mut self,
        protocol: &P,
        request: &[u8],
        within: Duration,
        mut answers: impl FnMut(P::Frame) -> Option<T>,
    ) -> Result<T, NoAnswer> {
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

    /// Forgets what was read and isn't a frame: it is counted as noise.
    pub fn forget(&mut self) {
        if !self.buffer.is_empty() {
            self.status.noise(self.buffer.len());
            self.buffer.clear();
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = &polled {
            let new = buf.filled().get(before..).unwrap_or(&[]);
            self.status.tap().pass(false, new);
        }
        polled
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        if let Poll::Ready(Ok(n)) = &polled {
            let sent = bytes.get(..*n).unwrap_or(&[]);
            self.status.tap().pass(true, sent);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
