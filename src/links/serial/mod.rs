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
mod opens;
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
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use async_trait::async_trait;
use firmware_protocols::Ident;
use tokio::sync::{mpsc, watch};

use self::line::{Line, LineError};
use self::opens::Opens;
use self::plan::PortPlan;
use self::status::{PortStatus, PortView};
use self::tap::Tap;
use super::{DeviceIntake, ToDevice};
use crate::config::serial::{PortSection, Protocol};
use crate::pace::Pace;

/// All serial ports of the gateway, running. Each can be replaced alone.
#[derive(Default)]
pub struct Ports(RwLock<All>);

#[derive(Default)]
struct All {
    ports: Vec<OnePort>,
    /// The port of each device on one, by its index.
    ways: HashMap<Ident, usize>,
}

#[derive(Clone)]
struct OnePort {
    running: Arc<port::Running>,
    /// What hangs on it.
    plan: PortPlan,
    opens: Arc<Opens>,
}

/// What all ports work with.
#[derive(Clone)]
pub struct Around {
    /// Where what devices say is handed over.
    pub intake: Arc<dyn DeviceIntake>,
    /// How much each device may send.
    pub pace: Arc<Pace>,
    /// The gateway stops.
    pub stopped: watch::Receiver<bool>,
}

impl Around {
    fn start(&self, plan: PortPlan, opens: Opens) -> anyhow::Result<OnePort> {
        let running = port::start(&plan, &self.intake, &self.pace, self.stopped.clone())?;
        Ok(OnePort {
            running: Arc::new(running),
            plan,
            opens: Arc::new(opens),
        })
    }
}

/// What became of new plans.
#[derive(Debug, Default)]
pub struct Replaced {
    /// Ports that were started, or started anew.
    pub started: Vec<Ident>,
    /// Ports that were ended.
    pub ended: Vec<Ident>,
    /// Ports that couldn't be started, and why.
    pub failed: Vec<(Ident, String)>,
}

impl Ports {
    /// Starts them. They run until the gateway stops.
    ///
    /// # Errors
    /// With the remedy, when a file that a driver needs can't be read. A port that isn't there is no
    /// error: it is waited for.
    pub fn start(plans: Vec<PortPlan>, around: &Around) -> anyhow::Result<Self> {
        let ports = plans
            .into_iter()
            .map(|plan| around.start(plan, Opens::default()));
        let all = All::of(ports.collect::<anyhow::Result<_>>()?);
        Ok(Self(RwLock::new(all)))
    }

    /// Goes by new plans. A port whose plan is the same isn't touched; the others are ended first, with
    /// what their devices said on disk, and then started. `next_boots` reads the boots that voices may
    /// speak in then.
    pub async fn replace(
        &self,
        plans: Vec<PortPlan>,
        around: &Around,
        next_boots: impl FnOnce() -> anyhow::Result<HashMap<Ident, u32>> + Send,
    ) -> Replaced {
        let former = self.read().ports.clone();
        let stays = |one: &OnePort| plans.iter().any(|plan| plan.is_same(&one.plan));
        let (kept, gone): (Vec<_>, Vec<_>) = former.into_iter().partition(stays);
        if gone.is_empty() && kept.len() == plans.len() {
            return Replaced::default();
        }
        gone.iter().for_each(|one| one.running.stop());
        for one in &gone {
            one.running.ended().await;
        }
        let boots = next_boots().map_err(|e| format!("{e:#}"));
        let mut replaced = Replaced::default();
        let mut ports = Vec::new();
        for plan in plans {
            let same = kept.iter().find(|one| one.plan.is_same(&plan));
            if let Some(same) = same {
                ports.push(same.clone());
                continue;
            }
            let id = plan.port.id.clone();
            let boots = boots.as_ref().map_err(Clone::clone);
            let started = boots.and_then(|boots| started(plan, &gone, boots, around));
            match started {
                Ok(one) => {
                    ports.push(one);
                    replaced.started.push(id);
                }
                Err(why) => replaced.failed.push((id, why)),
            }
        }
        let ended = gone.iter().map(|one| &one.plan.port.id);
        let ended = ended.filter(|id| !ports.iter().any(|one| one.plan.port.id == **id));
        replaced.ended = ended.cloned().collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = All::of(ports);
        replaced
    }

    /// Hands a message over, if it is for a device on one of the ports; else gives it back.
    pub fn send(&self, message: ToDevice) -> Option<ToDevice> {
        let all = self.read();
        let way = all.ways.get(&message.device);
        let Some(port) = way.and_then(|index| all.ports.get(*index)) else {
            return Some(message);
        };
        if port.opens.is_due(message.open.as_deref()) {
            port.running.send(message);
        }
        None
    }

    /// How they are, in the order of the configuration.
    pub fn views(&self) -> Vec<PortView> {
        let told = |one: &OnePort| {
            let mut view = one.running.status.view();
            one.plan.tell(&mut view);
            view
        };
        self.read().ports.iter().map(told).collect()
    }

    /// Whether a device hangs on one of them.
    pub fn has(&self, device: &Ident) -> bool {
        self.read().ways.contains_key(device)
    }

    /// Resolves when all have ended, which they do when the gateway stops: what their devices said
    /// is on disk then, if the disk takes it.
    pub async fn ended(&self) {
        let ports = self.read().ports.clone();
        for port in &ports {
            port.running.ended().await;
        }
    }

    /// A port's tap, and what is spoken there.
    pub fn tap(&self, id: &str) -> Option<(Tap, Protocol)> {
        let all = self.read();
        let port = all.ports.iter().map(|one| &one.running.status);
        let mut found = port.filter(|status| status.port().id.as_str() == id);
        let status = found.next()?;
        Some((status.tap().clone(), status.port().protocol))
    }

    fn read(&self) -> RwLockReadGuard<'_, All> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a port after others have ended.
fn started(
    mut plan: PortPlan,
    former: &[OnePort],
    boots: &HashMap<Ident, u32>,
    around: &Around,
) -> Result<OnePort, String> {
    plan.boot_by(|device| boots.get(device).copied().unwrap_or(1));
    former.iter().for_each(|one| plan.boot_after(&one.plan));
    let opens = Opens::after(former.iter().map(|one| &*one.opens));
    around.start(plan, opens).map_err(|e| format!("{e:#}"))
}

impl All {
    fn of(ports: Vec<OnePort>) -> Self {
        let ways = ports.iter().enumerate().flat_map(|(index, one)| {
            let devices = one.plan.device_ids();
            devices.map(move |id| (id.clone(), index))
        });
        Self {
            ways: ways.collect(),
            ports,
        }
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
