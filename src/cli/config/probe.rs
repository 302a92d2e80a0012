//! What a configuration needs of the world: addresses, names, ports, files. Each is asked by itself,
//! for some seconds at most, and nothing is changed: no port is opened, as that resets some devices.

use std::env;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value as Json;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::rights::{Refused, Who};
use crate::cli::stop::{self, Stop};
use crate::cli::words::config as say;
use crate::cloud::way;
use crate::config::{Config, ExternalBroker};
use crate::control::client::Client;
use crate::control::views::Status;
use crate::control::wire::Request;
use crate::daemon;
use crate::links::external;
use crate::names::Names;

/// How long each answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where the packaged service's credentials lie.
const CREDENTIALS: &str = "/etc/linli/credentials";

/// What was found.
pub struct Finding {
    /// The key that it is about.
    pub key: String,
    /// Whether it is as it must be.
    pub good: bool,
    /// What was found; if it isn't good, with the remedy.
    pub what: String,
}

/// Asks all, and tells each finding as it comes.
pub fn all(config: &Config, mut tell: impl FnMut(Finding)) -> Result<(), Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Stop::new(stop::INTERNAL, e.to_string()))?;
    let who = Who::counts();
    let daemon = running(&config.socket());
    let mut found = |key: &str, found: Result<String, String>| {
        let good = found.is_ok();
        let (Ok(what) | Err(what)) = found;
        tell(Finding {
            key: key.to_owned(),
            good,
            what,
        });
    };
    found("state_dir", state_dir(&config.state_dir, &who));
    match &config.external_broker {
        Some(broker) => {
            found("external_broker.url", runtime.block_on(reached(broker)));
        }
        None => {
            let broker = config.broker.clone().unwrap_or_default();
            found("broker.listen", listens(broker.listen, daemon.as_ref()));
            if let Some(tls) = &broker.tls {
                found("broker.tls.listen", listens(tls.listen, daemon.as_ref()));
            }
        }
    }
    if let Ok(Some(cloud)) = daemon::cloud_config(config) {
        for step in runtime.block_on(way::tried(&cloud, PATIENCE)) {
            let outcome = step.outcome.map_err(|told| say::cloud_step(&told));
            found("cloud.url", outcome);
        }
    }
    for port in &config.ports {
        let key = format!("port[{}].path", port.id);
        found(&key, serial(&port.path, &who));
    }
    let json = serde_json::to_value(config).unwrap_or_default();
    let mut files = Vec::new();
    named_files(String::new(), &json, &mut files);
    for (key, path) in files {
        found(&key, file(config, &key, &path, &who));
    }
    Ok(())
}

/// What a daemon says of itself at the socket, if one answers in time.
fn running(socket: &Path) -> Option<Status> {
    let (answer, answered) = mpsc::sync_channel(1);
    let socket = socket.to_path_buf();
    thread::spawn(move || {
        let status = Client::connect(&socket).and_then(|mut client| client.one(&Request::Status));
        // Nobody may be waiting any more.
        let _ = answer.send(status.ok());
    });
    answered.recv_timeout(PATIENCE).ok().flatten()
}

fn state_dir(folder: &Path, who: &Who) -> Result<String, String> {
    match who.fills(folder) {
        Ok(()) => Ok(say::may_write(folder, &who.name)),
        Err(Refused::Missing) => match above(folder).map(|above| who.fills(above)) {
            Some(Ok(())) => Ok(say::will_be_made(folder)),
            _ => Err(say::state_dir_missing(folder, &who.name)),
        },
        Err(refused) => Err(say::state_dir_denied(folder, &refused, &who.name)),
    }
}

/// The nearest folder above that is there.
fn above(folder: &Path) -> Option<&Path> {
    let mut above = folder.ancestors().skip(1).map(|above| match above {
        none if none.as_os_str().is_empty() => Path::new("."),
        above => above,
    });
    above.find(|above| above.exists())
}

/// Whether an address is free for us, or ours already.
fn listens(address: SocketAddr, daemon: Option<&Status>) -> Result<String, String> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(say::free(address)),
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
            let ours = daemon.is_some_and(|status| status.report.links.mode == "embedded");
            match ours {
                true => Ok(say::ours(address)),
                false => Err(say::held(address)),
            }
        }
        Err(e) => Err(say::not_ours(address, &e)),
    }
}

/// Whether a broker's name is known and somebody listens there.
async fn reached(broker: &ExternalBroker) -> Result<String, String> {
    let (host, port, _) = external::address(&broker.url).map_err(|e| e.to_string())?;
    let found = timeout(PATIENCE, Names::default().find(&host, port)).await;
    let found = match found {
        Ok(Ok(found)) => found,
        Ok(Err(e)) => return Err(say::no_name(&host, &e.to_string())),
        Err(_) => return Err(say::no_name(&host, say::NO_ANSWER)),
    };
    match timeout(PATIENCE, TcpStream::connect(&found[..])).await {
        Ok(Ok(_)) => Ok(say::listens_there(&host, port)),
        Ok(Err(e)) => Err(say::no_broker(&host, port, e)),
        Err(_) => Err(say::no_broker(&host, port, say::NO_ANSWER)),
    }
}

fn serial(path: &Path, who: &Who) -> Result<String, String> {
    match who.writes(path) {
        Ok(()) => Ok(say::port_there(path, &who.name)),
        Err(Refused::Missing) => Err(say::port_missing(path)),
        Err(refused) => Err(say::port_denied(path, &refused, &who.name)),
    }
}

/// The files that a configuration names, each with its key.
fn named_files(key: String, value: &Json, files: &mut Vec<(String, PathBuf)>) {
    match value {
        Json::Object(keys) => {
            let dot = if key.is_empty() { "" } else { "." };
            for (name, value) in keys {
                named_files(format!("{key}{dot}{name}"), value, files);
            }
        }
        Json::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                let count = i.to_string();
                let name = item["id"].as_str().unwrap_or(&count);
                named_files(format!("{key}[{name}]"), item, files);
            }
        }
        Json::String(path) => {
            // A profile is a file's path, or the name of one that is shipped.
            let profile = key.ends_with(".profile") && path.contains('/');
            if key.ends_with("_file") || profile {
                files.push((key, PathBuf::from(path)));
            }
        }
        _ => {}
    }
}

fn file(config: &Config, key: &str, path: &Path, who: &Who) -> Result<String, String> {
    let shown = path.display().to_string();
    if let Some(name) = shown.strip_prefix("credential:") {
        return credential(name, who);
    }
    let enrolled = config.state_dir.join("cloud/enrolment.json");
    match who.reads(path) {
        Ok(()) => Ok(say::may_read(path, &who.name)),
        Err(Refused::Missing) if key == "cloud.token_file" && enrolled.exists() => {
            Ok(say::enrolled_already(path))
        }
        Err(Refused::Missing) if key.ends_with(".serial.key_file") => {
            Err(say::key_file_missing(path, key))
        }
        Err(Refused::Missing) => Err(say::file_missing(path)),
        Err(refused) => Err(say::file_denied(path, &refused, &who.name)),
    }
}

/// What systemd hands over to the service.
fn credential(name: &str, who: &Who) -> Result<String, String> {
    if let Some(folder) = env::var_os("CREDENTIALS_DIRECTORY") {
        let path = Path::new(&folder).join(name);
        return match who.reads(&path) {
            Ok(()) => Ok(say::may_read(&path, &who.name)),
            Err(_) => Err(say::credential_missing(name)),
        };
    }
    // Root reads it for the service, so only whether it is there counts.
    let path = Path::new(CREDENTIALS).join(name);
    match path.try_exists() {
        Ok(true) => Ok(say::credential_there(&path)),
        Ok(false) => Err(say::credential_missing(name)),
        Err(_) => Err(say::credential_unseen(&path)),
    }
}
