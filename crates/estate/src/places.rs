//! The layout, checked and indexed: which device belongs to which point and building.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use firmware_protocols::Ident;

use crate::layout::{Bank, Layout};

/// Why an estate can't be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Two things of the layout have one id.
    #[error("'{0}' is configured twice: banks, desks and devices need ids of their own")]
    TwiceConfigured(Ident),
    /// A device is to be part of a point that doesn't exist.
    #[error(
        "device '{device}' is configured for point '{point}', which is neither a bank nor a desk: correct its 'point'"
    )]
    NoSuchPoint {
        /// The device.
        device: Ident,
        /// What it names.
        point: Ident,
    },
    /// Something stands in a building that doesn't exist.
    #[error(
        "'{id}' is configured in building '{building}', which isn't among the site's buildings: add the building or correct it"
    )]
    NoSuchBuilding {
        /// What.
        id: Ident,
        /// What it names.
        building: Ident,
    },
    /// What is stored contradicts itself.
    #[error(
        "the store contradicts itself: {0}; restore it from a backup, or have the compartment checked and the row corrected"
    )]
    Inconsistent(String),
}

/// Where a device stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) building: Ident,
    pub(crate) point: Option<Ident>,
}

/// The layout by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    devices: BTreeMap<Ident, Standing>,
    banks: BTreeMap<Ident, usize>,
    desks: BTreeSet<Ident>,
    parts: BTreeMap<Ident, Vec<Ident>>,
}

impl Places {
    pub(crate) fn of(layout: &Layout) -> Result<Self, LoadError> {
        let mut places = Self {
            devices: BTreeMap::new(),
            banks: BTreeMap::new(),
            desks: BTreeSet::new(),
            parts: BTreeMap::new(),
        };
        for (index, bank) in layout.banks.iter().enumerate() {
            places.banks.insert(bank.id.clone(), index);
            places.add(layout, &bank.id, &bank.building, Some(&bank.id))?;
        }
        for desk in &layout.desks {
            places.desks.insert(desk.id.clone());
            places.add(layout, &desk.id, &desk.building, Some(&desk.id))?;
        }
        for device in &layout.devices {
            if let Some(point) = device.point.as_ref().filter(|p| !places.is_point(p)) {
                return Err(LoadError::NoSuchPoint {
                    device: device.id.clone(),
                    point: point.clone(),
                });
            }
            places.add(layout, &device.id, &device.building, device.point.as_ref())?;
        }
        Ok(places)
    }

    pub(crate) fn is_device(&self, id: &Ident) -> bool {
        self.devices.contains_key(id)
    }

    pub(crate) fn is_point(&self, id: &Ident) -> bool {
        self.banks.contains_key(id) || self.desks.contains(id)
    }

    /// Every bank and desk.
    pub(crate) fn points(&self) -> impl Iterator<Item = &Ident> {
        self.banks.keys().chain(&self.desks)
    }

    pub(crate) fn is_desk(&self, id: &Ident) -> bool {
        self.desks.contains(id)
    }

    pub(crate) fn bank<'l>(&self, layout: &'l Layout, id: &Ident) -> Option<&'l Bank> {
        self.banks
            .get(id)
            .and_then(|index| layout.banks.get(*index))
    }

    pub(crate) fn standing(&self, device: &Ident) -> Option<&Standing> {
        self.devices.get(device)
    }

    pub(crate) fn building(&self, device: &Ident) -> Option<&Ident> {
        self.devices.get(device).map(|standing| &standing.building)
    }

    /// The bank or desk that a device is, or is a part of.
    pub(crate) fn point_of(&self, device: &Ident) -> Option<&Ident> {
        self.devices.get(device)?.point.as_ref()
    }

    /// Every device at which digits for `point` may be typed: itself and its parts.
    pub(crate) fn parts(&self, point: &Ident) -> &[Ident] {
        self.parts.get(point).map_or(&[], Vec::as_slice)
    }

    /// The points by name, for a message.
    pub(crate) fn point_names(&self) -> String {
        let names: Vec<_> = self
            .banks
            .keys()
            .chain(&self.desks)
            .map(Ident::as_str)
            .collect();
        if names.is_empty() {
            return "none is configured".to_string();
        }
        names.join(", ")
    }

    fn add(
        &mut self,
        layout: &Layout,
        id: &Ident,
        building: &Ident,
        point: Option<&Ident>,
    ) -> Result<(), LoadError> {
        if !layout.buildings.contains(building) {
            return Err(LoadError::NoSuchBuilding {
                id: id.clone(),
                building: building.clone(),
            });
        }
        let standing = Standing {
            building: building.clone(),
            point: point.cloned(),
        };
        if self.devices.insert(id.clone(), standing).is_some() {
            return Err(LoadError::TwiceConfigured(id.clone()));
        }
        if let Some(point) = point {
            self.parts
                .entry(point.clone())
                .or_default()
                .push(id.clone());
        }
        Ok(())
    }
}
