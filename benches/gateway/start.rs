//! From the start of the process to the first event on disk, with many events stored. The files are
//! in the kernel's cache, and the last end was a SIGKILL.

use std::time::{Duration, Instant};

use simulator::load::Until;
use tokio::net::TcpStream;

use crate::common::Setup;
use crate::figures::{Aim, Figure, Table, median, ms};
use crate::{Bench, load, stored};

/// ms.
const AIM: f64 = 100.0;

pub fn measure(bench: &Bench, table: &mut Table) {
    let mut setup = bench.setup();
    setup.more = stored::KEEP_ALL.to_owned();
    // So that it keeps one address.
    setup.start().stop();
    let mut boot = 0;
    let mut first = || {
        boot += 1;
        first_event(bench, &setup, boot)
    };
    let mut baseline = None;
    for rows in bench.effort.starts {
        if !stored::room_for(&setup, rows) {
            table.note(format!("{rows} events stored: left out: too little room"));
            continue;
        }
        if rows > 0 {
            stored::fill(&setup, rows);
        }
        let times: Vec<Duration> = (0..bench.effort.start_times).map(|_| first()).collect();
        let longest = times.iter().copied().max().unwrap_or_default();
        let took = ms(median(times));
        let base = *baseline.get_or_insert(took);
        let what = format!("start to first event on disk, {rows} stored");
        let figure = Figure::new(what, took, "ms");
        table.add(figure.beside("an empty store", base).aim(Aim::AtMost(AIM)));
        let what = format!("the longest of {}, {rows} stored", bench.effort.start_times);
        table.add(Figure::new(what, ms(longest), "ms"));
    }
}

fn first_event(bench: &Bench, setup: &Setup, boot: u32) -> Duration {
    let from = Instant::now();
    let mut child = setup.spawn();
    let took = bench.runtime.block_on(async {
        while TcpStream::connect(setup.address()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut load = load::readings(setup.address(), &setup.devices, 1);
        load.boot = boot;
        load.until = Until::Events(1);
        let figures = load.run().await.unwrap();
        let took = from.elapsed();
        assert_eq!(figures.acknowledged, 1);
        took
    });
    child.kill().unwrap();
    child.wait().unwrap();
    took
}
