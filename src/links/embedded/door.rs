//! Accepts connections, and bounds how many there are at each stage.
//!
//! A connection is first *waiting* (for its CONNECT), then *inside* (its password is being checked,
//! or it is connected through). Both stages are bounded on their own, so that a thousand silent
//! connections can't keep a device out. When the waiting room is full, whoever has waited longest
//! goes, but not before half a second: until then the door stays shut and the system's backlog
//! holds the rest.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use firmware_protocols::Ident;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{SemaphorePermit, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::admission::{authenticate, let_in, read_connect, refuse};
use super::answers::Refusal;
use super::connect::Connect;
use super::{EmbeddedBroker, Shared};

/// As many as Linux lets wait out of the box: a crowd that says nothing shall not fill it, or a
/// device that comes meanwhile finds no place and tries again only after seconds.
const BACKLOG: u32 = 4096;

/// How much of what a client sends the system keeps for us: a client that is made to wait shall
/// notice it, and shall not fill the memory.
const RECEIVE_BYTES: u32 = 64 * 1024;

/// How long everybody may wait at least.
const GRACE: Duration = Duration::from_millis(500);

/// How long to wait when the system gives no more sockets.
const OUT_OF_SOCKETS: Duration = Duration::from_millis(100);

/// Binds the listeners, with the address reusable at once.
pub(super) fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>> {
    addresses
        .iter()
        .map(|address| {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.set_reuseaddr(true)?;
            socket.set_recv_buffer_size(RECEIVE_BYTES)?;
            socket.bind(*address)?;
            socket.listen(BACKLOG)
        })
        .zip(addresses)
        .map(|(listener, address)| {
            listener.with_context(|| {
                format!("the broker cannot listen on {address}; is another broker running there? see: ss -ltnp")
            })
        })
        .collect()
}

/// The open door.
pub(super) struct Door {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

struct Rooms {
    shared: Arc<Shared>,
    waiting: WaitingRoom,
    connect_timeout: Duration,
}

impl Door {
    /// Starts accepting.
    pub(super) fn open(
        listeners: Vec<TcpListener>,
        config: &EmbeddedBroker,
        shared: &Arc<Shared>,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        shared.clients.room.begin_with(config.connections_max);
        let rooms = Arc::new(Rooms {
            shared: Arc::clone(shared),
            waiting: WaitingRoom::new(config.waiting_max.max(1)),
            connect_timeout: config.connect_timeout,
        });
        let mut tasks = JoinSet::new();
        for listener in listeners {
            tasks.spawn(accept(listener, Arc::clone(&rooms), stopped.clone()));
        }
        Self { stop, tasks }
    }

    /// Stops accepting and closes every connection.
    pub(super) async fn close(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn accept(listener: TcpListener, rooms: Arc<Rooms>, stopped: watch::Receiver<bool>) {
    let mut clients = JoinSet::new();
    let mut stop = stopped.clone();
    loop {
        tokio::select! {
            accepted = next(&listener, &rooms) => match accepted {
                Ok((client, from, seat)) => {
                    clients.spawn(serve(client, from, seat, Arc::clone(&rooms), stopped.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(OUT_OF_SOCKETS).await;
                }
            },
            Some(ended) = clients.join_next() => if let Err(error) = ended {
                tracing::error!(%error, "serving a client failed");
            },
            () = stopping(&mut stop) => break,
        }
    }
    drop(listener);
    while clients.join_next().await.is_some() {}
}

async fn next(
    listener: &TcpListener,
    rooms: &Rooms,
) -> std::io::Result<(TcpStream, SocketAddr, Seat)> {
    rooms.waiting.has_room().await;
    let (client, from) = listener.accept().await?;
    client.set_nodelay(true)?;
    Ok((client, from, rooms.waiting.sit_down()))
}

/// One client, from its first byte to its last.
async fn serve(
    client: TcpStream,
    from: SocketAddr,
    seat: Seat,
    rooms: Arc<Rooms>,
    mut stopped: watch::Receiver<bool>,
) {
    let inside;
    let (client, connect, device) = tokio::select! {
        admitted = admit(client, from, seat, &rooms) => match admitted {
            Some((client, connect, device, permit)) => {
                inside = permit;
                (client, connect, device)
            }
            None => return,
        },
        () = stopping(&mut stopped) => return,
    };
    let_in(
        &rooms.shared,
        client,
        connect,
        &device,
        stopping(&mut stopped),
    )
    .await;
    drop(inside);
}

pub(super) async fn stopping(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

type Admitted<'a> = (TcpStream, Connect, Ident, SemaphorePermit<'a>);

async fn admit(
    mut client: TcpStream,
    from: SocketAddr,
    mut seat: Seat,
    rooms: &Rooms,
) -> Option<Admitted<'_>> {
    let read = tokio::select! {
        read = read_connect(&mut client, rooms.connect_timeout) => read,
        _ = &mut seat.called_out => None,
    };
    rooms.waiting.stand_up(seat);
    let connect = match read? {
        Ok(connect) => connect,
        Err((version, refusal)) => {
            refuse(client, version, refusal).await;
            return None;
        }
    };
    let Some(permit) = rooms.shared.clients.room.enter() else {
        tracing::warn!(%from, "no room for another client: raise the broker's connections_max");
        refuse(client, connect.version, Refusal::Unavailable).await;
        return None;
    };
    let answer = tokio::select! {
        answer = authenticate(&rooms.shared, &connect, from.ip()) => answer,
        // Whoever has gone doesn't stand in the line for a slow hash.
        () = gone(&client) => return None,
    };
    match answer {
        Ok(device) => Some((client, connect, device, permit)),
        Err(refusal) => {
            tracing::info!(%from, client_id = ?connect.client_id, ?refusal, "a client was not let in");
            refuse(client, connect.version, refusal).await;
            None
        }
    }
}

/// Resolves when the client has closed. One that has already sent more isn't known to have.
async fn gone(client: &TcpStream) {
    if matches!(client.peek(&mut [0]).await, Ok(0) | Err(_)) {
        return;
    }
    std::future::pending().await
}

struct WaitingRoom {
    seats: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    seats: BTreeMap<u64, (Instant, oneshot::Sender<()>)>,
}

struct Seat {
    number: u64,
    /// Resolves when another needs the seat.
    called_out: oneshot::Receiver<()>,
}

impl WaitingRoom {
    fn new(seats: usize) -> Self {
        Self {
            seats,
            taken: Mutex::default(),
        }
    }

    /// Waits until there is a seat, calling out the one who has waited longest if it must.
    async fn has_room(&self) {
        loop {
            let due = {
                let mut taken = self.lock();
                if taken.seats.len() < self.seats {
                    return;
                }
                let Some(oldest) = taken.seats.first_entry() else {
                    return;
                };
                let due = oldest.get().0 + GRACE;
                if due <= Instant::now() {
                    oldest.remove();
                    return;
                }
                due
            };
            tokio::time::sleep_until(due.min(Instant::now() + Duration::from_millis(20))).await;
        }
    }

    fn sit_down(&self) -> Seat {
        let (call, called_out) = oneshot::channel();
        let mut taken = self.lock();
        taken.next += 1;
        let number = taken.next;
        taken.seats.insert(number, (Instant::now(), call));
        Seat { number, called_out }
    }

    fn stand_up(&self, seat: Seat) {
        self.lock().seats.remove(&seat.number);
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_makes_room_but_not_before_its_time() {
        let room = WaitingRoom::new(2);
        let start = Instant::now();
        room.has_room().await;
        let mut first = room.sit_down();
        room.has_room().await;
        let mut second = room.sit_down();
        assert!(start.elapsed() < GRACE);

        room.has_room().await;
        assert!(Instant::now() >= start + GRACE);
        let _third = room.sit_down();
        assert!(
            first
                .called_out
                .try_recv()
                .is_err_and(|e| e == oneshot::error::TryRecvError::Closed)
        );
        assert!(
            second
                .called_out
                .try_recv()
                .is_err_and(|e| e == oneshot::error::TryRecvError::Empty)
        );
    }

    #[tokio::test]
    async fn who_leaves_gives_the_seat_back() {
        let room = WaitingRoom::new(1);
        let seat = room.sit_down();
        room.stand_up(seat);
        let start = Instant::now();
        room.has_room().await;
        assert!(start.elapsed() < GRACE);
    }
}
