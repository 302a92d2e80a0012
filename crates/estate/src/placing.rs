//! Placing: which compartment a parcel gets, and where it goes when none takes it.
//!
//! A compartment takes a parcel if it is sound, in use, closed, of the parcel's zone, large enough,
//! and either free or shared with the recipient's own parcels. Of these, in this order:
//!
//! 1. one with the recipient's own parcel and room for another;
//! 2. one whose last parcel's code doesn't open it again;
//! 3. the smallest;
//! 4. one that isn't low, unless the parcel needs a low one;
//! 5. the one opened least, so that wear is spread; then the lowest number.
//!
//! A parcel for a low compartment gets a low one or none, if the bank has any.
//!
//! Sharing counts in units: a compartment of size S has room for 1, M for 2, L for 4, and a parcel
//! takes as many. What goes back shares with nothing.
//!
//! Nobody knows whether a compartment without a sensor was emptied. It is given to nobody for
//! `no_sensor_hold_ms` after a collection.

use alloc::collections::BTreeSet;
use alloc::format;

use cloud_protocol::Report;
use cloud_protocol::downlink::{ExpectedParcel, Size};
use cloud_protocol::uplink::Unplaceable;
use firmware_protocols::event::Door;
use firmware_protocols::{Ident, Slot};

use crate::Now;
use crate::compartment::CompartmentRow;
use crate::estate::Estate;
use crate::layout::{Bank, CompartmentSpec, Desk};
use crate::parcel::{ParcelRow, Place, Stage};
use crate::turn::Turn;

/// A bank's compartments that were emptied not long ago, by number.
struct Emptied {
    /// Their last code opens them again.
    in_grace: BTreeSet<u16>,
    /// Nobody knows whether they are empty.
    held: BTreeSet<u16>,
}

impl Estate {
    /// The compartment for a parcel at its bank, if one takes it now.
    pub(crate) fn choose(&self, now: &Now, announced: &ExpectedParcel) -> Option<Slot> {
        let bank = self.places.bank(&self.layout, &announced.point)?;
        let emptied = self.emptied(now, bank);
        let needs_low = announced.low && bank.compartments.iter().any(|spec| spec.low);
        let fits = (1_u16..)
            .zip(&bank.compartments)
            .filter(|(compartment, spec)| {
                fits(spec, announced)
                    && (spec.low || !needs_low)
                    && !emptied.held.contains(compartment)
            })
            .filter_map(|(compartment, spec)| {
                let bank = bank.id.clone();
                let slot = Slot { bank, compartment };
                let row = self.compartments.get(&slot)?;
                let shared = self.shares(row, spec.size, announced);
                let free = row.is_free() && row.occupied != Some(true);
                let takes = is_sound(row) && row.door != Door::Open && (free || shared);
                let last = emptied.in_grace.contains(&compartment);
                let rank = (
                    !shared,
                    last,
                    spec.size,
                    spec.low,
                    row.openings,
                    compartment,
                );
                takes.then_some((rank, slot))
            });
        fits.min_by_key(|(rank, _)| *rank).map(|(_, slot)| slot)
    }

    /// The desk to which a parcel is sent that `point` doesn't take: one in the same building, else
    /// the first.
    pub(crate) fn desk_near(&self, point: &Ident) -> Option<&Desk> {
        let building = self.places.building(point);
        let desks = &self.layout.desks;
        desks
            .iter()
            .find(|desk| Some(&desk.building) == building)
            .or_else(|| desks.first())
    }

    /// From now on every desk takes the parcel. Whether that is new.
    pub(crate) fn send_to_desk(&mut self, parcel: &str) -> bool {
        let new = self.parcels.get(parcel).is_some_and(|row| !row.to_desk);
        if new && let Some(row) = self.parcels.get_mut(parcel) {
            row.to_desk = true;
        }
        new
    }

    /// No compartment takes the parcel: the cloud hears of it once, and it is counted once.
    pub(crate) fn unplaceable(&mut self, turn: &Turn<'_, '_>, announced: &ExpectedParcel) {
        if !self.send_to_desk(&announced.parcel) {
            return;
        }
        let (point, size, zone) = (&announced.point, announced.size, announced.zone);
        let report = Unplaceable {
            parcel: announced.parcel.clone(),
            point: point.clone(),
            size,
            zone,
            desk: self.desk_near(point).map(|desk| desk.id.clone()),
        };
        let at_ms = turn.now.wall_ms;
        self.uplinks.push((at_ms, Report::Unplaceable(report)));
        let series = format!("unplaced:{}:{}", size.word(), zone.word());
        self.count_parcel(turn, point, &series, &announced.recipient);
    }

    /// The parcels that wait at a bank or desk to be taken back, by id.
    pub(crate) fn going_back<'e>(
        &'e self,
        point: &'e Ident,
    ) -> impl Iterator<Item = &'e ParcelRow> + 'e {
        self.parcels.values().filter(move |row| {
            let here = matches!(&row.stage, Stage::Deposited { place } if place.point() == point);
            here && row.waits_to_go_back()
        })
    }

    /// How many parcels wait at a bank or desk to be taken back.
    pub fn parcels_going_back(&self, point: &Ident) -> usize {
        self.going_back(point).count()
    }

    /// Whether a compartment holds parcels of the same recipient and has room for this one.
    fn shares(&self, row: &CompartmentRow, size: Size, announced: &ExpectedParcel) -> bool {
        let may = self.rules.share_compartments && announced.return_of.is_none();
        if !may || row.contents.is_empty() || row.reserved.is_some() {
            return false;
        }
        let inside = row.contents.iter().filter_map(|id| self.parcels.get(id));
        let used: u32 = inside.map(|row| units(row.parcel.size)).sum();
        used + units(announced.size) <= units(size) && self.all_wait_for(row, &announced.recipient)
    }

    /// Whether all that is in a compartment waits for this recipient.
    fn all_wait_for(&self, row: &CompartmentRow, recipient: &str) -> bool {
        row.contents.iter().all(|inside| {
            self.parcels.get(inside).is_some_and(|row| {
                let waits = matches!(row.stage, Stage::Deposited { .. });
                waits && row.back.is_none() && row.parcel.recipient == recipient
            })
        })
    }

    fn emptied(&self, now: &Now, bank: &Bank) -> Emptied {
        let mut emptied = Emptied {
            in_grace: BTreeSet::new(),
            held: BTreeSet::new(),
        };
        for row in self.parcels.values() {
            let Stage::Collected {
                place: Place::Slot(slot),
                reopen_until_tick_ms,
            } = &row.stage
            else {
                continue;
            };
            if slot.bank != bank.id {
                continue;
            }
            if now.tick_ms < *reopen_until_tick_ms {
                emptied.in_grace.insert(slot.compartment);
            }
            let hold = self.rules.no_sensor_hold_ms;
            if !bank.occupancy_sensor && !now.passed(row.since_tick_ms, hold) {
                emptied.held.insert(slot.compartment);
            }
        }
        emptied
    }
}

/// Whether a parcel may lie in such a compartment.
pub(crate) fn fits(spec: &CompartmentSpec, announced: &ExpectedParcel) -> bool {
    spec.zone == announced.zone && spec.size >= announced.size
}

/// Whether something may be put in: neither broken nor taken out of use.
pub(crate) const fn is_sound(row: &CompartmentRow) -> bool {
    row.fault.is_none() && row.disabled.is_none()
}

/// What a parcel takes, and what a compartment has.
const fn units(size: Size) -> u32 {
    match size {
        Size::S => 1,
        Size::M => 2,
        Size::L => 4,
    }
}
