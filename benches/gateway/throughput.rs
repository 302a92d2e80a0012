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
    let plain = plain_sqlite(bench, table);
    let forwarded = mosquitto(bench, table);
    gateway(bench, plain, &forwarded, table);
    script(bench, table);
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

fn gateway(bench: &Bench, plain: f64, forwarded: &[f64], table: &mut Table) {
    let mut setup = bench.setup();
    setup.devices = load::devices(MOST);
    let gateway = setup.start();
    let (process, this) = (Process(gateway.pid()), Process::this());
    for (index, (connections, window)) in RUNS.into_iter().enumerate() {
        let load = Load {
            window,
            boot: index as u32 + 1,
            until: Until::Elapsed(bench.effort.span),
            ..load::readings(setup.address(), &setup.devices, connections)
        };
        let before = (process.cpu(), this.cpu());
        let figures = bench.runtime.block_on(load.run()).unwrap();
        let what = format!("durable, {connections} × {window} in flight");
        load::note_trouble(&figures, &what, table);
        let rate = figures.per_second();
        let mut figure = Figure::new(&what, rate, "/s");
        if let Some(forwarded) = forwarded.get(index) {
            figure = figure.beside("Mosquitto alone", *forwarded);
        }
        figure = figure.beside("plain SQLite, batches of 100", plain);
        if (connections, window) == BUSIEST {
            figure = figure.aim(Aim::RatioAtLeast(0.8));
        }
        table.add(figure);
        if (connections, window) == BUSIEST {
            let events = figures.acknowledged as f64;
            let each = |from: Duration, to: Duration| (to - from).as_secs_f64() * 1e6 / events;
            let own = each(before.0, process.cpu());
            let what = format!("processor time an event, gateway, {connections} × {window}");
            table.add(
                Figure::new(what, own, "µs")
                    .beside("the load generator's", each(before.1, this.cpu())),
            );
        }
    }
    let body = stored::mean_body(&setup);
    let expected = payload::STORED_BYTES as f64;
    assert!(
        (body - expected).abs() < BODY_TOLERANCE,
        "the gateway stores {body} bytes of an event, the baselines {expected}: change \
         payload::STORED_BYTES"
    );
}

/// One that commits each event, behind Mosquitto.
fn script(bench: &Bench, table: &mut Table) {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    let Some(python) = Python::find(table) else {
        return;
    };
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
}
