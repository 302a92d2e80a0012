//! The shapes of the control API's answers, which are also the CLI's `--json`.
//!
//! Times are integers, `_ms` since the Unix epoch, durations `_ms` too, sizes `_bytes`. What isn't
//! known is `null`. Rows that come straight from the store are in [`crate::store::read`].

use serde::{Deserialize, Serialize};

use super::health::{Health, Trouble};
use super::profiles::ProfileDown;
use super::reload::ConfigurationReport;
use super::secret::PickupCode;
use crate::audit::AuditReport;
use crate::disk::Refused;
use crate::links::serial::status::PortView;
use crate::store::read::{BootRow, LanesRow, StoreCounts};

/// How the daemon is, by its own word, from memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The daemon's version.
    pub version: String,
    /// The site.
    pub site: String,
    /// How long it has been running.
    pub uptime_ms: u64,
    /// The journal.
    pub journal: JournalReport,
    /// The broker.
    pub links: LinksReport,
    /// The daemon's parts that are started again when they fail.
    #[serde(default)]
    pub parts: Vec<PartReport>,
    /// The cloud client's own status; null without a cloud.
    pub cloud: serde_json::Value,
    /// What the box knows about the time.
    pub clock: ClockReport,
    /// Resident memory.
    pub memory_rss_bytes: Option<u64>,
    /// What the last verification of the parcels' history found.
    #[serde(default)]
    pub audit: AuditReport,
    /// What the disk refuses at the moment.
    #[serde(default)]
    pub disk: Vec<Refused>,
    /// The serial ports.
    #[serde(default)]
    pub serial: Vec<PortView>,
    /// Which configuration holds.
    #[serde(default)]
    pub configuration: ConfigurationReport,
}

/// How the journal is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JournalReport {
    /// Events and decisions reach the disk.
    pub writing: bool,
    /// Why they don't, in words.
    pub last_error: Option<String>,
    /// Since when they don't.
    pub degraded_since_ms: Option<i64>,
    /// Transactions committed since the start.
    pub commits: u64,
    /// Events stored since the start.
    pub events_taken: u64,
    /// Work turned away since the start because too much waited.
    pub turned_away: u64,
    /// Work that waits now.
    pub queue_depth: u64,
    /// What is in the log and not yet in the database.
    #[serde(default)]
    pub log_bytes: u64,
}

/// How devices reach the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LinksReport {
    /// `embedded` or `external`.
    pub mode: String,
    /// Where the broker listens, or the external broker's address.
    pub address: String,
    /// Devices that are connected now.
    pub connected: u64,
    /// Why the broker can't be used, in words.
    pub last_error: Option<String>,
    /// Who sends more than the limit.
    #[serde(default)]
    pub limits: LimitsReport,
    /// How many different names knocked lately that stand in no configuration.
    #[serde(default)]
    pub unknown_knocks: u64,
    /// Profiles that aren't run.
    #[serde(default)]
    pub profiles: Vec<ProfileDown>,
}

/// Who sends more than the limit, and what was done about it since the daemon started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LimitsReport {
    /// Devices that are being slowed now.
    pub slowed: Vec<SlowedView>,
    /// How often a device began to be slowed.
    pub episodes: u64,
    /// How long connections weren't read, all together.
    pub held_ms: u64,
    /// Publications not taken, to be sent again (external broker).
    pub put_off: u64,
}

/// A device that is being slowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlowedView {
    /// Its id; `strangers` for all that isn't configured, together.
    pub device: String,
    /// Since when.
    pub since_ms: i64,
    /// What it sends too much of: `events`, `urgent events`, `bytes`.
    pub over: String,
    /// How long its connection wasn't read since then.
    pub held_ms: u64,
    /// Publications not taken since then, to be sent again (external broker).
    pub put_off: u64,
}

/// A part of the daemon that is restarted when it fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartReport {
    /// Its name.
    pub name: String,
    /// It runs now.
    pub running: bool,
    /// How often it was restarted.
    pub restarts: u64,
    /// Why it last ended, in words.
    pub last_error: Option<String>,
}

/// What the box knows about the time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReport {
    /// Now.
    pub wall_ms: i64,
    /// `unknown`, `estimated`, `synchronised`.
    pub quality: String,
    /// How long the estate has been running over all its starts: lockouts run on it.
    #[serde(default)]
    pub tick_ms: u64,
}

/// The whole status: the verdict first, then what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// `well`, `attention`, `failing`.
    pub health: Health,
    /// What is wrong, worst first.
    pub troubles: Vec<Trouble>,
    /// The daemon's own report.
    #[serde(flatten)]
    pub report: StatusReport,
    /// Devices by presence.
    pub devices: DeviceCounts,
    /// Devices that haven't come with their new password yet.
    #[serde(default)]
    pub rotating: Vec<String>,
    /// Compartments by state; null when the store can't be read.
    pub compartments: Option<StateCounts>,
    /// The store's figures; null when it can't be read.
    pub store: Option<StoreCounts>,
    /// Where the lanes to the cloud stand.
    #[serde(flatten)]
    pub lanes: LanesRow,
}

/// Devices by presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeviceCounts {
    /// In the configuration.
    pub configured: u64,
    /// Connected.
    pub online: u64,
    /// Gone.
    pub offline: u64,
    /// Not heard of since the daemon started.
    pub unknown: u64,
}

/// A new password that its device hasn't used yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationView {
    /// Until when the old one is good; null until the new one is used.
    pub until_ms: Option<i64>,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceView {
    /// Its id.
    pub device: String,
    /// `bank`, `desk`, `device`, or `unconfigured`: heard once, no longer in the configuration.
    pub role: String,
    /// The building it belongs to.
    pub building: Option<String>,
    /// The bank or desk that it belongs to.
    pub point: Option<String>,
    /// Whether it is connected; null if nothing was heard of it since the daemon started.
    pub online: Option<bool>,
    /// Whether it sends more than its limit, and is slowed.
    #[serde(default)]
    pub slowed: Option<SlowedView>,
    /// Its new password, if it hasn't come with it yet.
    #[serde(default)]
    pub rotation: Option<RotationView>,
    /// When it last sent something.
    pub last_heard_ms: Option<i64>,
    /// The encoding it last spoke: `cbor`, `json`.
    pub form: Option<String>,
    /// Its boot that was heard last.
    pub boot: Option<u32>,
    /// Events received: `received = stored + duplicate + quarantined`.
    pub received: u64,
    /// Events stored.
    pub stored: u64,
    /// Events that had been stored before.
    pub duplicate: u64,
    /// Events put into quarantine.
    pub quarantined: u64,
    /// Its boots, last heard first, with the gaps in their sequences.
    pub boots: Vec<BootRow>,
    /// Its model, by its own word.
    pub model: Option<String>,
    /// Its firmware, by its own word.
    pub firmware: Option<String>,
    /// What it can do, by its own word.
    pub capabilities: Vec<String>,
}

/// A locker bank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BankView {
    /// Its id.
    pub bank: String,
    /// The building it belongs to.
    pub building: String,
    /// Where it stands, for people.
    pub address: String,
    /// Whether its controller is connected.
    pub online: Option<bool>,
    /// Whether its compartments can tell that something is in them.
    pub occupancy_sensor: bool,
    /// Its compartments, by number.
    pub compartments: Vec<CompartmentView>,
}

/// A compartment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompartmentView {
    /// Its number, from 1.
    pub compartment: u16,
    /// `S`, `M`, `L`.
    pub size: String,
    /// `ambient`, `chilled`, `frozen`.
    pub zone: String,
    /// What it is at a glance.
    pub state: CompartmentState,
    /// The parcels that are in it, all of one recipient.
    pub parcels: Vec<String>,
    /// The parcel that is being put in.
    pub reserved: Option<String>,
    /// What the door's sensor last said: `open`, `closed`, `unknown`.
    pub door: String,
    /// What the occupancy sensor last said, if there is one.
    pub occupied: Option<bool>,
    /// Why it isn't used: it failed to open.
    pub fault: Option<String>,
    /// Why it isn't used: in a technician's words.
    pub disabled: Option<String>,
    /// Whether it is within reach from a wheelchair.
    pub low: bool,
    /// How often it was opened.
    pub openings: u64,
}

/// What a compartment is at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CompartmentState {
    /// Empty and ready.
    Free,
    /// Kept for a parcel whose deposit is under way.
    Reserved,
    /// Something is in it.
    Occupied,
    /// Its door stands open.
    Open,
    /// Not used until somebody has looked at it.
    Faulty,
    /// Taken out of use by a technician.
    Disabled,
}

/// Compartments by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StateCounts {
    /// Empty and ready.
    pub free: u64,
    /// Kept for a deposit under way.
    pub reserved: u64,
    /// Something is in them.
    pub occupied: u64,
    /// The door stands open.
    pub open: u64,
    /// Not used: they failed to open.
    pub faulty: u64,
    /// Taken out of use by a technician.
    #[serde(default)]
    pub disabled: u64,
}

impl StateCounts {
    /// Counts states.
    pub fn of(states: impl IntoIterator<Item = CompartmentState>) -> Self {
        let mut counts = Self::default();
        for state in states {
            match state {
                CompartmentState::Free => counts.free += 1,
                CompartmentState::Reserved => counts.reserved += 1,
                CompartmentState::Occupied => counts.occupied += 1,
                CompartmentState::Open => counts.open += 1,
                CompartmentState::Faulty => counts.faulty += 1,
                CompartmentState::Disabled => counts.disabled += 1,
            }
        }
        counts
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.free + self.reserved + self.occupied + self.open + self.faulty + self.disabled
    }
}

/// A compartment being opened by hand, and what became of it so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The command's id.
    pub command: String,
    /// Which compartment: `BANK/NUMBER`.
    pub slot: String,
    /// Who, as it is recorded.
    pub operator: String,
    /// Why, as it is recorded.
    pub reason: String,
    /// `requested`, `sent`, `done`, `opened`, `closed`, `refused`, `failed`, `expired`, `unknown`.
    pub state: String,
    /// What the device said to it.
    pub answer: Option<String>,
    /// How long that took.
    pub waited_ms: u64,
}

impl Opening {
    /// Whether what became of it isn't known yet.
    pub fn under_way(&self) -> bool {
        matches!(self.state.as_str(), "requested" | "sent" | "done")
    }

    /// Whether the lock was moved, as far as is known.
    pub fn succeeded(&self) -> bool {
        matches!(self.state.as_str(), "opened" | "closed" | "done")
    }
}

/// Something that the staff did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    /// What: `hand-over`, `receive`, `claim`, `transfer`, `retrieve`, `reissue`, `extend`,
    /// `disable`, `enable`.
    pub act: String,
    /// Who, as it is recorded.
    pub operator: String,
    /// The parcel that it is about.
    pub parcel: Option<String>,
    /// The desk, if it was at one.
    pub desk: Option<String>,
    /// The compartment that was taken out of use or put back into it: `BANK/NUMBER`.
    pub slot: Option<String>,
    /// What came of it, in words.
    pub text: String,
    /// A code that was issued for this. It is shown only now.
    pub code: Option<PickupCode>,
    /// Where that code is good.
    pub good_at: Option<PointView>,
    /// The new deadline, if it was extended.
    pub until_ms: Option<i64>,
    /// Why the compartment was out of use already: the reason that was replaced.
    #[serde(default)]
    pub before: Option<String>,
    /// The compartment that is opened for this, and what became of that so far.
    pub opening: Option<Opening>,
}

/// A bank or a desk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointView {
    /// Its id.
    pub point: String,
    /// Where it is, for people.
    pub address: String,
}

/// The way to the cloud.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sync {
    /// The cloud client's own status; null without a cloud.
    pub cloud: serde_json::Value,
    /// Whether it runs; null without a cloud.
    #[serde(default)]
    pub part: Option<PartReport>,
    /// Where the lanes stand.
    #[serde(flatten)]
    pub lanes: LanesRow,
}
