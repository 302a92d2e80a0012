//! The driver for our own link: one device that speaks when it wants, or several that share the line
//! and are polled.
//!
//! Events are acknowledged once they are on disk; a device over its limit waits for its
//! acknowledgements, and is told so. A `slave` is one device with its side of the link and what is
//! on its way to the disk; here is the line. The state outlives the line: a port that was unplugged
//! goes on where it was.

mod slave;

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use firmware_protocols::frame::{Found, Framing};
use firmware_protocols::link::gateway::Terms;
use firmware_protocols::link::{Frame, Kind, Link, Ticket, WINDOW_MAX, again_ms};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use self::slave::Slave;
use super::line::{Line, LineError};
use super::plan::PortPlan;
use super::rounds::{Rounds, Turn};
use super::{Bus, Driver, Outgoing};
use crate::config::serial::PortSection;
use crate::intake::Answer;

/// How often a device on a shared line is polled, unless the configuration says: a person at its
/// keypad doesn't notice, and the processor rests in between.
const POLL: Duration = Duration::from_millis(20);

/// How long something may rest before it is looked at again: what a limit held back, a command that
/// ran out.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How long the gateway sleeps at most: nothing in the protocol is rarer.
const SLEEP_LONGEST: Duration = Duration::from_secs(2);

/// So many frames of others, echoes among them, and a turn is over: somebody speaks all the time.
const OTHERS_MAX: usize = 16;

/// The driver.
pub struct Linli {
    slaves: Vec<Slave>,
    rounds: Option<Rounds>,
    /// The link's clock counts from here.
    began: Instant,
}

impl Linli {
    /// The driver of a port.
    ///
    /// # Errors
    /// With the remedy, when several devices hang on a port that isn't `multi_drop`, or the system
    /// has no random numbers.
    pub fn new(plan: &PortPlan) -> anyhow::Result<Self> {
        let port = &plan.port;
        if let Some(why) = port.crowded(plan.devices.len()) {
            anyhow::bail!(why);
        }
        let terms = Terms {
            polled: port.multi_drop,
            again_ms: again_ms(port.baud()),
            turn_bytes: turn_bytes(port.baud()),
        };
        let slave = |device| Ok(Slave::new(device, terms, random()?));
        Ok(Self {
            slaves: plan
                .devices
                .iter()
                .map(slave)
                .collect::<anyhow::Result<_>>()?,
            rounds: None,
            began: Instant::now(),
        })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The moment on the link's clock.
    fn at(&self, ms: u64) -> Instant {
        let at = self.began.checked_add(Duration::from_millis(ms));
        let longest = Instant::now() + SLEEP_LONGEST;
        at.map_or(longest, |at| at.min(longest))
    }

    /// A message for a device, which is polled for it as soon as its turn can be.
    fn put(&mut self, outgoing: Outgoing) {
        let device = &outgoing.message.device;
        let Some(index) = self.slaves.iter().position(|slave| slave.is(device)) else {
            return;
        };
        let came = Instant::from_std(outgoing.came);
        let came = came.saturating_duration_since(self.began).as_millis();
        let came_ms = u64::try_from(came).unwrap_or(u64::MAX);
        if let Some(slave) = self.slaves.get_mut(index) {
            slave.put(outgoing.message, came_ms);
        }
        if let Some(rounds) = &mut self.rounds {
            rounds.hurry(index, Instant::now().into_std());
        }
    }

    /// A frame came: it is the business of the device at its address.
    async fn heard(&mut self, frame: &Frame, bus: &Bus) {
        let now_ms = self.now_ms();
        let address = frame.address;
        let mut slaves = self.slaves.iter_mut();
        let slave = slaves.find(|slave| slave.address() == address);
        match slave {
            Some(slave) => slave.heard(now_ms, frame, bus).await,
            None => tracing::debug!(
                port = %bus.port.id, address,
                "a frame from an address that isn't in the configuration: add the device, or correct its address"
            ),
        }
    }

    /// One device, which speaks when it wants.
    async fn free(&mut self, line: &mut Line, bus: &mut Bus) -> LineError {
        loop {
            let now_ms = self.now_ms();
            let Some(slave) = self.slaves.first_mut() else {
                stops(&mut bus.stopped).await;
                return LineError::Stopped;
            };
            slave.hand_on(bus).await;
            slave.judge(now_ms, bus);
            while let Some(bytes) = slave.next(now_ms) {
                let sent = line.send(&bytes).await;
                slave.tell_left(bus);
                if let Err(e) = sent {
                    return e;
                }
            }
            let mut due_ms = slave.due(now_ms);
            if slave.is_held() {
                due_ms = due_ms.min(now_ms + LOOK_AGAIN.as_millis() as u64);
            }
            let due = self.at(due_ms);
            let Some(slave) = self.slaves.first_mut() else {
                continue;
            };
            tokio::select! {
                biased;
                () = stops(&mut bus.stopped) => return LineError::Stopped,
                Some(outgoing) = bus.outbound.recv() => self.put(outgoing),
                settled = slave.settled() => slave.settle(now_ms, settled),
                came = line.next(&Link, due) => match came {
                    Ok(Some(frame)) => self.heard(&frame, bus).await,
                    Ok(None) => {}
                    Err(e) => return e,
                },
            }
        }
    }

    /// Several devices, which speak when they are asked.
    async fn polled(&mut self, line: &mut Line, bus: &mut Bus) -> LineError {
        loop {
            if *bus.stopped.borrow() {
                return LineError::Stopped;
            }
            let now = Instant::now();
            while let Ok(outgoing) = bus.outbound.try_recv() {
                self.put(outgoing);
            }
            self.settle().await;
            for slave in &mut self.slaves {
                slave.hand_on(bus).await;
            }
            let rounds = self.rounds.as_ref();
            let turn = rounds.map(|rounds| rounds.next(now.into_std()));
            match turn.unwrap_or(Turn::Rest((now + SLEEP_LONGEST).into_std())) {
                Turn::Ask(index) => {
                    if let Err(e) = self.turn(index, line, bus).await {
                        return e;
                    }
                }
                Turn::Rest(until) => {
                    let until = Instant::from_std(until).min(now + LOOK_AGAIN);
                    tokio::select! {
                        biased;
                        () = stops(&mut bus.stopped) => return LineError::Stopped,
                        Some(outgoing) = bus.outbound.recv() => self.put(outgoing),
                        () = sleep_until(until) => {}
                    }
                }
            }
        }
    }

    /// What has come to the disk meanwhile.
    async fn settle(&mut self) {
        let now_ms = self.now_ms();
        for slave in &mut self.slaves {
            while let Some(settled) = ready(slave).await {
                slave.settle(now_ms, settled);
            }
        }
    }

    /// A device's turn.
    async fn turn(
        &mut self,
        index: usize,
        line: &mut Line,
        bus: &mut Bus,
    ) -> Result<(), LineError> {
        // What comes too late isn't the answer to what is asked now.
        while let Some(frame) = line.next(&Link, Instant::now()).await? {
            self.heard(&frame, bus).await;
        }
        line.forget();
        let now_ms = self.now_ms();
        let Some(slave) = self.slaves.get_mut(index) else {
            return Ok(());
        };
        let (address, poll) = (slave.address(), slave.poll(now_ms));
        let asked = Instant::now();
        let sent = line.send(&poll).await;
        slave.tell_left(bus);
        sent?;
        let answer = self.answer(address, poll.len(), line, bus).await?;
        let now = Instant::now();
        let now_ms = self.now_ms();
        let (Some(slave), Some(rounds)) = (self.slaves.get_mut(index), &mut self.rounds) else {
            return Ok(());
        };
        match answer {
            Answered::Over { .. } => {
                rounds.answered(index, now.into_std());
                slave.answered(now - asked);
            }
            _ => {
                let pause = rounds.missed(index, now.into_std());
                let unreadable = answer == Answered::Unfinished;
                slave.missed(pause, unreadable, rounds.is_silent(index));
            }
        }
        if answer == (Answered::Over { events: true }) || slave.has_commands() {
            rounds.hurry(index, now.into_std());
        }
        slave.judge(now_ms, bus);
        Ok(())
    }

    /// The frames of a turn, until the device says that it is over.
    async fn answer(
        &mut self,
        address: u8,
        asked_bytes: usize,
        line: &mut Line,
        bus: &Bus,
    ) -> Result<Answered, LineError> {
        let longest = bus.port.time_of(Link::MAX_BYTES);
        let mut begins = bus.port.timeout() + bus.port.time_of(asked_bytes);
        let (mut events, mut frames, mut others) = (false, 0, 0);
        while frames <= WINDOW_MAX && others <= OTHERS_MAX {
            let watching = Watching::default();
            let mut came = line.next(&watching, Instant::now() + begins).await?;
            if came.is_none() && watching.has_begun() {
                came = line.next(&watching, Instant::now() + longest).await?;
            }
            let Some(frame) = came else {
                return Ok(match frames > 0 || watching.has_begun() {
                    true => Answered::Unfinished,
                    false => Answered::Silence,
                });
            };
            self.heard(&frame, bus).await;
            if frame.from_gateway || frame.address != address {
                others += 1;
                continue;
            }
            frames += 1;
            events |= frame.kind == Kind::Events;
            if frame.over {
                return Ok(Answered::Over { events });
            }
            begins = bus.port.timeout();
        }
        Ok(Answered::Unfinished)
    }
}

#[async_trait]
impl Driver for Linli {
    async fn run(&mut self, mut line: Line, bus: &mut Bus) -> LineError {
        for slave in &mut self.slaves {
            slave.register(bus);
        }
        if !bus.port.multi_drop {
            return self.free(&mut line, bus).await;
        }
        let now = Instant::now().into_std();
        self.rounds = Some(Rounds::new(self.slaves.len(), every(&bus.port), now));
        self.polled(&mut line, bus).await
    }

    /// It waits for the port, as long as it is good.
    fn away(&mut self, outgoing: Outgoing, why: &str) {
        tracing::debug!(device = %outgoing.message.device, why, "a message waits for its port");
        self.put(outgoing);
    }

    fn lost(&mut self, bus: &Bus) {
        for slave in &mut self.slaves {
            slave.lost(bus);
        }
    }
}

/// What came in a device's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answered {
    /// It said that its turn is over.
    Over {
        /// There were events.
        events: bool,
    },
    /// It began, and didn't say so.
    Unfinished,
    /// Nothing.
    Silence,
}

/// The link's framing, which remembers whether a frame has begun that isn't whole.
#[derive(Default)]
struct Watching(AtomicUsize);

impl Watching {
    fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Framing for Watching {
    type Frame = Frame;
    const MAX_BYTES: usize = Link::MAX_BYTES;

    fn find(&self, buffer: &[u8]) -> Found<Frame> {
        let found = Link.find(buffer);
        let begun = if found == Found::More {
            buffer.len()
        } else {
            0
        };
        self.0.store(begun, Ordering::Relaxed);
        found
    }
}

/// A turn is to take a tenth of a second, beside the frame that it ends with.
fn turn_bytes(baud: u32) -> u16 {
    u16::try_from(baud / 100).unwrap_or(u16::MAX).max(1)
}

async fn stops(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// What has become of a slave's oldest payload, if it is known already.
async fn ready(slave: &mut Slave) -> Option<(Ticket, Answer)> {
    let settled = slave.settled();
    tokio::pin!(settled);
    poll_fn(|cx| match settled.as_mut().poll(cx) {
        Poll::Ready(settled) => Poll::Ready(Some(settled)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn every(port: &PortSection) -> Duration {
    match port.poll_ms {
        Some(ms) => Duration::from_millis(ms),
        None => POLL,
    }
}

fn random() -> anyhow::Result<u16> {
    let mut bytes = [0; 2];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled
        .ok()
        .context("the system has no random numbers: restart the gateway when it has")?;
    Ok(u16::from_be_bytes(bytes))
}
