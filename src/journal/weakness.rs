//! What a test may take away from the journal's promise, so that it can show that it would find the
//! loss. Without the feature `weaken` the type has no value: the program can't be weakened.

/// A promise that isn't kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weakness {
    /// Commits aren't synced: `synchronous=OFF`, set after the store was opened and checked.
    #[cfg(feature = "weaken")]
    SyncOff,
    /// Answers go out before the commit.
    #[cfg(feature = "weaken")]
    AckFirst,
}

impl Weakness {
    /// Whether commits aren't synced.
    pub(super) const fn never_syncs(self) -> bool {
        match self {
            #[cfg(feature = "weaken")]
            Self::SyncOff => true,
            #[cfg(feature = "weaken")]
            Self::AckFirst => false,
        }
    }

    /// Whether answers go out before the commit.
    pub(super) const fn answers_first(self) -> bool {
        match self {
            #[cfg(feature = "weaken")]
            Self::SyncOff => false,
            #[cfg(feature = "weaken")]
            Self::AckFirst => true,
        }
    }
}
