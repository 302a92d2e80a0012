//! What differs between the configuration in force and a new one, and what of it a running daemon can
//! take over. Pure, so that it can be tested without a daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use firmware_protocols::Ident;

use crate::config::{Config, Control};

/// How many names stand in a list for people.
const NAMED_MAX: usize = 10;

/// What a new configuration changes.
#[derive(Debug, Clone)]
pub struct Change {
    /// What holds once the change is made: the new configuration, but for what needs a restart.
    pub config: Config,
    /// The keys that need one.
    pub after_restart: Vec<String>,
    /// What the journal goes by: what stands where, the rules, how events are written and kept.
    pub journal: bool,
    /// The cloud, or the way to it.
    pub cloud: bool,
    /// The listener for MQTT over TLS, but for its address.
    pub tls: bool,
    /// Profiles, and who speaks for whom.
    pub mapped: bool,
    /// Devices that may not log in over MQTT any more.
    pub dismissed: Vec<Ident>,
    /// What differs of what is taken over at once, in words.
    pub told: Vec<String>,
}

impl Change {
    /// What `new` changes where `old` is in force.
    pub fn between(old: &Config, new: &Config) -> Self {
        let mut config = new.clone();
        let mut after_restart = Vec::new();
        hold_identity(old, &mut config, &mut after_restart);
        let tls = hold_brokers(old, &mut config, &mut after_restart);
        let journal = old.layout() != config.layout()
            || old.retention() != config.retention()
            || old.journal.gather_ms != config.journal.gather_ms;
        let may: BTreeSet<_> = logins(&config).collect();
        let could = logins(old).filter(|login| !may.contains(login));
        Self {
            journal,
            cloud: differs(&old.cloud, &config.cloud),
            tls,
            mapped: mapped(old) != mapped(&config),
            dismissed: could.map(|(id, _)| id).collect(),
            told: told(old, &config),
            after_restart,
            config,
        }
    }
}

/// Who this gateway is and where its files are stays as it is.
fn hold_identity(old: &Config, config: &mut Config, after_restart: &mut Vec<String>) {
    if config.site != old.site {
        config.site.clone_from(&old.site);
        after_restart.push("site".to_owned());
    }
    if config.state_dir != old.state_dir {
        config.state_dir.clone_from(&old.state_dir);
        after_restart.push("state_dir".to_owned());
    }
    if config.socket() != old.socket() {
        let socket = Some(old.socket());
        config.control = Control { socket };
        after_restart.push("control.socket".to_owned());
    }
}

/// Which broker there is and where it listens stays as it is. Whether anything else of the listener for
/// TLS differs.
fn hold_brokers(old: &Config, config: &mut Config, after_restart: &mut Vec<String>) -> bool {
    if config.external_broker.is_some() != old.external_broker.is_some() {
        config.external_broker.clone_from(&old.external_broker);
        config.broker.clone_from(&old.broker);
        after_restart.push("external_broker".to_owned());
        return false;
    }
    if config.external_broker.is_some() {
        return false;
    }
    let was = old.broker.clone().unwrap_or_default();
    let broker = config.broker.get_or_insert_default();
    if broker.listen != was.listen {
        broker.listen = was.listen;
        after_restart.push("broker.listen".to_owned());
    }
    match (&was.tls, &mut broker.tls) {
        (None, None) => false,
        (Some(was), Some(tls)) => {
            if tls.listen != was.listen {
                tls.listen = was.listen;
                after_restart.push("broker.tls.listen".to_owned());
            }
            tls != was
        }
        _ => {
            broker.tls.clone_from(&was.tls);
            after_restart.push("broker.tls".to_owned());
            false
        }
    }
}

/// Who may log in, and whether it speaks its maker's language: one that begins to must come anew.
fn logins(config: &Config) -> impl Iterator<Item = (Ident, bool)> {
    let own = config.mqtt_device_ids().into_iter();
    let mapped = config.mapped_client_ids().into_iter();
    own.map(|id| (id, false)).chain(mapped.map(|id| (id, true)))
}

/// What makes events out of others' messages.
pub(in crate::daemon) fn mapped(config: &Config) -> Vec<String> {
    let bridges = config.bridges.iter().map(|bridge| format!("{bridge:?}"));
    let devices = config.devices.iter();
    let devices = devices.filter(|device| device.profile.is_some());
    let devices = devices.map(|d| format!("{:?}", (&d.id, &d.profile, &d.named, &d.via)));
    bridges.chain(devices).collect()
}

fn told(old: &Config, new: &Config) -> Vec<String> {
    let mut told = Vec::new();
    let buildings = |config: &Config| {
        let buildings = config.buildings.iter();
        buildings.map(|b| (b.id.clone(), String::new())).collect()
    };
    compare("building", &buildings(old), &buildings(new), &mut told);
    compare("device", &devices(old), &devices(new), &mut told);
    let mut key = |differs: bool, words: &str| {
        if differs {
            told.push(words.to_owned());
        }
    };
    key(old.layout().rules != new.layout().rules, "rules");
    key(old.limits() != new.limits(), "limits");
    key(old.retention() != new.retention(), "retention");
    let gather = old.journal.gather_ms != new.journal.gather_ms;
    key(gather, "journal.gather_ms");
    if old.external_broker.is_none() && new.external_broker.is_none() {
        let (was, is) = (
            old.broker.clone().unwrap_or_default(),
            new.broker.clone().unwrap_or_default(),
        );
        key(
            was.anonymous != is.anonymous,
            "broker.anonymous, from the next logins on",
        );
        key(
            was.max_connections != is.max_connections,
            "broker.max_connections",
        );
    }
    told
}

/// Every device with all that is set of it, in a text.
fn devices(config: &Config) -> BTreeMap<Ident, String> {
    let banks = config.banks.iter().map(|b| (&b.id, format!("{b:?}")));
    let desks = config.desks.iter().map(|d| (&d.id, format!("{d:?}")));
    let others = config.devices.iter().map(|d| (&d.id, format!("{d:?}")));
    let all = banks.chain(desks).chain(others);
    all.map(|(id, set)| (id.clone(), set)).collect()
}

/// What came, went, and is set otherwise.
fn compare(
    what: &str,
    old: &BTreeMap<Ident, String>,
    new: &BTreeMap<Ident, String>,
    told: &mut Vec<String>,
) {
    let came: Vec<_> = new.keys().filter(|id| !old.contains_key(*id)).collect();
    let went: Vec<_> = old.keys().filter(|id| !new.contains_key(*id)).collect();
    let changed = new
        .iter()
        .filter(|(id, set)| old.get(*id).is_some_and(|was| was != *set));
    let changed: Vec<_> = changed.map(|(id, _)| id).collect();
    for (ids, how) in [(came, "new"), (went, "gone"), (changed, "set otherwise")] {
        if !ids.is_empty() {
            let s = if ids.len() == 1 { "" } else { "s" };
            told.push(format!("{what}{s} {how}: {}", names(&ids)));
        }
    }
}

/// Names for people, not all if they are many.
fn names(ids: &[&Ident]) -> String {
    let named: Vec<&str> = ids.iter().take(NAMED_MAX).map(|id| id.as_str()).collect();
    match ids.len().saturating_sub(NAMED_MAX) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// Whether two sections are set otherwise: they show each of their keys.
fn differs(one: &impl Debug, other: &impl Debug) -> bool {
    format!("{one:?}") != format!("{other:?}")
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
