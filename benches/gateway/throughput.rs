//! Durable events per second, from several numbers of connections.

use std::time::Duration;

use simulator::load::Until;
use simulator::{Load, Login};
use tokio::runtime::Runtime;

use crate::common::{Setup, ident};
use crate::figures::Table;
use crate::{Effort, disk};

pub fn measure(runtime: &Runtime, effort: Effort, table: &mut Table) {
    let span = Duration::from_secs(effort.seconds);
    let folder = tempfile::tempdir().unwrap();
    let plain = disk::sqlite(folder.path(), 100, false, span / 2);
    let beside = Some((plain, "plain SQLite, FULL, batches of 100"));
    let single = disk::sqlite(folder.path(), 1, false, span / 2);
    table.add("plain SQLite, FULL, single commits", single, "/s", beside);
    let once = disk::sqlite(folder.path(), 100, true, span / 2);
    table.add(
        "plain SQLite, the same with a unique index",
        once,
        "/s",
        beside,
    );
    for gather_ms in [0, 20] {
        let mut setup = Setup::new();
        setup.devices = (0..50).map(|n| format!("door-{n}")).collect();
        setup.more = format!("[journal]\ngather_ms = {gather_ms}\n");
        let _gateway = setup.start();
        for (boot, (connections, window)) in RUNS.into_iter().enumerate() {
            let logins = setup.devices.iter().take(connections).map(|device| Login {
                device: ident(device),
                password: None,
            });
            let mut load = Load::new(setup.address(), logins.collect());
            load.window = window;
            load.boot = boot as u32 + 1;
            load.until = Until::Elapsed(span);
            let figures = runtime.block_on(load.run()).unwrap();
            let what =
                format!("durable, {connections} x {window} in flight, gather {gather_ms} ms");
            table.add(what, figures.per_second(), "/s", beside);
        }
    }
}

/// Connections, and publications in flight on each.
const RUNS: [(usize, u16); 4] = [(1, 1), (10, 1), (50, 1), (50, 20)];
