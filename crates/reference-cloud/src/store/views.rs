//! What the cloud knows, for its operator, the demo and the tests; and reading it back from rows.

use std::collections::BTreeMap;

use cloud_protocol::uplink::{ClaimReport, ParcelState, Unplaceable};
use cloud_protocol::{Item, Lane, Report, SealedCode};
use firmware_protocols::Value;
use firmware_protocols::event::Secret;

use super::StoreError;

/// A parcel as the cloud sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ParcelView {
    /// Its id.
    pub parcel: String,
    /// Its state; `None` while it is announced and the gateway hasn't said anything.
    pub state: Option<ParcelState>,
    /// When it came into the state, ms since the Unix epoch.
    pub since: Option<i64>,
    /// The bank that holds it.
    pub bank: Option<String>,
    /// The compartment that holds it.
    pub compartment: Option<u16>,
    /// The desk that holds it.
    pub desk: Option<String>,
    /// Its live pickup code, sealed as it came.
    pub code: Option<SealedCode>,
    /// Its digits, once opened.
    pub digits: Option<Secret>,
    /// Whether it came without having been announced.
    pub unlisted: bool,
    /// The parcel whose return it is.
    pub return_of: Option<String>,
    /// When no compartment took it, in the order of the reports.
    pub unplaceable: Vec<Told<Unplaceable>>,
    /// What its recipient complained of, in the order of the reports.
    pub claims: Vec<Told<ClaimReport>>,
}

/// Something that the gateway told at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told<T> {
    /// When the item was made, ms since the Unix epoch.
    pub at: i64,
    /// What it says.
    pub what: T,
}

/// How a gateway's lanes stand.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LanesView {
    /// Its epoch, if it has sent something.
    pub epoch: Option<u64>,
    /// By lane, only those that had an item or an empty part of a batch.
    pub lanes: BTreeMap<Lane, LaneView>,
    /// The last number given to a downlink item.
    pub downlink_last: u64,
}

/// How a lane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneView {
    /// Items stored, in all epochs.
    pub items: u64,
    /// The last sequence number of the current epoch.
    pub last: u64,
    /// Items that came again and changed nothing, in all epochs.
    pub duplicates: u64,
    /// Items of kinds that this version doesn't know, stored among the others.
    pub unknown: u64,
}

/// What a gateway last said about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthView {
    /// When it said so, ms since the Unix epoch.
    pub at: i64,
    /// Counters by name.
    pub counters: BTreeMap<String, u64>,
}

/// A head that a gateway told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadView {
    /// The gateway's epoch then.
    pub epoch: u64,
    /// How many entries its history had.
    pub entries: u64,
    /// The chain up to the last of them.
    pub head: [u8; 32],
    /// When it said so first, ms since the Unix epoch.
    pub at: i64,
    /// What is wrong with it, in words; `None` if it contradicts nothing.
    pub contradicts: Option<String>,
}

/// What is known of a gateway's history.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditView {
    /// The head with the most entries of the newest epoch, as it was told first.
    pub latest: Option<HeadView>,
    /// Heads that contradict an earlier one, newest first, at most 100.
    pub contradictions: Vec<HeadView>,
}

/// The most contradictions that are shown.
pub(super) const CONTRADICTIONS_SHOWN: i64 = 100;

/// The state of that word, as far as this version knows it.
pub(super) fn state_of(word: &str) -> Option<ParcelState> {
    let known = ParcelState::WORDS.iter();
    let mut found = known.filter(|(other, _)| *other == word);
    found.next().map(|(_, state)| *state)
}

/// A code as it was stored.
pub(super) fn code_of(stored: &[u8]) -> Option<SealedCode> {
    SealedCode::from_value(&Value::from_cbor(stored).ok()?).ok()
}

/// What an item of health says.
pub(super) fn health_of(body: &[u8]) -> Result<Option<HealthView>, StoreError> {
    let item = stored_item(body)?;
    let at = item.at;
    Ok(match item.report {
        Report::Health(counters) => Some(HealthView { at, counters }),
        _ => None,
    })
}

/// Adds an item that says more of one of these parcels, which are in the order of their ids.
pub(super) fn tell_about(parcels: &mut [ParcelView], body: &[u8]) -> Result<(), StoreError> {
    let Item { at, report, .. } = stored_item(body)?;
    let parcel = match &report {
        Report::Unplaceable(what) => &what.parcel,
        Report::Claim(what) => &what.parcel,
        _ => return Ok(()),
    };
    let Ok(index) = parcels.binary_search_by(|view| view.parcel.cmp(parcel)) else {
        return Ok(());
    };
    let Some(view) = parcels.get_mut(index) else {
        return Ok(());
    };
    match report {
        Report::Unplaceable(what) => view.unplaceable.push(Told { at, what }),
        Report::Claim(what) => view.claims.push(Told { at, what }),
        _ => {}
    }
    Ok(())
}

/// An item as it was stored.
pub(super) fn stored_item(body: &[u8]) -> Result<Item, StoreError> {
    let value = Value::from_cbor(body).map_err(|e| StoreError::Unreadable(e.to_string()))?;
    Item::from_value(&value).map_err(|e| StoreError::Unreadable(e.to_string()))
}
