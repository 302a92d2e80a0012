//! What is wrong, if anything: the verdict that stands first in the status.
//!
//! Judged from the status alone, so that it can be tested without a daemon. The words for people
//! are the CLI's; here stands what happened.

pub mod cloud;
pub mod compartments;
pub mod serial;

use serde::{Deserialize, Serialize};

use self::compartments::Lacking;
use self::serial::{Noted, Poor, Silent};
use super::profiles::ProfileDown;
use super::reload::RefusedConfiguration;
use super::views::{BankView, DeviceView, PartReport, SlowedView, StatusReport};
use crate::disk::Duty;
use crate::links::serial::status::PortFault;
use crate::store::audit::Break;
use crate::store::read::{CloudRefused, Concerns, GoingBack, LanesRow, LeftOpenRow, LockedRow};

/// How long after the start a device may stay unheard of before it counts as gone, ms.
pub const SETTLING_MS: u64 = 120_000;

/// How long a device may be slowed before somebody should look at it, ms: longer than a backlog of
/// 100,000 events takes.
pub const SLOWED_MS: i64 = 30 * 60_000;

/// The verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Nothing to do.
    Well,
    /// Somebody should look at it; residents are served.
    Attention,
    /// Somebody isn't served now.
    Failing,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "trouble", rename_all = "kebab-case")]
pub enum Trouble {
    /// Nothing can be written: nothing is acknowledged, nothing opens.
    NotWriting {
        /// Why, in words.
        error: Option<String>,
        /// Since when.
        since_ms: Option<i64>,
    },
    /// The disk refuses something else that it is needed for.
    DiskRefuses {
        /// What.
        duty: Duty,
        /// Why, in words.
        error: String,
        /// Since when.
        since_ms: i64,
        /// What is in the log and not yet in the database, bytes.
        log_bytes: u64,
    },
    /// The broker can't be used: no device is heard.
    LinkDown {
        /// `embedded` or `external`.
        mode: String,
        /// Where.
        address: String,
        /// Why, in words.
        error: String,
    },
    /// A part of the daemon ended and is started again.
    PartDown {
        /// Which.
        part: String,
        /// How often it was restarted.
        restarts: u64,
        /// Why it ended, in words.
        error: Option<String>,
    },
    /// A bank's controller isn't there: its doors can't be opened.
    BankOffline {
        /// Which.
        bank: String,
    },
    /// A serial port can't be used, or nothing on it makes sense.
    PortDown {
        /// Its id.
        port: String,
        /// Its path in the configuration.
        path: String,
        /// What is spoken on it.
        protocol: String,
        /// Bits a second.
        baud: u32,
        /// It is open all the same.
        #[serde(default)]
        up: bool,
        /// What is wrong.
        fault: PortFault,
        /// Since when.
        since_ms: i64,
        /// The banks on it, whose doors can't be opened.
        banks: Vec<String>,
        /// The other devices on it.
        devices: Vec<String>,
    },
    /// Devices on a serial port don't answer.
    SlavesSilent {
        /// The port.
        port: String,
        /// Others on the same port answer.
        others_answer: bool,
        /// Which.
        slaves: Vec<Silent>,
    },
    /// Devices on a serial port often have to be asked again.
    LinePoor {
        /// The port.
        port: String,
        /// Bits a second.
        baud: u32,
        /// Which.
        slaves: Vec<Poor>,
    },
    /// Devices on a serial port answer, and something else is wrong with them.
    SlavesNoted {
        /// The port.
        port: String,
        /// Which, and what.
        slaves: Vec<Noted>,
    },
    /// Other devices aren't there.
    DevicesOffline {
        /// Which.
        devices: Vec<String>,
    },
    /// Compartments aren't used until somebody has looked at them.
    CompartmentsFaulty {
        /// Of which bank.
        bank: String,
        /// Their numbers.
        compartments: Vec<u16>,
    },
    /// Compartments were taken out of use by a technician.
    CompartmentsDisabled {
        /// Of which bank.
        bank: String,
        /// Their numbers.
        compartments: Vec<u16>,
    },
    /// Compartments should hold parcels, but their sensors see nothing.
    ParcelsNotSeen {
        /// Which.
        compartments: Vec<Lacking>,
    },
    /// Something lies in compartments that no parcel accounts for.
    NotBooked {
        /// Which: `BANK/NUMBER`.
        slots: Vec<String>,
    },
    /// Desks are locked after wrong codes.
    DesksLocked {
        /// Which, and until when.
        desks: Vec<LockedRow>,
    },
    /// Keypads are locked after wrong codes.
    KeypadsLocked {
        /// Which, and until when.
        keypads: Vec<LockedRow>,
    },
    /// Doors were left open during a hand-over.
    DoorsLeftOpen {
        /// Which.
        doors: Vec<LeftOpenRow>,
    },
    /// Parcels are overdue, or wait to be taken back for another reason.
    ParcelsGoBack(GoingBack),
    /// The cloud said something lately that can't be done.
    CloudRefused(CloudRefused),
    /// Devices use a boot number for more than one start, so their events can't all be told apart.
    BootsReused {
        /// Which.
        devices: Vec<String>,
    },
    /// Devices send more than their limit, and are slowed.
    DevicesSlowed {
        /// Which, since when, how much.
        devices: Vec<SlowedView>,
    },
    /// A profile isn't run: nothing comes of its devices.
    ProfileDown(ProfileDown),
    /// The cloud hasn't taken anything for a while.
    Backlog {
        /// Items that wait.
        waiting: u64,
        /// When the oldest of them was made.
        oldest_ms: i64,
    },
    /// The cloud client names something that doesn't go away by trying again.
    Cloud {
        /// The lane that doesn't go on; null if it isn't about one.
        lane: Option<String>,
        /// Else the direction that doesn't go on, `uplink` or `downlink`; null if neither does.
        #[serde(default)]
        way: Option<String>,
        /// What is wrong, in words.
        what: String,
        /// What to do about it, in words.
        remedy: String,
        /// Since when.
        #[serde(default)]
        since_ms: Option<i64>,
        /// It has kept new pickup codes from their residents for longer than [`cloud::HELD_MS`].
        #[serde(default)]
        codes_wait: bool,
    },
    /// A certificate on the way to the cloud ends soon, or has ended.
    CertificateEnds {
        /// Whose: `client` (the gateway's own), `ca` (a pinned authority's), `cloud`.
        what: String,
        /// Its end.
        not_after_ms: i64,
        /// Whole days until then; below 0 when it is over.
        days_left: i64,
    },
    /// What is left of the line's budget is kept for parcels.
    LineExhausted {
        /// What crossed it this month, both ways.
        used_bytes: u64,
        /// What may.
        budget_bytes: u64,
        /// When the month ends.
        until_ms: Option<i64>,
    },
    /// The box's clock isn't the cloud's.
    ClockOff {
        /// How far it is behind; below 0: ahead.
        skew_ms: i64,
    },
    /// The parcels' history isn't what was written.
    HistoryBroken {
        /// The first entry that doesn't hold.
        broken: Break,
    },
    /// A new configuration was refused; the one before still holds.
    ConfigurationRefused {
        /// What was tried.
        refused: RefusedConfiguration,
        /// When the one was taken that holds.
        taken_ms: i64,
    },
    /// Nobody has told the box the time.
    ClockUnknown,
}

impl Trouble {
    /// A part that ended.
    pub fn of_part(part: &PartReport) -> Self {
        Self::PartDown {
            part: part.name.clone(),
            restarts: part.restarts,
            error: part.last_error.clone(),
        }
    }

    /// How bad it is.
    pub fn health(&self) -> Health {
        match self {
            Self::NotWriting { .. }
            | Self::LinkDown { .. }
            | Self::PartDown { .. }
            | Self::BankOffline { .. }
            | Self::Cloud {
                codes_wait: true, ..
            } => Health::Failing,
            Self::PortDown {
                banks, up, fault, ..
            } if !banks.is_empty() && (!up || *fault == PortFault::Garbled) => Health::Failing,
            Self::SlavesSilent { slaves, .. } if slaves.iter().any(|slave| slave.bank) => {
                Health::Failing
            }
            Self::DiskRefuses { .. }
            | Self::PortDown { .. }
            | Self::SlavesSilent { .. }
            | Self::LinePoor { .. }
            | Self::SlavesNoted { .. }
            | Self::DevicesOffline { .. }
            | Self::CompartmentsFaulty { .. }
            | Self::CompartmentsDisabled { .. }
            | Self::ParcelsNotSeen { .. }
            | Self::NotBooked { .. }
            | Self::DesksLocked { .. }
            | Self::KeypadsLocked { .. }
            | Self::DoorsLeftOpen { .. }
            | Self::ParcelsGoBack(_)
            | Self::CloudRefused(_)
            | Self::BootsReused { .. }
            | Self::DevicesSlowed { .. }
            | Self::ProfileDown(_)
            | Self::Backlog { .. }
            | Self::Cloud { .. }
            | Self::CertificateEnds { .. }
            | Self::LineExhausted { .. }
            | Self::ClockOff { .. }
            | Self::HistoryBroken { .. }
            | Self::ConfigurationRefused { .. }
            | Self::ClockUnknown => Health::Attention,
        }
    }
}

/// What is wrong, worst first, and the verdict.
pub fn judge(
    report: &StatusReport,
    banks: &[BankView],
    devices: &[DeviceView],
    lanes: &LanesRow,
    concerns: &Concerns,
) -> (Health, Vec<Trouble>) {
    let mut troubles = Vec::new();
    troubles.extend(own(report));
    troubles.extend(serial::troubles(report, devices));
    troubles.extend(away(report, devices));
    troubles.extend(left_open(concerns));
    troubles.extend(locked(devices, concerns));
    troubles.extend(compartments::troubles(banks));
    troubles.extend(concerns.going_back.map(Trouble::ParcelsGoBack));
    troubles.extend(boots_reused(devices));
    troubles.extend(slowed(report));
    let down = report.links.profiles.iter().cloned();
    troubles.extend(down.map(Trouble::ProfileDown));
    let now_ms = report.clock.wall_ms;
    let cloud = cloud::lane_troubles(&report.cloud, now_ms, &lanes.lanes);
    let backlog = cloud::backlog(now_ms, &report.cloud, &lanes.lanes, &cloud);
    troubles.extend(cloud);
    troubles.extend(cloud::paper_troubles(&report.cloud));
    let refused = concerns.cloud_refused.clone();
    troubles.extend(refused.map(Trouble::CloudRefused));
    troubles.extend(backlog.filter(|_| !report.cloud.is_null()));
    let broken = report.audit.broken.clone();
    troubles.extend(broken.map(|broken| Trouble::HistoryBroken { broken }));
    let configuration = &report.configuration;
    let refused = configuration.refused.clone();
    troubles.extend(refused.map(|refused| Trouble::ConfigurationRefused {
        refused,
        taken_ms: configuration.taken_ms,
    }));
    if report.clock.quality == "unknown" {
        troubles.push(Trouble::ClockUnknown);
    }
    // Stable: troubles of one weight stay in the order above.
    troubles.sort_by_key(|trouble| {
        let evidence = matches!(trouble, Trouble::HistoryBroken { .. });
        std::cmp::Reverse((trouble.health(), evidence))
    });
    let health = troubles.first().map_or(Health::Well, Trouble::health);
    (health, troubles)
}

/// What the daemon says of itself.
fn own(report: &StatusReport) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    if !report.journal.writing {
        troubles.push(Trouble::NotWriting {
            error: report.journal.last_error.clone(),
            since_ms: report.journal.degraded_since_ms,
        });
    }
    let refused = report.disk.iter();
    let refused = refused.filter(|refused| refused.duty != Duty::Writing);
    troubles.extend(refused.map(|refused| Trouble::DiskRefuses {
        duty: refused.duty,
        error: refused.error.clone(),
        since_ms: refused.since_ms,
        log_bytes: report.journal.log_bytes,
    }));
    if let Some(error) = &report.links.last_error {
        troubles.push(Trouble::LinkDown {
            mode: report.links.mode.clone(),
            address: report.links.address.clone(),
            error: error.clone(),
        });
    }
    // A link that is down was named already, with the same reason.
    let named = |part: &&PartReport| {
        part.last_error.is_some() && part.last_error == report.links.last_error
    };
    let down = report.parts.iter().filter(|part| !part.running);
    let down = down.filter(|part| !named(part));
    troubles.extend(down.map(Trouble::of_part));
    troubles
}

/// Devices that aren't there, but for those that are named with their serial port.
fn away(report: &StatusReport, devices: &[DeviceView]) -> Vec<Trouble> {
    let gone = devices.iter().filter(|device| match device.online {
        Some(online) => !online,
        None => report.uptime_ms > SETTLING_MS,
    });
    let configured = gone
        .filter(|device| device.role != "unconfigured")
        .filter(|device| !serial::named(report, &device.device));
    let (banks, others): (Vec<_>, Vec<_>) = configured.partition(|device| device.role == "bank");
    let mut troubles: Vec<_> = banks
        .into_iter()
        .map(|bank| Trouble::BankOffline {
            bank: bank.device.clone(),
        })
        .collect();
    if !others.is_empty() {
        let devices = others.iter().map(|device| device.device.clone()).collect();
        troubles.push(Trouble::DevicesOffline { devices });
    }
    troubles
}

fn left_open(concerns: &Concerns) -> Option<Trouble> {
    let doors = concerns.left_open.clone();
    (!doors.is_empty()).then_some(Trouble::DoorsLeftOpen { doors })
}

fn locked(devices: &[DeviceView], concerns: &Concerns) -> Vec<Trouble> {
    let at_desk = |row: &LockedRow| {
        let mut desks = devices.iter().filter(|device| device.role == "desk");
        desks.any(|desk| desk.device == row.keypad)
    };
    let (desks, keypads): (Vec<_>, Vec<_>) = concerns.locked.iter().cloned().partition(at_desk);
    let mut troubles = Vec::new();
    if !keypads.is_empty() {
        troubles.push(Trouble::KeypadsLocked { keypads });
    }
    if !desks.is_empty() {
        troubles.push(Trouble::DesksLocked { desks });
    }
    troubles
}

/// What is slowed for a moment, to take a backlog, needs nobody.
fn slowed(report: &StatusReport) -> Option<Trouble> {
    let long = |slowed: &&SlowedView| report.clock.wall_ms - slowed.since_ms >= SLOWED_MS;
    let devices = report.links.limits.slowed.iter().filter(long);
    let devices: Vec<SlowedView> = devices.cloned().collect();
    (!devices.is_empty()).then_some(Trouble::DevicesSlowed { devices })
}

/// A boot that was pushed out by newer ones doesn't matter any more.
fn boots_reused(devices: &[DeviceView]) -> Option<Trouble> {
    let configured = devices
        .iter()
        .filter(|device| device.role != "unconfigured");
    let reused = configured.filter(|device| {
        let mut boots = device.boots.iter();
        boots.any(|boot| boot.reused && !boot.closed)
    });
    let devices: Vec<String> = reused.map(|device| device.device.clone()).collect();
    (!devices.is_empty()).then_some(Trouble::BootsReused { devices })
}

#[cfg(test)]
mod set_up_tests;
#[cfg(test)]
mod tests;
