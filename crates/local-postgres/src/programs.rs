//! PostgreSQL's programs: where they are, and as whom they run.

use std::ffi::OsStr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{User, geteuid};

use crate::{Error, exists};

/// What must be there.
const NEEDED: [&str; 4] = ["postgres", "initdb", "pg_ctl", "createdb"];

/// The folder, and the user if it must be another.
pub(crate) struct Programs {
    folder: PathBuf,
    run_as: Option<(u32, u32)>,
}

impl Programs {
    /// Looks for them.
    pub(crate) fn find() -> Result<Self, Error> {
        let folders = folders();
        let complete = |folder: &&PathBuf| NEEDED.iter().all(|name| exists(&folder.join(name)));
        let Some(folder) = folders.iter().find(complete) else {
            return Err(Error::NotInstalled("postgres, initdb, pg_ctl or createdb"));
        };
        let mut run_as = None;
        if geteuid().is_root() {
            let user = User::from_name("postgres").ok().flatten();
            let user = user.ok_or(Error::NoUser)?;
            run_as = Some((user.uid.as_raw(), user.gid.as_raw()));
        }
        let folder = folder.clone();
        Ok(Self { folder, run_as })
    }

    /// The path of one.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A command of one of them, as the right user.
    pub(crate) fn command(&self, name: &str) -> Command {
        self.as_user(self.path(name))
    }

    /// A shell, as the right user.
    pub(crate) fn shell(&self) -> Command {
        self.as_user("/bin/sh")
    }

    /// Gives a file or folder to that user.
    pub(crate) fn give(&self, path: &Path) -> Result<(), Error> {
        if let Some((user, group)) = self.run_as {
            chown(path, Some(user), Some(group))?;
        }
        Ok(())
    }

    fn as_user(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir("/")
            .env_remove("PGDATA")
            .env("LC_ALL", "C");
        if let Some((user, group)) = self.run_as {
            command.uid(user).gid(group);
        }
        command
    }
}

fn folders() -> Vec<PathBuf> {
    if let Some(named) = std::env::var_os("LINLI_POSTGRES_BIN") {
        return vec![PathBuf::from(named)];
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort();
    let mut folders: Vec<PathBuf> = versions.into_iter().rev().map(|(_, it)| it).collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    folders
}
