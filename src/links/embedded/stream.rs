//! The connection to a client: plain TCP, or TLS over it.
//!
//! A session asks whether there is something to read, or room to write, and then takes or gives what
//! goes without waiting: so an idle one holds no buffer of ours, plain or not. TLS keeps at most one
//! record (16 KB) in each direction; what of it isn't in the socket yet counts as unwritten.

use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use rustls::{ConnectionCommon, SideData};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::certificate::ClientCertificate;

/// How much is read at a time, bytes.
const STEP_BYTES: usize = 16 * 1024;
/// How much is sealed at a time, bytes: what waits in TLS isn't seen by who bounds what waits.
const SEALED_BYTES: usize = 16 * 1024;

/// The connection to a client.
pub(super) enum Stream {
    /// As it comes.
    Plain(TcpStream),
    /// With TLS, past the handshake.
    Tls(Box<Tls>),
}

/// A connection with TLS, past the handshake.
pub(super) struct Tls {
    stream: TlsStream<TcpStream>,
    /// There may be something to read that isn't in the socket any more.
    holds: bool,
    certificate: Option<ClientCertificate>,
}

/// What was there to read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Took {
    /// Nothing yet.
    Nothing,
    /// So many bytes, as they came over the wire.
    Bytes(usize),
    /// The client has ended.
    End,
}

impl Stream {
    /// With TLS, past the handshake; `certificate` is the one that the client has shown.
    pub fn tls(stream: TlsStream<TcpStream>, certificate: Option<ClientCertificate>) -> Self {
        Self::Tls(Box::new(Tls {
            stream,
            holds: true,
            certificate,
        }))
    }

    /// The certificate that the client has shown, which is of an authority that we take.
    pub fn certificate(&self) -> Option<&ClientCertificate> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => tls.certificate.as_ref(),
        }
    }

    /// Resolves when there may be something to read.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.readable().await,
            Self::Tls(tls) if tls.holds => Ok(()),
            Self::Tls(tls) => tls.tcp().readable().await,
        }
    }

    /// Resolves when there may be room to write.
    pub async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.writable().await,
            Self::Tls(tls) => tls.tcp().writable().await,
        }
    }

    /// Reads what is there into `inbound`, without waiting.
    pub fn try_read(&mut self, inbound: &mut BytesMut) -> io::Result<Took> {
        match self {
            Self::Plain(tcp) => {
                inbound.reserve(STEP_BYTES);
                match tcp.try_read_buf(inbound) {
                    Ok(0) => Ok(Took::End),
                    Ok(bytes) => Ok(Took::Bytes(bytes)),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(Took::Nothing),
                    Err(e) => Err(e),
                }
            }
            Self::Tls(tls) => tls.try_read(inbound),
        }
    }

    /// Writes of `outbound` what goes without waiting, and says whether anything went.
    pub fn try_write(&mut self, outbound: &mut BytesMut) -> io::Result<bool> {
        match self {
            Self::Plain(tcp) => {
                let mut moved = false;
                while !outbound.is_empty() {
                    match tcp.try_write(outbound) {
                        Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                        Ok(written) => outbound.advance(written),
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                        Err(e) => return Err(e),
                    }
                    moved = true;
                }
                Ok(moved)
            }
            Self::Tls(tls) => {
                let (tcp, session) = tls.stream.get_mut();
                seal(session, &mut Socket(tcp), outbound)
            }
        }
    }

    /// Whether something that [`Stream::try_write`] took still waits to be written.
    pub fn unwritten(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.stream.get_ref().1.wants_write(),
        }
    }

    /// Resolves when the client has closed. One that has already sent more isn't known to have.
    pub async fn gone(&mut self) {
        let tls = match self {
            Self::Plain(tcp) => {
                if matches!(tcp.peek(&mut [0]).await, Ok(0) | Err(_)) {
                    return;
                }
                return std::future::pending().await;
            }
            Self::Tls(tls) => tls,
        };
        loop {
            let (tcp, session) = tls.stream.get_mut();
            match session.process_new_packets() {
                Ok(state) if state.plaintext_bytes_to_read() > 0 => break,
                Ok(state) if !state.peer_has_closed() => {}
                Ok(_) | Err(_) => return,
            }
            if tcp.readable().await.is_err() {
                return;
            }
            match session.read_tls(&mut Socket(tcp)) {
                Ok(1..) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return,
            }
        }
        std::future::pending().await
    }
}

impl Tls {
    fn tcp(&self) -> &TcpStream {
        self.stream.get_ref().0
    }

    fn try_read(&mut self, inbound: &mut BytesMut) -> io::Result<Took> {
        let (tcp, session) = self.stream.get_mut();
        let took = open(session, &mut Socket(tcp), inbound);
        if took.is_err() {
            // Only a courtesy: why the connection ends.
            let _ = session.write_tls(&mut Socket(tcp));
        }
        // Whoever has taken leave in TLS says nothing more on the socket either.
        self.holds = matches!(took, Ok((_, true)));
        took.map(|(took, _)| took)
    }
}

/// Opens what `socket` has into `inbound`. Also whether there is more without asking `socket`.
fn open<S: SideData>(
    session: &mut ConnectionCommon<S>,
    socket: &mut impl Read,
    inbound: &mut BytesMut,
) -> io::Result<(Took, bool)> {
    let before = inbound.len();
    let mut bytes = 0;
    loop {
        let state = session
            .process_new_packets()
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        let plain = state.plaintext_bytes_to_read();
        if plain > 0 {
            let at = inbound.len();
            inbound.resize(at + plain, 0);
            session.reader().read_exact(&mut inbound[at..])?;
        }
        if state.peer_has_closed() {
            let took = if inbound.len() > before {
                Took::Bytes(bytes.max(inbound.len() - before))
            } else {
                Took::End
            };
            return Ok((took, true));
        }
        if bytes >= STEP_BYTES {
            return Ok((Took::Bytes(bytes), false));
        }
        match session.read_tls(socket) {
            Ok(0) if inbound.len() == before => return Ok((Took::End, true)),
            // The socket tells it again.
            Ok(0) => return Ok((Took::Bytes(bytes.max(inbound.len() - before)), false)),
            Ok(read) => bytes += read,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                let took = match bytes.max(inbound.len() - before) {
                    0 => Took::Nothing,
                    bytes => Took::Bytes(bytes),
                };
                return Ok((took, false));
            }
            Err(e) => return Err(e),
        }
    }
}

/// Seals of `outbound` as much as `socket` takes, and one record more.
fn seal<S: SideData>(
    session: &mut ConnectionCommon<S>,
    socket: &mut impl Write,
    outbound: &mut BytesMut,
) -> io::Result<bool> {
    let mut moved = false;
    loop {
        while session.wants_write() {
            match session.write_tls(socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => moved = true,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(moved),
                Err(e) => return Err(e),
            }
        }
        if outbound.is_empty() {
            return Ok(moved);
        }
        let next = &outbound[..outbound.len().min(SEALED_BYTES)];
        let taken = session.writer().write(next)?;
        if taken == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        outbound.advance(taken);
    }
}

/// The socket below TLS, which never waits.
struct Socket<'a>(&'a TcpStream);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(&mut tls.stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(&mut tls.stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Tls(tls) => Pin::new(&mut tls.stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(&mut tls.stream).poll_shutdown(context),
        }
    }
}
