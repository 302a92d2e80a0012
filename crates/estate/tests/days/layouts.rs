//! Other layouts, taken over in the middle of a day: an estate that goes by one is the estate that would
//! be loaded with it, and nothing under way is lost by it.

use estate::layout::{Bank, Device};
use estate::{Estate, Layout, RelayoutError};

use crate::common::id;
use crate::keep;
use crate::play::Day;
use crate::record::{Broken, Kept};

impl Day {
    /// The configuration is reloaded with a device more, and without one that was added before. The day
    /// goes on as if nothing had been.
    pub fn another_layout(&mut self) -> Kept {
        self.end_batch()?;
        if self.dice.one_in(4) {
            self.check_other_layouts()?;
        }
        let added = Device {
            id: id(&format!("sensor-{}", self.dice.below(1_000))),
            building: id("b1"),
            point: None,
        };
        let devices = &mut self.layout.devices;
        devices.retain(|device| !device.id.as_str().starts_with("sensor-"));
        devices.push(added);
        let before = self.estate.clone();
        let taken = self.estate.relayout(self.layout.clone());
        keep!("a device more is taken", taken.is_ok(), "{taken:?}");
        keep!(
            "a new layout writes nothing",
            self.estate.take_changes().is_empty(),
            "changes"
        );
        let rows = self.estate.parcels().eq(before.parcels())
            && self.estate.codes().eq(before.codes())
            && self.estate.keypads().eq(before.keypads())
            && self.estate.commands().eq(before.commands());
        keep!("a new layout changes no row", rows, "another row");
        self.saw("another layout");
        Ok(())
    }

    /// With whatever layout, the estate becomes what would be loaded with it, or stays what it is.
    pub fn check_other_layouts(&mut self) -> Kept {
        for (name, layout) in others(&self.layout) {
            let mut estate = self.estate.clone();
            match estate.relayout(layout.clone()) {
                Ok(_) => {
                    let loaded = Estate::load(layout, self.snapshot.clone());
                    let same = loaded.is_ok_and(|loaded| loaded == estate);
                    keep!("another layout is as good as loaded", same, "{name}");
                    let back = estate.relayout(self.layout.clone());
                    let same = back.is_ok() && estate == self.estate;
                    keep!("the former layout brings all back", same, "{name}");
                    self.saw("a layout that was taken");
                }
                Err(RelayoutError::Occupied(lost)) => {
                    keep!(
                        "only parcels keep a layout from being taken",
                        lost.places.values().all(|parcels| *parcels > 0),
                        "{name}: {lost:?}"
                    );
                    let same = estate == self.estate;
                    keep!("a refused layout changes nothing", same, "{name}");
                    self.saw("a layout that was refused");
                }
                Err(e) => {
                    return Err(Broken {
                        rule: "another layout is understood",
                        what: format!("{name}: {e}"),
                    });
                }
            }
        }
        Ok(())
    }
}

/// What an operator may make of a layout.
fn others(layout: &Layout) -> Vec<(&'static str, Layout)> {
    let changed = |change: fn(&mut Layout)| {
        let mut other = layout.clone();
        change(&mut other);
        other
    };
    let gone = |point: &'static str| {
        let mut other = layout.clone();
        other.banks.retain(|bank| bank.id.as_str() != point);
        other.desks.retain(|desk| desk.id.as_str() != point);
        let of_it = |device: &Device| device.point.as_ref().is_some_and(|p| p.as_str() == point);
        other.devices.retain(|device| !of_it(device));
        other
    };
    vec![
        ("other rules", changed(|other| other.rules.demand_k = 9)),
        (
            "a compartment less",
            changed(|other| other.banks[0].compartments.truncate(4)),
        ),
        (
            "a compartment more",
            changed(|other| {
                let last = other.banks[0].compartments[0];
                other.banks[0].compartments.push(last);
            }),
        ),
        (
            "a bank more",
            changed(|other| {
                let more = Bank {
                    id: id("bank-z"),
                    ..other.banks[1].clone()
                };
                other.banks.push(more);
            }),
        ),
        ("without bank-a", gone("bank-a")),
        ("without bank-b", gone("bank-b")),
        ("without the desk", gone("desk-c")),
    ]
}
