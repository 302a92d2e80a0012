//! What the server needs of the daemon.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use estate::input::DeskAct;
use estate::{Layout, Told, Typed};
use firmware_protocols::event::Secret;
use firmware_protocols::{Ident, Slot};
use tokio::sync::watch;

use super::profiles::MappedView;
use super::reload::ReloadView;
use super::views::StatusReport;
use crate::audit::Auditing;
use crate::cloud::Requests;
use crate::config::serial::Protocol;
use crate::links::entrance::Entrance;
use crate::links::serial::tap::Tap;

/// The running daemon, as far as a technician may look into it.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// The store's file.
    fn store_path(&self) -> &Path;

    /// What stands where, at the moment: another configuration may be taken over at any time.
    fn layout(&self) -> Arc<Layout>;

    /// Reads the configuration again and goes by it. What became of it.
    async fn reload(&self, operator: String) -> ReloadView;

    /// How the daemon is, from memory: must not block.
    fn status(&self) -> StatusReport;

    /// How the devices with a profile do, from memory.
    fn mapped(&self) -> Vec<MappedView> {
        Vec::new()
    }

    /// Whether the store could be read for the status, or why not. For [`Self::status`], which is asked
    /// next.
    fn store_was_read(&self, outcome: Result<(), &str>);

    /// Whether a device is there; `None` if nothing was heard of it since the start.
    fn online(&self, device: &Ident) -> Option<bool>;

    /// Asks the journal to open a compartment. The command's id once it is on disk, or why not,
    /// with the remedy.
    async fn open(&self, slot: Slot, operator: String, reason: String) -> Result<String, String>;

    /// Whether a device is known not to be there, so that a command to it would be in vain.
    fn away(&self, device: &Ident) -> bool;

    /// Asks the journal to take a compartment out of use (`reason`), or back into it (`None`).
    /// What came of it once that is on disk, or why not, with the remedy.
    async fn disable(
        &self,
        slot: Slot,
        operator: String,
        reason: Option<String>,
    ) -> Result<Told, String>;

    /// Asks the journal for something that the staff does. What came of it once that is on disk,
    /// or why not, with the remedy.
    async fn desk(&self, operator: String, act: DeskAct) -> Result<Told, String>;

    /// Digits that somebody said at a point, as all that may be known of them.
    fn typed(&self, point: &Ident, digits: &Secret) -> Typed;

    /// What verifies and signs the parcels' history.
    fn auditing(&self) -> &Auditing;

    /// What lets somebody listen to a serial port, and what is spoken there; by its id or its path.
    fn serial_tap(&self, port: &str) -> Option<(Tap, Protocol)>;

    /// The way to the sync client; `None` without a cloud in the configuration.
    fn sync_requests(&self) -> Option<&Requests>;

    /// Where devices come in over MQTT; `None` if that can't be looked into.
    fn entrance(&self) -> Option<Entrance> {
        None
    }

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
