//! What the estate starts from: the live rows, read whole.

use cloud_protocol::downlink::{ExpectedParcel, Size, Zone};
use estate::change::Snapshot;
use estate::code::{CodeRow, CodeState};
use estate::command::{CommandRow, CommandState, Purpose};
use estate::compartment::CompartmentRow;
use estate::demand::{Cell, CellKey};
use estate::device::{BootRow, DeviceRow};
use estate::keypad::KeypadRow;
use estate::parcel::{Back, CourierRow, ParcelRow, Place, Stage, Taker};
use estate::{Deadline, TimeQuality};
use firmware_protocols::event::Door;
use firmware_protocols::{Form, Ident, Slot};
use rusqlite::{Connection, Row};

use super::{StoreError, doing};

/// Reads everything that the estate needs to go on.
pub fn snapshot(conn: &Connection) -> Result<Snapshot, StoreError> {
    let mut out = Snapshot::default();
    each(conn, "devices", "SELECT * FROM devices", |row| {
        let device = device(row)?;
        out.devices.insert(device.device.clone(), device);
        Ok(())
    })?;
    each(conn, "boots", "SELECT * FROM boots", |row| {
        let boot = boot(row)?;
        out.boots.insert((boot.device.clone(), boot.boot), boot);
        Ok(())
    })?;
    each(conn, "compartments", "SELECT * FROM compartments", |row| {
        let compartment = compartment(row)?;
        out.compartments
            .insert(compartment.slot.clone(), compartment);
        Ok(())
    })?;
    let live = "SELECT * FROM parcels WHERE archived = 0";
    each(conn, "parcels", live, |row| {
        let parcel = parcel(row)?;
        out.parcels.insert(parcel.parcel.parcel.clone(), parcel);
        Ok(())
    })?;
    each(conn, "codes", "SELECT * FROM codes", |row| {
        let code = code(row)?;
        out.codes.insert((code.point.clone(), code.digest), code);
        Ok(())
    })?;
    each(conn, "keypads", "SELECT * FROM keypads", |row| {
        let keypad = keypad(row)?;
        out.keypads.insert(keypad.keypad.clone(), keypad);
        Ok(())
    })?;
    each(conn, "couriers", "SELECT * FROM couriers", |row| {
        let courier = courier(row)?;
        out.couriers.insert(courier.proof, courier);
        Ok(())
    })?;
    let live = "SELECT * FROM commands WHERE archived = 0";
    each(conn, "commands", live, |row| {
        let command = command(row)?;
        out.commands.insert(command.id.clone(), command);
        Ok(())
    })?;
    each(conn, "cells", "SELECT * FROM cells", |row| {
        let key = cell_key(row)?;
        let count = get::<i64>(row, "count")?.cast_unsigned();
        let cell = Cell {
            key: key.clone(),
            count,
        };
        out.cells.insert(key, cell);
        Ok(())
    })?;
    let households = "SELECT * FROM cell_households";
    each(conn, "cell_households", households, |row| {
        let household = get::<i64>(row, "household")?.cast_unsigned();
        out.households
            .entry(cell_key(row)?)
            .or_default()
            .insert(household);
        Ok(())
    })?;
    each(conn, "settings", "SELECT * FROM settings", |row| {
        out.settings.insert(get(row, "name")?, get(row, "value")?);
        Ok(())
    })?;
    Ok(out)
}

/// A number from `meta`.
pub fn meta(conn: &Connection, name: &str) -> Result<Option<i64>, StoreError> {
    use rusqlite::OptionalExtension as _;
    conn.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| {
        row.get(0)
    })
    .optional()
    .map_err(doing("read"))
}

/// Why a row can't be read.
type What = String;

fn each(
    conn: &Connection,
    table: &'static str,
    sql: &str,
    mut take: impl FnMut(&Row<'_>) -> Result<(), What>,
) -> Result<(), StoreError> {
    let mut statement = conn.prepare(sql).map_err(doing("read"))?;
    let mut rows = statement.query([]).map_err(doing("read"))?;
    while let Some(row) = rows.next().map_err(doing("read"))? {
        take(row).map_err(|what| StoreError::Damaged { table, what })?;
    }
    Ok(())
}

fn get<T: rusqlite::types::FromSql>(row: &Row<'_>, column: &str) -> Result<T, What> {
    row.get(column).map_err(|e| format!("{column}: {e}"))
}

fn number(row: &Row<'_>, column: &str) -> Result<u64, What> {
    get::<i64>(row, column).map(i64::cast_unsigned)
}

fn ident(row: &Row<'_>, column: &str) -> Result<Ident, What> {
    Ident::new(&get::<String>(row, column)?).map_err(|e| format!("{column}: {e}"))
}

fn word<T: Copy>(row: &Row<'_>, column: &str, words: &[(&str, T)]) -> Result<T, What> {
    let text: String = get(row, column)?;
    words
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, meaning)| *meaning)
        .ok_or_else(|| format!("{column}: '{text}' is no such word"))
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: &str) -> Result<T, What> {
    let text: String = get(row, column)?;
    serde_json::from_str(&text).map_err(|e| format!("{column}: {e}"))
}

fn quality(row: &Row<'_>) -> Result<TimeQuality, What> {
    quality_in(row, "quality")
}

fn quality_in(row: &Row<'_>, column: &str) -> Result<TimeQuality, What> {
    match get::<u8>(row, column)? {
        0 => Ok(TimeQuality::Unknown),
        1 => Ok(TimeQuality::Estimated),
        2 => Ok(TimeQuality::Synchronised),
        other => Err(format!("{column}: {other} is no such quality")),
    }
}

fn device(row: &Row<'_>) -> Result<DeviceRow, What> {
    Ok(DeviceRow {
        device: ident(row, "device")?,
        form: word(row, "form", &[("cbor", Form::Cbor), ("json", Form::Json)])?,
        boot: get(row, "boot")?,
        received: number(row, "received")?,
        stored: number(row, "stored")?,
        duplicate: number(row, "duplicate")?,
        quarantined: number(row, "quarantined")?,
        last_heard_ms: get(row, "last_heard_ms")?,
        model: get(row, "model")?,
        firmware: get(row, "firmware")?,
        capabilities: json(row, "capabilities")?,
    })
}

fn boot(row: &Row<'_>) -> Result<BootRow, What> {
    Ok(BootRow {
        device: ident(row, "device")?,
        boot: get(row, "boot")?,
        upto: number(row, "upto")?,
        ahead: json(row, "ahead")?,
        given_up: json(row, "given_up")?,
        first: get::<Option<i64>>(row, "first")?.map(i64::cast_unsigned),
        reused: get(row, "reused")?,
        heard_tick_ms: number(row, "heard_tick_ms")?,
    })
}

fn slot(row: &Row<'_>) -> Result<Slot, What> {
    Ok(Slot {
        bank: ident(row, "bank")?,
        compartment: get(row, "compartment")?,
    })
}

fn compartment(row: &Row<'_>) -> Result<CompartmentRow, What> {
    Ok(CompartmentRow {
        slot: slot(row)?,
        contents: json(row, "contents")?,
        reserved: get(row, "reserved")?,
        door: word(row, "door", Door::WORDS)?,
        occupied: get(row, "occupied")?,
        fault: get(row, "fault")?,
        disabled: get(row, "disabled")?,
        openings: number(row, "openings")?,
    })
}

fn parcel(row: &Row<'_>) -> Result<ParcelRow, What> {
    Ok(ParcelRow {
        parcel: ExpectedParcel {
            parcel: get(row, "parcel")?,
            recipient: get(row, "recipient")?,
            size: word(row, "size", Size::WORDS)?,
            zone: word(row, "zone", Zone::WORDS)?,
            point: ident(row, "point")?,
            deadline: get(row, "deadline_ms")?,
            consent: get(row, "consent")?,
            items: get(row, "items")?,
            low: get(row, "low")?,
            return_of: get(row, "return_of")?,
        },
        stage: stage(row)?,
        back: match get::<Option<String>>(row, "back")? {
            Some(_) => Some(word(row, "back", Back::WORDS)?),
            None => None,
        },
        due: deadline(row, "due_ms")?,
        unlisted: get(row, "unlisted")?,
        to_desk: get(row, "to_desk")?,
        since_ms: get(row, "since_ms")?,
        since_tick_ms: number(row, "since_tick_ms")?,
    })
}

fn stage(row: &Row<'_>) -> Result<Stage, What> {
    let name: String = get(row, "stage")?;
    Ok(match name.as_str() {
        "expected" => Stage::Expected,
        "cancelled" => Stage::Cancelled,
        "depositing" => Stage::Depositing {
            slot: slot(row)?,
            courier: get(row, "courier")?,
            command: get(row, "command")?,
            opened: get(row, "opened")?,
            alarmed: get(row, "alarmed")?,
        },
        "deposited" => Stage::Deposited { place: place(row)? },
        "collecting" => Stage::Collecting {
            slot: slot(row)?,
            taker: taker(row)?,
            command: get(row, "command")?,
            opened: get(row, "opened")?,
            alarmed: get(row, "alarmed")?,
        },
        "retrieved" => Stage::Retrieved { place: place(row)? },
        "collected" => Stage::Collected {
            place: place(row)?,
            reopen_until_tick_ms: number(row, "reopen_until_tick_ms")?,
        },
        other => return Err(format!("stage: '{other}' is no such stage")),
    })
}

fn taker(row: &Row<'_>) -> Result<Taker, What> {
    let name: String = get(row, "taker")?;
    Ok(match name.as_str() {
        "recipient" => Taker::Recipient,
        "courier" => Taker::Courier(get(row, "courier")?),
        "operator" => Taker::Operator(get(row, "courier")?),
        "desk" => Taker::Desk {
            desk: ident(row, "desk")?,
            operator: get(row, "courier")?,
        },
        other => return Err(format!("taker: '{other}' is no such word")),
    })
}

/// A moment in `wall`, with the tick and the quality that belong to it.
fn deadline(row: &Row<'_>, wall: &str) -> Result<Deadline, What> {
    Ok(Deadline {
        wall_ms: get(row, wall)?,
        tick_ms: get::<Option<i64>>(row, "due_tick_ms")?.map(i64::cast_unsigned),
        quality: quality_in(row, "due_quality")?,
    })
}

fn place(row: &Row<'_>) -> Result<Place, What> {
    match get::<Option<String>>(row, "desk")? {
        Some(_) => Ok(Place::Desk(ident(row, "desk")?)),
        None => Ok(Place::Slot(slot(row)?)),
    }
}

fn code(row: &Row<'_>) -> Result<CodeRow, What> {
    let parcel: Option<String> = get(row, "parcel")?;
    let until: Option<i64> = get(row, "until_tick_ms")?;
    let state = match (parcel, until) {
        (Some(parcel), None) => CodeState::Live { parcel },
        (None, Some(until)) => CodeState::Resting {
            until_tick_ms: until.cast_unsigned(),
        },
        _ => return Err("a code is neither live nor resting".to_owned()),
    };
    Ok(CodeRow {
        point: ident(row, "point")?,
        digest: get(row, "digest")?,
        digits: get(row, "digits")?,
        bank_digest: get(row, "bank_digest")?,
        state,
    })
}

fn keypad(row: &Row<'_>) -> Result<KeypadRow, What> {
    Ok(KeypadRow {
        keypad: ident(row, "keypad")?,
        wrong: get(row, "wrong")?,
        astray: get(row, "astray")?,
        lockouts: get(row, "lockouts")?,
        locked_until_tick_ms: get::<Option<i64>>(row, "locked_until_tick_ms")?
            .map(i64::cast_unsigned),
    })
}

fn courier(row: &Row<'_>) -> Result<CourierRow, What> {
    Ok(CourierRow {
        proof: get(row, "proof")?,
        digits: get(row, "digits")?,
        courier: get(row, "courier")?,
        valid_until: deadline(row, "valid_until_ms")?,
    })
}

fn command(row: &Row<'_>) -> Result<CommandRow, What> {
    let purpose: String = get(row, "purpose")?;
    let purpose = match purpose.as_str() {
        "deposit" => Purpose::Deposit {
            parcel: get(row, "parcel")?,
        },
        "collect" => Purpose::Collect {
            parcel: get(row, "parcel")?,
        },
        "retrieve" => Purpose::Retrieve {
            parcel: get(row, "parcel")?,
        },
        "by-hand" => Purpose::ByHand {
            operator: get(row, "operator")?,
            reason: get(row, "reason")?,
        },
        other => return Err(format!("purpose: '{other}' is no such purpose")),
    };
    let state: String = get(row, "state")?;
    let state = match state.as_str() {
        "requested" => CommandState::Requested,
        "sent" => CommandState::Sent,
        "done" => CommandState::Done,
        "opened" => CommandState::Opened,
        "closed" => CommandState::Closed,
        "unknown" => CommandState::Unknown,
        "refused" => CommandState::Refused {
            reason: get(row, "answer")?,
        },
        "failed" => CommandState::Failed {
            reason: get(row, "answer")?,
        },
        "expired" => CommandState::Expired,
        other => return Err(format!("state: '{other}' is no such state")),
    };
    Ok(CommandRow {
        id: get(row, "id")?,
        slot: slot(row)?,
        purpose,
        at_ms: get(row, "at_ms")?,
        quality: quality(row)?,
        expires_tick_ms: number(row, "expires_tick_ms")?,
        sent_ms: get(row, "sent_ms")?,
        opened_ms: get(row, "opened_ms")?,
        closed_ms: get(row, "closed_ms")?,
        state,
    })
}

fn cell_key(row: &Row<'_>) -> Result<CellKey, What> {
    let building: String = get(row, "building")?;
    Ok(CellKey {
        start_ms: get(row, "start_ms")?,
        building: match building.as_str() {
            "" => None,
            _ => Some(ident(row, "building")?),
        },
        series: get(row, "series")?,
    })
}
