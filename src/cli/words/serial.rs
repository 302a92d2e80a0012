//! What is said of serial ports and of what hangs on them.

use super::{Trouble, count, length, number, some};
use crate::cli::look::Look;
use crate::control::health::serial::{Noted, Poor, Silent};
use crate::links::serial::monitor::Heard;
use crate::links::serial::status::{PortFault, PortView, SlaveView};

/// There is no serial port in the configuration.
pub const NONE: &str =
    "No serial port stands in the configuration. See linli serial list for those of this machine.";

/// What happened on a port, and what to do about it.
pub fn trouble(look: &Look, trouble: &Trouble) -> (String, String) {
    match trouble {
        Trouble::PortDown {
            port,
            path,
            protocol,
            baud,
            up,
            fault,
            since_ms,
            banks,
            devices,
        } => {
            let words = fault_words(fault, protocol, *baud);
            let what = match (fault, up) {
                (PortFault::InUse { .. }, true) => format!(
                    "Serial port {port} ({path}) {words}, too, which takes bytes that are meant for linli."
                ),
                _ => format!(
                    "Serial port {port} ({path}) {words}, since {}.{}",
                    look.time(*since_ms),
                    concerned(banks, devices)
                ),
            };
            (what, remedy(fault, port, path))
        }
        Trouble::SlavesSilent {
            port,
            others_answer,
            slaves,
        } => silent(look, port, *others_answer, slaves),
        Trouble::LinePoor { port, baud, slaves } => poor(port, *baud, slaves),
        Trouble::SlavesNoted { port, slaves } => noted(port, slaves),
        _ => Default::default(),
    }
}

/// What is wrong with a port, after its name.
pub fn fault_words(fault: &PortFault, protocol: &str, baud: u32) -> String {
    match fault {
        PortFault::Missing => "isn't there".to_string(),
        PortFault::Unplugged => "was unplugged".to_string(),
        PortFault::Denied => "may not be opened by linli".to_string(),
        PortFault::InUse { by: Some(by) } => format!("is in use by {by}"),
        PortFault::InUse { by: None } => "is in use by another process".to_string(),
        PortFault::NotSerial => "is no serial port".to_string(),
        PortFault::Garbled => {
            format!("hears bytes that make no sense as {protocol} at {baud} baud")
        }
        PortFault::Other { error } => format!("can't be used: {error}"),
    }
}

/// What to do about it.
fn remedy(fault: &PortFault, port: &str, path: &str) -> String {
    match fault {
        PortFault::Missing => format!(
            "Is the adapter plugged in? linli serial list shows the ports that are there: if it has another name now, correct path of [[port]] id = \"{port}\" in the configuration, then: linli config reload; a path below /dev/serial/by-id stays the same. When it is there it is opened by itself."
        ),
        PortFault::Unplugged => "Plug the adapter in again; the port is opened by itself, also under another name if its path lies below /dev/serial/by-id or by-path. If it comes and goes by itself: dmesg, another cable, another socket.".to_string(),
        PortFault::Denied => format!(
            "Let linli's user open it: sudo usermod -aG dialout linli, then restart: systemctl restart linli. The group of the port: ls -lL {path}"
        ),
        PortFault::InUse { by: Some(by) } => format!(
            "Stop {by}; it may be a terminal program, a second linli or a modem service (systemctl disable --now ModemManager). The port is opened by itself then."
        ),
        PortFault::InUse { by: None } => format!(
            "See who has it open (sudo fuser -v {path}) and stop that process; it may be a terminal program or a modem service. The port is opened by itself then."
        ),
        PortFault::NotSerial => format!(
            "Correct path of [[port]] id = \"{port}\" in the configuration: linli serial list shows the serial ports of this machine."
        ),
        PortFault::Garbled => format!(
            "Another rate or protocol than the devices have, most likely, or the wires A and B are swapped. To find out: stop linli (systemctl stop linli), then linli serial scan {path}"
        ),
        PortFault::Other { .. } => {
            "It is tried again by itself. Pull the adapter out and plug it in again; see dmesg for what the system says.".to_string()
        }
    }
}

fn concerned(banks: &[String], devices: &[String]) -> String {
    let mut text = String::new();
    if !banks.is_empty() {
        let bank = if banks.len() == 1 { "bank" } else { "banks" };
        text.push_str(&format!(
            " The doors of {bank} {} can't be opened.",
            some(banks)
        ));
    }
    if !devices.is_empty() {
        text.push_str(&format!(" Not heard: {}.", some(devices)));
    }
    text
}

fn silent(look: &Look, port: &str, others_answer: bool, slaves: &[Silent]) -> (String, String) {
    let each: Vec<String> = slaves
        .iter()
        .map(|slave| {
            let doors = slave
                .compartments
                .map_or_else(String::new, |[first, last]| {
                    format!(", so its compartments {first} to {last} can't be opened")
                });
            let last = match slave.last_answer_ms {
                Some(at_ms) => format!("last heard {}", look.time(at_ms)),
                None => "not heard since the start".to_string(),
            };
            format!("{} ({last}){doors}", at(&slave.device, slave.address))
        })
        .collect();
    let number = slaves.len() as u64;
    let what = format!(
        "{} on serial port {port}: {}.",
        count(number, "device doesn't answer", "devices don't answer"),
        joined(&each)
    );
    let remedy = match others_answer {
        true => {
            "Others on the same port answer, so look at the device itself: its power, its plug on the bus, its address (the switches on the board, and the address in the configuration)."
        }
        false => {
            "Nothing on this port answers: is the power on, are the wires A and B swapped or off, is the rate right? To find out: stop linli (systemctl stop linli), then linli serial scan with the port's path."
        }
    };
    (what, remedy.to_string())
}

fn poor(port: &str, baud: u32, slaves: &[Poor]) -> (String, String) {
    let each: Vec<String> = slaves
        .iter()
        .map(|slave| {
            let quality = slave.quality;
            format!("{} {quality} %", at(&slave.device, slave.address))
        })
        .collect();
    let what = format!(
        "The line of serial port {port} is poor; of the last hundred requests were answered at once: {}.",
        joined(&each)
    );
    let remedy = format!(
        "It still works, slower. Look for a missing or a second termination (120 ohms at both ends of the bus, nowhere else), loose or long wires, a missing common ground, cables beside mains; a lower rate than {baud} baud bears more. See linli serial status for each device."
    );
    (what, remedy)
}

fn noted(port: &str, slaves: &[Noted]) -> (String, String) {
    let each: Vec<String> = slaves
        .iter()
        .map(|slave| format!("{}: {}", at(&slave.device, slave.address), slave.note))
        .collect();
    (
        format!("On serial port {port}: {}.", joined(&each)),
        "See linli serial status, and linli serial monitor for what goes over the line."
            .to_string(),
    )
}

/// A device, with its address.
fn at(device: &str, address: Option<u8>) -> String {
    match address {
        Some(address) => format!("{device} at address {address}"),
        None => device.to_string(),
    }
}

/// The first few texts, and how many more.
fn joined(each: &[String]) -> String {
    const SHOWN: usize = 6;
    let mut text = each
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join("; ");
    if let Some(more) = each.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

/// A port, on a line of the status.
pub fn line(port: &PortView) -> String {
    let state = match (&port.fault, port.up) {
        (Some(fault), _) => fault_words(fault, &port.protocol, port.baud),
        (None, true) => "up".to_string(),
        (None, false) => "not open yet".to_string(),
    };
    let mut text = format!(
        "{}: {state}, {} at {} baud on {}",
        port.port,
        port.protocol,
        port.baud,
        port.device.as_ref().unwrap_or(&port.path)
    );
    let answering = port
        .slaves
        .iter()
        .filter(|slave| slave.answers == Some(true));
    if port.up && !port.slaves.is_empty() {
        text.push_str(&format!(
            "; {} of {} answer",
            answering.clone().count(),
            count(port.slaves.len() as u64, "device", "devices")
        ));
    }
    if let Some(worst) = answering.filter_map(|slave| slave.quality).min() {
        text.push_str(&format!(", quality {worst} %"));
    }
    text
}

/// A port, over the table of what hangs on it.
pub fn heading(port: &PortView) -> String {
    let mut text = line(port);
    text.push_str(&format!(
        "; as it is for {}, opened {}",
        length(port.for_ms),
        count(port.opened, "time", "times")
    ));
    if let Some(echo) = port.echo {
        text.push_str(match echo {
            true => "; the adapter hears what it sends",
            false => "; no echo",
        });
    }
    if port.noise_bytes > 0 {
        text.push_str(&format!(
            "; {} of noise",
            count(port.noise_bytes, "byte", "bytes")
        ));
    }
    text
}

/// Whether a device on a port answers.
pub const fn answers(answers: Option<bool>) -> &'static str {
    match answers {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "not yet",
    }
}

/// The round trip: `3.1 / 8 ms`, the median and the longest.
pub fn round_trip(slave: &SlaveView) -> String {
    slave.rtt_ms.map_or_else(String::new, |(median, longest)| {
        format!("{median:.1} / {longest:.0} ms")
    })
}

/// A count, or nothing.
pub fn counted(n: u64) -> String {
    match n {
        0 => String::new(),
        n => number(n),
    }
}

/// The machine has no serial port.
pub const NO_PORTS: &str = "This machine has no serial port. Plug an adapter in; on a board with a UART, switch it on in the device tree.";

/// The daemon has the port.
pub fn daemon_has(path: &str, port: &str) -> String {
    format!(
        "the running linli has {path} (its port '{port}'), so a scan would disturb it. Stop it first: systemctl stop linli, then scan, then systemctl start linli. To only listen: linli serial monitor {port}"
    )
}

/// A port that can't be opened.
pub fn cannot_open(path: &str, fault: &PortFault, protocol: &str, baud: u32) -> String {
    let what = fault_words(fault, protocol, baud);
    let remedy = match fault {
        PortFault::Missing | PortFault::Unplugged | PortFault::NotSerial => {
            "linli serial list shows the serial ports of this machine".to_string()
        }
        PortFault::Denied => {
            "use sudo, or join its group: sudo usermod -aG dialout $USER, then log in again"
                .to_string()
        }
        PortFault::InUse { by: Some(by) } => format!("stop {by} first"),
        PortFault::InUse { by: None } => format!("see who has it: sudo fuser -v {path}"),
        PortFault::Garbled | PortFault::Other { .. } => {
            "pull the adapter out and plug it in again, see dmesg".to_string()
        }
    };
    format!("{path} {what}: {remedy}")
}

/// A port that is listened to through the daemon.
pub fn listening_through_daemon(port: &str) -> String {
    format!("Listening to {port} through the daemon. Ctrl-C ends it.")
}

/// A port that is listened to.
pub fn listening(path: &str, protocol: &str, baud: u32) -> String {
    format!("Listening to {path} as {protocol} at {baud} baud; nothing is sent. Ctrl-C ends it.")
}

/// A port of which it isn't known what is spoken.
pub fn which_protocol(port: &str) -> String {
    format!(
        "'{port}' is no port of the running daemon nor of the configuration, so say what is spoken on it: --protocol, and --baud. linli serial scan {port} finds out"
    )
}

/// A port that failed while it was listened to.
pub fn went_away(path: &str, why: &dyn std::fmt::Display) -> String {
    format!("{path} failed: {why}. Was the adapter unplugged?")
}

/// How far the bytes are set in below the words.
pub const HEARD_INDENT: usize = 14;

/// Something that went over a line.
pub fn heard(look: &Look, heard: &Heard) -> String {
    let gap = match heard.gap_ms {
        ms if ms < 1.0 => String::new(),
        ms if ms < 1_000.0 => format!("+{ms:.0} ms"),
        ms => format!("+{:.1} s", ms / 1_000.0),
    };
    format!(
        "{}.{:03}  {gap:>8}  {:<7}  {}",
        look.time(heard.at_ms),
        heard.at_ms.rem_euclid(1_000),
        heard.from,
        heard.words
    )
}
