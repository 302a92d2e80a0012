//! What stands where: the static facts of the estate, from its configuration.

use alloc::string::String;
use alloc::vec::Vec;

use cloud_protocol::downlink::{Size, Zone};
use firmware_protocols::Ident;

/// The whole estate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The site.
    pub site: Ident,
    /// Its buildings.
    pub buildings: Vec<Ident>,
    /// Its locker banks. A bank is also a device of the same id.
    pub banks: Vec<Bank>,
    /// Its desks. A desk is also a device of the same id.
    pub desks: Vec<Desk>,
    /// All other devices.
    pub devices: Vec<Device>,
    /// The rules that the operator sets.
    pub rules: Rules,
}

/// A locker bank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bank {
    /// Its id, also its controller's device id.
    pub id: Ident,
    /// The building it belongs to.
    pub building: Ident,
    /// For people: where it stands.
    pub address: String,
    /// Its compartments, by number from 1 without a gap.
    pub compartments: Vec<CompartmentSpec>,
    /// Whether compartments can tell that something is in them.
    pub occupancy_sensor: bool,
}

/// What a compartment is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompartmentSpec {
    /// The largest parcel that fits.
    pub size: Size,
    /// The temperature it keeps.
    pub zone: Zone,
    /// Whether it is within reach from a wheelchair.
    pub low: bool,
}

/// A desk: a group leader's home, a shop, the property office.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desk {
    /// Its id, also its terminal's device id.
    pub id: Ident,
    /// The building it belongs to.
    pub building: Ident,
    /// For people: where it is.
    pub address: String,
}

/// A device that isn't a point itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its id.
    pub id: Ident,
    /// The building it belongs to.
    pub building: Ident,
    /// The bank or desk that it is a keypad or scanner of, if it is one.
    pub point: Option<Ident>,
}

/// What the operator sets, with safe defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// How long an open command holds, ms. Default 10,000.
    pub command_ttl_ms: u64,
    /// How long a courier stays known at a point after the last scan, ms. Default 180,000.
    pub courier_session_ms: u64,
    /// After how long a compartment that is open for a hand-over raises an alarm, ms. Default 120,000.
    pub door_open_alarm_ms: u64,
    /// How long a used code opens its compartment again, ms. Default 120,000.
    pub reopen_grace_ms: u64,
    /// How long a dead code isn't given again, ms. Default 24 h.
    pub code_rest_ms: u64,
    /// The shortest code, digits. Default 6.
    pub code_min_digits: u8,
    /// The longest code, digits. Default 8.
    pub code_max_digits: u8,
    /// The chance per day to guess any live code of a point, as one in so many. Default 1,000.
    pub guess_one_in: u32,
    /// Wrong codes before a keypad locks. Default 5.
    pub lockout_after: u32,
    /// The first lockout, ms; it doubles each time. Default 60,000.
    pub lockout_first_ms: u64,
    /// The longest lockout, ms. Default 900,000.
    pub lockout_longest_ms: u64,
    /// The fewest distinct households for a count to leave the estate. Default 5.
    pub demand_k: u32,
    /// How long after its end an hour is closed, ms: for events that come late. Default 120,000.
    pub demand_lateness_ms: u64,
    /// How long a finished parcel is still known by id, ms. Default 30 days.
    pub finished_keep_ms: u64,
    /// Whether several parcels of one recipient share a compartment that is large enough. Default
    /// yes.
    pub share_compartments: bool,
    /// How long a compartment without an occupancy sensor stays its recipient's after the door was
    /// closed, ms: the code opens it again, and nobody else gets it, since nobody knows whether
    /// something was left in it. Default 300,000.
    pub no_sensor_hold_ms: u64,
    /// What becomes of a parcel that nobody announced. Default refused.
    pub unlisted: Unlisted,
    /// The compartment that such a parcel gets. Default M.
    pub unlisted_size: Size,
    /// How long a parcel may wait whose deadline nobody named, ms. Default 24 h.
    pub retention_ms: u64,
    /// How long after it was sent a command that wasn't answered is sent again, ms, within its time
    /// and with the same id. Default 3,000.
    pub command_retry_ms: u64,
}

/// What becomes of a parcel that nobody announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlisted {
    /// The courier takes it back.
    Refuse,
    /// A desk takes it. No locker, since nobody knows whether the recipient agreed to one.
    Desk,
    /// A desk or a locker takes it. The operator answers for the recipients' consent.
    Accept,
}

impl Unlisted {
    /// Every word with its meaning.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("refuse", Self::Refuse),
        ("desk", Self::Desk),
        ("accept", Self::Accept),
    ];
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            command_ttl_ms: 10_000,
            courier_session_ms: 180_000,
            door_open_alarm_ms: 120_000,
            reopen_grace_ms: 120_000,
            code_rest_ms: 24 * 3_600_000,
            code_min_digits: 6,
            code_max_digits: 8,
            guess_one_in: 1_000,
            lockout_after: 5,
            lockout_first_ms: 60_000,
            lockout_longest_ms: 900_000,
            demand_k: 5,
            demand_lateness_ms: 120_000,
            finished_keep_ms: 30 * 24 * 3_600_000,
            share_compartments: true,
            no_sensor_hold_ms: 300_000,
            unlisted: Unlisted::Refuse,
            unlisted_size: Size::M,
            retention_ms: 24 * 3_600_000,
            command_retry_ms: 3_000,
        }
    }
}
