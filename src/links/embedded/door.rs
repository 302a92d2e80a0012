//! Accepts connections, and bounds how many there are at each stage.
//!
//! A connection is first *waiting* (for the handshake of TLS, where that is spoken, and for its CONNECT), then *inside* (its password is being checked,
//! or it is connected through). Both stages are bounded on their own, so that a thousand silent
//! connections can't keep a device out. When the waiting room is full, somebody has to go: of the address
//! that has most seats, whoever has waited longest, so that a crowd makes room by itself. He isn't sent
//! away before half a second: until then the door stays shut and the system's backlog holds the rest.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use firmware_protocols::Ident;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{SemaphorePermit, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::admission::{Unread, authenticate, let_in, read_connect, refuse};
use super::answers::Refusal;
use super::connect::Connect;
use super::stream::Stream;
use super::tls::TlsListener;
use super::{EmbeddedBroker, Shared, knock};

/// As many as Linux lets wait out of the box: a crowd that says nothing shall not fill it, or a
/// device that comes meanwhile finds no place and tries again only after seconds.
const BACKLOG: u32 = 4096;

/// How much of what a client sends the system keeps for us: a client that is made to wait shall
/// notice it, and shall not fill the memory.
const RECEIVE_BYTES: u32 = 64 * 1024;

/// How long everybody may wait at least.
const GRACE: Duration = Duration::from_millis(500);

/// How long everybody may wait at least who has the handshake of TLS to do first, for which a small
/// device computes for a second; but a crowd has [`GRACE`] too.
const GRACE_TLS: Duration = Duration::from_secs(2);

/// Whose address has more than this part of the seats comes as a crowd.
const CROWD: usize = 4;

/// How long to wait when the system gives no more sockets.
const OUT_OF_SOCKETS: Duration = Duration::from_millis(100);

/// Where connections come in, and what they speak there.
pub(super) struct Listener {
    tcp: TcpListener,
    tls: Option<Arc<TlsListener>>,
}

impl Listener {
    /// Where it listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// Binds the listeners, that of TLS last.
pub(super) fn bind(config: &EmbeddedBroker) -> Result<Vec<Listener>> {
    let plain = config.listen.iter().map(|address| (*address, None));
    let tls = config.tls.iter();
    let tls = tls.map(|tls| (tls.listen, Some(Arc::clone(&tls.listener))));
    plain
        .chain(tls)
        .map(|(address, tls)| {
            let tcp = listen(address).with_context(|| {
                format!("the broker cannot listen on {address}; is another broker running there? see: ss -ltnp")
            })?;
            Ok(Listener { tcp, tls })
        })
        .collect()
}

/// Binds a listener, with the address reusable at once.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    socket.set_recv_buffer_size(RECEIVE_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The open door.
pub(super) struct Door {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

struct Rooms {
    shared: Arc<Shared>,
    waiting: WaitingRoom,
    /// Of its own, so that a flood there keeps nobody out here.
    waiting_tls: WaitingRoom,
    connect_timeout: Duration,
}

impl Door {
    /// Starts accepting.
    pub(super) fn open(
        listeners: Vec<Listener>,
        config: &EmbeddedBroker,
        shared: &Arc<Shared>,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        shared.clients.room.begin_with(config.connections_max);
        let rooms = Arc::new(Rooms {
            shared: Arc::clone(shared),
            waiting: WaitingRoom::new(config.waiting_max.max(1), GRACE),
            waiting_tls: WaitingRoom::new(config.waiting_max.max(1), GRACE_TLS),
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

async fn accept(listener: Listener, rooms: Arc<Rooms>, stopped: watch::Receiver<bool>) {
    let mut clients = JoinSet::new();
    let mut stop = stopped.clone();
    loop {
        tokio::select! {
            accepted = next(&listener, &rooms) => match accepted {
                Ok((client, from, seat)) => {
                    let (tls, rooms) = (listener.tls.clone(), Arc::clone(&rooms));
                    clients.spawn(serve((client, from), tls, seat, rooms, stopped.clone()));
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
    listener: &Listener,
    rooms: &Rooms,
) -> std::io::Result<(TcpStream, SocketAddr, Seat)> {
    let waiting = rooms.waiting(listener.tls.as_deref());
    waiting.has_room().await;
    let (client, from) = listener.tcp.accept().await?;
    client.set_nodelay(true)?;
    Ok((client, from, waiting.sit_down(from.ip())))
}

impl Rooms {
    fn waiting(&self, tls: Option<&TlsListener>) -> &WaitingRoom {
        match tls {
            None => &self.waiting,
            Some(_) => &self.waiting_tls,
        }
    }
}

/// One client, from its first byte to its last.
async fn serve(
    (client, from): (TcpStream, SocketAddr),
    tls: Option<Arc<TlsListener>>,
    seat: Seat,
    rooms: Arc<Rooms>,
    mut stopped: watch::Receiver<bool>,
) {
    let inside;
    let (client, connect, device) = tokio::select! {
        admitted = admit(client, from, tls.as_deref(), seat, &rooms) => match admitted {
            Some((client, connect, device, permit)) => {
                inside = permit;
                (client, connect, device)
            }
            None => return,
        },
        () = stopping(&mut stopped) => return,
    };
    let serial = client.certificate().map(|shown| shown.serial.clone());
    let stop = async {
        tokio::select! {
            () = stopping(&mut stopped) => {}
            () = revoked(tls.as_deref(), serial.as_deref()) => {
                tracing::info!(%device, "the certificate was revoked that this device has logged in with");
            }
        }
    };
    let_in(&rooms.shared, client, connect, &device, stop).await;
    drop(inside);
}

/// Resolves when the certificate is revoked that a client has logged in with.
async fn revoked(tls: Option<&TlsListener>, serial: Option<&str>) {
    match (tls, serial) {
        (Some(tls), Some(serial)) => tls.until_revoked(serial).await,
        _ => std::future::pending().await,
    }
}

pub(super) async fn stopping(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

type Admitted<'a> = (Stream, Connect, Ident, SemaphorePermit<'a>);

async fn admit<'a>(
    client: TcpStream,
    from: SocketAddr,
    tls: Option<&TlsListener>,
    mut seat: Seat,
    rooms: &'a Rooms,
) -> Option<Admitted<'a>> {
    let heard = tokio::select! {
        heard = hear_out(client, from, tls, rooms.connect_timeout) => heard,
        _ = &mut seat.called_out => None,
    };
    rooms.waiting(tls).stand_up(seat);
    let (mut client, read) = heard?;
    let connect = match read {
        Ok(connect) => connect,
        Err(unread) => {
            unheard(rooms, client, from, unread).await;
            return None;
        }
    };
    let Some(permit) = rooms.shared.clients.room.enter() else {
        tracing::warn!(%from, "no room for another client: raise the broker's connections_max");
        knock::note(&rooms.shared, &connect, from.ip(), Refusal::Unavailable);
        refuse(client, connect.version, Refusal::Unavailable).await;
        return None;
    };
    let certificate = client.certificate().cloned();
    let answer = tokio::select! {
        answer = authenticate(&rooms.shared, &connect, from.ip(), certificate.as_ref()) => answer,
        // Whoever has gone doesn't stand in the line for a slow hash.
        () = client.gone() => return None,
    };
    match answer {
        Ok(device) => {
            rooms.shared.knocks.got_in(&device, from.ip());
            let version = connect.version;
            rooms.shared.pairing.came(&device, version, from.ip());
            Some((client, connect, device, permit))
        }
        Err(refusal) => {
            knock::note(&rooms.shared, &connect, from.ip(), refusal);
            tracing::info!(%from, client_id = ?connect.client_id, ?refusal, "a client was not let in");
            refuse(client, connect.version, refusal).await;
            None
        }
    }
}

/// A client's first packet, after the handshake where TLS is spoken. `limit` is for each of them.
async fn hear_out(
    client: TcpStream,
    from: SocketAddr,
    tls: Option<&TlsListener>,
    limit: Duration,
) -> Option<(Stream, Result<Connect, Unread>)> {
    let mut client = match tls {
        None => Stream::Plain(client),
        // On the heap, so that a plain connection doesn't carry room for it.
        Some(tls) => timeout(limit, Box::pin(tls.accept(client, from)))
            .await
            .ok()??,
    };
    let read = read_connect(&mut client, limit).await;
    Some((client, read))
}

/// A client whose first packet couldn't be read: noted, and told if it understands.
async fn unheard(rooms: &Rooms, client: Stream, from: SocketAddr, unread: Unread) {
    match unread {
        Unread::Unanswered(None) => {}
        Unread::Unanswered(Some(why)) => knock::note_unread(&rooms.shared, from.ip(), why),
        Unread::Refused(version, refusal) => {
            knock::note_unread(&rooms.shared, from.ip(), knock::word(refusal));
            refuse(client, version, refusal).await;
        }
    }
}

struct WaitingRoom {
    seats: usize,
    grace: Duration,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    seats: BTreeMap<u64, Waiting>,
    /// How many seats each address has.
    by_address: HashMap<IpAddr, usize>,
}

struct Waiting {
    since: Instant,
    from: IpAddr,
    /// Dropped when another needs the seat.
    _call: oneshot::Sender<()>,
}

impl Taken {
    fn remove(&mut self, number: u64) -> Option<Waiting> {
        let waiting = self.seats.remove(&number)?;
        if let Entry::Occupied(mut count) = self.by_address.entry(waiting.from) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        Some(waiting)
    }

    /// Who has to go when there is no seat, and how many of his address are here.
    fn next_to_go(&self) -> Option<(u64, Instant, usize)> {
        let most = self.by_address.values().copied().max()?;
        let crowded = |waiting: &Waiting| self.by_address.get(&waiting.from) == Some(&most);
        let oldest = self.seats.iter().find(|(_, waiting)| crowded(waiting));
        oldest.map(|(number, waiting)| (*number, waiting.since, most))
    }
}

struct Seat {
    number: u64,
    /// Resolves when another needs the seat.
    called_out: oneshot::Receiver<()>,
}

impl WaitingRoom {
    fn new(seats: usize, grace: Duration) -> Self {
        Self {
            seats,
            grace,
            taken: Mutex::default(),
        }
    }

    /// Waits until there is a seat, calling out who has to go if it must.
    async fn has_room(&self) {
        loop {
            let due = {
                let mut taken = self.lock();
                if taken.seats.len() < self.seats {
                    return;
                }
                let Some((number, since, of_one)) = taken.next_to_go() else {
                    return;
                };
                let crowd = of_one > self.seats / CROWD;
                let due = since + if crowd { GRACE } else { self.grace };
                if due <= Instant::now() {
                    // He hears of it as his call is dropped.
                    drop(taken.remove(number));
                    return;
                }
                due
            };
            tokio::time::sleep_until(due.min(Instant::now() + Duration::from_millis(20))).await;
        }
    }

    fn sit_down(&self, from: IpAddr) -> Seat {
        let (call, called_out) = oneshot::channel();
        let mut taken = self.lock();
        taken.next += 1;
        let number = taken.next;
        let since = Instant::now();
        taken.seats.insert(
            number,
            Waiting {
                since,
                from,
                _call: call,
            },
        );
        *taken.by_address.entry(from).or_default() += 1;
        Seat { number, called_out }
    }

    fn stand_up(&self, seat: Seat) {
        drop(self.lock().remove(seat.number));
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(n: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, n).into()
    }

    fn called_out(seat: &mut Seat) -> bool {
        matches!(
            seat.called_out.try_recv(),
            Err(oneshot::error::TryRecvError::Closed)
        )
    }

    #[tokio::test]
    async fn the_oldest_makes_room_but_not_before_its_time() {
        let room = WaitingRoom::new(2, GRACE);
        let start = Instant::now();
        room.has_room().await;
        let mut first = room.sit_down(address(1));
        room.has_room().await;
        let mut second = room.sit_down(address(2));
        assert!(start.elapsed() < GRACE);

        room.has_room().await;
        assert!(Instant::now() >= start + GRACE);
        let _third = room.sit_down(address(3));
        assert!(called_out(&mut first));
        assert!(!called_out(&mut second));
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_makes_room_by_itself() {
        let room = WaitingRoom::new(8, GRACE_TLS);
        let mut alone = room.sit_down(address(1));
        let mut crowd: Vec<Seat> = (0..7).map(|_| room.sit_down(address(2))).collect();
        let start = Instant::now();
        for n in 0..5 {
            room.has_room().await;
            let gone = crowd.iter_mut().filter_map(|s| called_out(s).then_some(()));
            assert_eq!(gone.count(), n + 1);
            crowd.push(room.sit_down(address(2)));
        }
        assert!(!called_out(&mut alone));
        // It has no more than half a second, while who comes alone has his time.
        assert!(start.elapsed() < GRACE_TLS);
        for n in 3..=9 {
            room.stand_up(crowd.pop().unwrap());
            let _ = room.sit_down(address(n));
        }
        room.has_room().await;
        assert!(start.elapsed() >= GRACE_TLS);
    }

    #[tokio::test]
    async fn who_leaves_gives_the_seat_back() {
        let room = WaitingRoom::new(1, GRACE);
        let seat = room.sit_down(address(1));
        room.stand_up(seat);
        assert!(room.lock().by_address.is_empty());
        let start = Instant::now();
        room.has_room().await;
        assert!(start.elapsed() < GRACE);
    }
}
