//! The store: one SQLite file, one writer, any number of readers.
//!
//! * [`schema`] — opening, pragmas, migrations.
//! * [`mod@write`] — what the journal writes in its one transaction a batch.
//! * [`load`] — what the estate starts from.
//! * [`lanes`] — what waits for the cloud; [`mod@line`] — what has crossed the line to it.
//! * [`read`] — what people ask for.
//! * [`trace`] — the parcels' history, as a hash chain; [`audit`] — its verification.
//!
//! Invariant: the writing connection runs with `journal_mode=WAL` and `synchronous=FULL`, read back
//! when it is opened; a commit that returned is on disk.
//! Invariant: only the journal's thread holds a writing connection; the lock file sees to it that
//! only one process has a journal.

pub mod audit;
pub mod lanes;
pub mod line;
pub mod load;
pub mod read;
pub mod schema;
pub mod trace;
pub mod write;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite says no.
    #[error("the store could not be {doing}")]
    Sqlite {
        /// What was tried.
        doing: &'static str,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The file system says no.
    #[error("{path} could not be {doing}: {}", crate::disk::REMEDY)]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// SQLite could open the store only for reading.
    #[error("{path} can't be written: {}", crate::disk::REMEDY)]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The log can't be moved into the database, and has grown to its bound.
    #[error(
        "the log has grown to {} MiB because it can't be moved into the database",
        log_bytes >> 20
    )]
    LogFull {
        /// What is in the log, bytes.
        log_bytes: u64,
    },
    /// Keys that are to go with their day's data are still there.
    #[error("the keys of days that are gone could not be destroyed")]
    OldKeys(#[source] crate::keys::KeyError),
    /// The file isn't the one that was opened any more.
    #[error(
        "{0}: the store was moved away or replaced while the gateway runs. Put the same file back; or, if another is meant, restart the gateway (systemctl restart linli)"
    )]
    Replaced(PathBuf),
    /// Another daemon has it.
    #[error(
        "{0}: another linli is running on this store. Stop it first (systemctl stop linli), or give this one a state_dir of its own"
    )]
    Locked(PathBuf),
    /// Made by a newer version.
    #[error(
        "{path}: the store has schema {found}, this linli knows up to {known}. Install the version that wrote it, or a newer one; nothing was changed"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// A pragma that durability rests on didn't take.
    #[error(
        "{path}: {pragma} is '{found}', must be '{wanted}'. Is the file on a file system without shared memory?"
    )]
    Pragma {
        /// The file.
        path: PathBuf,
        /// Which.
        pragma: &'static str,
        /// What it is.
        found: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// A row that can't be what we wrote.
    #[error(
        "{table}: a row can't be read: {what}. Run 'sqlite3 {table}' on a copy, and restore the last backup if it is damaged"
    )]
    Damaged {
        /// Where.
        table: &'static str,
        /// What is wrong.
        what: String,
    },
}

impl StoreError {
    /// For the start, where somebody is there to read it: names the file and what to do.
    pub fn at_start(self, store: &Path) -> anyhow::Error {
        let context = match &self {
            Self::Sqlite { .. } => {
                let store = store.display();
                format!("{store} can't be used: {}", crate::disk::REMEDY)
            }
            // They name the file and the remedy themselves.
            _ => return self.into(),
        };
        anyhow::Error::new(self).context(context)
    }
}

/// Adds what was tried to an SQLite error.
pub(crate) fn doing(what: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |source| StoreError::Sqlite {
        doing: what,
        source,
    }
}

/// Which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Of the file that has this name; `None` if none has, or it can't be told.
    pub fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let found = fs::metadata(path).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
        })
    }
}

/// The folder that the daemon keeps everything in, locked for this process as long as it lives.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes the folder if it isn't there (mode 0700) and locks it.
    pub fn lock(path: &Path) -> Result<Self, StoreError> {
        let io = |doing| {
            let path = path.to_path_buf();
            move |source| StoreError::Io {
                doing,
                path,
                source,
            }
        };
        make_private_dir(path).map_err(io("made"))?;
        let lock_path = path.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(io("opened for its lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_path_buf(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked(path.to_path_buf())),
            Err(TryLockError::Error(source)) => Err(io("locked")(source)),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The store's file.
    pub fn store(&self) -> PathBuf {
        store_file(&self.path)
    }

    /// The folder of key files.
    pub fn keys(&self) -> PathBuf {
        self.path.join("keys")
    }
}

/// The store's file below a state folder.
pub fn store_file(state_dir: &Path) -> PathBuf {
    state_dir.join("linli.db")
}

/// Makes a folder that only its owner may enter, with its parents, and sees to it that a power cut
/// leaves it where it is.
pub fn make_private_dir(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    if !path.is_dir() {
        let parent = parent_of(path);
        if parent != path && !parent.is_dir() {
            make_private_dir(parent)?;
        }
        // Another may make it just now: that is as good.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)?;
    }
    // Also one that was there: who made it may have been killed before this.
    match sync_folder(parent_of(path)) {
        // Then somebody else has made it for us.
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

/// Sees to it that a power cut leaves the names in a folder as they are.
pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The folder that something is in.
pub(crate) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod upgrade_tests;
