//! Where the configuration and the daemon's socket are, when nobody says.

use std::env;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::args::Global;
use super::stop::{self, Stop};
use crate::config::Config;

/// The configuration beside the sources, for a developer or a workshop.
pub const CONFIG_HERE: &str = "config/linli.toml";
/// The configuration of an installed box.
const CONFIG_INSTALLED: &str = "/etc/linli/linli.toml";
/// The socket of an installed box.
pub const SOCKET_INSTALLED: &str = "/run/linli/control.sock";

/// The configuration's file: as asked for, else the one here, else the installed one.
pub fn config_file(global: &Global) -> PathBuf {
    match &global.config {
        Some(file) => file.clone(),
        None if Path::new(CONFIG_HERE).is_file() => PathBuf::from(CONFIG_HERE),
        None => PathBuf::from(CONFIG_INSTALLED),
    }
}

/// The file for a new configuration: as asked for, else the installed one if the package is there and
/// none is here, else the one here.
pub fn new_config_file(global: &Global) -> PathBuf {
    let package = Path::new(CONFIG_INSTALLED).parent();
    let installed = package.is_some_and(Path::is_dir) && !Path::new(CONFIG_HERE).exists();
    match &global.config {
        Some(file) => file.clone(),
        None if installed => PathBuf::from(CONFIG_INSTALLED),
        None => PathBuf::from(CONFIG_HERE),
    }
}

/// The configuration. One that can't be used is an error with all that is wrong.
pub fn config(global: &Global) -> Result<Config, Stop> {
    Config::read(&config_file(global)).map_err(|e| Stop::new(stop::FAILED, e.to_string()))
}

/// The daemon's socket: as asked for, else `LINLI_SOCKET`, else as in the configuration, else the
/// installed box's. A configuration that was asked for must be readable, unless a daemon answers at the
/// socket that it names: one that runs by what stood there before. Another need not be.
pub fn socket(global: &Global) -> Result<PathBuf, Stop> {
    if let Some(socket) = &global.socket {
        return Ok(socket.clone());
    }
    if let Some(socket) = env::var_os("LINLI_SOCKET").filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(socket));
    }
    match config(global) {
        Ok(config) => Ok(config.socket()),
        Err(stop) if global.config.is_some() => served(&config_file(global)).ok_or(stop),
        Err(_) => Ok(PathBuf::from(SOCKET_INSTALLED)),
    }
}

/// The socket that a file names, whatever else is wrong with it, if somebody answers there.
fn served(file: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(file).ok()?;
    let (table, _) = DeTable::parse_recoverable(&text);
    let path = |value: &DeValue<'_>| value.as_str().map(PathBuf::from);
    let of = |key: &str| table.get_ref().get(key).map(|value| value.get_ref());
    let control = of("control").and_then(DeValue::as_table);
    let socket = control.and_then(|control| path(control.get("socket")?.get_ref()));
    let state = of("state_dir").and_then(path);
    let socket = socket.or_else(|| Some(state?.join("control.sock")))?;
    UnixStream::connect(&socket).ok()?;
    Some(socket)
}
