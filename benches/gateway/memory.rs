//! Resident memory: idle, and with many devices connected.

use std::time::Duration;

use simulator::load::Until;
use simulator::{Load, Login};
use tokio::runtime::Runtime;

use crate::Effort;
use crate::common::{Setup, ident, wait_until};
use crate::figures::Table;

pub fn measure(runtime: &Runtime, effort: Effort, table: &mut Table) {
    let mut setup = Setup::new();
    setup.devices = (0..effort.devices).map(|n| format!("sensor-{n}")).collect();
    let gateway = setup.start();
    let idle = resident_mib(gateway.pid());
    table.add(
        "resident memory, idle",
        idle,
        "MiB",
        Some((16.0, "the aim")),
    );
    let logins = setup.devices.iter().map(|device| Login {
        device: ident(device),
        password: None,
    });
    let mut load = Load::new(setup.address(), logins.collect());
    load.rate = Some(500.0);
    load.until = Until::Stopped;
    runtime.block_on(async {
        let running = load.start().unwrap();
        let devices = effort.devices as u64;
        wait_until("every device to have spoken", async || {
            let status = setup.json(&["status"]);
            let connected = status["links"]["connected"].as_u64().unwrap();
            (connected == devices && running.acknowledged() > 2 * devices).then_some(())
        })
        .await;
        let loaded = resident_mib(gateway.pid());
        let what = format!("resident memory, {} devices", effort.devices);
        table.add(what, loaded, "MiB", Some((40.0, "the aim")));
        running.stop();
        let finished = tokio::time::timeout(Duration::from_secs(60), running.finish()).await;
        finished.unwrap().unwrap();
    });
}

fn resident_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024.0
}
