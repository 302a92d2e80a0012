//! The parcels' history as evidence: verified when the daemon starts and once a day, exported and
//! signed for a dispute, checked by anybody. `AUDIT.md` in the repository is the document for those
//! who check.
//!
//! * [`export`] — the signed file.
//! * [`hex`] — how keys and chain values are written.

pub mod export;
pub mod hex;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::disk::{Disk, Duty, chain};
use crate::keys::KeyError;
use crate::keys::signing::SigningKey;
use crate::store::audit::{AuditError, Bound, Break, Verified, verify_all};
use crate::store::schema;

/// The longest that a verification may take.
pub const TIME_MAX: Duration = Duration::from_secs(300);

/// How often the whole chain is verified while the daemon runs.
const EVERY: Duration = Duration::from_secs(24 * 3_600);

/// How soon it is tried again when the store can't be read, and how seldom at last.
const AGAIN_FIRST: Duration = Duration::from_secs(1);
const AGAIN_LAST: Duration = Duration::from_secs(60);

/// What the last verification of the whole chain found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AuditReport {
    /// When it ended, ms since the Unix epoch; null before the first.
    pub verified_ms: Option<i64>,
    /// Entries that hold, from the first.
    pub entries: u64,
    /// The first that doesn't.
    pub broken: Option<Break>,
    /// Why the chain couldn't be verified, in words.
    pub last_error: Option<String>,
}

/// What the daemon keeps for verifying and signing. Shared by whoever asks.
pub struct Auditing {
    keys: PathBuf,
    signing: Mutex<Option<Arc<SigningKey>>>,
    report: Mutex<AuditReport>,
    stopping: AtomicBool,
    disk: Disk,
}

impl Auditing {
    /// With the key in the folder `keys`, which is made when it is first needed.
    pub fn new(keys: &Path) -> Self {
        Self {
            keys: keys.to_path_buf(),
            signing: Mutex::new(None),
            report: Mutex::new(AuditReport::default()),
            stopping: AtomicBool::new(false),
            disk: Disk::default(),
        }
    }

    /// Says on `disk` whether the history can be read.
    #[must_use]
    pub fn reporting_to(mut self, disk: &Disk) -> Self {
        self.disk = disk.clone();
        self
    }

    /// What the last verification found.
    pub fn report(&self) -> AuditReport {
        let report = self.report.lock();
        report.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The key that exports are signed with.
    pub fn signing_key(&self) -> Result<Arc<SigningKey>, KeyError> {
        let mut signing = self.signing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = &*signing {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(SigningKey::open(&self.keys)?);
        *signing = Some(Arc::clone(&key));
        Ok(key)
    }

    /// Verifies the whole chain of the store and keeps the outcome for the status. Blocks.
    pub fn verify(
        &self,
        store: &Path,
        at: Option<u64>,
        now_ms: i64,
    ) -> Result<Verified, AuditError> {
        let verified = schema::open_reader(store)
            .map_err(AuditError::from)
            .and_then(|conn| self.bounded(|bound| verify_all(&conn, at, bound)));
        self.note(&verified, now_ms);
        verified
    }

    /// Runs something that verifies, within the time and until the daemon stops.
    pub fn bounded<T>(&self, verify: impl FnOnce(&Bound<'_>) -> T) -> T {
        verify(&Bound {
            until: Instant::now() + TIME_MAX,
            stopping: &|| self.stopping.load(Ordering::Relaxed),
        })
    }

    /// Breaks off what is being verified: the daemon stops.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn note(&self, verified: &Result<Verified, AuditError>, now_ms: i64) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        match verified {
            Ok(verified) => {
                *report = AuditReport {
                    verified_ms: Some(now_ms),
                    entries: verified.sound.entries,
                    broken: verified.broken.clone(),
                    last_error: None,
                };
            }
            Err(e) => report.last_error = Some(chain(e)),
        }
    }

    /// Only what the daemon does by itself: it tries again until it works.
    fn note_own(&self, verified: &Result<Verified, AuditError>) {
        match verified {
            Err(AuditError::Store(e)) => self.disk.refuses(Duty::Audit, &chain(e)),
            _ => self.disk.serves(Duty::Audit),
        }
    }
}

/// Verifies the chain now and once a day, until `stopped`.
pub async fn keep_verifying(
    auditing: Arc<Auditing>,
    store: PathBuf,
    clock: Clock,
    mut stopped: watch::Receiver<bool>,
) {
    let mut again = AGAIN_FIRST;
    loop {
        let mut wait = EVERY;
        let (verifying, store, now_ms) =
            (Arc::clone(&auditing), store.clone(), clock.now().wall_ms);
        let verified = tokio::task::spawn_blocking(move || {
            let verified = verifying.verify(&store, None, now_ms);
            verifying.note_own(&verified);
            verified
        });
        match verified.await {
            Ok(Ok(Verified {
                broken: Some(broken),
                ..
            })) => tracing::error!(
                entry = broken.n,
                parcel = broken.parcel,
                "the parcels' history isn't what was written: see linli audit verify"
            ),
            Ok(Ok(verified)) => {
                again = AGAIN_FIRST;
                tracing::info!(
                    entries = verified.sound.entries,
                    "the parcels' history holds"
                );
            }
            Ok(Err(AuditError::BrokenOff { .. })) if *stopped.borrow() => return,
            Ok(Err(AuditError::Store(_))) => {
                wait = again;
                again = (again * 2).min(AGAIN_LAST);
            }
            Ok(Err(e)) => {
                let error = format!("{:#}", anyhow::Error::new(e));
                tracing::warn!(%error, "the parcels' history could not be verified");
            }
            Err(e) => tracing::error!(error = %e, "the verification of the history ended"),
        }
        let stop = tokio::time::timeout(wait, stopped.wait_for(|stop| *stop)).await;
        if stop.is_ok() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema::open_writer;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_history_that_could_not_be_read_is_verified_as_soon_as_it_can_be() {
        let dir = tempfile::tempdir().unwrap();
        let (store, disk) = (dir.path().join("linli.db"), Disk::default());
        let auditing = Arc::new(Auditing::new(dir.path()).reporting_to(&disk));
        let (stop, stopped) = watch::channel(false);
        let verifying = tokio::spawn(keep_verifying(
            Arc::clone(&auditing),
            store.clone(),
            Clock::system(),
            stopped,
        ));
        let until = async |refused: bool| {
            while disk.is_refused(Duty::Audit) != refused {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        until(true).await;
        assert_eq!(auditing.report().verified_ms, None);
        let _store = open_writer(&store, 0).unwrap();
        until(false).await;
        assert!(auditing.report().verified_ms.is_some());
        stop.send_replace(true);
        verifying.await.unwrap();
    }
}
