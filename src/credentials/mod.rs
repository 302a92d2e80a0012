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

//! A password is changed without a visit at the wrong moment ([`rotate_password`]): the new one holds
//! beside the old one, until the device has come with it.

mod allowance;
pub mod file;
mod hash;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use firmware_protocols::Ident;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::Semaphore;

use crate::disk::{Disk, Duty};
use allowance::Allowances;
pub use file::{
    CredentialsError, OldPassword, ROTATION_TIME, generate_password, remove_password,
    rotate_password, set_password,
};
#[doc(hidden)]
pub use hash::verify;

/// How many slow hashes may run at the same time at most, each with 4 MiB and a core; never on more
/// than half of the cores, so that guessing at passwords leaves the other half to those who are in.
pub const HASHES_AT_ONCE: usize = 2;

/// The longest password that is looked at, in bytes.
pub const PASSWORD_MAX_BYTES: usize = 128;

/// How often the file is brought up to what has happened.
const SETTLE_EVERY: Duration = Duration::from_secs(60);

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
    passwords: file::Passwords,
    /// New passwords that were used, with which the disk is behind.
    used: HashMap<Ident, Arc<str>>,
    verified: HashMap<Ident, hmac::Tag>,
    allowances: Allowances,
}

/// A device whose new password hasn't been used yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// The device.
    pub device: Ident,
    /// Until when its old password is good, ms since the Unix epoch; `None` until the new one is used.
    pub until_ms: Option<i64>,
}

impl Credentials {
    /// Reads the password file at `path`. A file that doesn't exist holds no passwords: nobody can
    /// log in until one is set.
    pub fn open(path: &Path) -> Result<Self, CredentialsError> {
        let (stamp, passwords) = file::read(path)?;
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| CredentialsError::Random)?;
        Ok(Self {
            path: path.to_path_buf(),
            key,
            hashing: Arc::new(Semaphore::new(hashes_at_once())),
            disk: Disk::default(),
            state: Mutex::new(State {
                stamp,
                passwords,
                used: HashMap::new(),
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
        self.check_at(device, password, from, now_ms()).await
    }

    async fn check_at(&self, device: &Ident, password: &[u8], from: IpAddr, now_ms: i64) -> Login {
        // The passwords read before hold; the status says that they do.
        let _ = self.reload_if_changed();
        if password.is_empty() || password.len() > PASSWORD_MAX_BYTES {
            return Login::Refused;
        }
        let (good, known) = {
            let state = self.lock();
            let good = state.passwords.good(device, now_ms);
            (good, state.verified.get(device).copied())
        };
        if good.is_empty() {
            return Login::Refused;
        }
        let remembered = |stored: &&Arc<str>| {
            let message = proof(device, stored, password);
            known.is_some_and(|tag| hmac::verify(&self.key, &message, tag.as_ref()).is_ok())
        };
        let stored = match good.iter().find(remembered) {
            Some(stored) => Arc::clone(stored),
            None => match self.verify(device, &good, password, from).await {
                Ok(stored) => stored,
                Err(login) => return login,
            },
        };
        self.came(device, stored, password).await;
        Login::Granted
    }

    /// A device showed the password with this hash. If that was its new one, the old one is dropped; if
    /// the disk doesn't take that now, it is tried again ([`Self::settle`]).
    async fn came(&self, device: &Ident, stored: Arc<str>, password: &[u8]) {
        let tag = hmac::sign(&self.key, &proof(device, &stored, password));
        let is_new = {
            let mut state = self.lock();
            state.verified.insert(device.clone(), tag);
            let is_new = state.passwords.promote(device, &stored);
            if is_new {
                state.used.insert(device.clone(), stored);
            }
            is_new
        };
        if is_new {
            tracing::info!(%device, "a device came with its new password: the old one is dropped");
            self.settle().await;
        }
    }

    /// Brings the file up to what has happened: new passwords that were used, old ones whose time is
    /// over. What the disk doesn't take is tried again the next time.
    pub async fn settle(&self) {
        let (used, due) = {
            let state = self.lock();
            let now_ms = now_ms();
            let due = state
                .passwords
                .next
                .values()
                .any(|next| next.is_due(now_ms));
            (state.used.clone(), due.then_some(now_ms))
        };
        if used.is_empty() && due.is_none() {
            return;
        }
        let path = self.path.clone();
        let write = move || {
            for (device, hash) in &used {
                file::promote(&path, device, hash)?;
            }
            due.map_or(Ok(()), |now_ms| file::settle(&path, now_ms))?;
            Ok::<_, CredentialsError>(used)
        };
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(used)) => {
                let mut state = self.lock();
                state
                    .used
                    .retain(|device, hash| used.get(device) != Some(hash));
                drop(state);
                let _ = self.reload_if_changed();
            }
            Ok(Err(e)) => {
                let why = format!("{:#}", anyhow::Error::new(e));
                tracing::warn!(%why, "an old password can't be dropped on disk: tried again");
            }
            Err(_) => {}
        }
    }

    /// Keeps the file up to what has happened until `stopped`.
    pub async fn keep_settling(&self, mut stopped: tokio::sync::watch::Receiver<bool>) {
        loop {
            self.settle().await;
            let stop = stopped.wait_for(|stop| *stop);
            if tokio::time::timeout(SETTLE_EVERY, stop).await.is_ok() {
                return;
            }
        }
    }

    /// The devices whose new password hasn't been used yet, by name.
    pub fn rotations(&self) -> Vec<Rotation> {
        let _ = self.reload_if_changed();
        let now_ms = now_ms();
        let state = self.lock();
        let waiting = state.passwords.next.iter();
        let mut rotations: Vec<Rotation> = waiting
            .filter(|(_, next)| !next.is_due(now_ms))
            .map(|(device, next)| Rotation {
                device: device.clone(),
                until_ms: next.until_ms,
            })
            .collect();
        rotations.sort_unstable_by(|a, b| a.device.cmp(&b.device));
        rotations
    }

    /// The password file.
    pub fn path(&self) -> &Path {
        &self.path
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
        let (stamp, mut passwords) = file::read(&self.path)?;
        let mut state = self.lock();
        state
            .verified
            .retain(|device, _| passwords.current.contains_key(device));
        // The disk may be behind.
        state
            .used
            .retain(|device, hash| passwords.promote(device, hash));
        state.stamp = stamp;
        state.passwords = passwords;
        Ok(())
    }

    /// Whether a password is set for `device`.
    pub fn has_password(&self, device: &Ident) -> bool {
        let _ = self.reload_if_changed();
        self.lock().passwords.current.contains_key(device)
    }

    /// The allowance is looked at before the line, so that it isn't filled in vain, and again when
    /// the turn has come: of what waits in line, only so many are hashed as may fail. A hash is paid
    /// for when it begins, and given back when the password is right: whoever goes away meanwhile has
    /// paid, and the turn ends with the hash. The old and the new password of a rotation are looked at in
    /// one turn, at one price.
    async fn verify(
        &self,
        device: &Ident,
        good: &[Arc<str>],
        password: &[u8],
        from: IpAddr,
    ) -> Result<Arc<str>, Login> {
        let allowed = || self.lock().allowances.any(from, device, Instant::now());
        if !allowed() {
            return Err(Login::Throttled);
        }
        let Ok(turn) = Arc::clone(&self.hashing).acquire_owned().await else {
            return Err(Login::Throttled);
        };
        if !allowed() {
            return Err(Login::Throttled);
        }
        self.lock().allowances.spend(from, device, Instant::now());
        let good = good.to_vec();
        let password = password.to_vec();
        let check = move || {
            let right = good
                .into_iter()
                .find(|stored| hash::verify(&password, stored));
            drop(turn);
            right
        };
        let right = tokio::task::spawn_blocking(check).await.unwrap_or(None);
        let stored = right.ok_or(Login::Refused)?;
        self.lock().allowances.give_back(from, device);
        Ok(stored)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
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

    #[tokio::test]
    async fn both_passwords_of_a_rotation_open_until_the_new_one_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwords");
        let device = ident("bank-a");
        set_password(&path, &device, "old").unwrap();
        let credentials = Credentials::open(&path).unwrap();
        let check = async |password: &'static str| {
            let password = password.as_bytes();
            credentials.check(&device, password, HERE).await
        };
        assert_eq!(check("old").await, Login::Granted);
        rotate_password(&path, &device, "new", now_ms()).unwrap();
        assert_eq!(check("old").await, Login::Granted);
        assert_eq!(check("neither").await, Login::Refused);
        assert_eq!(credentials.rotations()[0].device, device);
        assert_eq!(check("new").await, Login::Granted);
        assert!(credentials.rotations().is_empty());
        assert_eq!(check("old").await, Login::Refused);
        // On disk too: a daemon that starts now knows no other.
        let again = Credentials::open(&path).unwrap();
        let old = again.check(&device, b"old", HERE).await;
        let new = again.check(&device, b"new", HERE).await;
        assert_eq!((old, new), (Login::Refused, Login::Granted));
    }

    /// A device that comes with its new password gets in whatever the disk does, and its old one is
    /// good no more.
    #[tokio::test]
    async fn a_disk_that_refuses_brings_no_old_password_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwords");
        let device = ident("bank-a");
        set_password(&path, &device, "old").unwrap();
        rotate_password(&path, &device, "new", now_ms()).unwrap();
        let credentials = Credentials::open(&path).unwrap();
        // Nothing can be written: a folder stands where the new file would.
        let beside = dir.path().join("passwords.new");
        std::fs::create_dir(&beside).unwrap();
        let new = credentials.check(&device, b"new", HERE).await;
        assert_eq!(new, Login::Granted);
        let old = credentials.check(&device, b"old", HERE).await;
        assert_eq!(old, Login::Refused);
        let on_disk = file::read(&path).unwrap().1;
        assert_eq!(on_disk.next.len(), 1, "the disk is behind");
        // What another writes in between doesn't bring it back either.
        std::fs::remove_dir(&beside).unwrap();
        set_password(&path, &ident("other"), "x").unwrap();
        let old = credentials.check(&device, b"old", HERE).await;
        assert_eq!(old, Login::Refused);
        credentials.settle().await;
        assert!(file::read(&path).unwrap().1.next.is_empty());
    }

    #[tokio::test]
    async fn after_a_week_only_the_new_password_opens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwords");
        let device = ident("bank-a");
        set_password(&path, &device, "old").unwrap();
        let made_ms = now_ms();
        rotate_password(&path, &device, "new", made_ms).unwrap();
        let credentials = Credentials::open(&path).unwrap();
        let over_ms = made_ms + i64::try_from(ROTATION_TIME.as_millis()).unwrap();
        let at = async |password: &'static str, now_ms| {
            let password = password.as_bytes();
            credentials.check_at(&device, password, HERE, now_ms).await
        };
        assert_eq!(at("old", over_ms - 1).await, Login::Granted);
        assert_eq!(at("old", over_ms).await, Login::Refused);
        assert_eq!(at("new", over_ms).await, Login::Granted);
    }
}
