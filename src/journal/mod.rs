//! The journal: one thread, the only writer. Everything that happens goes through it in one order:
//! handle, persist, then send.
//!
//! 1. **Handle.** The estate takes each input of a batch, in memory.
//! 2. **Persist.** The batch's events and the estate's changes go to SQLite in one transaction, synced.
//! 3. **Send.** Only now the answers, receipts and commands go out.
//!
//! A batch is what waits, up to a bound, so the price of a sync is shared under load. What a person
//! waits for is committed at once; the rest may gather for a moment ([`Settings::gather_ms`]).
//!
//! Invariant: nothing is acknowledged, opened or uploaded that is not on disk.
//! Invariant: if a commit fails, everything in it is answered 'not taken' and the estate is loaded
//! again from disk, so memory never runs ahead of it.

mod batch;
mod handle;
mod retention;
mod thread;
mod timekeeping;
mod weakness;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cloud_protocol::{Acked, DownlinkItem};
use crossbeam_channel::{Sender, TrySendError};
use estate::input::DeskAct;
use estate::{Layout, Told};
use firmware_protocols::{Form, Ident, Slot};
use tokio::sync::{oneshot, watch};

use crate::cloud::{EpochAt, LineUse};
use crate::intake::{Answer, Piece};
use crate::store::lanes::Cut;
use crate::store::write::QuarantineRow;

pub use retention::Retention;
pub use thread::{Journal, Parts};
pub use weakness::Weakness;

/// How much may wait for the journal. Beyond it, work is answered 'not taken' at once.
pub const INBOX_MAX: usize = 8_192;
/// The most pieces of work in one transaction.
pub const BATCH_MAX: usize = 1_024;

/// What the operator sets about the journal.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long readings and access events may wait for company, ms; 0 for never.
    pub gather_ms: u64,
    /// How long events are kept.
    pub retention: Retention,
    /// What a test takes away from the journal's promise; in the program there is nothing to take.
    pub weakness: Option<Weakness>,
}

/// Work for the journal.
#[derive(Debug)]
pub enum Work {
    /// Events of a device, from one payload.
    Device {
        /// Who.
        device: Ident,
        /// In which encoding.
        form: Form,
        /// The events, and what couldn't be read as one.
        pieces: Vec<Piece>,
        /// Whether a person waits.
        urgent: bool,
        /// Where the answer goes.
        reply: oneshot::Sender<Answer>,
    },
    /// Something that can't be an event of anybody.
    Quarantine {
        /// The device that sent it, if it is one of ours, for its ledger.
        device: Option<Ident>,
        /// The row.
        row: QuarantineRow,
        /// Where the answer goes.
        reply: oneshot::Sender<Answer>,
    },
    /// The cloud says something; its cursor moves in the same transaction.
    Downlink {
        /// The items.
        items: Vec<DownlinkItem>,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<(), NotTaken>>,
    },
    /// The cloud has items for good.
    Acked {
        /// The epoch that it means.
        epoch: u64,
        /// The last item of each lane.
        acked: Acked,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<(), NotTaken>>,
    },
    /// A batch was planned: its items get their numbers.
    Cut {
        /// Which, and what.
        cut: Cut,
        /// Whether it is written; false if something has changed since it was planned.
        reply: oneshot::Sender<Result<bool, NotTaken>>,
    },
    /// The store was restored, or goes to another cloud: everything is numbered anew.
    NewEpoch {
        /// Whether the downlink begins again as well.
        at: EpochAt,
        /// The new epoch.
        reply: oneshot::Sender<Result<u64, NotTaken>>,
    },
    /// What has crossed the line to the cloud.
    LineUse {
        /// To be added.
        uses: Vec<LineUse>,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<(), NotTaken>>,
    },
    /// A link has handed a command to its device.
    CommandSent {
        /// The command's id.
        command: String,
    },
    /// A technician takes a compartment out of use, or back into it.
    Disable {
        /// Which one.
        slot: Slot,
        /// Who.
        operator: String,
        /// Why; `None` puts it back into use.
        reason: Option<String>,
        /// What came of it, or why not.
        reply: oneshot::Sender<Result<Told, String>>,
    },
    /// The staff does something at a desk, or to a parcel.
    Desk {
        /// Who.
        operator: String,
        /// What.
        act: DeskAct,
        /// What came of it, or why not.
        reply: oneshot::Sender<Result<Told, String>>,
    },
    /// The configuration has changed: a new layout and new settings. Taken between two batches.
    Relayout(Box<Relayout>),
    /// A technician opens a compartment.
    Open {
        /// Which one.
        slot: Slot,
        /// Who.
        operator: String,
        /// Why.
        reason: String,
        /// The command's id, or why not.
        reply: oneshot::Sender<Result<String, String>>,
    },
}

/// A new layout, and new settings.
#[derive(Debug)]
pub struct Relayout {
    /// What stands where from now on.
    pub layout: Layout,
    /// What the operator sets from now on. What a test takes away from the journal's promise stays.
    pub settings: Settings,
    /// How many parcels are expected at each point that isn't there any more; or why the layout can't
    /// be taken, and then nothing has changed.
    pub reply: oneshot::Sender<Result<BTreeMap<Ident, usize>, String>>,
}

impl Work {
    /// Whether a person waits for it.
    fn urgent(&self) -> bool {
        match self {
            Self::Device { urgent, .. } => *urgent,
            Self::Quarantine { .. } | Self::CommandSent { .. } | Self::LineUse { .. } => false,
            Self::Downlink { .. }
            | Self::Acked { .. }
            | Self::Cut { .. }
            | Self::NewEpoch { .. }
            | Self::Disable { .. }
            | Self::Desk { .. }
            | Self::Relayout(_)
            | Self::Open { .. } => true,
        }
    }

    /// Answers that it isn't on disk.
    fn refuse(self, why: &NotTaken) {
        // Whoever asked may have gone: then nobody needs the answer.
        match self {
            Self::Device { reply, .. } | Self::Quarantine { reply, .. } => {
                let _ = reply.send(Answer::NotTaken(why.to_string()));
            }
            Self::Downlink { reply, .. }
            | Self::Acked { reply, .. }
            | Self::LineUse { reply, .. } => {
                let _ = reply.send(Err(why.clone()));
            }
            Self::Cut { reply, .. } => {
                let _ = reply.send(Err(why.clone()));
            }
            Self::NewEpoch { reply, .. } => {
                let _ = reply.send(Err(why.clone()));
            }
            Self::Open { reply, .. } => {
                let _ = reply.send(Err(why.to_string()));
            }
            Self::Disable { reply, .. } | Self::Desk { reply, .. } => {
                let _ = reply.send(Err(why.to_string()));
            }
            Self::Relayout(relayout) => {
                let _ = relayout.reply.send(Err(why.to_string()));
            }
            Self::CommandSent { .. } => {}
        }
    }
}

/// Why work wasn't taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// More waits than the journal takes.
    #[error("the gateway has more to write than it can: try again in a moment")]
    Full,
    /// The disk refuses.
    #[error("the gateway can't write to its disk: {0}")]
    Disk(String),
    /// The daemon is stopping.
    #[error("the gateway is stopping")]
    Stopping,
}

/// The way into the journal. Cheap to clone.
#[derive(Clone)]
pub struct Inbox {
    sender: Sender<Work>,
    status: Arc<Status>,
}

impl Inbox {
    /// Hands work over. Work that isn't taken is answered at once.
    pub fn submit(&self, work: Work) {
        match self.sender.try_send(work) {
            Ok(()) => {}
            Err(TrySendError::Full(work)) => {
                self.status.turned_away.fetch_add(1, Ordering::Relaxed);
                work.refuse(&NotTaken::Full);
            }
            Err(TrySendError::Disconnected(work)) => work.refuse(&NotTaken::Stopping),
        }
    }

    /// How much waits.
    pub fn waiting(&self) -> usize {
        self.sender.len()
    }
}

/// How the journal is, readable by anybody at any time.
#[derive(Debug)]
pub struct Status {
    /// Turns of the journal's thread since the start: several a second, whether there is work or not,
    /// unless it hangs.
    pub turns: AtomicU64,
    /// Transactions committed since the start.
    pub commits: AtomicU64,
    /// Events stored since the start.
    pub events: AtomicU64,
    /// Duplicates since the start.
    pub duplicates: AtomicU64,
    /// Rows put into quarantine since the start.
    pub quarantined: AtomicU64,
    /// Pieces of work turned away because too much waited.
    pub turned_away: AtomicU64,
    /// Commands and receipts that found the way to the links full.
    pub unsent: AtomicU64,
    /// What is in the log and not yet in the database, bytes.
    pub log_bytes: AtomicU64,
    newest_event: watch::Sender<i64>,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            turns: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            events: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            quarantined: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
            log_bytes: AtomicU64::new(0),
            newest_event: watch::Sender::new(0),
        }
    }
}

impl Status {
    /// Follows the id of the newest event on disk.
    pub fn newest_event(&self) -> watch::Receiver<i64> {
        self.newest_event.subscribe()
    }
}
