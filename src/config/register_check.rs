//! What must be right about a Modbus device's registers and relays, each error with its remedy.

use std::collections::BTreeSet;

use firmware_protocols::Ident;
use firmware_protocols::senml::RECORDS_MAX;

use super::fault::Faults;
use super::serial::{BoardSection, RegisterKind, RegisterSection};

/// Adds every error of the registers that stand at a key.
pub(super) fn check(at: &str, registers: &[RegisterSection], errors: &mut Faults) {
    if registers.len() > RECORDS_MAX {
        errors.at(
            at,
            format!(
                "are {}, at most {RECORDS_MAX} fit into a reading: leave some out",
                registers.len()
            ),
        );
    }
    let mut names = BTreeSet::new();
    for (i, register) in registers.iter().enumerate() {
        let at = format!("{at}[{i}]");
        if !names.insert(&register.name) {
            errors.at(
                format!("{at}.name"),
                format!(
                    "two registers are named '{}': give each a name of its own",
                    register.name
                ),
            );
        }
        check_number(&at, register, errors);
        check_door(&at, register, errors);
    }
}

/// Adds every error of the relays of the board that stands at a key, beside what holds for every board.
pub(super) fn check_relay(at: &str, board: &BoardSection, errors: &mut Faults) {
    let Some(relay) = &board.relay else { return };
    let last = board.mapping().iter().map(|(_, channel)| *channel).max();
    let last = last.unwrap_or(1).saturating_sub(1);
    let addresses = [
        ("flash_address", Some(relay.flash_address)),
        ("contact_address", relay.contact_address),
    ];
    for (key, address) in addresses {
        if address.is_some_and(|address| address.checked_add(last).is_none()) {
            errors
                .at(
                    format!("{at}.relay.{key}"),
                    "goes beyond 65535 for the board's last channel: write that of channel 1, counted from 0",
                )
                .rests_on(format!("{at}.channels"))
                .rests_on(format!("{at}.compartments"));
        }
    }
}

fn check_number(at: &str, register: &RegisterSection, errors: &mut Faults) {
    let of_bits = register.function.is_bit();
    let kind = register.kind();
    if of_bits != (kind == RegisterKind::Bool) {
        let what = match of_bits {
            true => "is one bit: its type is bool; leave 'type' out, or correct 'function'",
            false => {
                "is 16 bits: its type is u16, i16, u32, i32 or f32; set one, or correct 'function'"
            }
        };
        errors
            .at(format!("{at}.type"), what)
            .rests_on(format!("{at}.function"));
    }
    if of_bits {
        if register.scale != 1.0 || register.unit.is_some() {
            errors
                .at(
                    at,
                    format!(
                        "register '{}' is one bit, which has neither scale nor unit: remove them",
                        register.name
                    ),
                )
                .rests_on(format!("{at}.function"));
        }
        return;
    }
    if !register.scale.is_finite() || register.scale == 0.0 {
        errors.at(
            format!("{at}.scale"),
            "is 0: a number other than 0 is needed, such as 0.1; leave it out for 1",
        );
    }
    if kind.words() == 2 && register.address == u16::MAX {
        errors
            .at(
                format!("{at}.address"),
                "is the last one, 65535, and the register takes two: correct 'address' or 'type'",
            )
            .rests_on(format!("{at}.type"));
    }
}

fn check_door(at: &str, register: &RegisterSection, errors: &mut Faults) {
    if !register.function.is_bit() && register.door_closed.is_some() {
        errors
            .at(
                format!("{at}.door_closed"),
                "is for coil and discrete: remove it, or correct 'function'",
            )
            .rests_on(format!("{at}.function"));
    }
    if register.held_open_s.is_none() {
        return;
    }
    if register.door_closed.is_none() {
        errors
            .at(
                format!("{at}.held_open_s"),
                "is for a door's contact: set door_closed beside it, or remove it",
            )
            .rests_on(format!("{at}.door_closed"));
    }
    if Ident::new(&register.name).is_err() {
        errors
            .at(
                format!("{at}.name"),
                format!(
                    "is '{}', but with held_open_s its name is a door's: use a-z, 0-9 and '-', at most 63, not beginning with '-'",
                    register.name
                ),
            )
            .rests_on(format!("{at}.held_open_s"));
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
            ("scale = 0.1", "scale = inf", "a finite number is allowed"),
            (
                r#"address = 1, type = "i16""#,
                r#"address = 65535, type = "f32""#,
                "is the last one, 65535",
            ),
            (
                r#"name = "cellar-door""#,
                r#"name = "Cellar""#,
                "its name is a door's",
            ),
            (
                "held_open_s = 120",
                "held_open_s = 0",
                "is 0; 1 or more is allowed",
            ),
            (
                "held_open_s = 120",
                "scale = 2.0",
                "has neither scale nor unit",
            ),
            (
                "flash_address = 0x0200",
                "flash_address = 0xfffc",
                "beyond 65535 for the board's last channel",
            ),
            (
                "contact_address = 0",
                "contact_address = 65530",
                "beyond 65535 for the board's last channel",
            ),
        ] {
            assert!(ESTATE.contains(right), "{right}");
            let text = ESTATE.replacen(right, wrong, 1);
            let errors = Config::parse(&text).err().unwrap_or_default().join("\n");
            assert!(errors.contains(said), "{wrong}: {errors}");
        }
    }
}
