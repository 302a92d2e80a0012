//! The port to the journal: where the uplink's items come from and the downlink's go to.

use std::collections::BTreeMap;

use async_trait::async_trait;
use cloud_protocol::{Acked, Batch, DownlinkItem, Lane, SealingKey};
use firmware_protocols::Ident;

use super::standing::Standing;

/// What the sync client needs of the gateway. Every call resolves once its outcome is on disk.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// What to send next: of each lane that isn't held, the items after its last acknowledged one,
    /// most urgent lane first, within the limits. One item is given even if it is over
    /// `limits.bytes`. `None` when nothing waits.
    async fn next_batch(&self, limits: BatchLimits) -> Result<Option<Batch>, LedgerError>;

    /// The cloud has these for good. A number below the known one changes nothing; it may be above
    /// the last item of the batch when an earlier answer was lost. On an error nothing of it is
    /// entered.
    async fn acked(&self, epoch: u64, acked: Acked) -> Result<(), LedgerError>;

    /// The number of the last downlink item that was taken; 0 before the first.
    async fn downlink_cursor(&self) -> Result<u64, LedgerError>;

    /// Takes items (rising, above the cursor; unreadable ones too) and moves the cursor to the last
    /// one, in one transaction.
    async fn downlink(&self, items: Vec<DownlinkItem>) -> Result<(), LedgerError>;

    /// Starts a new epoch: what waits is numbered from 1 again, and the state of every parcel in
    /// the store is told anew. For a store that was restored, or that goes to another cloud.
    /// Returns it.
    async fn new_epoch(&self, at: EpochAt) -> Result<u64, LedgerError>;

    /// What has crossed the line, to be added to what is known of its month.
    async fn line_used(&self, uses: Vec<LineUse>) -> Result<(), LedgerError>;

    /// What is known to have crossed the line, of this month and the last.
    async fn line_use(&self) -> Result<Vec<LineUse>, LedgerError>;

    /// Where the lanes stand, with the chain at these numbers as far as it is known here; `None` if
    /// this ledger can't tell.
    async fn standing(&self, at: BTreeMap<Lane, u64>) -> Result<Option<Standing>, LedgerError> {
        let _ = at;
        Ok(None)
    }

    /// How many items wait in each lane, for the status; `None` if it isn't known cheaply.
    async fn backlog(&self) -> Result<Option<BTreeMap<Lane, u64>>, LedgerError> {
        Ok(None)
    }
}

/// Where a new epoch is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochAt {
    /// At the cloud that heard the last one: the downlink goes on where it was.
    SameCloud,
    /// At one that has nothing of this store: its downlink begins at its first item.
    NewCloud,
}

/// How much to put into a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchLimits {
    /// The most items, over all lanes.
    pub items: usize,
    /// About how many bytes of encoded items, over all lanes.
    pub bytes: usize,
    /// Lanes to leave out: the cloud refuses them at the moment, or it isn't their turn.
    pub held: Vec<Lane>,
    /// To what pickup codes are sealed, for whom.
    pub seal: Seal,
    /// Sums up demand that wasn't sent yet over so many minutes, where the line is short.
    pub demand_minutes: Option<u32>,
}

/// To what pickup codes are sealed, for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// The cloud's key.
    pub key: SealingKey,
    /// The gateway's name at the cloud.
    pub gateway: Ident,
}

/// What bytes were for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Traffic {
    /// Items of a lane, with their share of what carries them.
    Lane(Lane),
    /// The downlink.
    Downlink,
    /// Enrolment, tries that brought nothing, and what can't be told apart.
    Other,
}

/// Bytes that crossed the line, as far as they can be known: TLS and HTTP included, without the
/// headers of TCP and IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineUse {
    /// The month that they count to: its first day, as days since the Unix epoch, by the box's clock.
    pub month: i32,
    /// What they were for.
    pub traffic: Traffic,
    /// Bytes to the cloud.
    pub sent: u64,
    /// Bytes from it.
    pub received: u64,
}

/// Why the ledger can't.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// Not now; it is asked again after a pause.
    #[error("the gateway's own store can't answer: {0}")]
    Unavailable(String),
    /// The cloud acknowledges items that this store never made.
    #[error(
        "the cloud has {} items up to {acked}, this store made only {last}", lane.name()
    )]
    Ahead {
        /// The lane.
        lane: Lane,
        /// What the cloud says it has.
        acked: u64,
        /// The last item that this store made.
        last: u64,
    },
}
