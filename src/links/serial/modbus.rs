//! The driver for Modbus RTU: sensors, and relay boards as locks.
//!
//! ```text
//!  Modbus ──whose turn──▶ Sensor ──Block──▶ Master ──▶ codec of tokio-modbus ──▶ Sieve ──▶ Line
//!                           │ ▲                                                   │
//!             reading ◀── Voice └─────────────── Contents ◀────── the answer, no noise
//! ```
//!
//! * `blocks` groups registers into requests and reads their values, `doors` watches contacts.
//! * `sensor` is a device whose registers are read.
//! * `master` sends one request at a time; `sieve` finds its answer on the line.

mod blocks;
mod doors;
mod master;
mod sensor;
mod sieve;

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use firmware_protocols::event::Done;
use firmware_protocols::topic::Channel;
use firmware_protocols::{Command, Kind};

use self::master::{Master, Trouble};
use self::sensor::Sensor;
use super::line::{Line, LineError};
use super::plan::PortPlan;
use super::rounds::{Rounds, Turn};
use super::{Bus, Driver, Outgoing};
use crate::links::DeviceIntake;

/// The driver.
pub struct Modbus {
    sensors: Vec<Sensor>,
    rounds: Rounds,
}

impl Modbus {
    /// The driver of a port.
    ///
    /// # Errors
    /// With the remedy, when a file that it needs can't be read.
    pub fn new(plan: &PortPlan, intake: &Arc<dyn DeviceIntake>) -> anyhow::Result<Self> {
        let every = plan.port.poll();
        let sensor = |device| Sensor::new(device, every, intake);
        let sensors: Vec<Sensor> = plan.devices.iter().map(sensor).collect();
        let every: Vec<_> = sensors.iter().map(Sensor::every).collect();
        Ok(Self {
            sensors,
            rounds: Rounds::each(&every, Instant::now()),
        })
    }

    /// One exchange with a sensor, or none if nothing is due there.
    async fn ask(&mut self, index: usize, master: &Master) -> Result<(), LineError> {
        let Some(sensor) = self.sensors.get_mut(index) else {
            return Ok(());
        };
        let Some(block) = sensor.next(Instant::now()) else {
            self.rounds.answered(index, Instant::now());
            return Ok(());
        };
        let outcome = master.read(sensor.address, &block).await;
        let now = Instant::now();
        let (over, unreadable) = match outcome {
            Ok((contents, trip)) => (sensor.answered(&block, &contents, trip, now), None),
            Err(Trouble::Refused(code, trip)) => (sensor.refused(&block, code, trip, now), None),
            Err(Trouble::Silence) => (true, Some(false)),
            Err(Trouble::Unreadable) => (true, Some(true)),
            Err(Trouble::Line(e)) => return Err(e),
        };
        if let Some(unreadable) = unreadable {
            let pause = self.rounds.missed(index, now);
            sensor.missed(unreadable, pause);
            if self.rounds.is_silent(index) {
                sensor.gone(now);
            }
        } else if over {
            self.rounds.answered(index, now);
        }
        Ok(())
    }

    /// Nothing is due before `until`: waits for it, or for a message.
    async fn rest(
        &mut self,
        until: Instant,
        master: &Master,
        bus: &mut Bus,
    ) -> Result<(), LineError> {
        tokio::select! {
            () = tokio::time::sleep_until(until.into()) => {}
            Some(outgoing) = bus.outbound.recv() => self.take(&outgoing, NO_COMMANDS),
            failed = master.listen() => return Err(failed),
        }
        Ok(())
    }

    /// A message for a sensor: it can do nothing, and says so.
    fn take(&mut self, outgoing: &Outgoing, why: &str) {
        let message = &outgoing.message;
        let mut sensors = self.sensors.iter_mut();
        let Some(sensor) = sensors.find(|sensor| sensor.id == message.device) else {
            return;
        };
        if message.channel != Channel::Command {
            return;
        }
        if let Ok(command) = Command::decode(&message.payload) {
            sensor.voice().say(Kind::Result {
                command: command.id,
                outcome: Done::Refused,
                reason: Some(why.to_owned()),
            });
        }
    }
}

/// What a sensor says to a command.
const NO_COMMANDS: &str = "a Modbus sensor carries out no commands";

#[async_trait]
impl Driver for Modbus {
    async fn run(&mut self, line: Line, bus: &mut Bus) -> LineError {
        for sensor in &mut self.sensors {
            sensor.show_in(&bus.status);
        }
        let master = Master::new(line, bus.port.clone(), Arc::clone(&bus.status));
        let mut stopped = bus.stopped.clone();
        let speaking = async {
            loop {
                while let Ok(outgoing) = bus.outbound.try_recv() {
                    self.take(&outgoing, NO_COMMANDS);
                }
                let done = match self.rounds.next(Instant::now()) {
                    Turn::Ask(index) => self.ask(index, &master).await,
                    Turn::Rest(until) => self.rest(until, &master, bus).await,
                };
                if let Err(failed) = done {
                    return failed;
                }
            }
        };
        tokio::select! {
            failed = speaking => failed,
            _ = stopped.wait_for(|stop| *stop) => LineError::Stopped,
        }
    }

    fn away(&mut self, outgoing: Outgoing, why: &str) {
        self.take(&outgoing, why);
    }

    fn lost(&mut self, _: &Bus) {
        let now = Instant::now();
        for sensor in &mut self.sensors {
            sensor.gone(now);
        }
    }
}

#[cfg(test)]
mod tests;
