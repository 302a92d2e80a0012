//! What people see of a port and its slaves.

use super::*;

fn port() -> PortStatus {
    let text = "id = \"p1\"\npath = \"/dev/ttyUSB0\"\nprotocol = \"kerong-cu16\"";
    PortStatus::new(toml::from_str(text).unwrap())
}

fn slave(port: &PortStatus) -> Arc<SlaveStatus> {
    port.slave(&Ident::new("bank-a").unwrap(), Some(1))
}

const TRIP: Duration = Duration::from_millis(10);

#[test]
fn the_quality_is_that_of_the_last_hundred_requests() {
    let port = port();
    let slave = slave(&port);
    assert_eq!(slave.view().quality, None);
    (0..50).for_each(|_| slave.missed(TRIP));
    assert_eq!(slave.view().quality, Some(0));
    (0..50).for_each(|_| slave.answered(TRIP));
    assert_eq!(slave.view().quality, Some(50));
    (0..99).for_each(|_| slave.answered(TRIP));
    assert_eq!(slave.view().quality, Some(100));
    slave.unreadable(TRIP);
    let view = slave.view();
    assert_eq!(view.quality, Some(99));
    assert_eq!(
        (view.asked, view.answered, view.missed, view.unreadable),
        (200, 149, 50, 1)
    );
    assert_eq!(slave.lock().last.len(), LAST);
}

#[test]
fn the_round_trip_is_the_median_and_the_longest() {
    let port = port();
    let slave = slave(&port);
    assert_eq!(slave.view().rtt_ms, None);
    for ms in [5, 1, 90, 3, 2] {
        slave.answered(Duration::from_millis(ms));
    }
    assert_eq!(slave.view().rtt_ms, Some((3.0, 90.0)));
}

#[test]
fn a_slave_is_listed_once_however_often_its_driver_begins() {
    let port = port();
    slave(&port).answered(TRIP);
    slave(&port).answered(TRIP);
    let view = port.view();
    assert_eq!(view.slaves.len(), 1);
    assert_eq!(view.slaves[0].asked, 2);
}

#[test]
fn when_the_port_goes_nobody_knows_whether_its_slaves_answer() {
    let port = port();
    port.up("/dev/ttyUSB0".into());
    slave(&port).answered(TRIP);
    slave(&port).missed(TRIP);
    assert_eq!(port.view().slaves[0].answers, Some(true));
    port.down(PortFault::Unplugged);
    let view = port.view();
    assert_eq!(
        (view.up, view.fault, view.device),
        (false, Some(PortFault::Unplugged), None)
    );
    assert_eq!((view.slaves[0].answers, view.slaves[0].pause_ms), (None, 0));
    assert_eq!(view.slaves[0].quality, Some(50), "what was counted stays");
}

#[test]
fn a_slave_that_answers_makes_sense_and_another_process_is_named_first() {
    let port = port();
    port.up("/dev/ttyUSB0".into());
    port.heard(1_000);
    grown_old(&port);
    port.heard(1);
    assert_eq!(port.view().fault, Some(PortFault::Garbled));
    let by = Some("minicom (7)".to_owned());
    port.shared_with(by.clone());
    assert_eq!(port.view().fault, Some(PortFault::InUse { by }));
    port.shared_with(None);
    slave(&port).answered(TRIP);
    assert_eq!(port.view().fault, None);
}

#[test]
fn a_few_stray_bytes_are_not_garbled() {
    let port = port();
    port.up("/dev/ttyUSB0".into());
    port.heard(GARBLED_BYTES - 2);
    grown_old(&port);
    port.heard(1);
    assert_eq!(port.view().fault, None);
}
