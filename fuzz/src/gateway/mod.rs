//! The decoders in the daemon's own crate.

mod answers;
pub mod config;
pub mod control;
pub mod credentials;
pub mod door;
pub mod export;
pub mod intake;
pub mod packets;

use std::path::PathBuf;
use std::process;

use crate::Target;

/// Every target of this group.
pub const TARGETS: &[Target] = &[
    ("config", config::config),
    ("control", control::control),
    ("credentials", credentials::credentials),
    ("mqtt_door", door::mqtt_door),
    ("mqtt_packets", packets::mqtt_packets),
    ("intake", intake::intake),
    ("export", export::export),
];

/// A folder for keys: the build's own in a test, else one of this process in `TMPDIR`, which whoever
/// started it removes.
fn keys_folder(name: &str) -> PathBuf {
    match option_env!("CARGO_TARGET_TMPDIR") {
        Some(folder) => PathBuf::from(folder).join(format!("fuzz-{name}")),
        None => std::env::temp_dir().join(format!("linli-fuzz-{}-{name}", process::id())),
    }
}
