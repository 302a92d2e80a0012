//! What a person sees of the line and of the gateway's papers: parts of the [`CloudSnapshot`].
//!
//! [`CloudSnapshot`]: super::CloudSnapshot

use serde::Serialize;

/// A certificate that ends some day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateView {
    /// Whose: `client`, `ca`, `cloud`.
    pub what: String,
    /// Its end, ms since the Unix epoch.
    pub not_after_ms: i64,
    /// Whole days until then by the gateway's clock; below 0 when it is over.
    pub days_left: i64,
}

/// The line to the cloud: what crossed it, what may, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct LineView {
    /// Whether each byte costs.
    pub metered: bool,
    /// When the month began that is counted now, ms since the Unix epoch; `None` while the clock isn't known.
    pub month_since_ms: Option<i64>,
    /// When it ends.
    pub month_until_ms: Option<i64>,
    /// What crossed it, each kind of traffic: the lanes, then `downlink`, then `other`.
    pub traffic: Vec<TrafficView>,
    /// Bytes of this month, both ways.
    pub used_bytes: u64,
    /// What may cross it in a month, both ways; `None` without a limit.
    pub budget_bytes: Option<u64>,
    /// What this month will come to if it goes on like this; `None` before a day of it is known.
    pub forecast_bytes: Option<u64>,
    /// What follows for what isn't urgent.
    pub level: Level,
    /// How much crosses it, bytes of requests a second, as measured by larger batches.
    pub throughput_bytes_per_s: Option<u64>,
    /// Over how long what isn't urgent is spread, s.
    pub spread_s: u64,
    /// When what waits of demand is sent next; `None` if nothing waits.
    pub demand_next_ms: Option<i64>,
    /// When what waits of health is sent next; `None` if nothing waits.
    pub health_next_ms: Option<i64>,
    /// Until when the cloud wants to be left alone (`Retry-After`).
    pub quiet_until_ms: Option<i64>,
    /// How long a long poll waits at the moment, s.
    pub wait_s: u64,
    /// What the last request that got an answer cost.
    pub last_request: Option<CostView>,
}

/// Bytes that crossed the line for one purpose, as far as they can be known: TLS and HTTP included.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct TrafficView {
    /// `fulfilment`, `health`, `demand`, `downlink` or `other`: enrolment and tries that brought nothing.
    pub what: &'static str,
    /// To the cloud, this month.
    pub month_sent: u64,
    /// From it, this month.
    pub month_received: u64,
    /// To the cloud, since the sync client started.
    pub start_sent: u64,
    /// From it, since then.
    pub start_received: u64,
}

/// What one request cost.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct CostView {
    /// `uplink` or `downlink`.
    pub what: &'static str,
    /// Bytes to the cloud.
    pub sent: u64,
    /// Bytes from it.
    pub received: u64,
    /// From the request to the whole answer, ms; a long poll's wait is in it.
    pub took_ms: u64,
}

/// How much the budget leaves for what isn't urgent. Parcels and the downlink always go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The forecast is within the budget, or there is none.
    #[default]
    Plenty,
    /// The forecast is over the budget.
    Short,
    /// What is left is kept for parcels.
    Exhausted,
}

impl Level {
    /// What it means, in a sentence.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Plenty => "everything is sent as it comes",
            Self::Short => {
                "the forecast is over the budget: demand goes every 6 hours, summed up by the hour"
            }
            Self::Exhausted => {
                "what is left of the budget is kept for parcels: demand and health go once a day, \
                 demand summed up by the day"
            }
        }
    }
}
