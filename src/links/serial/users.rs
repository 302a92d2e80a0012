//! Which processes have a device file open: by their open files below `/proc`.
//!
//! A user sees his own processes there, and root all. So a port may be in use by a process that the
//! daemon's user can't see; opening it then fails only if that process asked for it alone.

use std::fs;
use std::path::{Path, PathBuf};

/// An open file of a process.
pub(super) struct OpenFile<'a> {
    /// Where its link below `fd` leads.
    pub leads_to: PathBuf,
    /// The link.
    pub link: &'a Path,
}

/// The processes that have a file open that `is` it, as `name (pid)`, by number. Only files below
/// `/dev` are looked at. `proc` is `/proc`.
pub(super) fn users(proc: &Path, is: impl Fn(&OpenFile<'_>) -> bool) -> Vec<(u32, String)> {
    let mut users = Vec::new();
    for process in fs::read_dir(proc).into_iter().flatten().flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let files = fs::read_dir(process.path().join("fd"));
        let mut links = files
            .into_iter()
            .flatten()
            .flatten()
            .map(|file| file.path());
        let has = links.any(|link| {
            let Ok(leads_to) = fs::read_link(&link) else {
                return false;
            };
            leads_to.starts_with("/dev")
                && is(&OpenFile {
                    leads_to,
                    link: &link,
                })
        });
        if has {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            users.push((pid, format!("{} ({pid})", name.trim())));
        }
    }
    users.sort();
    users
}
