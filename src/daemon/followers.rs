//! What goes by a new configuration and isn't known to the one owner of it: MQTT over TLS, and the
//! devices of other makers.

use std::sync::Arc;

use super::live::{self, Follower};
use super::parts::Link;
use crate::config::Config;
use crate::disk::chain;
use crate::links::mapped::Mapped;

/// What makes the listener for MQTT over TLS go by a new configuration, if there is one.
pub fn tls(link: &Link) -> Option<Follower> {
    let listener = Arc::clone(link.tls()?);
    Some(Box::new(move |old: &Config, new: &Config| {
        let section = |config: &Config| config.broker.as_ref()?.tls.clone();
        let Some(now) = section(new) else {
            return Err("broker.tls is gone from the file: it ends at the next restart".to_owned());
        };
        let words = |e| format!("broker.tls goes on as before: {}", chain(&e));
        listener.reload(&now.with_secrets()).map_err(words)?;
        let differs = section(old).is_some_and(|before| before != now);
        Ok(differs
            .then(|| "broker.tls".to_owned())
            .into_iter()
            .collect())
    }))
}

/// What makes the profiles go by a new configuration.
pub fn mapped(makers: Arc<Mapped>) -> Follower {
    Box::new(move |old: &Config, new: &Config| {
        makers
            .replace(new)
            .map_err(|e| format!("bridges and profiles go on as before: {e:#}"))?;
        let differs = live::mapped(old) != live::mapped(new);
        Ok(differs
            .then(|| "bridge, device.profile".to_owned())
            .into_iter()
            .collect())
    })
}
