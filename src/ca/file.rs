//! How the authority's files are written and read: for the daemon's user alone, whole or not at all,
//! one writer at a time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::Path;

use super::CaError;
use crate::store::{make_private_dir, parent_of, sync_folder};

/// No file of the authority, and no file of certificates that an operator names, is larger.
const FILE_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Held by the one who writes in the authority's folder.
#[derive(Debug)]
pub struct Turn {
    _lock: File,
}

/// Makes the authority's folder if need be, and waits until nobody else writes in it.
pub fn take_turn(folder: &Path) -> Result<Turn, CaError> {
    make_private_dir(folder).map_err(io_error("made", folder))?;
    like_its_folder(folder, folder).map_err(io_error("given to the daemon's user", folder))?;
    let path = folder.join(".lock");
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(io_error("opened", &path))?;
    like_its_folder(&path, folder).map_err(io_error("given to the daemon's user", &path))?;
    lock.lock().map_err(io_error("locked", &path))?;
    Ok(Turn { _lock: lock })
}

/// Writes a file that only the daemon's user may read. A power cut leaves the old or the new, whole.
pub(super) fn write(_turn: &Turn, path: &Path, bytes: &[u8]) -> Result<(), CaError> {
    let beside = path.with_extension("new");
    let written = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&beside)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        like_its_folder(&beside, parent_of(path))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        sync_folder(parent_of(path))
    };
    written().map_err(io_error("written", path))
}

/// Reads a file that must be private; `None` if there is none.
pub(super) fn read_private(path: &Path) -> Result<Option<Vec<u8>>, CaError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error("opened", path)(e)),
    };
    let metadata = file.metadata().map_err(io_error("read", path))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(CaError::Open {
            path: path.to_path_buf(),
            mode,
        });
    }
    limited(file, path).map(Some)
}

/// Reads a file, as far as any of ours can be.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, CaError> {
    limited(File::open(path).map_err(io_error("opened", path))?, path)
}

fn limited(file: File, path: &Path) -> Result<Vec<u8>, CaError> {
    let mut bytes = Vec::new();
    file.take(FILE_MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(io_error("read", path))?;
    Ok(bytes)
}

pub(super) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CaError {
    let path = path.to_path_buf();
    move |source| CaError::Io {
        doing,
        path,
        source,
    }
}

/// What root makes in the daemon's folder must belong to the daemon's user, or it can't read it: to
/// whom the state folder belongs.
fn like_its_folder(made: &Path, folder: &Path) -> io::Result<()> {
    let found = fs::metadata(made)?;
    if found.uid() != 0 {
        return Ok(());
    }
    let owner = fs::metadata(parent_of(folder))?;
    if (found.uid(), found.gid()) != (owner.uid(), owner.gid()) {
        chown(made, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}
