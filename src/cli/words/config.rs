//! What linli says about the configuration.

pub mod reload;

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::cli::config::Refused;
use crate::cloud::Told;
use crate::config::{Config, Origin};

/// Nobody answered in time.
pub const NO_ANSWER: &str = "no answer within 5 s";

/// Nothing is wrong with a file; and what stands in it.
pub fn good(file: &Path, config: &Config) -> String {
    let compartments: u32 = config
        .banks
        .iter()
        .map(|bank| u32::from(bank.count()))
        .sum();
    let counts = [
        (config.buildings.len(), "building", "buildings"),
        (config.banks.len(), "bank", "banks"),
        (compartments as usize, "compartment", "compartments"),
        (config.desks.len(), "desk", "desks"),
        (config.devices.len(), "device", "devices"),
        (config.bridges.len(), "bridge", "bridges"),
        (config.ports.len(), "serial port", "serial ports"),
    ];
    let mut has: Vec<String> = counts
        .iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, one, more)| format!("{count} {}", if *count == 1 { one } else { more }))
        .collect();
    has.push(
        if config.cloud.is_some() {
            "a cloud"
        } else {
            "no cloud"
        }
        .to_owned(),
    );
    format!("{} is good: {}", file.display(), has.join(", "))
}

/// Where a value comes from.
pub fn origin(file: &Path, origin: Origin) -> String {
    match origin {
        Origin::Line(line) => format!("{}:{line}", file.display()),
        Origin::Default => "default".to_owned(),
        Origin::From(key) => format!("default, from {key}"),
    }
}

/// Nothing begins with that key.
pub fn no_such_key(key: &str) -> String {
    format!(
        "nothing that holds begins with '{key}'. 'linli config show' shows all; devices are named as in device[door-b1]"
    )
}

/// A folder may be written to.
pub fn may_write(folder: &Path, who: &str) -> String {
    format!("{} is there, and {who} may write to it", folder.display())
}

/// A folder isn't there yet, and may be made.
pub fn will_be_made(folder: &Path) -> String {
    format!(
        "{} isn't there yet; it is made at the start",
        folder.display()
    )
}

/// The state folder isn't there and can't be made.
pub fn state_dir_missing(folder: &Path, who: &str) -> String {
    format!(
        "{0} isn't there, and {who} can't make it: sudo install -d -o {who} -m 700 {0}",
        folder.display()
    )
}

/// The state folder can't be used.
pub fn state_dir_denied(folder: &Path, refused: &Refused, who: &str) -> String {
    format!(
        "{} can't be written to by {who} ({}): sudo chown -R {who}: {}",
        folder.display(),
        why(refused),
        folder.display()
    )
}

/// An address can be listened on.
pub fn free(address: SocketAddr) -> String {
    format!("{address} is free")
}

/// An address is held by the daemon that runs.
pub fn ours(address: SocketAddr) -> String {
    format!("{address} is held by the linli that runs")
}

/// An address is held by somebody else.
pub fn held(address: SocketAddr) -> String {
    format!(
        "{address} is held by another program, and no linli answers at its socket: 'sudo ss -ltnp' says which; stop it, or set another port"
    )
}

/// An address isn't to be had.
pub fn not_ours(address: SocketAddr, e: &io::Error) -> String {
    let remedy = match e.kind() {
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: 'ip address' shows those that it has, or take 0.0.0.0 for all"
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 are root's: set another, such as 1883",
        _ => "set another address, or look into the system's log",
    };
    format!("{address} can't be listened on ({e}): {remedy}")
}

/// A broker's name isn't known.
pub fn no_name(host: &str, e: &str) -> String {
    format!(
        "where {host} is isn't known ({e}): correct the name, or look after the name server (resolvectl query {host})"
    )
}

/// Somebody listens.
pub fn listens_there(host: &str, port: u16) -> String {
    format!("{host} answers at port {port}")
}

/// Nobody listens.
pub fn no_broker(host: &str, port: u16, e: impl Display) -> String {
    format!(
        "{host} doesn't answer at port {port} ({e}): is the broker running, and does a firewall let it through?"
    )
}

/// A step to the cloud that didn't come about.
pub fn cloud_step(told: &Told) -> String {
    match &told.remedy {
        Some(remedy) => format!("{}: {remedy}", told.what),
        None => told.what.clone(),
    }
}

/// A port can be opened.
pub fn port_there(path: &Path, who: &str) -> String {
    format!("{} is there, and {who} may open it", path.display())
}

/// A port isn't there.
pub fn port_missing(path: &Path) -> String {
    format!(
        "{} isn't there: is the adapter plugged in? 'linli serial list' shows the ports that are",
        path.display()
    )
}

/// A port can't be opened.
pub fn port_denied(path: &Path, refused: &Refused, who: &str) -> String {
    format!(
        "{} may not be opened by {who} ({}): sudo usermod -aG dialout {who}, then log in anew, or restart the service",
        path.display(),
        why(refused)
    )
}

/// A file can be read.
pub fn may_read(path: &Path, who: &str) -> String {
    format!("{} is there, and {who} may read it", path.display())
}

/// A file isn't there.
pub fn file_missing(path: &Path) -> String {
    format!(
        "{} isn't there: put it there, or correct the path (relative ones are taken from the working folder)",
        path.display()
    )
}

/// A reader's key isn't there.
pub fn key_file_missing(path: &Path, key: &str) -> String {
    let id = key.split(['[', ']']).nth(1).unwrap_or("ID");
    format!(
        "{} isn't there yet: 'linli serial commission {id}' makes it",
        path.display()
    )
}

/// A file can't be read.
pub fn file_denied(path: &Path, refused: &Refused, who: &str) -> String {
    format!(
        "{} may not be read by {who} ({}): sudo chown {who}: {}, or write it as credential:NAME",
        path.display(),
        why(refused),
        path.display()
    )
}

/// The token isn't needed any more.
pub fn enrolled_already(path: &Path) -> String {
    format!(
        "{} isn't there, and isn't needed: the gateway is enrolled",
        path.display()
    )
}

/// A credential is there.
pub fn credential_there(path: &Path) -> String {
    format!(
        "{} is there; systemd hands it to the service",
        path.display()
    )
}

/// A credential isn't there.
pub fn credential_missing(name: &str) -> String {
    format!(
        "the credential {name} isn't there: put it at /etc/linli/credentials/{name} (root's, mode 600); the service gets it at its next start"
    )
}

/// A credential can't be seen.
pub fn credential_unseen(path: &Path) -> String {
    format!(
        "whether {} is there can only be seen by root: ask with sudo",
        path.display()
    )
}

fn why(refused: &Refused) -> String {
    match refused {
        Refused::Missing => "it isn't there".to_owned(),
        Refused::Denied(path) => format!("the rights of {}", path.display()),
        Refused::Unseen(why) => why.clone(),
    }
}
