//! The answers about the parcels' history: verified, exported, and the key that it is signed with.

use rusqlite::OptionalExtension as _;
use serde::{Deserialize, Serialize};

use super::answer::{Answer, failed, open, unknown_parcel};
use super::backend::Backend;
use super::wire::{Failure, FailureKind};
use crate::audit::export::{self, FORMAT, Head, Payload, Step, utc};
use crate::audit::hex::{hex, unhex};
use crate::keys::KeyError;
use crate::store::audit::{AuditError, Break, chained_steps, verify_parcel};
use crate::store::read::ParcelHistory;
use crate::store::trace::TraceHead;
use crate::store::{doing, schema};

/// A head that somebody else has: the cloud, or an earlier export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Against {
    /// How many entries there were.
    pub entries: u64,
    /// The chain up to the last of them, in hexadecimal.
    pub chain: String,
}

/// What the verification of the whole history found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditView {
    /// Whether every entry holds, and agrees with the head from elsewhere if one was given.
    pub unbroken: bool,
    /// Entries that hold, from the first.
    pub entries: u64,
    /// The chain up to the last of them, in hexadecimal.
    pub head: String,
    /// The first entry that doesn't hold.
    pub broken: Option<Break>,
    /// How it compares with the head from elsewhere.
    pub against: Option<Compared>,
}

/// The comparison with a head from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// The entry that it is about.
    pub entries: u64,
    /// The chain there by the other's word.
    pub theirs: String,
    /// The chain here; null if the sound entries don't reach it.
    pub ours: Option<String>,
    /// Whether they are the same.
    pub agrees: bool,
}

/// What the verification of one parcel's history found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParcelAuditView {
    /// The parcel.
    pub parcel: String,
    /// Whether its history holds.
    pub unbroken: bool,
    /// Its steps that are there.
    pub steps: u64,
    /// The first entry that doesn't hold and concerns it.
    pub broken: Option<Break>,
}

/// A signed file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportView {
    /// How many steps it holds.
    pub steps: u64,
    /// The signer's public key, in hexadecimal.
    pub public_key: String,
    /// Its text.
    pub file: String,
}

/// The key that exports are signed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyView {
    /// The public key (Ed25519), in hexadecimal.
    pub public_key: String,
}

/// `audit-verify`.
pub(super) fn verify(backend: &dyn Backend, against: Option<Against>) -> Result<Answer, Failure> {
    if against
        .as_ref()
        .is_some_and(|a| unhex::<32>(&a.chain).is_none())
    {
        return Err(Failure::new(
            FailureKind::BadRequest,
            "a head is a number of entries and 64 hexadecimal digits: --against N:HEX",
        ));
    }
    let now_ms = backend.status().clock.wall_ms;
    let at = against.as_ref().map(|against| against.entries);
    let auditing = backend.auditing();
    let found = auditing
        .verify(backend.store_path(), at, now_ms)
        .map_err(refused)?;
    let compared = against.map(|against| {
        let ours = found.at.map(|chain| hex(&chain.0));
        Compared {
            agrees: ours.as_deref() == Some(against.chain.to_lowercase().as_str()),
            entries: against.entries,
            theirs: against.chain,
            ours,
        }
    });
    let agrees = compared.as_ref().is_none_or(|compared| compared.agrees);
    Answer::one(&AuditView {
        unbroken: found.broken.is_none() && agrees,
        entries: found.sound.entries,
        head: hex(&found.sound.chain.0),
        broken: found.broken,
        against: compared,
    })
}

/// `parcel-verify`.
pub(super) fn verify_one(backend: &dyn Backend, parcel: &str) -> Result<Answer, Failure> {
    let conn = schema::open_reader(backend.store_path()).map_err(failed)?;
    let view = verified(backend, &conn, parcel)?;
    if view.steps == 0 && facts(backend, parcel)?.is_none() {
        return Err(unknown_parcel(parcel));
    }
    Answer::one(&view)
}

/// `parcel-export`.
pub(super) fn export(backend: &dyn Backend, parcel: &str) -> Result<Answer, Failure> {
    let facts = facts(backend, parcel)?;
    let conn = schema::open_reader(backend.store_path()).map_err(failed)?;
    // Verified, read and compared as of one moment.
    let _snapshot = conn
        .unchecked_transaction()
        .map_err(|e| failed(doing("read")(e)))?;
    let view = verified(backend, &conn, parcel)?;
    if view.steps == 0 && facts.is_none() {
        return Err(unknown_parcel(parcel));
    }
    if let Some(broken) = view.broken {
        return Err(not_signed(parcel, &broken));
    }
    let steps = chained_steps(&conn, parcel).map_err(refused)?;
    let newest = facts.as_ref().and_then(|facts| facts.trace.last());
    if newest.is_some_and(|newest| steps.last().map(|step| step.n.cast_signed()) != Some(newest.id))
    {
        return Err(Failure::new(
            FailureKind::Busy,
            format!("something is happening to '{parcel}' just now: try again"),
        ));
    }
    let key = backend.auditing().signing_key().map_err(|e| no_key(&e))?;
    let status = backend.status();
    let facts = facts.map(|facts| facts.parcel);
    let payload = Payload {
        format: FORMAT.to_owned(),
        site: status.site,
        version: status.version,
        exported: utc(status.clock.wall_ms),
        exported_ms: status.clock.wall_ms,
        exported_quality: status.clock.quality,
        public_key: hex(&key.public()),
        recipient: recipient(&conn, parcel)?,
        parcel: serde_json::to_value(facts).unwrap_or_default(),
        parcel_id: parcel.to_owned(),
        steps: steps.iter().map(Step::from).collect(),
        head: Head::from(TraceHead::load(&conn).map_err(failed)?),
    };
    let Some(file) = export::seal(&payload, &key) else {
        return Err(Failure::new(
            FailureKind::Refused,
            format!("the history of '{parcel}' is too long for one file: keep a copy of the store"),
        ));
    };
    tracing::info!(parcel, "its history was exported and signed");
    Answer::one(&ExportView {
        steps: view.steps,
        public_key: payload.public_key,
        file,
    })
}

/// `audit-key`.
pub(super) fn key(backend: &dyn Backend) -> Result<Answer, Failure> {
    let key = backend.auditing().signing_key().map_err(|e| no_key(&e))?;
    Answer::one(&KeyView {
        public_key: hex(&key.public()),
    })
}

fn verified(
    backend: &dyn Backend,
    conn: &rusqlite::Connection,
    parcel: &str,
) -> Result<ParcelAuditView, Failure> {
    let found = backend
        .auditing()
        .bounded(|bound| verify_parcel(conn, parcel, bound))
        .map_err(refused)?;
    Ok(ParcelAuditView {
        parcel: parcel.to_owned(),
        unbroken: found.broken.is_none(),
        steps: found.steps,
        broken: found.broken,
    })
}

/// The parcel's facts; `None` if it was never taken on.
fn facts(backend: &dyn Backend, parcel: &str) -> Result<Option<ParcelHistory>, Failure> {
    open(backend)?.parcel(parcel).map_err(failed)
}

fn recipient(conn: &rusqlite::Connection, parcel: &str) -> Result<Option<String>, Failure> {
    conn.query_row(
        "SELECT recipient FROM parcels WHERE parcel = ?1",
        [parcel],
        |row| row.get(0),
    )
    .optional()
    .map_err(|e| failed(doing("read")(e)))
}

fn not_signed(parcel: &str, broken: &Break) -> Failure {
    Failure::new(
        FailureKind::Refused,
        format!(
            "the history of '{parcel}' isn't what was written, at entry {}, so nothing was signed. See linli parcel {parcel} --verify, and keep a copy of the store",
            broken.n
        ),
    )
}

fn no_key(error: &KeyError) -> Failure {
    let text = error.to_string();
    tracing::error!(error = %text, "there is no key to sign with");
    Failure::new(
        FailureKind::Refused,
        format!("there is no key to sign with: {text}"),
    )
}

fn refused(error: AuditError) -> Failure {
    match error {
        AuditError::Store(error) => failed(error),
        AuditError::BrokenOff { .. } => Failure::new(FailureKind::Busy, error.to_string()),
        AuditError::TooMany(_) => Failure::new(FailureKind::Refused, error.to_string()),
    }
}
