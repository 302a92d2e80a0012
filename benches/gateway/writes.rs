//! Bytes written to the disk for an event, by the kernel's accounting and by the disk's own counter,
//! and how long an eMMC part lives on that.
//!
//! Each run begins on a store that was closed in order and ends with an orderly stop, whose
//! checkpoint counts: nothing is left over that would be written later.

use std::time::Duration;

use simulator::Load;
use simulator::load::Until;

use crate::common::mosquitto::Mosquitto;
use crate::figures::{Aim, Figure, Table};
use crate::peers::{Python, Script};
use crate::process::{Process, written_to_disk};
use crate::{Bench, disk, load, machine};

/// What an event may cost at the highest rate, bytes.
const AIM_BYTES: f64 = 1_200.0;
/// How many connections share the load.
const CONNECTIONS: usize = 200;
/// The script has commits of one size: it needn't be watched for longer.
const SCRIPT_AT_MOST: Duration = Duration::from_secs(20);

/// A 16 GB eMMC part of 3,000 cycles; for every byte written to it, it writes four.
const PART_BYTES: f64 = 16e9 * 3_000.0;
const AMPLIFICATION: f64 = 4.0;
const EVENTS_A_DAY: f64 = 50_000.0;
const AIM_YEARS: f64 = 10.0;

/// Bytes for an event.
#[derive(Clone, Copy)]
struct Cost {
    /// By the process, as the kernel counts it.
    process: f64,
    /// By the whole machine, as the disk counts it.
    disk: Option<f64>,
}

pub fn measure(bench: &Bench, table: &mut Table) {
    let kind = machine::file_system(bench.folder());
    if ["tmpfs", "ramfs"].contains(&kind.as_str()) {
        table.note(format!("left out: target is on {kind}, which isn't a disk"));
        return;
    }
    let plain = disk::sqlite(bench.folder(), 1_000, true, bench.effort.span / 2).bytes_per_row;
    let beside = "SQLite, batches of 1,000, an index";
    table.add(Figure::new(beside, plain, "B"));
    let python = Python::find(table);
    let mut rare = None;
    for (rate, span) in bench.effort.writes {
        if let Some(python) = &python
            && let Some((what, cost)) = script(bench, python, rate, span.min(SCRIPT_AT_MOST))
        {
            table.add(Figure::new(what, cost, "B").beside(beside, plain));
        }
        let (rate_name, cost) = gateway(bench, rate, span, table);
        rare.get_or_insert(cost);
        let what = format!("written for an event, {rate_name}");
        let figure = Figure::new(&what, cost.process, "B").beside(beside, plain);
        table.add(if rate >= 2_000.0 {
            figure.aim(Aim::AtMost(AIM_BYTES))
        } else {
            figure
        });
        if let Some(disk) = cost.disk {
            let what = format!("{what}: by the disk's counter");
            table.add(Figure::new(what, disk, "B").beside("the process's", cost.process));
        }
    }
    if let Some(cost) = rare {
        life(cost, table);
    }
}

/// At 0.58 events/s each commit stands alone: what one event a second costs is what counts.
fn life(cost: Cost, table: &mut Table) {
    table.note(
        "the disk's counter holds what anything else on the machine wrote, and the file system",
    );
    table.note(
        "life: 16 GB of 3,000 cycles, 50,000 events a day spread evenly, write amplification 4",
    );
    let years = |bytes: f64| PART_BYTES / AMPLIFICATION / (bytes * EVENTS_A_DAY) / 365.25;
    let what = "life of the eMMC part";
    table.add(Figure::new(what, years(cost.process), "years").aim(Aim::AtLeast(AIM_YEARS)));
}

/// What the load was, and what an event cost.
fn gateway(bench: &Bench, rate: f64, span: Duration, table: &mut Table) -> (String, Cost) {
    let mut setup = bench.setup();
    let connections = CONNECTIONS.min(rate as usize);
    setup.devices = load::devices(connections);
    // Devices that are known, in a store that was closed in order.
    let gateway = setup.start();
    let mut load = load::readings(setup.address(), &setup.devices, connections);
    load.until = Until::Events(1);
    bench.runtime.block_on(load.run()).unwrap();
    gateway.stop();

    let gateway = setup.start();
    let process = Process(gateway.pid());
    let disk = written_to_disk(bench.folder());
    let before = process.written();
    let load = load::readings(setup.address(), &setup.devices, connections);
    let mut load = load::at_rate(load, rate, span);
    load.boot = 2;
    let figures = bench.runtime.block_on(load.run()).unwrap();
    process.end();
    let events = figures.acknowledged as f64;
    let each = |bytes: u64| bytes as f64 / events;
    let cost = Cost {
        process: each(process.written() - before),
        disk: written_to_disk(bench.folder())
            .zip(disk)
            .map(|(after, before)| each(after - before)),
    };
    let what = load::kept(rate, events / span.as_secs_f64());
    load::note_trouble(&figures, &what, table);
    (what, cost)
}

/// What the load was, and what an event cost. `None` without Mosquitto.
fn script(bench: &Bench, python: &Python, rate: f64, span: Duration) -> Option<(String, f64)> {
    let broker = Mosquitto::start()?;
    let folder = tempfile::tempdir_in(bench.folder()).unwrap();
    let script = Script::start(python, broker.address, folder.path());
    let connections = CONNECTIONS.min(rate as usize);
    let devices = load::devices(connections);
    let load = load::at_rate(
        load::readings(broker.address, &devices, connections),
        rate,
        span,
    );
    let (bytes, events) = watch(bench, &script, load);
    let what = format!(
        "straightforward script, {}",
        load::kept(rate, events / span.as_secs_f64())
    );
    Some((what, bytes / events))
}

/// Bytes and events while the load lasts: what it couldn't commit in that time isn't counted.
fn watch(bench: &Bench, script: &Script, load: Load) -> (f64, f64) {
    let process = script.process();
    let load = bench.runtime.block_on(async { load.start() }).unwrap();
    let before = (process.written(), script.committed());
    bench.runtime.block_on(load.finish()).unwrap();
    let after = (process.written(), script.committed());
    ((after.0 - before.0) as f64, (after.1 - before.1) as f64)
}
