//! The serial lines of the demo's estate, with what hangs on them: pseudo-terminals, and lines in
//! between that take their time.
//!
//! | port | what is spoken | on it |
//! |---|---|---|
//! | `boards-a` | Kerong CU16, 19,200 | the two boards that move bank-a's doors |
//! | `panel-a` | Linli link | bank-a's front: keypad, scanner, display |
//! | `hall-b` | Linli link, polled | bank-b's controller and a door reader |
//! | `cold-a` | Modbus RTU, 9,600 | the two sensors in bank-a's chilled compartments |

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use firmware_protocols::Ident;
use simulator::compartments::Compartments;
use simulator::reading::{ClimateSlave, Probe};
use simulator::serial::board::Speech;
use simulator::serial::{
    Board, BoardSpec, Faults, ModbusSlave, Onlooker, Outlet, Settings, Slave, Wire,
};
use simulator::{Line, Port};

use super::books::Books;
use super::plan::{self, compartments};
use super::shown::{self, Shown};

/// The bank whose doors are moved by locker boards.
pub(super) const BOARDED: &str = "bank-a";
/// Its front.
pub(super) const PANEL: &str = "panel-a";
/// What speaks the Linli link on one line, by address from 1.
const HALL: [&str; 2] = ["bank-b", "door-b1"];
/// The sensors that are Modbus slaves, by address from 1.
const COLD: [&str; 2] = ["cold-a-17", "cold-a-18"];

/// What the faults of the lines come from.
const SEED: u64 = 7;
/// How many locks a board has.
const LOCKS: u16 = 16;
const BOARDS_BAUD: u32 = 19_200;
const LINK_BAUD: u32 = 115_200;
const COLD_BAUD: u32 = 9_600;
/// The input register of a sensor's temperature; the humidity is in the next.
const TEMPERATURE: u16 = 1;
/// How often a sensor is read, in the time of the play.
const READ_EVERY_MS: f64 = 120_000.0;

/// The lines. Dropped, they are gone.
pub(super) struct Wiring {
    boards: Wire,
    panel: Wire,
    hall: Wire,
    cold: Wire,
    doors: Compartments,
    locks: Vec<Board>,
    lines: BTreeMap<&'static str, Line>,
    sensors: BTreeMap<&'static str, ModbusSlave>,
    at_boards: Onlooker,
    at_cold: Onlooker,
    read_every_ms: u64,
}

impl Wiring {
    /// Lays them, with the stable names of the ports in `folder`. The play runs `speed` times as fast
    /// as the real time, and so often the sensors are read.
    pub(super) fn lay(folder: &Path, speed: f64) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).context("making a folder for the serial ports")?;
        let wire = |name: &str, baud: u32, slaves| {
            let wire = Wire::start(&folder.join(name), Settings::new(baud, SEED), slaves);
            wire.with_context(|| format!("laying the serial line {name}"))
        };
        let doors = Compartments::new(compartments(BOARDED));
        let locks: Vec<Board> = (0..compartments(BOARDED).div_ceil(LOCKS))
            .map(|board| {
                let address = u8::try_from(board).unwrap_or(u8::MAX);
                let mut spec = BoardSpec::new(Speech::KerongCu16, address);
                spec.occupied_is_one = Some(true);
                Board::new(spec, &doors, board * LOCKS + 1)
            })
            .collect();
        let sensors: BTreeMap<_, _> = (1..)
            .zip(COLD)
            .map(|(address, sensor)| (sensor, ModbusSlave::new(address, COLD_BAUD)))
            .collect();
        for slave in sensors.values() {
            // What it feels before anybody has looked.
            slave.set_input(TEMPERATURE, 40);
            slave.set_input(TEMPERATURE + 1, 550);
        }
        let outlets: BTreeMap<_, _> = HALL
            .into_iter()
            .chain([PANEL])
            .map(|device| (device, Outlet::default()))
            .collect();
        let (at_boards, at_cold) = (Onlooker::at_cu16(), Onlooker::at_modbus());
        let outlet = |device: &&str| outlets.get(device).map(slave);
        Ok(Self {
            boards: wire(
                "boards-a",
                BOARDS_BAUD,
                locks.iter().map(slave).chain([slave(&at_boards)]).collect(),
            )?,
            panel: wire(
                "panel-a",
                LINK_BAUD,
                [PANEL].iter().filter_map(outlet).collect(),
            )?,
            hall: wire(
                "hall-b",
                LINK_BAUD,
                HALL.iter().filter_map(outlet).collect(),
            )?,
            cold: wire(
                "cold-a",
                COLD_BAUD,
                sensors
                    .values()
                    .map(slave)
                    .chain([slave(&at_cold)])
                    .collect(),
            )?,
            lines: outlets
                .into_iter()
                .map(|(device, outlet)| (device, line(device, outlet)))
                .collect(),
            doors,
            locks,
            sensors,
            at_boards,
            at_cold,
            read_every_ms: (READ_EVERY_MS / speed).max(20.0) as u64,
        })
    }

    /// The ports, as a configuration says them.
    pub(super) fn ports(&self) -> String {
        let read_every_ms = self.read_every_ms;
        let port = |wire: &Wire, protocol: &str, more: &str| {
            let path = wire.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            format!(
                "[[port]]\nid = \"{name}\"\npath = {path:?}\nprotocol = \"{protocol}\"\n{more}\n"
            )
        };
        [
            port(&self.boards, "kerong-cu16", "poll_ms = 20\n"),
            port(&self.panel, "linli", ""),
            port(&self.hall, "linli", "multi_drop = true\n"),
            port(
                &self.cold,
                "modbus",
                &format!("poll_ms = {read_every_ms}\ntimeout_ms = 2000\n"),
            ),
        ]
        .concat()
    }

    /// What the configuration says beside a bank's or device's own settings: where it hangs.
    pub(super) fn hangs(&self, device: &str) -> String {
        if device == BOARDED {
            let count = compartments(BOARDED);
            let boards = (0..).zip((1..=count).step_by(usize::from(LOCKS)));
            let board = |(address, first): (u16, u16)| {
                let last = (first + LOCKS - 1).min(count);
                format!(
                    "[[bank.board]]\nport = \"boards-a\"\naddress = {address}\ncompartments = [{first}, {last}]\noccupied = \"one\"\n"
                )
            };
            return boards.map(board).collect();
        }
        if let Some(line) = self.lines.get(device) {
            let port = if device == PANEL { "panel-a" } else { "hall-b" };
            let address = line.address;
            return format!("serial = {{ port = \"{port}\", address = {address} }}\n");
        }
        let Some(address) = COLD.iter().position(|sensor| *sensor == device) else {
            return String::new();
        };
        let register = |name: &str, address: u16, kind: &str, unit: &str| {
            format!(
                "    {{ name = \"{name}\", function = \"input\", address = {address}, type = \"{kind}\", scale = 0.1, unit = \"{unit}\" }},\n"
            )
        };
        format!(
            "serial = {{ port = \"cold-a\", address = {}, registers = [\n{}{}] }}\n",
            address + 1,
            register("temperature", TEMPERATURE, "i16", "Cel"),
            register("humidity", TEMPERATURE + 1, "u16", "%RH"),
        )
    }

    /// The front of the bank with the boards, as a configuration says it.
    pub(super) fn panel(&self) -> String {
        let hangs = self.hangs(PANEL);
        format!("[[device]]\nid = \"{PANEL}\"\nbuilding = \"b1\"\npoint = \"{BOARDED}\"\n{hangs}\n")
    }

    /// The line on which a device speaks the Linli link.
    pub(super) fn line(&self, device: &str) -> Option<&Line> {
        self.lines.get(device)
    }

    /// Whether it is a sensor that the gateway reads.
    pub(super) fn reads(&self, device: &str) -> bool {
        self.sensors.contains_key(device)
    }

    /// Whether a device numbers and keeps its own events: one on MQTT or the Linli link.
    pub(super) fn numbers(&self, device: &str) -> bool {
        device != BOARDED && !self.reads(device)
    }

    /// What the boards move.
    pub(super) fn doors(&self) -> &Compartments {
        &self.doors
    }

    /// The sensors that the gateway reads.
    pub(super) fn probes(&self) -> anyhow::Result<BTreeMap<Ident, Arc<dyn Probe>>> {
        let probes = self.sensors.iter().map(|(sensor, slave)| {
            let slave = slave.clone();
            let first = TEMPERATURE;
            Ok((
                plan::id(sensor)?,
                Arc::new(ClimateSlave { slave, first }) as _,
            ))
        });
        probes.collect()
    }

    /// Fault: a bad contact on the line of bank-b, for a while: frames get lost and garbled.
    pub(super) fn disturb_hall(&self, disturbed: bool) {
        let often = if disturbed { 2 } else { 0 };
        self.hall.set_faults(Faults {
            loss_per_mille: often,
            flip_per_mille: often,
            stray_per_mille: 50 * often,
            ..Faults::default()
        });
    }

    /// Fault: the adapter of the boards is pulled out.
    pub(super) fn unplug_boards(&self) {
        self.boards.unplug();
    }

    /// It is in again, and has another device file.
    pub(super) fn plug_in_boards(&self) -> io::Result<()> {
        self.boards.plug_in()
    }

    /// What boards and sensors showed on their wires, beside what the gateway has of it.
    pub(super) fn shown(&self, books: &Books) -> anyhow::Result<Vec<Shown>> {
        let pulses: usize = self.locks.iter().map(|board| board.pulses().len()).sum();
        let mut all = vec![shown::openings(BOARDED, pulses, books)?];
        let at_boards = self.at_boards.shown();
        for number in 1..=compartments(BOARDED) {
            let board = u8::try_from((number - 1) / LOCKS).unwrap_or(u8::MAX);
            let wire = at_boards.get(&(board, (number - 1) % LOCKS + 1));
            let wire = wire.map_or(&[][..], Vec::as_slice);
            all.push(shown::doors(BOARDED, number, wire, books)?);
        }
        let at_cold = self.at_cold.shown();
        for (address, sensor) in (1..).zip(COLD) {
            for (register, name) in (TEMPERATURE..).zip(["temperature", "humidity"]) {
                let wire = at_cold.get(&(address, register));
                let wire = wire.map_or(&[][..], Vec::as_slice);
                all.push(shown::values(sensor, name, wire, books)?);
            }
        }
        Ok(all)
    }
}

/// A device's end of its line.
fn line(device: &str, outlet: Outlet) -> Line {
    let mut line = Line::new(Port::Outlet(outlet));
    line.baud = LINK_BAUD;
    if let Some(place) = HALL.iter().position(|other| *other == device) {
        line.address = u8::try_from(place + 1).unwrap_or(u8::MAX);
        line.multi_drop = true;
    }
    line
}

fn slave(slave: &(impl Slave + Clone + 'static)) -> Box<dyn Slave> {
    Box::new(slave.clone())
}
