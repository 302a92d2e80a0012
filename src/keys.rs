//! Keys that the box makes for itself, each in a file of its own, mode 0600.
//!
//! * `code.key` — digests of pickup codes (HMAC-SHA256).
//! * `store.key` — seals pickup codes on their way to the cloud (ChaCha20-Poly1305).
//! * `day-N.key` — digests of credentials and households of day N since the Unix epoch; destroyed
//!   with that day's data, so that what is left can't be tied to anybody.
//! * `sign.key` — signs exports (Ed25519), see [`signing`].
//!
//! Keys never leave this module but as digests and sealed bytes.

pub mod signing;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::ops::RangeInclusive;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use estate::Digest;
use estate::context::{CodeDigest, Random};
use firmware_protocols::Ident;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{aead, hmac};

use crate::disk::{Disk, Duty};
use crate::store::{make_private_dir, parent_of, sync_folder};

/// What can go wrong with a key file.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file system says no.
    #[error("{path} could not be {doing}: {}", crate::disk::REMEDY)]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file isn't a key.
    #[error("{0}: isn't a key of 32 bytes. Restore it from the backup that belongs to this store")]
    Damaged(PathBuf),
    /// The store needs a key that isn't there.
    #[error(
        "{0}: is missing, but the store was made with it: without it pickup codes in the store don't work, or can't go to the cloud. Restore the keys folder from the backup that belongs to this store"
    )]
    Missing(PathBuf),
    /// The key belongs to another store.
    #[error(
        "keys/code.key isn't the key that this store was made with: no pickup code in the store would work. Restore the keys folder from the backup that belongs to this store"
    )]
    Foreign,
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes")]
    Random,
    /// Sealed bytes that don't open.
    #[error(
        "sealed with another key, or damaged. Restore the keys folder that belongs to this store"
    )]
    Sealed,
}

/// The long-lived keys.
pub struct Keys {
    /// Digests of pickup codes.
    pub codes: CodeKey,
    /// Seals what must not lie open in the store.
    pub store: StoreKey,
}

impl Keys {
    /// Reads the keys from `folder`, or makes them if `fresh` (the store is new).
    pub fn open(folder: &Path, fresh: bool) -> Result<Self, KeyError> {
        make_private_dir(folder).map_err(io_error("made", folder))?;
        let code = read_or_make(&folder.join("code.key"), fresh)?;
        let store = read_or_make(&folder.join("store.key"), fresh)?;
        // Whoever made them may have been killed before he had.
        sync_folder(folder).map_err(io_error("synced", folder))?;
        Ok(Self {
            codes: CodeKey(hmac::Key::new(hmac::HMAC_SHA256, &code)),
            store: StoreKey::new(&store)?,
        })
    }
}

/// Digests pickup codes: HMAC-SHA256 over the point's id, a zero byte and the digits.
#[derive(Clone)]
pub struct CodeKey(hmac::Key);

impl CodeDigest for CodeKey {
    fn digest(&self, point: &Ident, digits: &str) -> Digest {
        keyed(
            &self.0,
            &[point.as_str().as_bytes(), b"\0", digits.as_bytes()],
        )
    }

    fn bank_salt(&self, bank: &Ident) -> Digest {
        keyed(
            &self.0,
            &[b"linli/v1/bank-salt\0", bank.as_str().as_bytes()],
        )
    }

    fn bank_digest(&self, bank: &Ident, digits: &str) -> Digest {
        let salt = hmac::Key::new(hmac::HMAC_SHA256, &self.bank_salt(bank));
        keyed(&salt, &[digits.as_bytes()])
    }
}

impl CodeKey {
    /// A mark by which a store knows its key again; it says nothing about the key.
    pub fn mark(&self) -> i64 {
        let digest = keyed(&self.0, &[b"linli/v1/mark"]);
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        i64::from_be_bytes(first)
    }
}

/// Seals and opens with ChaCha20-Poly1305, a random nonce in front.
pub struct StoreKey(aead::LessSafeKey);

impl StoreKey {
    fn new(key: &[u8; 32]) -> Result<Self, KeyError> {
        aead::UnboundKey::new(&aead::CHACHA20_POLY1305, key)
            .map(|key| Self(aead::LessSafeKey::new(key)))
            .map_err(|_| KeyError::Random)
    }

    /// Seals `open`.
    pub fn seal(&self, open: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut nonce = [0; aead::NONCE_LEN];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| KeyError::Random)?;
        let mut body = open.to_vec();
        let key_nonce = aead::Nonce::assume_unique_for_key(nonce);
        self.0
            .seal_in_place_append_tag(key_nonce, aead::Aad::empty(), &mut body)
            .map_err(|_| KeyError::Random)?;
        Ok([nonce.as_slice(), &body].concat())
    }

    /// Opens what [`StoreKey::seal`] made.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, KeyError> {
        let (nonce, body) = sealed
            .split_at_checked(aead::NONCE_LEN)
            .ok_or(KeyError::Sealed)?;
        let nonce = aead::Nonce::try_assume_unique_for_key(nonce).map_err(|_| KeyError::Sealed)?;
        let mut body = body.to_vec();
        let open = self
            .0
            .open_in_place(nonce, aead::Aad::empty(), &mut body)
            .map_err(|_| KeyError::Sealed)?;
        Ok(open.to_vec())
    }
}

/// The daily keys, made as days come and destroyed as they go.
///
/// Only a day whose data is kept has a key, and none that is over for a month: a device that names a
/// thousand days doesn't make a thousand files.
pub struct DayKeys {
    folder: PathBuf,
    /// How many days back an event may come late and still find its day's key.
    late_days: AtomicU32,
    disk: Disk,
    keys: Mutex<BTreeMap<i64, hmac::Key>>,
}

const DAY_MS: i64 = 86_400_000;
/// No device is away for longer and then has much to tell of single persons.
const LATE_DAYS_MAX: u32 = 31;

impl DayKeys {
    /// The daily keys in `folder`, of data that is kept for `kept_days`.
    pub fn new(folder: &Path, kept_days: u32) -> Self {
        Self {
            folder: folder.to_path_buf(),
            late_days: AtomicU32::new(kept_days.min(LATE_DAYS_MAX)),
            disk: Disk::default(),
            keys: Mutex::new(BTreeMap::new()),
        }
    }

    /// Says on `disk` how it goes.
    #[must_use]
    pub fn reporting_to(mut self, disk: &Disk) -> Self {
        self.disk = disk.clone();
        self
    }

    /// The data is kept for so many days from now on.
    pub fn keep(&self, kept_days: u32) {
        let late_days = kept_days.min(LATE_DAYS_MAX);
        self.late_days.store(late_days, Ordering::Relaxed);
    }

    /// Reads or makes the key of the day of `at_ms`, only to see whether that is possible.
    pub fn try_day(&self, at_ms: i64) {
        let read = read_or_make(&self.path(at_ms.div_euclid(DAY_MS)), true);
        self.disk.note(Duty::DayKeys, &read);
    }

    /// The digest of a credential or household, by the key of the day of `at_ms`. `None` if at
    /// `now_ms` that day has no key: it is too long ago, or later than tomorrow.
    ///
    /// `domain` keeps a card's number and a household's name apart.
    pub fn digest(
        &self,
        now_ms: i64,
        at_ms: i64,
        domain: &str,
        text: &str,
    ) -> Result<Option<Digest>, KeyError> {
        let day = at_ms.div_euclid(DAY_MS);
        let days = self.with_key(now_ms);
        if !days.contains(&day) {
            return Ok(None);
        }
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if !keys.contains_key(&day) {
            let read = read_or_make(&self.path(day), true);
            self.disk.note(Duty::DayKeys, &read);
            let bytes = read?;
            keys.retain(|day, _| days.contains(day));
            keys.insert(day, hmac::Key::new(hmac::HMAC_SHA256, &bytes));
        }
        match keys.get(&day) {
            Some(key) => Ok(Some(keyed(
                key,
                &[domain.as_bytes(), b"\0", text.as_bytes()],
            ))),
            None => Err(KeyError::Random),
        }
    }

    /// The days that have a key. Tomorrow is one: a device's clock may be some minutes ahead.
    fn with_key(&self, now_ms: i64) -> RangeInclusive<i64> {
        let first_ms =
            now_ms.saturating_sub(i64::from(self.late_days.load(Ordering::Relaxed)) * DAY_MS);
        first_ms.div_euclid(DAY_MS)..=now_ms.div_euclid(DAY_MS) + 1
    }

    /// Destroys the keys of the days that ended before `before_ms`.
    pub fn destroy(&self, before_ms: i64) -> Result<(), KeyError> {
        let first_kept = before_ms.div_euclid(DAY_MS);
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|day, _| *day >= first_kept);
        let listing = fs::read_dir(&self.folder).map_err(io_error("listed", &self.folder))?;
        for entry in listing {
            let entry = entry.map_err(io_error("listed", &self.folder))?;
            let name = entry.file_name();
            let day = name.to_str().and_then(|name| {
                name.strip_prefix("day-")?
                    .strip_suffix(".key")?
                    .parse()
                    .ok()
            });
            if day.is_some_and(|day: i64| day < first_kept) {
                overwrite_and_remove(&entry.path())?;
            }
        }
        Ok(())
    }

    fn path(&self, day: i64) -> PathBuf {
        self.folder.join(format!("day-{day}.key"))
    }
}

/// The operating system's random bytes.
pub struct OsRandom(SystemRandom);

impl OsRandom {
    /// Opens the source, and tries it: later calls can't fail on Linux once one has succeeded.
    pub fn new() -> Result<Self, KeyError> {
        let source = SystemRandom::new();
        source.fill(&mut [0; 8]).map_err(|_| KeyError::Random)?;
        Ok(Self(source))
    }
}

impl Random for OsRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        // getrandom(2) on an initialised pool doesn't fail; a code from anything else must not exist.
        if self.0.fill(bytes).is_err() {
            tracing::error!("the operating system gives no random bytes: stopping");
            std::process::abort();
        }
    }
}

fn keyed(key: &hmac::Key, parts: &[&[u8]]) -> Digest {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.sign().as_ref());
    out
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyError {
    let path = path.to_path_buf();
    move |source| KeyError::Io {
        doing,
        path,
        source,
    }
}

/// Zeros are what is left of a key that was destroyed when its file could not be removed.
const DESTROYED: [u8; 32] = [0; 32];

fn read_or_make(path: &Path, make: bool) -> Result<[u8; 32], KeyError> {
    match File::open(path) {
        Ok(file) => match read_key(file, path)? {
            DESTROYED if make => make_key(path),
            DESTROYED => Err(KeyError::Damaged(path.to_path_buf())),
            key if make => {
                // It may have been made a moment ago by a call whose last step failed.
                sync_folder(parent_of(path)).map_err(io_error("synced", path))?;
                Ok(key)
            }
            key => Ok(key),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound && make => make_key(path),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(KeyError::Missing(path.to_path_buf())),
        Err(e) => Err(io_error("opened", path)(e)),
    }
}

fn read_key(file: File, path: &Path) -> Result<[u8; 32], KeyError> {
    let mut bytes = Vec::with_capacity(33);
    file.take(33)
        .read_to_end(&mut bytes)
        .map_err(io_error("read", path))?;
    bytes
        .try_into()
        .map_err(|_| KeyError::Damaged(path.to_path_buf()))
}

/// Written beside, synced, renamed, the folder synced: a power cut leaves a whole key or none.
fn make_key(path: &Path) -> Result<[u8; 32], KeyError> {
    let mut key = [0; 32];
    SystemRandom::new()
        .fill(&mut key)
        .map_err(|_| KeyError::Random)?;
    write_private(path, &key).map_err(io_error("written", path))?;
    Ok(key)
}

/// Writes a file that only its owner may read, so that a power cut leaves the old or the new whole.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&beside)?;
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    sync_folder(parent_of(path))
}

fn overwrite_and_remove(path: &Path) -> Result<(), KeyError> {
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(&DESTROYED).and_then(|()| file.sync_all()))
        .map_err(io_error("overwritten", path))?;
    fs::remove_file(path).map_err(io_error("removed", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destroyed_key_that_is_still_there_is_never_used() {
        let dir = tempfile::tempdir().unwrap();
        let digest = || {
            let days = DayKeys::new(dir.path(), 7);
            days.digest(0, 0, "credential", "card").unwrap().unwrap()
        };
        let used = digest();
        // Written over, but the removal failed.
        fs::write(dir.path().join("day-0.key"), DESTROYED).unwrap();
        let anew = digest();
        let zeros = hmac::Key::new(hmac::HMAC_SHA256, &DESTROYED);
        assert_ne!(anew, keyed(&zeros, &[b"credential", b"\0", b"card"]));
        assert_ne!(anew, used);
        // A long-lived key is never made anew in its place.
        let keys = dir.path().join("keys");
        Keys::open(&keys, true).unwrap();
        fs::write(keys.join("code.key"), DESTROYED).unwrap();
        assert!(matches!(
            Keys::open(&keys, false),
            Err(KeyError::Damaged(_))
        ));
    }
    #[test]
    fn only_days_whose_data_is_kept_have_a_key() {
        let dir = tempfile::tempdir().unwrap();
        let days = DayKeys::new(dir.path(), 7);
        let now_ms = 20_000 * DAY_MS + DAY_MS / 2;
        assert_eq!(DayKeys::new(dir.path(), 3650).late_days.into_inner(), 31);
        for day in 19_000..21_000 {
            let digest = days.digest(now_ms, day * DAY_MS, "credential", "card");
            let has_one = (19_993..=20_001).contains(&day);
            assert_eq!(digest.unwrap().is_some(), has_one, "{day}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 9);
        assert_eq!(days.keys.lock().unwrap().len(), 9);
        // Each of them is destroyed with its data.
        days.destroy(now_ms + 9 * DAY_MS).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
