//! Who may log in: the devices' passwords, checked against a slow hash, remembered in memory.
//!
//! A password is 130 random bits that the gateway made itself ([`generate_password`]), shown once.
//! Only its Argon2id hash is on disk ([`mod@file`]). Parameters: 4 MiB, 3 passes, one lane. That is
//! less than is advised for passwords that people invent, on purpose: guessing 130 bits is
//! hopeless at any price of a guess, while the price is paid by a board with 512 MB of memory when
//! a thousand devices come back after a power cut. At most [`HASHES_AT_ONCE`] hashes run at a
//! time, on no more than half of the cores, so that neither logins nor guesses starve who is in.
//!
//! What was verified is remembered as an HMAC under a key that lives as long as the process, over
//! device, password and stored hash: the second login of a device costs microseconds, a changed
//! password forgets the old one by itself, and the plain password is kept nowhere.
//!
//! Wrong passwords are paid for by who sends them: an address that failed too often is refused
//! without a hash until its allowance has grown again ([`allowance`]). The allowance is the
//! address's, so that nobody can lock a device out by failing in its name from elsewhere; and a
//! login that is remembered needs no allowance at all.

mod allowance;
pub mod file;
mod hash;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use firmware_protocols::Ident;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;

use crate::disk::{Disk, Duty};
use allowance::Allowances;
pub use file::{CredentialsError, generate_password, remove_password, set_password};
#[doc(hidden)]
pub use hash::verify;

/// How many slow hashes may run at the same time at most, each with 4 MiB and a core; never on more
/// than half of the cores, so that guessing at passwords leaves the other half to those who are in.
pub const HASHES_AT_ONCE: usize = 2;

/// The longest password that is looked at, in bytes.
pub const PASSWORD_MAX_BYTES: usize = 128;

/// The answer to a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// The password is the device's.
    Granted,
    /// No such device, no password set for it, or a wrong one.
    Refused,
    /// Not looked at: too many wrong passwords from this address. Try again later.
    Throttled,
}

/// The passwords of all devices. Share it as `Arc<Credentials>`.
pub struct Credentials {
    path: PathBuf,
    key: hmac::Key,
    hashing: Arc<Semaphore>,
    disk: Disk,
    state: Mutex<State>,
}

struct State {
    stamp: Option<file::Stamp>,
    hashes: HashMap<Ident, Arc<str>>,
    verified: HashMap<Ident, hmac::Tag>,
    allowances: Allowances,
}

impl Credentials {
    /// Reads the password file at `path`. A file that doesn't exist holds no passwords: nobody can
    /// log in until one is set.
    pub fn open(path: &Path) -> Result<Self, CredentialsError> {
        let (stamp, hashes) = file::read(path)?;
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| CredentialsError::Random)?;
        Ok(Self {
            path: path.to_path_buf(),
            key,
            hashing: Arc::new(Semaphore::new(hashes_at_once())),
            disk: Disk::default(),
            state: Mutex::new(State {
                stamp,
                hashes,
                verified: HashMap::new(),
                allowances: Allowances::default(),
            }),
        })
    }

    /// Says on `disk` how the reading of the file goes.
    #[must_use]
    pub fn reporting_to(mut self, disk: &Disk) -> Self {
        self.disk = disk.clone();
        self
    }

    /// Whether `password` is the password of `device`. Reads the file again first if it has
    /// changed, so a password set while the daemon runs holds from the next login on.
    ///
    /// Costs microseconds if this password was verified before, else one slow hash, for which it
    /// may wait in line.
    pub async fn check(&self, device: &Ident, password: &[u8], from: IpAddr) -> Login {
        // The passwords read before hold; the status says that they do.
        let _ = self.reload_if_changed();
        if password.is_empty() || password.len() > PASSWORD_MAX_BYTES {
            return Login::Refused;
        }
        let (stored, known) = {
            let state = self.lock();
            let Some(stored) = state.hashes.get(device).cloned() else {
                return Login::Refused;
            };
            (stored, state.verified.get(device).copied())
        };
        let message = proof(device, &stored, password);
        if known.is_some_and(|tag| hmac::verify(&self.key, &message, tag.as_ref()).is_ok()) {
            return Login::Granted;
        }
        match self.verify(device, &stored, password, from).await {
            Login::Granted => {
                let tag = hmac::sign(&self.key, &message);
                self.lock().verified.insert(device.clone(), tag);
                Login::Granted
            }
            other => other,
        }
    }

    /// Reads the password file again if its time, length or inode has changed. On an error the
    /// passwords read before stay valid.
    pub fn reload_if_changed(&self) -> Result<(), CredentialsError> {
        let reloaded = self.reload();
        self.disk.note(Duty::Passwords, &reloaded);
        reloaded
    }

    fn reload(&self) -> Result<(), CredentialsError> {
        let stamp = file::stamp(&self.path)?;
        if self.lock().stamp == stamp {
            return Ok(());
        }
        let (stamp, hashes) = file::read(&self.path)?;
        let mut state = self.lock();
        state
            .verified
            .retain(|device, _| hashes.contains_key(device));
        state.stamp = stamp;
        state.hashes = hashes;
        Ok(())
    }

    /// Whether a password is set for `device`.
    pub fn has_password(&self, device: &Ident) -> bool {
        self.lock().hashes.contains_key(device)
    }

    /// The allowance is looked at before the line, so that it isn't filled in vain, and again when
    /// the turn has come: of what waits in line, only so many are hashed as may fail. A hash is paid
    /// for when it begins, and given back when the password is right: whoever goes away meanwhile has
    /// paid, and the turn ends with the hash.
    async fn verify(
        &self,
        device: &Ident,
        stored: &Arc<str>,
        password: &[u8],
        from: IpAddr,
    ) -> Login {
        let allowed = || self.lock().allowances.any(from, device, Instant::now());
        if !allowed() {
            return Login::Throttled;
        }
        let Ok(turn) = Arc::clone(&self.hashing).acquire_owned().await else {
            return Login::Throttled;
        };
        if !allowed() {
            return Login::Throttled;
        }
        self.lock().allowances.spend(from, device, Instant::now());
        let stored = Arc::clone(stored);
        let password = password.to_vec();
        let check = move || {
            let right = hash::verify(&password, &stored);
            drop(turn);
            right
        };
        if !tokio::task::spawn_blocking(check).await.unwrap_or(false) {
            return Login::Refused;
        }
        self.lock().allowances.give_back(from, device);
        Login::Granted
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hashes_at_once() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).clamp(1, HASHES_AT_ONCE)
}

fn proof(device: &Ident, stored: &str, password: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(device.as_str().len() + stored.len() + password.len() + 2);
    message.extend_from_slice(device.as_str().as_bytes());
    message.push(0);
    message.extend_from_slice(stored.as_bytes());
    message.push(0);
    message.extend_from_slice(password);
    message
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn ident(text: &str) -> Ident {
        Ident::new(text).unwrap()
    }

    #[tokio::test]
    async fn a_password_opens_its_own_device_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwords");
        let bank = generate_password().unwrap();
        let door = generate_password().unwrap();
        set_password(&path, &ident("bank-a"), &bank).unwrap();
        set_password(&path, &ident("door-1"), &door).unwrap();
        let credentials = Credentials::open(&path).unwrap();
        for _ in 0..2 {
            assert_eq!(
                credentials
                    .check(&ident("bank-a"), bank.as_bytes(), HERE)
                    .await,
                Login::Granted
            );
            assert_eq!(
                credentials
                    .check(&ident("bank-a"), door.as_bytes(), HERE)
                    .await,
                Login::Refused
            );
            assert_eq!(
                credentials
                    .check(&ident("other"), bank.as_bytes(), HERE)
                    .await,
                Login::Refused
            );
            assert_eq!(
                credentials.check(&ident("bank-a"), b"", HERE).await,
                Login::Refused
            );
        }
    }

    #[tokio::test]
    async fn a_new_password_holds_at_once_and_the_old_one_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwords");
        let credentials = Credentials::open(&path).unwrap();
        let device = ident("bank-a");
        assert_eq!(
            credentials.check(&device, b"first", HERE).await,
            Login::Refused
        );
        set_password(&path, &device, "first").unwrap();
        assert_eq!(
            credentials.check(&device, b"first", HERE).await,
            Login::Granted
        );
        set_password(&path, &device, "second").unwrap();
        assert_eq!(
            credentials.check(&device, b"first", HERE).await,
            Login::Refused
        );
        assert_eq!(
            credentials.check(&device, b"second", HERE).await,
            Login::Granted
        );
        remove_password(&path, &device).unwrap();
        assert_eq!(
            credentials.check(&device, b"second", HERE).await,
            Login::Refused
        );
    }

    #[tokio::test]
    async fn wrong_passwords_are_throttled_but_a_remembered_login_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwords");
        let device = ident("bank-a");
        set_password(&path, &device, "right").unwrap();
        let credentials = Credentials::open(&path).unwrap();
        assert_eq!(
            credentials.check(&device, b"right", HERE).await,
            Login::Granted
        );
        let mut answers = Vec::new();
        for _ in 0..allowance::DEVICE.burst * 2 {
            answers.push(credentials.check(&device, b"wrong", HERE).await);
        }
        assert_eq!(answers.first(), Some(&Login::Refused));
        assert_eq!(answers.last(), Some(&Login::Throttled));
        assert_eq!(
            credentials.check(&device, b"right", HERE).await,
            Login::Granted
        );
        let elsewhere = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));
        assert_eq!(
            credentials.check(&device, b"wrong", elsewhere).await,
            Login::Refused
        );
    }

    /// Else guesses would cost nothing to those who don't wait for the answer.
    #[tokio::test]
    async fn who_goes_away_during_the_check_has_paid_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwords");
        let device = ident("bank-a");
        set_password(&path, &device, "right").unwrap();
        let credentials = Credentials::open(&path).unwrap();
        for _ in 0..10_000 {
            let check = credentials.check(&device, b"wrong", HERE);
            let moment = std::time::Duration::from_millis(1);
            if tokio::time::timeout(moment, check).await == Ok(Login::Throttled) {
                return;
            }
        }
        panic!("never throttled");
    }

    #[tokio::test]
    async fn right_passwords_cost_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwords");
        let device = ident("bank-a");
        let credentials = Credentials::open(&path).unwrap();
        for n in 0..=allowance::DEVICE.burst {
            let password = format!("right-{n}");
            set_password(&path, &device, &password).unwrap();
            let answer = credentials.check(&device, password.as_bytes(), HERE).await;
            assert_eq!(answer, Login::Granted);
        }
    }

    #[tokio::test]
    async fn a_file_that_broke_keeps_the_passwords_read_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwords");
        let device = ident("bank-a");
        set_password(&path, &device, "right").unwrap();
        let credentials = Credentials::open(&path).unwrap();
        std::fs::write(&path, "not a password file").unwrap();
        assert!(credentials.reload_if_changed().is_err());
        assert_eq!(
            credentials.check(&device, b"right", HERE).await,
            Login::Granted
        );
    }
}
