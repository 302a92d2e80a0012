//! What linli says when a reader is commissioned.

use std::path::Path;

/// What was done.
pub fn done(device: &str, file: &Path, fresh: bool) -> String {
    let which = if fresh { "a fresh key" } else { "the key" };
    format!(
        "'{device}' goes by {which} in {} now. Keep a copy of the file in a safe place; then start linli again",
        file.display()
    )
}

/// There was nothing to do.
pub fn already(device: &str, file: &Path) -> String {
    format!(
        "'{device}' has the key in {} already: nothing to do",
        file.display()
    )
}

/// The daemon has the port.
pub fn running() -> String {
    "linli is running and has the port: stop it (systemctl stop linli), run this again, and start it afterwards".to_owned()
}

/// It isn't an OSDP device.
pub fn no_reader(device: &str, config: &Path) -> String {
    format!(
        "'{device}' is no device on a port that speaks osdp in {}: linli serial commission is for those",
        config.display()
    )
}

/// It has no key file in the configuration.
pub fn no_key_file(device: &str, config: &Path) -> String {
    format!(
        "'{device}' has no serial.key_file in {}: say where its key is to be kept, instead of insecure = true",
        config.display()
    )
}

/// The key file's folder isn't there.
pub fn no_folder(file: &Path) -> String {
    format!(
        "the folder of {} isn't there: make it, for the daemon's user alone (mkdir, chown, chmod 700)",
        file.display()
    )
}

/// The port can't be opened.
pub fn port(id: &str, path: &Path, why: &str) -> String {
    format!("port '{id}' ({}) can't be used: {why}", path.display())
}
