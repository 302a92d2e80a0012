//! Loads on a gateway or on another broker: who publishes how much, and whether that could be kept
//! up.

use std::net::SocketAddr;
use std::time::Duration;

use simulator::load::{Figures, Until};
use simulator::{Load, Login};

use crate::common::ident;
use crate::figures::Table;
use crate::payload;

/// A load that falls short of what it was asked by more than this isn't that load.
const KEPT: f64 = 0.97;

/// The names of so many devices.
pub fn devices(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("sensor-{n}")).collect()
}

/// Readings of 132 bytes from the first `connections` of `devices`, without passwords.
pub fn readings(broker: SocketAddr, devices: &[String], connections: usize) -> Load {
    let logins = devices.iter().take(connections).map(|device| Login {
        device: ident(device),
        password: None,
    });
    let mut load = Load::new(broker, logins.collect());
    assert_eq!(load.logins.len(), connections, "enough devices");
    load.event = payload::reading;
    load
}

/// The same at a rate, for so long.
pub fn at_rate(load: Load, rate: f64, span: Duration) -> Load {
    Load {
        rate: Some(rate),
        until: Until::Elapsed(span),
        window: 20,
        ..load
    }
}

/// What a row of the table is called if the load ran at `kept` instead of `asked` events a second.
pub fn kept(asked: f64, kept: f64) -> String {
    if kept >= asked * KEPT {
        format!("{asked:.0} events/s")
    } else {
        format!("{kept:.0} events/s (asked for {asked:.0})")
    }
}

/// Says so if events were refused, lost or sent twice: then the figure isn't what it seems.
pub fn note_trouble(figures: &Figures, what: &str, table: &mut Table) {
    if figures.lost + figures.refused + figures.resent > 0 {
        table.note(format!(
            "{what}: {} connections lost, {} events refused, {} sent again",
            figures.lost, figures.refused, figures.resent
        ));
    }
}
