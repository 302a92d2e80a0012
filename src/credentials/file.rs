//! The password file: one `device = hash` a line, mode 0600, replaced as a whole.
//!
//! The hash is a PHC string (`$argon2id$v=19$m=4096,t=3,p=1$salt$hash`). Lines that are empty or
//! start with `#` are skipped, but for those that start with `#+`: each is a new password that its
//! device hasn't used yet (`linli device rotate`), `#+ device = hash until=MS`. While it waits, the
//! device's own line holds the old one; the moment the device comes with the new one, or its time
//! (ms since the Unix epoch) is over, the new one takes that line. A linli from before rotations reads
//! such a file as one in which nothing was rotated, so a downgrade keeps out nobody who got in before;
//! if it writes the file, what waited is gone, and is rotated again.
//!
//! Writing goes to a new file that is synced and renamed, then the
//! folder is synced: a power cut leaves the old file or the new one. Writers take turns through a
//! lock on `<file>.lock`.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use firmware_protocols::Ident;
use ring::rand::{SecureRandom, SystemRandom};

use super::hash;

/// 32 characters that can't be mistaken for each other when read aloud or typed.
const ALPHABET: &[u8; 32] = b"23456789abcdefghjkmnpqrstuvwxyzB";
const PASSWORD_CHARS: usize = 26;

/// How long the old password stays good at most when a new one was made: a week.
pub const ROTATION_TIME: Duration = Duration::from_secs(7 * 86_400);

/// 2024-01-01, ms since the Unix epoch. A clock before it was never set, so no time is taken from it:
/// when it is, a week would be over at once.
const CLOCK_SET_MS: i64 = 1_704_067_200_000;

/// How a line with a new password begins.
const NEXT: &str = "#+";

/// Why passwords can't be read, made or stored.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Reading or writing failed.
    #[error("the password file {} cannot be used; check that its folder exists and belongs to the daemon's user, for space (df -h) and for a disk that fails (dmesg)", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else could read or write the file.
    #[error("the password file {} is open to others (mode {mode:o}); run: chmod 600 {}", path.display(), path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A line isn't `device = hash`.
    #[error("line {line} of the password file {} is not 'device = $argon2id$...'; set that device's password again", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A password that can't be stored.
    #[error("a password has 1 to 128 bytes")]
    Length,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Random,
    /// The hash function failed.
    #[error("the password cannot be hashed: {0}")]
    Hash(String),
}

/// What tells one state of the file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    modified_s: i64,
    modified_ns: i64,
    length_bytes: u64,
    inode: u64,
}

/// A new password: 26 characters, 130 bits from the operating system.
pub fn generate_password() -> Result<String, CredentialsError> {
    let mut bytes = [0_u8; PASSWORD_CHARS];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| CredentialsError::Random)?;
    Ok(bytes
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte % 32)]))
        .collect())
}

/// Stores the hash of `password` as the password of `device`, in place of the one before.
/// Takes one slow hash, some milliseconds.
pub fn set_password(
    path: &Path,
    device: &Ident,
    password: impl AsRef<[u8]>,
) -> Result<(), CredentialsError> {
    let hash = hashed(password.as_ref())?;
    change(path, |passwords| {
        passwords.next.remove(device);
        passwords.current.insert(device.clone(), hash);
        true
    })
}

/// How long the old password stays good beside a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldPassword {
    /// There was none: the new one holds at once.
    None,
    /// Until the device has come with the new one, and not beyond this (ms since the Unix epoch). `None`
    /// if the clock was never set: then only the device ends it.
    GoodUntil(Option<i64>),
}

/// Stores the hash of `password` as the new password of `device`, beside the old one. If another new
/// one waited already, that one is good no more. `now_ms` is the time, ms since the Unix epoch.
pub fn rotate_password(
    path: &Path,
    device: &Ident,
    password: impl AsRef<[u8]>,
    now_ms: i64,
) -> Result<OldPassword, CredentialsError> {
    let hash = hashed(password.as_ref())?;
    let mut old = OldPassword::None;
    change(path, |passwords| {
        passwords.settle(now_ms);
        if !passwords.current.contains_key(device) {
            passwords.current.insert(device.clone(), hash);
            return true;
        }
        let time_ms = i64::try_from(ROTATION_TIME.as_millis()).unwrap_or(i64::MAX);
        let until_ms = (now_ms >= CLOCK_SET_MS).then(|| now_ms.saturating_add(time_ms));
        old = OldPassword::GoodUntil(until_ms);
        passwords
            .next
            .insert(device.clone(), Next { hash, until_ms });
        true
    })?;
    Ok(old)
}

/// The device has come with its new password, whose hash this is: the old one is dropped.
pub(super) fn promote(path: &Path, device: &Ident, hash: &str) -> Result<(), CredentialsError> {
    change(path, |passwords| passwords.promote(device, hash))
}

/// Drops the old passwords whose time is over.
pub(super) fn settle(path: &Path, now_ms: i64) -> Result<(), CredentialsError> {
    change(path, |passwords| passwords.settle(now_ms))
}

fn hashed(password: &[u8]) -> Result<Arc<str>, CredentialsError> {
    if password.is_empty() || password.len() > super::PASSWORD_MAX_BYTES {
        return Err(CredentialsError::Length);
    }
    Ok(hash::hash(password)?.into())
}

/// Removes the password of `device`. Its next login is refused; a connection that is up stays.
pub fn remove_password(path: &Path, device: &Ident) -> Result<(), CredentialsError> {
    change(path, |passwords| {
        let next = passwords.next.remove(device).is_some();
        passwords.current.remove(device).is_some() || next
    })
}

pub(super) fn stamp(path: &Path) -> Result<Option<Stamp>, CredentialsError> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some(Stamp {
            modified_s: meta.mtime(),
            modified_ns: meta.mtime_nsec(),
            length_bytes: meta.len(),
            inode: meta.ino(),
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CredentialsError::Io {
            path: path.to_path_buf(),
            source,
        }),
    }
}

/// The hashes by device.
#[doc(hidden)]
pub type Hashes = HashMap<Ident, Arc<str>>;

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Passwords {
    /// The passwords that hold.
    pub current: Hashes,
    /// New ones, that haven't been used yet.
    pub next: HashMap<Ident, Next>,
}

/// A new password that hasn't been used yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Next {
    /// Its hash.
    pub hash: Arc<str>,
    /// Until when the old one is good, ms since the Unix epoch.
    pub until_ms: Option<i64>,
}

impl Next {
    /// Whether the old one is good no more.
    pub fn is_due(&self, now_ms: i64) -> bool {
        self.until_ms.is_some_and(|until_ms| until_ms <= now_ms)
    }
}

impl Passwords {
    /// The hashes that a password of the device may have, the new one last.
    pub fn good(&self, device: &Ident, now_ms: i64) -> Vec<Arc<str>> {
        let next = self.next.get(device);
        let over = next.is_some_and(|next| next.is_due(now_ms));
        let current = self.current.get(device).filter(|_| !over);
        let next = next.map(|next| &next.hash);
        current.into_iter().chain(next).cloned().collect()
    }

    /// The new password with this hash takes the place of the old one; whether there was such a one.
    pub fn promote(&mut self, device: &Ident, hash: &str) -> bool {
        if self.next.get(device).is_none_or(|next| *next.hash != *hash) {
            return false;
        }
        if let Some(next) = self.next.remove(device) {
            self.current.insert(device.clone(), next.hash);
        }
        true
    }

    /// Drops the old passwords whose time is over; whether there were any.
    pub fn settle(&mut self, now_ms: i64) -> bool {
        let due: Vec<(Ident, Arc<str>)> = self
            .next
            .iter()
            .filter(|(_, next)| next.is_due(now_ms))
            .map(|(device, next)| (device.clone(), Arc::clone(&next.hash)))
            .collect();
        let any = !due.is_empty();
        for (device, hash) in due {
            self.promote(&device, &hash);
        }
        any
    }

    fn text(&self) -> String {
        let mut text = String::from(
            "# Passwords of devices, hashed. Change them with: linli device password ID\n",
        );
        if !self.next.is_empty() {
            text.push_str(
                "# Lines with #+ are new passwords that their devices haven't used yet.\n",
            );
        }
        for (device, hash) in self.current.iter().collect::<BTreeMap<_, _>>() {
            text.push_str(&format!("{device} = {hash}\n"));
        }
        for (device, next) in self.next.iter().collect::<BTreeMap<_, _>>() {
            text.push_str(&format!("{NEXT} {device} = {}", next.hash));
            if let Some(until_ms) = next.until_ms {
                text.push_str(&format!(" until={until_ms}"));
            }
            text.push('\n');
        }
        text
    }
}

pub(super) fn read(path: &Path) -> Result<(Option<Stamp>, Passwords), CredentialsError> {
    let stamp = stamp(path)?;
    if stamp.is_none() {
        return Ok((None, Passwords::default()));
    }
    let io = |source| CredentialsError::Io {
        path: path.to_path_buf(),
        source,
    };
    let mode = fs::metadata(path).map_err(io)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(CredentialsError::Mode {
            path: path.to_path_buf(),
            mode,
        });
    }
    let text = fs::read_to_string(path).map_err(io)?;
    let current = parse_all(&text).map_err(|line| CredentialsError::Line {
        path: path.to_path_buf(),
        line,
    })?;
    let next = text.lines().filter_map(parse_next).collect();
    Ok((stamp, Passwords { current, next }))
}

/// Reads a line with a new password. What isn't one is a comment.
fn parse_next(line: &str) -> Option<(Ident, Next)> {
    let line = line.trim().strip_prefix(NEXT)?;
    let (line, until_ms) = match line.split_once(" until=") {
        Some((line, until)) => (line, Some(until.trim().parse().ok()?)),
        None => (line, None),
    };
    let (device, hash) = parse(line)?;
    Some((device, Next { hash, until_ms }))
}

/// Reads the file's text; an error is the number of the line, from 1, that isn't `device = hash`.
#[doc(hidden)]
pub fn parse_all(text: &str) -> Result<Hashes, usize> {
    let mut hashes = HashMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (device, hash) = parse(line).ok_or(index + 1)?;
        hashes.insert(device, hash);
    }
    Ok(hashes)
}

fn parse(line: &str) -> Option<(Ident, Arc<str>)> {
    let (device, hash) = line.split_once('=')?;
    let device = Ident::new(device.trim()).ok()?;
    let hash = hash.trim();
    hash::is_acceptable(hash).then(|| (device, Arc::from(hash)))
}

/// Changes the file; nothing is written if `edit` says that nothing has changed.
fn change(path: &Path, edit: impl FnOnce(&mut Passwords) -> bool) -> Result<(), CredentialsError> {
    let io = |source| CredentialsError::Io {
        path: path.to_path_buf(),
        source,
    };
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_os_string();
        name.push(suffix);
        PathBuf::from(name)
    };
    let private = |path: &Path, truncate| {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(truncate)
            .mode(0o600)
            .open(path)
    };
    let turn = private(&beside(".lock"), false).map_err(io)?;
    turn.lock().map_err(io)?;
    let mut passwords = read(path)?.1;
    if !edit(&mut passwords) {
        return Ok(());
    }
    let text = passwords.text();
    let new = beside(".new");
    let mut file = private(&new, true).map_err(io)?;
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(io)?;
    file.write_all(text.as_bytes()).map_err(io)?;
    file.sync_all().map_err(io)?;
    fs::rename(&new, path).map_err(io)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
