//! Ports and what hangs on them, taken and refused.

use crate::config::Config;
use crate::config::serial::BoardSection;

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
            "is 'line'; allowed: linli,",
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
            "known by the protocol 'linli' only",
        ),
        (
            r#"path = "/dev/ttyS1""#,
            "path = \"/dev/ttyS1\"\ntimeout_ms = 1",
            "10 to 5000 is allowed",
        ),
        (
            r#"path = "/dev/ttyS1""#,
            "path = \"/dev/ttyS1\"\nstop_bits = 3",
            "1 to 2 is allowed",
        ),
        (
            r#"{ port = "bus-1", address = 0"#,
            r#"{ port = "bus-9", address = 0"#,
            "add [[port]] id = \"bus-9\"",
        ),
        (
            r#"{ port = "bus-1", address = 0"#,
            r#"{ port = "tty-1", address = 0"#,
            "name one that speaks kerong-cu16",
        ),
        (
            r#"{ port = "bus-1", address = 0"#,
            r#"{ port = "bus-2", address = 9"#,
            "are on several ports",
        ),
        (
            "address = 1, comp",
            "address = 0, comp",
            "is 0, which another device on port 'bus-1' has too",
        ),
        (
            "address = 1, comp",
            "address = 16, comp",
            "0 to 15 is allowed for kerong-cu16",
        ),
        ("[17, 20]", "[16, 19]", "compartment 16 is on two boards"),
        ("[17, 20]", "[17, 21]", "from 1 to 20"),
        ("[1, 16]", "[1, 15]", "none opens compartment 16"),
        ("[4, 3, 2, 1]", "[4, 3, 2]", "one channel for each"),
        ("[4, 3, 2, 1]", "[4, 3, 2, 2]", "none twice"),
        ("[4, 3, 2, 1]", "[4, 3, 2, 17]", "1 to 16 is allowed"),
        (
            r#"protocol = "kerong-cu16""#,
            r#"protocol = "8a""#,
            "no such sensor",
        ),
        (
            r#"protocol = "kerong-cu16""#,
            r#"protocol = "modbus""#,
            "add relay = {",
        ),
        ("address = 7,", "", "serial.address: is missing"),
        ("address = 7,", "address = 0,", "1 to 247 is allowed"),
        (
            r#"says = "scan""#,
            r#"says = "scan", address = 1"#,
            "has none: remove it",
        ),
        (r#", says = "scan""#, "", r#"add says = "scan" or "keypad""#),
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
        ("door_closed = true, ", "", "set door_closed beside it"),
    ] {
        assert!(ESTATE.contains(right), "{right}");
        let text = ESTATE.replacen(right, wrong, 1);
        let errors = Config::parse(&text).err().unwrap_or_default().join("\n");
        assert!(errors.contains(said), "{wrong}: {errors}");
    }
}
