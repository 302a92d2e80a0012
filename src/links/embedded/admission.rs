//! The front door: what a client must show before anything else of it is heard.
//!
//! A client has some seconds to send one CONNECT of at most 2 KB, which is read strictly, and its device
//! and password are checked. Until the CONNECT is there a client costs a socket and a small task; at
//! most [`EmbeddedBroker::waiting_max`](super::EmbeddedBroker::waiting_max) such clients are kept, and
//! the oldest makes room for the next.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use firmware_protocols::Ident;
use firmware_protocols::topic::{self, Channel};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::answers::{Refusal, Welcome};
use super::certificate::ClientCertificate;
use super::connect::{Bad, CONNECT_MAX_BYTES, Connect, Version, parse};
use super::roster::Place;
use super::stream::Stream;
use super::{Admitted, Shared, knock, limits, pairing, session};
use crate::credentials::Login;
use crate::knocks::why;

/// How long a refusal may take to be written.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Why there is no CONNECT.
pub(super) enum Unread {
    /// Whatever came isn't worth an answer. With the word for it ([`why`]), unless it just left.
    Unanswered(Option<&'static str>),
    /// It is told why.
    Refused(Version, Refusal),
}

/// Reads the CONNECT.
pub(super) async fn read_connect(client: &mut Stream, limit: Duration) -> Result<Connect, Unread> {
    let mut first = None;
    let packet = match timeout(limit, read_after(client, &mut first)).await {
        Ok(Some(packet)) => packet,
        Ok(None) => return Err(Unread::Unanswered(first.map(knock::first_byte))),
        Err(_) => return Err(Unread::Unanswered(Some(why::SILENT))),
    };
    match parse(&packet) {
        Ok(connect) => Ok(connect),
        Err(Bad::NotMqtt) => Err(Unread::Unanswered(Some(why::NOT_MQTT))),
        Err(Bad::Version) => Err(Unread::Refused(Version::V3, Refusal::Version)),
        Err(Bad::Malformed(version)) => Err(Unread::Refused(version, Refusal::Malformed)),
        Err(Bad::AuthMethod) => Err(Unread::Refused(Version::V5, Refusal::AuthMethod)),
    }
}

/// Reads exactly one packet, so that what the client sends after it stays in the socket.
pub async fn read_packet(client: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    read_after(client, &mut None).await
}

/// The same, and says what the first byte was.
async fn read_after(
    client: &mut (impl AsyncRead + Unpin),
    first: &mut Option<u8>,
) -> Option<Vec<u8>> {
    let byte = client.read_u8().await.ok()?;
    *first = Some(byte);
    if byte != 0x10 {
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
pub(super) async fn refuse(mut client: Stream, version: Version, refusal: Refusal) {
    if let Some(packet) = refusal.packet(version) {
        let _ = timeout(ANSWER_MAX, client.write_all(&packet)).await;
    }
    let _ = client.shutdown().await;
}

/// Checks who the client is and what it leaves as its will. Whoever has shown a certificate must be one
/// that it names, and needs no password; one that is given must be right.
pub(super) async fn authenticate(
    shared: &Shared,
    connect: &Connect,
    from: IpAddr,
    certificate: Option<&ClientCertificate>,
) -> Result<Ident, Refusal> {
    let admitted = shared.clients.now();
    if let Some(client) = mapped_client(&admitted, connect) {
        // Its will tells nothing that its link doesn't: it is read over.
        if certificate.is_some_and(|certificate| !certificate.names(&client)) {
            return Err(Refusal::Certificate);
        }
        let anonymous = certificate.is_some() || admitted.anonymous.contains(&client);
        check_password(shared, connect, &client, anonymous, from).await?;
        return Ok(client);
    }
    let id = Ident::new(&connect.client_id).map_err(|_| Refusal::ClientId)?;
    let device = admitted.devices.get(&id).cloned().ok_or(Refusal::Login)?;
    if connect
        .username
        .as_deref()
        .is_some_and(|name| name != device.as_str())
    {
        return Err(Refusal::Login);
    }
    if certificate.is_some_and(|certificate| !certificate.names(&device)) {
        return Err(Refusal::Certificate);
    }
    let anonymous = certificate.is_some() || admitted.anonymous.contains(&device);
    check_password(shared, connect, &device, anonymous, from).await?;
    will(shared, connect, &device).await?;
    Ok(device)
}

async fn check_password(
    shared: &Shared,
    connect: &Connect,
    device: &Ident,
    anonymous: bool,
    from: IpAddr,
) -> Result<(), Refusal> {
    match &connect.password {
        None if anonymous => Ok(()),
        Some(password) if connect.username.is_some() => {
            match shared.credentials.check(device, password, from).await {
                Login::Granted => Ok(()),
                Login::Refused if pairing::take(shared, connect, device, from).await => Ok(()),
                Login::Refused => Err(Refusal::Login),
                Login::Throttled => Err(Refusal::Throttled),
            }
        }
        _ => Err(Refusal::Login),
    }
}

/// The bridge, or the device with a profile, that a client is: by its user name, else by its client id.
pub(super) fn mapped_client(admitted: &Admitted, connect: &Connect) -> Option<Ident> {
    let name = connect.username.as_deref().unwrap_or(&connect.client_id);
    let name = Ident::new(name).ok()?;
    admitted.mapped.contains(&name).then_some(name)
}

async fn will(shared: &Shared, connect: &Connect, device: &Ident) -> Result<(), Refusal> {
    let Some(will) = &connect.will else {
        return Ok(());
    };
    let fault = will_fault(connect, device);
    if fault == Some(Refusal::WillTopic) {
        shared
            .foreign(device, &will.topic, &Bytes::copy_from_slice(&will.payload))
            .await;
    }
    fault.map_or(Ok(()), Err)
}

/// What is wrong with a client's will.
pub(super) fn will_fault(connect: &Connect, device: &Ident) -> Option<Refusal> {
    let will = connect.will.as_ref()?;
    if topic::parse(&will.topic) != Some((device.clone(), Channel::Status)) {
        return Some(Refusal::WillTopic);
    }
    if super::status(&will.payload).is_none() {
        return Some(Refusal::WillPayload);
    }
    (connect.version == Version::V5 && will.qos > 1).then_some(Refusal::WillQos)
}

/// Serves a client that has logged in, until one of them ends, another link takes the device's place,
/// or `stop` resolves.
pub(super) async fn let_in(
    shared: &Arc<Shared>,
    client: Stream,
    mut connect: Connect,
    device: &Ident,
    stop: impl Future<Output = ()>,
) {
    let mapped = shared.mapped.is_client(device);
    if mapped {
        connect.will = None;
    }
    let mut link = Link {
        shared,
        device,
        place: shared.roster.claim(device, shared.intake.as_ref()),
    };
    if !shared
        .roster
        .enter(device, &link.place, shared.intake.as_ref())
    {
        return refuse(client, connect.version, Refusal::Unavailable).await;
    }
    // It may have been taken out of the configuration while its password was checked.
    if !shared.clients.now().has(device) {
        return refuse(client, connect.version, Refusal::Login).await;
    }
    let welcome = Welcome {
        receive_max: limits::IN_FLIGHT,
        packet_max_bytes: shared.mapped.packet_max_bytes(device),
        keep_alive_s: keep_alive_s(&connect),
    };
    let welcome = welcome.packet(&connect);
    session::serve(
        shared,
        client,
        connect,
        device,
        &mut link.place,
        &welcome,
        stop,
    )
    .await;
    drop(link);
    if mapped && !shared.roster.is_connected(device) {
        shared.mapped.bridge_left(device);
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

/// The keep-alive that holds for a client, seconds.
pub(super) fn keep_alive_s(connect: &Connect) -> u16 {
    match connect.keep_alive_s {
        0 => limits::KEEP_ALIVE_MAX_S,
        asked => asked.clamp(limits::KEEP_ALIVE_MIN_S, limits::KEEP_ALIVE_MAX_S),
    }
}
