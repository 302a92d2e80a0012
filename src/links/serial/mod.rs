//! Devices on serial ports.
//!
//! ```text
//!                 ┌ port: opens, watches, opens again ┐
//!  RS-485, UART ──┤ line: bytes, echo, tap, counters  ├── driver: one protocol ──▶ intake
//!                 └ status: what is wrong, how good   ┘        ▲
//!                                                              └── outbound: commands, receipts
//! ```
//!
//! A port speaks one protocol and has a task of its own, so nothing on one holds up another. Devices
//! that number and keep their events (the Linli link) are taken at their word and acknowledged once
//! their events are on disk. For all others a [`voice::Voice`] speaks: it numbers what the driver
//! saw, in a boot of its own for each start of the daemon, and keeps it until it is on disk.
//!
//! * `port` opens a port (`opening`, `users`) and finds it again; `line` is an open one, `echo` takes
//!   out of it what an adapter hears of itself; `list` names the ports of the machine.
//! * `rounds` says whose turn it is on a line with several slaves.
//! * `status` is what people see of it.
//! * `boards`, `linli`, `modbus`, `osdp`, `lines` are the drivers.
//! * `monitor` says what goes over a line, `scan` finds out what hangs on one.

pub mod bank;
pub mod boards;
pub mod check;
mod echo;
pub mod line;
pub mod lines;
pub mod linli;
pub mod list;
pub mod modbus;
pub mod monitor;
mod opening;
#[cfg(feature = "osdp")]
pub mod osdp;
pub mod plan;
pub mod port;
pub mod rounds;
pub mod scan;
pub mod status;
pub mod tap;
pub mod typing;
mod users;
pub use super::voice;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use firmware_protocols::Ident;
use tokio::sync::{mpsc, watch};

use self::line::{Line, LineError};
use self::plan::PortPlan;
use self::status::{PortStatus, PortView};
use self::tap::Tap;
use super::{DeviceIntake, ToDevice};
use crate::config::serial::{PortSection, Protocol};
use crate::pace::Pace;

/// All serial ports of the gateway, running.
#[derive(Default)]
pub struct Ports {
    ports: Vec<port::Running>,
    /// What hangs on each.
    plans: Vec<PortPlan>,
    /// The port of each device on one, by its index.
    ways: HashMap<Ident, usize>,
}

impl Ports {
    /// Starts them. They run until `stopped`.
    ///
    /// # Errors
    /// With the remedy, when a file that a driver needs can't be read. A port that isn't there is no
    /// error: it is waited for.
    pub fn start(
        plans: &[PortPlan],
        intake: &Arc<dyn DeviceIntake>,
        pace: &Arc<Pace>,
        stopped: &watch::Receiver<bool>,
    ) -> anyhow::Result<Self> {
        let mut all = Self::default();
        for (index, plan) in plans.iter().enumerate() {
            let running = port::start(plan, intake, pace, stopped.clone())?;
            all.ports.push(running);
            all.plans.push(plan.clone());
            all.ways
                .extend(plan.device_ids().map(|id| (id.clone(), index)));
        }
        Ok(all)
    }

    /// Hands a message over, if it is for a device on one of the ports; else gives it back.
    pub fn send(&self, message: ToDevice) -> Option<ToDevice> {
        let way = self.ways.get(&message.device);
        let Some(port) = way.and_then(|index| self.ports.get(*index)) else {
            return Some(message);
        };
        port.send(message);
        None
    }

    /// How they are, in the order of the configuration.
    pub fn views(&self) -> Vec<PortView> {
        let ports = self.ports.iter().zip(&self.plans);
        let told = ports.map(|(port, plan)| {
            let mut view = port.status.view();
            plan.tell(&mut view);
            view
        });
        told.collect()
    }

    /// Whether a device hangs on one of them.
    pub fn has(&self, device: &Ident) -> bool {
        self.ways.contains_key(device)
    }

    /// Resolves when all have ended, which they do when the gateway stops: what their devices said
    /// is on disk then, if the disk takes it.
    pub async fn ended(&self) {
        for port in &self.ports {
            port.ended().await;
        }
    }

    /// A port's tap, and what is spoken there.
    pub fn tap(&self, id: &str) -> Option<(Tap, Protocol)> {
        let port = self.ports.iter().map(|port| &port.status);
        let mut found = port.filter(|status| status.port().id.as_str() == id);
        let status = found.next()?;
        Some((status.tap().clone(), status.port().protocol))
    }
}

/// A message for a device on a port, and when it came.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The message.
    pub message: ToDevice,
    /// When the link got it: a command's time runs from then on.
    pub came: Instant,
}

/// What a driver works with, beside its line.
pub struct Bus {
    /// The port's settings.
    pub port: PortSection,
    /// Where it says how it goes.
    pub status: Arc<PortStatus>,
    /// Where what devices say is handed over.
    pub intake: Arc<dyn DeviceIntake>,
    /// How much each device may send.
    pub pace: Arc<Pace>,
    /// What the gateway has for the devices on this port.
    pub outbound: mpsc::Receiver<Outgoing>,
    /// The gateway stops.
    pub stopped: watch::Receiver<bool>,
}

/// What speaks a protocol. Its state outlives the line: a port that was unplugged comes back with a
/// new one.
#[async_trait]
pub trait Driver: Send {
    /// Speaks until the line fails, or the gateway stops (then [`LineError::Stopped`]). It must not
    /// hold up the outbound messages for longer than one exchange. It is dropped, at whatever await
    /// it stands, when the device file is gone, or a second after the gateway's stop; a panic ends
    /// it too. It is then called again with a new line.
    async fn run(&mut self, line: Line, bus: &mut Bus) -> LineError;

    /// The port is away (`why`, in words): what was meant for a device can't be sent.
    fn away(&mut self, outgoing: Outgoing, why: &str);

    /// The port went away: its devices are gone, and what they knew isn't known any more.
    fn lost(&mut self, bus: &Bus);
}

/// The driver of a port.
///
/// # Errors
/// With the remedy, when a file that it needs can't be read.
pub fn driver(plan: &PortPlan, intake: &Arc<dyn DeviceIntake>) -> anyhow::Result<Box<dyn Driver>> {
    Ok(match plan.port.protocol {
        Protocol::Linli => Box::new(linli::Linli::new(plan)?),
        Protocol::KerongCu16 | Protocol::KerongCu48 | Protocol::EightA | Protocol::Wkly => {
            Box::new(boards::Boards::new(plan, intake)?)
        }
        Protocol::Modbus => Box::new(modbus::Modbus::new(plan, intake)?),
        #[cfg(feature = "osdp")]
        Protocol::Osdp => Box::new(osdp::Osdp::new(plan, intake)?),
        #[cfg(not(feature = "osdp"))]
        Protocol::Osdp => anyhow::bail!(
            "port '{}' speaks OSDP, which this linli was built without: install one built with the feature 'osdp'",
            plan.port.id
        ),
        Protocol::Lines => Box::new(lines::Lines::new(plan, intake)?),
    })
}
