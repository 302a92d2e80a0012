//! What stands in the demo's estate: the gateway's configuration and the devices that go with it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cloud_protocol::downlink::{Size, Zone};
use firmware_protocols::{Form, Ident};
use simulator::device::{Deaf, DeviceClock, Spec};
use simulator::world::Point;
use simulator::{Bank, Desk, Device, Login, Tempo, Version, Way};

use super::wiring::{BOARDED, PANEL, Wiring};
use crate::config::Config;

/// The site, which is also the gateway's id at the cloud.
pub(super) const SITE: &str = "willow-court";
/// The desk.
pub(super) const DESK: &str = "desk-1";
/// The terminal in the yard, where neighbours enter what they wish to buy.
pub(super) const TERMINAL: &str = "yard-terminal";
/// The doors.
pub(super) const DOORS: [&str; 4] = ["door-b1", "door-b2", "door-b3", "gate-east"];
/// The sensors, with the temperature around which they read.
pub(super) const SENSORS: [(&str, f64); 6] = [
    ("cold-a-17", 4.0),
    ("cold-a-18", 4.5),
    ("cold-b-11", 3.5),
    ("frozen-b-12", -19.0),
    ("yard-air", 26.0),
    ("cellar-air", 17.0),
];

/// A run of equal compartments of a bank.
pub(super) struct Run {
    pub(super) bank: &'static str,
    pub(super) count: u16,
    pub(super) size: Size,
    pub(super) zone: Zone,
}

const fn run(bank: &'static str, count: u16, size: Size, zone: Zone) -> Run {
    Run {
        bank,
        count,
        size,
        zone,
    }
}

/// The compartments of both banks, in the order of their numbers.
pub(super) const COMPARTMENTS: [Run; 8] = [
    run("bank-a", 8, Size::S, Zone::Ambient),
    run("bank-a", 6, Size::M, Zone::Ambient),
    run("bank-a", 2, Size::L, Zone::Ambient),
    run("bank-a", 2, Size::M, Zone::Chilled),
    run("bank-b", 6, Size::S, Zone::Ambient),
    run("bank-b", 3, Size::M, Zone::Ambient),
    run("bank-b", 2, Size::M, Zone::Chilled),
    run("bank-b", 1, Size::S, Zone::Frozen),
];

/// The banks, in the order in which they are drawn.
pub(super) const BANKS: [&str; 2] = ["bank-a", "bank-b"];

/// How many compartments a bank has.
pub(super) fn compartments(bank: &str) -> u16 {
    let own = COMPARTMENTS.iter().filter(|run| run.bank == bank);
    own.map(|run| run.count).sum()
}

/// An identifier of the plan.
pub(super) fn id(name: &str) -> anyhow::Result<Ident> {
    Ok(Ident::new(name)?)
}

/// Every device's id: points first. On serial lines there is one more, a panel.
pub(super) fn device_ids(wiring: Option<&Wiring>) -> anyhow::Result<Vec<Ident>> {
    let points = BANKS.into_iter().chain([DESK]);
    let others = DOORS.into_iter().chain(SENSORS.map(|(sensor, _)| sensor));
    let all = points.chain(others).chain([TERMINAL]);
    all.chain(wiring.map(|_| PANEL)).map(id).collect()
}

/// Where the gateway finds its enrolment token.
pub(super) fn token_file(state_dir: &Path) -> PathBuf {
    state_dir.join("cloud-token")
}

/// The gateway's configuration, as a file could say it. Commands hold longer than in a real estate,
/// as the evening runs many times as fast but the machine doesn't, and a serial line neither.
pub(super) fn config_text(state_dir: &Path, cloud_url: &str, wiring: Option<&Wiring>) -> String {
    let hangs = |device: &str| wiring.map_or(String::new(), |wiring| wiring.hangs(device));
    let (ttl_s, retry_s) = wiring.map_or((300, 3), |_| (600, 120));
    let mut text = format!(
        "site = \"{SITE}\"\nstate_dir = {state_dir:?}\n\n\
         [broker]\nlisten = \"127.0.0.1:0\"\n\n[cloud]\nurl = \"{cloud_url}\"\n\
         token_file = {:?}\n[cloud.line]\nspread_s = 0\n\n\
         [rules]\ncommand_ttl_s = {ttl_s}\ncommand_retry_s = {retry_s}\ncourier_session_s = 1200\n\n\
         [[building]]\nid = \"b1\"\n[[building]]\nid = \"b2\"\n[[building]]\nid = \"b3\"\n\n",
        token_file(state_dir)
    );
    for (bank, building, address) in [
        ("bank-a", "b1", "Gate 1, under the roof"),
        ("bank-b", "b2", "Building 2, entrance hall"),
    ] {
        text += &format!(
            "[[bank]]\nid = \"{bank}\"\nbuilding = \"{building}\"\naddress = \"{address}\"\ncompartments = [\n"
        );
        for run in COMPARTMENTS.iter().filter(|run| run.bank == bank) {
            let (size, zone) = (run.size.word(), run.zone.word());
            let count = run.count;
            text += &format!("    {{ count = {count}, size = \"{size}\", zone = \"{zone}\" }},\n");
        }
        text += &format!("]\n{}\n", hangs(bank));
    }
    text +=
        &format!("[[desk]]\nid = \"{DESK}\"\nbuilding = \"b3\"\naddress = \"Property office\"\n\n");
    let others = DOORS.into_iter().chain(SENSORS.map(|(sensor, _)| sensor));
    for (n, device) in others.chain([TERMINAL]).enumerate() {
        let building = n % 3 + 1;
        let hangs = hangs(device);
        text += &format!("[[device]]\nid = \"{device}\"\nbuilding = \"b{building}\"\n{hangs}\n");
    }
    if let Some(wiring) = wiring {
        text += &wiring.panel();
        text += &wiring.ports();
    }
    text
}

/// The configuration, checked.
pub(super) fn config(
    state_dir: &Path,
    cloud_url: &str,
    wiring: Option<&Wiring>,
) -> anyhow::Result<Config> {
    Config::parse(&config_text(state_dir, cloud_url, wiring))
        .map_err(|errors| anyhow::anyhow!("the demo's configuration: {}", errors.join("; ")))
}

/// Starts every device: old and new versions of MQTT, CBOR and JSON, good clocks and none, mixed as
/// in an estate that grew over the years. On serial lines some speak the Linli link, and some don't
/// speak by themselves: they aren't among them.
pub(super) fn start_devices(
    broker: SocketAddr,
    tempo: Tempo,
    passwords: &BTreeMap<Ident, String>,
    wiring: Option<&Wiring>,
) -> anyhow::Result<(Vec<Point>, Vec<Device>)> {
    let mut points = Vec::new();
    let mut devices = Vec::new();
    for (n, device) in device_ids(wiring)?.into_iter().enumerate() {
        let spec = spec(n, &device, passwords);
        let line = wiring.and_then(|wiring| wiring.line(device.as_str()));
        let way = line.map_or(Way::Broker(broker), |line| Way::Line(line.clone()));
        match (device.as_str(), wiring) {
            (BOARDED, Some(_)) => {}
            (PANEL, Some(wiring)) => {
                let doors = wiring.doors().clone();
                let bank = Bank::with_boards(id(BOARDED)?, doors, spec, way, tempo);
                points.push(Point::Bank(Arc::new(bank)));
            }
            (bank, _) if BANKS.contains(&bank) => {
                let count = compartments(bank);
                let bank = Bank::start(spec, count, true, way, tempo);
                points.push(Point::Bank(Arc::new(bank)));
            }
            (DESK, _) => points.push(Point::Desk(Arc::new(Desk::start(spec, way, tempo)))),
            (sensor, Some(wiring)) if wiring.reads(sensor) => {}
            _ => devices.push(Device::start(spec, way, tempo, Arc::new(Deaf))),
        }
    }
    Ok((points, devices))
}

/// How sensor number `n` of [`device_ids`] speaks.
pub(super) fn form(n: usize) -> Form {
    match n % 2 {
        0 => Form::Cbor,
        _ => Form::Json,
    }
}

fn spec(n: usize, device: &Ident, passwords: &BTreeMap<Ident, String>) -> Spec {
    let login = Login {
        device: device.clone(),
        password: passwords.get(device).cloned(),
    };
    let sensor = SENSORS.iter().any(|(sensor, _)| *sensor == device.as_str());
    let mut spec = Spec::new(login, "simulated");
    spec.form = form(n);
    spec.version = match n % 4 {
        1 | 2 => Version::V311,
        _ => Version::V5,
    };
    spec.clock = match n % 3 {
        0 => DeviceClock::Set,
        1 => DeviceClock::Counting,
        _ => DeviceClock::None,
    };
    spec.batch = if sensor { 8 } else { 1 };
    spec.boot = 100 + n as u32;
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_holds_and_names_every_device() {
        let ports = tempfile::tempdir().unwrap();
        let wiring = Wiring::lay(ports.path(), 190.0).unwrap();
        let config = |wiring| config(Path::new("/tmp/x"), "http://127.0.0.1:1", wiring).unwrap();
        for wiring in [None, Some(&wiring)] {
            let mut configured = config(wiring).device_ids();
            let mut planned = device_ids(wiring).unwrap();
            configured.sort();
            planned.sort();
            assert_eq!(configured, planned);
        }
        let over_mqtt = config(Some(&wiring)).mqtt_device_ids().len();
        assert_eq!(device_ids(None).unwrap().len() - over_mqtt, 5);
        let config = config(None);
        assert_eq!(compartments("bank-a") + compartments("bank-b"), 30);
        assert_eq!(config.layout().banks[1].compartments.len(), 12);
    }
}
