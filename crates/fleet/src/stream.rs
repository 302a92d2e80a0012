//! A TCP stream that counts what passes, and breaks where a fault says so.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What passed on a connection, and what shall go wrong with it.
#[derive(Debug)]
pub struct Wire {
    up: AtomicU64,
    down: AtomicU64,
    /// The connection breaks when so many bytes went up.
    cut_at: AtomicU64,
    /// The connection breaks with the first byte that comes down.
    deaf: AtomicBool,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            cut_at: AtomicU64::new(u64::MAX),
            deaf: AtomicBool::new(false),
        }
    }
}

impl Wire {
    /// Bytes up and down so far.
    pub fn passed(&self) -> (u64, u64) {
        (
            self.up.load(Ordering::Relaxed),
            self.down.load(Ordering::Relaxed),
        )
    }

    /// It breaks after so many more bytes up.
    pub fn cut_after(&self, bytes: u64) {
        let at = self.up.load(Ordering::Relaxed).saturating_add(bytes);
        self.cut_at.store(at, Ordering::Relaxed);
    }

    /// It breaks with the first byte of the next answer.
    pub fn deafen(&self) {
        self.deaf.store(true, Ordering::Relaxed);
    }
}

/// The stream.
pub struct Counted {
    stream: TcpStream,
    wire: Arc<Wire>,
}

impl Counted {
    /// Counts on `wire`.
    pub fn new(stream: TcpStream, wire: Arc<Wire>) -> Self {
        Self { stream, wire }
    }

    fn broken(&self) -> io::Error {
        // Zero linger: closing sends RST, as when the line is suddenly gone.
        let _ = self.stream.set_zero_linger();
        io::ErrorKind::ConnectionReset.into()
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let read = (buf.filled().len() - before) as u64;
        self.wire.down.fetch_add(read, Ordering::Relaxed);
        if read > 0 && self.wire.deaf.load(Ordering::Relaxed) {
            buf.set_filled(before);
            return Poll::Ready(Err(self.broken()));
        }
        polled
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let up = self.wire.up.load(Ordering::Relaxed);
        let left = self.wire.cut_at.load(Ordering::Relaxed).saturating_sub(up);
        if left == 0 {
            return Poll::Ready(Err(self.broken()));
        }
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let polled = Pin::new(&mut self.stream).poll_write(cx, &bytes[..n]);
        if let Poll::Ready(Ok(written)) = polled {
            self.wire.up.fetch_add(written as u64, Ordering::Relaxed);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
