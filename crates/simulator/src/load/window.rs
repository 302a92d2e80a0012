//! What a connection of a load has on its way: what is published next, and what became of it. No
//! I/O in here: bytes to send are put into a buffer, answers are handed in.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use firmware_protocols::event::{When, encode};
use firmware_protocols::topic::Channel;
use firmware_protocols::{Event, Receipt};
use tokio::sync::watch;

use super::wire;
use super::{Figures, Shared, Until};
use crate::{Login, Promise};

/// The most publications kept until a receipt comes; then nothing new is published.
const UNRECEIPTED_MAX: usize = 10_000;
/// How soon a full disk is asked again.
const PAUSE_FULL: Duration = Duration::from_millis(50);
const QUOTA_EXCEEDED: u8 = 0x97;

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

/// The publications of one connection.
pub(super) struct Window {
    pub(super) shared: Arc<Shared>,
    pub(super) login: Login,
    pub(super) stopped: watch::Receiver<bool>,
    pub(super) figures: Figures,
    /// Since when nothing new is published.
    pub(super) stopping: Option<Instant>,
    topic: String,
    begun: Instant,
    size: usize,
    pending: VecDeque<Pending>,
    next_seq: u64,
    next_pkid: u16,
    /// Publications on their way to the broker.
    in_flight: usize,
    /// Publications to be sent, now or later.
    to_send: usize,
}

impl Window {
    pub(super) fn new(shared: Arc<Shared>, login: Login, stopped: watch::Receiver<bool>) -> Self {
        Self {
            topic: Channel::Event.topic(&login.device),
            begun: Instant::now(),
            size: usize::from(shared.spec.window.max(1)),
            pending: VecDeque::new(),
            next_seq: 1,
            next_pkid: 0,
            in_flight: 0,
            to_send: 0,
            stopping: None,
            figures: Figures::default(),
            shared,
            login,
            stopped,
        }
    }

    /// A new connection is up: everything pending is to be sent on it, at most `receive_maximum`
    /// at a time.
    pub(super) fn start_over(&mut self, receive_maximum: Option<u16>) {
        let most = usize::from(receive_maximum.unwrap_or(u16::MAX));
        self.size = usize::from(self.shared.spec.window.max(1)).min(most);
        for pending in &mut self.pending {
            pending.way = Way::ToSend;
        }
        self.to_send = self.pending.len();
        self.in_flight = 0;
    }

    /// Puts into the output what the window takes; returns how long to wait for the next at most.
    pub(super) fn fill(&mut self, out: &mut BytesMut) -> Duration {
        let now = Instant::now();
        let mut wait = Duration::from_secs(1);
        let mut left = self.to_send;
        for index in 0..self.pending.len() {
            if left == 0 || self.in_flight >= self.size {
                break;
            }
            match self.pending.get(index).map(|pending| pending.way) {
                Some(Way::Later(then)) if then > now => wait = wait.min(then - now),
                Some(Way::ToSend | Way::Later(_)) => self.send(index, now, out),
                _ => continue,
            }
            left -= 1;
        }
        while self.in_flight < self.size && self.pending.len() < UNRECEIPTED_MAX {
            match self.next_due(now) {
                Due::Now => {
                    self.make();
                    self.send(self.pending.len() - 1, now, out);
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

    /// Makes the next publication.
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

    fn send(&mut self, index: usize, now: Instant, out: &mut BytesMut) {
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
        wire::publish(out, version, self.next_pkid, &self.topic, &pending.payload);
        self.in_flight += 1;
        self.to_send = self.to_send.saturating_sub(1);
    }

    /// A PUBACK: what it settles is added to the record's `lines`.
    pub(super) fn acknowledge(&mut self, pkid: u16, reason: u8, lines: &mut String) {
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
            pending.way = Way::Later(Instant::now() + PAUSE_FULL);
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

    /// A receipt, likewise.
    pub(super) fn receipt(&mut self, payload: &[u8], lines: &mut String) {
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
    pub(super) fn ended(&mut self) -> bool {
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

    /// What came of it.
    pub(super) fn close(mut self) -> Figures {
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
