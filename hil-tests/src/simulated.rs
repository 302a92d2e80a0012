//! A bench's devices, simulated: for each port a wire, and on it what the bench says hangs there.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use firmware_protocols::Ident;
use linli::config::serial::{Level, Protocol, RegisterFunction};
use simulator::compartments::Compartments;
use simulator::serial::board::Speech;
use simulator::serial::{
    Board, BoardSpec, LineDevice, ModbusSlave, Pulse, Quirk, Relays, Settings, Slave, Wire,
};

use crate::bench::{BankOnBench, Bench};

/// The devices.
pub struct Simulated {
    /// By port.
    pub wires: BTreeMap<String, Wire>,
    /// By bank.
    pub banks: BTreeMap<Ident, Bank>,
    /// By device: Modbus slaves with registers.
    pub sensors: BTreeMap<Ident, ModbusSlave>,
    /// By device: scanners and keypads.
    pub lines: BTreeMap<Ident, LineDevice>,
}

/// A bank's mechanics and what moves them.
pub struct Bank {
    /// What really is the case.
    pub compartments: Compartments,
    /// Its locker boards, in the order of the configuration.
    pub boards: Vec<Board>,
    /// Its relay boards, with the compartment of each relay.
    pub relays: Vec<(ModbusSlave, BTreeMap<u16, u16>)>,
}

impl Bank {
    /// Every pulse: the compartment, and when.
    pub fn pulses(&self) -> Vec<(Option<u16>, Pulse)> {
        let boards = self.boards.iter().flat_map(|board| {
            let wiring = board.wiring();
            let pulses = board.pulses().into_iter();
            pulses
                .map(|pulse| (wiring.get(&pulse.channel).copied(), pulse))
                .collect::<Vec<_>>()
        });
        let relays = self.relays.iter().flat_map(|(slave, wiring)| {
            let pulses = slave.pulses().into_iter();
            pulses.map(|pulse| (wiring.get(&pulse.channel).copied(), pulse))
        });
        let mut all: Vec<_> = boards.chain(relays).collect();
        all.sort_by_key(|(_, pulse)| pulse.at);
        all
    }

    /// How many pulses went to a compartment's lock.
    pub fn pulses_of(&self, compartment: u16) -> usize {
        let all = self.pulses().into_iter();
        all.filter(|(of, _)| *of == Some(compartment)).count()
    }

    /// What came that no gateway may send.
    pub fn forbidden(&self) -> Vec<String> {
        let mut all: Vec<String> = self.boards.iter().flat_map(Board::forbidden).collect();
        let held: u64 = self.relays.iter().map(|(slave, _)| slave.held()).sum();
        if held > 0 {
            all.push(format!("{held} times a relay was switched on to stay on"));
        }
        all
    }

    /// Something is wrong with all its locker boards from now on, or not any more.
    pub fn set(&self, quirk: Quirk, there: bool) {
        for board in &self.boards {
            board.set(quirk, there);
        }
    }
}

impl Simulated {
    /// Devices for the bench; their ports' links are made in `folder`.
    ///
    /// # Errors
    /// When the system has no pseudo-terminals, or the bench has what can't be simulated.
    pub fn start(bench: &Bench, folder: &Path, seed: u64) -> anyhow::Result<Self> {
        let mut all = Self {
            wires: BTreeMap::new(),
            banks: BTreeMap::new(),
            sensors: BTreeMap::new(),
            lines: BTreeMap::new(),
        };
        for (index, port) in bench.config.ports.iter().enumerate() {
            let mut slaves: Vec<Box<dyn Slave>> = Vec::new();
            for bank in bench.banks().iter().filter(|bank| bank.port.id == port.id) {
                all.add_bank(bank, &mut slaves)?;
            }
            for (id, on, _) in bench
                .config
                .on_ports()
                .filter(|(_, on, _)| on.port == port.id)
            {
                match port.protocol {
                    Protocol::Modbus => {
                        let slave = ModbusSlave::new(on.address.unwrap_or(1), port.baud());
                        all.sensors.insert(id.clone(), slave.clone());
                        slaves.push(Box::new(slave));
                    }
                    Protocol::Lines => {
                        let prefix = on.prefix.as_deref().unwrap_or("");
                        let end = on.terminator.as_deref().unwrap_or("\r\n");
                        let device = LineDevice::new(prefix, end);
                        all.lines.insert(id.clone(), device.clone());
                        slaves.push(Box::new(device));
                    }
                    other => anyhow::bail!(
                        "port '{}' speaks {}, which isn't simulated here: leave it out of the bench",
                        port.id,
                        other.word()
                    ),
                }
            }
            let link = folder.join(port.id.as_str());
            let line = Settings::new(port.baud(), seed.wrapping_add(index as u64));
            let wire = Wire::start(&link, line, slaves)
                .with_context(|| format!("a pseudo-terminal for port '{}'", port.id))?;
            all.wires.insert(port.id.to_string(), wire);
        }
        for (id, slave) in &all.sensors {
            set_registers(bench, id, slave, 0);
        }
        Ok(all)
    }

    fn add_bank(
        &mut self,
        bank: &BankOnBench,
        slaves: &mut Vec<Box<dyn Slave>>,
    ) -> anyhow::Result<()> {
        let compartments = Compartments::new(bank.count);
        let mut simulated = Bank {
            compartments: compartments.clone(),
            boards: Vec::new(),
            relays: Vec::new(),
        };
        for section in &bank.boards {
            let mapping = section.mapping().into_iter();
            let wiring: BTreeMap<u16, u16> = mapping.map(|(c, channel)| (channel, c)).collect();
            let closed_is_one = section.closed == Level::One;
            let speech = match bank.port.protocol {
                Protocol::KerongCu16 => Speech::KerongCu16,
                Protocol::KerongCu48 => Speech::KerongCu48,
                Protocol::EightA => Speech::EightA,
                Protocol::Wkly => Speech::Wkly,
                _ => {
                    let relay = section.relay.as_ref().context("a relay board")?;
                    let relays = Relays {
                        flash: relay.flash_address,
                        contact: relay.contact_address,
                        closed_is_one,
                        count: wiring.keys().copied().max().unwrap_or(0),
                        compartments: compartments.clone(),
                        wiring: wiring.clone(),
                    };
                    let baud = bank.port.baud();
                    let slave = ModbusSlave::with_relays(section.address, baud, Some(relays));
                    slaves.push(Box::new(slave.clone()));
                    simulated.relays.push((slave, wiring));
                    continue;
                }
            };
            let spec = BoardSpec {
                closed_is_one,
                occupied_is_one: section.occupied.map(|level| level == Level::One),
                ..BoardSpec::new(speech, section.address)
            };
            let board = Board::wired(spec, &compartments, wiring);
            slaves.push(Box::new(board.clone()));
            simulated.boards.push(board);
        }
        self.banks.insert(bank.id.clone(), simulated);
        Ok(())
    }
}

/// A register as the suite expects it back.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// A number, after its scale.
    Number(f64),
    /// A bit.
    Bit(bool),
}

/// Gives each of a sensor's registers a value of its own, another for each `round`. Returns what is
/// expected to be read, by name.
pub fn set_registers(
    bench: &Bench,
    device: &Ident,
    slave: &ModbusSlave,
    round: u16,
) -> BTreeMap<String, Expected> {
    let mut devices = bench.config.on_ports();
    let registers = devices
        .find(|(id, _, _)| *id == device)
        .map(|(_, on, _)| on.registers.clone());
    let mut expected = BTreeMap::new();
    for (index, register) in registers.unwrap_or_default().iter().enumerate() {
        use RegisterFunction::{Coil, Discrete, Holding};
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        let bit = (index + round).is_multiple_of(2);
        let value = match register.function {
            Coil | Discrete => {
                match register.function {
                    Coil => slave.set_coil(register.address, bit),
                    _ => slave.set_discrete(register.address, bit),
                }
                // A door's contact is read as whether the door is open.
                Expected::Bit(register.door_closed.map_or(bit, |closed| bit != closed))
            }
            function => {
                let (words, raw) = words_of(register.kind, index, round);
                let high_first = register.words == linli::config::serial::WordOrder::Big;
                let ordered: Vec<u16> = match high_first {
                    true => words,
                    false => words.into_iter().rev().collect(),
                };
                for (address, word) in (register.address..).zip(ordered) {
                    match function {
                        Holding => slave.set_holding(address, word),
                        _ => slave.set_input(address, word),
                    }
                }
                Expected::Number(raw * register.scale)
            }
        };
        expected.insert(register.name.clone(), value);
    }
    expected
}

/// A value of each type, as words with the highest first, and as a number.
fn words_of(
    kind: Option<linli::config::serial::RegisterKind>,
    index: u16,
    round: u16,
) -> (Vec<u16>, f64) {
    use linli::config::serial::RegisterKind::{Bool, F32, I16, I32, U16, U32};
    let base = 210 + index * 10 + round;
    match kind.unwrap_or(U16) {
        U16 | Bool => (vec![base], f64::from(base)),
        I16 => {
            let negative = -i32::from(base);
            let word = u16::try_from(negative & 0xFFFF).unwrap_or(0);
            (vec![word], f64::from(negative))
        }
        U32 => (vec![3, base], f64::from(3 * 65_536 + u32::from(base))),
        I32 => (vec![0xFFFF, base], f64::from(i32::from(base) - 65_536)),
        F32 => {
            // 2.5 and so on: exact in binary.
            let value = f32::from(base) / 4.0;
            let [a, b, c, d] = value.to_be_bytes();
            let words = vec![u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
            (words, f64::from(value))
        }
    }
}
