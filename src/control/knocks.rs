//! Who knocked and wasn't let in, and the pairing of a device.

use std::collections::BTreeSet;
use std::net::IpAddr;

use estate::Layout;
use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::backend::Backend;
use super::wire::Failure;
use crate::knocks::{Known, why};
use crate::store::read::EventRow;

/// Somebody that wasn't let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnockView {
    /// What it calls itself; empty if it never said.
    pub client_id: String,
    /// The user name that it gave.
    pub username: Option<String>,
    /// From where; null behind somebody else's broker.
    pub from: Option<IpAddr>,
    /// Why it wasn't let in: a word of [`crate::knocks::why`].
    pub why: String,
    /// When it was heard first.
    pub first_ms: i64,
    /// When it was heard last.
    pub last_ms: i64,
    /// How often.
    pub count: u64,
    /// Whether a bank, desk or device of that name stands in the configuration.
    #[serde(default)]
    pub configured: bool,
    /// The building, if there is only one.
    #[serde(default)]
    pub building: Option<String>,
}

/// What happens while a device is waited for, in this order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum PairStep {
    /// The device is waited for from now on.
    Open {
        /// The device.
        device: String,
        /// For how long, s.
        seconds: u16,
        /// Who asked for it.
        operator: String,
        /// Where the broker listens.
        address: String,
    },
    /// Somebody else knocked, or the device did and couldn't be taken.
    Heard {
        /// Who, and why it wasn't let in.
        knock: KnockView,
    },
    /// More knocked than could be told.
    Missed {
        /// How many.
        knocks: u64,
    },
    /// The device was there, but its password couldn't be stored; it is still waited for.
    NotStored {
        /// Why.
        why: String,
    },
    /// The device is in.
    Paired {
        /// The device.
        device: String,
        /// From where.
        from: IpAddr,
        /// Its version of MQTT.
        mqtt: String,
        /// Whether its password was taken now; else it had one that was good already.
        taken: bool,
    },
    /// The device's first event since.
    Event {
        /// The event.
        event: EventRow,
    },
    /// It is over.
    Closed {
        /// Whether the device is in.
        paired: bool,
    },
}

/// `knocks`.
pub(super) fn knocks(backend: &dyn Backend) -> Result<Answer, Failure> {
    let Some(entrance) = backend.entrance() else {
        return Ok(Answer::default());
    };
    let layout = backend.layout();
    let all = entrance.knocks.all();
    let views: Vec<KnockView> = all.iter().map(|known| view(&layout, known)).collect();
    Answer::all(&views)
}

/// How many different names knocked that stand in no configuration.
pub(super) fn unknown(backend: &dyn Backend) -> u64 {
    let Some(entrance) = backend.entrance() else {
        return 0;
    };
    let layout = backend.layout();
    let all = entrance.knocks.all();
    let unknown = all.iter().filter(|known| why::is_unknown(known.knock.why));
    let names = unknown.map(|known| known.knock.client_id.as_str());
    let names: BTreeSet<&str> = names.filter(|name| !is_configured(&layout, name)).collect();
    names.len() as u64
}

/// A knock, for the wire.
pub(super) fn view(layout: &Layout, known: &Known) -> KnockView {
    let knock = &known.knock;
    let only = match layout.buildings.as_slice() {
        [only] => Some(only.to_string()),
        _ => None,
    };
    KnockView {
        client_id: knock.client_id.clone(),
        username: knock.username.clone(),
        from: knock.from,
        why: knock.why.to_string(),
        first_ms: known.first_ms,
        last_ms: known.last_ms,
        count: known.count,
        configured: is_configured(layout, &knock.client_id),
        building: only,
    }
}

fn is_configured(layout: &Layout, name: &str) -> bool {
    let banks = layout.banks.iter().map(|bank| &bank.id);
    let desks = layout.desks.iter().map(|desk| &desk.id);
    let devices = layout.devices.iter().map(|device| &device.id);
    let mut all = banks.chain(desks).chain(devices);
    all.any(|id| id.as_str() == name)
}
