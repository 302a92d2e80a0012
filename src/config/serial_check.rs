//! What must be right about ports and what hangs on them, each error with its remedy.

use std::collections::{BTreeMap, BTreeSet};

use firmware_protocols::Ident;

use super::fault::Faults;
use super::serial::{BoardSection, OnPort, PortSection, Protocol};
use super::{BankSection, Config, register_check};

/// What almost everything here rests on.
const PROTOCOL: &str = "port[].protocol";
const PORT_ID: &str = "port[].id";

/// A device on a port of its own: where its `serial` stands, whose it is.
struct Hanging<'a> {
    at: String,
    id: &'a Ident,
    on: &'a OnPort,
    at_point: bool,
}

/// Adds every error.
pub(super) fn check(config: &Config, errors: &mut Faults) {
    check_ports(&config.ports, errors);
    let hanging = hanging(config);
    check_shared(config, &hanging, errors);
    let mut ports: BTreeMap<&Ident, &PortSection> = BTreeMap::new();
    for port in &config.ports {
        // Of two with one name the first: that there are two is told.
        ports.entry(&port.id).or_insert(port);
    }
    let mut addresses = BTreeSet::new();
    for (i, bank) in config.banks.iter().enumerate() {
        check_bank(&format!("bank[{i}]"), bank, &ports, errors);
        for (j, board) in bank.boards.iter().enumerate() {
            let at = format!("bank[{i}].board[{j}]");
            once(
                &mut addresses,
                &board.port,
                Some(board.address),
                &at,
                errors,
            );
        }
    }
    for device in &hanging {
        let Some(port) = ports.get(&device.on.port) else {
            unknown_port(&device.at, &device.on.port, &ports, errors);
            continue;
        };
        check_device(device, port, errors);
        if port.protocol == Protocol::Osdp {
            check_reader(device, errors);
        }
        let on = device.on;
        once(&mut addresses, &on.port, on.address, &device.at, errors);
    }
}

fn hanging(config: &Config) -> Vec<Hanging<'_>> {
    let banks = config.banks.iter().enumerate();
    let banks = banks.map(|(i, b)| (format!("bank[{i}].serial"), &b.id, &b.serial, true));
    let desks = config.desks.iter().enumerate();
    let desks = desks.map(|(i, d)| (format!("desk[{i}].serial"), &d.id, &d.serial, true));
    let devices = config.devices.iter().enumerate();
    let devices = devices.map(|(i, d)| {
        let at = format!("device[{i}].serial");
        (at, &d.id, &d.serial, d.point.is_some())
    });
    let all = banks.chain(desks).chain(devices);
    let hanging = all.filter_map(|(at, id, on, at_point)| {
        Some(Hanging {
            at,
            id,
            on: on.as_ref()?,
            at_point,
        })
    });
    hanging.collect()
}

fn check_ports(ports: &[PortSection], errors: &mut Faults) {
    let (mut ids, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for (i, port) in ports.iter().enumerate() {
        let id = &port.id;
        if !ids.insert(id) {
            errors.at(
                format!("port[{i}].id"),
                format!("port '{id}' stands twice: give each an id of its own"),
            );
        }
        if !paths.insert(&port.path) {
            errors.at(
                format!("port[{i}].path"),
                format!(
                    "is {}, which another port has too: a port speaks one protocol, so remove one of them",
                    port.path.display()
                ),
            );
        }
        if port.multi_drop && port.protocol != Protocol::Linli {
            errors
                .at(
                    format!("port[{i}].multi_drop"),
                    "is known by the protocol 'linli' only: remove it",
                )
                .rests_on(PROTOCOL);
        }
    }
}

/// Some ports are for one device.
fn check_shared(config: &Config, hanging: &[Hanging<'_>], errors: &mut Faults) {
    for (i, port) in config.ports.iter().enumerate() {
        let here = hanging.iter().filter(|device| device.on.port == port.id);
        if let Some(crowded) = port.crowded(here.count()) {
            errors
                .at(format!("port[{i}]"), crowded)
                .rests_on("bank[].serial.port")
                .rests_on("desk[].serial.port")
                .rests_on("device[].serial.port");
        }
    }
}

fn unknown_port(
    at: &str,
    port: &Ident,
    ports: &BTreeMap<&Ident, &PortSection>,
    errors: &mut Faults,
) {
    let there: Vec<&str> = ports.keys().map(|id| id.as_str()).collect();
    let there = match there.len() {
        1..=8 => format!(" (there: {})", there.join(", ")),
        _ => String::new(),
    };
    errors
        .at(
            format!("{at}.port"),
            format!(
                "is '{port}', which isn't there: add [[port]] id = \"{port}\", or correct it{there}"
            ),
        )
        .rests_on(PORT_ID);
}

fn check_bank(
    at: &str,
    bank: &BankSection,
    ports: &BTreeMap<&Ident, &PortSection>,
    errors: &mut Faults,
) {
    if bank.boards.is_empty() {
        return;
    }
    if bank.serial.is_some() {
        errors
            .at(
                format!("{at}.serial"),
                "stands beside boards: boards are for locker boards without a controller, 'serial' for a controller; remove one",
            )
            .rests_on(format!("{at}.board"));
    }
    let on = bank
        .boards
        .iter()
        .filter_map(|board| ports.get(&board.port));
    let on = on.filter(|port| port.protocol.has_boards());
    let on: BTreeSet<&Ident> = on.map(|port| &port.id).collect();
    if on.len() > 1 {
        errors.at(
            format!("{at}.board"),
            "are on several ports: hang them on one, or make it two banks",
        );
    }
    for (i, board) in bank.boards.iter().enumerate() {
        let at = format!("{at}.board[{i}]");
        match ports.get(&board.port) {
            Some(port) => check_board(&at, bank, board, port, errors),
            None => unknown_port(&at, &board.port, ports, errors),
        }
    }
    check_covered(at, bank, errors);
}

/// Each compartment is on one board.
fn check_covered(at: &str, bank: &BankSection, errors: &mut Faults) {
    let mut covered = BTreeSet::new();
    let mut all_known = true;
    for (i, board) in bank.boards.iter().enumerate() {
        let [first, last] = board.compartments;
        // What lies outside the bank is told elsewhere.
        all_known &= board.within(bank.count());
        let here = (first..=last).filter(|compartment| *compartment <= bank.count());
        let twice = here.filter(|compartment| !covered.insert(*compartment));
        let twice: Vec<String> = twice.map(|compartment| compartment.to_string()).collect();
        if !twice.is_empty() {
            errors.at(
                format!("{at}.board[{i}].compartments"),
                format!(
                    "compartment {} is on two boards: correct 'compartments' of one",
                    some_of(&twice)
                ),
            );
        }
    }
    let missing = (1..=bank.count()).filter(|compartment| !covered.contains(compartment));
    let missing: Vec<String> = missing.map(|compartment| compartment.to_string()).collect();
    if all_known && !missing.is_empty() {
        errors
            .at(
                format!("{at}.board"),
                format!(
                    "none opens compartment {}: add a [[bank.board]], or extend 'compartments' of one",
                    some_of(&missing)
                ),
            )
            .rests_on(format!("{at}.compartments"));
    }
}

/// The first of them, and how many more there are.
fn some_of(all: &[String]) -> String {
    match all {
        [.., _] if all.len() > 16 => {
            format!("{} and {} more", all[..16].join(", "), all.len() - 16)
        }
        all => all.join(", "),
    }
}

fn check_board(
    at: &str,
    bank: &BankSection,
    board: &BoardSection,
    port: &PortSection,
    errors: &mut Faults,
) {
    let (protocol, word) = (port.protocol, port.protocol.word());
    if !protocol.has_boards() {
        errors
            .at(
                format!("{at}.port"),
                format!(
                    "is '{}', which speaks {word}: name one that speaks kerong-cu16, kerong-cu48, 8a, wkly or modbus",
                    port.id
                ),
            )
            .rests_on(PROTOCOL);
        return;
    }
    if let Some((least, most)) = protocol.addresses()
        && !(least..=most).contains(&board.address)
    {
        errors
            .at(
                format!("{at}.address"),
                format!(
                    "is {}; {least} to {most} is allowed for {word} boards",
                    board.address
                ),
            )
            .rests_on(PROTOCOL);
    }
    check_channels(at, bank, board, protocol, errors);
    register_check::check_relay(at, board, errors);
    if protocol == Protocol::Modbus && board.relay.is_none() {
        errors
            .at(
                format!("{at}.relay"),
                "is missing on Modbus: add relay = { flash_address = … }, the coil that starts a board-timed pulse",
            )
            .rests_on(PROTOCOL);
    }
    if protocol != Protocol::Modbus && board.relay.is_some() {
        errors
            .at(format!("{at}.relay"), "is for Modbus: remove it")
            .rests_on(PROTOCOL);
    }
    if board.occupied.is_some() && protocol != Protocol::KerongCu16 {
        errors
            .at(
                format!("{at}.occupied"),
                format!("is set, but {word} boards have no such sensor: remove it"),
            )
            .rests_on(PROTOCOL);
    }
}

fn check_channels(
    at: &str,
    bank: &BankSection,
    board: &BoardSection,
    protocol: Protocol,
    errors: &mut Faults,
) {
    let [first, last] = board.compartments;
    if !board.within(bank.count()) {
        errors
            .at(
                format!("{at}.compartments"),
                format!(
                    "is [{first}, {last}]: write the first and the last, from 1 to {}",
                    bank.count()
                ),
            )
            .rests_on(format!(
                "{}.compartments",
                at.split('.').next().unwrap_or(at)
            ));
        return;
    }
    let count = usize::from(last - first) + 1;
    let mapping = board.mapping();
    let distinct: BTreeSet<u16> = mapping.iter().map(|(_, channel)| *channel).collect();
    let given = board.channels.as_ref().map_or(count, Vec::len);
    if given != count || distinct.len() != count {
        errors
            .at(
                format!("{at}.channels"),
                format!(
                    "are {given}, and its compartments {count}: list one channel for each, none twice"
                ),
            )
            .rests_on(format!("{at}.compartments"));
    }
    let most = match protocol {
        Protocol::KerongCu16 => 16,
        Protocol::KerongCu48 => 48,
        Protocol::EightA => 24,
        Protocol::Modbus => 64,
        _ => 255,
    };
    if let Some(channel) = distinct.iter().find(|n| !(1..=most).contains(*n)) {
        errors
            .at(
                format!("{at}.channels"),
                format!(
                    "has channel {channel}; 1 to {most} is allowed for {} boards",
                    protocol.word()
                ),
            )
            .rests_on(format!("{at}.compartments"))
            .rests_on(PROTOCOL);
    }
}

fn check_device(device: &Hanging<'_>, port: &PortSection, errors: &mut Faults) {
    let Hanging { at, id, on, .. } = device;
    let (protocol, word) = (port.protocol, port.protocol.word());
    // Boards are a bank's.
    if protocol.has_boards() && protocol != Protocol::Modbus {
        errors
            .at(
                format!("{at}.port"),
                format!(
                    "is '{}', which speaks {word}: only boards of a bank can hang there; write them as [[bank.board]], or name another port",
                    port.id
                ),
            )
            .rests_on(PROTOCOL);
        return;
    }
    check_address(at, on, protocol, errors);
    let mut only = |set: bool, key: &str, of: Protocol| {
        if set && protocol != of {
            errors
                .at(
                    format!("{at}.{key}"),
                    format!("is for ports that speak {}: remove it", of.word()),
                )
                .rests_on(PROTOCOL);
        }
    };
    only(on.key_file.is_some(), "key_file", Protocol::Osdp);
    only(on.insecure, "insecure", Protocol::Osdp);
    only(on.door.is_some(), "door", Protocol::Osdp);
    only(!on.registers.is_empty(), "registers", Protocol::Modbus);
    only(on.says.is_some(), "says", Protocol::Lines);
    only(on.terminator.is_some(), "terminator", Protocol::Lines);
    only(on.prefix.is_some(), "prefix", Protocol::Lines);
    if protocol == Protocol::Lines && on.says.is_none() {
        errors
            .at(
                format!("{at}.says"),
                format!("is missing for '{id}': add says = \"scan\" or \"keypad\""),
            )
            .rests_on(PROTOCOL);
    }
    if protocol == Protocol::Modbus && on.registers.is_empty() {
        errors
            .at(
                format!("{at}.registers"),
                "is missing: add what is to be read, each { name, function, address, … }",
            )
            .rests_on(PROTOCOL);
    }
    register_check::check(&format!("{at}.registers"), &on.registers, errors);
}

fn check_address(at: &str, on: &OnPort, protocol: Protocol, errors: &mut Faults) {
    let word = protocol.word();
    let what = match (protocol.addresses(), on.address) {
        (Some((least, most)), Some(address)) if !(least..=most).contains(&address) => {
            format!("is {address}; {least} to {most} is allowed on a port that speaks {word}")
        }
        (Some((least, most)), None) => {
            format!("is missing: set it, {least} to {most}, on a port that speaks {word}")
        }
        (None, Some(_)) => format!("is set, but what speaks {word} has none: remove it"),
        _ => return,
    };
    errors.at(format!("{at}.address"), what).rests_on(PROTOCOL);
}

fn check_reader(device: &Hanging<'_>, errors: &mut Faults) {
    let Hanging {
        at,
        id,
        on,
        at_point,
    } = device;
    match (&on.key_file, on.insecure) {
        (None, false) => {
            errors
                .at(
                    format!("{at}.key_file"),
                    format!(
                        "is missing: set it to where the secure channel key is, or is to be put by 'linli serial commission {id}'; insecure = true does without, and then whoever reaches its wires can read cards and codes"
                    ),
                )
                .rests_on(format!("{at}.insecure"))
                .rests_on(PROTOCOL);
        }
        (Some(_), true) => {
            errors
                .at(
                    format!("{at}.insecure"),
                    "stands beside key_file: remove 'insecure'",
                )
                .rests_on(format!("{at}.key_file"))
                .rests_on(PROTOCOL);
        }
        _ => {}
    }
    if on.door.is_none() && !at_point {
        errors
            .at(
                format!("{at}.door"),
                format!(
                    "is missing: set serial.door, the door that '{id}' reads for, or 'point', the bank or desk that it belongs to; else nobody knows what its cards mean"
                ),
            )
            .rests_on(at.replace(".serial", ".point"))
            .rests_on(PROTOCOL);
    }
}

/// Two devices with one address answer at once.
fn once<'a>(
    seen: &mut BTreeSet<(&'a Ident, Option<u8>)>,
    port: &'a Ident,
    address: Option<u8>,
    at: &str,
    errors: &mut Faults,
) {
    if seen.insert((port, address)) {
        return;
    }
    let (key, what) = match address {
        Some(address) => (
            "address",
            format!("is {address}, which another device on port '{port}' has too"),
        ),
        None => (
            "port",
            format!("is '{port}', which has a device already, and no addresses"),
        ),
    };
    errors
        .at(
            format!("{at}.{key}"),
            format!("{what}: one address is one device; correct one"),
        )
        .rests_on("port[].protocol")
        .rests_on("bank[].board[].address")
        .rests_on("bank[].serial.address")
        .rests_on("desk[].serial.address")
        .rests_on("device[].serial.address");
}

#[cfg(test)]
#[path = "serial_check_tests.rs"]
mod tests;
