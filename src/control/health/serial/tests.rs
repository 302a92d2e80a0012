//! Ports, silent devices and poor lines, each with its weight.

use super::super::tests::{device, judged, report};
use super::*;
use crate::control::health::Health;

fn slave(device: &str, address: u8, answers: Option<bool>) -> SlaveView {
    SlaveView {
        device: device.to_string(),
        address: Some(address),
        compartments: None,
        answers,
        asked: 100,
        answered: 90,
        missed: 10,
        unreadable: 0,
        pause_ms: 0,
        last_answer_ms: answers.map(|_| 5_000),
        rtt_ms: None,
        quality: Some(100),
        note: None,
    }
}

fn port(slaves: Vec<SlaveView>) -> PortView {
    let mut devices: Vec<String> = slaves.iter().map(|slave| slave.device.clone()).collect();
    devices.dedup();
    PortView {
        port: "rs485-a".to_string(),
        path: "/dev/serial/by-id/usb-a".to_string(),
        device: Some("/dev/ttyUSB0".to_string()),
        protocol: "kerong-cu16".to_string(),
        baud: 19_200,
        up: true,
        fault: None,
        for_ms: 60_000,
        opened: 1,
        echo: None,
        noise_bytes: 0,
        devices,
        slaves,
    }
}

/// The verdict over one port, with a bank and a sensor that may hang on it.
fn verdict(port: PortView, uptime_ms: u64) -> (Health, Vec<Trouble>) {
    let mut sick = report();
    sick.uptime_ms = uptime_ms;
    sick.serial = vec![port];
    let answers = |id: &str| {
        let slaves = &sick.serial[0].slaves;
        let its = slaves.iter().find(|slave| slave.device == id);
        its.and_then(|slave| slave.answers)
    };
    let devices = [
        device("bank-a", "bank", answers("bank-a").or(Some(true))),
        device("sensor-1", "device", answers("sensor-1").or(Some(true))),
    ];
    judged(&sick, &devices)
}

#[test]
fn a_port_that_carries_a_bank_fails_and_names_the_bank_once() {
    let mut down = port(Vec::new());
    down.devices = vec!["bank-a".to_string(), "sensor-1".to_string()];
    (down.up, down.fault) = (false, Some(PortFault::Missing));
    let mut sick = report();
    sick.serial = vec![down];
    let devices = [
        device("bank-a", "bank", Some(false)),
        device("sensor-1", "device", None),
    ];
    let (health, troubles) = judged(&sick, &devices);
    assert_eq!(health, Health::Failing);
    let [
        Trouble::PortDown {
            banks,
            devices,
            since_ms,
            ..
        },
    ] = troubles.as_slice()
    else {
        panic!("{troubles:?}");
    };
    assert_eq!(
        (banks, devices),
        (&vec!["bank-a".to_string()], &vec!["sensor-1".to_string()])
    );
    assert_eq!(*since_ms, sick.clock.wall_ms - 60_000);
}

#[test]
fn a_sensor_s_port_needs_attention() {
    let mut down = port(vec![slave("sensor-1", 1, Some(true))]);
    (down.up, down.fault) = (false, Some(PortFault::Denied));
    assert_eq!(verdict(down, SETTLING_MS + 1).0, Health::Attention);
    let mut garbled = port(vec![slave("sensor-1", 1, None)]);
    garbled.fault = Some(PortFault::Garbled);
    assert_eq!(verdict(garbled, SETTLING_MS + 1).0, Health::Attention);
}

#[test]
fn a_board_without_an_answer_is_given_time_after_the_start() {
    let mut young = slave("bank-a", 1, Some(false));
    young.last_answer_ms = None;
    let on_port = port(vec![young.clone(), slave("bank-a", 2, Some(true))]);
    let mut sick = report();
    sick.uptime_ms = SETTLING_MS;
    sick.serial = vec![on_port];
    // Its driver has given it up already.
    let devices = [device("bank-a", "bank", Some(false))];
    assert_eq!(judged(&sick, &devices), (Health::Well, Vec::new()));
    sick.uptime_ms += 1;
    let (health, troubles) = judged(&sick, &devices);
    assert_eq!(health, Health::Failing);
    let silent = Silent {
        device: "bank-a".to_string(),
        bank: true,
        address: Some(1),
        compartments: None,
        last_answer_ms: None,
    };
    let wanted = Trouble::SlavesSilent {
        port: "rs485-a".to_string(),
        others_answer: true,
        slaves: vec![silent],
    };
    assert_eq!(troubles, [wanted]);
}

#[test]
fn one_that_answered_and_fell_silent_is_named_at_once() {
    let (health, troubles) = verdict(port(vec![slave("bank-a", 1, Some(false))]), 10_000);
    assert_eq!(health, Health::Failing);
    assert!(
        matches!(
            troubles.as_slice(),
            [Trouble::SlavesSilent {
                others_answer: false,
                ..
            }]
        ),
        "{troubles:?}"
    );
    let (health, _) = verdict(port(vec![slave("sensor-1", 1, Some(false))]), 10_000);
    assert_eq!(health, Health::Attention);
}

#[test]
fn a_line_is_poor_below_ninety_of_enough_requests() {
    let mut poor = slave("bank-a", 1, Some(true));
    poor.quality = Some(QUALITY_MIN);
    assert_eq!(verdict(port(vec![poor.clone()]), 10_000).0, Health::Well);
    poor.quality = Some(QUALITY_MIN - 1);
    let (health, troubles) = verdict(port(vec![poor.clone()]), 10_000);
    assert_eq!(health, Health::Attention);
    assert!(
        matches!(troubles.as_slice(), [Trouble::LinePoor { .. }]),
        "{troubles:?}"
    );
    poor.asked = REQUESTS_MIN - 1;
    assert_eq!(verdict(port(vec![poor]), 10_000).0, Health::Well);
}

#[test]
fn a_scanner_that_nobody_used_is_no_trouble() {
    let mut scanner = slave("sensor-1", 1, None);
    (scanner.asked, scanner.quality) = (0, None);
    assert_eq!(
        verdict(port(vec![scanner]), SETTLING_MS + 1).0,
        Health::Well
    );
}

#[test]
fn what_a_driver_noted_is_passed_on() {
    let mut reader = slave("sensor-1", 3, Some(true));
    reader.note = Some("wrong key".to_string());
    let (health, troubles) = verdict(port(vec![reader]), 10_000);
    assert_eq!(health, Health::Attention);
    let [Trouble::SlavesNoted { slaves, .. }] = troubles.as_slice() else {
        panic!("{troubles:?}");
    };
    assert_eq!(slaves[0].note, "wrong key");
}

#[test]
fn another_process_on_an_open_port_needs_attention_and_hides_nothing() {
    let mut shared = port(vec![slave("bank-a", 1, Some(true))]);
    let by = Some("minicom (77)".to_string());
    shared.fault = Some(PortFault::InUse { by });
    let (health, troubles) = verdict(shared.clone(), 10_000);
    assert_eq!(health, Health::Attention);
    assert!(
        matches!(troubles.as_slice(), [Trouble::PortDown { up: true, .. }]),
        "{troubles:?}"
    );
    shared.slaves[0].answers = Some(false);
    let (health, troubles) = verdict(shared, 10_000);
    assert_eq!(
        (health, troubles.len()),
        (Health::Failing, 2),
        "{troubles:?}"
    );
}
