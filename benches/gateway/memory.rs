//! Resident memory: idle, with many devices connected, with many events stored, with a long backlog
//! for the cloud.

use std::time::{Duration, Instant};

use simulator::load::Until;

use crate::backlog::{self, OwnCloud};
use crate::common::mosquitto::Mosquitto;
use crate::common::{Gateway, Setup, wait_for, wait_until};
use crate::figures::{Aim, Figure, Table};
use crate::peers::{Python, Script};
use crate::process::{Memory, Process};
use crate::{Bench, load, stored};

/// MiB.
const IDLE_MAX: f64 = 16.0;
const CONNECTED_MAX: f64 = 40.0;
/// How long memory must stay the same to be what it is when idle, and how much may it move, MiB.
const STEADY_FOR: Duration = Duration::from_millis(600);
const STEADY_WITHIN: f64 = 0.1;
/// Events per second while memory is taken under load, and from how many devices.
const RATE: f64 = 500.0;
const TALKING: usize = 100;

pub fn measure(bench: &Bench, table: &mut Table) {
    let idle = idle(bench, table);
    connected(bench, idle, table);
    many_stored(bench, idle, table);
    backlog(bench, idle, table);
}

/// Returns what is resident, for the others to be compared with.
fn idle(bench: &Bench, table: &mut Table) -> f64 {
    let script = script(bench, table);
    let mut setup = bench.setup();
    let gateway = setup.start();
    let memory = steady(&gateway);
    let mut figure = Figure::new("resident, idle", memory.resident, "MiB");
    if let Some(script) = script {
        figure = figure.beside("straightforward script", script);
    }
    table.add(figure.aim(Aim::AtMost(IDLE_MAX)));
    parts("idle", memory, table);
    memory.resident
}

/// What the straightforward script has resident; `None` where it can't run.
fn script(bench: &Bench, table: &mut Table) -> Option<f64> {
    let broker = Mosquitto::start()?;
    let python = Python::find(table)?;
    let folder = tempfile::tempdir_in(bench.folder()).unwrap();
    let script = Script::start(&python, broker.address, folder.path());
    Some(script.process().memory().resident)
}

fn connected(bench: &Bench, idle: f64, table: &mut Table) {
    let count = bench.effort.devices;
    let mut setup = bench.setup();
    setup.devices = load::devices(count);
    let gateway = setup.start();
    let known = format!("idle, {count} devices known");
    rows(&known, steady(&gateway), idle, None, table);
    let load = load::readings(setup.address(), &setup.devices, count);
    let mut load = load::at_rate(load, RATE, Duration::MAX);
    load.until = Until::Stopped;
    bench.runtime.block_on(async {
        let running = load.start().unwrap();
        wait_until("every device to have spoken twice", async || {
            let status = setup.json(&["status"]);
            let connected = status["links"]["connected"].as_u64().unwrap();
            let all = connected == count as u64;
            (all && running.acknowledged() > 2 * connected).then_some(())
        })
        .await;
        let memory = Process(gateway.pid()).memory();
        let what = format!("{count} devices connected");
        rows(&what, memory, idle, Some(CONNECTED_MAX), table);
        running.stop();
        let figures = running.finish().await.unwrap();
        load::note_trouble(&figures, &what, table);
    });
}

fn many_stored(bench: &Bench, idle: f64, table: &mut Table) {
    let mut setup = prepared(bench, TALKING);
    stored::fill(&setup, bench.effort.stored);
    let gateway = setup.start();
    let load = load::readings(setup.address(), &setup.devices, setup.devices.len());
    let mut load = load::at_rate(load, RATE, bench.effort.span);
    load.boot = 2;
    let figures = bench.runtime.block_on(load.run()).unwrap();
    let what = format!("{} events stored", bench.effort.stored);
    load::note_trouble(&figures, &what, table);
    rows(&what, steady(&gateway), idle, None, table);
}

fn backlog(bench: &Bench, idle: f64, table: &mut Table) {
    let cloud = OwnCloud::start();
    let mut setup = prepared(bench, 1);
    setup.cloud = Some(cloud.url());
    let full = bench.effort.backlog;
    backlog::put(&setup, full);
    let gateway = setup.start();
    let wanted = full - bench.effort.drained;
    let left = wait_for("the backlog to go out", || {
        let waiting = backlog::waiting(&setup);
        (waiting <= wanted).then_some(waiting)
    });
    let memory = Process(gateway.pid()).memory();
    let what = format!("{full} items for the cloud");
    rows(&what, memory, idle, None, table);
    table.note(format!("{left} of them still waited when memory was taken"));
}

/// A store that was used and closed in order.
pub fn prepared(bench: &Bench, devices: usize) -> Setup {
    let mut setup = bench.setup();
    setup.devices = load::devices(devices);
    setup.more = stored::KEEP_ALL.to_owned();
    let gateway = setup.start();
    let mut load = load::readings(setup.address(), &setup.devices, setup.devices.len());
    load.until = Until::Events(1);
    bench.runtime.block_on(load.run()).unwrap();
    gateway.stop();
    setup
}

/// Memory once it has stopped moving.
fn steady(gateway: &Gateway) -> Memory {
    let process = Process(gateway.pid());
    let mut last = process.memory();
    let mut since = Instant::now();
    wait_for("memory to be steady", || {
        let now = process.memory();
        if (now.resident - last.resident).abs() > STEADY_WITHIN {
            (last, since) = (now, Instant::now());
        }
        (since.elapsed() >= STEADY_FOR).then_some(now)
    })
}

fn rows(what: &str, memory: Memory, idle: f64, most: Option<f64>, table: &mut Table) {
    let name = format!("resident, {what}");
    let figure = Figure::new(name, memory.resident, "MiB").beside("idle", idle);
    table.add(match most {
        Some(most) => figure.aim(Aim::AtMost(most)),
        None => figure,
    });
    parts(what, memory, table);
}

fn parts(what: &str, memory: Memory, table: &mut Table) {
    let resident = ("what is resident", memory.resident);
    for (name, value) in [
        ("its own pages", memory.own),
        ("the most so far", memory.peak),
    ] {
        let name = format!("{name}, {what}");
        table.add(Figure::new(name, value, "MiB").beside(resident.0, resident.1));
    }
}
