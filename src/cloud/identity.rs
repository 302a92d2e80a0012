//! Who this gateway is at the cloud: its Ed25519 key and what it was told at its enrolment.
//!
//! In the folder `cloud` of the state folder, both for its owner only:
//!
//! * `gateway.key` — the seed of the key in force; made on first need.
//! * `gateway.key.next` — while the key is being changed: the one that comes. Which of the two the
//!   cloud takes is found out by using it, the next first; only then is the other destroyed.
//! * `enrolment.json` — where it is enrolled, as whom, since when, and to what codes are sealed. It
//!   counts only for the cloud and the name that it names.
//!
//! Each is written beside, synced and renamed: a power cut leaves the old or the new, whole.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cloud_protocol::SealingKey;
use firmware_protocols::Ident;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde::{Deserialize, Serialize};

use crate::keys::write_private;
use crate::store::{make_private_dir, sync_folder};

const KEY: &str = "gateway.key";
const NEXT: &str = "gateway.key.next";
const ENROLMENT: &str = "enrolment.json";
/// What it says is a few hundred bytes.
const ENROLMENT_MAX_BYTES: u64 = 16 * 1024;

/// Why the gateway's papers can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum IdentityError {
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
    /// Others can read a key.
    #[error(
        "{path} can be read by others (mode {mode:o}), so it may not be this gateway's alone any \
         more: chmod 600 it, and then change the key with 'linli sync rotate-key'"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file isn't a key.
    #[error(
        "{0} isn't a key of 32 bytes: restore it, or remove it and enrol again with a fresh token \
         ('linli sync enrol')"
    )]
    Damaged(PathBuf),
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes")]
    Random,
}

/// A key of the gateway's. Its secret half is never shown.
pub(super) struct Key {
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl Key {
    /// To sign with.
    pub fn pair(&self) -> &Ed25519KeyPair {
        &self.pair
    }

    /// Its public half.
    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    fn from_seed(seed: &[u8; 32], path: &Path) -> Result<Self, IdentityError> {
        let damaged = || IdentityError::Damaged(path.to_path_buf());
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| damaged())?;
        let public = pair.public_key().as_ref().try_into();
        let public = public.map_err(|_| damaged())?;
        Ok(Self { pair, public })
    }
}

/// What the gateway was told at its enrolment, and since when it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Enrolled {
    /// The cloud's URL.
    pub url: String,
    /// The gateway's name there.
    pub gateway: Ident,
    /// To what codes are sealed.
    pub sealing_key: SealingKey,
    /// Since when it is enrolled, ms since the Unix epoch by the box's clock.
    pub since_ms: i64,
    /// Since when its key is in force.
    pub key_since_ms: i64,
}

/// The gateway's papers.
pub(super) struct Identity {
    folder: PathBuf,
    held: Mutex<Held>,
}

struct Held {
    key: Arc<Key>,
    next: Option<Arc<Key>>,
    /// Which of the two is tried now.
    try_next: bool,
    enrolled: Option<Enrolled>,
}

impl Identity {
    /// Opens the papers in `folder`; makes the folder and the key if they aren't there.
    pub fn open(folder: &Path) -> Result<Self, IdentityError> {
        make_private_dir(folder).map_err(failed("made", folder))?;
        let path = folder.join(KEY);
        let key = match read_key(&path)? {
            Some(key) => key,
            None => {
                let key = make_key(&path)?;
                tracing::info!(path = %path.display(), "made this gateway's key for the cloud");
                key
            }
        };
        let next = read_key(&folder.join(NEXT))?.map(Arc::new);
        // Whoever made them may have been killed before he had.
        sync_folder(folder).map_err(failed("synced", folder))?;
        Ok(Self {
            folder: folder.to_path_buf(),
            held: Mutex::new(Held {
                key: Arc::new(key),
                try_next: next.is_some(),
                next,
                enrolled: read_enrolment(&folder.join(ENROLMENT))?,
            }),
        })
    }

    /// The enrolment, if it is at this cloud and under this name.
    pub fn enrolled(&self, url: &str, gateway: &Ident) -> Option<Enrolled> {
        let held = self.lock();
        let here = |enrolled: &&Enrolled| enrolled.url == url && enrolled.gateway == *gateway;
        held.enrolled.as_ref().filter(here).cloned()
    }

    /// Enters an enrolment, on disk first.
    pub fn enrol(&self, enrolled: Enrolled) -> Result<(), IdentityError> {
        let path = self.folder.join(ENROLMENT);
        let text = OnDisk::from(&enrolled).to_json(&path)?;
        write_private(&path, &text).map_err(failed("written", &path))?;
        self.lock().enrolled = Some(enrolled);
        Ok(())
    }

    /// What to sign with now.
    pub fn key(&self) -> Arc<Key> {
        let held = self.lock();
        let next = held.next.as_ref().filter(|_| held.try_next);
        Arc::clone(next.unwrap_or(&held.key))
    }

    /// Whether a change of the key isn't over.
    pub fn is_changing(&self) -> bool {
        self.lock().next.is_some()
    }

    /// The cloud refuses what `key` signed. Returns whether there is another to try.
    pub fn refused(&self, key: &Key) -> bool {
        let mut held = self.lock();
        let tried = match held.next.as_ref().filter(|_| held.try_next) {
            Some(next) => next.public,
            None => held.key.public,
        };
        if tried == key.public && held.next.is_some() {
            held.try_next = !held.try_next;
            return true;
        }
        // Meanwhile it is another's turn, or there is only this one.
        tried != key.public
    }

    /// The cloud took what `key` signed: if it is the next one, it is in force now. Returns whether
    /// it came into force by this.
    pub fn taken(&self, key: &Key, now_ms: i64) -> Result<bool, IdentityError> {
        let mut held = self.lock();
        let next = held.next.clone().filter(|next| next.public == key.public);
        let Some(next) = next else {
            return Ok(false);
        };
        held.key = next;
        held.next = None;
        held.try_next = false;
        let (from, to) = (self.folder.join(NEXT), self.folder.join(KEY));
        fs::rename(&from, &to).map_err(failed("renamed", &from))?;
        sync_folder(&self.folder).map_err(failed("synced", &self.folder))?;
        if let Some(enrolled) = held.enrolled.clone() {
            drop(held);
            self.enrol(Enrolled {
                key_since_ms: now_ms,
                ..enrolled
            })?;
        }
        Ok(true)
    }

    /// Begins to change the key: the one that comes, on disk; the same again while the change isn't
    /// over. The key in force signs until [`Identity::try_next`].
    pub fn make_next(&self) -> Result<Arc<Key>, IdentityError> {
        let mut held = self.lock();
        held.try_next = false;
        if let Some(next) = &held.next {
            return Ok(Arc::clone(next));
        }
        let next = Arc::new(make_key(&self.folder.join(NEXT))?);
        held.next = Some(Arc::clone(&next));
        Ok(next)
    }

    /// The cloud may know the next key: it is tried first.
    pub fn try_next(&self) {
        let mut held = self.lock();
        held.try_next = held.next.is_some();
    }

    /// The cloud won't have the next key: it is destroyed.
    pub fn drop_next(&self) -> Result<(), IdentityError> {
        let mut held = self.lock();
        let path = self.folder.join(NEXT);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed("removed", &path)(e)),
        }
        held.next = None;
        held.try_next = false;
        sync_folder(&self.folder).map_err(failed("synced", &self.folder))
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IdentityError {
    let path = path.to_path_buf();
    move |source| IdentityError::Io {
        doing,
        path,
        source,
    }
}

fn make_key(path: &Path) -> Result<Key, IdentityError> {
    let mut seed = [0; 32];
    SystemRandom::new()
        .fill(&mut seed)
        .map_err(|_| IdentityError::Random)?;
    write_private(path, &seed).map_err(failed("written", path))?;
    Key::from_seed(&seed, path)
}

fn read_key(path: &Path) -> Result<Option<Key>, IdentityError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed("opened", path)(e)),
    };
    let metadata = file.metadata().map_err(failed("read", path))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::Open {
            path: path.to_path_buf(),
            mode,
        });
    }
    let mut seed = Vec::with_capacity(33);
    file.take(33)
        .read_to_end(&mut seed)
        .map_err(failed("read", path))?;
    let seed: Result<[u8; 32], _> = seed.try_into();
    let seed = seed.map_err(|_| IdentityError::Damaged(path.to_path_buf()))?;
    Key::from_seed(&seed, path).map(Some)
}

/// What can't be read counts as no enrolment: it is made again with a token.
fn read_enrolment(path: &Path) -> Result<Option<Enrolled>, IdentityError> {
    let mut text = Vec::new();
    match File::open(path) {
        Ok(file) => file
            .take(ENROLMENT_MAX_BYTES)
            .read_to_end(&mut text)
            .map_err(failed("read", path))?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed("opened", path)(e)),
    };
    let read = serde_json::from_slice::<OnDisk>(&text).ok();
    let enrolled = read.and_then(OnDisk::into_enrolled);
    if enrolled.is_none() {
        tracing::error!(path = %path.display(), "can't be read: restore it, or enrol again with a fresh token ('linli sync enrol')");
    }
    Ok(enrolled)
}

/// `enrolment.json`.
#[derive(Serialize, Deserialize)]
struct OnDisk {
    url: String,
    gateway: String,
    sealing_key: SealingKeyOnDisk,
    enrolled_ms: i64,
    key_since_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct SealingKeyOnDisk {
    id: String,
    /// base64url without padding, as on the wire.
    public_key: String,
}

impl From<&Enrolled> for OnDisk {
    fn from(enrolled: &Enrolled) -> Self {
        Self {
            url: enrolled.url.clone(),
            gateway: enrolled.gateway.as_str().to_owned(),
            sealing_key: SealingKeyOnDisk {
                id: enrolled.sealing_key.id.clone(),
                public_key: URL_SAFE_NO_PAD.encode(enrolled.sealing_key.public_key),
            },
            enrolled_ms: enrolled.since_ms,
            key_since_ms: enrolled.key_since_ms,
        }
    }
}

impl OnDisk {
    fn to_json(&self, path: &Path) -> Result<Vec<u8>, IdentityError> {
        serde_json::to_vec_pretty(self).map_err(|e| failed("written", path)(e.into()))
    }

    fn into_enrolled(self) -> Option<Enrolled> {
        let public_key = URL_SAFE_NO_PAD.decode(&self.sealing_key.public_key).ok()?;
        Some(Enrolled {
            url: self.url,
            gateway: Ident::new(&self.gateway).ok()?,
            sealing_key: SealingKey {
                id: self.sealing_key.id,
                public_key: public_key.try_into().ok()?,
            },
            since_ms: self.enrolled_ms,
            key_since_ms: self.key_since_ms,
        })
    }
}
