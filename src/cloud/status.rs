//! How it goes with the cloud, for a person: shared by the loops, read by the technician's CLI.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cloud_protocol::{Acked, Batch, DownlinkItem, Lane};
use firmware_protocols::Ident;
use serde::Serialize;

use super::failure::Failure;
use super::views::{CertificateView, LineView};

/// The shared status. Reading it costs a lock and a copy.
#[derive(Debug, Default)]
pub struct CloudStatus(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    snapshot: CloudSnapshot,
    /// The two tracks of the uplink, which are shown as one.
    fulfilment: Direction,
    rest: Direction,
}

/// How it stands. All times are ms since the Unix epoch by the gateway's clock.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CloudSnapshot {
    /// The cloud's URL; `None` before the sync client runs.
    pub url: Option<String>,
    /// The gateway's name there.
    pub gateway: Option<String>,
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
    /// Bytes to the cloud since the start, for whatever purpose.
    pub bytes_sent: u64,
    /// Bytes from it.
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

/// How the uplink or the downlink fares.
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

/// Which of the loops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The uplink of fulfilment.
    Fulfilment,
    /// The uplink of health and demand.
    Rest,
    /// The downlink.
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
        self.lock().snapshot.clone()
    }

    /// Changes what is shown of the enrolment, the clock and the certificates.
    pub(super) fn show(&self, change: impl FnOnce(&mut CloudSnapshot)) {
        change(&mut self.lock().snapshot);
    }

    pub(super) fn started(&self, url: &str, gateway: &Ident) {
        let status = &mut self.lock().snapshot;
        status.url = Some(url.to_string());
        status.gateway = Some(gateway.to_string());
    }

    pub(super) fn succeeded(&self, way: Way) {
        self.reached(way);
        self.lock()
            .change(way, |direction| direction.last_success_ms = Some(now_ms()));
    }

    /// The cloud answered, be it with a refusal of one lane.
    pub(super) fn reached(&self, way: Way) {
        let mut status = self.lock();
        status
            .snapshot
            .connected_since_ms
            .get_or_insert_with(now_ms);
        status.change(way, |direction| {
            direction.failures = 0;
            direction.next_try_ms = None;
            direction.remedy = None;
            direction.remedy_since_ms = None;
        });
    }

    pub(super) fn failed(&self, way: Way, failure: &Failure, next_try: Duration) {
        let now = now_ms();
        let mut status = self.lock();
        if !failure.reached() {
            status.snapshot.connected_since_ms = None;
        }
        status.change(way, |direction| {
            direction.last_error = Some(failure.to_string());
            let remedy = failure.remedy();
            if direction.remedy != remedy {
                direction.remedy_since_ms = remedy.map(|_| now);
            }
            direction.remedy = remedy;
            direction.last_error_ms = Some(now);
            direction.failures = direction.failures.saturating_add(1);
            direction.next_try_ms = Some(now.saturating_add(ms(next_try)));
        });
    }

    pub(super) fn trying(&self, way: Way) {
        self.lock()
            .change(way, |direction| direction.next_try_ms = None);
    }

    /// Whether a lane doesn't go on: the cloud refuses it, or its track fails.
    pub(super) fn is_stuck(&self, way: Way, lane: Lane) -> bool {
        let status = self.lock();
        let held = status.snapshot.held.iter();
        status.direction(way).failures > 0 || held.into_iter().any(|h| h.lane == lane.name())
    }

    /// The cloud wants to be left alone for so long.
    pub(super) fn quiet(&self, pause: Duration) {
        let until = now_ms().saturating_add(ms(pause));
        self.line(|line| line.quiet_until_ms = line.quiet_until_ms.max(Some(until)));
    }

    /// Changes what is shown of the line.
    pub(super) fn line(&self, change: impl FnOnce(&mut LineView)) {
        change(&mut self.lock().snapshot.line);
    }

    pub(super) fn holds(&self, lane: Lane, what: String, remedy: &'static str) {
        let lane = lane.name();
        let status = &mut self.lock().snapshot;
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
        let status = &mut self.lock().snapshot;
        status.batches_sent += 1;
        for (lane, part) in &batch.lanes {
            status.items_sent += part.items.len() as u64;
            status.held.retain(|held| held.lane != lane.name());
        }
        for (lane, seq) in &acked.0 {
            status.acked.insert(lane.name(), *seq);
        }
    }

    /// A new epoch: what the cloud refused of the old one is over.
    pub(super) fn no_lane_is_held(&self) {
        self.lock().snapshot.held.clear();
    }

    pub(super) fn received(&self, items: &[DownlinkItem]) {
        let status = &mut self.lock().snapshot;
        status.items_received += items.len() as u64;
        if let Some(last) = items.last() {
            status.downlink_cursor = last.seq;
        }
    }

    pub(super) fn cursor(&self, cursor: u64) {
        self.lock().snapshot.downlink_cursor = cursor;
    }

    pub(super) fn backlog(&self, backlog: Option<BTreeMap<Lane, u64>>) {
        self.lock().snapshot.backlog = backlog.map(|lanes| {
            let named = lanes.into_iter().map(|(lane, n)| (lane.name(), n));
            named.collect()
        });
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn direction(&self, way: Way) -> &Direction {
        match way {
            Way::Fulfilment => &self.fulfilment,
            Way::Rest => &self.rest,
            Way::Down => &self.snapshot.downlink,
        }
    }

    fn change(&mut self, way: Way, change: impl FnOnce(&mut Direction)) {
        match way {
            Way::Fulfilment => change(&mut self.fulfilment),
            Way::Rest => change(&mut self.rest),
            Way::Down => return change(&mut self.snapshot.downlink),
        }
        self.snapshot.uplink = both(&self.fulfilment, &self.rest);
    }
}

/// Two tracks as one: what fails shows, of two that fail the one that failed last.
fn both(one: &Direction, other: &Direction) -> Direction {
    let rank = |track: &Direction| (track.failures > 0, track.last_error_ms);
    let (shown, hidden) = match rank(one) >= rank(other) {
        true => (one, other),
        false => (other, one),
    };
    Direction {
        last_success_ms: shown.last_success_ms.max(hidden.last_success_ms),
        failures: shown.failures.max(hidden.failures),
        remedy: shown.remedy.or(hidden.remedy),
        remedy_since_ms: shown.remedy_since_ms.or(hidden.remedy_since_ms),
        next_try_ms: shown.next_try_ms.or(hidden.next_try_ms),
        last_error: shown.last_error.clone(),
        last_error_ms: shown.last_error_ms,
    }
}

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_two_tracks_the_one_that_fails_shows() {
        let status = CloudStatus::new();
        let odd = |words: &str| Failure::Odd(words.to_string());
        status.failed(Way::Rest, &odd("rest"), Duration::from_secs(9));
        status.succeeded(Way::Fulfilment);
        let uplink = status.snapshot().uplink;
        assert_eq!(uplink.failures, 1);
        assert_eq!(uplink.last_error.as_deref(), Some("rest"));
        assert!(uplink.remedy.is_some() && uplink.next_try_ms.is_some());
        assert!(uplink.last_success_ms.is_some());
        status.failed(Way::Fulfilment, &odd("parcels"), Duration::ZERO);
        status.failed(Way::Fulfilment, &odd("parcels"), Duration::ZERO);
        status.succeeded(Way::Rest);
        let uplink = status.snapshot().uplink;
        assert_eq!(uplink.failures, 2);
        assert_eq!(uplink.last_error.as_deref(), Some("parcels"));
        status.succeeded(Way::Fulfilment);
        let uplink = status.snapshot().uplink;
        assert_eq!((uplink.failures, uplink.remedy), (0, None));
    }
}
