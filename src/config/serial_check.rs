//! What must be right about ports and what hangs on them, each error with its remedy.

use std::collections::{BTreeMap, BTreeSet};

use firmware_protocols::Ident;

use super::fault::Faults;
use super::serial::{BoardSection, OnPort, PortSection, Protocol};
use super::{BankSection, Config};

/// Adds every error.
pub(super) fn check(config: &Config, errors: &mut Faults) {
    check_ports(&config.ports, errors);
    check_shared(config, errors);
    let ports: BTreeMap<&Ident, &PortSection> =
        config.ports.iter().map(|port| (&port.id, port)).collect();
    let mut addresses = BTreeSet::new();
    for bank in &config.banks {
        check_bank(bank, &ports, errors);
        for board in &bank.boards {
            once(
                &mut addresses,
                &board.port,
                Some(board.address),
                &bank.id,
                errors,
            );
        }
    }
    for (id, on, at_point) in config.on_ports() {
        let Some(port) = ports.get(&on.port) else {
            errors.push(unknown_port(id, &on.port));
            continue;
        };
        check_device(id, on, port, errors);
        if port.protocol == Protocol::Osdp {
            check_reader(id, on, at_point, errors);
        }
        once(&mut addresses, &on.port, on.address, id, errors);
    }
}

fn check_ports(ports: &[PortSection], errors: &mut Faults) {
    let (mut ids, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for port in ports {
        let id = &port.id;
        if !ids.insert(id) {
            errors.push(format!(
                "port '{id}' stands twice: give each an id of its own"
            ));
        }
        if !paths.insert(&port.path) {
            let path = port.path.display();
            errors.push(format!(
                "port '{id}' has the path {path}, which another port has too: a port speaks one protocol, so keep one of them"
            ));
        }
        if !(300..=4_000_000).contains(&port.baud()) {
            errors.push(format!(
                "port '{id}' has baud {}, 300 to 4000000 is allowed: see the device's manual, or try 'linli serial scan'",
                port.baud()
            ));
        }
        if !(1..=2).contains(&port.stop_bits) {
            errors.push(format!(
                "port '{id}' has stop_bits {}: 1 or 2 is allowed",
                port.stop_bits
            ));
        }
        if !(10..=5_000).contains(&port.timeout_ms) {
            errors.push(format!(
                "port '{id}' has timeout_ms {}, 10 to 5000 is allowed: 100 suits most devices",
                port.timeout_ms
            ));
        }
        if port.poll_ms.is_some_and(|ms| ms > 3_600_000) {
            errors.push(format!(
                "port '{id}' has a poll_ms of more than an hour: 3600000 is the most"
            ));
        }
        if port.multi_drop && port.protocol != Protocol::Linli {
            errors.push(format!(
                "port '{id}' has multi_drop, which only the protocol 'linli' knows: remove it"
            ));
        }
    }
}

/// Some ports are for one device.
fn check_shared(config: &Config, errors: &mut Faults) {
    for port in &config.ports {
        let here = config.on_ports().filter(|(_, on, _)| on.port == port.id);
        if let Some(crowded) = port.crowded(here.count()) {
            errors.push(crowded);
        }
    }
}

fn unknown_port(id: &Ident, port: &Ident) -> String {
    format!(
        "'{id}' hangs on port '{port}', which isn't there: add [[port]] id = \"{port}\", or correct it"
    )
}

fn check_bank(bank: &BankSection, ports: &BTreeMap<&Ident, &PortSection>, errors: &mut Faults) {
    let id = &bank.id;
    if bank.boards.is_empty() {
        return;
    }
    if bank.serial.is_some() {
        errors.push(format!(
            "bank '{id}' has both boards and 'serial': boards are for locker boards without a controller, 'serial' for a controller; remove one"
        ));
    }
    let on: BTreeSet<&Ident> = bank.boards.iter().map(|board| &board.port).collect();
    if on.len() > 1 {
        errors.push(format!(
            "bank '{id}' has boards on several ports: hang them on one, or make it two banks"
        ));
    }
    let mut covered = BTreeSet::new();
    for board in &bank.boards {
        let Some(port) = ports.get(&board.port) else {
            errors.push(unknown_port(id, &board.port));
            continue;
        };
        check_board(bank, board, port, errors);
        for (compartment, _) in board.mapping() {
            if !covered.insert(compartment) {
                errors.push(format!(
                    "bank '{id}': compartment {compartment} is on two boards: correct 'compartments' of one"
                ));
            }
        }
    }
    let missing: Vec<String> = (1..=bank.count())
        .filter(|compartment| !covered.contains(compartment))
        .map(|compartment| compartment.to_string())
        .collect();
    if !missing.is_empty() {
        errors.push(format!(
            "bank '{id}': no board opens compartment {}: add a [[bank.board]], or extend 'compartments' of one",
            missing.join(", ")
        ));
    }
}

fn check_board(bank: &BankSection, board: &BoardSection, port: &PortSection, errors: &mut Faults) {
    let (id, address) = (&bank.id, board.address);
    let protocol = port.protocol;
    if !protocol.has_boards() {
        errors.push(format!(
            "bank '{id}' has a board on port '{}', which speaks '{}': boards speak kerong-cu16, kerong-cu48, 8a, wkly or modbus",
            port.id,
            protocol.word()
        ));
        return;
    }
    let channels = match protocol {
        Protocol::KerongCu16 => 16,
        Protocol::KerongCu48 => 48,
        Protocol::EightA => 24,
        Protocol::Modbus => 64,
        _ => 255,
    };
    if let Some((least, most)) = protocol.addresses()
        && !(least..=most).contains(&address)
    {
        errors.push(format!(
            "bank '{id}' has a board with address {address}: {} boards have {least} to {most}",
            protocol.word()
        ));
    }
    let [first, last] = board.compartments;
    if first < 1 || last < first || last > bank.count() {
        errors.push(format!(
            "bank '{id}': a board has compartments [{first}, {last}]: write the first and the last, from 1 to {}",
            bank.count()
        ));
        return;
    }
    let count = usize::from(last - first) + 1;
    let mapping = board.mapping();
    let distinct: BTreeSet<u16> = mapping.iter().map(|(_, channel)| *channel).collect();
    let given = board.channels.as_ref().map_or(count, Vec::len);
    if given != count || distinct.len() != count {
        errors.push(format!(
            "bank '{id}': board {address} has {count} compartments and {given} channels: list one channel for each, none twice"
        ));
    }
    if let Some(channel) = distinct
        .iter()
        .find(|channel| !(1..=channels).contains(*channel))
    {
        errors.push(format!(
            "bank '{id}': board {address} has channel {channel}: {} boards have 1 to {channels}",
            protocol.word()
        ));
    }
    super::register_check::check_relay(id, board, errors);
    match (protocol, &board.relay) {
        (Protocol::Modbus, None) => errors.push(format!(
            "bank '{id}': board {address} hangs on Modbus and needs relay = {{ flash_address = … }}: the coil that starts a board-timed pulse"
        )),
        (Protocol::Modbus, Some(relay)) if !(1..=100).contains(&relay.flash_time) => errors.push(
            format!(
                "bank '{id}': board {address} has relay.flash_time {}: 1 to 100 is allowed, in the board's unit; a lock's coil bears no longer pulse",
                relay.flash_time
            ),
        ),
        (Protocol::Modbus, Some(_)) | (_, None) => {}
        (_, Some(_)) => errors.push(format!(
            "bank '{id}': board {address} has 'relay', which is for Modbus: remove it"
        )),
    }
    if board.occupied.is_some() && protocol != Protocol::KerongCu16 {
        errors.push(format!(
            "bank '{id}': board {address} has 'occupied', but {} boards have no such sensor: remove it",
            protocol.word()
        ));
    }
}

fn check_device(id: &Ident, on: &OnPort, port: &PortSection, errors: &mut Faults) {
    let protocol = port.protocol;
    // Boards are a bank's, and refused below.
    let is_board = protocol.has_boards() && protocol != Protocol::Modbus;
    let range = protocol.addresses().filter(|_| !is_board);
    match (range, on.address) {
        (Some((least, most)), Some(address)) if !(least..=most).contains(&address) => {
            errors.push(format!(
                "'{id}' has serial.address {address}: {least} to {most} is allowed on a port that speaks {}",
                protocol.word()
            ));
        }
        (Some((least, most)), None) => errors.push(format!(
            "'{id}' needs serial.address, {least} to {most}, on a port that speaks {}",
            protocol.word()
        )),
        (None, Some(_)) => errors.push(format!(
            "'{id}' has serial.address, but what speaks {} has none: remove it",
            protocol.word()
        )),
        _ => {}
    }
    if is_board {
        errors.push(format!(
            "'{id}' hangs on port '{}', which speaks {}: only boards of a bank can ([[bank.board]])",
            port.id,
            protocol.word()
        ));
    }
    let mut only = |set: bool, key: &str, of: Protocol| {
        if set && protocol != of {
            errors.push(format!(
                "'{id}' has serial.{key}, which is for ports that speak {}: remove it",
                of.word()
            ));
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
        errors.push(format!("'{id}' needs serial.says: \"scan\" or \"keypad\""));
    }
    if protocol == Protocol::Modbus && on.registers.is_empty() {
        errors.push(format!(
            "'{id}' needs serial.registers: what is to be read, each {{ name, function, address, … }}"
        ));
    }
    super::register_check::check(id, &on.registers, errors);
}

fn check_reader(id: &Ident, on: &OnPort, at_point: bool, errors: &mut Faults) {
    match (&on.key_file, on.insecure) {
        (None, false) => errors.push(format!(
            "'{id}' needs serial.key_file: where its secure channel key is, or is to be put by 'linli serial commission {id}'; insecure = true does without, and then whoever reaches its wires can read cards and codes"
        )),
        (Some(_), true) => errors.push(format!(
            "'{id}' has both serial.key_file and serial.insecure: remove 'insecure'"
        )),
        _ => {}
    }
    if on.door.is_none() && !at_point {
        errors.push(format!(
            "'{id}' needs serial.door, the door that it reads for, or 'point', the bank or desk that it belongs to: else nobody knows what its cards mean"
        ));
    }
}

/// Two devices with one address answer at once.
fn once<'a>(
    seen: &mut BTreeSet<(&'a Ident, Option<u8>)>,
    port: &'a Ident,
    address: Option<u8>,
    id: &Ident,
    errors: &mut Faults,
) {
    if !seen.insert((port, address)) {
        let what = match address {
            Some(address) => format!("address {address} on port '{port}' twice"),
            None => format!("two devices on port '{port}', which has no addresses"),
        };
        errors.push(format!("'{id}': {what}: one address is one device"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ESTATE: &str = r#"
site = "s"
building = [{ id = "b1" }]

[[port]]
id = "bus-1"
path = "/dev/serial/by-id/usb-1"
protocol = "kerong-cu16"

[[port]]
id = "bus-2"
path = "/dev/serial/by-id/usb-2"
protocol = "modbus"

[[port]]
id = "tty-1"
path = "/dev/ttyS1"
protocol = "lines"

[[bank]]
id = "bank-a"
building = "b1"
compartments = [{ count = 20, size = "S" }]
board = [
    { port = "bus-1", address = 0, compartments = [1, 16] },
    { port = "bus-1", address = 1, compartments = [17, 20], channels = [4, 3, 2, 1], closed = "zero", occupied = "one" },
]

[[device]]
id = "cold-1"
building = "b1"
serial = { port = "bus-2", address = 7, registers = [
    { name = "temperature", function = "input", address = 1, type = "i16", scale = 0.1, unit = "Cel" },
    { name = "door", function = "discrete", address = 0, door_closed = true, held_open_s = 60 },
] }

[[device]]
id = "scanner-a"
building = "b1"
point = "bank-a"
serial = { port = "tty-1", says = "scan" }
"#;

    #[test]
    fn an_estate_on_serial_is_taken() {
        let config = Config::parse(ESTATE).unwrap();
        let bank = &config.banks[0];
        let mapping: Vec<_> = bank.boards.iter().flat_map(BoardSection::mapping).collect();
        assert_eq!(mapping.len(), 20);
        assert_eq!(mapping[15..18], [(16, 16), (17, 4), (18, 3)]);
        // Only one of its boards says how.
        assert!(!config.layout().banks[0].occupancy_sensor);
        assert_eq!(config.mqtt_device_ids(), []);
        let on_ports: Vec<_> = config
            .on_ports()
            .map(|(id, _, point)| (id.as_str(), point))
            .collect();
        assert_eq!(on_ports, [("cold-1", false), ("scanner-a", true)]);
        let port = &config.ports[0];
        assert_eq!(port.baud(), 19_200);
        // 5 bytes of 10 bits at 19,200.
        assert_eq!(port.time_of(5).as_micros(), 2_604);
    }

    #[test]
    fn each_mistake_names_where_it_is_and_what_to_do() {
        for (right, wrong, said) in [
            (
                r#"protocol = "lines""#,
                r#"protocol = "line""#,
                "unknown variant `line`",
            ),
            (
                r#"id = "bus-2""#,
                r#"id = "bus-1""#,
                "port 'bus-1' stands twice",
            ),
            (
                "/dev/serial/by-id/usb-2",
                "/dev/serial/by-id/usb-1",
                "a port speaks one protocol",
            ),
            (
                r#"path = "/dev/ttyS1""#,
                "path = \"/dev/ttyS1\"\nbaud = 50",
                "300 to 4000000 is allowed",
            ),
            (
                r#"path = "/dev/ttyS1""#,
                "path = \"/dev/ttyS1\"\nmulti_drop = true",
                "which only the protocol 'linli' knows",
            ),
            (
                r#"path = "/dev/ttyS1""#,
                "path = \"/dev/ttyS1\"\ntimeout_ms = 1",
                "10 to 5000 is allowed",
            ),
            (
                r#"path = "/dev/ttyS1""#,
                "path = \"/dev/ttyS1\"\nstop_bits = 3",
                "1 or 2 is allowed",
            ),
            (
                r#"{ port = "bus-1", address = 0"#,
                r#"{ port = "bus-9", address = 0"#,
                "add [[port]] id = \"bus-9\"",
            ),
            (
                r#"{ port = "bus-1", address = 0"#,
                r#"{ port = "tty-1", address = 0"#,
                "boards speak kerong-cu16",
            ),
            (
                r#"{ port = "bus-1", address = 0"#,
                r#"{ port = "bus-2", address = 9"#,
                "boards on several ports",
            ),
            (
                "address = 1, comp",
                "address = 0, comp",
                "address 0 on port 'bus-1' twice",
            ),
            (
                "address = 1, comp",
                "address = 16, comp",
                "kerong-cu16 boards have 0 to 15",
            ),
            ("[17, 20]", "[16, 19]", "compartment 16 is on two boards"),
            ("[17, 20]", "[17, 21]", "from 1 to 20"),
            ("[1, 16]", "[1, 15]", "no board opens compartment 16"),
            ("[4, 3, 2, 1]", "[4, 3, 2]", "one channel for each"),
            ("[4, 3, 2, 1]", "[4, 3, 2, 2]", "none twice"),
            ("[4, 3, 2, 1]", "[4, 3, 2, 17]", "boards have 1 to 16"),
            (
                r#"protocol = "kerong-cu16""#,
                r#"protocol = "8a""#,
                "no such sensor",
            ),
            (
                r#"protocol = "kerong-cu16""#,
                r#"protocol = "modbus""#,
                "needs relay",
            ),
            ("address = 7,", "", "needs serial.address"),
            ("address = 7,", "address = 0,", "1 to 247 is allowed"),
            (
                r#"says = "scan""#,
                r#"says = "scan", address = 1"#,
                "has none: remove it",
            ),
            (
                r#", says = "scan""#,
                "",
                r#"needs serial.says: "scan" or "keypad""#,
            ),
            (
                r#"says = "scan""#,
                r#"says = "scan", door = "d""#,
                "for ports that speak osdp",
            ),
            (r#"type = "i16""#, r#"type = "bool""#, "is 16 bits"),
            (
                r#"address = 0, door_closed"#,
                r#"address = 0, type = "u16", door_closed"#,
                "is one bit",
            ),
            (
                "door_closed = true, ",
                "",
                "held_open_s for those with door_closed",
            ),
        ] {
            assert!(ESTATE.contains(right), "{right}");
            let text = ESTATE.replacen(right, wrong, 1);
            let errors = Config::parse(&text).err().unwrap_or_default().join("\n");
            assert!(errors.contains(said), "{wrong}: {errors}");
        }
    }
}
