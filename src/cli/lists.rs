//! Lists as tables: devices, parcels, events, quarantine.

use std::collections::BTreeSet;

use super::look::{Look, Paint, cut, safe};
use super::table::{Cell, Column, table};
use super::words;
use crate::control::knocks::KnockView;
use crate::control::views::DeviceView;
use crate::knocks::why;
use crate::store::read::{EventRow, ParcelRow, QuarantineRow};

/// Devices.
pub fn devices(look: &Look, devices: &[DeviceView]) -> String {
    const HEAD: [Column; 10] = [
        Column::left("DEVICE"),
        Column::left("ROLE"),
        Column::left("BUILDING"),
        Column::left("HERE"),
        Column::left("HEARD"),
        Column::right("STORED"),
        Column::right("AGAIN"),
        Column::right("QUARANT."),
        Column::stretching("MISSING"),
        Column::stretching("MODEL"),
    ];
    let rows: Vec<Vec<Cell>> = devices
        .iter()
        .map(|device| device_row(look, device))
        .collect();
    let mut out = listed(look, &HEAD, &rows);
    for device in devices {
        if let Some(rotation) = device.rotation {
            let id = safe(&device.device);
            out.push_str(&words::device::rotating(look, &id, rotation.until_ms));
            out.push('\n');
        }
    }
    out
}

/// Who knocked and wasn't let in: who, why, what to do.
pub fn knocks(look: &Look, knocks: &[KnockView]) -> String {
    if knocks.is_empty() {
        return format!("{}\n", words::NONE);
    }
    let mut out = String::new();
    for knock in knocks {
        let times = match knock.count {
            1 => String::new(),
            n => format!(
                ", {} times since {}",
                words::number(n),
                look.time(knock.first_ms)
            ),
        };
        let head = format!(
            "{}  {}{times}",
            look.time(knock.last_ms),
            words::device::who(knock)
        );
        let why = format!("  {}:", words::device::reason(knock));
        out.push_str(&look.paint(Paint::Bold, &safe(&head)));
        out.push_str(&format!(
            "\n{}\n  {}\n",
            safe(&why),
            safe(&words::device::remedy(knock))
        ));
    }
    out
}

/// Below the devices: how many knocked that aren't among them. Empty if none did.
pub fn unknown_knocked(knocks: &[KnockView]) -> String {
    let names: BTreeSet<&str> = knocks
        .iter()
        .filter(|knock| !knock.configured && why::is_unknown(&knock.why))
        .map(|knock| knock.client_id.as_str())
        .collect();
    match names.len() {
        0 => String::new(),
        n => format!("{}\n", words::device::unknown_knocked(n as u64)),
    }
}

fn device_row(look: &Look, device: &DeviceView) -> Vec<Cell> {
    let here = match device.online {
        _ if device.slowed.is_some() => Paint::Warn,
        Some(true) => Paint::Good,
        Some(false) => Paint::Bad,
        None => Paint::Warn,
    };
    let heard = match device.last_heard_ms {
        Some(ms) => look.ago(ms),
        None => words::NEVER.to_string(),
    };
    let missing: Vec<(u64, u64)> = device
        .boots
        .iter()
        .filter(|boot| Some(boot.boot) == device.boot)
        .flat_map(|boot| boot.given_up.iter().chain(&boot.missing).copied())
        .collect();
    let model = [device.model.as_deref(), device.firmware.as_deref()];
    let model: Vec<&str> = model.into_iter().flatten().collect();
    vec![
        Cell::from(&device.device),
        Cell::from(&device.role),
        Cell::from(device.building.as_deref().unwrap_or_default()),
        Cell::painted(here_word(device), here),
        Cell::from(heard),
        Cell::from(words::number(device.stored)),
        Cell::from(words::number(device.duplicate)),
        Cell::painted(
            words::number(device.quarantined),
            warn_if(device.quarantined > 0),
        ),
        Cell::painted(words::gaps(&missing), Paint::Warn),
        Cell::from(model.join(" ")),
    ]
}

fn here_word(device: &DeviceView) -> &'static str {
    match &device.slowed {
        Some(_) => words::slowed::HERE,
        None => words::yes_no(device.online),
    }
}

/// Parcels.
pub fn parcels(look: &Look, parcels: &[ParcelRow]) -> String {
    const HEAD: [Column; 7] = [
        Column::stretching("PARCEL"),
        Column::left("STATE"),
        Column::left("SINCE"),
        Column::left("PLACE"),
        Column::left("SIZE"),
        Column::left("ZONE"),
        Column::left("UNTIL"),
    ];
    let rows: Vec<Vec<Cell>> = parcels
        .iter()
        .map(|parcel| {
            let over = parcel.finished();
            let late = !over && parcel.due_ms < look.now_ms;
            let paint = if over { Paint::Dim } else { Paint::Plain };
            let state = if parcel.goes_back() {
                Paint::Warn
            } else {
                paint
            };
            vec![
                Cell::painted(&parcel.parcel, paint),
                Cell::painted(parcel.shown_state(), state),
                Cell::painted(look.time(parcel.since_ms), paint),
                Cell::painted(place(parcel), paint),
                Cell::painted(&parcel.size, paint),
                Cell::painted(&parcel.zone, paint),
                Cell::painted(
                    look.time(parcel.due_ms),
                    if late { Paint::Warn } else { paint },
                ),
            ]
        })
        .collect();
    listed(look, &HEAD, &rows)
}

/// Where a parcel is, or is to go.
pub fn place(parcel: &ParcelRow) -> String {
    match (&parcel.bank, parcel.compartment, &parcel.desk) {
        (Some(bank), Some(number), _) => format!("{bank}/{number}"),
        (.., Some(desk)) => desk.clone(),
        _ => parcel.point.clone(),
    }
}

/// One event on a line. Columns are of fixed width, so that lines that come later fit those before.
pub fn event(look: &Look, event: &EventRow) -> String {
    let time = look.time_of_quality(event.at_ms, &event.quality);
    let device = safe(&event.device);
    let kind = safe(&event.kind);
    let what = words::events::happening(&event.kind, &event.body);
    let head = format!("{time:<15} {device:<16} {kind:<11} ");
    let what = safe(&what);
    let room = look
        .width
        .map(|width| width.saturating_sub(head.len()).max(20));
    let what = room.map_or(what.clone(), |room| cut(&what, room).into_owned().into());
    let paint = match event.kind.as_str() {
        "alarm" => Paint::Bad,
        "reading" => Paint::Dim,
        _ => Paint::Plain,
    };
    format!("{head}{}\n", look.paint(paint, &what))
}

/// What couldn't be taken.
pub fn quarantine(look: &Look, rows: &[QuarantineRow]) -> String {
    const HEAD: [Column; 6] = [
        Column::left("RECEIVED"),
        Column::left("FROM"),
        Column::stretching("TOPIC"),
        Column::stretching("WHY"),
        Column::right("BYTES"),
        Column::stretching("BEGINNING"),
    ];
    let rows: Vec<Vec<Cell>> = rows
        .iter()
        .map(|row| {
            vec![
                Cell::from(look.time(row.received_ms)),
                Cell::from(&row.source),
                Cell::from(&row.topic),
                Cell::painted(&row.reason, Paint::Warn),
                Cell::from(words::number(row.size_bytes)),
                Cell::from(&row.preview),
            ]
        })
        .collect();
    listed(look, &HEAD, &rows)
}

/// A table, or that there is nothing.
pub fn listed(look: &Look, head: &[Column], rows: &[Vec<Cell>]) -> String {
    match rows.is_empty() {
        true => format!("{}\n", words::NONE),
        false => table(look, head, rows),
    }
}

fn warn_if(wrong: bool) -> Paint {
    if wrong { Paint::Warn } else { Paint::Plain }
}

#[cfg(test)]
mod tests {
    use super::super::look::tests::{NOW_MS, plain};
    use super::*;
    use crate::store::read::BootRow;

    #[test]
    fn devices_show_their_ledger_and_their_gaps() {
        let boot = |boot, missing: &[(u64, u64)]| BootRow {
            boot,
            upto: 4,
            missing: missing.to_vec(),
            given_up: Vec::new(),
            reused: false,
            closed: false,
        };
        let heard = DeviceView {
            device: "bank-a".to_string(),
            role: "bank".to_string(),
            building: Some("b1".to_string()),
            point: None,
            online: Some(true),
            slowed: None,
            rotation: None,
            last_heard_ms: Some(NOW_MS - 3_000),
            form: Some("cbor".to_string()),
            boot: Some(3),
            received: 1_210,
            stored: 1_204,
            duplicate: 5,
            quarantined: 1,
            boots: vec![boot(3, &[(5, 6)]), boot(2, &[(9, 9)])],
            model: Some("LB-24".to_string()),
            firmware: Some("1.4".to_string()),
            capabilities: Vec::new(),
        };
        let mut silent = heard.clone();
        let mut loud = heard.clone();
        loud.device = "door-2".to_string();
        loud.boots.clear();
        loud.slowed = Some(crate::control::views::SlowedView {
            device: "door-2".to_string(),
            since_ms: NOW_MS - 60_000,
            over: "events".to_string(),
            held_ms: 50_000,
            put_off: 0,
        });
        silent.device = "door-1".to_string();
        silent.role = "device".to_string();
        silent.online = None;
        silent.last_heard_ms = None;
        silent.boots.clear();
        (silent.stored, silent.duplicate, silent.quarantined) = (0, 0, 0);
        (silent.model, silent.firmware) = (None, None);
        let wanted = "\
DEVICE  ROLE    BUILDING  HERE    HEARD      STORED  AGAIN  QUARANT.  MISSING  MODEL
bank-a  bank    b1        yes     3.0 s ago   1,204      5         1  5-6      LB-24 1.4
door-1  device  b1        ?       never           0      0         0
door-2  bank    b1        slowed  3.0 s ago   1,204      5         1           LB-24 1.4
";
        assert_eq!(devices(&plain(None), &[heard, silent, loud]), wanted);
        assert_eq!(devices(&plain(None), &[]), "None.\n");
    }

    #[test]
    fn an_event_is_one_line_that_fits() {
        let mut row = EventRow {
            id: 1,
            device: "door-1".to_string(),
            boot: 1,
            seq: 1,
            kind: "access".to_string(),
            at_ms: NOW_MS,
            at_by: "device".to_string(),
            received_ms: NOW_MS,
            quality: "estimated".to_string(),
            body: serde_json::json!({"door": "door-1", "outcome": "granted", "direction": "in"}),
        };
        assert_eq!(
            event(&plain(None), &row),
            "~17:03:21       door-1           access      door-1 granted in\n"
        );
        row.kind = "alarm".to_string();
        row.body = serde_json::json!({"alarm": "x\u{1b}".repeat(50)});
        let line = event(&plain(Some(70)), &row);
        assert_eq!(line.trim_end().len(), 70, "{line}");
        assert!(!line.contains('\u{1b}'));
    }
}
