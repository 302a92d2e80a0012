//! A month away: how fast what waits goes up, what it costs on the line and in memory, and how long a
//! parcel of today waits behind it.
//!
//! The cloud is the reference cloud on this machine, with signatures, and shares its processors: items
//! per second are those of both together. Bytes are what the gateway counts below TLS, HTTP included,
//! both ways; beside them stand the same items as bodies of plain JSON, without any HTTP.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cloud_protocol::downlink::{ExpectedParcel, Size, Zone};
use cloud_protocol::uplink::{DemandReport, LaneBatch, ParcelReport, ParcelState};
use cloud_protocol::{Batch, Chain, CodeForResident, Downlink, Item, Lane, Report, SealedCode};
use firmware_protocols::event::Secret;
use linli::store::{lanes, schema};
use rusqlite::Connection;

use crate::Bench;
use crate::backlog::{self, OwnCloud};
use crate::common::{Setup, ident};
use crate::figures::{Figure, Table};
use crate::memory::prepared;
use crate::process::Process;

/// A parcel among so many items; the rest is demand.
const A_PARCEL_IN: u64 = 20;
/// A parcel has so many states, the first with its code.
const STATES: u64 = 3;
const BUILDINGS: u64 = 40;
/// 1 June 2026, an hour's begin.
const FIRST_HOUR_MS: i64 = 1_780_272_000_000;
const HOUR_MS: i64 = 3_600_000;
/// Items in a batch of plain JSON, as the gateway makes them by default.
const BATCH: u64 = 500;
/// How often it is looked whether a live parcel is through.
const LOOK: Duration = Duration::from_millis(1);
/// Live parcels follow each other after this.
const APART: Duration = Duration::from_millis(150);
const LONGEST: Duration = Duration::from_secs(3_600);

pub fn measure(bench: &Bench, table: &mut Table) {
    let cloud = OwnCloud::start();
    let mut setup = prepared(bench, 1);
    setup.cloud = Some(cloud.url());
    let items = bench.effort.caught_up;
    backlog::put_all(&setup, items, item);
    let gateway = setup.start();
    let begun = Instant::now();
    let conn = schema::open_reader(&setup.store()).unwrap();
    let mut live = Vec::new();
    // What waits of fulfilment is older than today's parcels, and is through soon.
    wait(&conn, Lane::Fulfilment, begun);
    let urgent = begun.elapsed();
    while waiting(&conn, Lane::Demand) > 0 {
        live.push(live_parcel(bench, &cloud, &conn, live.len(), begun));
        std::thread::sleep(APART);
    }
    let took = begun.elapsed();
    let process = Process(gateway.pid());
    rate(items, took, urgent, table);
    bytes(&setup, items, table);
    let peak = process.memory().peak;
    table.add(Figure::new(
        "the most resident while catching up",
        peak,
        "MiB",
    ));
    let cpu = process.cpu().as_secs_f64() * 1e6 / items as f64;
    table.add(Figure::new(
        "the gateway's processor time an item",
        cpu,
        "µs",
    ));
    if live.is_empty() {
        table.note("all was through before a parcel could be announced".to_owned());
        return;
    }
    live.sort_by(f64::total_cmp);
    let at = |share: f64| live[((live.len() - 1) as f64 * share) as usize];
    for (name, share) in [("median", 0.5), ("99th in 100", 0.99)] {
        let name = format!("a live parcel, committed to acknowledged, {name}");
        table.add(Figure::new(name, at(share), "ms"));
    }
    table.note(format!("{} live parcels", live.len()));
}

fn rate(items: u64, took: Duration, urgent: Duration, table: &mut Table) {
    let rate = items as f64 / took.as_secs_f64();
    table.add(Figure::new("caught up with", rate, "items/s"));
    let urgent_items = (items / A_PARCEL_IN) as f64;
    let name = "of these, the parcels of the month, first of all";
    table.add(Figure::new(
        name,
        urgent_items / urgent.as_secs_f64(),
        "items/s",
    ));
}

/// On the line, beside plain JSON.
fn bytes(setup: &Setup, items: u64, table: &mut Table) {
    let sync = setup.json(&["sync"]);
    let traffic = sync["cloud"]["line"]["traffic"].as_array().unwrap().iter();
    let lanes: BTreeMap<&str, (f64, f64)> = traffic
        .map(|kind| {
            let bytes = |field: &str| kind[field].as_u64().unwrap() as f64;
            let what = kind["what"].as_str().unwrap();
            (what, (bytes("start_sent"), bytes("start_received")))
        })
        .collect();
    let parcels = items / A_PARCEL_IN;
    for (lane, count) in [("fulfilment", parcels), ("demand", items - parcels)] {
        let json = plain_json(lane == "fulfilment", count) as f64 / count as f64;
        let (sent, received) = lanes[lane];
        let name = format!("sent for an item of {lane}");
        let figure = Figure::new(name, sent / count as f64, "bytes");
        table.add(figure.beside("plain JSON", json));
        let name = format!("received for an item of {lane}");
        table.add(Figure::new(name, received / count as f64, "bytes"));
    }
}

/// The bytes of so many items of a lane in batches of plain JSON.
fn plain_json(parcels: bool, count: u64) -> u64 {
    let of_lane = |number: &u64| number.is_multiple_of(A_PARCEL_IN) == parcels;
    let mut numbers = (0..).filter(of_lane).take(count as usize).peekable();
    let (mut seq, mut total) = (0, 0);
    while numbers.peek().is_some() {
        let after = seq;
        let next = numbers.by_ref().take(BATCH as usize);
        let items: Vec<Item> = next
            .map(|number| {
                seq += 1;
                let at = FIRST_HOUR_MS;
                Item {
                    seq,
                    at,
                    report: as_sent(item(number)),
                }
            })
            .collect();
        let part = LaneBatch {
            after,
            chain: Chain([7; 32]),
            items,
        };
        let lane = if parcels {
            Lane::Fulfilment
        } else {
            Lane::Demand
        };
        let batch = Batch {
            epoch: 1_780_272_000,
            lanes: [(lane, part)].into(),
        };
        total += batch.to_value().to_json().len() as u64;
    }
    total
}

/// With its code as long as it is on the line.
fn as_sent(mut report: Report) -> Report {
    if let Report::Parcel(parcel) = &mut report {
        parcel.code = parcel.code.take().map(|_| {
            CodeForResident::Sealed(SealedCode {
                key: "0123456789abcdef".to_owned(),
                enc: [0xa5; 32],
                ct: vec![0x5a; 22],
            })
        });
    }
    report
}

/// Announces a parcel and waits until the cloud has it; ms from its commit to the acknowledgement on
/// the gateway's disk.
fn live_parcel(
    bench: &Bench,
    cloud: &OwnCloud,
    conn: &Connection,
    number: usize,
    begun: Instant,
) -> f64 {
    let parcel = format!("live-{number}");
    let announced = Downlink::ParcelExpected(ExpectedParcel {
        parcel: parcel.clone(),
        recipient: "r-1".to_owned(),
        size: Size::S,
        zone: Zone::Ambient,
        point: ident("desk-1"),
        deadline: FIRST_HOUR_MS + 10_000 * HOUR_MS,
        consent: true,
        items: None,
        low: false,
        return_of: None,
    });
    let site = ident("test-site");
    bench
        .runtime
        .block_on(cloud.cloud.push(&site, &announced))
        .unwrap();
    let committed_ms = loop {
        let step = "SELECT at_ms FROM trace WHERE parcel = ?1 AND step = 'announced'";
        let found = conn.query_row(step, [&parcel], |row| row.get::<_, i64>(0));
        if let Ok(at_ms) = found {
            break at_ms;
        }
        assert!(begun.elapsed() < LONGEST, "{parcel} isn't heard of");
        std::thread::sleep(LOOK);
    };
    wait(conn, Lane::Fulfilment, begun);
    (jiff::Timestamp::now().as_millisecond() - committed_ms) as f64
}

fn wait(conn: &Connection, lane: Lane, begun: Instant) {
    while waiting(conn, lane) > 0 {
        assert!(begun.elapsed() < LONGEST, "{lane:?} doesn't get through");
        std::thread::sleep(LOOK);
    }
}

fn waiting(conn: &Connection, lane: Lane) -> u64 {
    lanes::heads(conn).unwrap()[&lane].waiting
}

/// What an estate of some size makes in a month: each hour a report a building, and parcels.
fn item(number: u64) -> Report {
    if number.is_multiple_of(A_PARCEL_IN) {
        return Report::Parcel(parcel(number / A_PARCEL_IN));
    }
    let (hour, building) = (number / BUILDINGS, number % BUILDINGS);
    let counts = [
        "comings",
        "goings",
        "deposits",
        "collections",
        "intent:eggs",
        "intent:rice",
    ];
    let series = counts.into_iter().zip(0..).map(|(name, n): (&str, u64)| {
        // Some spread that zstd can't foresee; every figure covers k households.
        let count = 5 + (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (n * 8)) % 60;
        (name.to_owned(), count)
    });
    Report::Demand(DemandReport {
        building: Some(ident(&format!("b{building}"))),
        start: FIRST_HOUR_MS + hour as i64 * HOUR_MS,
        minutes: 60,
        revision: 1,
        series: series.collect(),
    })
}

fn parcel(number: u64) -> ParcelReport {
    let (parcel, step) = (number / STATES, number % STATES);
    let state = [
        ParcelState::Expected,
        ParcelState::Deposited,
        ParcelState::Collected,
    ];
    let code = format!("{:06}", parcel.wrapping_mul(7_919) % 1_000_000);
    ParcelReport {
        parcel: format!("SF{:012}", parcel.wrapping_mul(104_729)),
        state: state[step as usize],
        since: FIRST_HOUR_MS + parcel as i64 * 1_000,
        bank: (step > 0).then(|| ident("bank-a")),
        compartment: (step > 0).then(|| 1 + (parcel % 12) as u16),
        desk: None,
        code: (step == 0).then(|| CodeForResident::Plain(Secret::new(code))),
        unlisted: false,
        return_of: None,
    }
}
