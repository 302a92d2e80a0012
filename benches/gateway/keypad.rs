//! From the key press to the open command: idle, beside sensors, and while a long backlog goes to
//! the cloud; beside the broker's own round trip and the disk's sync.

mod person;

use std::time::Duration;

use firmware_protocols::event::Secret;
use simulator::load::Until;

use crate::backlog::{self, OwnCloud};
use crate::common::{Setup, wait_until};
use crate::controller::Controller as _;
use crate::figures::{Aim, Figure, Table, ms, percentile};
use crate::{Bench, disk, load};
use person::Keypad;

const PERCENTS: [f64; 3] = [50.0, 99.0, 99.9];
/// Events per second of the sensors beside it.
const SENSORS: f64 = 2_000.0;
const SENSOR_DEVICES: usize = 200;
/// What the gateway may add to a round trip and a sync at p99, in ms.
const IDLE_EXTRA_MS: f64 = 0.5;
const LOADED_EXTRA_MS: f64 = 2.0;

/// The round trip and the sync, one after the other, by percentile, in ms.
type Floor = [f64; PERCENTS.len()];

pub fn measure(bench: &Bench, table: &mut Table) {
    let cloud = OwnCloud::start();
    let mut setup = bench.setup();
    setup.cloud = Some(cloud.url());
    setup.devices = load::devices(SENSOR_DEVICES);
    let gateway = setup.start();
    let (code, floor) = bench
        .runtime
        .block_on(idle_and_loaded(bench, &setup, &cloud, table));
    gateway.stop();
    backlog::put(&setup, bench.effort.backlog);
    let _gateway = setup.start();
    bench
        .runtime
        .block_on(draining(bench, &setup, &code, &floor, table));
}

async fn idle_and_loaded(
    bench: &Bench,
    setup: &Setup,
    cloud: &OwnCloud,
    table: &mut Table,
) -> (Secret, Floor) {
    let presses = bench.effort.presses;
    let mut bank = Keypad::connect(setup, 1).await;
    let code = bank.deposit(&cloud.cloud).await;
    let mut sync = disk::syncs(setup.dir.path(), presses);
    let mut trip = Vec::new();
    for _ in 0..presses {
        trip.push(bank.round_trip().await);
    }
    let floor = PERCENTS.map(|percent| {
        let (sync, trip) = (
            percentile(&mut sync, percent),
            percentile(&mut trip, percent),
        );
        let what = format!("disk: one sync, p{percent}");
        table.add(Figure::new(what, ms(sync), "ms"));
        let what = format!("broker: its own round trip, p{percent}");
        table.add(Figure::new(what, ms(trip), "ms").beside("one sync", ms(sync)));
        ms(sync) + ms(trip)
    });
    let idle = bank.presses(&code, presses).await;
    rows("idle", idle, &floor, IDLE_EXTRA_MS, table);

    let sensors = load::readings(setup.address(), &setup.devices, setup.devices.len());
    let mut sensors = load::at_rate(sensors, SENSORS, Duration::MAX);
    sensors.until = Until::Stopped;
    let sensors = sensors.start().unwrap();
    wait_until("the sensors to speak", async || {
        (sensors.acknowledged() > 500).then_some(())
    })
    .await;
    let loaded = bank.presses(&code, presses).await;
    sensors.stop();
    let figures = sensors.finish().await.unwrap();
    let beside = format!("beside {}", load::kept(SENSORS, figures.per_second()));
    load::note_trouble(&figures, &beside, table);
    rows(&beside, loaded, &floor, LOADED_EXTRA_MS, table);
    (code, floor)
}

async fn draining(bench: &Bench, setup: &Setup, code: &Secret, floor: &Floor, table: &mut Table) {
    let mut bank = Keypad::connect(setup, 2).await;
    let before = wait_until("the backlog to go out", async || {
        let waiting = backlog::waiting(setup);
        (waiting < bench.effort.backlog).then_some(waiting)
    })
    .await;
    let mut presses = Vec::new();
    let mut after = before;
    // What is measured after the backlog is gone is measured idle.
    while after > 0 && presses.len() < bench.effort.presses {
        presses.extend(bank.presses(code, 20).await);
        after = backlog::waiting(setup);
    }
    table.note(format!(
        "{} presses while {} of {} items went to the cloud",
        presses.len(),
        before - after,
        bench.effort.backlog
    ));
    let beside = format!("beside an uplink of {} items", bench.effort.backlog);
    rows(&beside, presses, floor, LOADED_EXTRA_MS, table);
}

fn rows(beside: &str, mut presses: Vec<Duration>, floor: &Floor, extra_ms: f64, table: &mut Table) {
    for (percent, floor) in PERCENTS.into_iter().zip(floor) {
        let name = format!("press to open command, {beside}, p{percent}");
        let figure = Figure::new(name, ms(percentile(&mut presses, percent)), "ms")
            .beside("round trip + one sync", *floor);
        table.add(if percent == 99.0 {
            figure.aim(Aim::AtMost(floor + extra_ms))
        } else {
            figure
        });
    }
}
