//! Loading: the estate as it stood when its last changes were written.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use firmware_protocols::Slot;

use crate::bank_codes::BankLists;
use crate::change::Snapshot;
use crate::command::CommandState;
use crate::compartment::CompartmentRow;
use crate::estate::Estate;
use crate::freshness::Clocks;
use crate::hours::Demand;
use crate::layout::Layout;
use crate::parcel::{Place, Stage};
use crate::places::{LoadError, Places};
use crate::relayout::fit;
use crate::retries::Retries;
use crate::settings;
use crate::tracked::Tracked;

impl Estate {
    /// The estate as it stood when `snapshot` was written. Causes no effect and no change.
    ///
    /// Rows of devices, compartments, parcels and keypads that the layout doesn't have any more are
    /// kept as they are: a parcel in a compartment that was taken out of the configuration stays
    /// visible, and its code still opens it as long as the bank itself is configured. Events of a
    /// device that isn't configured go to quarantine.
    ///
    /// # Errors
    /// A layout that names something twice or not at all, or a snapshot that contradicts itself.
    pub fn load(layout: Layout, snapshot: Snapshot) -> Result<Self, LoadError> {
        let places = Places::of(&layout)?;
        check(&snapshot)?;
        let mut compartments: Tracked<_, _> = snapshot.compartments.into_iter().collect();
        fit(&mut compartments, &layout);
        let perhaps_sent = snapshot.commands.values();
        let perhaps_sent = perhaps_sent.filter(|row| row.state == CommandState::Requested);
        let perhaps_sent = perhaps_sent.map(|row| row.id.clone()).collect();
        let missing = compartments
            .values()
            .filter(|row| row.is_said_empty())
            .map(|row| row.slot.clone())
            .collect();
        Ok(Self {
            rules: settings::effective(&layout.rules, &snapshot.settings),
            layout,
            places,
            devices: snapshot.devices.into_iter().collect(),
            boots: snapshot.boots.into_iter().collect(),
            compartments,
            parcels: snapshot.parcels.into_iter().collect(),
            codes: snapshot.codes.into_iter().collect(),
            keypads: snapshot.keypads.into_iter().collect(),
            couriers: snapshot.couriers.into_iter().collect(),
            commands: snapshot.commands.into_iter().collect(),
            settings: snapshot.settings.into_iter().collect(),
            demand: Demand::load(snapshot.cells, snapshot.households),
            sessions: BTreeMap::new(),
            readers: BTreeMap::new(),
            mislaid: BTreeMap::new(),
            missing,
            clocks: Clocks::default(),
            retries: Retries::default(),
            perhaps_sent,
            bank_lists: BankLists::default(),
            receipts: BTreeSet::new(),
            traces: Vec::new(),
            uplinks: Vec::new(),
        })
    }
}

/// Parcels and compartments tell the same story, from both sides.
fn check(snapshot: &Snapshot) -> Result<(), LoadError> {
    let wrong = |what: String| Err(LoadError::Inconsistent(what));
    for row in snapshot.compartments.values() {
        let slot = &row.slot;
        if let Some(other) = two_recipients(snapshot, row) {
            return wrong(format!("{slot} holds parcel {other} of another recipient"));
        }
        let inside = row.contents.iter().map(|parcel| (parcel, false));
        for (parcel, coming) in inside.chain(row.reserved.iter().map(|parcel| (parcel, true))) {
            let stage = snapshot.parcels.get(parcel).map(|row| &row.stage);
            if stage.and_then(in_compartment) != Some((slot, coming)) {
                let said = stage.map_or("unknown", Stage::word);
                return wrong(format!(
                    "{slot} holds parcel {parcel}, which is {said} elsewhere"
                ));
            }
        }
    }
    for (id, row) in &snapshot.parcels {
        let Some((slot, coming)) = in_compartment(&row.stage) else {
            continue;
        };
        let holds = snapshot
            .compartments
            .get(slot)
            .is_some_and(|row| match coming {
                true => row.reserved.as_ref() == Some(id),
                false => row.contents.contains(id),
            });
        if !holds {
            return wrong(format!("parcel {id} is in {slot}, which doesn't hold it"));
        }
    }
    Ok(())
}

/// A parcel in a compartment, or coming into it, that isn't for the recipient of the first one.
fn two_recipients<'s>(snapshot: &Snapshot, row: &'s CompartmentRow) -> Option<&'s String> {
    let recipient = |id: &String| Some(&snapshot.parcels.get(id)?.parcel.recipient);
    let mut all = row.contents.iter().chain(&row.reserved);
    let first = recipient(all.next()?);
    all.find(|id| recipient(id) != first)
}

/// The compartment that a parcel is in, and whether it is only coming into it.
const fn in_compartment(stage: &Stage) -> Option<(&Slot, bool)> {
    match stage {
        Stage::Depositing { slot, .. } => Some((slot, true)),
        Stage::Deposited {
            place: Place::Slot(slot),
        }
        | Stage::Collecting { slot, .. } => Some((slot, false)),
        _ => None,
    }
}
