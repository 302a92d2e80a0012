//! The back-off of a service that fails: how often it was started without having run for long, and how
//! long to wait before the next try. Systemd has that only from 254 on; Debian 12 has 252, whose
//! `RestartSec=` is the same each time, and a box that fails once a second wears out its card.
//!
//! The count lies in the service's runtime folder, which is kept over restarts
//! (`RuntimeDirectoryPreserve=restart`), lost in a power cut and removed by a stop. The wait obeys
//! SIGTERM, so `systemctl restart` by a person who has mended something goes at once.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;

/// The longest wait.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// A daemon that has run for so long isn't failing.
const STEADY: Duration = Duration::from_secs(600);

/// The failures of the service before this start. Without a service there are none.
#[derive(Debug, Clone)]
pub struct Failures {
    file: Option<PathBuf>,
    count: u32,
}

impl Failures {
    /// Counts this start, which is a failure until [`Failures::forget`] says otherwise.
    pub fn of_service() -> Self {
        let served = env::var_os("NOTIFY_SOCKET").is_some();
        let folders = env::var_os("RUNTIME_DIRECTORY").filter(|_| served);
        match folders.and_then(|folders| env::split_paths(&folders).next()) {
            Some(folder) => Self::counted_in(&folder),
            None => Self {
                file: None,
                count: 0,
            },
        }
    }

    fn counted_in(folder: &Path) -> Self {
        let file = folder.join("failures");
        // Not there, or not a number: nothing has failed that we know of.
        let text = fs::read_to_string(&file).unwrap_or_default();
        let count: u32 = text.trim().parse().unwrap_or(0);
        if let Err(e) = fs::write(&file, count.saturating_add(1).to_string()) {
            tracing::warn!(file = %file.display(), error = %e, "failures can't be counted: the next start won't wait");
        }
        Self {
            file: Some(file),
            count,
        }
    }

    /// Waits as long as the failures before this start ask for. False if it is told to stop meanwhile.
    pub async fn wait(&self, stop: &mut mpsc::Receiver<()>) -> bool {
        let pause = pause(self.count);
        if pause.is_zero() {
            return true;
        }
        let (failed, seconds) = (self.count, pause.as_secs());
        tracing::warn!(failed, seconds, "failed before: waiting for the next try");
        super::status(&format!(
            "failed {failed} times: the next try is in {seconds} s, or at once with 'systemctl restart linli'. Why: journalctl -u linli"
        ));
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            _ = stop.recv() => false,
        }
    }

    /// Resolves when the daemon has run long enough not to be failing; the count is forgotten then.
    pub async fn forget_when_steady(self) {
        if self.file.is_some() {
            tokio::time::sleep(STEADY).await;
            self.forget();
        }
    }

    /// Nothing has failed: the next start doesn't wait.
    pub fn forget(&self) {
        if let Some(file) = &self.file {
            // Not there any more is what is wanted.
            let _ = fs::remove_file(file);
        }
    }
}

/// None before the first two tries, then 2, 4, 8 s and so on.
fn pause(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        n => Duration::from_secs(1 << (n - 1).min(16)).min(PAUSE_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_waits_twice_as_long_up_to_five_minutes() {
        let pauses: Vec<u64> = (0..12).map(|n| pause(n).as_secs()).collect();
        assert_eq!(pauses, [0, 0, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(pause(u32::MAX), PAUSE_MAX);
    }

    #[test]
    fn starts_are_counted_until_they_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Failures::counted_in(folder.path()).count, 0);
        assert_eq!(Failures::counted_in(folder.path()).count, 1);
        let third = Failures::counted_in(folder.path());
        assert_eq!(third.count, 2);
        third.forget();
        assert_eq!(Failures::counted_in(folder.path()).count, 0);
        fs::write(folder.path().join("failures"), "many").unwrap();
        assert_eq!(Failures::counted_in(folder.path()).count, 0);
    }

    #[tokio::test]
    async fn a_wait_ends_when_it_is_told_to_stop() {
        let failures = Failures {
            file: None,
            count: 9,
        };
        let (send, mut stop) = mpsc::channel(1);
        send.send(()).await.unwrap();
        assert!(!failures.wait(&mut stop).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_by_itself() {
        let failures = Failures {
            file: None,
            count: 9,
        };
        let (_send, mut stop) = mpsc::channel(1);
        let before = tokio::time::Instant::now();
        assert!(failures.wait(&mut stop).await);
        assert_eq!(before.elapsed(), Duration::from_secs(256));
    }
}
