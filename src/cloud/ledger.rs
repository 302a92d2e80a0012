//! The port to the journal: where the uplink's items come from and the downlink's go to.

use std::collections::BTreeMap;

use async_trait::async_trait;
use cloud_protocol::{Acked, Batch, DownlinkItem, Lane};

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

    /// How many items wait in each lane, for the status; `None` if it isn't known cheaply.
    async fn backlog(&self) -> Result<Option<BTreeMap<Lane, u64>>, LedgerError> {
        Ok(None)
    }
}

/// How much to put into a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchLimits {
    /// The most items, over all lanes.
    pub items: usize,
    /// About how many bytes of encoded items, over all lanes.
    pub bytes: usize,
    /// Lanes to leave out: the cloud refuses them at the moment.
    pub held: Vec<Lane>,
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
