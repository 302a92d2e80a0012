//! The driver for Modbus RTU: sensors, and relay boards as locks.
//!
//! ```text
//!  Modbus ──whose turn──▶ Sensor ──Block──▶ Master ──▶ codec of tokio-modbus ──▶ Sieve ──▶ Line
//!                           │ ▲                                                   │
//!             reading ◀── Voice └─────────────── Contents ◀────── the answer, no noise
//! ```
//!
//! * `blocks` groups registers into requests and reads their values, `doors` watches contacts.
//! * `sensor` is a device whose registers are read, `relays` are boards that open locks.
//! * `master` sends one request at a time; `sieve` finds its answer on the line.

mod blocks;
mod doors;
mod master;
mod relays;
mod sensor;
mod sieve;

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use firmware_protocols::event::Done;
use firmware_protocols::topic::Channel;
use firmware_protocols::{Command, Kind};

use self::master::{Master, Trouble};
use self::relays::Relays;
use self::sensor::Sensor;
use super::line::{Line, LineError};
use super::plan::PortPlan;
use super::rounds::{Rounds, Turn};
use super::{Bus, Driver, Outgoing};
use crate::links::DeviceIntake;

/// The driver.
pub struct Modbus {
    sensors: Vec<Sensor>,
    relays: Relays,
    /// The sensors, then the relay boards.
    rounds: Rounds,
    /// Nothing was asked on this line yet. The first request is a poll: what comes back of it tells
    /// whether the adapter hears itself. A flash's answer is the flash again, so it wouldn't.
    fresh: bool,
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
        let relays = Relays::start(plan, sensors.len(), intake);
        let every = sensors.iter().map(Sensor::every);
        let every: Vec<_> = every.chain(relays.every()).collect();
        Ok(Self {
            sensors,
            relays,
            rounds: Rounds::each(&every, Instant::now()),
            fresh: true,
        })
    }

    /// What is to be done next: a message, a command to open, a poll. One exchange at most.
    async fn step(&mut self, master: &Master, bus: &mut Bus) -> Result<(), LineError> {
        while let Ok(outgoing) = bus.outbound.try_recv() {
            self.take(&outgoing);
        }
        let now = Instant::now();
        self.relays.tick(now);
        if std::mem::take(&mut self.fresh) {
            let index = match self.rounds.next(now) {
                Turn::Ask(index) => index,
                Turn::Rest(_) => 0,
            };
            return self.ask(index, master).await;
        }
        if self.relays.unlock(master, &mut self.rounds).await? {
            return Ok(());
        }
        match self.rounds.next(now) {
            Turn::Ask(index) => self.ask(index, master).await,
            Turn::Rest(until) => {
                let until = self.relays.due().map_or(until, |due| due.min(until));
                self.rest(until, master, bus).await
            }
        }
    }

    /// One exchange with a slave, or none if nothing is due there.
    async fn ask(&mut self, index: usize, master: &Master) -> Result<(), LineError> {
        let Some(sensor) = self.sensors.get_mut(index) else {
            let place = index - self.sensors.len();
            return self.relays.ask(place, master, &mut self.rounds).await;
        };
        let Some(block) = sensor.next(Instant::now()) else {
            self.rounds.answered(index, Instant::now());
            return Ok(());
        };
        let outcome = master.read(sensor.address, &block).await;
        let now = Instant::now();
        let unreadable = matches!(outcome, Err(Trouble::Unreadable | Trouble::Busy));
        let over = match outcome {
            Ok((contents, trip)) => sensor.answered(&block, &contents, trip, now),
            Err(Trouble::Refused(code, trip)) => sensor.refused(&block, code, trip, now),
            Err(Trouble::Line(e)) => return Err(e),
            Err(Trouble::Silence | Trouble::Unreadable | Trouble::Busy) => {
                if !sensor.in_vain(&block, unreadable, now) {
                    let pause = self.rounds.missed(index, now);
                    sensor.missed(unreadable, pause);
                    if self.rounds.is_silent(index) {
                        sensor.gone(now);
                    }
                    return Ok(());
                }
                true
            }
        };
        if over {
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
            Some(outgoing) = bus.outbound.recv() => self.take(&outgoing),
            failed = master.listen() => return Err(failed),
        }
        Ok(())
    }

    /// A message for a bank, or for a sensor, which can do nothing and says so.
    fn take(&mut self, outgoing: &Outgoing) {
        if !self.relays.take(outgoing, Instant::now()) {
            self.refuse(outgoing, "a Modbus sensor carries out no commands");
        }
    }

    /// A sensor refuses a command.
    fn refuse(&mut self, outgoing: &Outgoing, why: &str) {
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

#[async_trait]
impl Driver for Modbus {
    async fn run(&mut self, line: Line, bus: &mut Bus) -> LineError {
        for sensor in &mut self.sensors {
            sensor.show_in(&bus.status);
        }
        self.relays.show_in(&bus.status);
        self.fresh = true;
        let master = Master::new(line, bus.port.clone(), Arc::clone(&bus.status));
        let mut stopped = bus.stopped.clone();
        let speaking = async {
            loop {
                if let Err(failed) = self.step(&master, bus).await {
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
        if !self.relays.away(&outgoing, why) {
            self.refuse(&outgoing, why);
        }
    }

    fn lost(&mut self, _: &Bus) {
        let now = Instant::now();
        for sensor in &mut self.sensors {
            sensor.gone(now);
        }
        self.relays.lost();
    }
}

#[cfg(test)]
mod tests;
