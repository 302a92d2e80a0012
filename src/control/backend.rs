//! What the server needs of the daemon.

use std::path::Path;

use async_trait::async_trait;
use estate::Layout;
use firmware_protocols::{Ident, Slot};
use tokio::sync::watch;

use super::views::StatusReport;
use crate::audit::Auditing;

/// The running daemon, as far as a technician may look into it.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// The store's file.
    fn store_path(&self) -> &Path;

    /// What stands where.
    fn layout(&self) -> &Layout;

    /// How the daemon is, from memory: must not block.
    fn status(&self) -> StatusReport;

    /// Whether a device is there; `None` if nothing was heard of it since the start.
    fn online(&self, device: &Ident) -> Option<bool>;

    /// Asks the journal to open a compartment. The command's id once it is on disk, or why not,
    /// with the remedy.
    async fn open(&self, slot: Slot, operator: String, reason: String) -> Result<String, String>;

    /// What verifies and signs the parcels' history.
    fn auditing(&self) -> &Auditing;

    /// The id of the newest event on disk.
    fn events_watch(&self) -> watch::Receiver<i64>;
}

/// The memory that this process occupies, from `/proc/self/status`. `None` where there is none.
pub fn memory_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}
