//! What there is, opened: the state folder with its keys and store, and the journal that runs on it.
//! All of a gateway that touches its disk, without the links, the cloud and the local API.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use estate::Layout;
use tokio::sync::{Notify, mpsc};

use crate::audit::Auditing;
use crate::clock::Clock;
use crate::disk::{self, Disk};
use crate::intake::Intake;
use crate::journal::{self, Journal};
use crate::keys::{DayKeys, Keys};
use crate::ledger::StoreLedger;
use crate::links::{OUTBOUND_MAX, ToDevice};
use crate::pace::Pace;
use crate::presence::Presence;
use crate::store::StateDir;

/// A gateway that nobody can reach yet.
pub struct Opened {
    /// The running journal.
    pub journal: Journal,
    /// The daily keys.
    pub days: Arc<DayKeys>,
    /// Where links hand over what devices say.
    pub intake: Intake,
    /// Who is connected.
    pub presence: Presence,
    /// What the sync client knows of the store.
    pub ledger: StoreLedger,
    /// What verifies and signs the parcels' history.
    pub auditing: Arc<Auditing>,
    /// Wakes the uplink.
    pub nudge: Arc<Notify>,
    /// What the journal has for the devices.
    pub from_journal: mpsc::Receiver<ToDevice>,
}

/// Opens the state folder, or makes it, and starts the journal.
pub fn open(
    state_dir: &Path,
    layout: &Layout,
    settings: journal::Settings,
    clock: &Clock,
    pace: &Arc<Pace>,
    disk: &Disk,
) -> anyhow::Result<Opened> {
    let state = StateDir::lock(state_dir)?;
    let store = state.store();
    let fresh = !store
        .try_exists()
        .with_context(|| format!("{} can't be looked for: {}", store.display(), disk::REMEDY))?;
    if fresh && state.keys().join("store.key").exists() {
        tracing::warn!(store = %store.display(), "there are keys and no store: a new, empty one is made. If there was one, stop now and put it back, or restore store and keys from the backup");
    }
    let keys = Arc::new(Keys::open(&state.keys(), fresh)?);
    let kept_days = settings.retention.access_days;
    let days = Arc::new(DayKeys::new(&state.keys(), kept_days).reporting_to(disk));
    let auditing = Arc::new(Auditing::new(&state.keys()).reporting_to(disk));
    let nudge = Arc::new(Notify::new());
    let (outbound, from_journal) = mpsc::channel(OUTBOUND_MAX);
    let journal = Journal::start(journal::Parts {
        state,
        keys: Arc::clone(&keys),
        days: Arc::clone(&days),
        clock: clock.clone(),
        layout: layout.clone(),
        settings,
        outbound,
        nudge: Arc::clone(&nudge),
        disk: disk.clone(),
    })?;
    let presence = Presence::default();
    let intake = Intake::new(
        journal.inbox.clone(),
        clock.clone(),
        keys.codes.clone(),
        Arc::clone(&days),
        presence.clone(),
        Arc::clone(pace),
        layout,
    );
    let ledger = StoreLedger::new(store, keys, journal.inbox.clone(), disk.clone());
    Ok(Opened {
        journal,
        days,
        intake,
        presence,
        ledger,
        auditing,
        nudge,
        from_journal,
    })
}
