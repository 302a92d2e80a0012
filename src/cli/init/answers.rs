//! What is answered at the first set-up. Each part is checked against what was answered before, as soon
//! as it comes; what is refused is told with what is allowed.

use std::net::SocketAddr;
use std::path::PathBuf;

use cloud_protocol::downlink::{Size, Zone};
use firmware_protocols::Ident;

use crate::cli::words::init as say;
use crate::config::serial::{LineMeaning, Protocol};
use crate::control::secret::Token;

/// The most compartments of a bank, as in the configuration.
pub const COMPARTMENTS_MOST: u32 = 512;

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// The site's id.
    pub site: Ident,
    /// The folder that everything is kept in.
    pub state_dir: PathBuf,
    /// The daemon's socket, if it isn't in that folder.
    pub socket: Option<PathBuf>,
    /// What the first line says about the schema.
    pub schema: String,
    /// Buildings.
    pub buildings: Vec<Ident>,
    /// Locker banks.
    pub banks: Vec<Bank>,
    /// Desks.
    pub desks: Vec<Desk>,
    /// Other devices.
    pub devices: Vec<Device>,
    /// Where devices connect.
    pub listen: SocketAddr,
    /// Whether there is a listener for MQTT over TLS.
    pub mqtts: bool,
    /// The cloud.
    pub cloud: Option<Cloud>,
    /// Serial ports.
    pub ports: Vec<Port>,
    /// Locker boards.
    pub boards: Vec<Board>,
    /// What else hangs on ports.
    pub on_ports: Vec<OnPort>,
}

/// A locker bank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bank {
    /// Its id.
    pub id: Ident,
    /// Its building.
    pub building: Ident,
    /// Where it stands.
    pub address: String,
    /// Its compartments.
    pub runs: Runs,
}

/// Compartments in their order: 1 to 512.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runs(pub Vec<Run>);

/// Equal compartments beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// How many, at least 1.
    pub count: u16,
    /// How large.
    pub size: Size,
    /// How cold.
    pub zone: Zone,
    /// Within reach from a wheelchair.
    pub low: bool,
}

/// A desk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desk {
    /// Its id.
    pub id: Ident,
    /// Its building.
    pub building: Ident,
    /// Where it is.
    pub address: String,
}

/// Another device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its id.
    pub id: Ident,
    /// Its building.
    pub building: Ident,
    /// The bank or desk that it belongs to.
    pub point: Option<Ident>,
}

/// The cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cloud {
    /// Its URL.
    pub url: String,
    /// The one-time token, and the file that it is put into, as the configuration names it.
    pub token: Option<(Token, String)>,
}

/// A serial port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its id.
    pub id: Ident,
    /// Its device file.
    pub path: PathBuf,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Bits a second, if not as such devices leave the factory.
    pub baud: Option<u32>,
}

/// A locker board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    /// The bank.
    pub bank: Ident,
    /// The port.
    pub port: Ident,
    /// Its address there.
    pub address: u8,
    /// The first and the last compartment that it opens.
    pub compartments: [u16; 2],
}

/// A controller, a reader, a scanner or a keypad on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnPort {
    /// The bank, desk or other device.
    pub device: Ident,
    /// The port.
    pub port: Ident,
    /// Its address there.
    pub address: Option<u8>,
    /// What lines mean, or the door that a reader reads for.
    pub what: Option<String>,
}

/// Why something isn't taken, in words.
pub type Refused = String;

impl Runs {
    /// How many compartments.
    pub fn count(&self) -> u16 {
        self.0.iter().fold(0, |n, run| n.saturating_add(run.count))
    }
}

impl Answers {
    /// Takes a building.
    pub fn add_building(&mut self, id: Ident) -> Result<(), Refused> {
        if self.buildings.contains(&id) {
            return Err(say::twice("building", &id));
        }
        self.buildings.push(id);
        Ok(())
    }

    /// Takes a bank.
    pub fn add_bank(&mut self, bank: Bank) -> Result<(), Refused> {
        self.is_free(&bank.id)?;
        self.is_building(&bank.building)?;
        self.banks.push(bank);
        Ok(())
    }

    /// Takes a desk.
    pub fn add_desk(&mut self, desk: Desk) -> Result<(), Refused> {
        self.is_free(&desk.id)?;
        self.is_building(&desk.building)?;
        self.desks.push(desk);
        Ok(())
    }

    /// Takes another device.
    pub fn add_device(&mut self, device: Device) -> Result<(), Refused> {
        self.is_free(&device.id)?;
        self.is_building(&device.building)?;
        if let Some(point) = &device.point {
            self.is_point(point)?;
        }
        self.devices.push(device);
        Ok(())
    }

    /// Takes a port.
    pub fn add_port(&mut self, port: Port) -> Result<(), Refused> {
        if self.ports.iter().any(|known| known.id == port.id) {
            return Err(say::twice("port", &port.id));
        }
        if self.ports.iter().any(|known| known.path == port.path) {
            return Err(say::path_twice(&port.path));
        }
        self.ports.push(port);
        Ok(())
    }

    /// Takes a board.
    pub fn add_board(&mut self, board: Board) -> Result<(), Refused> {
        let port = self.port(&board.port)?;
        let Some(most) = channels(port.protocol) else {
            return Err(say::no_boards(&port.id, port.protocol));
        };
        in_range(port.protocol, Some(board.address))?;
        let bank = self.bank(&board.bank)?;
        let [first, last] = board.compartments;
        if first < 1 || last < first || last > bank.runs.count() {
            return Err(say::not_its_compartments(&bank.id, bank.runs.count()));
        }
        if last - first >= most {
            return Err(say::too_many_for_a_board(port.protocol, most));
        }
        let of_bank = |other: &&Board| other.bank == board.bank;
        if self.on_ports.iter().any(|on| on.device == board.bank) {
            return Err(say::hangs_already(&board.bank));
        }
        for other in self.boards.iter().filter(of_bank) {
            if other.port != board.port {
                return Err(say::on_another_port(&board.bank, &other.port));
            }
            if other.compartments[0] <= last && first <= other.compartments[1] {
                return Err(say::opened_twice(&board.bank, other.address));
            }
        }
        self.is_unused(&board.port, Some(board.address))?;
        self.boards.push(board);
        Ok(())
    }

    /// Takes what hangs on a port.
    pub fn add_on_port(&mut self, on: OnPort) -> Result<(), Refused> {
        let port = self.port(&on.port)?;
        let is_point = self.points().any(|id| *id == on.device);
        let device = self.devices.iter().find(|device| device.id == on.device);
        if !is_point && device.is_none() {
            return Err(say::unknown_device(&on.device));
        }
        let on_boards = self.boards.iter().any(|board| board.bank == on.device);
        if on_boards || self.on_ports.iter().any(|known| known.device == on.device) {
            return Err(say::hangs_already(&on.device));
        }
        let at_point = is_point || device.is_some_and(|device| device.point.is_some());
        match port.protocol {
            Protocol::Linli if on.what.is_some() => return Err(say::WHAT_FOR.to_string()),
            Protocol::Linli => {}
            Protocol::Lines if on.meaning().is_none() => return Err(say::MEANING.to_string()),
            Protocol::Lines if !at_point => return Err(say::needs_point(&on.device)),
            Protocol::Lines => {}
            Protocol::Osdp if on.what.is_none() && !at_point => {
                return Err(say::needs_door(&on.device));
            }
            Protocol::Osdp => {
                if let Some(door) = &on.what {
                    Ident::new(door.as_str()).map_err(|e| e.to_string())?;
                }
            }
            other => return Err(say::by_hand(&port.id, other)),
        }
        in_range(port.protocol, on.address)?;
        self.is_unused(&on.port, on.address)?;
        self.on_ports.push(on);
        Ok(())
    }

    /// The banks and the desks.
    pub fn points(&self) -> impl Iterator<Item = &Ident> {
        let banks = self.banks.iter().map(|bank| &bank.id);
        banks.chain(self.desks.iter().map(|desk| &desk.id))
    }

    /// The building of a bank or desk.
    pub fn building_of(&self, point: &Ident) -> Option<&Ident> {
        let banks = self.banks.iter().map(|bank| (&bank.id, &bank.building));
        let desks = self.desks.iter().map(|desk| (&desk.id, &desk.building));
        let mut all = banks.chain(desks);
        all.find(|(id, _)| *id == point)
            .map(|(_, building)| building)
    }

    /// Every device that logs in over MQTT: all that hang on no port.
    pub fn over_mqtt(&self) -> Vec<&Ident> {
        let devices = self.devices.iter().map(|device| &device.id);
        let all = self.points().chain(devices);
        all.filter(|id| {
            !self.boards.iter().any(|board| board.bank == **id)
                && !self.on_ports.iter().any(|on| on.device == **id)
        })
        .collect()
    }

    /// A bank.
    pub fn bank(&self, id: &Ident) -> Result<&Bank, Refused> {
        let found = self.banks.iter().find(|bank| bank.id == *id);
        let known = || self.banks.iter().map(|bank| &bank.id);
        found.ok_or_else(|| say::unknown("bank", id, known()))
    }

    /// A port.
    pub fn port(&self, id: &Ident) -> Result<&Port, Refused> {
        let found = self.ports.iter().find(|port| port.id == *id);
        let known = || self.ports.iter().map(|port| &port.id);
        found.ok_or_else(|| say::unknown("port", id, known()))
    }

    /// Whether a building is there.
    pub fn is_building(&self, id: &Ident) -> Result<(), Refused> {
        match self.buildings.contains(id) {
            true => Ok(()),
            false => Err(say::unknown("building", id, self.buildings.iter())),
        }
    }

    /// Whether a bank or desk is there.
    pub fn is_point(&self, id: &Ident) -> Result<(), Refused> {
        match self.points().any(|point| point == id) {
            true => Ok(()),
            false => Err(say::unknown("bank or desk", id, self.points())),
        }
    }

    /// Whether no bank, desk or other device has this id.
    pub fn is_free(&self, id: &Ident) -> Result<(), Refused> {
        let taken = self.points().any(|point| point == id)
            || self.devices.iter().any(|device| device.id == *id);
        match taken {
            true => Err(say::id_twice(id)),
            false => Ok(()),
        }
    }

    fn is_unused(&self, port: &Ident, address: Option<u8>) -> Result<(), Refused> {
        let boards = self.boards.iter().map(|b| (&b.port, Some(b.address)));
        let others = self.on_ports.iter().map(|on| (&on.port, on.address));
        match boards.chain(others).any(|used| used == (port, address)) {
            true => Err(say::address_twice(port, address)),
            false => Ok(()),
        }
    }
}

impl OnPort {
    /// What its lines mean.
    pub fn meaning(&self) -> Option<LineMeaning> {
        match self.what.as_deref() {
            Some("scan") => Some(LineMeaning::Scan),
            Some("keypad") => Some(LineMeaning::Keypad),
            _ => None,
        }
    }
}

/// How many locks a board has; `None` for what isn't a board, or needs more words than are asked for.
pub const fn channels(protocol: Protocol) -> Option<u16> {
    match protocol {
        Protocol::KerongCu16 => Some(16),
        Protocol::KerongCu48 => Some(48),
        Protocol::EightA => Some(24),
        Protocol::Wkly => Some(255),
        Protocol::Linli | Protocol::Modbus | Protocol::Osdp | Protocol::Lines => None,
    }
}

fn in_range(protocol: Protocol, address: Option<u8>) -> Result<(), Refused> {
    match (protocol.addresses(), address) {
        (Some((least, most)), Some(address)) if (least..=most).contains(&address) => Ok(()),
        (Some((least, most)), _) => Err(say::address_wanted(protocol, least, most)),
        (None, Some(_)) => Err(say::no_address(protocol)),
        (None, None) => Ok(()),
    }
}
