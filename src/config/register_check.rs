//! What must be right about a Modbus device's registers and relays, each error with its remedy.

use std::collections::BTreeSet;

use firmware_protocols::Ident;
use firmware_protocols::senml::RECORDS_MAX;

use super::fault::Faults;
use super::serial::{BoardSection, RegisterKind, RegisterSection};

/// The longest name and the longest unit, in bytes.
const TEXT_MAX_BYTES: usize = 64;

/// Adds every error of the registers of the device `id`.
pub(super) fn check(id: &Ident, registers: &[RegisterSection], errors: &mut Faults) {
    if registers.len() > RECORDS_MAX {
        errors.push(format!(
            "'{id}' has {} registers, at most {RECORDS_MAX} fit into a reading: leave some out",
            registers.len()
        ));
    }
    let mut names = BTreeSet::new();
    for register in registers {
        if !names.insert(&register.name) {
            errors.push(format!(
                "'{id}': two registers are named '{}': give each a name of its own",
                register.name
            ));
        }
        check_name(id, register, errors);
        check_number(id, register, errors);
        check_door(id, register, errors);
    }
}

/// Adds every error of a board's relays, beside what holds for every board.
pub(super) fn check_relay(bank: &Ident, board: &BoardSection, errors: &mut Faults) {
    let Some(relay) = &board.relay else { return };
    let last = board.mapping().iter().map(|(_, channel)| *channel).max();
    let last = last.unwrap_or(1).saturating_sub(1);
    let beyond = |address: u16| address.checked_add(last).is_none();
    if beyond(relay.flash_address) || relay.contact_address.is_some_and(beyond) {
        errors.push(format!(
            "bank '{bank}': board {} has relay addresses beyond 65535 for its last channel: write those of channel 1, counted from 0",
            board.address
        ));
    }
}

/// RFC 8428 § 4.5.1: the name stands behind the device's id, so any of these may begin it.
fn check_name(id: &Ident, register: &RegisterSection, errors: &mut Faults) {
    let name = &register.name;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-:./_".contains(c);
    if name.is_empty() || name.len() > TEXT_MAX_BYTES || !name.chars().all(allowed) {
        errors.push(format!(
            "'{id}': a register is named '{name}': 1 to {TEXT_MAX_BYTES} letters, digits and -:./_ are allowed"
        ));
    }
    if let Some(unit) = &register.unit
        && (unit.is_empty() || unit.len() > TEXT_MAX_BYTES || unit.chars().any(char::is_control))
    {
        errors.push(format!(
            "'{id}': register '{name}' has the unit '{unit}': write one of RFC 8428, such as Cel or %RH, or leave it out"
        ));
    }
}

fn check_number(id: &Ident, register: &RegisterSection, errors: &mut Faults) {
    let name = &register.name;
    let kind = register.kind();
    if register.function.is_bit() {
        if kind != RegisterKind::Bool {
            errors.push(format!(
                "'{id}': register '{name}' is one bit: its type is bool"
            ));
        }
        if register.scale != 1.0 || register.unit.is_some() {
            errors.push(format!(
                "'{id}': register '{name}' is one bit, which has neither scale nor unit: remove them"
            ));
        }
        return;
    }
    if kind == RegisterKind::Bool {
        errors.push(format!(
            "'{id}': register '{name}' is 16 bits: its type is u16, i16, u32, i32 or f32"
        ));
    }
    if !register.scale.is_finite() || register.scale == 0.0 {
        errors.push(format!(
            "'{id}': register '{name}' has the scale {}: a number other than 0 is needed, such as 0.1",
            register.scale
        ));
    }
    if kind.words() == 2 && register.address == u16::MAX {
        errors.push(format!(
            "'{id}': register '{name}' takes two addresses and begins at the last one, 65535: correct 'address' or 'type'"
        ));
    }
}

fn check_door(id: &Ident, register: &RegisterSection, errors: &mut Faults) {
    let name = &register.name;
    if !register.function.is_bit() && register.door_closed.is_some()
        || register.held_open_s.is_some() && register.door_closed.is_none()
    {
        errors.push(format!(
            "'{id}': register '{name}': door_closed is for coil and discrete, held_open_s for those with door_closed"
        ));
    }
    let Some(held_open_s) = register.held_open_s else {
        return;
    };
    if held_open_s == 0 {
        errors.push(format!(
            "'{id}': register '{name}' has held_open_s 0: write how many seconds the door may stay open, or leave it out"
        ));
    }
    if Ident::new(name).is_err() {
        errors.push(format!(
            "'{id}': register '{name}' has held_open_s, so its name is a door's: a-z, 0-9 and '-', at most 63, not beginning with '-'"
        ));
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    /// The example of the handbook.
    const ESTATE: &str = r#"
site = "s"
building = [{ id = "b1" }]

[[port]]
id = "rs485-1"
path = "/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A10KZP3D-if00-port0"
protocol = "modbus"
baud = 9600
parity = "none"
stop_bits = 1
timeout_ms = 200
poll_ms = 10000

[[device]]
id = "cold-room-1"
building = "b1"
[device.serial]
port = "rs485-1"
address = 1
registers = [
    { name = "temperature", function = "input", address = 1, type = "i16", scale = 0.1, unit = "Cel" },
    { name = "humidity", function = "input", address = 2, scale = 0.1, unit = "%RH" },
]

[[device]]
id = "contacts-b1"
building = "b1"
[device.serial]
port = "rs485-1"
address = 2
registers = [
    { name = "cellar-door", function = "discrete", address = 0, door_closed = true, held_open_s = 120 },
    { name = "meter-cupboard", function = "discrete", address = 1, door_closed = true },
]

[[bank]]
id = "bank-c"
building = "b1"
address = "Gate 2"
compartments = [{ count = 8, size = "M" }]
[[bank.board]]
port = "rs485-1"
address = 10
compartments = [1, 8]
channels = [1, 2, 3, 4, 5, 6, 7, 8]
closed = "one"
relay = { flash_address = 0x0200, flash_time = 5, contact_address = 0 }
"#;

    #[test]
    fn the_example_is_taken() {
        Config::parse(ESTATE).unwrap();
    }

    #[test]
    fn each_mistake_names_the_register_and_what_to_do() {
        for (right, wrong, said) in [
            (
                r#"name = "humidity""#,
                r#"name = "temperature""#,
                "two registers are named 'temperature'",
            ),
            (
                r#"name = "humidity""#,
                r#"name = "rel. humidity""#,
                "letters, digits and -:./_ are allowed",
            ),
            (r#"name = "humidity""#, r#"name = """#, "1 to 64 letters"),
            (r#"unit = "%RH""#, r#"unit = """#, "such as Cel or %RH"),
            ("scale = 0.1", "scale = 0.0", "a number other than 0"),
            ("scale = 0.1", "scale = inf", "a number other than 0"),
            (
                r#"address = 1, type = "i16""#,
                r#"address = 65535, type = "f32""#,
                "begins at the last one, 65535",
            ),
            (
                r#"name = "cellar-door""#,
                r#"name = "Cellar""#,
                "its name is a door's",
            ),
            (
                "held_open_s = 120",
                "held_open_s = 0",
                "how many seconds the door may stay open",
            ),
            (
                "held_open_s = 120",
                "scale = 2.0",
                "has neither scale nor unit",
            ),
            (
                "flash_address = 0x0200",
                "flash_address = 0xfffc",
                "beyond 65535 for its last channel",
            ),
            (
                "contact_address = 0",
                "contact_address = 65530",
                "beyond 65535 for its last channel",
            ),
        ] {
            assert!(ESTATE.contains(right), "{right}");
            let text = ESTATE.replacen(right, wrong, 1);
            let errors = Config::parse(&text).err().unwrap_or_default().join("\n");
            assert!(errors.contains(said), "{wrong}: {errors}");
        }
    }
}
