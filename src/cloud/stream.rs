//! One connection to the cloud, with or without TLS, and the count of what crosses it: on the TCP
//! stream, below TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::meter::Meter;

/// What has crossed a connection and isn't accounted for yet. What is left when the connection ends
/// goes to the meter.
#[derive(Debug)]
pub(crate) struct Tally {
    sent: AtomicU64,
    received: AtomicU64,
    meter: Meter,
}

impl Tally {
    /// Takes what has crossed since the last time: bytes to the cloud, bytes from it.
    pub fn take(&self) -> (u64, u64) {
        let sent = self.sent.swap(0, Ordering::Relaxed);
        (sent, self.received.swap(0, Ordering::Relaxed))
    }

    fn settle(&self) {
        let (sent, received) = self.take();
        self.meter.other(sent, received);
    }
}

/// A TCP stream that is counted.
#[derive(Debug)]
pub(crate) struct Counted {
    tcp: TcpStream,
    tally: Arc<Tally>,
}

impl Counted {
    /// Counts `tcp` from here on; what nobody takes of it goes to `meter`.
    pub fn new(tcp: TcpStream, meter: &Meter) -> Self {
        let tally = Arc::new(Tally {
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            meter: meter.clone(),
        });
        Self { tcp, tally }
    }

    /// The other end.
    pub fn peer(&self) -> io::Result<std::net::SocketAddr> {
        self.tcp.peer_addr()
    }

    fn sent(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(n)) = &written {
            self.tally.sent.fetch_add(*n as u64, Ordering::Relaxed);
        }
        written
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.tally.settle();
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.tcp).poll_read(cx, buf);
        let received = buf.filled().len().saturating_sub(before) as u64;
        self.tally.received.fetch_add(received, Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.sent(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.sent(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// A connection that requests can go over.
#[derive(Debug)]
pub(crate) enum Line {
    /// Within this machine.
    Plain(Counted),
    /// Over TLS.
    Tls(Box<TlsStream<Counted>>),
}

impl Line {
    /// The version of TLS, in words; `None` within this machine.
    pub fn tls(&self) -> Option<&'static str> {
        let Self::Tls(tls) = self else {
            return None;
        };
        let version = tls.get_ref().1.protocol_version()?;
        Some(match version {
            rustls::ProtocolVersion::TLSv1_3 => "TLS 1.3",
            rustls::ProtocolVersion::TLSv1_2 => "TLS 1.2",
            _ => "TLS",
        })
    }
}

impl Connection for Line {
    fn connected(&self) -> Connected {
        let counted = match self {
            Self::Plain(counted) => counted,
            Self::Tls(tls) => tls.get_ref().0,
        };
        Connected::new().extra(Arc::clone(&counted.tally))
    }
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(counted) => Pin::new(counted).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(counted) => Pin::new(counted).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(counted) => Pin::new(counted).poll_write_vectored(cx, bufs),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(counted) => counted.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(counted) => Pin::new(counted).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(counted) => Pin::new(counted).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
