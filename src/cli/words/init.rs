//! What linli says at the first set-up: questions, what is allowed, what comes next.

use std::fmt::Display;
use std::path::Path;

use firmware_protocols::Ident;

use crate::config::serial::Protocol;

// How things are written in short.

/// A bank.
pub const SHORT_BANK: &str = "write ID@BUILDING:COMPARTMENTS, as in bank-a@b1:8S,6M";
/// A desk.
pub const SHORT_DESK: &str = "write ID@BUILDING, as in desk-1@b2=Property office";
/// Another device.
pub const SHORT_DEVICE: &str =
    "write ID@BUILDING, as in door-1@b1, or ID@BUILDING/POINT, as in keypad-a@b1/bank-a";
/// A port.
pub const SHORT_PORT: &str =
    "write ID=PATH,PROTOCOL[,BAUD], as in bus-1=/dev/ttyUSB0,kerong-cu16,19200";
/// A board.
pub const SHORT_BOARD: &str = "write BANK@PORT:ADDRESS=FIRST-LAST, as in bank-a@bus-1:0=1-16";
/// What else hangs on a port.
pub const SHORT_ON_PORT: &str = "write DEVICE@PORT[:ADDRESS][=WHAT], as in bank-b@link-1:1, scanner-a@tty-1=scan or reader-1@osdp-1:0=gate";
/// Where something stands.
pub const WHERE_WRONG: &str = "where something stands is one line of at most 200 characters";
/// A rate.
pub const BAUD_WRONG: &str = "300 to 4000000 bits a second are allowed, as in 9600";
/// Compartments of a board.
pub const RANGE_WRONG: &str = "write the first and the last compartment, as in 1-16";
/// A count.
pub const COUNT_WRONG: &str = "write a number, 0 to 99";
/// An address on a line.
pub const ADDRESSES_WRONG: &str = "write addresses from 0 to 255, as in 0 1";
/// Yes or no.
pub const YES_OR_NO: &str = "write y or n";
/// Where it listens.
pub const LISTEN_WRONG: &str =
    "write 1, 2, or an address of this box with a port, as in 192.168.10.1:1883";
/// A folder.
pub const FOLDER_WRONG: &str = "write the path of a folder in one line";
/// A token.
pub const TOKEN_WRONG: &str =
    "that is no token: 1 to 256 characters, as the cloud's operator gave it to you";

/// Compartments that make no bank.
pub fn compartments(count: u32) -> String {
    format!("that makes {count} compartments, 1 to 512 are allowed: write them as in 8S 6M 2L 2Mc")
}

/// Compartments that can't be read.
pub fn run_wrong(text: &str) -> String {
    format!(
        "'{text}' says no compartments: write how many and the size (S, M, L), then c for chilled or f for frozen, then -low if they are within reach from a wheelchair, as in 8S 6M 2Mc 2L-low"
    )
}

/// What can be spoken on a port.
pub fn protocols() -> String {
    let words: Vec<&str> = Protocol::ALL.iter().map(|p| p.word()).collect();
    format!("a port speaks one of {}", words.join(", "))
}

// What doesn't fit to what was answered before.

/// An id that stands twice.
pub fn twice(what: &str, id: &Ident) -> String {
    format!("{what} '{id}' is there already: give each an id of its own")
}

/// An id that stands twice among devices.
pub fn id_twice(id: &Ident) -> String {
    format!(
        "'{id}' is taken: banks, desks and other devices need an id each, as they log in with it"
    )
}

/// A path that stands twice.
pub fn path_twice(path: &Path) -> String {
    format!(
        "{} is another port's path: a port speaks one protocol",
        path.display()
    )
}

/// An id that isn't there.
pub fn unknown<'a>(what: &str, id: &Ident, known: impl Iterator<Item = &'a Ident>) -> String {
    let known: Vec<&str> = known.map(Ident::as_str).collect();
    match known.is_empty() {
        true => format!("there is no {what} '{id}', as there is none at all: add it first"),
        false => format!("there is no {what} '{id}', but {}", known.join(", ")),
    }
}

/// A device that isn't there.
pub fn unknown_device(id: &Ident) -> String {
    format!("'{id}' is no bank, desk or device: add it first, as in --device {id}@BUILDING")
}

/// What has no boards.
pub fn no_boards(port: &Ident, protocol: Protocol) -> String {
    match protocol {
        Protocol::Modbus => by_hand(port, protocol),
        _ => format!(
            "port '{port}' speaks {}: boards speak kerong-cu16, kerong-cu48, 8a or wkly",
            protocol.word()
        ),
    }
}

/// What is written into the configuration by hand.
pub fn by_hand(port: &Ident, protocol: Protocol) -> String {
    match protocol.has_boards() && protocol != Protocol::Modbus {
        true => format!(
            "port '{port}' speaks {}: only boards of a bank hang there, as in --board bank-a@{port}:0=1-16",
            protocol.word()
        ),
        false => format!(
            "what hangs on port '{port}' is written into the configuration afterwards, as its registers have to be named: see 'Modbus' in docs/serial.md"
        ),
    }
}

/// Compartments that the bank hasn't.
pub fn not_its_compartments(bank: &Ident, count: u16) -> String {
    format!("'{bank}' has compartments 1 to {count}: write the first and the last of them")
}

/// More compartments than a board has locks.
pub fn too_many_for_a_board(protocol: Protocol, most: u16) -> String {
    format!(
        "a board that speaks {} opens at most {most} compartments",
        protocol.word()
    )
}

/// A device that hangs somewhere.
pub fn hangs_already(id: &Ident) -> String {
    format!("'{id}' hangs on a port already")
}

/// A bank on two ports.
pub fn on_another_port(bank: &Ident, port: &Ident) -> String {
    format!("all boards of '{bank}' hang on one port, '{port}': or make it two banks")
}

/// A compartment on two boards.
pub fn opened_twice(bank: &Ident, address: u8) -> String {
    format!("some of these compartments of '{bank}' are opened by its board {address} already")
}

/// What only some devices have.
pub const WHAT_FOR: &str = "firmware on our own link needs nothing after '=': that is for lines (scan, keypad) and OSDP (a door)";
/// What a line means.
pub const MEANING: &str = "say what a line is: scan or keypad";

/// A scanner that belongs to nothing.
pub fn needs_point(id: &Ident) -> String {
    format!(
        "a scanner or keypad belongs to a bank or desk: name it with the device, as in --device {id}@BUILDING/POINT"
    )
}

/// A reader that belongs to nothing.
pub fn needs_door(id: &Ident) -> String {
    format!(
        "a reader reads for a door, as in =gate, or belongs to a bank or desk, as in --device {id}@BUILDING/POINT"
    )
}

/// An address that is missing or out of range.
pub fn address_wanted(protocol: Protocol, least: u8, most: u8) -> String {
    format!(
        "what speaks {} has an address, {least} to {most}",
        protocol.word()
    )
}

/// An address where there is none.
pub fn no_address(protocol: Protocol) -> String {
    format!(
        "what speaks {} has no address: leave it out",
        protocol.word()
    )
}

/// An address that stands twice.
pub fn address_twice(port: &Ident, address: Option<u8>) -> String {
    match address {
        Some(address) => {
            format!("address {address} on port '{port}' is taken: one address is one device")
        }
        None => format!("port '{port}' is taken: one device hangs on it"),
    }
}

// Before and after.

/// Who begins.
pub fn begins(file: &Path) -> String {
    format!(
        "Linli's first set-up. It writes {}, and nothing before the last question.\nWhat stands in [brackets] is taken if you only press Enter; Ctrl-C ends it.",
        file.display()
    )
}

/// Nobody can be asked.
pub const NOBODY_TO_ASK: &str = "this is no terminal, so nobody can be asked: give the answers as flags (linli init --help) and --yes, or --print to see what would be written";
/// No site.
pub const NO_SITE: &str = "the site's id has no default: --site ID, 1 to 63 of a-z, 0-9 and '-', as in --site willow-court";
/// It ended in the middle.
pub const ENDED: &str = "the answers ended before the last question: nothing was written";
/// Not agreed to.
pub const NOT_WRITTEN: &str = "nothing was written";

/// A flag that can't be taken.
pub fn flag(flag: &str, why: &str) -> String {
    format!("--{flag}: {why}")
}

/// There is one.
pub fn exists(file: &Path) -> String {
    format!(
        "{} is there already: change it by hand and try it with 'linli config check', or replace it with --force, which keeps the old one beside it",
        file.display()
    )
}

/// It can't be written there.
pub fn cannot_write(file: &Path, why: &dyn Display) -> String {
    format!(
        "{} can't be written: {why}. Use sudo, make room, or name another place with --config",
        file.display()
    )
}

/// The token's file can't be read.
pub fn cannot_read_token(file: &Path, why: &dyn Display) -> String {
    format!(
        "{} can't be read: {why}. Name the file that holds the cloud's token",
        file.display()
    )
}

/// The answers make no configuration.
pub fn refused(errors: &[String]) -> String {
    format!(
        "these answers make no configuration that can be used; nothing was written:\n  {}",
        errors.join("\n  ")
    )
}

/// What is about to be written.
pub fn preview(file: &Path, token_file: Option<&Path>) -> String {
    match token_file {
        Some(token) => format!(
            "This is {}; the token goes to {}, for its owner only:",
            file.display(),
            token.display()
        ),
        None => format!("This is {}:", file.display()),
    }
}

/// The last question.
pub const ASK_WRITE: &str = "Write it? [y/N] ";

/// It is written.
pub fn written(file: &Path, backup: Option<&Path>) -> String {
    match backup {
        Some(backup) => format!(
            "{} is written; the one before it is {}.",
            file.display(),
            backup.display()
        ),
        None => format!("{} is written.", file.display()),
    }
}

/// What to do now.
pub const NEXT: &str = "Next:";
/// Before more devices than are shown.
pub fn and_more(count: usize) -> String {
    format!("and so for {count} more")
}

// The questions. What stands in brackets is put there by who asks.

/// The site.
pub const ASK_SITE: &str = "The site's id, as the cloud knows it";
/// Buildings.
pub const ASK_BUILDINGS: &str = "Its buildings, each by an id, with spaces between";
/// Banks.
pub const ASK_BANKS: &str = "How many locker banks";
/// Desks.
pub const ASK_DESKS: &str = "How many desks that hand parcels over";
/// Devices.
pub const ASK_DEVICES: &str = "How many other devices on MQTT (door readers, sensors)";
/// No building.
pub const BUILDING_WANTED: &str = "at least one building is needed, as in b1 b2";

/// A bank.
pub fn ask_bank(n: usize) -> String {
    format!("Bank {n}: its id, which is its controller's too")
}

/// A desk.
pub fn ask_desk(n: usize) -> String {
    format!("Desk {n}: its id, which is its terminal's too")
}

/// A device.
pub fn ask_device(n: usize) -> String {
    format!("Device {n}: its id")
}

/// Where it belongs.
pub fn ask_building(id: &Ident) -> String {
    format!("The building of {id}")
}

/// Where it stands.
pub fn ask_where(id: &Ident) -> String {
    format!("Where {id} stands, as people would say it; nothing if that goes without saying")
}

/// Its compartments.
pub fn ask_runs(id: &Ident) -> String {
    format!(
        "The compartments of {id} in their order: how many and S, M or L, with c for chilled, f for frozen, -low for within reach from a wheelchair"
    )
}

/// The network.
pub const ASK_LISTEN: &str = "Who connects over MQTT: 1 only this machine, 2 the local network";
/// TLS.
pub const ASK_MQTTS: &str =
    "Encrypt it (mqtts on port 8883, with a certificate authority of the estate's own)";
/// The cloud.
pub const ASK_CLOUD: &str = "The cloud's URL, or none for now";
/// The token.
pub const ASK_TOKEN: &str =
    "Its one-time token (it isn't shown; nothing if you enrol later with 'linli sync enrol'): ";

// Serial ports.

/// None are there.
pub const NO_PORTS: &str = "No serial port was found; one that comes later: docs/serial.md.";

/// A port.
pub fn port_found(path: &Path, about: &str) -> String {
    match about.is_empty() {
        true => format!("Serial port {}", path.display()),
        false => format!("Serial port {} ({about})", path.display()),
    }
}

/// Who has it.
pub fn used_by(users: &[String]) -> String {
    format!("used by {}", users.join(", "))
}

/// What hangs there.
pub const ASK_SPOKEN: &str = "What hangs there: none, scan (asks the line; harmless, nothing opens), linli, kerong-cu16, kerong-cu48, 8a, wkly, modbus, osdp or lines";
/// What a port may be called instead.
pub fn spoken_wrong() -> String {
    format!("write none, scan, or what is spoken: {}", protocols())
}

/// Its id.
pub const ASK_PORT: &str = "An id for this port";
/// Its rate.
pub const ASK_BAUD: &str = "Its rate, bits a second";
/// Whose boards.
pub const ASK_BOARDS_OF: &str = "The bank whose compartments its boards open, or none";
/// Where they are.
pub const ASK_BOARDS_AT: &str = "The addresses of these boards, in the order of the compartments";

/// Which they open.
pub fn ask_board(address: u8) -> String {
    format!("The compartments that board {address} opens")
}

/// Controllers.
pub const ASK_CONTROLLER: &str = "The bank, desk or device whose controller hangs there, or none";
/// Its address.
pub const ASK_ADDRESS: &str = "Its address there";
/// A scanner.
pub const ASK_TYPIST: &str = "An id for the scanner or keypad there";
/// What it belongs to.
pub const ASK_POINT: &str = "The bank or desk that it belongs to";
/// What it types.
pub const ASK_MEANING: &str = "What it types: scan or keypad";
/// A reader.
pub const ASK_READER: &str = "An id for the reader there, or none";
/// What it reads for.
pub const ASK_DOOR: &str = "The door that it reads for, or the bank or desk that it belongs to";
/// Registers.
pub const MODBUS_LATER: &str =
    "Its registers have to be named: an example stands in the configuration as a comment.";
/// No point.
pub const NO_POINT: &str = "There is no bank or desk that it could belong to: left out.";
/// Some compartments are left.
pub fn left_over(bank: &Ident) -> String {
    format!("Not every compartment of {bank} is opened by a board yet: once more, or Ctrl-C.")
}

// What to do next.

/// Check.
pub const NEXT_CHECK: &str = "after each change by hand";
/// Start.
pub const NEXT_RUN: &str = "starts the gateway";
/// Passwords.
pub const NEXT_PASSWORD: &str = "shows the device's password, once";
/// OSDP.
pub const NEXT_COMMISSION: &str = "gives the reader a key of its own, before the gateway starts";
/// Boards.
pub const NEXT_WALK: &str = "opens each compartment in turn, to see whether the wiring is right";
/// TLS.
pub const NEXT_CA: &str =
    "makes the certificate authority that devices trust, and this box's certificate";
/// No token yet.
pub const NEXT_ENROL: &str = "asks for the cloud's one-time token";
/// The cloud.
pub const NEXT_SYNC: &str = "tries the way to the cloud, step by step";
/// All.
pub const NEXT_STATUS: &str = "whether all is well, and what to do if not";
