//! Durable events per second, from several numbers of connections: beside plain SQLite, beside
//! Mosquitto alone, beside a straightforward script.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use simulator::Load;
use simulator::load::Until;

use crate::common::mosquitto::Mosquitto;
use crate::figures::{Aim, Figure, Table};
use crate::peers::{self, Python, Script};
use crate::process::Process;
use crate::{Bench, disk, load, payload, stored};

/// How the gateway is asked.
#[derive(Clone, Copy, PartialEq)]
struct Run {
    connections: usize,
    /// Publications in flight on each: a simple device's, or a client library's.
    window: u16,
    /// Events in one publication.
    events: u16,
}

const fn run(connections: usize, window: u16) -> Run {
    Run {
        connections,
        window,
        events: 1,
    }
}

const RUNS: [Run; 8] = [
    run(1, 1),
    run(10, 1),
    run(50, 1),
    run(200, 1),
    run(1, 20),
    run(10, 20),
    run(50, 20),
    run(200, 20),
];
/// What the aims are about, and processor time is taken of.
const BUSIEST: Run = run(50, 20);
/// Devices that kept what they had to say: what the journal takes when the broker has little to do.
const PACKED: [Run; 2] = [
    Run {
        connections: 1,
        window: 1,
        events: 256,
    },
    Run {
        connections: 50,
        window: 1,
        events: 20,
    },
];
/// Without letting company come: what a commit by itself costs.
const UNGATHERED: [Run; 3] = [run(1, 1), run(50, 1), BUSIEST];
const MOST: usize = 200;
/// Events per second that the script is asked for, which is more than it takes.
const ASKED_OF_SCRIPT: f64 = 5_000.0;
/// Bytes by which the stored body may differ from the baseline's.
const BODY_TOLERANCE: f64 = 8.0;

impl Run {
    fn load(self, bench: &Bench, broker: SocketAddr, devices: &[String]) -> Load {
        Load {
            window: self.window,
            per_payload: self.events,
            until: Until::Elapsed(bench.effort.span),
            ..load::readings(broker, devices, self.connections)
        }
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            connections,
            window,
            events,
        } = self;
        if *events == 1 {
            write!(f, "{connections} × {window} in flight")
        } else {
            write!(f, "{connections} × {window} of {events} events")
        }
    }
}

pub fn measure(bench: &Bench, table: &mut Table) {
    table.note(format!(
        "an event is a reading of {} bytes of CBOR, one a publication unless said",
        payload::BYTES
    ));
    let peers = Peers {
        plain: plain_sqlite(bench, table),
        forwarded: mosquitto(bench, table),
        script: script(bench, table),
    };
    gateway(bench, None, &RUNS, &peers, table);
    gateway(bench, None, &PACKED, &peers, table);
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
    let forwarded = |run: Run| {
        let load = run.load(bench, broker.address, &devices);
        let rate = peers::forwarded(&bench.runtime, load);
        let what = format!("Mosquitto alone, {run}, not durable");
        table.add(Figure::new(what, rate, "/s"));
        rate
    };
    RUNS.into_iter().map(forwarded).collect()
}

/// `gather_ms` is how long the journal lets company come; `None` as it is by default.
fn gateway(bench: &Bench, gather_ms: Option<u32>, runs: &[Run], peers: &Peers, table: &mut Table) {
    let mut setup = bench.setup();
    setup.devices = load::devices(MOST);
    let mut gathering = String::new();
    if let Some(ms) = gather_ms {
        setup.more = format!("[journal]\ngather_ms = {ms}\n");
        gathering = format!(", gather_ms = {ms}");
    }
    let gateway = setup.start();
    let process = Process(gateway.pid());
    for (boot, run) in (1..).zip(runs.iter().copied()) {
        let mut load = run.load(bench, setup.address(), &setup.devices);
        load.boot = boot;
        let before = (process.cpu(), Process::this().cpu());
        let figures = bench.runtime.block_on(load.run()).unwrap();
        let after = (process.cpu(), Process::this().cpu());
        let name = format!("{run}{gathering}");
        load::note_trouble(&figures, &name, table);
        rate(&name, figures.per_second(), run, peers, table);
        if run == BUSIEST || run.events > 1 {
            let events = figures.acknowledged as f64;
            let each = |spent: Duration| spent.as_secs_f64() * 1e6 / events;
            let what = format!("processor time an event, {name}");
            let figure = Figure::new(what, each(after.0 - before.0), "µs");
            table.add(figure.beside("the load generator's", each(after.1 - before.1)));
        }
    }
    check_body(stored::mean_body(&setup));
}

fn rate(name: &str, rate: f64, run: Run, peers: &Peers, table: &mut Table) {
    let busiest = run == BUSIEST;
    let aim = |figure: Figure, least| match busiest {
        true => figure.aim(Aim::RatioAtLeast(least)),
        false => figure,
    };
    let mut figure = Figure::new(format!("durable, {name}"), rate, "/s");
    figure = aim(
        figure.beside("plain SQLite, batches of 100", peers.plain),
        0.8,
    );
    let same = RUNS.iter().position(|known| *known == run);
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
    let devices = load::devices(BUSIEST.connections);
    let load = load::readings(broker.address, &devices, BUSIEST.connections);
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
    let what = format!(
        "straightforward script, {} devices{least}",
        BUSIEST.connections
    );
    table.add(Figure::new(what, rate, "/s"));
    Some(rate)
}
