//! How it goes with the cloud, for a person: shared by the two loops, read by the technician's CLI.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cloud_protocol::{Acked, Batch, DownlinkItem, Lane};
use serde::Serialize;

use super::failure::Failure;
use super::views::{CertificateView, LineView};

/// The shared status. Reading it costs a lock and a copy.
#[derive(Debug, Default)]
pub struct CloudStatus(Mutex<CloudSnapshot>);

/// How it stands. All times are ms since the Unix epoch by the gateway's clock.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CloudSnapshot {
    /// The cloud's URL; `None` before the sync client runs.
    pub url: Option<String>,
    /// Since when every attempt to reach the cloud has been answered; `None` while it can't be reached.
    pub connected_since_ms: Option<i64>,
    /// How the uplink fares.
    pub uplink: Direction,
    /// How the downlink fares.
    pub downlink: Direction,
    /// Lanes that the cloud refuses, while the others go on.
    pub held: Vec<HeldLane>,
    /// Items that wait, by lane, as of the last attempt.
    pub backlog: Option<BTreeMap<&'static str, u64>>,
    /// The last item that the cloud has, by lane, as far as heard since the start.
    pub acked: BTreeMap<&'static str, u64>,
    /// The last downlink item that was taken.
    pub downlink_cursor: u64,
    /// Batches that were acknowledged.
    pub batches_sent: u64,
    /// Items in them.
    pub items_sent: u64,
    /// Items taken from the downlink.
    pub items_received: u64,
    /// Bytes of request bodies, sent again or not.
    pub bytes_sent: u64,
    /// Bytes of answer bodies.
    pub bytes_received: u64,
    /// Since when the gateway has been enrolled at this cloud; `None` while it isn't.
    pub enrolled_since_ms: Option<i64>,
    /// Since when its key has been in force.
    pub key_since_ms: Option<i64>,
    /// Whether a change of its key has begun and the cloud hasn't taken the new one yet.
    pub key_changing: bool,
    /// How far this box's clock is behind the cloud's (below 0: ahead), ms, as last heard.
    pub skew_ms: Option<i64>,
    /// The certificates in use that end some day: the gateway's own, the pinned authorities', the
    /// cloud's.
    pub certificates: Vec<CertificateView>,
    /// The line.
    pub line: LineView,
}

/// How one of the two loops fares.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Direction {
    /// The last success.
    pub last_success_ms: Option<i64>,
    /// The last failure, in words.
    pub last_error: Option<String>,
    /// When it was.
    pub last_error_ms: Option<i64>,
    /// What a person can do about it; `None` when it is over, or when waiting is all.
    pub remedy: Option<&'static str>,
    /// Since when that remedy has been called for.
    pub remedy_since_ms: Option<i64>,
    /// Failures since the last success.
    pub failures: u32,
    /// When it tries again, if it waits for that; the return of the network may come before.
    pub next_try_ms: Option<i64>,
}

/// A lane that the cloud refuses; it is tried again now and then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldLane {
    /// Which.
    pub lane: &'static str,
    /// What is wrong.
    pub what: String,
    /// What a person can do about it.
    pub remedy: &'static str,
    /// Since when.
    pub since_ms: i64,
}

/// Which of the two loops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
}

impl CloudStatus {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How it stands.
    #[must_use]
    pub fn snapshot(&self) -> CloudSnapshot {
        self.lock().clone()
    }

    pub(super) fn started(&self, url: &str) {
        self.lock().url = Some(url.to_string());
    }

    pub(super) fn succeeded(&self, way: Way) {
        self.reached(way);
        self.lock().direction(way).last_success_ms = Some(now_ms());
    }

    /// The cloud answered, be it with a refusal of one lane.
    pub(super) fn reached(&self, way: Way) {
        let mut status = self.lock();
        status.connected_since_ms.get_or_insert_with(now_ms);
        let direction = status.direction(way);
        direction.failures = 0;
        direction.next_try_ms = None;
        direction.remedy = None;
        direction.remedy_since_ms = None;
    }

    pub(super) fn failed(&self, way: Way, failure: &Failure, next_try: Duration) {
        let now = now_ms();
        let mut status = self.lock();
        if !failure.reached() {
            status.connected_since_ms = None;
        }
        let direction = status.direction(way);
        direction.last_error = Some(failure.to_string());
        let remedy = failure.remedy();
        if direction.remedy != remedy {
            direction.remedy_since_ms = remedy.map(|_| now);
        }
        direction.remedy = remedy;
        direction.last_error_ms = Some(now);
        direction.failures = direction.failures.saturating_add(1);
        let pause_ms = i64::try_from(next_try.as_millis()).unwrap_or(i64::MAX);
        direction.next_try_ms = Some(now.saturating_add(pause_ms));
    }

    pub(super) fn trying(&self, way: Way) {
        self.lock().direction(way).next_try_ms = None;
    }

    pub(super) fn holds(&self, lane: Lane, what: String, remedy: &'static str) {
        let lane = lane.name();
        let mut status = self.lock();
        match status.held.iter_mut().find(|held| held.lane == lane) {
            Some(held) => {
                held.what = what;
                held.remedy = remedy;
            }
            None => status.held.push(HeldLane {
                lane,
                what,
                remedy,
                since_ms: now_ms(),
            }),
        }
    }

    pub(super) fn acknowledged(&self, batch: &Batch, acked: &Acked) {
        let mut status = self.lock();
        status.batches_sent += 1;
        for (lane, part) in &batch.lanes {
            status.items_sent += part.items.len() as u64;
            status.held.retain(|held| held.lane != lane.name());
        }
        for (lane, seq) in &acked.0 {
            status.acked.insert(lane.name(), *seq);
        }
    }

    pub(super) fn received(&self, items: &[DownlinkItem]) {
        let mut status = self.lock();
        status.items_received += items.len() as u64;
        if let Some(last) = items.last() {
            status.downlink_cursor = last.seq;
        }
    }

    pub(super) fn cursor(&self, cursor: u64) {
        self.lock().downlink_cursor = cursor;
    }

    pub(super) fn backlog(&self, backlog: Option<BTreeMap<Lane, u64>>) {
        self.lock().backlog = backlog.map(|lanes| {
            let named = lanes.into_iter().map(|(lane, n)| (lane.name(), n));
            named.collect()
        });
    }

    pub(super) fn sent_bytes(&self, n: usize) {
        self.lock().bytes_sent += n as u64;
    }

    pub(super) fn received_bytes(&self, n: usize) {
        self.lock().bytes_received += n as u64;
    }

    fn lock(&self) -> MutexGuard<'_, CloudSnapshot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CloudSnapshot {
    fn direction(&mut self, way: Way) -> &mut Direction {
        match way {
            Way::Up => &mut self.uplink,
            Way::Down => &mut self.downlink,
        }
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}
