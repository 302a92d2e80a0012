//! The password file: one `device = hash` a line, mode 0600, replaced as a whole.
//!
//! The hash is a PHC string (`$argon2id$v=19$m=4096,t=3,p=1$salt$hash`). Lines that are empty or
//! start with `#` are skipped. Writing goes to a new file that is synced and renamed, then the
//! folder is synced: a power cut leaves the old file or the new one. Writers take turns through a
//! lock on `<file>.lock`.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use firmware_protocols::Ident;
use ring::rand::{SecureRandom, SystemRandom};

use super::hash;

/// 32 characters that can't be mistaken for each other when read aloud or typed.
const ALPHABET: &[u8; 32] = b"23456789abcdefghjkmnpqrstuvwxyzB";
const PASSWORD_CHARS: usize = 26;

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
pub fn set_password(path: &Path, device: &Ident, password: &str) -> Result<(), CredentialsError> {
    if password.is_empty() || password.len() > super::PASSWORD_MAX_BYTES {
        return Err(CredentialsError::Length);
    }
    let hash: Arc<str> = hash::hash(password.as_bytes())?.into();
    change(path, |hashes| {
        hashes.insert(device.clone(), hash);
    })
}

/// Removes the password of `device`. Its next login is refused; a connection that is up stays.
pub fn remove_password(path: &Path, device: &Ident) -> Result<(), CredentialsError> {
    change(path, |hashes| {
        hashes.remove(device);
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

pub(super) fn read(path: &Path) -> Result<(Option<Stamp>, Hashes), CredentialsError> {
    let stamp = stamp(path)?;
    if stamp.is_none() {
        return Ok((None, HashMap::new()));
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
    let hashes = parse_all(&text).map_err(|line| CredentialsError::Line {
        path: path.to_path_buf(),
        line,
    })?;
    Ok((stamp, hashes))
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

fn change(
    path: &Path,
    edit: impl FnOnce(&mut BTreeMap<Ident, Arc<str>>),
) -> Result<(), CredentialsError> {
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
    let mut hashes: BTreeMap<_, _> = read(path)?.1.into_iter().collect();
    edit(&mut hashes);

    let mut text = String::from(
        "# Passwords of devices, hashed. Change them with: linli device password ID\n",
    );
    for (device, hash) in &hashes {
        text.push_str(&format!("{device} = {hash}\n"));
    }
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
mod tests {
    use super::*;

    #[test]
    fn passwords_are_long_plain_and_never_the_same() {
        let one = generate_password().unwrap();
        assert_eq!(one.len(), PASSWORD_CHARS);
        assert!(one.bytes().all(|byte| ALPHABET.contains(&byte)), "{one}");
        assert_ne!(one, generate_password().unwrap());
        let distinct: std::collections::HashSet<_> = ALPHABET.iter().collect();
        assert_eq!(distinct.len(), 32);
    }

    #[test]
    fn the_file_is_private_and_holds_no_plain_password() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwords");
        let device = Ident::new("bank-a").unwrap();
        set_password(&path, &device, "plain-secret").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("bank-a = $argon2id$v=19$m=4096,t=3,p=1$"),
            "{text}"
        );
        assert!(!text.contains("plain-secret"));
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            read(&path),
            Err(CredentialsError::Mode { mode: 0o644, .. })
        ));
    }

    #[test]
    fn the_same_password_is_stored_under_different_salts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwords");
        for device in ["a", "b"] {
            set_password(&path, &Ident::new(device).unwrap(), "same").unwrap();
        }
        let (_, hashes) = read(&path).unwrap();
        assert_ne!(
            hashes[&Ident::new("a").unwrap()],
            hashes[&Ident::new("b").unwrap()]
        );
    }

    #[test]
    fn lines_that_are_not_hashes_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwords");
        let device = Ident::new("a").unwrap();
        set_password(&path, &device, "x").unwrap();
        let good = fs::read_to_string(&path).unwrap();
        for bad in [
            "no equals sign",
            "Upper = $argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHQ$aGFzaGhhc2hoYXNo",
            "a = plaintext",
            "a = $argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHQ",
            "a = $argon2id$v=19$m=4194304,t=3,p=1$c29tZXNhbHRzb21l$aGFzaGhhc2hoYXNoaGFzaGhhc2g",
            "a = $scrypt$ln=14,r=8,p=1$c29tZXNhbHQ$aGFzaA",
        ] {
            fs::write(&path, format!("{good}{bad}\n")).unwrap();
            assert!(
                matches!(read(&path), Err(CredentialsError::Line { line: 3, .. })),
                "{bad}"
            );
        }
        assert!(matches!(
            set_password(&path, &device, ""),
            Err(CredentialsError::Length)
        ));
    }

    #[test]
    fn a_lost_folder_says_what_to_do() {
        let error = set_password(
            Path::new("/nonexistent/passwords"),
            &Ident::new("a").unwrap(),
            "x",
        )
        .unwrap_err();
        assert!(
            error.to_string().contains("check that its folder exists"),
            "{error}"
        );
    }
}
