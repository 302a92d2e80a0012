//! The driver for scanners and keypads that type lines on a tty.
//!
//! A line is a `scan` or a `keypad` event ([`super::typing`] says what a line is). What was typed is
//! a secret: it goes to the intake, and into no log, status or error. Such a device has no display
//! and can do nothing, so every command is refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use firmware_protocols::event::{Done, Secret};
use firmware_protocols::topic::Channel;
use firmware_protocols::{Command, Ident, Kind, Order};
use tokio::io::AsyncReadExt as _;
use tokio::time::sleep;

use super::line::{Line, LineError};
use super::plan::PortPlan;
use super::status::SlaveStatus;
use super::typing::{PassedOver, Typing};
use super::voice::Voice;
use super::{Bus, Driver, Outgoing};
use crate::config::serial::LineMeaning;
use crate::links::DeviceIntake;
use crate::pace::Pace;

/// One that types more than its limit isn't read for at most so long at once.
const HELD_MOST: Duration = Duration::from_secs(1);

/// The driver.
pub struct Lines {
    typist: Option<Typist>,
}

/// What types on the port.
struct Typist {
    id: Ident,
    says: LineMeaning,
    typing: Typing,
    voice: Voice,
    passed_over: u64,
}

impl Lines {
    /// The driver of a port.
    ///
    /// # Errors
    /// None: it needs no file.
    pub fn new(plan: &PortPlan, intake: &Arc<dyn DeviceIntake>) -> anyhow::Result<Self> {
        // The configuration allows one: such a line has no addresses.
        let typist = plan.devices.first().map(|device| {
            let says = device.on.says.unwrap_or(LineMeaning::Scan);
            let (model, can) = match says {
                LineMeaning::Scan => ("serial scanner", "scan"),
                LineMeaning::Keypad => ("serial keypad", "keypad"),
            };
            let intake = Arc::clone(intake);
            Typist {
                id: device.id.clone(),
                says,
                typing: Typing::new(&device.on),
                voice: Voice::start(device.id.clone(), device.boot, model, &[can], intake),
                passed_over: 0,
            }
        });
        Ok(Self { typist })
    }
}

#[async_trait]
impl Driver for Lines {
    async fn run(&mut self, mut line: Line, bus: &mut Bus) -> LineError {
        let Some(typist) = &mut self.typist else {
            // Nothing hangs there. It is read all the same, to see it go.
            return drain(&mut line, bus).await;
        };
        let status = bus.status.slave(&typist.id, None);
        bus.intake.presence(&typist.id, true);
        let mut chunk = [0; 256];
        loop {
            let pause = typist.typing.waits();
            let held = held(&bus.pace, &typist.id);
            tokio::select! {
                _ = bus.stopped.wait_for(|stop| *stop) => return LineError::Stopped,
                Some(outgoing) = bus.outbound.recv() => typist.refuse(&outgoing, Done::Refused, ""),
                () = sleep(held), if !held.is_zero() => bus.pace.of(&typist.id).held(held),
                read = line.read(&mut chunk), if held.is_zero() => match read {
                    Ok(0) => return LineError::Failed(std::io::ErrorKind::UnexpectedEof.into()),
                    Ok(read) => {
                        for byte in chunk.get(..read).unwrap_or(&[]) {
                            let ended = typist.typing.typed(*byte);
                            typist.take(ended, &status);
                        }
                        // What was typed isn't left lying about.
                        chunk = [0; 256];
                    }
                    Err(e) => return LineError::Failed(e),
                },
                () = sleep(pause.unwrap_or_default()), if pause.is_some() && held.is_zero() => {
                    let ended = typist.typing.paused();
                    typist.take(ended, &status);
                }
            }
        }
    }

    fn away(&mut self, outgoing: Outgoing, why: &str) {
        if let Some(typist) = &self.typist {
            typist.refuse(&outgoing, Done::Failed, why);
        }
    }

    fn lost(&mut self, bus: &Bus) {
        if let Some(typist) = &mut self.typist {
            typist.typing.forget();
            bus.intake.presence(&typist.id, false);
        }
    }
}

impl Typist {
    fn take(&mut self, ended: Option<Result<Secret, PassedOver>>, status: &SlaveStatus) {
        match ended {
            None => {}
            Some(Ok(symbol)) => {
                status.heard();
                self.voice.say(match self.says {
                    LineMeaning::Scan => Kind::Scan { symbol },
                    LineMeaning::Keypad => Kind::Keypad {
                        code: symbol,
                        opened: None,
                    },
                });
            }
            Some(Err(why)) => {
                self.passed_over += 1;
                tracing::debug!(device = %self.id, %why, "a typed line was passed over");
                let lines = self.passed_over;
                status.note(Some(format!(
                    "lines passed over since the start: {lines}; the last: {why}"
                )));
            }
        }
    }

    /// It can do nothing, and says so.
    fn refuse(&self, outgoing: &Outgoing, outcome: Done, why: &str) {
        if outgoing.message.channel != Channel::Command {
            return;
        }
        let Ok(command) = Command::decode(&outgoing.message.payload) else {
            return;
        };
        let reason = match (&command.order, why) {
            (Order::Show { .. }, "") => "it has no display",
            (_, "") => "it can only type",
            _ => why,
        };
        self.voice.say(Kind::Result {
            command: command.id,
            outcome,
            reason: Some(reason.to_owned()),
        });
    }
}

/// How long the device isn't read, because it typed more than its limit.
fn held(pace: &Pace, device: &Ident) -> Duration {
    pace.of(device).due(Instant::now()).min(HELD_MOST)
}

async fn drain(line: &mut Line, bus: &mut Bus) -> LineError {
    let mut chunk = [0; 256];
    loop {
        tokio::select! {
            _ = bus.stopped.wait_for(|stop| *stop) => return LineError::Stopped,
            Some(_) = bus.outbound.recv() => {}
            read = line.read(&mut chunk) => match read {
                Ok(0) => return LineError::Failed(std::io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(e) => return LineError::Failed(e),
            },
        }
    }
}
