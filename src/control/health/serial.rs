//! What is wrong on serial ports: the port itself, what hangs on it and doesn't answer, the line.

use serde::{Deserialize, Serialize};

use super::{SETTLING_MS, Trouble};
use crate::control::views::{DeviceView, StatusReport};
use crate::links::serial::status::{PortFault, PortView, SlaveView};

/// Below which quality a line needs somebody, percent.
pub const QUALITY_MIN: u8 = 90;

/// How many requests it takes to judge a line.
pub const REQUESTS_MIN: u64 = 50;

/// A device on a serial port that doesn't answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silent {
    /// The device, or the bank that the board belongs to.
    pub device: String,
    /// It is a bank's board or controller.
    pub bank: bool,
    /// Its address.
    pub address: Option<u8>,
    /// The first and the last of the bank's compartments that it opens, if it is a locker board.
    pub compartments: Option<[u16; 2]>,
    /// Its last answer; null if it never answered since the start.
    pub last_answer_ms: Option<i64>,
}

/// A device on a serial port that often has to be asked again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poor {
    /// The device, or the bank that the board belongs to.
    pub device: String,
    /// Its address.
    pub address: Option<u8>,
    /// Of the last hundred requests, how many were answered at once, in percent.
    pub quality: u8,
}

/// A device on a serial port with which something else is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// The device, or the bank that the board belongs to.
    pub device: String,
    /// Its address.
    pub address: Option<u8>,
    /// What is wrong, in words.
    pub note: String,
}

/// The troubles of all ports.
pub fn troubles(report: &StatusReport, devices: &[DeviceView]) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    for port in &report.serial {
        let fault = port.fault.as_ref();
        troubles.extend(fault.map(|fault| down(port, fault, report, devices)));
        if is_heard(port) {
            troubles.extend(silent(port, report, devices));
            troubles.extend(poor(port));
            troubles.extend(noted(port));
        }
    }
    troubles
}

/// Whether a trouble of its port, or of its own address there, names this device already; or it hangs
/// on a port and is given time after the start.
pub fn named(report: &StatusReport, device: &str) -> bool {
    let its = |port: &&PortView| port.devices.iter().any(|on| on == device);
    let mut ports = report.serial.iter().filter(its);
    ports.any(|port| {
        if report.uptime_ms <= SETTLING_MS {
            return true;
        }
        let mut slaves = port.slaves.iter().filter(|slave| slave.device == device);
        !is_heard(port) && port.fault.is_some()
            || slaves.any(|slave| is_silent(slave, report.uptime_ms))
    })
}

impl SlaveView {
    /// Whether its line is worth a look.
    pub fn is_poor(&self) -> bool {
        self.answers == Some(true)
            && self.asked >= REQUESTS_MIN
            && self.quality.is_some_and(|quality| quality < QUALITY_MIN)
    }
}

/// Whether what hangs on it can be heard: another process on the same port takes only some of it.
fn is_heard(port: &PortView) -> bool {
    port.up && !matches!(port.fault, Some(PortFault::Garbled))
}

/// One that never answered is given time after the start: it may start with us.
fn is_silent(slave: &SlaveView, uptime_ms: u64) -> bool {
    let never = slave.last_answer_ms.is_none();
    let settled = uptime_ms > SETTLING_MS;
    match slave.answers {
        Some(true) => false,
        Some(false) => !never || settled,
        None => never && settled && slave.asked > 0,
    }
}

fn down(
    port: &PortView,
    fault: &PortFault,
    report: &StatusReport,
    devices: &[DeviceView],
) -> Trouble {
    let on_it = port.devices.iter().cloned();
    let (banks, others) = on_it.partition(|device| is_bank(devices, device));
    Trouble::PortDown {
        port: port.port.clone(),
        path: port.path.clone(),
        protocol: port.protocol.clone(),
        baud: port.baud,
        up: port.up,
        fault: fault.clone(),
        since_ms: before(report, port.for_ms),
        banks,
        devices: others,
    }
}

fn silent(port: &PortView, report: &StatusReport, devices: &[DeviceView]) -> Option<Trouble> {
    let silent = port.slaves.iter();
    let silent = silent.filter(|slave| is_silent(slave, report.uptime_ms));
    let slaves: Vec<Silent> = silent
        .map(|slave| Silent {
            device: slave.device.clone(),
            bank: is_bank(devices, &slave.device),
            address: slave.address,
            compartments: slave.compartments,
            last_answer_ms: slave.last_answer_ms.map(|ms| before(report, ms)),
        })
        .collect();
    let mut answering = port.slaves.iter().map(|slave| slave.answers);
    (!slaves.is_empty()).then(|| Trouble::SlavesSilent {
        port: port.port.clone(),
        others_answer: answering.any(|answers| answers == Some(true)),
        slaves,
    })
}

fn poor(port: &PortView) -> Option<Trouble> {
    let poor = port.slaves.iter().filter(|slave| slave.is_poor());
    let slaves: Vec<Poor> = poor
        .map(|slave| Poor {
            device: slave.device.clone(),
            address: slave.address,
            quality: slave.quality.unwrap_or_default(),
        })
        .collect();
    (!slaves.is_empty()).then(|| Trouble::LinePoor {
        port: port.port.clone(),
        baud: port.baud,
        slaves,
    })
}

fn noted(port: &PortView) -> Option<Trouble> {
    let noted = port.slaves.iter().filter_map(|slave| {
        Some(Noted {
            device: slave.device.clone(),
            address: slave.address,
            note: slave.note.clone()?,
        })
    });
    let slaves: Vec<Noted> = noted.collect();
    (!slaves.is_empty()).then(|| Trouble::SlavesNoted {
        port: port.port.clone(),
        slaves,
    })
}

fn is_bank(devices: &[DeviceView], id: &str) -> bool {
    let mut banks = devices.iter().filter(|device| device.role == "bank");
    banks.any(|bank| bank.device == id)
}

fn before(report: &StatusReport, ms: u64) -> i64 {
    report.clock.wall_ms.saturating_sub_unsigned(ms)
}

#[cfg(test)]
mod tests;
