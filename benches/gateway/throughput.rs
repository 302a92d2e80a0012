//! Durable events per second, from several numbers of connections: beside plain SQLite, beside
//! Mosquitto alone, beside a straightforward script.

use std::time::{Duration, Instant};

use simulator::Load;
use simulator::load::Until;

use crate::common::mosquitto::Mosquitto;
use crate::figures::{Aim, Figure, Table};
use crate::peers::{self, Python, Script};
use crate::process::Process;
use crate::{Bench, disk, load, payload, stored};

/// Connections, and publications in flight on each: a simple device's, and a client library's.
const RUNS: [(usize, u16); 8] = [
    (1, 1),
    (10, 1),
    (50, 1),
    (200, 1),
    (1, 20),
    (10, 20),
    (50, 20),
    (200, 20),
];
/// Without letting company come: what a commit by itself costs.
const UNGATHERED: [(usize, u16); 3] = [(1, 1), (50, 1), (50, 20)];
const MOST: usize = 200;
/// What a load is measured at that is as fast as it gets.
const BUSIEST: (usize, u16) = (50, 20);
/// Events per second that the script is asked for, which is more than it takes.
const ASKED_OF_SCRIPT: f64 = 5_000.0;
/// Bytes by which the stored body may differ from the baseline's.
const BODY_TOLERANCE: f64 = 8.0;

pub fn measure(bench: &Bench, table: &mut Table) {
    table.note(format!(
        "an event is a reading of {} bytes of CBOR, one a publication",
        payload::BYTES
    ));
    let peers = Peers {
        plain: plain_sqlite(bench, table),
        forwarded: mosquitto(bench, table),
        script: script(bench, table),
    };
    gateway(bench, None, &RUNS, &peers, table);
    gateway(bench, Some(0), &UNGATHERED, &peers, table);
}

/// Events per second of what the gateway is compared with.
struct Peers {
    plain: f64,
    /// In each of [`RUNS`]; empty where Mosquitto isn't installed.
    forwarded: Vec<f64>,
    script: Option<f64>,
}

/// Returns the rows per second in batches of 100, the baseline.
fn plain_sqlite(bench: &Bench, table: &mut Table) -> f64 {
    let measure = |batch, once| {
        disk::sqlite(bench.folder(), batch, once, bench.effort.span / 2).rows_per_second
    };
    let plain = measure(100, false);
    let name = "plain SQLite, FULL, batches of 100";
    table.add(Figure::new(name, plain, "/s"));
    let rows = [
        ("plain SQLite, FULL, single commits", measure(1, false)),
        (
            "plain SQLite, batches of 100, a unique index",
            measure(100, true),
        ),
    ];
    for (what, figure) in rows {
        table.add(Figure::new(what, figure, "/s").beside(name, plain));
    }
    plain
}

/// What Mosquitto forwards in each of the runs; empty where it isn't installed.
fn mosquitto(bench: &Bench, table: &mut Table) -> Vec<f64> {
    let Some(broker) = Mosquitto::start() else {
        table.note("Mosquitto and the script: left out: no mosquitto");
        return Vec::new();
    };
    let devices = load::devices(MOST);
    let run = |(connections, window)| {
        let load = Load {
            window,
            until: Until::Elapsed(bench.effort.span),
            ..load::readings(broker.address, &devices, connections)
        };
        let rate = peers::forwarded(&bench.runtime, load);
        let what = format!("Mosquitto alone, {connections} × {window} in flight, not durable");
        table.add(Figure::new(what, rate, "/s"));
        rate
    };
    RUNS.into_iter().map(run).collect()
}

/// `gather_ms` is how long the journal lets company come; `None` as it is by default.
fn gateway(
    bench: &Bench,
    gather_ms: Option<u32>,
    runs: &[(usize, u16)],
    peers: &Peers,
    table: &mut Table,
) {
    let mut setup = bench.setup();
    setup.devices = load::devices(MOST);
    let mut gathering = String::new();
    if let Some(ms) = gather_ms {
        setup.more = format!("[journal]\ngather_ms = {ms}\n");
        gathering = format!(", gather_ms = {ms}");
    }
    let gateway = setup.start();
    let process = Process(gateway.pid());
    for (index, (connections, window)) in runs.iter().copied().enumerate() {
        let load = Load {
            window,
            boot: index as u32 + 1,
            until: Until::Elapsed(bench.effort.span),
            ..load::readings(setup.address(), &setup.devices, connections)
        };
        let before = (process.cpu(), Process::this().cpu());
        let figures = bench.runtime.block_on(load.run()).unwrap();
        let after = (process.cpu(), Process::this().cpu());
        let run = format!("{connections} × {window} in flight{gathering}");
        load::note_trouble(&figures, &run, table);
        let busiest = (connections, window) == BUSIEST;
        rate(
            &run,
            figures.per_second(),
            (connections, window),
            peers,
            table,
        );
        if busiest {
            let events = figures.acknowledged as f64;
            let each = |spent: Duration| spent.as_secs_f64() * 1e6 / events;
            let what = format!("processor time an event, gateway, {run}");
            let figure = Figure::new(what, each(after.0 - before.0), "µs");
            table.add(figure.beside("the load generator's", each(after.1 - before.1)));
        }
    }
    check_body(stored::mean_body(&setup));
}

fn rate(run: &str, rate: f64, key: (usize, u16), peers: &Peers, table: &mut Table) {
    let busiest = key == BUSIEST;
    let aim = |figure: Figure, least| match busiest {
        true => figure.aim(Aim::RatioAtLeast(least)),
        false => figure,
    };
    let mut figure = Figure::new(format!("durable, {run}"), rate, "/s");
    figure = aim(
        figure.beside("plain SQLite, batches of 100", peers.plain),
        0.8,
    );
    let same = RUNS.iter().position(|run| *run == key);
    if let Some(forwarded) = same.and_then(|index| peers.forwarded.get(index)) {
        figure = aim(figure.beside("Mosquitto alone, the same", *forwarded), 1.0);
    }
    if let Some(script) = peers.script.filter(|_| busiest) {
        figure = figure.beside("straightforward script", script);
    }
    table.add(figure);
}

/// The baselines must store what the gateway stores.
fn check_body(body: f64) {
    let expected = payload::STORED_BYTES as f64;
    assert!(
        (body - expected).abs() < BODY_TOLERANCE,
        "the gateway stores {body} bytes of an event, the baselines {expected}: change \
         payload::STORED_BYTES"
    );
}

/// One that commits each event, behind Mosquitto. `None` where it can't run.
fn script(bench: &Bench, table: &mut Table) -> Option<f64> {
    let broker = Mosquitto::start()?;
    let python = Python::find(table)?;
    let folder = tempfile::tempdir_in(bench.folder()).unwrap();
    let script = Script::start(&python, broker.address, folder.path());
    let devices = load::devices(BUSIEST.0);
    let load = load::readings(broker.address, &devices, BUSIEST.0);
    let load = load::at_rate(load, ASKED_OF_SCRIPT, bench.effort.span);
    let load = bench.runtime.block_on(async { load.start() }).unwrap();
    script.wait_for(1);
    let (from, before) = (Instant::now(), script.committed());
    bench.runtime.block_on(load.finish()).unwrap();
    let rate = (script.committed() - before) as f64 / from.elapsed().as_secs_f64();
    let least = if rate > 0.95 * ASKED_OF_SCRIPT {
        " or more"
    } else {
        ""
    };
    let what = format!("straightforward script, {} devices{least}", BUSIEST.0);
    table.add(Figure::new(what, rate, "/s"));
    Some(rate)
}
