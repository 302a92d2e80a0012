//! `linli serial commission DEVICE`: works on the port and the key file, so the daemon must not run.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use firmware_protocols::Ident;

use super::args::Global;
use super::locate;
use super::stop::{self, Stop};
use super::words::{self, commissioning as says};
use crate::config::Config;
use crate::config::serial::{OnPort, PortSection, Protocol};
use crate::control::client::Client;
use crate::links::serial::line::Line;
use crate::links::serial::osdp::commission::{Candidate, Commissioned, commission};
use crate::links::serial::port;
use crate::links::serial::status::{PortFault, PortStatus};

/// What was done.
pub struct Done {
    /// For programs.
    pub outcome: Commissioned,
    /// Where the key is.
    pub key_file: PathBuf,
    /// For people.
    pub told: String,
}

impl Done {
    /// The word for programs.
    pub const fn word(&self) -> &'static str {
        match self.outcome {
            Commissioned::Already => "already",
            Commissioned::WithKeyOfFile => "key-of-file",
            Commissioned::WithFreshKey => "fresh-key",
        }
    }
}

/// Gives a reader a key of its own.
pub fn run(global: &Global, device: &Ident) -> Result<Done, Stop> {
    let config = locate::config(global)?;
    let (on, section) = reader(&config, global, device)?;
    let file = locate::config_file(global);
    let no_key_file = || Stop::new(stop::FAILED, says::no_key_file(device.as_str(), &file));
    let key_file = on.key_file.clone().ok_or_else(no_key_file)?;
    let folder = key_file.parent().unwrap_or_else(|| Path::new("/"));
    if !folder.as_os_str().is_empty() && !folder.is_dir() {
        return Err(Stop::new(stop::FAILED, says::no_folder(&key_file)));
    }
    if Client::connect(&locate::socket(global)?).is_ok() {
        return Err(Stop::new(stop::FAILED, says::running()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Stop::new(stop::FAILED, e.to_string()))?;
    let state_dir = config.state_dir.clone();
    let address = on.address.unwrap_or(0);
    let outcome = runtime.block_on(talk(section, address, &key_file, &state_dir))?;
    let told = match outcome {
        Commissioned::Already => says::already(device.as_str(), &key_file),
        Commissioned::WithKeyOfFile => says::done(device.as_str(), &key_file, false),
        Commissioned::WithFreshKey => says::done(device.as_str(), &key_file, true),
    };
    Ok(Done {
        outcome,
        key_file,
        told,
    })
}

fn reader<'a>(
    config: &'a Config,
    global: &Global,
    device: &Ident,
) -> Result<(&'a OnPort, &'a PortSection), Stop> {
    let file = locate::config_file(global);
    if !config.device_ids().contains(device) {
        let message = words::no_such_device(device.as_str(), &file);
        return Err(Stop::new(stop::NOT_FOUND, message));
    }
    let mut found = config.on_ports().filter(|(id, _, _)| *id == device);
    let on = found.next().map(|(_, on, _)| on);
    let port = on.and_then(|on| config.ports.iter().find(|port| port.id == on.port));
    match (on, port) {
        (Some(on), Some(port)) if port.protocol == Protocol::Osdp => Ok((on, port)),
        _ => {
            let message = says::no_reader(device.as_str(), &file);
            Err(Stop::new(stop::FAILED, message))
        }
    }
}

async fn talk(
    section: &PortSection,
    address: u8,
    key_file: &Path,
    state_dir: &Path,
) -> Result<Commissioned, Stop> {
    let (opened, _) = port::open(section).map_err(|fault| {
        let message = says::port(section.id.as_str(), &section.path, &in_words(&fault));
        Stop::new(stop::FAILED, message)
    })?;
    let status = Arc::new(PortStatus::new(section.clone()));
    let mut line = Line::over(opened, status);
    let candidate = Candidate {
        line: &mut line,
        port: section,
        address,
        key_file: key_file.to_path_buf(),
    };
    let store = |key: &crate::links::serial::osdp::key::Key| {
        key.write(key_file)?;
        give_to_owner(state_dir, key_file)
    };
    let done = commission(candidate, store).await;
    done.map_err(|failure| Stop::new(stop::FAILED, failure.to_string()))
}

/// What root makes must belong to the daemon's user, or it can't read it.
fn give_to_owner(folder: &Path, file: &Path) -> io::Result<()> {
    let Ok(owner) = fs::metadata(folder) else {
        // The daemon has never run: whoever installs it decides.
        return Ok(());
    };
    let made = fs::metadata(file)?;
    if (made.uid(), made.gid()) != (owner.uid(), owner.gid()) && made.uid() == 0 {
        chown(file, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

fn in_words(fault: &PortFault) -> String {
    match fault {
        PortFault::Missing | PortFault::Unplugged => {
            "it isn't there; look at the adapter, and at ls -l /dev/serial/by-id".to_owned()
        }
        PortFault::Denied => {
            "this user may not open it; use sudo, or join the group dialout".to_owned()
        }
        PortFault::InUse { by } => format!(
            "{} has it; stop that first",
            by.as_deref().unwrap_or("another process")
        ),
        PortFault::NotSerial => "it isn't a serial port".to_owned(),
        PortFault::Garbled => "what comes in makes no sense; look at the baud rate".to_owned(),
        PortFault::Other { error } => error.clone(),
    }
}
