//! Every message that a configuration can earn, each with a minimal wrong configuration: where it
//! points, and that it names a remedy. A check that is added without a case here fails
//! `no_check_is_without_a_case`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::read::{judge, load};
use super::{Config, Told};

/// Stands where the fault is expected, and is taken out before the text is read.
const HERE: char = '¶';

/// What a message must hold one of: what is allowed, or what to do.
const REMEDIES: &[&str] = &[
    "allowed",
    "did you mean",
    "add ",
    "remove ",
    "remove it",
    "set ",
    "write ",
    "name one",
    "give ",
    "correct ",
    "exchange ",
    "use ",
    "make ",
    "leave ",
    "list one",
    "hang ",
    "put ",
    "belongs ",
    "is needed",
    "save it",
];

/// An estate that has some of everything, and nothing wrong.
const ESTATE: &str = r#"site = "s"
state_dir = "state"

[broker]
listen = "127.0.0.1:1883"
anonymous = ["door-1"]

[cloud]
url = "https://cloud.example"

[cloud.line]
wait_s = 60

[limits]
kib_per_s = 128

[rules]
code_min_digits = 6
lockout_first_s = 60
unlisted = "desk"

[[building]]
id = "b1"

[[port]]
id = "bus-1"
path = "/dev/ttyS1"
protocol = "kerong-cu16"

[[port]]
id = "bus-2"
path = "/dev/ttyS2"
protocol = "modbus"

[[port]]
id = "tty-1"
path = "/dev/ttyS3"
protocol = "lines"

[[port]]
id = "bus-3"
path = "/dev/ttyS4"
protocol = "osdp"

[[port]]
id = "link-1"
path = "/dev/ttyS5"
protocol = "linli"

[[bank]]
id = "bank-a"
building = "b1"
compartments = [{ count = 4, size = "S" }]
[[bank.board]]
port = "bus-1"
address = 0
compartments = [1, 2]
[[bank.board]]
port = "bus-1"
address = 1
compartments = [3, 4]

[[bank]]
id = "bank-b"
building = "b1"
compartments = [
    { count = 1, size = "M" },
    { count = 1, size = "L" },
]
[[bank.board]]
port = "bus-2"
address = 10
compartments = [1, 2]
relay = { flash_address = 0x0200 }

[[desk]]
id = "desk-1"
building = "b1"

[[device]]
id = "door-1"
building = "b1"

[[device]]
id = "cold-1"
building = "b1"
[device.serial]
port = "bus-2"
address = 7
registers = [
    { name = "temperature", function = "input", address = 1, scale = 0.1, unit = "Cel" },
    { name = "cellar", function = "discrete", address = 0, door_closed = true, held_open_s = 60 },
]

[[device]]
id = "scanner-1"
building = "b1"
point = "desk-1"
serial = { port = "tty-1", says = "scan" }

[[device]]
id = "reader-1"
building = "b1"
[device.serial]
port = "bus-3"
address = 1
key_file = "reader.key"
door = "door-1"

[[device]]
id = "sensor-1"
building = "b1"
serial = { port = "link-1", address = 1 }
"#;

/// What is written wrongly (what it replaces, and by what), the key that is to be blamed, and a part of
/// the message.
type Case = (&'static str, &'static str, &'static str, &'static str);

const STRUCTURE: &[Case] = &[
    // Syntax.
    ("site = \"s\"", "¶site \"s\"", "", "this is no TOML"),
    ("wait_s = 60", "wait_s = ¶sixty", "", "write KEY = VALUE"),
    ("[limits]", "¶[limits", "", "[SECTION]"),
    (
        "[rules]",
        "¶[broker]\nlisten = \"127.0.0.1:1\"\n[rules]",
        "",
        "stands twice: remove one",
    ),
    (
        "lockout_first_s = 60",
        "lockout_first_s = 60\n¶lockout_first_s = 61",
        "",
        "'lockout_first_s' stands twice",
    ),
    (
        "anonymous = [\"door-1\"]",
        "¶anonymous = [\"door-1\"",
        "",
        "isn't closed: add the ]",
    ),
    ("id = \"desk-1\"", "¶id = \"desk-1", "", "this is no TOML"),
    // Keys.
    (
        "site = \"s\"\n",
        "¶",
        "site",
        "is missing: add it, as in site = \"b1\"",
    ),
    (
        "id = \"door-1\"\nbuilding = \"b1\"",
        "id = \"door-1\"\n¶bulding = \"b1\"",
        "device[door-1].bulding",
        "did you mean 'building'?",
    ),
    (
        "[[device]]\nid = \"door-1\"\nbuilding = \"b1\"",
        "¶[[device]]\nid = \"door-1\"",
        "device[door-1].building",
        "is missing: add it, as in building = \"b1\"",
    ),
    (
        "[[device]]\nid = \"door-1\"",
        "¶[[device]]",
        "device[0].id",
        "is missing: add it",
    ),
    (
        "wait_s = 60",
        "¶wait_s2 = 60",
        "cloud.line.wait_s2",
        "did you mean 'wait_s'?",
    ),
    (
        "[cloud.line]",
        "[¶cloud.lime]",
        "cloud.lime",
        "did you mean 'line'?",
    ),
    (
        "wait_s = 60",
        "¶demand_k = 6",
        "cloud.line.demand_k",
        "it belongs to [rules]",
    ),
    (
        "wait_s = 60",
        "¶state_dir = \"x\"",
        "cloud.line.state_dir",
        "before the first [section]",
    ),
    (
        "code_min_digits = 6",
        "¶frobnicate = 6",
        "rules.frobnicate",
        "remove it, or see",
    ),
    (
        "{ count = 1, size = \"M\" }",
        "{ count = 1, size = \"M\", ¶colour = \"red\" }",
        "bank[bank-b].compartments[0].colour",
        "allowed: count, low, size, zone",
    ),
    (
        "{ count = 1, size = \"M\" }",
        "¶{ size = \"M\" }",
        "bank[bank-b].compartments[0].count",
        "is missing: add it, as in count = 1",
    ),
    (
        "says = \"scan\"",
        "says = \"scan\", ¶sais = 1",
        "device[scanner-1].serial.sais",
        "isn't known; allowed:",
    ),
    // Values.
    (
        "site = \"s\"",
        "site = ¶7",
        "site",
        "is a whole number; text in quotes is allowed, as in \"b1\"",
    ),
    (
        "site = \"s\"",
        "site = ¶\"Willow Court\"",
        "site",
        "is 'Willow Court'; 1 to 63 of a-z",
    ),
    (
        "wait_s = 60",
        "wait_s = ¶\"60\"",
        "cloud.line.wait_s",
        "is text; a whole number is allowed",
    ),
    (
        "wait_s = 60",
        "wait_s = ¶601",
        "cloud.line.wait_s",
        "is 601; 1 to 600 is allowed",
    ),
    (
        "wait_s = 60",
        "wait_s = ¶-1",
        "cloud.line.wait_s",
        "is -1; 1 to 600 is allowed",
    ),
    (
        "wait_s = 60",
        "wait_s = ¶99999999999999999999999999999999999999999999999",
        "cloud.line.wait_s",
        "1 to 600 is allowed",
    ),
    (
        "wait_s = 60",
        "wait_s = ¶6.5",
        "cloud.line.wait_s",
        "is a broken number; a whole number is allowed",
    ),
    (
        "wait_s = 60",
        "metered = ¶1",
        "cloud.line.metered",
        "true or false is allowed",
    ),
    (
        "wait_s = 60",
        "metered = ¶2026-01-01",
        "cloud.line.metered",
        "is a date",
    ),
    (
        "code_min_digits = 6",
        "code_min_digits = ¶13",
        "rules.code_min_digits",
        "is 13; 4 to 12 is allowed (6 if it is left out)",
    ),
    (
        "unlisted = \"desk\"",
        "unlisted = ¶\"dask\"",
        "rules.unlisted",
        "allowed: refuse, desk, accept; did you mean 'desk'?",
    ),
    (
        "protocol = \"lines\"",
        "protocol = ¶\"line\"",
        "port[tty-1].protocol",
        "did you mean 'lines'?",
    ),
    (
        "size = \"M\"",
        "size = ¶\"XL\"",
        "bank[bank-b].compartments[0].size",
        "allowed: S, M, L",
    ),
    (
        "listen = \"127.0.0.1:1883\"",
        "listen = ¶\"localhost\"",
        "broker.listen",
        "an IP address and a port are allowed",
    ),
    (
        "anonymous = [\"door-1\"]",
        "anonymous = ¶\"door-1\"",
        "broker.anonymous",
        "put what stands there in [ ]",
    ),
    (
        "anonymous = [\"door-1\"]",
        "anonymous = [¶\"Door 1\"]",
        "broker.anonymous[0]",
        "1 to 63 of a-z",
    ),
    (
        "anonymous = [\"door-1\"]",
        "anonymous = ¶true",
        "broker.anonymous",
        "a list is allowed",
    ),
    (
        "[broker]",
        "¶[[broker]]",
        "broker",
        "write [broker], with one pair of brackets",
    ),
    (
        "[[building]]",
        "¶[building]",
        "building",
        "write [[building]], with two pairs",
    ),
    (
        "[[desk]]",
        "¶[desk]",
        "desk",
        "write [[desk]], with two pairs",
    ),
    (
        "compartments = [3, 4]",
        "compartments = ¶[3, 4, 5]",
        "bank[bank-a].board[1].compartments",
        "has 3 items; 2 are allowed",
    ),
    (
        "compartments = [3, 4]",
        "compartments = [3, ¶\"4\"]",
        "bank[bank-a].board[1].compartments[1]",
        "a whole number is allowed",
    ),
    (
        "scale = 0.1",
        "scale = ¶inf",
        "device[cold-1].serial.registers[0].scale",
        "a finite number is allowed",
    ),
    (
        "unit = \"Cel\"",
        "unit = ¶\"\"",
        "device[cold-1].serial.registers[0].unit",
        "such as Cel or %RH",
    ),
    (
        "name = \"temperature\"",
        "name = ¶\"the temperature\"",
        "device[cold-1].serial.registers[0].name",
        "letters, digits and -:./_",
    ),
    (
        "held_open_s = 60",
        "held_open_s = ¶0",
        "device[cold-1].serial.registers[1].held_open_s",
        "is 0; 1 to",
    ),
    (
        "id = \"b1\"",
        "id = ¶\"B1\"",
        "building[0].id",
        "1 to 63 of a-z",
    ),
    (
        "id = \"bus-1\"",
        "id = ¶\"Bus 1\"",
        "port[0].id",
        "1 to 63 of a-z",
    ),
    (
        "[[building]]\nid = \"b1\"",
        "[[¶bulding]]\nid = \"b1\"",
        "bulding",
        "did you mean 'building'?",
    ),
];

const SENSE: &[Case] = &[
    (
        "[cloud]",
        "¶[external_broker]\nurl = \"mqtt://h\"\n[cloud]",
        "external_broker",
        "exclude each other",
    ),
    (
        "id = \"cold-1\"",
        "¶id = \"door-1\"",
        "device[door-1].id",
        "names two of bank, desk and device",
    ),
    (
        "id = \"b1\"\n",
        "id = \"b1\"\n[[building]]\n¶id = \"b1\"\n",
        "building[b1].id",
        "stands twice",
    ),
    (
        "id = \"desk-1\"\nbuilding = \"b1\"",
        "id = \"desk-1\"\n¶building = \"b2\"",
        "desk[desk-1].building",
        "add [[building]] id = \"b2\", or correct it (there: b1)",
    ),
    (
        "point = \"desk-1\"",
        "¶point = \"desk-2\"",
        "device[scanner-1].point",
        "no bank or desk",
    ),
    (
        "anonymous = [\"door-1\"]",
        "anonymous = [¶\"door-2\"]",
        "broker.anonymous[0]",
        "add it or remove it",
    ),
    (
        "[broker]\nlisten = \"127.0.0.1:1883\"\nanonymous = [\"door-1\"]",
        "[external_broker]\n¶url = \"http://me:secret@h\"",
        "external_broker.url",
        "write mqtt://HOST:PORT",
    ),
    (
        "[broker]\nlisten = \"127.0.0.1:1883\"\nanonymous = [\"door-1\"]",
        "[external_broker]\nurl = \"mqtt://h\"\n¶password_file = \"p\"",
        "external_broker.password_file",
        "needs external_broker.username",
    ),
    (
        "    { count = 1, size = \"M\" },\n    { count = 1, size = \"L\" },\n]\n[[bank.board]]\nport = \"bus-2\"\naddress = 10\ncompartments = [1, 2]\nrelay = { flash_address = 0x0200 }",
        "]",
        "bank[bank-b].compartments",
        "1 to 512 are allowed",
    ),
    (
        "url = \"https://cloud.example\"",
        "¶url = \"http://me:secret@cloud.example\"",
        "cloud.url",
        "remove it",
    ),
    (
        "url = \"https://cloud.example\"",
        "url = \"https://cloud.example\"\n¶client_certificate_file = \"c\"",
        "cloud.client_certificate_file",
        "set cloud.client_key_file",
    ),
    (
        "url = \"https://cloud.example\"",
        "url = \"https://cloud.example\"\n¶client_key_file = \"c\"",
        "cloud.client_key_file",
        "set cloud.client_certificate_file",
    ),
    (
        "url = \"https://cloud.example\"",
        "url = \"http://127.0.0.1:1\"\n¶ca_file = \"c\"",
        "cloud.ca_file",
        "make it https",
    ),
    (
        "kib_per_s = 128",
        "¶kib_per_s = 1",
        "limits.kib_per_s",
        "16 to 1000000 is allowed",
    ),
    (
        "kib_per_s = 128",
        "¶kib_burst = 1",
        "limits.kib_burst",
        "128 to 2000000 is allowed with kib_per_s = 128",
    ),
    (
        "code_min_digits = 6",
        "¶code_min_digits = 9",
        "rules.code_min_digits",
        "exchange them",
    ),
    (
        "lockout_first_s = 60",
        "¶lockout_first_s = 3600",
        "rules.lockout_first_s",
        "exchange them",
    ),
];

const ON_PORTS: &[Case] = &[
    (
        "id = \"bus-3\"",
        "¶id = \"tty-1\"",
        "port[tty-1].id",
        "stands twice",
    ),
    (
        "path = \"/dev/ttyS5\"",
        "¶path = \"/dev/ttyS4\"",
        "port[link-1].path",
        "remove one of them",
    ),
    (
        "protocol = \"osdp\"",
        "protocol = \"osdp\"\n¶multi_drop = true",
        "port[bus-3].multi_drop",
        "remove it",
    ),
    (
        "serial = { port = \"link-1\", address = 1 }",
        "serial = { port = \"link-1\", address = 1 }\n[[device]]\nid = \"sensor-2\"\nbuilding = \"b1\"\nserial = { port = \"link-1\", address = 2 }",
        "port[link-1]",
        "set multi_drop = true",
    ),
    (
        "serial = { port = \"link-1\"",
        "serial = { ¶port = \"link-2\"",
        "device[sensor-1].serial.port",
        "add [[port]] id = \"link-2\"",
    ),
    (
        "port = \"bus-1\"\naddress = 1",
        "¶port = \"bus-9\"\naddress = 1",
        "bank[bank-a].board[1].port",
        "add [[port]]",
    ),
    (
        "relay = { flash_address = 0x0200 }",
        "relay = { flash_address = 0x0200 }\n[bank.serial]\nport = \"link-1\"\naddress = 2",
        "bank[bank-b].serial",
        "remove one",
    ),
    (
        "port = \"bus-1\"\naddress = 1",
        "port = \"bus-2\"\naddress = 1",
        "bank[bank-a].board",
        "are on several ports",
    ),
    (
        "compartments = [3, 4]",
        "¶compartments = [2, 4]",
        "bank[bank-a].board[1].compartments",
        "compartment 2 is on two boards",
    ),
    (
        "compartments = [3, 4]",
        "compartments = [3, 3]",
        "bank[bank-a].board",
        "none opens compartment 4",
    ),
    (
        "port = \"bus-1\"\naddress = 1",
        "¶port = \"tty-1\"\naddress = 1",
        "bank[bank-a].board[1].port",
        "name one that speaks",
    ),
    (
        "port = \"bus-1\"\naddress = 1",
        "port = \"bus-1\"\n¶address = 16",
        "bank[bank-a].board[1].address",
        "0 to 15 is allowed",
    ),
    (
        "relay = { flash_address = 0x0200 }",
        "",
        "bank[bank-b].board[0].relay",
        "add relay = {",
    ),
    (
        "compartments = [3, 4]",
        "compartments = [3, 4]\n¶relay = { flash_address = 1 }",
        "bank[bank-a].board[1].relay",
        "is for Modbus: remove it",
    ),
    (
        "relay = { flash_address = 0x0200 }",
        "relay = { flash_address = 0x0200 }\n¶occupied = \"one\"",
        "bank[bank-b].board[0].occupied",
        "remove it",
    ),
    (
        "compartments = [3, 4]",
        "¶compartments = [3, 5]",
        "bank[bank-a].board[1].compartments",
        "from 1 to 4",
    ),
    (
        "compartments = [3, 4]",
        "compartments = [3, 4]\n¶channels = [1]",
        "bank[bank-a].board[1].channels",
        "list one channel for each",
    ),
    (
        "compartments = [3, 4]",
        "compartments = [3, 4]\n¶channels = [1, 17]",
        "bank[bank-a].board[1].channels",
        "1 to 16 is allowed",
    ),
    (
        "serial = { port = \"link-1\", address = 1 }",
        "serial = { ¶port = \"bus-1\", address = 5 }",
        "device[sensor-1].serial.port",
        "write them as [[bank.board]]",
    ),
    (
        "door = \"door-1\"",
        "door = \"door-1\"\n¶says = \"scan\"",
        "device[reader-1].serial.says",
        "is for ports that speak lines: remove it",
    ),
    (
        ", says = \"scan\"",
        "",
        "device[scanner-1].serial.says",
        "add says = \"scan\"",
    ),
    (
        "\"link-1\", address = 1",
        "\"bus-2\", address = 8",
        "device[sensor-1].serial.registers",
        "add what is to be read",
    ),
    (
        "\"link-1\", address = 1",
        "\"link-1\", ¶address = 127",
        "device[sensor-1].serial.address",
        "1 to 126 is allowed",
    ),
    (
        "\"link-1\", address = 1",
        "\"link-1\"",
        "device[sensor-1].serial.address",
        "is missing: set it, 1 to 126",
    ),
    (
        "says = \"scan\"",
        "says = \"scan\", ¶address = 3",
        "device[scanner-1].serial.address",
        "has none: remove it",
    ),
    (
        "key_file = \"reader.key\"\n",
        "",
        "device[reader-1].serial.key_file",
        "linli serial commission reader-1",
    ),
    (
        "key_file = \"reader.key\"\n",
        "key_file = \"reader.key\"\n¶insecure = true\n",
        "device[reader-1].serial.insecure",
        "remove 'insecure'",
    ),
    (
        "door = \"door-1\"\n",
        "",
        "device[reader-1].serial.door",
        "set serial.door",
    ),
    (
        "port = \"bus-1\"\naddress = 1",
        "port = \"bus-1\"\n¶address = 0",
        "bank[bank-a].board[1].address",
        "one address is one device",
    ),
    (
        "name = \"cellar\"",
        "¶name = \"temperature\"",
        "device[cold-1].serial.registers[1].name",
        "give each a name",
    ),
    (
        "flash_address = 0x0200",
        "¶flash_address = 0xffff",
        "bank[bank-b].board[0].relay.flash_address",
        "write that of channel 1",
    ),
    (
        "scale = 0.1",
        "scale = 0.1, ¶type = \"bool\"",
        "device[cold-1].serial.registers[0].type",
        "is 16 bits",
    ),
    (
        "address = 0, door_closed",
        "address = 0, ¶type = \"u16\", door_closed",
        "device[cold-1].serial.registers[1].type",
        "is one bit",
    ),
    (
        "    { name = \"cellar\", function",
        "    ¶{ name = \"cellar\", unit = \"Cel\", function",
        "device[cold-1].serial.registers[1]",
        "neither scale nor unit",
    ),
    (
        "scale = 0.1",
        "¶scale = 0",
        "device[cold-1].serial.registers[0].scale",
        "a number other than 0",
    ),
    (
        "address = 1, scale",
        "¶address = 65535, type = \"f32\", scale",
        "device[cold-1].serial.registers[0].address",
        "is the last one",
    ),
    (
        "scale = 0.1",
        "scale = 0.1, ¶door_closed = true",
        "device[cold-1].serial.registers[0].door_closed",
        "is for coil and discrete",
    ),
    (
        "scale = 0.1",
        "scale = 0.1, ¶held_open_s = 5",
        "device[cold-1].serial.registers[0].held_open_s",
        "set door_closed beside it",
    ),
    (
        "name = \"cellar\"",
        "¶name = \"Cellar\"",
        "device[cold-1].serial.registers[1].name",
        "its name is a door's",
    ),
];

fn all_cases() -> impl Iterator<Item = &'static Case> {
    STRUCTURE.iter().chain(SENSE).chain(ON_PORTS)
}

/// The text of a case, and the line that its fault is expected on, if it says.
fn written((right, wrong, ..): &Case) -> (String, Option<usize>) {
    assert!(ESTATE.contains(right), "the estate has no {right}");
    let marked = ESTATE.replacen(right, wrong, 1);
    let line = marked
        .find(HERE)
        .map(|at| marked[..at].matches('\n').count() + 1);
    (marked.replace(HERE, ""), line)
}

#[test]
fn the_estate_itself_is_good() {
    if let Err(errors) = Config::parse(ESTATE) {
        panic!("{}", errors.join("\n"));
    }
}

#[test]
fn each_fault_is_told_at_its_place_and_alone() {
    let mut wrong = Vec::new();
    for case in all_cases() {
        let (text, line) = written(case);
        let (_, _, key, says) = case;
        let told = load(&text).err().map(|(told, _)| told).unwrap_or_default();
        let is_it = |fault: &Told| {
            fault.key == *key
                && fault.what.contains(says)
                && line.is_none_or(|line| fault.line == line)
        };
        if told.len() != 1 || !told.iter().all(is_it) {
            wrong.push(format!("{case:?}, line {line:?}, gave {told:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_fault_names_a_remedy() {
    for case in all_cases() {
        for fault in load(&written(case).0).err().unwrap_or_default().0 {
            let what = &fault.what;
            let names_one = REMEDIES.iter().any(|remedy| what.contains(remedy));
            assert!(names_one, "what is to be done about this? {what}");
            assert!(!what.contains("secret"), "{what}");
            assert!(what.len() < 400 && !what.contains('\n'), "{what}");
        }
    }
}

/// Says that every call of `Faults::at` in this folder is reached by a case above.
#[test]
fn no_check_is_without_a_case() {
    let mut reached = BTreeSet::new();
    let twenty_one = "x y\n".repeat(25);
    let too_many_registers = {
        let register = |i| format!("{{ name = \"r{i}\", function = \"input\", address = {i} }}");
        let registers: Vec<String> = (0..300).map(register).collect();
        ESTATE.replacen(
            "registers = [",
            &format!("registers = [{},", registers.join(", ")),
            1,
        )
    };
    let texts = all_cases().map(|case| written(case).0);
    for text in texts.chain([twenty_one, too_many_registers]) {
        let (_, _, faults) = judge(&text);
        assert!(!faults.is_empty());
        for fault in faults.all() {
            let said_at = fault.said_at();
            let file = Path::new(said_at.file()).file_name().unwrap();
            reached.insert((file.to_owned(), said_at.line() as usize));
        }
    }
    let mut without = Vec::new();
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        let ours = text.split("#[cfg(test)]").next().unwrap();
        for (i, line) in ours.lines().enumerate() {
            let calls = line.contains("errors.at(") || line.trim_start().starts_with(".at(");
            // What the schema lets through and the types don't: there is nothing of the kind.
            let never = line.contains("can't be taken");
            let name = file.file_name().unwrap().to_owned();
            if calls && !never && !reached.contains(&(name, i + 1)) {
                without.push(format!("{}:{}", file.display(), i + 1));
            }
        }
    }
    assert!(
        without.is_empty(),
        "add a case to src/config/faults_tests.rs for the checks at\n{}",
        without.join("\n")
    );
}

fn sources() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|file| !file.to_string_lossy().ends_with("_tests.rs"))
        .filter(|file| file.extension().is_some_and(|end| end == "rs"))
        .collect();
    files.sort();
    assert!(files.len() > 10);
    files
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_the_lines() {
    let text = "\
sight = \"s\"
[broker]
listen = 7
max_connections = 0
[rules
code_min_digits = 99
[[building]]
id = \"B 1\"
[[device]]
id = \"door-1\"
building = \"b1\"
point = \"desk-9\"
[[device]]
building = \"b1\"
colour = red
";
    let told = load(text).err().unwrap().0;
    let told: Vec<String> = told
        .iter()
        .map(|fault| format!("{}: {}", fault.line, fault.key))
        .collect();
    assert_eq!(
        told,
        [
            "1: sight",
            "3: broker.listen",
            "4: broker.max_connections",
            "5: ",
            "8: building[0].id",
            "12: device[door-1].point",
            "15: ",
        ]
    );
}

#[test]
fn a_file_that_is_no_text_or_not_there_is_told_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("linli.toml");
    let said = |file: &Path| Config::read(file).err().unwrap().to_string();
    assert!(said(&file).contains("Write one with 'linli init'"));
    fs::write(&file, b"site = \"s\"\n# \xff\n").unwrap();
    assert!(
        said(&file).contains("linli.toml:2: isn't UTF-8 text"),
        "{}",
        said(&file)
    );
    fs::write(&file, "#".repeat(2 << 20)).unwrap();
    assert!(said(&file).contains("at most 1048576 are allowed"));
    fs::write(&file, "site = 7\n").unwrap();
    let wanted = format!(
        "{0} can't be used:\n  {0}:1: site: is a whole number; text in quotes is allowed, as in \"b1\"",
        file.display()
    );
    assert_eq!(said(&file), wanted);
}
