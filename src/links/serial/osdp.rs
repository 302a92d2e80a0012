//! The driver for OSDP readers and keypads (IEC 60839-11-5, SIA OSDP 2.2): we are the control panel.
//!
//! ```text
//!  rounds ──▶ reader: what to ask ──▶ channel: numbers, key, MAC ──▶ line
//!               ▲                          │
//!               └── said, orders ◀─────────┘ frame
//! ```
//!
//! * `frame` tells frames from bytes; `channel` is the conversation with one reader, secured.
//! * `reader` is one reader: from its identity to being ready, and what its answers come to.
//! * `said` makes events of what it says, `orders` makes lights, beeps and words of commands.
//! * `key` is its key and the file of it; `commission` gives it one.
//!
//! Packets, secure channel cryptography and the typed messages are the crate `osdp`'s; its driver is
//! not used, as it knows no secure channel and holds the bus while it waits. Readers are asked in turn,
//! one request a turn, and one that doesn't answer gets a growing pause of its own.
//!
//! Invariant: cards, digits and keys are in no log, no `Debug` output, no status.

mod channel;
pub mod commission;
mod frame;
pub mod key;
mod orders;
mod reader;
mod said;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use firmware_protocols::Ident;

use self::frame::Frames;
use self::reader::{Progress, Reader};
use super::line::{Line, LineError, NoAnswer};
use super::plan::PortPlan;
use super::rounds::{Rounds, Turn};
use super::{Bus, Driver, Outgoing};
use crate::config::serial::PortSection;
use crate::links::DeviceIntake;

/// So long a reader may take to answer by the standard (REPLY_DELAY).
const REPLY_DELAY: Duration = Duration::from_millis(200);
/// So many bytes an answer may have for its time on the line.
const ANSWER_BYTES: usize = 96;

/// How long the answer to a request of so many bytes may take.
fn within(port: &PortSection, request: usize) -> Duration {
    port.timeout().max(REPLY_DELAY) + port.time_of(request + ANSWER_BYTES)
}

/// The driver.
pub struct Osdp {
    readers: Vec<Reader>,
}

impl Osdp {
    /// The driver of a port. Key files are read when a reader is asked for its key, so one that is put
    /// right is found without a restart.
    ///
    /// # Errors
    /// None.
    pub fn new(plan: &PortPlan, intake: &Arc<dyn DeviceIntake>) -> anyhow::Result<Self> {
        let readers = plan.devices.iter();
        Ok(Self {
            readers: readers.map(|device| Reader::new(device, intake)).collect(),
        })
    }

    fn find(&mut self, device: &Ident) -> Option<(usize, &mut Reader)> {
        let mut readers = self.readers.iter_mut().enumerate();
        readers.find(|(_, reader)| reader.id == *device)
    }

    fn take(&mut self, outgoing: &Outgoing, rounds: &mut Rounds) {
        let now = Instant::now();
        if let Some((index, reader)) = self.find(&outgoing.message.device) {
            reader.take(outgoing, now);
            rounds.hurry(index, now);
        }
    }

    /// One request to one reader.
    async fn turn(
        &mut self,
        index: usize,
        line: &mut Line,
        port: &PortSection,
        rounds: &mut Rounds,
    ) -> Result<(), LineError> {
        let Some(reader) = self.readers.get_mut(index) else {
            return Ok(());
        };
        let asked = Instant::now();
        let request = match reader.request(asked) {
            Ok(request) => request,
            Err(note) => {
                reader.unusable(note);
                rounds.missed(index, asked);
                return Ok(());
            }
        };
        let channel = &reader.channel;
        let answers = |frame| channel.is_answer(&frame).then_some(frame);
        let time = within(port, request.len());
        let answer = line.exchange(&Frames, &request, time, answers).await;
        let now = Instant::now();
        let status = reader.status.clone();
        match answer {
            Ok(frame) => {
                let progress = reader.hear(&frame, now);
                if let Some(status) = status.filter(|_| progress != Progress::Unreadable) {
                    status.answered(now.saturating_duration_since(asked));
                }
                pace(reader, index, progress, now, rounds);
            }
            Err(NoAnswer::Line(error)) => return Err(error),
            Err(no) => {
                let silent = reader.missed();
                let mut pause = rounds.missed(index, now);
                if reader.is_worth_a_second_try() {
                    pause = Duration::ZERO;
                    rounds.hurry(index, now);
                }
                if let Some(status) = status {
                    match no {
                        NoAnswer::Unreadable => status.unreadable(pause),
                        _ => status.missed(pause),
                    }
                    if silent {
                        status.silent();
                    }
                }
            }
        }
        Ok(())
    }
}

/// When the reader has its next turn.
fn pace(reader: &Reader, index: usize, progress: Progress, now: Instant, rounds: &mut Rounds) {
    match progress {
        Progress::Well => rounds.answered(index, now),
        // While a channel is set up, the pause that earlier failures have earned stays.
        Progress::More if reader.is_ready() => {
            rounds.answered(index, now);
            rounds.hurry(index, now);
        }
        Progress::More => rounds.hurry(index, now),
        Progress::Unusable => {
            rounds.missed(index, now);
        }
        Progress::Unreadable => {
            let pause = rounds.missed(index, now);
            if let Some(status) = &reader.status {
                status.unreadable(pause);
            }
        }
    }
}

#[async_trait]
impl Driver for Osdp {
    async fn run(&mut self, mut line: Line, bus: &mut Bus) -> LineError {
        for reader in &mut self.readers {
            let new = || bus.status.slave(&reader.id, Some(reader.address));
            reader.status.get_or_insert_with(new);
        }
        let mut rounds = Rounds::new(self.readers.len(), bus.port.poll(), Instant::now());
        loop {
            if *bus.stopped.borrow() {
                return LineError::Stopped;
            }
            while let Ok(outgoing) = bus.outbound.try_recv() {
                self.take(&outgoing, &mut rounds);
            }
            match rounds.next(Instant::now()) {
                Turn::Ask(index) => {
                    let turn = self.turn(index, &mut line, &bus.port, &mut rounds);
                    if let Err(error) = turn.await {
                        return error;
                    }
                }
                Turn::Rest(until) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(until.into()) => {}
                        Some(outgoing) = bus.outbound.recv() => self.take(&outgoing, &mut rounds),
                        _ = bus.stopped.wait_for(|stop| *stop) => return LineError::Stopped,
                    }
                }
            }
        }
    }

    fn away(&mut self, outgoing: Outgoing, why: &str) {
        if let Some((_, reader)) = self.find(&outgoing.message.device) {
            reader.fail(&outgoing, why);
        }
    }

    fn lost(&mut self, _: &Bus) {
        for reader in &mut self.readers {
            reader.lost();
        }
    }
}
