//! Who the daemon runs as, and what that user may read and write, by the files' modes.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{User, getegid, geteuid, getgrouplist, getgroups};

/// The user that the service runs as.
const SERVICE_USER: &str = "linli";

/// A user, as far as files know one.
pub struct Who {
    /// The name.
    pub name: String,
    uid: u32,
    gids: Vec<u32>,
}

/// Why a file can't be used.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// It isn't there.
    Missing,
    /// This, or a folder above it, may not be used.
    Denied(PathBuf),
    /// Whoever asks can't even see it.
    Unseen(String),
}

impl Who {
    /// The user whose rights count: who asks; or the service's user, if root asks and it is there.
    pub fn counts() -> Self {
        let uid = geteuid();
        let service = User::from_name(SERVICE_USER).ok().flatten();
        if let Some(user) = service.filter(|_| uid.is_root()) {
            let name = CString::new(SERVICE_USER).unwrap_or_default();
            let gids = getgrouplist(&name, user.gid).unwrap_or_else(|_| vec![user.gid]);
            return Self {
                name: user.name,
                uid: user.uid.as_raw(),
                gids: gids.into_iter().map(|gid| gid.as_raw()).collect(),
            };
        }
        let name = User::from_uid(uid).ok().flatten();
        let mut gids = getgroups().unwrap_or_default();
        gids.push(getegid());
        Self {
            name: name.map_or_else(|| uid.to_string(), |user| user.name),
            uid: uid.as_raw(),
            gids: gids.into_iter().map(|gid| gid.as_raw()).collect(),
        }
    }

    /// Whether a file may be read, or a folder listed.
    pub fn reads(&self, file: &Path) -> Result<(), Refused> {
        self.may(file, 0o4)
    }

    /// Whether a file may be read and written.
    pub fn writes(&self, file: &Path) -> Result<(), Refused> {
        self.may(file, 0o6)
    }

    /// Whether files may be made in a folder.
    pub fn fills(&self, folder: &Path) -> Result<(), Refused> {
        self.may(folder, 0o7)
    }

    fn may(&self, file: &Path, bits: u32) -> Result<(), Refused> {
        let file = fs::canonicalize(file).map_err(|e| unseen(&e, file))?;
        for folder in file.ancestors().skip(1) {
            self.allowed(folder, 0o1)?;
        }
        self.allowed(&file, bits)
    }

    fn allowed(&self, path: &Path, bits: u32) -> Result<(), Refused> {
        let meta = fs::metadata(path).map_err(|e| unseen(&e, path))?;
        let mode = match () {
            () if self.uid == 0 => return Ok(()),
            () if self.uid == meta.uid() => meta.mode() >> 6,
            () if self.gids.contains(&meta.gid()) => meta.mode() >> 3,
            () => meta.mode(),
        };
        match mode & bits == bits {
            true => Ok(()),
            false => Err(Refused::Denied(path.to_path_buf())),
        }
    }
}

fn unseen(e: &io::Error, path: &Path) -> Refused {
    match e.kind() {
        io::ErrorKind::NotFound => Refused::Missing,
        io::ErrorKind::PermissionDenied => Refused::Denied(path.to_path_buf()),
        _ => Refused::Unseen(e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn rights_are_judged_by_the_modes_of_a_file_and_its_folders() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        fs::write(&file, "k").unwrap();
        let owner = fs::metadata(&file).unwrap().uid();
        let who = |uid, gids| Who {
            name: "somebody".to_owned(),
            uid,
            gids,
        };
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let stranger = who(54_321, vec![54_321]);
        set(dir.path(), 0o755);
        set(&file, 0o604);
        assert_eq!(stranger.reads(&file), Ok(()));
        let real = fs::canonicalize(&file).unwrap();
        assert_eq!(stranger.writes(&file), Err(Refused::Denied(real)));
        set(dir.path(), 0o700);
        let real = fs::canonicalize(dir.path()).unwrap();
        assert_eq!(stranger.reads(&file), Err(Refused::Denied(real)));
        let gid = fs::metadata(&file).unwrap().gid();
        set(dir.path(), 0o750);
        set(&file, 0o640);
        assert_eq!(who(54_321, vec![gid]).reads(&file), Ok(()));
        assert_eq!(who(0, vec![]).writes(&file), Ok(()));
        assert_eq!(who(owner, vec![]).writes(&file), Ok(()));
        assert_eq!(
            stranger.reads(&dir.path().join("none")),
            Err(Refused::Missing)
        );
    }
}
