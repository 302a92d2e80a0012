//! Another layout, taken over while the estate runs.
//!
//! The estate is afterwards what it would be had it been loaded with the new layout, and keeps what
//! lives in memory only besides: hand-overs under way go on, commands are still sent again, a courier
//! who has identified needn't do so twice. Nothing of what is stored changes: no code, no lockout, no
//! parcel.
//!
//! A place that is taken away while a parcel is in it would leave that parcel where nobody finds it. So
//! such a layout is refused, as long as the place stands in the layout before.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use firmware_protocols::{Ident, Slot};

use crate::compartment::CompartmentRow;
use crate::estate::Estate;
use crate::layout::Layout;
use crate::parcel::{Place, Stage};
use crate::places::{LoadError, Places};
use crate::settings;
use crate::tracked::Tracked;

/// How many places a refusal names.
const NAMED_MAX: usize = 8;

/// Why an estate can't go by another layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelayoutError {
    /// The layout contradicts itself.
    #[error(transparent)]
    Layout(#[from] LoadError),
    /// It is another site's: every digest of a code would be another.
    #[error("the site is '{0}' as long as the gateway runs: restart it to change that")]
    OtherSite(Ident),
    /// Parcels are in places that the layout doesn't have any more.
    #[error("{0}")]
    Occupied(Occupied),
}

/// Parcels that are in places which the new layout doesn't have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupied {
    /// How many parcels at a desk, in a compartment, or on their way into one: by `BANK/NUMBER` or
    /// desk.
    pub places: BTreeMap<String, usize>,
}

impl fmt::Display for Occupied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parcels: usize = self.places.values().sum();
        let named: Vec<&str> = self
            .places
            .keys()
            .take(NAMED_MAX)
            .map(String::as_str)
            .collect();
        let more = match self.places.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (count, them) = match parcels {
            1 => ("1 parcel is".to_string(), "it"),
            n => (format!("{n} parcels are"), "them"),
        };
        write!(
            f,
            "{count} in {}{more}, which the new configuration doesn't have any more: leave what holds {them} in it until {them} {} gone ('linli desk transfer' or 'linli desk retrieve' opens for {them}), then reload",
            named.join(", "),
            if parcels == 1 { "is" } else { "are" },
        )
    }
}

impl Estate {
    /// Goes by another layout from now on. Returns how many parcels are expected at each point that it
    /// doesn't have any more: they can't be brought until the cloud announces them elsewhere.
    ///
    /// To be called when everything is written, after [`Estate::take_changes`].
    ///
    /// # Errors
    /// A layout that contradicts itself or takes a place away that a parcel is in. Then nothing has
    /// changed.
    pub fn relayout(&mut self, layout: Layout) -> Result<BTreeMap<Ident, usize>, RelayoutError> {
        if layout.site != self.layout.site {
            return Err(RelayoutError::OtherSite(self.layout.site.clone()));
        }
        let places = Places::of(&layout)?;
        let lost = self.occupied_places_without(&layout, &places);
        if !lost.is_empty() {
            return Err(RelayoutError::Occupied(Occupied { places: lost }));
        }
        let stranded = self.expected_without(&places);
        fit(&mut self.compartments, &layout);
        self.sessions.retain(|point, _| places.is_point(point));
        self.readers
            .retain(|point, reader| places.point_of(reader) == Some(point));
        self.bank_lists
            .retain(|bank| places.bank(&layout, bank).is_some());
        self.clocks.retain(|device| places.is_device(device));
        let settings = self.settings.iter();
        let settings = settings.map(|(name, value)| (name.clone(), *value));
        self.rules = settings::effective(&layout.rules, &settings.collect());
        self.places = places;
        self.layout = layout;
        Ok(stranded)
    }

    /// The places that parcels are in, or are being put into, and that only the layout so far has.
    fn occupied_places_without(&self, layout: &Layout, places: &Places) -> BTreeMap<String, usize> {
        let mut lost = BTreeMap::new();
        for row in self.compartments.values() {
            let parcels = row.contents.len() + usize::from(row.reserved.is_some());
            let goes =
                has(&self.places, &self.layout, &row.slot) && !has(places, layout, &row.slot);
            if parcels > 0 && goes {
                lost.insert(row.slot.to_string(), parcels);
            }
        }
        for row in self.parcels.values() {
            if let Stage::Deposited {
                place: Place::Desk(desk),
            } = &row.stage
                && self.places.is_desk(desk)
                && !places.is_desk(desk)
            {
                *lost.entry(desk.to_string()).or_insert(0) += 1;
            }
        }
        lost
    }

    /// How many parcels are expected at points that only the layout so far has.
    fn expected_without(&self, places: &Places) -> BTreeMap<Ident, usize> {
        let mut stranded = BTreeMap::new();
        let expected = self.parcels.values();
        for row in expected.filter(|row| row.stage == Stage::Expected) {
            let point = &row.parcel.point;
            if self.places.is_point(point) && !places.is_point(point) {
                *stranded.entry(point.clone()).or_insert(0) += 1;
            }
        }
        stranded
    }
}

/// A row for each compartment of the layout; and none for any other of which nothing is known.
pub(crate) fn fit(compartments: &mut Tracked<Slot, CompartmentRow>, layout: &Layout) {
    let mut configured = BTreeSet::new();
    for bank in &layout.banks {
        for number in 1..=bank.compartments.len() {
            let Ok(compartment) = u16::try_from(number) else {
                break;
            };
            let bank = bank.id.clone();
            let slot = Slot { bank, compartment };
            compartments.insert_unmarked_if_absent(slot.clone(), CompartmentRow::new(slot.clone()));
            configured.insert(slot);
        }
    }
    compartments.drop_unmarked(|slot, row| {
        !configured.contains(slot) && *row == CompartmentRow::new(slot.clone())
    });
}

/// Whether a layout has a compartment.
fn has(places: &Places, layout: &Layout, slot: &Slot) -> bool {
    places
        .bank(layout, &slot.bank)
        .is_some_and(|bank| usize::from(slot.compartment) <= bank.compartments.len())
}
