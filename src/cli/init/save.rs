//! Puts the configuration and the cloud's token on the disk, each whole or not at all.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use jiff::Zoned;
use nix::unistd::Group;

use crate::store::{make_private_dir, parent_of, sync_folder};

/// The daemon's group may read it.
const CONFIG_MODE: u32 = 0o640;
/// Only its owner may.
const SECRET_MODE: u32 = 0o600;
/// How many copies of one second are told apart.
const BACKUPS_MOST: u32 = 100;

/// Whether `file` could be written: its folder, or the nearest one that is there, lets this user in.
pub fn writable(file: &Path) -> io::Result<()> {
    let mut folder = parent_of(file);
    while !folder.exists() && folder != parent_of(folder) {
        folder = parent_of(folder);
    }
    if !folder.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    nix::unistd::access(folder, nix::unistd::AccessFlags::W_OK).map_err(io::Error::from)
}

/// Writes a secret, for its owner only; its folder is made, for its owner only, if it isn't there.
pub fn secret(file: &Path, text: &str) -> io::Result<()> {
    make_private_dir(parent_of(file))?;
    replace(file, text, SECRET_MODE, None)
}

/// Writes the configuration, with the owner of its folder, and the group named, if there is such a group,
/// else the folder's. If one is there, it is kept beside it; returns where.
pub fn configuration(file: &Path, text: &str, group: Option<&str>) -> io::Result<Option<PathBuf>> {
    let group = group.and_then(|name| Group::from_name(name).ok().flatten());
    fs::create_dir_all(parent_of(file))?;
    let kept = keep(file)?;
    replace(
        file,
        text,
        CONFIG_MODE,
        group.map(|group| group.gid.as_raw()),
    )?;
    Ok(kept)
}

/// Gives the file that is there a second name.
fn keep(file: &Path) -> io::Result<Option<PathBuf>> {
    if !file.exists() {
        return Ok(None);
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let now = Zoned::now().strftime("%Y-%m-%d-%H%M%S").to_string();
    for n in 1..=BACKUPS_MOST {
        let more = if n == 1 {
            String::new()
        } else {
            format!("-{n}")
        };
        let kept = file.with_file_name(format!("{name}.bak-{now}{more}"));
        match fs::hard_link(file, &kept) {
            Ok(()) => return Ok(Some(kept)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            // Not every file system has second names.
            Err(_) => {
                fs::copy(file, &kept)?;
                return Ok(Some(kept));
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn replace(file: &Path, text: &str, mode: u32, group: Option<u32>) -> io::Result<()> {
    let folder = parent_of(file);
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let fresh = folder.join(format!(".{name}.{}", std::process::id()));
    let written =
        write(&fresh, folder, text, (mode, group)).and_then(|()| fs::rename(&fresh, file));
    if written.is_err() {
        // Nothing half-done is left; that it can't be removed either adds nothing.
        let _ = fs::remove_file(&fresh);
    }
    written?;
    sync_folder(folder)
}

fn write(
    fresh: &Path,
    folder: &Path,
    text: &str,
    (mode, group): (u32, Option<u32>),
) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(SECRET_MODE)
        .open(fresh)?;
    owned(&file, folder, group)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The owner of the folder, and its group or the one named, as far as this user may give files away.
fn owned(file: &File, folder: &Path, group: Option<u32>) -> io::Result<()> {
    let of = fs::metadata(folder)?;
    match fchown(file, Some(of.uid()), Some(group.unwrap_or(of.gid()))) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(file: &Path) -> u32 {
        fs::metadata(file).unwrap().mode() & 0o777
    }

    #[test]
    fn what_was_there_is_kept_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("etc/linli.toml");
        assert_eq!(configuration(&file, "one", None).unwrap(), None);
        let kept = configuration(&file, "two", None).unwrap().unwrap();
        let again = configuration(&file, "three", None).unwrap().unwrap();
        assert_ne!(kept, again);
        assert_eq!(fs::read_to_string(&file).unwrap(), "three");
        assert_eq!(fs::read_to_string(&kept).unwrap(), "one");
        assert_eq!(fs::read_to_string(&again).unwrap(), "two");
        assert_eq!((mode(&file), mode(&kept)), (0o640, 0o640));
        assert_eq!(fs::read_dir(dir.path().join("etc")).unwrap().count(), 3);
        let token = dir.path().join("credentials/cloud-token");
        secret(&token, "t").unwrap();
        assert_eq!((mode(&token), mode(parent_of(&token))), (0o600, 0o700));
    }

    #[test]
    fn a_place_that_cannot_be_written_is_found_before() {
        let dir = tempfile::tempdir().unwrap();
        assert!(writable(&dir.path().join("not/yet/linli.toml")).is_ok());
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(writable(&dir.path().join("file/linli.toml")).is_err());
        let blocked = dir.path().join("file/linli.toml");
        assert!(configuration(&blocked, "x", Some("no-such-group")).is_err());
    }
}
