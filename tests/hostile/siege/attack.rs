//! The attacks, each for as long as it is let.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use firmware_protocols::event::{Direction, Event, Outcome, When};
use firmware_protocols::{Form, Kind, event as wire};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::embedded::{Connect, Version, framed, ident, publish_with, string, subscribe};

/// How many devices drop all at once.
pub const STORM: usize = 300;
/// How many devices' passwords are guessed at.
pub const LOCKED: usize = 10;
/// How many connections say nothing.
const SILENT: usize = 1_000;
/// A moment in which nothing is to be done.
const MOMENT: Duration = Duration::from_millis(20);

/// Where it happens, until when.
#[derive(Clone)]
pub struct Field {
    pub address: SocketAddr,
    pub stopped: watch::Receiver<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    Silent,
    HalfOpen,
    FloodAtMostOnce,
    FloodAtLeastOnce,
    FloodOfUrgent,
    Giants,
    SlowReader,
    Wills,
    WrongPasswordsFromOne,
    WrongPasswordsFromMany,
    Subscriptions,
    Reconnects,
}

impl Attack {
    pub const ALL: [Self; 12] = [
        Self::Silent,
        Self::HalfOpen,
        Self::FloodAtMostOnce,
        Self::FloodAtLeastOnce,
        Self::FloodOfUrgent,
        Self::Giants,
        Self::SlowReader,
        Self::Wills,
        Self::WrongPasswordsFromOne,
        Self::WrongPasswordsFromMany,
        Self::Subscriptions,
        Self::Reconnects,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent connections",
            Self::HalfOpen => "half-open CONNECTs",
            Self::FloodAtMostOnce => "flood, QoS 0",
            Self::FloodAtLeastOnce => "flood, QoS 1",
            Self::FloodOfUrgent => "flood, urgent",
            Self::Giants => "giant packets",
            Self::SlowReader => "slow reader",
            Self::Wills => "wills",
            Self::WrongPasswordsFromOne => "passwords, one source",
            Self::WrongPasswordsFromMany => "passwords, 50 sources",
            Self::Subscriptions => "subscriptions",
            Self::Reconnects => "reconnects of one id",
        }
    }

    /// Goes on until it is stopped. How often something was done: connections, publications,
    /// logins.
    pub async fn run(self, field: Field) -> u64 {
        let mut tasks = JoinSet::new();
        match self {
            Self::Silent => spawn(&mut tasks, &field, SILENT, |field, _| silent(field, 0)),
            Self::HalfOpen => spawn(&mut tasks, &field, SILENT, |field, n| {
                silent(field, 1 + n % 25)
            }),
            Self::FloodAtMostOnce => spawn(&mut tasks, &field, 1, |field, _| {
                flood(field, "flood-0", 0x30, events)
            }),
            Self::FloodAtLeastOnce => spawn(&mut tasks, &field, 1, |field, _| {
                flood(field, "flood-1", 0x32, events)
            }),
            Self::FloodOfUrgent => spawn(&mut tasks, &field, 1, |field, _| {
                flood(field, "flood-2", 0x32, alarm)
            }),
            Self::Giants => spawn(&mut tasks, &field, 3, giants),
            Self::SlowReader => spawn(&mut tasks, &field, 1, |field, _| slow_reader(field)),
            Self::Wills => spawn(&mut tasks, &field, 1, |field, _| wills(field)),
            Self::WrongPasswordsFromOne => spawn(&mut tasks, &field, 50, |field, n| {
                wrong_passwords(field, 2, n)
            }),
            Self::WrongPasswordsFromMany => spawn(&mut tasks, &field, 200, |field, n| {
                wrong_passwords(field, 3 + n % 50, n)
            }),
            Self::Subscriptions => spawn(&mut tasks, &field, 1, |field, _| subscriptions(field)),
            Self::Reconnects => spawn(&mut tasks, &field, 10, |field, _| reconnects(field)),
        }
        let mut count = 0;
        while let Some(done) = tasks.join_next().await {
            count += done.unwrap();
        }
        count
    }
}

fn spawn<F: Future<Output = u64> + Send + 'static>(
    tasks: &mut JoinSet<u64>,
    field: &Field,
    how_many: usize,
    attack: impl Fn(Field, usize) -> F,
) {
    for n in 0..how_many {
        tasks.spawn(attack(field.clone(), n));
    }
}

impl Field {
    fn goes_on(&self) -> bool {
        !*self.stopped.borrow()
    }

    /// Whatever is under way is dropped when the attack is over.
    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut stopped = self.stopped.clone();
        tokio::select! {
            done = work => Some(done),
            _ = stopped.wait_for(|stop| *stop) => None,
        }
    }
}

/// Connects, sends the first bytes of a CONNECT, and waits to be thrown out.
async fn silent(field: Field, length: usize) -> u64 {
    let connect = Connect::new(Version::V5, "bank-a").packet();
    let mut count = 0;
    while field.goes_on() {
        let Some(mut stream) = open(field.address, None).await else {
            tokio::time::sleep(MOMENT).await;
            continue;
        };
        count += 1;
        let _ = stream.write_all(&connect[..length]).await;
        field.unless_stopped(stream.read(&mut [0])).await;
    }
    count
}

/// Publishes as fast as the socket takes it.
async fn flood(
    field: Field,
    device: &'static str,
    first: u8,
    event: fn(u32, u64) -> Vec<u8>,
) -> u64 {
    let topic = format!("linli/v1/{device}/event");
    let (mut count, mut boot) = (0_u64, 0);
    while field.goes_on() {
        let Some(stream) = login(field.address, None, device, None).await else {
            tokio::time::sleep(MOMENT).await;
            continue;
        };
        boot += 1;
        let (mut reader, mut writer) = stream.into_split();
        let drain =
            tokio::spawn(async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await });
        for round in 0_u64.. {
            let batch: Vec<u8> = (1..=64)
                .flat_map(|n| {
                    let payload = event(boot, round * 64 + n);
                    let id = u16::try_from(n).unwrap();
                    publish_with(Version::V5, topic.as_bytes(), first, id, &[], &payload)
                })
                .collect();
            match field.unless_stopped(writer.write_all(&batch)).await {
                Some(Ok(())) => count += 64,
                _ => break,
            }
        }
        drop(writer);
        drain.abort();
    }
    count
}

/// Packets as large as may be, at full speed; larger ones; and some that come by the drop.
async fn giants(field: Field, n: usize) -> u64 {
    let mut count = 0;
    while field.goes_on() {
        // One id: they also throw each other out.
        let Some(mut stream) = login(field.address, None, "giant-1", None).await else {
            tokio::time::sleep(MOMENT).await;
            continue;
        };
        let largest = publish_with(
            Version::V5,
            b"linli/v1/giant-1/event",
            0x32,
            7,
            &[],
            &vec![b'['; 65_000],
        );
        let attack = async {
            let mut sent = 0;
            match n {
                0 => {
                    while stream.write_all(&largest).await.is_ok() {
                        sent += 1;
                    }
                }
                1 => {
                    let _ = stream
                        .write_all(b"\x32\xff\xff\xff\x7f\x00\x16linli/v1/giant-1/event")
                        .await;
                    while stream.write_all(&[0; 8192]).await.is_ok() {
                        sent += 1;
                    }
                }
                _ => {
                    for drop in largest.chunks(64) {
                        if stream.write_all(drop).await.is_err() {
                            break;
                        }
                        sent += 1;
                        tokio::time::sleep(MOMENT).await;
                    }
                }
            }
            sent
        };
        count += 1 + field.unless_stopped(attack).await.unwrap_or(0);
    }
    count
}

/// Has much sent to itself and reads nothing.
async fn slow_reader(field: Field) -> u64 {
    let mut count = 0;
    while field.goes_on() {
        let Some(mut stream) = login(field.address, None, "slow-1", None).await else {
            tokio::time::sleep(MOMENT).await;
            continue;
        };
        let attack = async {
            for channel in ["status", "receipt", "command"] {
                stream
                    .write_all(&subscribe(
                        Version::V5,
                        &format!("linli/v1/slow-1/{channel}"),
                    ))
                    .await?;
            }
            for seq in 1.. {
                let status = publish_with(
                    Version::V5,
                    b"linli/v1/slow-1/status",
                    0x32,
                    7,
                    &[],
                    b"online",
                );
                let event = publish_with(
                    Version::V5,
                    b"linli/v1/slow-1/event",
                    0x32,
                    8,
                    &[],
                    &event(1, seq),
                );
                stream
                    .write_all(&[status, event, b"\xc0\x00".to_vec()].concat())
                    .await?;
                count += 1;
            }
            std::io::Result::Ok(())
        };
        let _ = field.unless_stopped(attack).await;
    }
    count
}

/// Hundreds of devices come with a will and are gone without a word, all at once, again and again.
async fn wills(field: Field) -> u64 {
    let mut count = 0;
    while field.goes_on() {
        let mut logins = JoinSet::new();
        for n in 1..=STORM {
            let field = field.clone();
            logins.spawn(async move {
                let device = format!("storm-{n}");
                let mut connect = Connect::new(Version::V5, &device);
                (connect.username, connect.password) = (None, None);
                let status = format!("linli/v1/{device}/status").into_bytes();
                connect.will = Some((status, b"offline".to_vec()));
                enter(field.address, None, &connect).await
            });
        }
        let mut inside = Vec::new();
        while let Some(Some(entered)) = field.unless_stopped(logins.join_next()).await {
            inside.extend(entered.unwrap());
        }
        count += inside.len() as u64;
    }
    count
}

/// Guesses at passwords from an address of its own.
async fn wrong_passwords(field: Field, from: usize, n: usize) -> u64 {
    let from = Ipv4Addr::new(127, 0, 0, u8::try_from(from).unwrap());
    let mut count = 0;
    while field.goes_on() {
        let device = format!("locked-{}", 1 + (n + count as usize) % LOCKED);
        let guess = format!("guess-{n}-{count}");
        field
            .unless_stopped(login(field.address, Some(from), &device, Some(&guess)))
            .await;
        count += 1;
    }
    count
}

/// Subscribes to what it may and mayn't, and takes it back, without waiting for an answer.
async fn subscriptions(field: Field) -> u64 {
    let mut count = 0;
    while field.goes_on() {
        let Some(stream) = login(field.address, None, "topics-1", None).await else {
            tokio::time::sleep(MOMENT).await;
            continue;
        };
        let (mut reader, mut writer) = stream.into_split();
        let drain =
            tokio::spawn(async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await });
        for n in 0.. {
            let own = "linli/v1/topics-1/status";
            let foreign = format!("linli/v1/door-{n}/command");
            let undo = [&[0, 9, 0][..], &string(own.as_bytes())].concat();
            let packets = [
                subscribe(Version::V5, own),
                subscribe(Version::V5, &foreign),
                subscribe(Version::V5, "#"),
                framed(0xa2, &undo),
            ];
            match field
                .unless_stopped(writer.write_all(&packets.concat()))
                .await
            {
                Some(Ok(())) => count += 4,
                _ => break,
            }
        }
        drop(writer);
        drain.abort();
    }
    count
}

/// One id, from ten sides, again and again.
async fn reconnects(field: Field) -> u64 {
    let mut count = 0;
    while field.goes_on() {
        let entered = login(field.address, None, "again-1", None);
        if field.unless_stopped(entered).await.flatten().is_some() {
            count += 1;
        }
    }
    count
}

/// A resident who comes home.
pub fn event(boot: u32, seq: u64) -> Vec<u8> {
    wire::encode(&[one(boot, seq, home())], Form::Cbor)
}

/// 32 of them, the `n`-th array from 1.
fn events(boot: u32, n: u64) -> Vec<u8> {
    let events: Vec<Event> = (n * 32 - 31..=n * 32)
        .map(|seq| one(boot, seq, home()))
        .collect();
    wire::encode(&events, Form::Cbor)
}

fn home() -> Kind {
    Kind::Access {
        door: ident("door-1"),
        outcome: Outcome::Granted,
        direction: Some(Direction::In),
        method: None,
        credential: None,
    }
}

fn alarm(boot: u32, seq: u64) -> Vec<u8> {
    let alarm = "tamper".to_owned();
    let kind = Kind::Alarm { alarm, text: None };
    wire::encode(&[one(boot, seq, kind)], Form::Cbor)
}

fn one(boot: u32, seq: u64, kind: Kind) -> Event {
    Event {
        boot,
        seq,
        when: When::Unsaid,
        kind,
    }
}

/// Connects and logs in. `None`: not let in, whyever.
pub async fn login(
    address: SocketAddr,
    from: Option<Ipv4Addr>,
    device: &str,
    password: Option<&str>,
) -> Option<TcpStream> {
    let mut connect = Connect::new(Version::V5, device);
    connect.password = password.map(Into::into);
    if password.is_none() {
        connect.username = None;
    }
    enter(address, from, &connect).await
}

async fn enter(
    address: SocketAddr,
    from: Option<Ipv4Addr>,
    connect: &Connect,
) -> Option<TcpStream> {
    let mut stream = open(address, from).await?;
    stream.write_all(&connect.packet()).await.ok()?;
    let mut answer = [0; 4];
    let read = timeout(Duration::from_secs(30), stream.read_exact(&mut answer)).await;
    read.ok()?.ok()?;
    let mut rest = vec![0; usize::from(answer[1]).checked_sub(2)?];
    stream.read_exact(&mut rest).await.ok()?;
    (answer[0] == 0x20 && answer[3] == 0).then_some(stream)
}

async fn open(address: SocketAddr, from: Option<Ipv4Addr>) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    if let Some(from) = from {
        socket.bind(SocketAddr::from((from, 0))).ok()?;
    }
    let stream = timeout(Duration::from_secs(10), socket.connect(address))
        .await
        .ok()?
        .ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}

/// Thousands of sockets at both ends.
pub fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(16_384), hard).unwrap();
}
