//! How a row of SQL becomes a row for people: columns by position, integers by their bits, bodies
//! without digests.

use firmware_protocols::Value;
use rusqlite::Row;

use super::{
    CommandRow, CompartmentRow, DeviceRow, EventRow, LedgerRow, ParcelRow, QuarantineRow, TraceRow,
};

pub(super) fn device(row: &Row<'_>) -> rusqlite::Result<(DeviceRow, String)> {
    let count = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
    let device = DeviceRow {
        device: row.get(0)?,
        form: row.get(1)?,
        boot: row.get(2)?,
        received: count(3)?,
        stored: count(4)?,
        duplicate: count(5)?,
        quarantined: count(6)?,
        last_heard_ms: row.get(7)?,
        model: row.get(8)?,
        firmware: row.get(9)?,
        capabilities: Vec::new(),
        boots: Vec::new(),
    };
    Ok((device, row.get(10)?))
}

pub(super) fn compartment(row: &Row<'_>) -> rusqlite::Result<CompartmentRow> {
    let contents: String = row.get(2)?;
    Ok(CompartmentRow {
        bank: row.get(0)?,
        compartment: row.get(1)?,
        parcels: serde_json::from_str(&contents).unwrap_or_default(),
        reserved: row.get(3)?,
        door: row.get(4)?,
        occupied: row.get(5)?,
        fault: row.get(6)?,
        disabled: row.get(7)?,
        openings: row.get::<_, i64>(8)?.cast_unsigned(),
    })
}

pub(super) fn parcel(row: &Row<'_>) -> rusqlite::Result<ParcelRow> {
    Ok(ParcelRow {
        parcel: row.get(0)?,
        size: row.get(1)?,
        zone: row.get(2)?,
        point: row.get(3)?,
        deadline_ms: row.get(4)?,
        consent: row.get(5)?,
        items: row.get(6)?,
        state: row.get(7)?,
        bank: row.get(8)?,
        compartment: row.get(9)?,
        desk: row.get(10)?,
        courier: row.get(11)?,
        opened: row.get(12)?,
        alarmed: row.get(13)?,
        since_ms: row.get(14)?,
        archived: row.get(15)?,
        back: row.get(16)?,
        taker: row.get(17)?,
        unlisted: row.get(18)?,
        low: row.get(19)?,
        return_of: row.get(20)?,
        to_desk: row.get(21)?,
        due_ms: row.get(22)?,
    })
}

pub(super) fn trace(row: &Row<'_>) -> rusqlite::Result<TraceRow> {
    Ok(TraceRow {
        id: row.get(0)?,
        at_ms: row.get(1)?,
        quality: quality(row.get(2)?),
        step: row.get(3)?,
        who: row.get(4)?,
        detail: row.get(5)?,
    })
}

pub(super) fn command(row: &Row<'_>) -> rusqlite::Result<CommandRow> {
    Ok(CommandRow {
        id: row.get(0)?,
        bank: row.get(1)?,
        compartment: row.get(2)?,
        purpose: row.get(3)?,
        parcel: row.get(4)?,
        operator: row.get(5)?,
        reason: row.get(6)?,
        at_ms: row.get(7)?,
        quality: quality(row.get(8)?),
        state: row.get(9)?,
        answer: row.get(10)?,
        sent_ms: row.get(11)?,
        opened_ms: row.get(12)?,
        closed_ms: row.get(13)?,
    })
}

/// A command, then who had it made.
pub(super) fn ledger(row: &Row<'_>) -> rusqlite::Result<LedgerRow> {
    Ok(LedgerRow {
        command: command(row)?,
        who: row.get(14)?,
    })
}

pub(super) fn event(row: &Row<'_>) -> rusqlite::Result<EventRow> {
    let kind: String = row.get(4)?;
    let body = body(&kind, row.get_ref(9)?.as_blob().unwrap_or_default());
    Ok(EventRow {
        id: row.get(0)?,
        device: row.get::<_, Option<String>>(1)?.unwrap_or_default(),
        boot: row.get(2)?,
        seq: row.get::<_, i64>(3)?.cast_unsigned(),
        kind,
        at_ms: row.get(5)?,
        at_by: row.get(6)?,
        received_ms: row.get(7)?,
        quality: quality(row.get(8)?),
        body,
    })
}

pub(super) fn quarantine(row: &Row<'_>) -> rusqlite::Result<QuarantineRow> {
    Ok(QuarantineRow {
        id: row.get(0)?,
        received_ms: row.get(1)?,
        source: row.get(2)?,
        topic: row.get(3)?,
        reason: row.get(4)?,
        size_bytes: row.get::<_, i64>(5)?.cast_unsigned(),
        preview: row.get(6)?,
    })
}

/// An event's own fields as JSON, without digests. A body that can't be read is null.
fn body(kind: &str, cbor: &[u8]) -> serde_json::Value {
    let Ok(value) = Value::from_cbor(cbor) else {
        return serde_json::Value::Null;
    };
    let shown = if kind == "reading" {
        value
    } else {
        without_bytes(value)
    };
    serde_json::to_value(&shown).unwrap_or_default()
}

fn without_bytes(value: Value) -> Value {
    let shown = |value: &Value| !matches!(value, Value::Bytes(_));
    match value {
        Value::Map(entries) => Value::Map(
            entries
                .into_iter()
                .filter(|(_, value)| shown(value))
                .map(|(key, value)| (key, without_bytes(value)))
                .collect(),
        ),
        Value::Array(items) => {
            Value::Array(items.into_iter().filter(shown).map(without_bytes).collect())
        }
        other => other,
    }
}

fn quality(stored: i64) -> String {
    match stored {
        2 => "synchronised",
        1 => "estimated",
        _ => "unknown",
    }
    .to_string()
}
