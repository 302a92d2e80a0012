//! Resident memory: idle, with many devices connected, with many events stored, with a long backlog
//! for the cloud.

use std::time::{Duration, Instant};

use simulator::load::Until;

use crate::backlog::{self, OwnCloud};
use crate::common::{Gateway, Setup, wait_for, wait_until};
use crate::figures::{Aim, Figure, Table};
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
    idle(bench, table);
    connected(bench, table);
    many_stored(bench, table);
    backlog(bench, table);
}

fn idle(bench: &Bench, table: &mut Table) {
    let mut setup = bench.setup();
    let gateway = setup.start();
    let memory = steady(&gateway);
    rows("idle", memory, Some(IDLE_MAX), table);
}

fn connected(bench: &Bench, table: &mut Table) {
    let count = bench.effort.devices;
    let mut setup = bench.setup();
    setup.devices = load::devices(count);
    let gateway = setup.start();
    let known = format!("idle, {count} devices known");
    rows(&known, steady(&gateway), None, table);
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
        rows(&what, memory, Some(CONNECTED_MAX), table);
        running.stop();
        let figures = running.finish().await.unwrap();
        load::note_trouble(&figures, &what, table);
    });
}

fn many_stored(bench: &Bench, table: &mut Table) {
    let mut setup = prepared(bench, TALKING);
    stored::fill(&setup, bench.effort.stored);
    let gateway = setup.start();
    let load = load::readings(setup.address(), &setup.devices, setup.devices.len());
    let mut load = load::at_rate(load, RATE, bench.effort.span);
    load.boot = 2;
    let figures = bench.runtime.block_on(load.run()).unwrap();
    let what = format!("{} events stored", bench.effort.stored);
    load::note_trouble(&figures, &what, table);
    rows(&what, steady(&gateway), None, table);
}

fn backlog(bench: &Bench, table: &mut Table) {
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
    rows(&what, memory, None, table);
    table.note(format!("{left} of them still waited when memory was taken"));
}

/// A store that was used and closed in order.
fn prepared(bench: &Bench, devices: usize) -> Setup {
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

fn rows(what: &str, memory: Memory, most: Option<f64>, table: &mut Table) {
    let name = format!("resident, {what}");
    let figure = Figure::new(name, memory.resident, "MiB").beside("its own pages", memory.own);
    table.add(match most {
        Some(most) => figure.aim(Aim::AtMost(most)),
        None => figure,
    });
    let name = format!("its own pages, {what}");
    table.add(Figure::new(name, memory.own, "MiB"));
    let name = format!("the most so far, {what}");
    table.add(Figure::new(name, memory.peak, "MiB"));
}
