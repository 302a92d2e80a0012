//! How much is done: enough for figures that hold, or little enough to see that everything works.

use std::time::Duration;

/// How much is done.
#[derive(Clone, Copy)]
pub struct Effort {
    pub name: &'static str,
    /// How long a throughput is measured.
    pub span: Duration,
    /// Codes typed for a distribution.
    pub presses: usize,
    /// Connections at once, where memory is measured.
    pub devices: usize,
    /// Events stored, where memory is measured.
    pub stored: u64,
    /// Items that wait for the cloud.
    pub backlog: u64,
    /// Items that are caught up with.
    pub caught_up: u64,
    /// Events stored at a start.
    pub starts: [u64; 3],
    /// Starts for a median.
    pub start_times: usize,
    /// Events stored, where the cost of one more is measured.
    pub growth: [u64; 3],
    /// Events per second, and for how long, where writes are counted.
    pub writes: [(f64, Duration); 3],
    /// Reports that the cloud has taken before memory is measured under a backlog.
    pub drained: u64,
}

const SHORT: Effort = Effort {
    name: "short: only to see that it works",
    span: Duration::from_millis(800),
    presses: 150,
    devices: 200,
    stored: 100_000,
    backlog: 20_000,
    caught_up: 20_000,
    starts: [0, 10_000, 100_000],
    start_times: 3,
    growth: [1_000, 10_000, 100_000],
    writes: [
        (1.0, Duration::from_secs(5)),
        (50.0, Duration::from_secs(3)),
        (2_000.0, Duration::from_secs(3)),
    ],
    drained: 2_000,
};

const FULL: Effort = Effort {
    name: "full",
    span: Duration::from_secs(6),
    // The estate lets 4,096 commands be under way or just over; three runs stay below.
    presses: 1_300,
    devices: 1_000,
    stored: 1_000_000,
    backlog: 1_000_000,
    caught_up: 1_000_000,
    starts: [0, 1_000_000, 10_000_000],
    start_times: 7,
    growth: [10_000, 1_000_000, 10_000_000],
    writes: [
        (1.0, Duration::from_secs(180)),
        (50.0, Duration::from_secs(60)),
        (2_000.0, Duration::from_secs(30)),
    ],
    drained: 50_000,
};

impl Effort {
    /// `LINLI_BENCH=short`, or full.
    pub fn from_environment() -> Self {
        match std::env::var("LINLI_BENCH").as_deref() {
            Ok("short") => SHORT,
            Ok(other) => panic!("LINLI_BENCH={other}: 'short', or leave it out"),
            Err(_) => FULL,
        }
    }
}
