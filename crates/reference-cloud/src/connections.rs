//! Accepting connections, and cutting them when a fault is played or the cloud stops.
//!
//! Bounds: so many connections as the configuration says (the next ones wait in the listener's
//! backlog), and [`HEAD_TIMEOUT`] and [`HEAD_MAX_BYTES`] for a request's head.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::Faults;

/// The most connections at a time, unless the configuration says otherwise.
pub const CONNECTIONS_MAX: usize = 1024;
/// The largest head of a request.
pub const HEAD_MAX_BYTES: usize = 64 * 1024;
/// How long a client may take to send a request's head.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long running requests may take to end when the cloud stops.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// The connection that a request came on: an extension of every request.
#[derive(Clone)]
pub(crate) struct Line {
    /// Who is at the other end.
    pub peer: SocketAddr,
    cut: Arc<Notify>,
}

impl Line {
    /// Resets the connection; the request that calls this is never answered.
    pub async fn cut(&self) -> ! {
        self.cut.notify_one();
        std::future::pending().await
    }
}

/// A socket that owns the address. It can stop listening and start again without giving it up.
pub(crate) struct Door {
    listener: Option<TcpListener>,
    address: SocketAddr,
}

impl Door {
    /// Listens at `address`; port 0 picks a free one.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let listener = claim(address, false)?.listen(BACKLOG)?;
        Ok(Self {
            address: listener.local_addr()?,
            listener: Some(listener),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Refuses connections until the future is done. A second socket keeps the port meanwhile.
    async fn closed_while(&mut self, away: impl Future<Output = ()>) -> io::Result<()> {
        let placeholder = claim(self.address, true)?;
        self.listener = None;
        away.await;
        // As the first one had it: a restart isn't kept waiting by connections that just ended.
        placeholder.set_reuseaddr(true)?;
        self.listener = Some(placeholder.listen(BACKLOG)?);
        Ok(())
    }

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match &self.listener {
            Some(listener) => listener.accept().await,
            None => std::future::pending().await,
        }
    }
}

/// Binds without listening. `beside_own`: at the address that a socket of ours has, which Linux
/// allows when both have `SO_REUSEPORT`. It is set on the first only after its own bind, so that two
/// clouds never share a port by mistake.
fn claim(address: SocketAddr, beside_own: bool) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // With it, a socket that doesn't listen could be displaced by anybody who listens.
    socket.set_reuseaddr(!beside_own)?;
    socket.set_reuseport(beside_own)?;
    socket.bind(address)?;
    socket.set_reuseport(true)?;
    Ok(socket)
}

/// Serves until `stop` is true or its sender is gone.
pub(crate) async fn serve(
    mut door: Door,
    connections_max: usize,
    router: Router,
    faults: Faults,
    mut stop: watch::Receiver<bool>,
) {
    let mut lines = JoinSet::new();
    let mut reachable = faults.reachable();
    let mut stopped = pin!({
        let mut stop = stop.clone();
        async move {
            let _ = stop.wait_for(|stop| *stop).await;
        }
    });
    loop {
        while lines.try_join_next().is_some() {}
        if !*reachable.borrow_and_update() {
            let away = async {
                let _ = reachable.wait_for(|reachable| *reachable).await;
            };
            tokio::select! {
                () = &mut stopped => break,
                closed = door.closed_while(away) => if let Err(e) = closed {
                    tracing::error!("cannot listen at {} again: {e}; restart the cloud", door.address);
                    return;
                },
            }
        }
        tokio::select! {
            () = &mut stopped => break,
            _ = reachable.changed() => {}
            _ = lines.join_next(), if lines.len() >= connections_max => {}
            accepted = door.accept(), if lines.len() < connections_max => match accepted {
                Ok((stream, peer)) => {
                    lines.spawn(line(stream, peer, router.clone(), reachable.clone(), stop.clone()));
                }
                Err(e) => {
                    tracing::warn!("cannot accept a connection: {e}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    let _ = stop.wait_for(|stop| *stop).await;
    let ended = async { while lines.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(LAST_ANSWERS, ended).await;
}

/// One connection, until it ends or is cut.
async fn line(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    mut reachable: watch::Receiver<bool>,
    mut stop: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let cut = Arc::new(Notify::new());
    let service = TowerToHyperService::new(router.layer(Extension(Line {
        peer,
        cut: Arc::clone(&cut),
    })));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_MAX_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(e) = ended {
                    tracing::debug!(%peer, "connection ended: {e}");
                }
                return;
            }
            () = cut.notified() => break,
            _ = reachable.wait_for(|reachable| !*reachable) => break,
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                std::pin::Pin::new(&mut connection).graceful_shutdown();
            }
        }
    }
    // Zero linger: closing sends RST, as when the other end is suddenly gone.
    let stream = connection.into_parts().io.into_inner();
    let _ = stream.set_zero_linger();
}
