//! A load generator: many connections that publish events, at a rate or as fast as they are
//! acknowledged, and keep their own record of what was.
//!
//! The record is written as the acknowledgements come, one line `DEVICE BOOT SEQ` an event, so that
//! a test can kill the gateway at any moment and hold it to what it had promised.

mod connection;
mod window;
mod wire;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use firmware_protocols::event::{Direction, Method, Outcome, Secret};
use firmware_protocols::{Form, Ident, Kind};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Latency, Login, Promise, Version};

/// What to publish, to whom, how fast, for how long.
#[derive(Clone)]
pub struct Load {
    /// The broker.
    pub broker: SocketAddr,
    /// One connection each.
    pub logins: Vec<Login>,
    /// MQTT 3.1.1 or 5.
    pub version: Version,
    /// CBOR or JSON.
    pub form: Form,
    /// What counts as acknowledged.
    pub promise: Promise,
    /// The most publications in flight on a connection; less if the broker's receive maximum is.
    pub window: u16,
    /// Events in one publication, 1 to 256.
    pub per_payload: u16,
    /// Events per second over all connections; `None`: as fast as they are acknowledged.
    pub rate: Option<f64>,
    /// When to stop publishing. What is in flight then is still waited for, see `drain`.
    pub until: Until,
    /// Connect again after a lost connection, and send again what isn't acknowledged.
    pub reconnect: bool,
    /// The boot of every device. A later load on the same store needs another one.
    pub boot: u32,
    /// What the event of a device and a sequence number says.
    pub event: fn(&Ident, u64) -> Kind,
    /// Where the record is appended.
    pub record: Option<PathBuf>,
    /// How long to wait at the end for acknowledgements that are still due.
    pub drain: Duration,
}

/// When to stop publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// After so many events of each device.
    Events(u64),
    /// After so long.
    Elapsed(Duration),
    /// When [`Running::stop`] is called.
    Stopped,
}

/// What came of a load.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Events published, each counted once.
    pub published: u64,
    /// Events acknowledged, each counted once.
    pub acknowledged: u64,
    /// Events refused for good, by the reason code of MQTT 5.
    pub refused: u64,
    /// Events sent again: after a lost connection, or because the gateway's disk was full.
    pub resent: u64,
    /// Connections lost, or never made.
    pub lost: u64,
    /// From the first to the last acknowledgement over all connections.
    pub elapsed: Duration,
    /// From a publication to its acknowledgement.
    pub latency: Latency,
    /// Events acknowledged by device: all of 1 to n, unless some were refused.
    pub by_device: BTreeMap<Ident, u64>,
}

impl Figures {
    /// Events acknowledged per second.
    pub fn per_second(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 {
            self.acknowledged as f64 / seconds
        } else {
            0.0
        }
    }

    fn merge(&mut self, other: Self) {
        self.published += other.published;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.resent += other.resent;
        self.lost += other.lost;
        self.latency.merge(&other.latency);
        self.by_device.extend(other.by_device);
    }
}

impl Load {
    /// One event a publication, one publication in flight, MQTT 5, CBOR, as fast as acknowledged,
    /// until stopped; reconnects; no record.
    pub fn new(broker: SocketAddr, logins: Vec<Login>) -> Self {
        Self {
            broker,
            logins,
            version: Version::V5,
            form: Form::Cbor,
            promise: Promise::Puback,
            window: 1,
            per_payload: 1,
            rate: None,
            until: Until::Stopped,
            reconnect: true,
            boot: 1,
            event: someone_at_the_door,
            record: None,
            drain: Duration::from_secs(10),
        }
    }

    /// Starts it on the current tokio runtime.
    ///
    /// # Errors
    /// When the record can't be opened for appending.
    pub fn start(self) -> io::Result<Running> {
        let record = match &self.record {
            None => None,
            Some(path) => Some(OpenOptions::new().create(true).append(true).open(path)?),
        };
        let shared = Arc::new(Shared {
            record: record.map(Mutex::new),
            acknowledged: AtomicU64::new(0),
            published: AtomicU64::new(0),
            span: Mutex::new(None),
            spec: self,
        });
        let (stop, stopped) = watch::channel(false);
        let tasks = (0..shared.spec.logins.len())
            .map(|index| {
                let run = connection::run(Arc::clone(&shared), index, stopped.clone());
                tokio::spawn(run)
            })
            .collect();
        Ok(Running {
            shared,
            stop,
            tasks,
        })
    }

    /// Starts it and waits for its end.
    ///
    /// # Errors
    /// When the record can't be opened or written.
    pub async fn run(self) -> io::Result<Figures> {
        self.start()?.finish().await
    }
}

/// A resident who comes home: the most frequent event of an estate.
pub fn someone_at_the_door(device: &Ident, seq: u64) -> Kind {
    Kind::Access {
        door: device.clone(),
        outcome: Outcome::Granted,
        direction: Some(Direction::In),
        method: Some(Method::Card),
        credential: Some(Secret::new(format!("card-{}", seq % 500))),
    }
}

/// A load under way. Dropping it ends its connections at once.
pub struct Running {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<io::Result<Figures>>>,
}

impl Running {
    /// Events acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Events published so far, each counted once.
    pub fn published(&self) -> u64 {
        self.shared.published.load(Ordering::Relaxed)
    }

    /// Publishes nothing new from now on; [`Self::finish`] then waits for what is due.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits for its end: see [`Load::until`].
    ///
    /// # Errors
    /// When the record can't be written.
    pub async fn finish(mut self) -> io::Result<Figures> {
        let mut figures = Figures::default();
        for task in &mut self.tasks {
            figures.merge(task.await.map_err(io::Error::other)??);
        }
        let span = self.shared.span.lock();
        if let Some((first, last)) = *span.unwrap_or_else(PoisonError::into_inner) {
            figures.elapsed = last.saturating_duration_since(first);
        }
        Ok(figures)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// What all connections of a load have in common.
struct Shared {
    spec: Load,
    record: Option<Mutex<File>>,
    acknowledged: AtomicU64,
    published: AtomicU64,
    /// The first publication and the last acknowledgement.
    span: Mutex<Option<(Instant, Instant)>>,
}

impl Shared {
    fn write(&self, lines: &str) -> io::Result<()> {
        let Some(record) = &self.record else {
            return Ok(());
        };
        let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
        record.write_all(lines.as_bytes())
    }

    fn widen(&self, first: Instant, last: Instant) {
        let mut span = self.span.lock().unwrap_or_else(PoisonError::into_inner);
        *span = Some(match *span {
            None => (first, last),
            Some((a, b)) => (a.min(first), b.max(last)),
        });
    }
}

/// Reads a record: by device and boot, the sequence numbers in the order of their acknowledgement.
///
/// # Errors
/// When the file can't be read, or a line isn't one of a record.
pub fn read_record(path: &std::path::Path) -> io::Result<BTreeMap<(String, u32), Vec<u64>>> {
    let mut out: BTreeMap<(String, u32), Vec<u64>> = BTreeMap::new();
    for line in std::fs::read_to_string(path)?.lines() {
        let wrong = || io::Error::other(format!("'{line}' is not a line of a record"));
        let mut words = line.split(' ');
        let (Some(device), Some(boot), Some(seq), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(wrong());
        };
        let boot = boot.parse().map_err(|_| wrong())?;
        let seq = seq.parse().map_err(|_| wrong())?;
        out.entry((device.to_string(), boot)).or_default().push(seq);
    }
    Ok(out)
}
