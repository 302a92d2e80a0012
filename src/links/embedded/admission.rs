//! The front door: what a client must show before the broker behind hears of it.
//!
//! The library's own listener waits for a first byte for ever, counts no connections, and takes a
//! CONNECT as large as any packet. So the gateway accepts connections itself: a client has some
//! seconds to send one CONNECT of at most 2 KB, which is read strictly, and its device and password
//! are checked, all before anything of the library runs. Only then is it connected through to the
//! library, which listens on a loopback port of its own and lets in nobody without the one-time
//! ticket of this door.
//!
//! Until the CONNECT is there a client costs a socket and a small task; at most
//! [`EmbeddedBroker::waiting_max`](super::EmbeddedBroker::waiting_max) such clients are kept, and
//! the oldest makes room for the next.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use firmware_protocols::Ident;
use firmware_protocols::topic::{self, Channel};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::answers::{Refusal, Welcome, onward};
use super::connect::{Bad, CONNECT_MAX_BYTES, Connect, Version, parse};
use super::reins::Reins;
use super::relay::relay;
use super::roster::Place;
use super::{Shared, limits};
use crate::credentials::Login;

/// How long a refusal may take to be written, and a handshake with the broker behind to end.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// How long a handshake with the broker behind keeps others from theirs.
const TURN_MAX: Duration = Duration::from_millis(250);

/// How long after a refusal the broker behind is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Reads the CONNECT. `None`: whatever came isn't worth an answer.
pub(super) async fn read_connect(
    client: &mut TcpStream,
    limit: Duration,
) -> Option<Result<Connect, (Version, Refusal)>> {
    let packet = timeout(limit, read_packet(client)).await.ok()??;
    match parse(&packet) {
        Ok(connect) => Some(Ok(connect)),
        Err(Bad::NotMqtt) => None,
        Err(Bad::Version) => Some(Err((Version::V3, Refusal::Version))),
        Err(Bad::Malformed(version)) => Some(Err((version, Refusal::Malformed))),
        Err(Bad::AuthMethod) => Some(Err((Version::V5, Refusal::AuthMethod))),
    }
}

/// Reads exactly one packet, so that what the client sends after it stays in the socket.
async fn read_packet(client: &mut TcpStream) -> Option<Vec<u8>> {
    if client.read_u8().await.ok()? != 0x10 {
        return None;
    }
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let byte = client.read_u8().await.ok()?;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
        if shift > 21 || length > CONNECT_MAX_BYTES {
            return None;
        }
    }
    if length > CONNECT_MAX_BYTES {
        return None;
    }
    let mut packet = vec![0; length];
    client.read_exact(&mut packet).await.ok()?;
    Some(packet)
}

/// Writes a refusal and closes.
pub(super) async fn refuse(mut client: TcpStream, version: Version, refusal: Refusal) {
    if let Some(packet) = refusal.packet(version) {
        let _ = timeout(ANSWER_MAX, client.write_all(&packet)).await;
    }
    let _ = client.shutdown().await;
}

/// Checks who the client is and what it leaves as its will.
pub(super) async fn authenticate(
    shared: &Shared,
    connect: &Connect,
    from: IpAddr,
) -> Result<Ident, Refusal> {
    let id = Ident::new(&connect.client_id).map_err(|_| Refusal::ClientId)?;
    let device = shared.devices.get(&id).cloned().ok_or(Refusal::Login)?;
    if connect
        .username
        .as_deref()
        .is_some_and(|name| name != device.as_str())
    {
        return Err(Refusal::Login);
    }
    match &connect.password {
        None if shared.anonymous.contains(&device) => {}
        Some(password) if connect.username.is_some() => {
            match shared.credentials.check(&device, password, from).await {
                Login::Granted => {}
                Login::Refused => return Err(Refusal::Login),
                Login::Throttled => return Err(Refusal::Throttled),
            }
        }
        _ => return Err(Refusal::Login),
    }
    will(shared, connect, &device).await?;
    Ok(device)
}

async fn will(shared: &Shared, connect: &Connect, device: &Ident) -> Result<(), Refusal> {
    let Some(will) = &connect.will else {
        return Ok(());
    };
    if topic::parse(&will.topic) != Some((device.clone(), Channel::Status)) {
        shared
            .foreign(device, &will.topic, &Bytes::copy_from_slice(&will.payload))
            .await;
        return Err(Refusal::WillTopic);
    }
    if super::status(&will.payload).is_none() {
        return Err(Refusal::WillPayload);
    }
    if connect.version == Version::V5 && will.qos > 1 {
        return Err(Refusal::WillQos);
    }
    Ok(())
}

/// Connects a client that has logged in through to the broker behind, and carries its bytes until
/// one of them ends, another link takes the device's place, or `stop` resolves.
pub(super) async fn connect_through(
    shared: &Shared,
    mut client: TcpStream,
    connect: Connect,
    device: &Ident,
    stop: impl Future<Output = ()>,
) {
    tokio::pin!(stop);
    let mut link = Link {
        shared,
        device,
        place: shared.roster.claim(device, shared.intake.as_ref()),
    };
    let opened = tokio::select! {
        opened = timeout(ANSWER_MAX, open(shared, &connect, device)) => opened.ok().flatten(),
        _ = &mut link.place.ended => None,
        () = &mut stop => None,
    };
    let Some((broker, behind)) = opened else {
        return refuse(client, connect.version, Refusal::Unavailable).await;
    };
    if !shared
        .roster
        .enter(device, &link.place, behind, shared.intake.as_ref())
    {
        return refuse(client, connect.version, Refusal::Unavailable).await;
    }
    let welcome = Welcome {
        receive_max: limits::IN_FLIGHT,
        packet_max_bytes: limits::PACKET_MAX_BYTES,
        keep_alive_s: keep_alive_s(&connect),
    };
    let reins = Reins {
        gauge: shared.pace.of(device),
        five: connect.version == Version::V5,
        silence_max: Duration::from_secs(welcome.keep_alive_s.into()) * 3 / 2,
    };
    let welcome = welcome.packet(&connect);
    drop(connect);
    if !timeout(ANSWER_MAX, client.write_all(&welcome))
        .await
        .is_ok_and(|written| written.is_ok())
    {
        return;
    }
    tokio::select! {
        () = relay(client, broker, &reins, stop) => {}
        _ = &mut link.place.ended => tracing::info!(%device, "another connection has taken this device's place"),
    }
}

/// A device's place in the roster, given back when dropped.
struct Link<'a> {
    shared: &'a Shared,
    device: &'a Ident,
    place: Place,
}

impl Drop for Link<'_> {
    fn drop(&mut self) {
        self.shared
            .roster
            .leave(self.device, &self.place, self.shared.intake.as_ref());
    }
}

/// Logs in to the broker behind. Also returns our own address there.
///
/// The library refuses a login while it is still clearing away the device's former session, so it
/// is asked again until the caller's time is over.
async fn open(
    shared: &Shared,
    connect: &Connect,
    device: &Ident,
) -> Option<(TcpStream, SocketAddr)> {
    loop {
        match attempt(shared, connect, device).await? {
            Some(opened) => return Some(opened),
            None => tokio::time::sleep(ASK_AGAIN).await,
        }
    }
}

/// `Some(None)` if the library said no. Takes its turn, but not for longer than [`TURN_MAX`]: the
/// library may wait for a former session of the device that hangs on a reader who doesn't read.
async fn attempt(
    shared: &Shared,
    connect: &Connect,
    device: &Ident,
) -> Option<Option<(TcpStream, SocketAddr)>> {
    let turn = shared.entering.acquire().await.ok()?;
    let handshake = handshake(shared, connect, device);
    tokio::pin!(handshake);
    if let Ok(done) = timeout(TURN_MAX, &mut handshake).await {
        return done;
    }
    drop(turn);
    handshake.await
}

async fn handshake(
    shared: &Shared,
    connect: &Connect,
    device: &Ident,
) -> Option<Option<(TcpStream, SocketAddr)>> {
    let mut broker = TcpStream::connect(shared.behind).await.ok()?;
    broker.set_nodelay(true).ok()?;
    let address = broker.local_addr().ok()?;
    let ticket = shared.tickets.issue(address, device)?;
    broker
        .write_all(&onward(
            connect,
            limits::KEEP_ALIVE_BEHIND_S,
            ticket.secret(),
        ))
        .await
        .ok()?;
    let mut header = [0_u8; 2];
    broker.read_exact(&mut header).await.ok()?;
    if header[0] != 0x20 || header[1] & 0x80 != 0 {
        return None;
    }
    let mut body = vec![0_u8; usize::from(header[1])];
    broker.read_exact(&mut body).await.ok()?;
    Some((body.get(1) == Some(&0)).then_some((broker, address)))
}

fn keep_alive_s(connect: &Connect) -> u16 {
    match connect.keep_alive_s {
        0 => limits::KEEP_ALIVE_MAX_S,
        asked => asked.clamp(limits::KEEP_ALIVE_MIN_S, limits::KEEP_ALIVE_MAX_S),
    }
}
