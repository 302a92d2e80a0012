//! The way from a device to the broker behind, no faster than the device may send, and closed when
//! the device is silent for too long.
//!
//! As long as the device is within its allowance ([`Gauge`]), bytes are passed on as they come. When
//! it isn't, its publications wait ([`Parked`]) until it is, while TCP makes the client wait with
//! what doesn't fit. Then one publication is passed at a time, and the next when it has been
//! charged, until the device has rested. Commands and receipts flow the other way all the while.
//!
//! A publication that a person waits for isn't held: it is passed at once, with all that stands
//! before it, on credit.
//!
//! Keep-alive is counted here and not by the library, which would take a device for dead that is
//! merely held: it is the time since a whole packet came, without the time in which none was read.

use std::io;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::frames::Follow;
use super::parked::Parked;
use super::relay::{LINGER, STALL_MAX, STEP_BYTES, write_all};
use crate::pace::Gauge;

/// Fewer publications than this may be on their way to the broker behind without being charged yet
/// when more is read. It handles one after the other: more would only be seen too late.
const AHEAD: u64 = 2;

/// How long to wait for a charge. One that doesn't come, because the broker behind has refused the
/// publication, is given up.
const CHARGE_MAX: Duration = Duration::from_secs(1);

/// How long until it is asked again whether what a person waits for may go ahead.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// What is known of a link.
pub(super) struct Reins<'a> {
    /// The device's allowance.
    pub gauge: &'a Gauge,
    /// MQTT 5.
    pub five: bool,
    /// How long the device may send nothing: 1.5 times its keep-alive.
    pub silence_max: Duration,
}

impl Reins<'_> {
    /// Passes on what the client sends, until it ends (`Ok`) or something fails.
    pub(super) async fn drive(&self, client: &TcpStream, broker: &TcpStream) -> io::Result<()> {
        let mut way = Way {
            link: self,
            client,
            broker,
            follow: Follow::default(),
            charged: self.gauge.charges(),
            heard: Instant::now(),
        };
        loop {
            let ended = match self.gauge.is_slowed(Instant::now()) {
                true => way.slowly().await?,
                false => way.as_it_comes().await?,
            };
            if ended {
                return Ok(());
            }
        }
    }
}

/// The way of one connection.
struct Way<'a> {
    link: &'a Reins<'a>,
    client: &'a TcpStream,
    broker: &'a TcpStream,
    follow: Follow,
    /// The gauge's charges, less the publications passed and charged.
    charged: u64,
    /// When a sign of life came.
    heard: Instant,
}

/// What came of looking at the client's socket.
enum Read {
    Bytes(usize),
    Nothing,
    Ended,
}

impl Way<'_> {
    /// One step of a device within its allowance. Whether the client has ended.
    async fn as_it_comes(&mut self) -> io::Result<bool> {
        let left = self.silence_left();
        let readable = timeout(left, self.client.readable()).await;
        readable.map_err(|_| io::ErrorKind::TimedOut)??;
        self.let_charge(AHEAD).await;
        if self.link.gauge.is_slowed(Instant::now()) {
            return Ok(false);
        }
        let mut buffer = [0_u8; STEP_BYTES];
        match self.read(&mut buffer)? {
            Read::Bytes(length) => {
                if self.pass(&buffer[..length]).await? > 0 {
                    self.heard = Instant::now();
                }
                Ok(false)
            }
            Read::Nothing => Ok(false),
            Read::Ended => Ok(true),
        }
    }

    /// Keeps the client waiting until it is within its allowance again and has rested. Whether it
    /// has ended meanwhile.
    async fn slowly(&mut self) -> io::Result<bool> {
        let mut parked = Parked::default();
        let mut ended: Option<Instant> = None;
        loop {
            self.let_charge(1).await;
            let now = Instant::now();
            if parked.has_urgent() && self.link.gauge.may_hurry(now) {
                let urgent = parked.take_urgent();
                self.pass(&urgent).await?;
                continue;
            }
            let due = self.link.gauge.due(now);
            if due.is_zero()
                && let Some(packet) = parked.take_first()
            {
                self.pass(&packet).await?;
                continue;
            }
            if parked.is_empty() && (ended.is_some() || !self.link.gauge.is_slowed(now)) {
                return Ok(ended.is_some());
            }
            if ended.is_some_and(|ended| ended.elapsed() > LINGER) {
                return Ok(true);
            }
            let wait = match due.is_zero() {
                true => self.silence_left(),
                false if parked.has_urgent() => due.min(ASK_AGAIN),
                false => due.min(LINGER),
            };
            let wants = parked.room() > 0 && ended.is_none();
            tokio::select! {
                () = sleep(wait) => if self.silence_left().is_zero() && due.is_zero() {
                    return Err(io::ErrorKind::TimedOut.into());
                },
                readable = self.client.readable(), if wants => {
                    readable?;
                    if self.park(&mut parked).await? {
                        ended = Some(Instant::now());
                    }
                }
            }
            if !due.is_zero() {
                self.heard = Instant::now();
                self.link.gauge.held(now.elapsed());
            }
        }
    }

    /// Sorts what comes while the link is held. Whether the client has ended.
    async fn park(&mut self, parked: &mut Parked) -> io::Result<bool> {
        let mut buffer = [0_u8; STEP_BYTES];
        let room = parked.room().min(STEP_BYTES);
        let bytes = match self.read(&mut buffer[..room])? {
            Read::Bytes(length) => &buffer[..length],
            Read::Nothing => return Ok(false),
            Read::Ended => return Ok(true),
        };
        self.heard = Instant::now();
        // The rest of a packet that was begun before.
        let rest = match parked.is_empty() {
            true => self.follow.rest(bytes),
            false => 0,
        };
        self.pass(&bytes[..rest]).await?;
        let ahead = parked.add(&bytes[rest..], self.link.five);
        let now = Instant::now();
        if !ahead.is_empty() {
            if !self.link.gauge.may_pass(now) {
                sleep(CHARGE_MAX).await;
            }
            self.pass(&ahead).await?;
        }
        Ok(false)
    }

    /// Waits until fewer than `ahead` publications are on their way uncharged.
    async fn let_charge(&mut self, ahead: u64) {
        if !self.link.gauge.is_limited() {
            return;
        }
        let passed = self.charged + self.follow.publications;
        let enough = (passed + 1).saturating_sub(ahead);
        let charged = self.link.gauge.charged_up_to(enough);
        if timeout(CHARGE_MAX, charged).await.is_err() {
            self.charged = self.link.gauge.charges();
            self.follow.publications = 0;
        }
    }

    /// Passes bytes on. How many packets ended in them.
    async fn pass(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let ended = self.follow.pass(bytes);
        let gauge = self.link.gauge;
        let subscriptions = std::mem::take(&mut self.follow.subscriptions);
        gauge.charge_bytes(bytes.len(), ended, subscriptions, Instant::now());
        let written = match self.broker.try_write(bytes) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if written < bytes.len() {
            // A copy, so that an idle link holds no buffer.
            let rest = bytes[written..].to_vec();
            timeout(STALL_MAX, write_all(self.broker, &rest)).await??;
        }
        Ok(ended)
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<Read> {
        match self.client.try_read(buffer) {
            Ok(0) => Ok(Read::Ended),
            Ok(length) => Ok(Read::Bytes(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Read::Nothing),
            Err(error) => Err(error),
        }
    }

    fn silence_left(&self) -> Duration {
        let silence_max = self.link.silence_max;
        silence_max.saturating_sub(self.heard.elapsed())
    }
}
