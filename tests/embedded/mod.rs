//! What the broker's tests share: a broker on a free port with an intake that records what it was
//! given, and a client that writes exact bytes.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use firmware_protocols::Ident;
use linli::credentials::{Credentials, set_password};
use linli::intake::Answer;
use linli::links::DeviceIntake;
use linli::links::ToDevice;
use linli::links::embedded::{EmbeddedBroker, Roster, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub const PASSWORD: &str = "correct-horse";
/// Far more than anything takes; a test that waits this long has failed.
pub const LONG: Duration = Duration::from_secs(20);

pub fn ident(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

/// Records everything. Answers by the payload: `malformed` and `full` get what they ask for.
pub struct Recorder {
    pub events: Mutex<Vec<(Ident, Bytes)>>,
    pub foreign: Mutex<Vec<(Ident, String, Bytes)>>,
    pub presence: Mutex<Vec<(Ident, bool)>>,
    /// Each event takes a permit before it is answered.
    pub gate: Semaphore,
}

impl Recorder {
    pub fn open() -> Arc<Self> {
        Self::with_permits(Semaphore::MAX_PERMITS)
    }
    pub fn shut() -> Arc<Self> {
        Self::with_permits(0)
    }
    fn with_permits(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            events: Mutex::default(),
            foreign: Mutex::default(),
            presence: Mutex::default(),
            gate: Semaphore::new(permits),
        })
    }
    pub fn payloads(&self) -> Vec<Bytes> {
        self.events
            .lock()
            .unwrap()
            .iter()
            .map(|(_, payload)| payload.clone())
            .collect()
    }
    pub fn last_presence(&self, device: &str) -> Option<bool> {
        let heard = self.presence.lock().unwrap();
        heard
            .iter()
            .rev()
            .find(|(who, _)| who.as_str() == device)
            .map(|(_, online)| *online)
    }
}

#[async_trait]
impl DeviceIntake for Recorder {
    async fn events(&self, device: &Ident, payload: Bytes) -> Answer {
        self.events
            .lock()
            .unwrap()
            .push((device.clone(), payload.clone()));
        self.gate.acquire().await.unwrap().forget();
        match payload.as_ref() {
            b"malformed" => Answer::Malformed("not an event".into()),
            b"full" => Answer::NotTaken("the disk is full".into()),
            _ => Answer::Taken,
        }
    }
    async fn foreign(&self, device: &Ident, topic: &str, payload: Bytes) {
        self.foreign
            .lock()
            .unwrap()
            .push((device.clone(), topic.to_owned(), payload));
    }
    fn command_sent(&self, _: String) {}
    fn presence(&self, device: &Ident, online: bool) {
        self.presence.lock().unwrap().push((device.clone(), online));
    }
}

pub struct Broker {
    pub address: SocketAddr,
    /// All of them: that of TLS is the last.
    pub addresses: Vec<SocketAddr>,
    pub intake: Arc<Recorder>,
    pub roster: Arc<Roster>,
    pub outbound: mpsc::Sender<ToDevice>,
    stop: watch::Sender<bool>,
    task: JoinHandle<anyhow::Result<()>>,
    dir: tempfile::TempDir,
}

impl Broker {
    /// A broker for `bank-a` and `door-1` with [`PASSWORD`], and `open-1` without one.
    pub async fn start() -> Self {
        Self::with(Recorder::open(), |_| {}).await
    }

    pub async fn with(intake: Arc<Recorder>, change: impl FnOnce(&mut EmbeddedBroker)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwords");
        for device in ["bank-a", "door-1"] {
            set_password(&path, &ident(device), PASSWORD).unwrap();
        }
        let mut config = EmbeddedBroker::new(["bank-a", "door-1", "open-1"].map(ident));
        config.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let mut admitted = (*config.clients.now()).clone();
        admitted.anonymous.insert(ident("open-1"));
        config.clients.replace(admitted);
        change(&mut config);
        let credentials = Arc::new(Credentials::open(&path).unwrap());
        Self::serve(config, credentials, intake, dir).await
    }

    pub async fn serve(
        config: EmbeddedBroker,
        credentials: Arc<Credentials>,
        intake: Arc<Recorder>,
        dir: tempfile::TempDir,
    ) -> Self {
        let (outbound, receiver) = mpsc::channel(64);
        let (stop, stopped) = watch::channel(false);
        let (ready, listening) = oneshot::channel();
        let roster = Arc::new(Roster::default());
        let task = tokio::spawn(serve(
            config,
            credentials,
            Arc::clone(&intake) as Arc<dyn DeviceIntake>,
            Arc::clone(&roster),
            receiver,
            stopped,
            ready,
        ));
        let addresses = timeout(LONG, listening).await.unwrap().unwrap();
        Self {
            address: addresses[0],
            addresses,
            intake,
            roster,
            outbound,
            stop,
            task,
            dir,
        }
    }

    pub async fn stop(self) {
        self.stop.send(true).unwrap();
        timeout(LONG, self.task).await.unwrap().unwrap().unwrap();
    }

    /// A device that keeps to the rules still gets its event acknowledged.
    pub async fn still_serves(&self) {
        let mut client = Client::login(self.address, Version::V5, "door-1").await;
        client
            .send(&publish(Version::V5, "linli/v1/door-1/event", 1, b"well"))
            .await;
        assert_eq!(
            client.packet().await.unwrap().kind(),
            4,
            "no PUBACK for a device that behaves"
        );
    }
}

/// Waits until `condition` holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + LONG;
    while !condition() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited in vain until {what}"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V3,
    V5,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub first: u8,
    pub body: Vec<u8>,
}

impl Packet {
    pub fn kind(&self) -> u8 {
        self.first >> 4
    }
    /// The reason code of a PUBACK; 0 if it was left out, as MQTT 5 allows.
    pub fn puback_code(&self) -> u8 {
        assert_eq!(self.kind(), 4, "{self:?} is not a PUBACK");
        self.body.get(2).copied().unwrap_or(0)
    }
    /// Topic and payload of a PUBLISH with QoS 1 and no properties beyond those skipped.
    pub fn message(&self, version: Version) -> (String, Vec<u8>) {
        assert_eq!(self.kind(), 3, "{self:?} is not a PUBLISH");
        let length = usize::from(u16::from_be_bytes([self.body[0], self.body[1]]));
        let topic = String::from_utf8(self.body[2..2 + length].to_vec()).unwrap();
        let mut at = 2 + length + if self.first & 6 == 0 { 0 } else { 2 };
        if version == Version::V5 {
            at += 1 + usize::from(self.body[at]);
        }
        (topic, self.body[at..].to_vec())
    }
}

/// A client that writes exact bytes.
pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    pub async fn login(address: SocketAddr, version: Version, device: &str) -> Self {
        let mut client = Self::open(address).await;
        client.send(&Connect::new(version, device).packet()).await;
        let answer = client.packet().await.expect("closed instead of CONNACK");
        assert_eq!(
            (answer.first, answer.body[1]),
            (0x20, 0),
            "login of {device}: {answer:?}"
        );
        client
    }

    /// Writes all it can: the broker may close while we write.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = timeout(LONG, self.stream.write_all(bytes))
            .await
            .expect("the broker reads no more");
    }

    /// The next packet, `None` when closed.
    pub async fn packet(&mut self) -> Option<Packet> {
        timeout(LONG, self.read())
            .await
            .expect("neither an answer nor the end")
    }

    async fn read(&mut self) -> Option<Packet> {
        let first = self.stream.read_u8().await.ok()?;
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let byte = self.stream.read_u8().await.ok()?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.ok()?;
        Some(Packet { first, body })
    }

    pub async fn is_closed(&mut self) -> bool {
        self.packet().await.is_none()
    }

    /// Whether nothing comes for a moment.
    pub async fn is_silent(&mut self, moment: Duration) -> bool {
        timeout(moment, self.stream.peek(&mut [0])).await.is_err()
    }

    pub async fn subscribe(&mut self, version: Version, filter: &str) -> u8 {
        self.send(&subscribe(version, filter)).await;
        let answer = self.packet().await.expect("closed instead of SUBACK");
        assert_eq!(answer.kind(), 9, "{answer:?}");
        *answer.body.last().unwrap()
    }
}

/// A CONNECT, right until something is changed.
#[derive(Clone)]
pub struct Connect {
    pub version: Version,
    pub client_id: Vec<u8>,
    pub username: Option<Vec<u8>>,
    pub password: Option<Vec<u8>>,
    pub will: Option<(Vec<u8>, Vec<u8>)>,
    pub will_bits: u8,
    pub clean: bool,
    pub keep_alive: u16,
    pub properties: Vec<u8>,
}

impl Connect {
    pub fn new(version: Version, device: &str) -> Self {
        Self {
            version,
            client_id: device.into(),
            username: Some(device.into()),
            password: Some(PASSWORD.into()),
            will: None,
            will_bits: 0x28,
            clean: true,
            keep_alive: 60,
            properties: Vec::new(),
        }
    }

    pub fn packet(&self) -> Vec<u8> {
        framed(0x10, &self.body())
    }

    pub fn body(&self) -> Vec<u8> {
        let mut body = b"\x00\x04MQTT".to_vec();
        body.push(if self.version == Version::V5 { 5 } else { 4 });
        let mut flags = u8::from(self.clean) << 1;
        flags |= u8::from(self.username.is_some()) << 7 | u8::from(self.password.is_some()) << 6;
        if self.will.is_some() {
            flags |= 0x04 | self.will_bits;
        }
        body.push(flags);
        body.extend_from_slice(&self.keep_alive.to_be_bytes());
        if self.version == Version::V5 {
            body.extend_from_slice(&varint(self.properties.len()));
            body.extend_from_slice(&self.properties);
        }
        body.extend_from_slice(&string(&self.client_id));
        if let Some((topic, payload)) = &self.will {
            if self.version == Version::V5 {
                body.push(0);
            }
            body.extend_from_slice(&string(topic));
            body.extend_from_slice(&string(payload));
        }
        for field in [&self.username, &self.password].into_iter().flatten() {
            body.extend_from_slice(&string(field));
        }
        body
    }
}

pub fn string(bytes: &[u8]) -> Vec<u8> {
    let mut out = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(bytes);
    out
}

pub fn varint(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        out.push(if value > 0 { byte | 0x80 } else { byte });
        if value == 0 {
            return out;
        }
    }
}

pub fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    packet.extend_from_slice(&varint(body.len()));
    packet.extend_from_slice(body);
    packet
}

/// A PUBLISH with packet id 7 where the QoS needs one.
pub fn publish(version: Version, topic: &str, qos: u8, payload: &[u8]) -> Vec<u8> {
    publish_with(version, topic.as_bytes(), 0x30 | qos << 1, 7, &[], payload)
}

pub fn publish_with(
    version: Version,
    topic: &[u8],
    first: u8,
    id: u16,
    properties: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let mut body = string(topic);
    if first & 6 != 0 {
        body.extend_from_slice(&id.to_be_bytes());
    }
    if version == Version::V5 {
        body.extend_from_slice(&varint(properties.len()));
        body.extend_from_slice(properties);
    }
    body.extend_from_slice(payload);
    framed(first, &body)
}

pub fn subscribe(version: Version, filter: &str) -> Vec<u8> {
    let mut body = vec![0, 9];
    if version == Version::V5 {
        body.push(0);
    }
    body.extend_from_slice(&string(filter.as_bytes()));
    body.push(1);
    framed(0x82, &body)
}

pub fn counts(list: &[(Ident, bool)]) -> HashMap<(String, bool), usize> {
    let mut counts = HashMap::new();
    for (device, online) in list {
        *counts.entry((device.to_string(), *online)).or_default() += 1;
    }
    counts
}
