//! What one more event costs when many are stored: processor time at a fixed load, and how many a
//! second get through when the load takes what it gets. Retention is off.

use std::time::Duration;

use simulator::Load;
use simulator::load::Until;

use crate::figures::{Aim, Figure, Table};
use crate::process::Process;
use crate::{Bench, load, stored};

/// Events per second of the fixed load.
const RATE: f64 = 2_000.0;
const FIXED_CONNECTIONS: usize = 200;
/// The load that takes what it gets.
const CONNECTIONS: usize = 50;
const WINDOW: u16 = 20;
/// How much dearer an event may be at the largest size to be called flat.
const FLAT: f64 = 1.25;

pub fn measure(bench: &Bench, table: &mut Table) {
    let mut setup = bench.setup();
    setup.more = stored::KEEP_ALL.to_owned();
    setup.devices = load::devices(FIXED_CONNECTIONS);
    setup.start().stop();
    let mut first = None;
    for (index, rows) in bench.effort.growth.into_iter().enumerate() {
        if !stored::room_for(&setup, rows) {
            table.note(format!("{rows} events stored: left out: too little room"));
            continue;
        }
        if index == 0 {
            // A first event, so that the rows that are filled in have a device.
            let gateway = setup.start();
            let mut load = load::readings(setup.address(), &setup.devices, 1);
            load.until = Until::Events(1);
            bench.runtime.block_on(load.run()).unwrap();
            gateway.stop();
        }
        stored::fill(&setup, rows);
        let gateway = setup.start();
        let process = Process(gateway.pid());
        let boot = 2 + 2 * index as u32;
        let each = fixed_load(bench, &setup.devices, setup.address(), process, boot, table);
        let through = free_load(bench, &setup.devices, setup.address(), boot + 1);
        gateway.stop();
        let base = *first.get_or_insert((each, through));
        let beside = format!("with {} stored", bench.effort.growth[0]);
        let what = format!("processor time an event, {rows} stored");
        let figure = Figure::new(what, each.as_secs_f64() * 1e6, "µs")
            .beside(&beside, base.0.as_secs_f64() * 1e6);
        table.add(figure.aim(Aim::RatioAtMost(FLAT)));
        let what = format!("durable, {CONNECTIONS} × {WINDOW} in flight, {rows} stored");
        let figure = Figure::new(what, through, "/s").beside(&beside, base.1);
        table.add(figure.aim(Aim::RatioAtLeast(1.0 / FLAT)));
    }
}

/// The gateway's processor time for an event.
fn fixed_load(
    bench: &Bench,
    devices: &[String],
    address: std::net::SocketAddr,
    gateway: Process,
    boot: u32,
    table: &mut Table,
) -> Duration {
    let load = load::readings(address, devices, FIXED_CONNECTIONS);
    let mut load = load::at_rate(load, RATE, bench.effort.span);
    load.boot = boot;
    let before = gateway.cpu();
    let figures = bench.runtime.block_on(load.run()).unwrap();
    let spent = gateway.cpu() - before;
    let kept = load::kept(RATE, figures.per_second());
    load::note_trouble(&figures, &kept, table);
    if kept.contains("asked") {
        table.note(format!("the fixed load ran at {kept}"));
    }
    spent.div_f64(figures.acknowledged as f64)
}

/// Events per second.
fn free_load(bench: &Bench, devices: &[String], address: std::net::SocketAddr, boot: u32) -> f64 {
    let load = Load {
        window: WINDOW,
        boot,
        until: Until::Elapsed(bench.effort.span),
        ..load::readings(address, devices, CONNECTIONS)
    };
    bench.runtime.block_on(load.run()).unwrap().per_second()
}
