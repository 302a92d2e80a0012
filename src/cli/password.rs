//! `linli device password ID`: works on the password file, so the daemon need not run.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use firmware_protocols::Ident;

use super::args::Global;
use super::locate;
use super::stop::{self, Stop};
use super::words;
use crate::credentials::{generate_password, set_password};
use crate::store::make_private_dir;

/// A password that was just made.
pub struct Made {
    /// The password, to be shown once.
    pub password: String,
    /// Where its hash is.
    pub file: PathBuf,
    /// Where the embedded broker listens.
    pub broker: SocketAddr,
    /// It is a bridge's, or that of a device with a profile: its client id is its own affair.
    pub mapped: bool,
}

/// Makes a new password for `id` and stores its hash.
pub fn make(global: &Global, id: &Ident) -> Result<Made, Stop> {
    let config = locate::config(global)?;
    if !config.login_ids().contains(id) {
        let message = words::no_such_device(id.as_str(), &locate::config_file(global));
        return Err(Stop::new(stop::NOT_FOUND, message));
    }
    if let Some(broker) = &config.external_broker {
        return Err(Stop::new(stop::FAILED, words::not_our_broker(&broker.url)));
    }
    let failed = |e: anyhow::Error| Stop::new(stop::FAILED, format!("{e:#}"));
    let folder = &config.state_dir;
    make_private_dir(folder)
        .map_err(|e| failed(anyhow::Error::new(e).context(folder.display().to_string())))?;
    let password = generate_password().map_err(|e| failed(e.into()))?;
    let file = config.passwords();
    set_password(&file, id, &password).map_err(|e| failed(e.into()))?;
    give_to_owner(folder, &file)
        .map_err(|e| failed(anyhow::Error::new(e).context(file.display().to_string())))?;
    Ok(Made {
        password,
        file,
        mapped: config.mapped_client_ids().contains(id),
        broker: config.broker.unwrap_or_default().listen,
    })
}

/// What root makes in the daemon's folder must belong to the daemon's user, or it can't read it.
fn give_to_owner(folder: &Path, file: &Path) -> io::Result<()> {
    let owner = fs::metadata(folder)?;
    let mut lock = file.as_os_str().to_owned();
    lock.push(".lock");
    for made in [file, Path::new(&lock)] {
        let found = match fs::metadata(made) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            found => found?,
        };
        if (found.uid(), found.gid()) != (owner.uid(), owner.gid()) && found.uid() == 0 {
            chown(made, Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    Ok(())
}
