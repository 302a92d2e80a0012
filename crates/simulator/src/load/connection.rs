//! One connection of a load: fills its window, reads the answers, and starts over when it is lost.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use firmware_protocols::event::{When, encode};
use firmware_protocols::topic::Channel;
use firmware_protocols::{Event, Receipt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::wire::{self, Incoming};
use super::{Figures, Shared, Until};
use crate::{Login, Promise};

/// The most publications kept until a receipt comes; then nothing new is published.
const UNRECEIPTED_MAX: usize = 10_000;
/// How often a lost connection is tried again, and a full disk is asked again.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a broker may take for a login.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE_S: u16 = 60;
const QUOTA_EXCEEDED: u8 = 0x97;

/// Runs the connection of login number `index` to the end of the load.
pub(super) async fn run(
    shared: Arc<Shared>,
    index: usize,
    stopped: watch::Receiver<bool>,
) -> io::Result<Figures> {
    let Some(login) = shared.spec.logins.get(index).cloned() else {
        return Ok(Figures::default());
    };
    let mut connection = Connection {
        event_topic: Channel::Event.topic(&login.device),
        receipt_topic: Channel::Receipt.topic(&login.device),
        begun: Instant::now(),
        window: usize::from(shared.spec.window.max(1)),
        pending: VecDeque::new(),
        next_seq: 1,
        next_pkid: 0,
        in_flight: 0,
        to_send: 0,
        stopping: None,
        figures: Figures::default(),
        out: BytesMut::new(),
        login,
        shared,
        stopped,
    };
    while !connection.ended() {
        match connection.connected().await {
            Ok(()) => break,
            Err(Lost::Record(error)) => return Err(error),
            Err(Lost::Connection) => {
                connection.figures.lost += 1;
                if !connection.shared.spec.reconnect {
                    break;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    Ok(connection.close())
}

/// Why a connection ended before its work was done.
enum Lost {
    Connection,
    Record(io::Error),
}

impl From<wire::NotMqtt> for Lost {
    fn from(_: wire::NotMqtt) -> Self {
        Self::Connection
    }
}

/// A publication that isn't acknowledged.
struct Pending {
    first: u64,
    count: u64,
    payload: Vec<u8>,
    sent: Option<Instant>,
    way: Way,
}

/// How far a publication is on its way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// To be sent, again perhaps.
    ToSend,
    /// To be sent again, but not before then.
    Later(Instant),
    /// Its PUBACK is due.
    InFlight(u16),
    /// The broker has it; the gateway's receipt is due.
    AtBroker,
}

struct Connection {
    shared: Arc<Shared>,
    login: Login,
    event_topic: String,
    receipt_topic: String,
    stopped: watch::Receiver<bool>,
    begun: Instant,
    window: usize,
    pending: VecDeque<Pending>,
    next_seq: u64,
    next_pkid: u16,
    /// Publications on their way to the broker.
    in_flight: usize,
    /// Publications to be sent, now or later.
    to_send: usize,
    stopping: Option<Instant>,
    figures: Figures,
    out: BytesMut,
}

impl Connection {
    /// From login to the end of the load, or to the loss of the connection.
    async fn connected(&mut self) -> Result<(), Lost> {
        let lost = |_| Lost::Connection;
        let mut stream = TcpStream::connect(self.shared.spec.broker)
            .await
            .map_err(lost)?;
        stream.set_nodelay(true).map_err(lost)?;
        let mut input = BytesMut::with_capacity(4_096);
        timeout(LOGIN_TIMEOUT, self.log_in(&mut stream, &mut input))
            .await
            .map_err(|_| Lost::Connection)??;
        for pending in &mut self.pending {
            pending.way = Way::ToSend;
        }
        self.to_send = self.pending.len();
        self.in_flight = 0;
        let mut pinged = Instant::now();
        let mut stopped = self.stopped.clone();
        while !self.ended() {
            let due = self.fill();
            if pinged.elapsed().as_secs() > u64::from(KEEP_ALIVE_S) / 2 {
                wire::ping(&mut self.out);
                pinged = Instant::now();
            }
            if !self.out.is_empty() {
                stream.write_all(&self.out).await.map_err(lost)?;
                self.out.clear();
            }
            tokio::select! {
                read = stream.read_buf(&mut input) => {
                    if read.map_err(lost)? == 0 {
                        return Err(Lost::Connection);
                    }
                    self.take_in(&mut input)?;
                }
                () = tokio::time::sleep(due) => {}
                _ = stopped.changed(), if self.stopping.is_none() => {}
            }
        }
        wire::disconnect(&mut self.out);
        let _ = stream.write_all(&self.out).await;
        Ok(())
    }

    async fn log_in(&mut self, stream: &mut TcpStream, input: &mut BytesMut) -> Result<(), Lost> {
        let version = self.shared.spec.version;
        self.out.clear();
        wire::connect(&mut self.out, version, &self.login, KEEP_ALIVE_S);
        let receipts = self.shared.spec.promise == Promise::Receipt;
        if receipts {
            wire::subscribe(&mut self.out, version, u16::MAX, &self.receipt_topic);
        }
        let written = stream.write_all(&self.out).await;
        written.map_err(|_| Lost::Connection)?;
        self.out.clear();
        loop {
            while let Some(incoming) = wire::next(input, version)? {
                match incoming {
                    Incoming::ConnAck {
                        code: 0,
                        receive_maximum,
                    } => {
                        let most = usize::from(receive_maximum.unwrap_or(u16::MAX));
                        self.window = usize::from(self.shared.spec.window.max(1)).min(most);
                        if !receipts {
                            return Ok(());
                        }
                    }
                    Incoming::SubAck { code } if code < 0x80 && receipts => return Ok(()),
                    _ => return Err(Lost::Connection),
                }
            }
            let read = stream.read_buf(input).await;
            if read.map_err(|_| Lost::Connection)? == 0 {
                return Err(Lost::Connection);
            }
        }
    }

    /// Puts into the output what the window takes; returns how long to wait for the next at most.
    fn fill(&mut self) -> Duration {
        let now = Instant::now();
        let mut wait = Duration::from_secs(1);
        let mut left = self.to_send;
        for index in 0..self.pending.len() {
            if left == 0 || self.in_flight >= self.window {
                break;
            }
            match self.pending.get(index).map(|pending| pending.way) {
                Some(Way::Later(then)) if then > now => wait = wait.min(then - now),
                Some(Way::ToSend | Way::Later(_)) => self.send(index, now),
                _ => continue,
            }
            left -= 1;
        }
        while self.in_flight < self.window && self.pending.len() < UNRECEIPTED_MAX {
            match self.next_due(now) {
                Due::Now => {
                    self.make();
                    self.send(self.pending.len() - 1, now);
                }
                Due::In(left) => return wait.min(left),
                Due::Never => break,
            }
        }
        wait
    }

    fn next_due(&mut self, now: Instant) -> Due {
        if *self.stopped.borrow() {
            self.stopping.get_or_insert(now);
        }
        match self.shared.spec.until {
            Until::Events(most) if self.next_seq > most => {
                self.stopping.get_or_insert(now);
            }
            Until::Elapsed(most) if now.duration_since(self.begun) >= most => {
                self.stopping.get_or_insert(now);
            }
            _ => {}
        }
        if self.stopping.is_some() {
            return Due::Never;
        }
        let Some(rate) = self.shared.spec.rate else {
            return Due::Now;
        };
        let mine = rate / self.shared.spec.logins.len().max(1) as f64;
        let at = self.begun + Duration::from_secs_f64((self.next_seq - 1) as f64 / mine.max(1e-6));
        if at <= now {
            Due::Now
        } else {
            Due::In(at - now)
        }
    }

    fn make(&mut self) {
        let spec = &self.shared.spec;
        let mut count = u64::from(spec.per_payload.clamp(1, 256));
        if let Until::Events(most) = spec.until {
            count = count.min(most.saturating_sub(self.next_seq) + 1);
        }
        let events: Vec<Event> = (self.next_seq..self.next_seq + count)
            .map(|seq| Event {
                boot: spec.boot,
                seq,
                when: When::Unsaid,
                kind: (spec.event)(&self.login.device, seq),
            })
            .collect();
        self.pending.push_back(Pending {
            first: self.next_seq,
            count,
            payload: encode(&events, spec.form),
            sent: None,
            way: Way::ToSend,
        });
        self.to_send += 1;
        self.next_seq += count;
        self.figures.published += count;
        self.shared.published.fetch_add(count, Ordering::Relaxed);
    }

    fn send(&mut self, index: usize, now: Instant) {
        let version = self.shared.spec.version;
        // 65,535 belongs to the subscription; a window is always smaller than the rest.
        self.next_pkid = self.next_pkid % (u16::MAX - 1) + 1;
        let Some(pending) = self.pending.get_mut(index) else {
            return;
        };
        if pending.sent.is_some() {
            self.figures.resent += pending.count;
        }
        pending.way = Way::InFlight(self.next_pkid);
        pending.sent = Some(now);
        wire::publish(
            &mut self.out,
            version,
            self.next_pkid,
            &self.event_topic,
            &pending.payload,
        );
        self.in_flight += 1;
        self.to_send = self.to_send.saturating_sub(1);
    }

    fn take_in(&mut self, input: &mut BytesMut) -> Result<(), Lost> {
        let mut lines = String::new();
        let mut broken = None;
        loop {
            match wire::next(input, self.shared.spec.version) {
                Ok(None) => break,
                Ok(Some(Incoming::PubAck { pkid, reason })) => {
                    self.acknowledge(pkid, reason, &mut lines);
                }
                Ok(Some(Incoming::Publish { pkid, payload })) => {
                    self.receipt(&payload, &mut lines);
                    if let Some(pkid) = pkid {
                        wire::puback(&mut self.out, pkid);
                    }
                }
                Ok(Some(Incoming::Disconnect)) => {
                    broken = Some(Lost::Connection);
                    break;
                }
                Ok(Some(_)) => {}
                Err(error) => {
                    broken = Some(error.into());
                    break;
                }
            }
        }
        // What was acknowledged before a connection broke was acknowledged.
        if !lines.is_empty() {
            self.shared.write(&lines).map_err(Lost::Record)?;
        }
        broken.map_or(Ok(()), Err)
    }

    fn acknowledge(&mut self, pkid: u16, reason: u8, lines: &mut String) {
        let due = Way::InFlight(pkid);
        let Some(index) = self.pending.iter().position(|p| p.way == due) else {
            return;
        };
        self.in_flight = self.in_flight.saturating_sub(1);
        let receipts = self.shared.spec.promise == Promise::Receipt;
        let Some(pending) = self.pending.get_mut(index) else {
            return;
        };
        if reason == QUOTA_EXCEEDED {
            pending.way = Way::Later(Instant::now() + PAUSE);
            self.to_send += 1;
        } else if reason >= 0x80 {
            self.figures.refused += pending.count;
            self.pending.remove(index);
        } else if receipts {
            pending.way = Way::AtBroker;
        } else if let Some(pending) = self.pending.remove(index) {
            self.settle(&pending, lines);
        }
    }

    fn receipt(&mut self, payload: &[u8], lines: &mut String) {
        let Ok(receipt) = Receipt::decode(payload) else {
            return;
        };
        if receipt.boot != self.shared.spec.boot || self.shared.spec.promise != Promise::Receipt {
            return;
        }
        while let Some(pending) = self.pending.front() {
            if pending.first + pending.count - 1 > receipt.seq {
                break;
            }
            if let Some(pending) = self.pending.pop_front() {
                match pending.way {
                    Way::InFlight(_) => self.in_flight = self.in_flight.saturating_sub(1),
                    Way::ToSend | Way::Later(_) => self.to_send = self.to_send.saturating_sub(1),
                    Way::AtBroker => {}
                }
                self.settle(&pending, lines);
            }
        }
    }

    fn settle(&mut self, pending: &Pending, lines: &mut String) {
        let now = Instant::now();
        if let Some(sent) = pending.sent {
            self.figures.latency.add(now.duration_since(sent));
            self.shared.widen(sent, now);
        }
        self.figures.acknowledged += pending.count;
        let shared = &self.shared;
        shared
            .acknowledged
            .fetch_add(pending.count, Ordering::Relaxed);
        if shared.record.is_some() {
            for seq in pending.first..pending.first + pending.count {
                let _ = writeln!(lines, "{} {} {seq}", self.login.device, shared.spec.boot);
            }
        }
    }

    /// Whether nothing more is to be published and nothing more is due, or waited for too long.
    fn ended(&mut self) -> bool {
        let now = Instant::now();
        if self.stopping.is_none() {
            let _ = self.next_due(now);
        }
        match self.stopping {
            None => false,
            Some(since) => {
                self.pending.is_empty() || now.duration_since(since) >= self.shared.spec.drain
            }
        }
    }

    fn close(mut self) -> Figures {
        let device = self.login.device.clone();
        let acknowledged = self.figures.acknowledged;
        self.figures.by_device.insert(device, acknowledged);
        self.figures
    }
}

enum Due {
    Now,
    In(Duration),
    Never,
}
