//! `linli serial …`: the ports, and what hangs on them.
//!
//! `status` asks the daemon; `list` looks at the machine; `scan` and `monitor` open a port that the
//! daemon hasn't.

mod list;
mod monitor;
mod scan;

use std::io::Write as _;
use std::path::Path;

use firmware_protocols::Ident;
use serde_json::Value as Json;

use super::args::SerialCommand;
use super::look::{Look, Paint, safe, wrap};
use super::stop::{self, Stop};
use super::table::{Cell, Column, table};
use super::words::{self, serial as say};
use super::{Done, Session, locate};
use crate::config::serial::{Parity, PortSection, Protocol};
use crate::control::client::ClientError;
use crate::control::wire::Request;
use crate::links::serial::status::{PortView, SlaveView};

impl Session {
    /// `linli serial …`.
    pub(super) fn serial(&mut self, command: SerialCommand) -> Done {
        match command {
            SerialCommand::List => self.serial_list(),
            SerialCommand::Scan(args) => self.serial_scan(&args),
            SerialCommand::Monitor(args) => self.serial_monitor(&args),
            SerialCommand::Status => self.serial_status(),
            SerialCommand::Commission { device } => self.commission(&device),
        }
    }

    /// A port that stands in the configuration under this id or path, if one can be read here.
    fn configured(&self, port: &Path) -> Option<PortSection> {
        let config = locate::config(&self.global).ok()?;
        let real = std::fs::canonicalize(port).ok();
        let is = |known: &PortSection| {
            Path::new(known.id.as_str()) == port
                || known.path == port
                || real.is_some() && std::fs::canonicalize(&known.path).ok() == real
        };
        config.ports.into_iter().find(is)
    }

    fn serial_status(&mut self) -> Done {
        let mut client = self.connect()?;
        let status: Json = client.one(&Request::Status).map_err(|e| self.stop(&e))?;
        let ports = status.get("serial").cloned();
        let ports = ports.unwrap_or_else(|| Json::Array(Vec::new()));
        if self.global.json {
            return self.array(ports.as_array().map_or(&[], Vec::as_slice));
        }
        let ports: Vec<PortView> =
            serde_json::from_value(ports).map_err(|e| self.stop(&ClientError::Unreadable(e)))?;
        Ok(self.out.write_all(shown(&self.look, &ports).as_bytes())?)
    }
}

/// A port that doesn't stand in the configuration.
pub(super) fn section(path: &Path, protocol: Protocol) -> Result<PortSection, Stop> {
    let id = Ident::new("port").map_err(|e| Stop::new(stop::INTERNAL, e.to_string()))?;
    Ok(PortSection {
        id,
        path: path.to_path_buf(),
        protocol,
        baud: None,
        parity: Parity::None,
        stop_bits: 1,
        timeout_ms: 100,
        poll_ms: None,
        echo: None,
        multi_drop: false,
    })
}

/// For what waits on a line and on keys at once.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Stop> {
    let built = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    built.map_err(|e| Stop::new(stop::INTERNAL, e.to_string()))
}

/// Every port, and a table of what hangs on it.
fn shown(look: &Look, ports: &[PortView]) -> String {
    if ports.is_empty() {
        return format!("{}\n", say::NONE);
    }
    let each: Vec<String> = ports.iter().map(|port| one(look, port)).collect();
    each.join("\n")
}

fn one(look: &Look, port: &PortView) -> String {
    const HEAD: [Column; 11] = [
        Column::stretching("DEVICE"),
        Column::right("ADDRESS"),
        Column::left("COMPARTM."),
        Column::left("ANSWERS"),
        Column::right("ASKED"),
        Column::right("MISSED"),
        Column::right("UNREADABLE"),
        Column::right("ROUND TRIP"),
        Column::right("QUALITY"),
        Column::right("PAUSE"),
        Column::stretching("NOTE"),
    ];
    let paint = match (&port.fault, port.up) {
        (Some(_), _) => Paint::Bad,
        (None, true) => Paint::Good,
        (None, false) => Paint::Warn,
    };
    let heading = wrap("", &safe(&say::heading(port)), look.width, "  ");
    let mut out = format!("{}\n", look.paint(paint, &heading));
    if port.slaves.is_empty() {
        return out;
    }
    let rows: Vec<Vec<Cell>> = port.slaves.iter().map(row).collect();
    out.push_str(&table(look, &HEAD, &rows));
    out
}

fn row(slave: &SlaveView) -> Vec<Cell> {
    let answers = match slave.answers {
        Some(true) => Paint::Good,
        Some(false) => Paint::Bad,
        None => Paint::Warn,
    };
    let poor = if slave.is_poor() {
        Paint::Warn
    } else {
        Paint::Plain
    };
    let address = slave.address.map(|address| address.to_string());
    let doors = slave
        .compartments
        .map(|[first, last]| format!("{first}-{last}"));
    let quality = slave.quality.map(|quality| format!("{quality} %"));
    let pause = match slave.pause_ms {
        0 => String::new(),
        ms => words::length(ms),
    };
    vec![
        Cell::from(&slave.device),
        Cell::from(address.unwrap_or_default()),
        Cell::from(doors.unwrap_or_default()),
        Cell::painted(say::answers(slave.answers), answers),
        Cell::from(words::number(slave.asked)),
        Cell::from(say::counted(slave.missed)),
        Cell::from(say::counted(slave.unreadable)),
        Cell::from(say::round_trip(slave)),
        Cell::painted(quality.unwrap_or_default(), poor),
        Cell::from(pause),
        Cell::painted(slave.note.as_deref().unwrap_or_default(), Paint::Warn),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::look::tests::plain;
    use super::*;
    use crate::links::serial::status::PortFault;

    fn slave(address: u8, answers: Option<bool>) -> SlaveView {
        SlaveView {
            device: "bank-a".to_string(),
            address: Some(address),
            compartments: Some([1, 16]),
            answers,
            asked: 1_204,
            answered: 1_200,
            missed: 4,
            unreadable: 0,
            pause_ms: 0,
            last_answer_ms: Some(80),
            rtt_ms: Some((5.23, 11.8)),
            quality: Some(99),
            note: None,
        }
    }

    fn port() -> PortView {
        PortView {
            port: "rs485-a".to_string(),
            path: "/dev/serial/by-id/usb-a".to_string(),
            device: Some("/dev/ttyUSB0".to_string()),
            protocol: "kerong-cu16".to_string(),
            baud: 19_200,
            up: true,
            fault: None,
            for_ms: 3_600_000,
            opened: 1,
            echo: Some(true),
            noise_bytes: 7,
            devices: vec!["bank-a".to_string()],
            slaves: vec![slave(0, Some(true))],
        }
    }

    #[test]
    fn a_port_and_what_hangs_on_it() {
        let mut port = port();
        let mut dead = slave(1, Some(false));
        dead.compartments = Some([17, 32]);
        (dead.missed, dead.pause_ms, dead.rtt_ms) = (40, 8_000, None);
        (dead.quality, dead.note) = (Some(0), Some("look\u{1b} at it".to_string()));
        port.slaves.push(dead);
        let wanted = "\
rs485-a: up, kerong-cu16 at 19200 baud on /dev/ttyUSB0; 1 of 2 devices answer, quality 99 %; as it is for 1 h, opened 1 time; the adapter hears what it sends; 7 bytes of noise
DEVICE  ADDRESS  COMPARTM.  ANSWERS  ASKED  MISSED  UNREADABLE   ROUND TRIP  QUALITY  PAUSE  NOTE
bank-a        0  1-16       yes      1,204       4              5.2 / 12 ms     99 %
bank-a        1  17-32      NO       1,204      40                               0 %  8.0 s  look? at it
";
        assert_eq!(shown(&plain(None), &[port]), wanted);
    }

    #[test]
    fn a_port_that_is_down_says_why() {
        let mut down = port();
        (down.up, down.device) = (false, None);
        down.fault = Some(PortFault::InUse {
            by: Some("minicom (77)".to_string()),
        });
        down.slaves.clear();
        let text = shown(&plain(None), &[down]);
        assert!(
            text.starts_with("rs485-a: is in use by minicom (77), kerong-cu16 at 19200 baud on /dev/serial/by-id/usb-a;"),
            "{text}"
        );
        assert!(shown(&plain(None), &[]).contains("linli serial list"));
    }
}
