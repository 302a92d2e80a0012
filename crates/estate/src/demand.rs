//! Demand: counts per building and hour, released once and only when enough households share one.

use alloc::string::String;

use firmware_protocols::Ident;

/// One count: of one series, in one scope, in one hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Which.
    pub key: CellKey,
    /// How many.
    pub count: u64,
}

/// What a count is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CellKey {
    /// The start of the hour, ms since the Unix epoch.
    pub start_ms: i64,
    /// The building, or the whole estate.
    pub building: Option<Ident>,
    /// `comings`, `goings`, `deposits`, `collections`, `intent:ITEM`.
    pub series: String,
}
