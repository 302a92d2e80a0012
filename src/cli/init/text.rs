//! The configuration's text: what was answered, each section with a line on what it is; what was left out
//! stands there as a comment with its default.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use cloud_protocol::downlink::{Size, Zone};

use super::answers::{Answers, Bank, Cloud, OnPort, Port};
use crate::config::serial::Protocol;

/// Where MQTT over TLS listens.
pub fn tls_listen(listen: SocketAddr) -> SocketAddr {
    let port = if listen.port() == 8883 { 8884 } else { 8883 };
    SocketAddr::new(listen.ip(), port)
}

/// The file.
pub fn text(answers: &Answers) -> String {
    let mut out = String::new();
    head(&mut out, answers);
    broker(&mut out, answers);
    cloud(&mut out, answers.cloud.as_ref());
    out.push_str(REST);
    estate(&mut out, answers);
    ports(&mut out, answers);
    out
}

fn head(out: &mut String, answers: &Answers) {
    let _ = write!(
        out,
        "\
#:schema {}
# A gateway's configuration, made by 'linli init'. A key that isn't set has the default that stands here
# as a comment; an unknown key is an error. Try what you change: linli config check. Have the running
# gateway take it over: linli config reload.

# The site's id; unless [cloud] says otherwise, the gateway's name at the cloud.
site = {}
# Everything that the gateway keeps: the store, its keys, the devices' password hashes.
state_dir = {}

# The local API, for linli's commands.
",
        answers.schema,
        quoted(answers.site.as_str()),
        path(&answers.state_dir),
    );
    let _ = match &answers.socket {
        Some(socket) => writeln!(out, "[control]\nsocket = {}", path(socket)),
        None => {
            let socket = answers.state_dir.join("control.sock");
            writeln!(out, "# [control]\n# socket = {}", path(&socket))
        }
    };
}

fn broker(out: &mut String, answers: &Answers) {
    let listen = answers.listen;
    let _ = write!(
        out,
        "
# The embedded broker. Devices log in with their id as user name and client id; make a password with:
# linli device password ID
[broker]
listen = {}
# Devices that may log in without a password. Leave it empty outside a workshop.
# anonymous = []
# The most connections at once.
# max_connections = 1200

# MQTT over TLS. The certificate comes from the estate's own certificate authority: linli ca --help
",
        quoted(&listen.to_string())
    );
    let mark = if answers.mqtts { "" } else { "# " };
    let tls = quoted(&tls_listen(listen).to_string());
    let _ = write!(
        out,
        "\
{mark}[broker.tls]
{mark}listen = {tls}
# The names and addresses that devices reach this box by. Default: its host name and addresses.
# names = []
# Whether devices may log in with a certificate instead: off, optional, required.
# client_certificates = \"optional\"
{}",
        EXTERNAL
    );
}

const EXTERNAL: &str = "
# A broker of your own instead of the embedded one: remove [broker] and [broker.tls], and take this.
# [external_broker]
# url = \"mqtt://127.0.0.1:1883\"
# username = \"gateway\"
# password_file = \"credential:broker-password\"
";

fn cloud(out: &mut String, cloud: Option<&Cloud>) {
    let mark = if cloud.is_some() { "" } else { "# " };
    let url = cloud.map_or("https://cloud.example", |cloud| &cloud.url);
    let token_file = match cloud.and_then(|cloud| cloud.token.as_ref()) {
        Some((_, file)) => format!("token_file = {}", quoted(file)),
        None => "# token_file = \"credential:cloud-token\"".to_string(),
    };
    let _ = write!(
        out,
        "
# The cloud. Without this section the gateway works alone. Plain http only to this machine.
{mark}[cloud]
{mark}url = {}
# The gateway's name at the cloud, if it isn't the site's.
# gateway = \"the-site\"
# The one-time token to enrol with at the first start; it isn't read again. Without it: linli sync enrol
{token_file}
# Trust only these certificate authorities (PEM) instead of the machine's.
# ca_file = \"/etc/linli/cloud-ca.pem\"
# A certificate of this gateway's own (PEM) and its key, if the cloud asks for one.
# client_certificate_file = \"/etc/linli/gateway.pem\"
# client_key_file = \"credential:gateway.key\"
",
        quoted(url)
    );
}

/// What isn't asked for.
const REST: &str = "
# What the line to the cloud costs.
# [cloud.line]
# Each byte costs: the gateway asks for news every 300 s instead of every 50.
# metered = false
# What may cross it in a month, MiB, both ways; 0 for no limit. Parcels are never held back.
# monthly_mib = 0
# The day on which the month's count starts again, 1 to 28.
# month_starts = 1
# Over how long what isn't urgent is spread, s; 0 sends at once.
# spread_s = 900

# How events are written: how long readings and access events may wait for company, ms, to spare the
# flash. What a person waits for never does.
# [journal]
# gather_ms = 20

# How long events are kept, and how large the store may grow.
# [retention]
# access_days = 7
# events_days = 90
# store_max_mib = 1024

# How much each device may send: in the long run, and at once, as after an outage. A rate of 0 is no
# limit. A device over it is slowed; nothing is lost.
# [limits]
# events_per_s = 100
# events_burst = 20000
# urgent_per_s = 20
# urgent_burst = 2000
# kib_per_s = 128
# kib_burst = 8192

# Hand-overs: how long a parcel may wait if the cloud doesn't say (h); wrong codes until a keypad locks,
# and for how long (s); the shortest and the longest code (digits).
# [rules]
# retention_h = 24
# lockout_after = 5
# lockout_first_s = 60
# lockout_longest_s = 900
# code_min_digits = 6
# code_max_digits = 8

# MQTT clients that speak for devices of others, as Zigbee2MQTT does; and a device that one speaks for,
# which needs a profile: linli profile list
# [[bridge]]
# id = \"z2m\"
";

fn estate(out: &mut String, answers: &Answers) {
    out.push_str("\n# Buildings: demand is counted by them.\n");
    if answers.buildings.is_empty() {
        out.push_str("# [[building]]\n# id = \"b1\"\n");
    }
    for building in &answers.buildings {
        let _ = writeln!(out, "[[building]]\nid = {}", quoted(building.as_str()));
    }
    out.push_str(
        "\n# Locker banks. A bank is also a device: its controller logs in with the bank's id, unless boards on a\n# serial port open its compartments.\n",
    );
    if answers.banks.is_empty() {
        out.push_str("# [[bank]]\n# id = \"bank-a\"\n# building = \"b1\"\n# address = \"\"\n# compartments = [{ count = 8, size = \"S\" }]\n");
    }
    for one in &answers.banks {
        bank(out, answers, one);
    }
    out.push_str("\n# Desks. A desk's terminal logs in with its id.\n");
    if answers.desks.is_empty() {
        out.push_str("# [[desk]]\n# id = \"desk-1\"\n# building = \"b1\"\n# address = \"\"\n");
    }
    for desk in &answers.desks {
        let _ = writeln!(
            out,
            "[[desk]]\nid = {}\nbuilding = {}",
            quoted(desk.id.as_str()),
            quoted(desk.building.as_str())
        );
        place(out, &desk.address);
        hangs(out, answers, desk.id.as_str());
    }
    out.push_str(
        "\n# Other devices: door readers, sensors, the keypads and scanners of banks and desks.\n",
    );
    if answers.devices.is_empty() {
        out.push_str("# [[device]]\n# id = \"door-1\"\n# building = \"b1\"\n");
    }
    for device in &answers.devices {
        let _ = writeln!(
            out,
            "[[device]]\nid = {}\nbuilding = {}",
            quoted(device.id.as_str()),
            quoted(device.building.as_str())
        );
        if let Some(point) = &device.point {
            let _ = writeln!(out, "point = {}", quoted(point.as_str()));
        }
        hangs(out, answers, device.id.as_str());
    }
}

fn bank(out: &mut String, answers: &Answers, bank: &Bank) {
    let _ = writeln!(
        out,
        "[[bank]]\nid = {}\nbuilding = {}",
        quoted(bank.id.as_str()),
        quoted(bank.building.as_str())
    );
    place(out, &bank.address);
    out.push_str(
        "# Whether compartments can tell that something is in them.\n# occupancy_sensor = true\n# Numbered from 1 on in this order.\ncompartments = [\n",
    );
    for run in &bank.runs.0 {
        let _ = write!(
            out,
            "    {{ count = {}, size = \"{}\"",
            run.count,
            size(run.size)
        );
        if let Some(zone) = zone(run.zone) {
            let _ = write!(out, ", zone = \"{zone}\"");
        }
        if run.low {
            out.push_str(", low = true");
        }
        out.push_str(" },\n");
    }
    out.push_str("]\n");
    hangs(out, answers, bank.id.as_str());
    for board in answers.boards.iter().filter(|board| board.bank == bank.id) {
        let [first, last] = board.compartments;
        let _ = writeln!(
            out,
            "[[bank.board]]\nport = {}\naddress = {}\ncompartments = [{first}, {last}]",
            quoted(board.port.as_str()),
            board.address
        );
        out.push_str(
            "# Their channels on the board, if not 1, 2, 3, …; the state bit of a closed door: one or zero.\n# closed = \"one\"\n",
        );
    }
}

fn hangs(out: &mut String, answers: &Answers, id: &str) {
    let Some(on) = answers.on_ports.iter().find(|on| on.device.as_str() == id) else {
        return;
    };
    let Some(port) = answers.ports.iter().find(|port| port.id == on.port) else {
        return;
    };
    let _ = write!(out, "serial = {{ port = {}", quoted(on.port.as_str()));
    if let Some(address) = on.address {
        let _ = write!(out, ", address = {address}");
    }
    more(out, answers, port, on);
    out.push_str(" }\n");
}

fn more(out: &mut String, answers: &Answers, port: &Port, on: &OnPort) {
    let _ = match (port.protocol, &on.what) {
        (Protocol::Lines, Some(what)) => write!(out, ", says = {}", quoted(what)),
        (Protocol::Osdp, door) => {
            let key = answers.state_dir.join(format!("{}.key", on.device));
            let _ = write!(out, ", key_file = {}", path(&key));
            match door {
                Some(door) => write!(out, ", door = {}", quoted(door)),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    };
}

fn ports(out: &mut String, answers: &Answers) {
    out.push_str(
        "\n# Serial ports. 'linli serial list' shows those of this machine, 'linli serial scan' what hangs there.\n",
    );
    if answers.ports.is_empty() {
        out.push_str("# [[port]]\n# id = \"bus-1\"\n# path = \"/dev/ttyUSB0\"\n# protocol = \"kerong-cu16\"\n");
    }
    for port in &answers.ports {
        let _ = writeln!(
            out,
            "[[port]]\nid = {}\npath = {}\nprotocol = \"{}\"",
            quoted(port.id.as_str()),
            path(&port.path),
            port.protocol.word()
        );
        let _ = match port.baud {
            Some(baud) => writeln!(out, "baud = {baud}"),
            None => writeln!(out, "# baud = {}", port.protocol.default_baud()),
        };
        out.push_str("# parity = \"none\"\n# stop_bits = 1\n# timeout_ms = 100\n");
        let here = answers.on_ports.iter().filter(|on| on.port == port.id);
        if port.protocol == Protocol::Linli && here.count() > 1 {
            out.push_str("multi_drop = true\n");
        }
    }
    for port in &answers.ports {
        if port.protocol == Protocol::Modbus {
            sensor(out, answers, port);
        }
    }
}

/// What hangs on Modbus has registers, which nobody can guess.
fn sensor(out: &mut String, answers: &Answers, port: &Port) {
    let building = answers.buildings.first().map_or("b1", |b| b.as_str());
    let _ = write!(
        out,
        "
# A sensor on port {0}; its registers are in its manual.
# [[device]]
# id = \"sensor-{0}\"
# building = {1}
# [device.serial]
# port = {2}
# address = 1
# registers = [{{ name = \"temperature\", function = \"input\", address = 1, type = \"i16\", scale = 0.1, unit = \"Cel\" }}]
",
        port.id.as_str().get(..48).unwrap_or(port.id.as_str()),
        quoted(building),
        quoted(port.id.as_str())
    );
}

fn place(out: &mut String, address: &str) {
    let _ = match address.is_empty() {
        true => writeln!(out, "# address = \"\""),
        false => writeln!(out, "address = {}", quoted(address)),
    };
}

const fn size(size: Size) -> &'static str {
    match size {
        Size::S => "S",
        Size::M => "M",
        Size::L => "L",
    }
}

const fn zone(zone: Zone) -> Option<&'static str> {
    match zone {
        Zone::Ambient => None,
        Zone::Chilled => Some("chilled"),
        Zone::Frozen => Some("frozen"),
    }
}

fn path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// As a TOML string.
fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}
