//! Runs the suite on parts of the simulated bench.
#![allow(dead_code)]

use std::sync::Arc;

use hil_tests::bench::{Bench, SIMULATED};
use hil_tests::report::Report;
use hil_tests::rig::Rig;
use hil_tests::simulated::Simulated;
use hil_tests::suite::{self, Choice};
use toml::{Table, Value};

const PORTS: [&str; 7] = [
    "bus-cu16",
    "bus-cu48",
    "bus-8a",
    "bus-wkly",
    "bus-modbus",
    "tty-scanner",
    "tty-keypad",
];

/// The simulated bench with one port only, and what hangs there.
pub fn only_port(port: &str) -> String {
    let others: Vec<&str> = PORTS.into_iter().filter(|other| *other != port).collect();
    assert_eq!(others.len(), PORTS.len() - 1);
    without_ports(&others)
}

/// The simulated bench without these ports, and what hangs there.
pub fn without_ports(ports: &[&str]) -> String {
    let mut bench: Table = SIMULATED.parse().unwrap();
    let gone = |port: Option<&Value>| port.is_some_and(|p| ports.contains(&p.as_str().unwrap()));
    bench["port"]
        .as_array_mut()
        .unwrap()
        .retain(|section| !gone(section.get("id")));
    let banks = bench["bank"].as_array_mut().unwrap();
    banks.retain(|section| !gone(section["board"][0].get("port")));
    let left: Vec<String> = banks
        .iter()
        .map(|section| section["id"].as_str().unwrap().to_owned())
        .collect();
    let devices = bench["device"].as_array_mut().unwrap();
    devices.retain(|section| !gone(section["serial"].get("port")));
    for section in devices {
        // A point that is gone can't be belonged to.
        let section = section.as_table_mut().unwrap();
        section.retain(|key, value| {
            key != "point"
                || left
                    .iter()
                    .any(|bank| Some(bank.as_str()) == value.as_str())
        });
    }
    let settings = bench["bench"].as_table_mut().unwrap();
    let may_open = settings["may_open"].as_array_mut().unwrap();
    may_open.retain(|slot| {
        let bank = slot.as_str().unwrap().split_once('/').unwrap().0;
        left.iter().any(|id| id == bank)
    });
    settings["free_address"]
        .as_table_mut()
        .unwrap()
        .retain(|port, _| !ports.contains(&port));
    toml::to_string(&bench).unwrap()
}

/// Runs cases (all, if none is named) on a simulated bench whose devices were `prepared`.
pub async fn run(bench: &str, prepare: impl FnOnce(&Simulated), cases: &[&str]) -> Report {
    let bench = Bench::parse(bench).unwrap();
    let rig = Rig::simulated(bench, 1).await.unwrap();
    prepare(rig.simulation().unwrap());
    let rig = Arc::new(rig);
    let report = suite::run(Arc::clone(&rig), &Choice::only(cases)).await;
    Arc::into_inner(rig).unwrap().stop().await;
    report
}
