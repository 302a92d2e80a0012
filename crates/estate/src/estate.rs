//! The estate as a value: what it consists of, loading it, handing it an input, taking its changes.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::mem;

use cloud_protocol::Report;
use firmware_protocols::{Ident, Slot};

use crate::bank_codes::{BankLists, LIST_ID};
use crate::change::Change;
use crate::code::CodeRow;
use crate::command::CommandRow;
use crate::compartment::CompartmentRow;
use crate::courier::Session;
use crate::device::{BootRow, DeviceRow};
use crate::freshness::Clocks;
use crate::hours::Demand;
use crate::input::{Happening, Input, Outcome, Verdict};
use crate::keypad::KeypadRow;
use crate::layout::{Layout, Rules};
use crate::parcel::{CourierRow, ParcelRow, TraceEntry};
use crate::places::Places;
use crate::retries::Retries;
use crate::tracked::Tracked;
use crate::turn::{Origin, Turn};
use crate::{Context, DeviceEvent, Digest, Now};

/// The estate: everything that is known, and the rules by which it changes.
///
/// * To begin: [`Estate::load`]; with another layout later on: [`Estate::relayout`].
/// * In: [`Estate::handle`].
/// * Out: [`Estate::take_changes`], then, once they are on disk, [`Estate::take_receipts`].
/// * To look: the methods that take `&self`.
///
/// Two estates are equal if all that is persisted of them is: a loaded estate equals the one whose
/// changes were written. What lives in memory only costs a restart no more than repeating a gesture:
/// the courier who has just shown a badge (shows it again), the reader last used at a point (the next
/// message is shown at the point itself), how the devices' clocks stand, which commands are sent
/// again, what banks that check codes were told (they are told anew), the wrong compartment that a
/// parcel may lie in (another one opens), the count of late demand.
#[derive(Clone)]
pub struct Estate {
    pub(crate) layout: Layout,
    pub(crate) places: Places,
    /// The layout's rules with what the cloud's settings change of them.
    pub(crate) rules: Rules,
    pub(crate) devices: Tracked<Ident, DeviceRow>,
    pub(crate) boots: Tracked<(Ident, u32), BootRow>,
    pub(crate) compartments: Tracked<Slot, CompartmentRow>,
    pub(crate) parcels: Tracked<String, ParcelRow>,
    pub(crate) codes: Tracked<(Ident, Digest), CodeRow>,
    pub(crate) keypads: Tracked<Ident, KeypadRow>,
    pub(crate) couriers: Tracked<Digest, CourierRow>,
    pub(crate) commands: Tracked<String, CommandRow>,
    pub(crate) settings: Tracked<String, i64>,
    pub(crate) demand: Demand,
    /// The courier known at a point, in memory only.
    pub(crate) sessions: BTreeMap<Ident, Session>,
    /// The keypad or scanner last used at a point, in memory only.
    pub(crate) readers: BTreeMap<Ident, Ident>,
    /// The wrong compartment that a parcel may lie in, in memory only.
    pub(crate) mislaid: BTreeMap<String, Slot>,
    /// Compartments whose sensor says empty although something should lie in them. In memory, but
    /// found again in what is loaded.
    pub(crate) missing: BTreeSet<Slot>,
    /// How the devices' clocks stand, in memory only.
    pub(crate) clocks: Clocks,
    /// The commands that are sent again, in memory only.
    pub(crate) retries: Retries,
    /// The commands that were found as requested when the estate was loaded: they may have left
    /// the box just before it stopped. In memory only, no more than there are commands.
    pub(crate) perhaps_sent: BTreeSet<String>,
    /// What banks that check codes by themselves were told, in memory only.
    pub(crate) bank_lists: BankLists,
    pub(crate) receipts: BTreeSet<(Ident, u32)>,
    pub(crate) traces: Vec<TraceEntry>,
    pub(crate) uplinks: Vec<(i64, Report)>,
}

impl Estate {
    /// Takes one input: changes what is known, says what became of the input and what to do once
    /// the changes are on disk.
    pub fn handle(&mut self, ctx: &mut Context<'_>, input: Input) -> Outcome {
        let mut turn = Turn::new(ctx);
        let verdict = match input {
            Input::Event(event) => self.event(&mut turn, event),
            Input::Unreadable { device, number } => self.unreadable(&turn.now, &device, number),
            Input::Downlink(item) => self.downlink(&mut turn, item),
            Input::OpenByHand {
                slot,
                operator,
                reason,
            } => self.open_by_hand(&mut turn, slot, operator, reason),
            Input::Disable {
                slot,
                operator,
                reason,
            } => self.disable(&mut turn, &slot, &operator, reason),
            Input::Desk { operator, act } => self.at_desk(&mut turn, &operator, act),
            Input::CommandSent { command } => self.command_sent(&turn.now, &command),
            Input::Tick => {
                self.tick(&mut turn);
                Verdict::Taken
            }
        };
        Outcome {
            verdict,
            told: turn.told,
            effects: turn.effects,
        }
    }

    /// What must be written since the last call: each row that was touched once, as it stands now;
    /// then what is appended, in order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let mut out = Vec::new();
        let device = |_, row: Option<&DeviceRow>| row.cloned().map(Change::Device);
        self.devices.drain(device, &mut out);
        let boot = |(device, boot), row: Option<&BootRow>| {
            Some(
                row.cloned()
                    .map_or(Change::BootGone { device, boot }, Change::Boot),
            )
        };
        self.boots.drain(boot, &mut out);
        let compartment = |_, row: Option<&CompartmentRow>| row.cloned().map(Change::Compartment);
        self.compartments.drain(compartment, &mut out);
        let parcel = |id, row: Option<&ParcelRow>| {
            Some(
                row.cloned()
                    .map_or(Change::ParcelArchived(id), Change::Parcel),
            )
        };
        self.parcels.drain(parcel, &mut out);
        let code = |(point, digest), row: Option<&CodeRow>| {
            Some(
                row.cloned()
                    .map_or(Change::CodeGone { point, digest }, Change::Code),
            )
        };
        self.codes.drain(code, &mut out);
        let keypad = |_, row: Option<&KeypadRow>| row.cloned().map(Change::Keypad);
        self.keypads.drain(keypad, &mut out);
        let courier = |badge, row: Option<&CourierRow>| {
            Some(
                row.cloned()
                    .map_or(Change::CourierGone(badge), Change::Courier),
            )
        };
        self.couriers.drain(courier, &mut out);
        let command = |id, row: Option<&CommandRow>| {
            Some(
                row.cloned()
                    .map_or(Change::CommandArchived(id), Change::Command),
            )
        };
        self.commands.drain(command, &mut out);
        self.demand.drain(&mut out);
        let setting = |name, value: Option<&i64>| {
            value.map(|value| Change::Setting {
                name,
                value: *value,
            })
        };
        self.settings.drain(setting, &mut out);
        out.extend(mem::take(&mut self.traces).into_iter().map(Change::Trace));
        let uplinks = mem::take(&mut self.uplinks);
        out.extend(
            uplinks
                .into_iter()
                .map(|(at_ms, report)| Change::Uplink { at_ms, report }),
        );
        out
    }

    fn event(&mut self, turn: &mut Turn<'_, '_>, event: DeviceEvent) -> Verdict {
        let Some(standing) = self.places.standing(&event.device) else {
            return self.receive_stranger(&turn.now, &event);
        };
        let mut origin = Origin {
            device: event.device.clone(),
            point: standing.point.clone(),
            building: standing.building.clone(),
            at_ms: event.at_ms,
            fresh: false,
        };
        let verdict = self.receive(&turn.now, &event);
        origin.fresh = verdict == Verdict::Taken && self.is_fresh(&turn.now, &event);
        match verdict {
            Verdict::Taken => self.happened(turn, &origin, event.what),
            Verdict::Quarantine(_) => self.excuse(turn, &origin, &event.what),
            Verdict::Duplicate | Verdict::Refused(_) => {}
        }
        verdict
    }

    fn happened(&mut self, turn: &mut Turn<'_, '_>, from: &Origin, what: Happening) {
        match what {
            Happening::Access {
                outcome,
                direction,
                credential,
                ..
            } => self.count_access(&turn.now, from, outcome, direction, credential),
            Happening::Keypad {
                typed,
                opened: None,
            } => self.typed(turn, from, &typed),
            Happening::Keypad {
                typed,
                opened: Some(compartment),
            } => self.opened_by_bank(turn, from, &typed, compartment),
            Happening::Scan { parcel, badge } => self.scanned(turn, from, parcel, &badge),
            Happening::Compartment {
                compartment,
                door,
                occupied,
            } => self.compartment_says(turn, from, compartment, door, occupied),
            Happening::Intent {
                item,
                quantity,
                household,
            } => self.count_intent(&turn.now, from, &item, quantity, household),
            Happening::Result {
                command, outcome, ..
            } if command.starts_with(LIST_ID) => self.bank_answers(from, &command, outcome),
            Happening::Result {
                command,
                outcome,
                reason,
            } => self.command_result(turn, from, &command, outcome, reason),
            Happening::Hello {
                model,
                firmware,
                capabilities,
            } => {
                if let Some(row) = self.devices.get_mut(&from.device) {
                    row.model = Some(model);
                    row.firmware = Some(firmware);
                    row.capabilities = capabilities;
                }
                self.bank_says_hello(turn, from);
            }
            Happening::Reading | Happening::Rating { .. } | Happening::Alarm { .. } => {}
        }
    }

    /// Adds a step to a parcel's history.
    pub(crate) fn trace(
        &mut self,
        now: &Now,
        parcel: &str,
        step: &'static str,
        who: String,
        detail: Option<String>,
    ) {
        self.traces.push(TraceEntry {
            parcel: parcel.to_string(),
            at_ms: now.wall_ms,
            quality: now.quality,
            tick_ms: now.tick_ms,
            step,
            who,
            detail,
        });
    }
}

/// Looking, without touching a disk.
impl Estate {
    /// Whether a parcel of this id is known: expected, here, or finished not long ago.
    pub fn knows_parcel(&self, parcel: &str) -> bool {
        self.parcels.contains(parcel)
    }

    /// The bank or desk that a device is, or whose keypad or scanner it is.
    pub fn point_of(&self, device: &Ident) -> Option<Ident> {
        self.places.point_of(device).cloned()
    }

    /// Whether the layout has such a device; banks and desks are devices too.
    pub fn is_device(&self, device: &Ident) -> bool {
        self.places.is_device(device)
    }

    /// The layout it was loaded with.
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The rules in force: the layout's, with what the cloud's settings change of them.
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Every compartment, by slot: those of the layout, and those that still have a row.
    pub fn compartments(&self) -> impl Iterator<Item = &CompartmentRow> {
        self.compartments.values()
    }

    /// The compartments in which something should lie and whose sensor said empty when they were
    /// closed last, unless it has seen something since.
    pub fn said_empty(&self) -> impl Iterator<Item = &Slot> {
        self.missing.iter()
    }

    /// Every parcel that is in memory, by id.
    pub fn parcels(&self) -> impl Iterator<Item = &ParcelRow> {
        self.parcels.values()
    }

    /// One parcel.
    pub fn parcel(&self, parcel: &str) -> Option<&ParcelRow> {
        self.parcels.get(parcel)
    }

    /// Every keypad at which a wrong code was typed, by device.
    pub fn keypads(&self) -> impl Iterator<Item = &KeypadRow> {
        self.keypads.values()
    }

    /// Every device that was heard, by id.
    pub fn devices(&self) -> impl Iterator<Item = &DeviceRow> {
        self.devices.values()
    }

    /// Every boot that is known of any device.
    pub fn boots(&self) -> impl Iterator<Item = &BootRow> {
        self.boots.values()
    }

    /// The commands of the last minutes, by id.
    pub fn commands(&self) -> impl Iterator<Item = &CommandRow> {
        self.commands.values()
    }

    /// The live and resting codes, by point and digest.
    pub fn codes(&self) -> impl Iterator<Item = &CodeRow> {
        self.codes.values()
    }

    /// Happenings not counted as demand since the start, as their hour was closed or not known.
    pub const fn demand_late(&self) -> u64 {
        self.demand.late()
    }
}

impl PartialEq for Estate {
    fn eq(&self, other: &Self) -> bool {
        self.layout == other.layout
            && self.rules == other.rules
            && self.devices == other.devices
            && self.boots == other.boots
            && self.compartments == other.compartments
            && self.parcels == other.parcels
            && self.codes == other.codes
            && self.keypads == other.keypads
            && self.couriers == other.couriers
            && self.commands == other.commands
            && self.settings == other.settings
            && self.demand == other.demand
    }
}

impl fmt::Debug for Estate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Estate")
            .field("site", &self.layout.site)
            .field("devices", &self.devices.len())
            .field("boots", &self.boots.len())
            .field("compartments", &self.compartments.len())
            .field("parcels", &self.parcels.len())
            .field("codes", &self.codes.len())
            .field("keypads", &self.keypads.len())
            .field("couriers", &self.couriers.len())
            .field("commands", &self.commands.len())
            .finish_non_exhaustive()
    }
}
