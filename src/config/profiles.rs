//! Devices that speak their maker's JSON: `[[bridge]]`, and `profile`, `named` and `via` of a device.
//!
//! Whether a profile's file can be read, and whether its program is sound, is seen when it is used.

use std::collections::{BTreeMap, BTreeSet};

use firmware_protocols::Ident;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Config;
use super::fault::Faults;
use super::texts::Name;
use crate::links::mapped::profile::{Profile, is_file, names, shipped};

/// The most bridges.
const BRIDGES_MAX: usize = 16;
/// The most profiles in use: each has a process of its own.
const PROFILES_MAX: usize = 16;
/// The longest name that a device has in its topics, bytes.
const NAMED_MAX_BYTES: usize = 200;

/// An MQTT client that speaks for devices of others: `[[bridge]]`. It logs in with its id as the user
/// name, under any client id.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BridgeSection {
    /// Its id.
    #[schemars(with = "Name")]
    pub id: Ident,
}

pub(super) fn check(config: &Config, errors: &mut Faults) {
    check_bridges(config, errors);
    check_devices(config, errors);
    check_topics(config, errors);
}

fn check_bridges(config: &Config, errors: &mut Faults) {
    let devices: BTreeSet<Ident> = config.device_ids().into_iter().collect();
    let mut seen = BTreeSet::new();
    for (n, bridge) in config.bridges.iter().enumerate() {
        let id = &bridge.id;
        if devices.contains(id) {
            errors.at(
                format!("bridge[{n}].id"),
                format!(
                    "'{id}' is a bank, a desk or a device too: give the bridge an id of its own"
                ),
            );
        }
        if !seen.insert(id) {
            errors.at(
                format!("bridge[{n}].id"),
                format!("bridge '{id}' stands twice: remove one"),
            );
        }
    }
    if config.bridges.len() > BRIDGES_MAX {
        let many = config.bridges.len();
        errors.at(
            "bridge",
            format!("there are {many} bridges, at most {BRIDGES_MAX} are allowed"),
        );
    }
}

fn check_devices(config: &Config, errors: &mut Faults) {
    let bridges: BTreeSet<&Ident> = config.bridges.iter().map(|bridge| &bridge.id).collect();
    let mut profiles = BTreeSet::new();
    for (n, device) in config.devices.iter().enumerate() {
        let mut at = |key: &str, what: String| {
            errors.at(format!("device[{n}].{key}"), what);
        };
        let Some(profile) = &device.profile else {
            if device.named.is_some() {
                at(
                    "named",
                    "it says nothing without 'profile': add that, or remove it".to_owned(),
                );
            }
            if device.via.is_some() {
                at(
                    "via",
                    "it says nothing without 'profile': add that, or remove it".to_owned(),
                );
            }
            continue;
        };
        profiles.insert(profile);
        if shipped(profile).is_none() && !is_file(profile) {
            at(
                "profile",
                format!(
                    "no profile '{profile}' is shipped; allowed: {}, or the path of a file",
                    names()
                ),
            );
        }
        if device.serial.is_some() {
            at(
                "profile",
                "it hangs on a serial port, and profiles are for MQTT: remove 'profile' or 'serial'"
                    .to_owned(),
            );
        }
        if let Some(named) = &device.named
            && (named.is_empty()
                || named.len() > NAMED_MAX_BYTES
                || named.contains(['+', '#', '\0']))
        {
            at(
                "named",
                format!("a name is 1 to {NAMED_MAX_BYTES} bytes without '+' and '#'"),
            );
        }
        if let Some(via) = &device.via
            && !bridges.contains(via)
        {
            at(
                "via",
                format!("no bridge '{via}' is there: add [[bridge]] id = \"{via}\", or correct it"),
            );
        }
    }
    if profiles.len() > PROFILES_MAX {
        let many = profiles.len();
        errors.at(
            "device",
            format!("{many} profiles are in use, at most {PROFILES_MAX} are allowed"),
        );
    }
}

/// No two devices may have a topic at one client. Behind somebody else's broker all are one client.
fn check_topics(config: &Config, errors: &mut Faults) {
    let mut owners: BTreeMap<(Option<&Ident>, String), &Ident> = BTreeMap::new();
    for (n, device) in config.devices.iter().enumerate() {
        let Some(profile) = &device.profile else {
            continue;
        };
        let named = device.named.as_deref().unwrap_or(device.id.as_str());
        // Of a file only its name is known here.
        let topics = match shipped(profile).map(Profile::parse) {
            Some(Ok(profile)) => profile.topics_of(named),
            _ => vec![format!("{profile} {named}")],
        };
        let client = match config.external_broker {
            Some(_) => None,
            None => Some(device.via.as_ref().unwrap_or(&device.id)),
        };
        let mut clash = None;
        for topic in topics {
            match owners.get(&(client, topic.clone())) {
                Some(other) if **other != device.id => clash = Some(*other),
                _ => drop(owners.insert((client, topic), &device.id)),
            }
        }
        if let Some(other) = clash {
            errors.at(
                format!("device[{n}].named"),
                format!(
                    "device '{}' has the same topics as '{other}': give each its own 'named'",
                    device.id
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let text = format!("site = \"s\"\n[[building]]\nid = \"b1\"\n{text}");
        let config: Config = toml::from_str(&text).unwrap();
        let mut errors = Faults::default();
        check(&config, &mut errors);
        let faults = errors.all().iter();
        faults
            .map(|fault| format!("{}: {}", fault.key, fault.what))
            .collect()
    }

    fn device(id: &str, more: &str) -> String {
        format!("[[device]]\nid = \"{id}\"\nbuilding = \"b1\"\n{more}\n")
    }

    #[test]
    fn a_device_in_one_line_and_a_bridge_are_sound() {
        let one = device("plug", "profile = \"tasmota\"");
        let bridge = "[[bridge]]\nid = \"z2m\"\n";
        let behind = device(
            "door",
            "profile = \"zigbee2mqtt\"\nnamed = \"Haustür\"\nvia = \"z2m\"",
        );
        let own = device("own", "profile = \"/etc/linli/own.toml\"");
        assert_eq!(
            faults(&format!("{one}{bridge}{behind}{own}")),
            Vec::<String>::new()
        );
    }

    #[test]
    fn what_is_wrong_is_told_where_it_stands() {
        let wrong = |text: &str, key: &str, what: &str| {
            let said = faults(text);
            let found = said
                .iter()
                .any(|told| told.starts_with(key) && told.contains(what));
            assert!(found, "{text}: {said:?}");
        };
        wrong(
            &device("a", "profile = \"zwave\""),
            "device[0].profile",
            "json, shelly-gen2, tasmota, zigbee2mqtt",
        );
        wrong(
            &device("a", "profile = \"json\"\nvia = \"z2m\""),
            "device[0].via",
            "no bridge 'z2m'",
        );
        wrong(
            &device("a", "named = \"x\""),
            "device[0].named",
            "without 'profile'",
        );
        wrong(
            &device("a", "via = \"x\""),
            "device[0].via",
            "without 'profile'",
        );
        wrong(
            &device("a", "profile = \"json\"\nnamed = \"x/#\""),
            "device[0].named",
            "without '+' and '#'",
        );
        wrong(
            &format!("[[bridge]]\nid = \"a\"\n{}", device("a", "")),
            "bridge[0].id",
            "an id of its own",
        );
        wrong(
            "[[bridge]]\nid = \"a\"\n[[bridge]]\nid = \"a\"\n",
            "bridge[1].id",
            "twice",
        );
        let twins = format!(
            "[[bridge]]\nid = \"z\"\n{}{}",
            device("a", "profile = \"zigbee2mqtt\"\nnamed = \"x\"\nvia = \"z\""),
            device("b", "profile = \"zigbee2mqtt\"\nnamed = \"x\"\nvia = \"z\"")
        );
        wrong(&twins, "device[1].named", "the same topics as 'a'");
    }

    #[test]
    fn devices_of_two_clients_may_have_the_same_name() {
        let two = format!(
            "[[bridge]]\nid = \"z1\"\n[[bridge]]\nid = \"z2\"\n{}{}",
            device(
                "a",
                "profile = \"zigbee2mqtt\"\nnamed = \"x\"\nvia = \"z1\""
            ),
            device(
                "b",
                "profile = \"zigbee2mqtt\"\nnamed = \"x\"\nvia = \"z2\""
            )
        );
        assert_eq!(faults(&two), Vec::<String>::new());
        let behind = format!("[external_broker]\nurl = \"mqtt://h\"\n{two}");
        // In TOML the table has to come after the plain keys, which it does.
        assert_eq!(faults(&behind).len(), 1);
    }
}
