//! An item comes in: it is appended to its lane, in the journal's transaction, and takes the place of
//! an older one of the same subject that wasn't cut yet.
//!
//! | item | what it replaces |
//! |---|---|
//! | a parcel's state, `unplaceable`, a claim | nothing: each is a fact about a delivery |
//! | `health` | the health before it |
//! | `audit` | a shorter head, if both were told since the start; see [`audit_subject`] |
//! | `demand` | the same bucket in a lower or the same revision; a lower one isn't taken at all |
//!
//! Appending writes a row and nothing of the lane's head, except after every [`COUNT_EVERY`] rows, so
//! that what waits can be counted at any time without reading through it.

use cloud_protocol::uplink::DemandReport;
use cloud_protocol::{Item, Report};
use firmware_protocols::Ident;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{body, damaged, write_head};
use crate::keys::StoreKey;
use crate::store::write::{AUDIT_REPORTED, Heads, bits, set_meta};
use crate::store::{StoreError, doing, load};

/// How many rows may be uncounted.
pub const COUNT_EVERY: i64 = 1_000;

/// What waits under a subject.
struct Older {
    id: i64,
    body: Vec<u8>,
}

/// Appends an item. `heads` is moved on: throw it away with the transaction if that fails.
pub fn append(
    conn: &Connection,
    key: &StoreKey,
    heads: &mut Heads,
    at_ms: i64,
    report: &Report,
) -> Result<(), StoreError> {
    let lane = report.lane();
    let subject = subject(conn, report)?;
    let older = match &subject {
        Some(subject) => older(conn, subject)?,
        None => None,
    };
    if let (Some(older), Report::Demand(report)) = (&older, report)
        && revision(older)? > report.revision
    {
        return Ok(());
    }
    let mut item = Item {
        seq: 0,
        at: at_ms,
        report: report.clone(),
    };
    let code = body::part_from_code(&mut item.report);
    let secret = code
        .map(|code| key.seal(code.reveal().as_bytes()))
        .transpose()
        .map_err(|_| damaged("a code could not be sealed"))?;
    let id = heads.last_id + 1;
    conn.prepare_cached(
        "INSERT INTO uplink (id, lane, subject, at_ms, body, secret)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .and_then(|mut insert| {
        insert.execute(params![
            id,
            lane.name(),
            subject,
            at_ms,
            body::encode(&item),
            secret
        ])
    })
    .map_err(doing("writing for the cloud"))?;
    heads.last_id = id;
    let head = heads.lanes.entry(lane).or_default();
    head.waiting += 1;
    if let Some(older) = &older {
        conn.prepare_cached("DELETE FROM uplink WHERE id = ?1")
            .and_then(|mut delete| delete.execute([older.id]))
            .map_err(doing("writing for the cloud"))?;
        head.waiting = head.waiting.saturating_sub(1);
    }
    if older.is_some() || id - head.counted_id >= COUNT_EVERY {
        write_head(conn, lane, head, id)?;
    }
    if let Report::Audit { entries, .. } = report {
        set_meta(conn, AUDIT_REPORTED, bits(*entries))?;
    }
    Ok(())
}

/// The subject of a bucket of demand: those of one scope stand in the order of their start.
pub(super) fn demand_subject(report: &DemandReport) -> String {
    let from = demand_prefix(report.building.as_ref(), report.start);
    format!("{from}/{}", report.minutes)
}

/// Where the subjects of a scope's buckets that start then begin.
pub(super) fn demand_prefix(building: Option<&Ident>, start_ms: i64) -> String {
    let building = building.map_or("", Ident::as_str);
    format!("demand/{building}/{start_ms:016}")
}

/// What an item is about, if only the latest of that matters.
fn subject(conn: &Connection, report: &Report) -> Result<Option<String>, StoreError> {
    Ok(match report {
        Report::Parcel(_) | Report::Unplaceable(_) | Report::Claim(_) => None,
        Report::Health(_) => Some("health".to_owned()),
        Report::Demand(report) => Some(demand_subject(report)),
        Report::Audit { entries, head } => Some(audit_subject(conn, *entries, head)?),
    })
}

/// A head of the parcels' history shows the cloud that an earlier one was rewritten, so none may be
/// lost to a later one that stands on another past. While the daemon runs, each head stands on the one
/// before: the longer one will do. The head that is told again at a start, taken from the disk, and
/// one that is no longer than what was told, may stand on anything: what waits then is left as it is,
/// for good, and only an equal head is replaced.
fn audit_subject(conn: &Connection, entries: u64, head: &[u8; 32]) -> Result<String, StoreError> {
    let told = load::meta(conn, AUDIT_REPORTED)?.unwrap_or(0);
    if entries > told.cast_unsigned() {
        return Ok("audit".to_owned());
    }
    conn.execute(
        "UPDATE uplink SET subject = NULL WHERE subject = 'audit'",
        [],
    )
    .map_err(doing("writing for the cloud"))?;
    Ok(format!("audit/{entries}/{}", crate::audit::hex::hex(head)))
}

fn older(conn: &Connection, subject: &str) -> Result<Option<Older>, StoreError> {
    conn.prepare_cached("SELECT id, body FROM uplink WHERE subject = ?1 LIMIT 1")
        .and_then(|mut select| {
            let older = |row: &rusqlite::Row<'_>| {
                Ok(Older {
                    id: row.get(0)?,
                    body: row.get(1)?,
                })
            };
            select.query_row([subject], older).optional()
        })
        .map_err(doing("read"))
}

fn revision(older: &Older) -> Result<u32, StoreError> {
    match body::decode(&older.body, 1)?.report {
        Report::Demand(report) => Ok(report.revision),
        _ => Err(damaged("something else stands for demand")),
    }
}
