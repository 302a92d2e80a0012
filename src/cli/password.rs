//! `linli device password ID` and `rotate ID`: they work on the password file, so the daemon need not
//! run.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use firmware_protocols::Ident;

use super::args::Global;
use super::locate;
use super::look::Look;
use super::stop::{self, Stop};
use super::words;
use crate::credentials::{OldPassword, generate_password, rotate_password, set_password};
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
    /// What becomes of the old one, if it isn't good no more at once.
    old: OldPassword,
    id: String,
}

impl Made {
    /// Until when the old one is good at most, ms since the Unix epoch.
    pub const fn old_good_until_ms(&self) -> Option<i64> {
        match self.old {
            OldPassword::GoodUntil(ms) => ms,
            OldPassword::None => None,
        }
    }

    /// What becomes of the old one, in words.
    pub fn old_words(&self, look: &Look) -> String {
        words::device::old_password(look, &self.id, self.old)
    }
}

/// How a new password takes the place of the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The old one is good no more.
    AtOnce,
    /// The old one stays good until the device has come with the new one.
    Rotated,
}

/// Makes a new password for `id` and stores its hash.
pub fn make(global: &Global, id: &Ident, way: Way) -> Result<Made, Stop> {
    let config = locate::config(global)?;
    if !config.login_ids().contains(id) {
        let message = words::no_such_device(id.as_str(), &locate::config_file(global));
        return Err(Stop::new(stop::NOT_FOUND, message));
    }
    if let Some(broker) = &config.external_broker {
        return Err(Stop::new(stop::FAILED, words::not_our_broker(&broker.url)));
    }
    let device = config.devices.iter().find(|device| device.id == *id);
    if let Some(via) = device.and_then(|device| device.via.as_ref()) {
        let message = words::device::logs_in_elsewhere(id.as_str(), via.as_str());
        return Err(Stop::new(stop::FAILED, message));
    }
    let failed = |e: anyhow::Error| Stop::new(stop::FAILED, format!("{e:#}"));
    let folder = &config.state_dir;
    make_private_dir(folder)
        .map_err(|e| failed(anyhow::Error::new(e).context(folder.display().to_string())))?;
    let password = generate_password().map_err(|e| failed(e.into()))?;
    let file = config.passwords();
    let old = match way {
        Way::AtOnce => set_password(&file, id, &password).map(|()| OldPassword::None),
        Way::Rotated => {
            let now_ms = jiff::Timestamp::now().as_millisecond();
            rotate_password(&file, id, &password, now_ms)
        }
    }
    .map_err(|e| failed(e.into()))?;
    give_to_owner(folder, &file)
        .map_err(|e| failed(anyhow::Error::new(e).context(file.display().to_string())))?;
    Ok(Made {
        password,
        file,
        mapped: config.mapped_client_ids().contains(id),
        broker: config.broker.unwrap_or_default().listen,
        old,
        id: id.to_string(),
    })
}

/// What root makes in the daemon's folder must belong to the daemon's user, or it can't read it.
pub fn give_to_owner(folder: &Path, file: &Path) -> io::Result<()> {
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
