//! What hangs on each port, made from the configuration once it is checked.

use firmware_protocols::Ident;

use super::status::PortView;
use crate::config::Config;
use crate::config::serial::{BoardSection, OnPort, PortSection};

/// A port, and what hangs on it.
#[derive(Debug, Clone)]
pub struct PortPlan {
    /// The port's settings.
    pub port: PortSection,
    /// The banks whose boards hang on it.
    pub banks: Vec<BankPlan>,
    /// The other devices on it.
    pub devices: Vec<DevicePlan>,
}

/// A bank of locker boards.
#[derive(Debug, Clone)]
pub struct BankPlan {
    /// Its id, which is also its device id.
    pub id: Ident,
    /// The boot that its [`super::voice::Voice`] speaks in.
    pub boot: u32,
    /// How many compartments it has.
    pub compartments: u16,
    /// Its boards.
    pub boards: Vec<BoardSection>,
}

/// A device on a port.
#[derive(Debug, Clone)]
pub struct DevicePlan {
    /// Its id.
    pub id: Ident,
    /// The boot that its [`super::voice::Voice`] speaks in, if it needs one.
    pub boot: u32,
    /// Where it hangs, and how it is to be read.
    pub on: OnPort,
    /// Whether it is a bank or desk, or a part of one.
    pub at_point: bool,
}

impl PortPlan {
    /// The plans of all ports. `boot` gives the boot that a device's voice speaks in.
    pub fn all(config: &Config, boot: impl Fn(&Ident) -> u32) -> Vec<Self> {
        let on_port = |port: &PortSection| Self {
            port: port.clone(),
            banks: config
                .banks
                .iter()
                .filter(|bank| bank.boards.iter().any(|board| board.port == port.id))
                .map(|bank| BankPlan {
                    id: bank.id.clone(),
                    boot: boot(&bank.id),
                    compartments: bank.count(),
                    boards: bank.boards.clone(),
                })
                .collect(),
            devices: config
                .on_ports()
                .filter(|(_, on, _)| on.port == port.id)
                .map(|(id, on, at_point)| DevicePlan {
                    id: id.clone(),
                    boot: boot(id),
                    on: on.clone(),
                    at_point,
                })
                .collect(),
        };
        config.ports.iter().map(on_port).collect()
    }

    /// Whether two plans are the same, but for the boots that voices speak in.
    pub fn is_same(&self, other: &Self) -> bool {
        self.without_boots() == other.without_boots()
    }

    /// Every device is to speak in the boot that `boot` gives.
    pub fn boot_by(&mut self, boot: impl Fn(&Ident) -> u32) {
        for bank in &mut self.banks {
            bank.boot = boot(&bank.id);
        }
        for device in &mut self.devices {
            device.boot = boot(&device.id);
        }
    }

    /// Every device is to speak in a boot after those of a former plan: what a voice had to say in one of
    /// them may be under way to the disk still.
    pub fn boot_after(&mut self, former: &Self) {
        let banks = former.banks.iter().map(|bank| (&bank.id, bank.boot));
        let devices = former
            .devices
            .iter()
            .map(|device| (&device.id, device.boot));
        for (id, boot) in banks.chain(devices) {
            let after = boot.checked_add(1).unwrap_or(1);
            let banks = self.banks.iter_mut().map(|bank| (&bank.id, &mut bank.boot));
            let devices = self.devices.iter_mut();
            let devices = devices.map(|device| (&device.id, &mut device.boot));
            for (_, next) in banks.chain(devices).filter(|(own, _)| *own == id) {
                *next = (*next).max(after);
            }
        }
    }

    /// All that is set of it, in a text: the sections of the configuration show each of their keys.
    fn without_boots(&self) -> String {
        let mut plan = self.clone();
        plan.banks.iter_mut().for_each(|bank| bank.boot = 0);
        plan.devices.iter_mut().for_each(|device| device.boot = 0);
        format!("{plan:?}")
    }

    /// The devices that are reached over the port.
    pub fn device_ids(&self) -> impl Iterator<Item = &Ident> {
        let banks = self.banks.iter().map(|bank| &bank.id);
        banks.chain(self.devices.iter().map(|device| &device.id))
    }
    /// Adds to a port's view what the configuration says: what hangs there, what each board opens.
    pub fn tell(&self, view: &mut PortView) {
        view.devices = self.device_ids().map(Ident::to_string).collect();
        let boards = || {
            let banks = self.banks.iter();
            banks.flat_map(|bank| bank.boards.iter().map(move |board| (&bank.id, board)))
        };
        for slave in &mut view.slaves {
            let mut its = boards().filter(|(bank, board)| {
                bank.as_str() == slave.device && Some(board.address) == slave.address
            });
            slave.compartments = its.next().map(|(_, board)| board.compartments);
        }
    }
}
