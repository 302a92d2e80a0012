//! What a scan of a serial port says.

use std::path::Path;
use std::time::Duration;

use super::{count, length};
use crate::config::serial::Protocol;
use crate::links::serial::boards::model;
use crate::links::serial::scan::{Finding, Outcome, Progress, Rate};

/// Nothing fits what was asked for.
pub const NOTHING_TO_ASK: &str = "nothing can be asked so: the protocol 'lines' has no requests (linli serial monitor shows whether lines come), and each protocol has addresses of its own (kerong-cu16 0-15, modbus 1-247, osdp 0-126, linli 1-126)";

/// Before it begins.
pub fn begins(path: &str, requests: u64, listen: Duration, longest: Duration) -> String {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    format!(
        "Scan of {path}: listens for {}, then sends at most {} that only ask for a status; nothing is opened or changed. At most {} in all; Ctrl-C ends it at any time.",
        length(ms(listen)),
        count(requests, "request", "requests"),
        length(ms(longest))
    )
}

/// How far it is.
pub fn progress(progress: &Progress) -> String {
    match progress {
        Progress::Listening => "Listening ...".to_string(),
        Progress::Overhearing(rate) => {
            format!(
                "The line has traffic of its own; listening at {} baud ...",
                rate_words(*rate)
            )
        }
        Progress::Asking {
            protocol,
            rate: at,
            left,
        } => format!(
            "{} baud, {} ... (at most {} left)",
            rate_words(*at),
            protocol.word(),
            length(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
        ),
        Progress::Found(found) => {
            format!(
                "found: {} at address {}: {}",
                found.protocol.word(),
                found.address,
                found.says
            )
        }
    }
}

/// A rate: `9600`, `9600 even`.
pub fn rate(rate: Rate) -> String {
    rate_words(rate)
}

fn rate_words(rate: Rate) -> String {
    match rate.even {
        true => format!("{} even", rate.baud),
        false => rate.baud.to_string(),
    }
}

/// What else is to be known of what was found.
pub fn remarks(outcome: &Outcome) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(heard) = &outcome.overheard {
        remarks.push(match (heard.protocol, heard.rate) {
            (Some(protocol), Some(rate)) => format!(
                "The line has traffic of its own: {} of {} at {} baud were heard, so nothing was sent. If another controller polls these devices, take it off the line first.",
                count(heard.frames as u64, "frame", "frames"),
                protocol.word(),
                rate_words(rate)
            ),
            _ => format!(
                "The line has traffic of its own ({} heard) that makes no sense at any of these rates, so nothing was sent. Is another controller on the line, are A and B swapped, is the termination missing? Other rates: --baud.",
                count(heard.bytes as u64, "byte", "bytes")
            ),
        });
        return remarks;
    }
    if outcome.is_ambiguous() {
        remarks.push("AMBIGUOUS: more than one protocol or rate answered. A line has one of each: take devices off the line until one is left, or name one with --protocol and --baud.".to_string());
    }
    if let Some(remark) = unreadable(outcome) {
        remarks.push(remark);
    }
    if outcome.echo {
        remarks.push("The adapter hears what it sends (echo): that is taken out.".to_string());
    }
    if outcome.found.is_empty() && outcome.unreadable.is_empty() {
        remarks.push(format!(
            "Nothing answered {}. Is the power on, are A and B swapped, is the ground connected? Devices may have other addresses (--addresses 0-255), another rate (--baud), or be slower (--timeout 300).",
            count(outcome.asked, "request", "requests")
        ));
    }
    if !outcome.complete {
        remarks.push("Not everything was tried: the scan ended early.".to_string());
    }
    remarks
}

fn unreadable(outcome: &Outcome) -> Option<String> {
    let first = outcome.unreadable.first()?;
    let many = match outcome.unreadable.len() {
        n if n >= crate::links::serial::scan::UNREADABLE_MAX => "many requests".to_string(),
        n => count(n as u64, "request", "requests"),
    };
    Some(format!(
        "To {many} came bytes that are no answer, first to {} at address {}, {} baud ({}). Two devices with one address, another parity, or a poor line.",
        first.protocol.word(),
        first.address,
        rate_words(first.rate),
        count(first.bytes as u64, "byte", "bytes")
    ))
}

/// Over the lines for the configuration.
pub const TO_CONFIGURE: &str = "For the configuration (correct ids and compartments):";

/// What to write into the configuration; nothing if it isn't clear what hangs there.
pub fn configuration(path: &Path, outcome: &Outcome) -> String {
    let devices = outcome.overheard.iter().flat_map(|heard| &heard.devices);
    let found: Vec<&Finding> = outcome.found.iter().chain(devices).collect();
    let Some(first) = found.first().filter(|_| !outcome.is_ambiguous()) else {
        return String::new();
    };
    let mut text = port(path, first.protocol, first.rate);
    if outcome.overheard.is_none() && first.protocol == Protocol::Linli && found.len() > 1 {
        text.push_str("multi_drop = true\n");
    }
    let mut next = 1;
    for found in found {
        text.push('\n');
        text.push_str(&device(found, &mut next));
    }
    text
}

fn port(path: &Path, protocol: Protocol, rate: Rate) -> String {
    let mut text = format!(
        "[[port]]\nid = \"serial-1\"\npath = {:?}\nprotocol = \"{}\"\n",
        path.display().to_string(),
        protocol.word()
    );
    if rate.baud != protocol.default_baud() {
        text.push_str(&format!("baud = {}\n", rate.baud));
    }
    if rate.even {
        text.push_str("parity = \"even\"\n");
    }
    text
}

/// A device's lines. `next` is the first compartment that no board has yet.
fn device(found: &Finding, next: &mut u16) -> String {
    let address = found.address;
    if let Some(model) = model(found.protocol) {
        // How many channels these boards have isn't known beforehand.
        let channels = match found.protocol {
            Protocol::Wkly => 1,
            _ => model.channel_max(),
        };
        let (first, last) = (*next, next.saturating_add(channels - 1));
        *next = last.saturating_add(1);
        return format!(
            "[[bank.board]]\nport = \"serial-1\"\naddress = {address}\ncompartments = [{first}, {last}]\n"
        );
    }
    let id = format!("{}-{address}", found.protocol.word());
    let more = match found.protocol {
        Protocol::Modbus => {
            ", registers = [{ name = \"...\", function = \"holding\", address = 0 }]".to_string()
        }
        Protocol::Osdp => format!(", key_file = \"keys/{id}.key\""),
        _ => String::new(),
    };
    format!(
        "[[device]]\nid = \"{id}\"\nbuilding = \"...\"\nserial = {{ port = \"serial-1\", address = {address}{more} }}\n"
    )
}
