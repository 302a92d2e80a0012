//! What must be right between the keys of a configuration, each fault with its remedy. What a key
//! allows by itself stands in its type (see `structure`).

use std::collections::BTreeSet;

use firmware_protocols::Ident;

use super::fault::Faults;
use super::{Config, profiles, secret, serial_check};
use crate::links::external;

impl Config {
    pub(super) fn check(&self) -> Faults {
        let mut errors = Faults::default();
        if self.broker.is_some() && self.external_broker.is_some() {
            errors
                .at(
                    "external_broker",
                    "and [broker] exclude each other: remove one of them",
                )
                .rests_on("broker");
        }
        self.check_names(&mut errors);
        self.check_buildings(&mut errors);
        self.check_points(&mut errors);
        for (i, bank) in self.banks.iter().enumerate() {
            bank.check(&format!("bank[{i}]"), &mut errors);
        }
        self.check_broker(&mut errors);
        self.check_external_broker(&mut errors);
        serial_check::check(self, &mut errors);
        profiles::check(self, &mut errors);
        secret::check(self, &mut errors);
        self.rules.check(&mut errors);
        self.limits.check(&mut errors);
        if let Some(cloud) = &self.cloud {
            cloud.check(&mut errors);
        }
        errors
    }

    /// Banks, desks and devices: where each stands in the file, its id and its building.
    fn stands(&self) -> impl Iterator<Item = (String, &Ident, &Ident)> {
        let banks = self.banks.iter().enumerate();
        let banks = banks.map(|(i, b)| (format!("bank[{i}]"), &b.id, &b.building));
        let desks = self.desks.iter().enumerate();
        let desks = desks.map(|(i, d)| (format!("desk[{i}]"), &d.id, &d.building));
        let devices = self.devices.iter().enumerate();
        let devices = devices.map(|(i, d)| (format!("device[{i}]"), &d.id, &d.building));
        banks.chain(desks).chain(devices)
    }

    fn check_names(&self, errors: &mut Faults) {
        let mut seen = BTreeSet::new();
        for (at, id, _) in self.stands() {
            if !seen.insert(id) {
                errors.at(
                    format!("{at}.id"),
                    format!(
                        "'{id}' names two of bank, desk and device: give each an id of its own"
                    ),
                );
            }
        }
        let mut seen = BTreeSet::new();
        for (i, building) in self.buildings.iter().enumerate() {
            if !seen.insert(&building.id) {
                errors.at(
                    format!("building[{i}].id"),
                    format!("building '{}' stands twice: remove one", building.id),
                );
            }
        }
    }

    fn check_buildings(&self, errors: &mut Faults) {
        let known: BTreeSet<&Ident> = self.buildings.iter().map(|b| &b.id).collect();
        for (at, _, building) in self.stands() {
            if !known.contains(building) {
                errors
                    .at(
                        format!("{at}.building"),
                        format!(
                            "is '{building}', which isn't there: add [[building]] id = \"{building}\", or correct it{}",
                            named(&known)
                        ),
                    )
                    .rests_on("building[].id");
            }
        }
    }

    fn check_points(&self, errors: &mut Faults) {
        let banks = self.banks.iter().map(|bank| &bank.id);
        let points: BTreeSet<&Ident> = banks.chain(self.desks.iter().map(|d| &d.id)).collect();
        for (i, device) in self.devices.iter().enumerate() {
            match &device.point {
                Some(point) if !points.contains(point) => {
                    errors
                        .at(
                            format!("device[{i}].point"),
                            format!(
                                "is '{point}', which is no bank or desk: name one of them, or remove 'point'{}",
                                named(&points)
                            ),
                        )
                        .rests_on("bank[].id")
                        .rests_on("desk[].id");
                }
                _ => {}
            }
        }
    }

    fn check_broker(&self, errors: &mut Faults) {
        let Some(broker) = &self.broker else {
            return;
        };
        if let Some(tls) = &broker.tls {
            tls.check(errors);
        }
        let known: BTreeSet<Ident> = self.device_ids().into_iter().collect();
        for (i, id) in broker.anonymous.iter().enumerate() {
            if !known.contains(id) {
                errors
                    .at(
                        format!("broker.anonymous[{i}]"),
                        format!(
                            "is '{id}', which is no bank, desk or device: add it or remove it here"
                        ),
                    )
                    .rests_on("bank[].id")
                    .rests_on("desk[].id")
                    .rests_on("device[].id");
            }
        }
    }

    fn check_external_broker(&self, errors: &mut Faults) {
        let Some(broker) = &self.external_broker else {
            return;
        };
        if external::address(&broker.url).is_err() {
            // What stands there may hold a password.
            errors.at(
                "external_broker.url",
                "isn't a broker's address: write mqtt://HOST:PORT or mqtts://HOST:PORT, without a user (see username and password_file)",
            );
        }
        if broker.password_file.is_some() && broker.username.is_none() {
            errors
                .at(
                    "external_broker.password_file",
                    "needs external_broker.username beside it: add it",
                )
                .rests_on("external_broker.username");
        }
    }
}

/// What is there, if that is a short list.
fn named(known: &BTreeSet<&Ident>) -> String {
    if known.is_empty() || known.len() > 8 {
        return String::new();
    }
    let known: Vec<&str> = known.iter().map(|id| id.as_str()).collect();
    format!(" (there: {})", known.join(", "))
}
