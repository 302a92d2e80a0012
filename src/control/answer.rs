//! What each request is answered with, from the store and the backend.
//!
//! Everything here blocks on the store, so it runs where that is allowed; nothing of it holds a
//! connection while an answer is being written to a client.

use std::collections::BTreeMap;

use firmware_protocols::Ident;
use serde::Serialize;

use super::backend::Backend;
use super::health::judge;
use super::known;
use super::sync::SYNC_PART;
use super::views::{
    BankView, CompartmentState, CompartmentView, DeviceCounts, DeviceView, RotationView,
    StateCounts, Status, Sync,
};
use super::wire::{self, End, Failure, FailureKind, Reply};
use crate::disk;
use crate::store::StoreError;
use crate::store::read::{
    self, CompartmentRow, Concerns, DeviceRow, EventFilter, EventRow, LanesRow, Reader, StoreCounts,
};

/// How many rows come when nobody says how many.
pub const LIMIT_DEFAULT: usize = 1_000;

/// The states that parcels can be asked for by: the stages of their life, and why they go back.
pub const PARCEL_STATES: [&str; 11] = [
    "expected",
    "depositing",
    "deposited",
    "collecting",
    "collected",
    "retrieved",
    "cancelled",
    "overdue",
    "refused",
    "claimed",
    "return",
];

/// An answer, or a part of one, as lines to send.
#[derive(Default)]
pub struct Answer {
    /// An [`Reply::Item`] a line.
    pub lines: Vec<u8>,
    /// How it ends.
    pub end: End,
}

impl Answer {
    /// One item.
    pub fn one(item: &impl Serialize) -> Result<Self, Failure> {
        Self::all(std::slice::from_ref(item))
    }

    /// All of them.
    pub fn all(items: &[impl Serialize]) -> Result<Self, Failure> {
        let mut answer = Self::default();
        for item in items {
            wire::write_line(&mut answer.lines, &Reply::Item(item)).map_err(|e| {
                Failure::new(FailureKind::Internal, format!("can't be written: {e}"))
            })?;
        }
        Ok(answer)
    }

    /// The first `limit` of the items; one more may have been read to see whether there are more.
    fn up_to(limit: usize, items: &[impl Serialize]) -> Result<Self, Failure> {
        let shown = items.get(..limit).unwrap_or(items);
        let mut answer = Self::all(shown)?;
        answer.end.cut = items.len() > limit;
        Ok(answer)
    }
}

/// The limit that applies.
pub fn limit(wanted: Option<usize>) -> usize {
    wanted.unwrap_or(LIMIT_DEFAULT).min(read::ROWS_MAX - 1)
}

/// `status`.
pub fn status(backend: &dyn Backend) -> Result<Answer, Failure> {
    let read = StoreRead::of(backend);
    let refused = read.as_ref().err().map(|e| disk::chain(e));
    backend.store_was_read(refused.as_deref().map_or(Ok(()), Err));
    let mut report = backend.status();
    report.links.unknown_knocks = super::knocks::unknown(backend);
    let known = read.is_ok();
    let read = read.unwrap_or_default();
    let StoreRead { lanes, .. } = read;
    let banks = bank_views(backend, read.compartments);
    let devices = device_views(backend, read.devices);
    // Without the store nobody knows what is in a compartment.
    let judged = if known { banks.as_slice() } else { &[] };
    let (health, troubles) = judge(&report, judged, &devices, &lanes, &read.concerns);
    let states = banks.iter().flat_map(|bank| &bank.compartments);
    let states = StateCounts::of(states.map(|compartment| compartment.state));
    Answer::one(&Status {
        health,
        troubles,
        report,
        devices: count_devices(&devices),
        rotating: rotating(&devices),
        compartments: known.then_some(states),
        store: read.counts,
        lanes,
    })
}

/// What the status needs of the store. Empty when it can't be read: the status answers all the same.
#[derive(Default)]
struct StoreRead {
    devices: Vec<DeviceRow>,
    compartments: Vec<CompartmentRow>,
    lanes: LanesRow,
    concerns: Concerns,
    counts: Option<StoreCounts>,
}

impl StoreRead {
    fn of(backend: &dyn Backend) -> Result<Self, StoreError> {
        let reader = Reader::open(backend.store_path())?;
        let clock = backend.status().clock;
        Ok(Self {
            devices: reader.devices()?,
            compartments: reader.compartments()?,
            lanes: reader.lanes()?,
            concerns: reader.concerns(clock.wall_ms, clock.tick_ms)?,
            counts: Some(reader.counts()?),
        })
    }
}

/// `devices`.
pub fn devices(backend: &dyn Backend) -> Result<Answer, Failure> {
    let rows = open(backend)?.devices().map_err(failed)?;
    Answer::all(&device_views(backend, rows))
}

/// `banks`.
pub fn banks(backend: &dyn Backend) -> Result<Answer, Failure> {
    let rows = open(backend)?.compartments().map_err(failed)?;
    Answer::all(&bank_views(backend, rows))
}

/// `mapped`.
pub fn mapped(backend: &dyn Backend) -> Result<Answer, Failure> {
    Answer::all(&backend.mapped())
}

/// `parcels`.
pub fn parcels(
    backend: &dyn Backend,
    state: Option<&str>,
    wanted: Option<usize>,
) -> Result<Answer, Failure> {
    if let Some(unknown) = state.filter(|state| !PARCEL_STATES.contains(state)) {
        return Err(Failure::new(
            FailureKind::BadRequest,
            format!(
                "'{unknown}' is no state of a parcel: use one of {}",
                PARCEL_STATES.join(", ")
            ),
        ));
    }
    let limit = limit(wanted);
    let rows = open(backend)?.parcels(state, limit + 1).map_err(failed)?;
    Answer::up_to(limit, &rows)
}

/// `parcel`.
pub fn parcel(backend: &dyn Backend, id: &str) -> Result<Answer, Failure> {
    match open(backend)?.parcel(id).map_err(failed)? {
        Some(history) => Answer::one(&history),
        None => Err(unknown_parcel(id)),
    }
}

/// There is no such parcel.
pub fn unknown_parcel(id: &str) -> Failure {
    Failure::new(
        FailureKind::NotFound,
        format!(
            "no parcel '{id}' is known here. See 'linli parcels' for those that are, and 'linli sync' for whether the cloud was heard lately"
        ),
    )
}

/// `quarantine`.
pub fn quarantine(backend: &dyn Backend, wanted: Option<usize>) -> Result<Answer, Failure> {
    let limit = limit(wanted);
    let rows = open(backend)?.quarantine(limit + 1).map_err(failed)?;
    Answer::up_to(limit, &rows)
}

/// `at-desks`.
pub fn at_desks(
    backend: &dyn Backend,
    desk: Option<&str>,
    wanted: Option<usize>,
) -> Result<Answer, Failure> {
    let layout = backend.layout();
    let desks: Vec<&str> = match desk {
        Some(desk) => vec![known::desk(&layout, Some(desk))?.as_str()],
        None => layout.desks.iter().map(|desk| desk.id.as_str()).collect(),
    };
    let limit = limit(wanted);
    let rows = open(backend)?.at_desks(&desks, limit + 1).map_err(failed)?;
    Answer::up_to(limit, &rows)
}

/// `commands`.
pub fn commands(
    backend: &dyn Backend,
    slot: Option<&str>,
    wanted: Option<usize>,
) -> Result<Answer, Failure> {
    let slot = slot
        .map(|slot| known::slot(&backend.layout(), slot))
        .transpose()?;
    let slot = slot
        .as_ref()
        .map(|slot| (slot.bank.as_str(), slot.compartment));
    let limit = limit(wanted);
    let rows = open(backend)?.commands(slot, limit + 1).map_err(failed)?;
    Answer::up_to(limit, &rows)
}

/// `sync`.
pub fn sync(backend: &dyn Backend) -> Result<Answer, Failure> {
    let report = backend.status();
    let mut parts = report.parts.into_iter();
    Answer::one(&Sync {
        cloud: report.cloud,
        part: parts.find(|part| part.name == SYNC_PART),
        lanes: open(backend)?.lanes().map_err(failed)?,
    })
}

/// The id after which the newest `limit` events are.
pub fn newest_after(
    backend: &dyn Backend,
    filter: &EventFilter,
    limit: usize,
) -> Result<i64, Failure> {
    open(backend)?.newest_after(filter, limit).map_err(failed)
}

/// A page of events, how many they are, and the id that they reach up to.
pub fn events(
    backend: &dyn Backend,
    filter: &EventFilter,
    after: i64,
    limit: usize,
) -> Result<(Answer, usize, i64), Failure> {
    let page = open(backend)?
        .events_after(filter, after, limit)
        .map_err(failed)?;
    let mut answer = Answer::all(&page.events)?;
    answer.end.cut = page.full;
    Ok((answer, page.events.len(), page.upto))
}

/// Events after that id.
pub fn event_rows(
    backend: &dyn Backend,
    filter: &EventFilter,
    after: i64,
    limit: usize,
) -> Result<Vec<EventRow>, Failure> {
    let page = open(backend)?
        .events_after(filter, after, limit)
        .map_err(failed)?;
    Ok(page.events)
}

/// Refuses a device that is neither configured nor was ever heard.
pub fn check_device(backend: &dyn Backend, device: &str) -> Result<(), Failure> {
    let rows = open(backend)?.devices().map_err(failed)?;
    let known = device_views(backend, rows);
    if known.iter().any(|view| view.device == device) {
        return Ok(());
    }
    Err(Failure::new(
        FailureKind::NotFound,
        format!("no device '{device}' is known here. See 'linli devices'"),
    ))
}

/// Opens the store for one request.
pub fn open(backend: &dyn Backend) -> Result<Reader, Failure> {
    Reader::open(backend.store_path()).map_err(failed)
}

/// What a client is told when the store can't be read.
pub fn failed(error: StoreError) -> Failure {
    if read::is_too_slow(&error) {
        let most = read::TIME_MAX.as_secs();
        return Failure::new(
            FailureKind::Busy,
            format!(
                "the store took longer than {most} s to answer: ask for less with --limit, or try again"
            ),
        );
    }
    let text = format!("{:#}", anyhow::Error::new(error));
    tracing::error!(error = %text, "the store can't be read for a technician");
    Failure::new(
        FailureKind::Internal,
        format!("the store can't be read: {text}"),
    )
}

fn rotating(devices: &[DeviceView]) -> Vec<String> {
    let rotating = devices.iter().filter(|device| device.rotation.is_some());
    rotating.map(|device| device.device.clone()).collect()
}

fn count_devices(devices: &[DeviceView]) -> DeviceCounts {
    let mut counts = DeviceCounts::default();
    for device in devices.iter().filter(|d| d.role != "unconfigured") {
        counts.configured += 1;
        match device.online {
            Some(true) => counts.online += 1,
            Some(false) => counts.offline += 1,
            None => counts.unknown += 1,
        }
    }
    counts
}

/// Every configured device in the order of the configuration, then those that were only heard.
fn device_views(backend: &dyn Backend, rows: Vec<DeviceRow>) -> Vec<DeviceView> {
    let mut rows: BTreeMap<String, DeviceRow> = rows
        .into_iter()
        .map(|row| (row.device.clone(), row))
        .collect();
    let slowed = backend.status().links.limits.slowed;
    let door = backend.entrance().and_then(|entrance| entrance.door);
    let rotations = door.map_or_else(Vec::new, |door| door.credentials.rotations());
    let layout = backend.layout();
    let banks = layout
        .banks
        .iter()
        .map(|b| (&b.id, "bank", &b.building, None));
    let desks = layout
        .desks
        .iter()
        .map(|d| (&d.id, "desk", &d.building, None));
    let others = layout.devices.iter();
    let others = others.map(|d| (&d.id, "device", &d.building, d.point.as_ref()));
    let mut views: Vec<DeviceView> = banks
        .chain(desks)
        .chain(others)
        .map(|(id, role, building, point)| {
            let row = rows.remove(id.as_str());
            let mut view = device_view(backend, id.as_str(), role, row);
            view.building = Some(building.to_string());
            view.slowed = slowed
                .iter()
                .find(|slowed| slowed.device == id.as_str())
                .cloned();
            view.point = point.map(Ident::to_string);
            view.rotation = rotations
                .iter()
                .find(|rotation| rotation.device == *id)
                .map(|rotation| RotationView {
                    until_ms: rotation.until_ms,
                });
            view
        })
        .collect();
    let rest = rows.into_iter();
    views.extend(rest.map(|(id, row)| device_view(backend, &id, "unconfigured", Some(row))));
    views
}

fn device_view(backend: &dyn Backend, id: &str, role: &str, row: Option<DeviceRow>) -> DeviceView {
    let online = Ident::new(id).ok().and_then(|id| backend.online(&id));
    let heard = row.as_ref().map(|row| row.last_heard_ms);
    let form = row.as_ref().map(|row| row.form.clone());
    let row = row.unwrap_or_default();
    DeviceView {
        device: id.to_string(),
        role: role.to_string(),
        building: None,
        point: None,
        online,
        slowed: None,
        rotation: None,
        last_heard_ms: heard.filter(|ms| *ms > 0),
        form,
        boot: row.boot,
        received: row.received,
        stored: row.stored,
        duplicate: row.duplicate,
        quarantined: row.quarantined,
        boots: row.boots,
        model: row.model,
        firmware: row.firmware,
        capabilities: row.capabilities,
    }
}

fn bank_views(backend: &dyn Backend, rows: Vec<CompartmentRow>) -> Vec<BankView> {
    let mut rows: BTreeMap<(String, u16), CompartmentRow> = rows
        .into_iter()
        .map(|row| ((row.bank.clone(), row.compartment), row))
        .collect();
    let layout = backend.layout();
    let banks = layout.banks.iter();
    banks
        .map(|bank| BankView {
            bank: bank.id.to_string(),
            building: bank.building.to_string(),
            address: bank.address.clone(),
            online: backend.online(&bank.id),
            occupancy_sensor: bank.occupancy_sensor,
            compartments: (1_u16..)
                .zip(&bank.compartments)
                .map(|(number, spec)| {
                    let row = rows.remove(&(bank.id.to_string(), number));
                    compartment_view(number, spec, row)
                })
                .collect(),
        })
        .collect()
}

fn compartment_view(
    number: u16,
    spec: &estate::layout::CompartmentSpec,
    row: Option<CompartmentRow>,
) -> CompartmentView {
    let row = row.unwrap_or_else(|| CompartmentRow {
        bank: String::new(),
        compartment: number,
        parcels: Vec::new(),
        reserved: None,
        door: "unknown".to_string(),
        occupied: None,
        fault: None,
        disabled: None,
        openings: 0,
    });
    CompartmentView {
        compartment: number,
        size: spec.size.word().to_string(),
        zone: spec.zone.word().to_string(),
        state: compartment_state(&row),
        parcels: row.parcels,
        reserved: row.reserved,
        door: row.door,
        occupied: row.occupied,
        fault: row.fault,
        disabled: row.disabled,
        low: spec.low,
        openings: row.openings,
    }
}

/// What matters most to somebody who stands before it comes first.
fn compartment_state(row: &CompartmentRow) -> CompartmentState {
    match row {
        _ if row.disabled.is_some() => CompartmentState::Disabled,
        _ if row.fault.is_some() => CompartmentState::Faulty,
        _ if row.door == "open" => CompartmentState::Open,
        _ if row.reserved.is_some() => CompartmentState::Reserved,
        _ if !row.parcels.is_empty() || row.occupied == Some(true) => CompartmentState::Occupied,
        _ => CompartmentState::Free,
    }
}
