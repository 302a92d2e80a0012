//! What must be written, and the whole of what was written.
//!
//! [`Change`] rows are whole rows: writing one twice is the same as writing it once. A [`Snapshot`]
//! is what a store holds; [`Snapshot::apply`] is the reference for what writing a change means, and
//! what the SQL store is tested against.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;

use cloud_protocol::Report;
use firmware_protocols::{Ident, Slot};

use crate::Digest;
use crate::code::CodeRow;
use crate::command::CommandRow;
use crate::compartment::CompartmentRow;
use crate::demand::{Cell, CellKey};
use crate::device::{BootRow, DeviceRow};
use crate::keypad::KeypadRow;
use crate::parcel::{CourierRow, ParcelRow, TraceEntry};

/// One row to write.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A device's ledger and description.
    Device(DeviceRow),
    /// How far one boot of a device has been received.
    Boot(BootRow),
    /// A boot that is no longer kept.
    BootGone {
        /// The device.
        device: Ident,
        /// Its boot.
        boot: u32,
    },
    /// A compartment's state.
    Compartment(CompartmentRow),
    /// A parcel's state.
    Parcel(ParcelRow),
    /// A parcel that the estate no longer needs in memory; its row stays for its history.
    ParcelArchived(String),
    /// A live or resting code.
    Code(CodeRow),
    /// A code that has rested long enough.
    CodeGone {
        /// The point.
        point: Ident,
        /// The code's digest.
        digest: Digest,
    },
    /// A keypad's wrong tries.
    Keypad(KeypadRow),
    /// A courier's badge.
    Courier(CourierRow),
    /// A courier's badge that has run out.
    CourierGone(Digest),
    /// A command's way.
    Command(CommandRow),
    /// A command that is settled and no longer needed in memory; its row stays.
    CommandArchived(String),
    /// A running count of demand.
    Cell(Cell),
    /// A distinct household that a count has seen.
    CellHousehold {
        /// The count.
        cell: CellKey,
        /// The day's keyed digest of the household, shortened.
        household: u64,
    },
    /// A count that has been released, or withheld for good.
    CellGone(CellKey),
    /// A step in a parcel's history: appended, never changed.
    Trace(TraceEntry),
    /// An item for the cloud: appended to its lane; the store numbers it.
    Uplink {
        /// When it was made, ms since the Unix epoch.
        at_ms: i64,
        /// What it says.
        report: Report,
    },
    /// A setting from the cloud.
    Setting {
        /// Its name.
        name: String,
        /// Its value.
        value: i64,
    },
}

/// Everything that the estate needs to go on after a restart.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// By device.
    pub devices: BTreeMap<Ident, DeviceRow>,
    /// By device and boot.
    pub boots: BTreeMap<(Ident, u32), BootRow>,
    /// By slot.
    pub compartments: BTreeMap<Slot, CompartmentRow>,
    /// By id, without the archived ones.
    pub parcels: BTreeMap<String, ParcelRow>,
    /// By point and digest.
    pub codes: BTreeMap<(Ident, Digest), CodeRow>,
    /// By keypad.
    pub keypads: BTreeMap<Ident, KeypadRow>,
    /// By badge.
    pub couriers: BTreeMap<Digest, CourierRow>,
    /// By id, without the archived ones.
    pub commands: BTreeMap<String, CommandRow>,
    /// By key.
    pub cells: BTreeMap<CellKey, Cell>,
    /// By the key of their cell.
    pub households: BTreeMap<CellKey, BTreeSet<u64>>,
    /// By name.
    pub settings: BTreeMap<String, i64>,
}

impl Snapshot {
    /// What writing `change` means. Appended rows (trace, uplink) aren't part of a snapshot.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Device(row) => {
                self.devices.insert(row.device.clone(), row);
            }
            Change::Boot(row) => {
                self.boots.insert((row.device.clone(), row.boot), row);
            }
            Change::BootGone { device, boot } => {
                self.boots.remove(&(device, boot));
            }
            Change::Compartment(row) => {
                self.compartments.insert(row.slot.clone(), row);
            }
            Change::Parcel(row) => {
                self.parcels.insert(row.parcel.parcel.clone(), row);
            }
            Change::ParcelArchived(parcel) => {
                self.parcels.remove(&parcel);
            }
            Change::Code(row) => {
                self.codes.insert((row.point.clone(), row.digest), row);
            }
            Change::CodeGone { point, digest } => {
                self.codes.remove(&(point, digest));
            }
            Change::Keypad(row) => {
                self.keypads.insert(row.keypad.clone(), row);
            }
            Change::Courier(row) => {
                self.couriers.insert(row.proof, row);
            }
            Change::CourierGone(badge) => {
                self.couriers.remove(&badge);
            }
            Change::Command(row) => {
                self.commands.insert(row.id.clone(), row);
            }
            Change::CommandArchived(id) => {
                self.commands.remove(&id);
            }
            Change::Cell(cell) => {
                self.cells.insert(cell.key.clone(), cell);
            }
            Change::CellHousehold { cell, household } => {
                self.households.entry(cell).or_default().insert(household);
            }
            Change::CellGone(key) => {
                self.cells.remove(&key);
                self.households.remove(&key);
            }
            Change::Setting { name, value } => {
                self.settings.insert(name, value);
            }
            Change::Trace(_) | Change::Uplink { .. } => {}
        }
    }
}
