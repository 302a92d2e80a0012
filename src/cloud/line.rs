//! The line: what crosses it is counted, kept over restarts and judged by the budget.
//!
//! The counts are written to the ledger every five minutes and at the stop, so a power cut forgets
//! five minutes of them at most.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloud_protocol::{Batch, Lane};
use estate::TimeQuality;
use jiff::tz::TimeZone;
use tokio::sync::watch;
use tokio::time::Instant;

use super::budget::{Budget, Bytes, Moment};
use super::config::LineConfig;
use super::ledger::{Ledger, Traffic};
use super::meter::{Cost, Meter};
use super::pace::{Pace, demand_minutes};
use super::status::CloudStatus;
use super::views::{CostView, Level, TrafficView};
use crate::clock::Clock;

/// How often the counts are written.
const WRITTEN_EVERY: Duration = Duration::from_secs(300);
/// How often the level is judged.
const JUDGED_EVERY: Duration = Duration::from_secs(60);

/// Every kind of traffic, in the order in which it is shown.
const TRAFFIC: [Traffic; 5] = [
    Traffic::Lane(Lane::Fulfilment),
    Traffic::Lane(Lane::Health),
    Traffic::Lane(Lane::Demand),
    Traffic::Downlink,
    Traffic::Other,
];

/// The line of one gateway.
pub(super) struct Line {
    config: LineConfig,
    budget: Mutex<Budget>,
    clock: Clock,
    meter: Meter,
    status: Arc<CloudStatus>,
    /// Whether it is known what former runs used.
    loaded: watch::Sender<bool>,
}

impl Line {
    /// `meter`: where the client counts what belongs to no call.
    pub fn new(config: LineConfig, clock: Clock, meter: Meter, status: Arc<CloudStatus>) -> Self {
        let zone = TimeZone::system();
        let budget = Budget::new(config.month_starts, config.monthly_bytes, zone);
        let line = Self {
            config,
            budget: Mutex::new(budget),
            clock,
            meter,
            status,
            loaded: watch::Sender::new(false),
        };
        line.show(&line.budget());
        line
    }

    /// Whether each byte costs.
    pub fn is_metered(&self) -> bool {
        self.config.metered
    }

    /// Resolves when it is known what former runs used, and so what the budget leaves.
    pub async fn is_known(&self) {
        let mut loaded = self.loaded.subscribe();
        // The sender stands beside it.
        let _ = loaded.wait_for(|loaded| *loaded).await;
    }

    /// How much the budget leaves for what isn't urgent.
    pub fn level(&self) -> Level {
        self.budget().level()
    }

    /// Over how many minutes demand is summed up.
    pub fn demand_minutes(&self) -> Option<u32> {
        demand_minutes(self.level())
    }

    /// A batch was answered: its cost goes to its lanes by the share of their items.
    pub fn uplink(&self, batch: &Batch, cost: &Cost) {
        for (lane, bytes) in shares(batch, cost) {
            self.used(Traffic::Lane(lane), bytes);
        }
        self.last_request("uplink", cost);
    }

    /// A long poll was answered.
    pub fn downlink(&self, cost: &Cost) {
        self.used(Traffic::Downlink, of(cost));
        self.last_request("downlink", cost);
    }

    /// Shows what the batches measure.
    pub fn throughput(&self, bytes_per_s: Option<u64>) {
        if bytes_per_s.is_some() {
            self.status
                .line(|line| line.throughput_bytes_per_s = bytes_per_s);
        }
    }

    /// Shows when what waits goes.
    pub fn next(&self, pace: &Pace, now: Instant) {
        let level = self.level();
        let wall_ms = self.clock.now().wall_ms;
        let at_ms = |lane| {
            let left = pace.due(lane, level)?.saturating_duration_since(now);
            let left_ms = i64::try_from(left.as_millis()).unwrap_or(i64::MAX);
            Some(wall_ms.saturating_add(left_ms))
        };
        self.status.line(|line| {
            line.demand_next_ms = at_ms(Lane::Demand);
            line.health_next_ms = at_ms(Lane::Health);
        });
    }

    /// Reads what the ledger knows, then judges and writes now and then. Never ends.
    pub async fn keep(&self, ledger: &dyn Ledger) {
        self.load(ledger).await;
        let mut written = Instant::now();
        loop {
            tokio::time::sleep(JUDGED_EVERY).await;
            self.judge();
            if written.elapsed() >= WRITTEN_EVERY {
                written = Instant::now();
                self.write(ledger).await;
            }
        }
    }

    /// Writes what the ledger doesn't know yet; what it doesn't take is tried again later.
    pub async fn write(&self, ledger: &dyn Ledger) {
        self.collect();
        let uses = self.budget().take_unwritten();
        if uses.is_empty() {
            return;
        }
        if let Err(e) = ledger.line_used(uses.clone()).await {
            tracing::debug!("the use of the line can't be written now: {e}");
            self.budget().put_back(&uses);
        }
    }

    async fn load(&self, ledger: &dyn Ledger) {
        let mut pause = Duration::from_secs(1);
        let uses = loop {
            match ledger.line_use().await {
                Ok(uses) => break uses,
                Err(e) => tracing::debug!("the use of the line can't be read now: {e}"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(JUDGED_EVERY);
        };
        let now = self.now();
        let mut budget = self.budget();
        budget.load(&uses, now);
        self.show(&budget);
        self.loaded.send_replace(true);
    }

    fn judge(&self) {
        self.collect();
        let now = self.now();
        let mut budget = self.budget();
        let before = budget.level();
        let level = budget.judge(now);
        if level != before {
            tracing::info!(?level, "the line's budget: {}", level.words());
        }
        self.show(&budget);
    }

    fn used(&self, traffic: Traffic, bytes: Bytes) {
        let now = self.now();
        let mut budget = self.budget();
        budget.used(traffic, bytes, now);
        self.show(&budget);
    }

    /// What belongs to no call.
    fn collect(&self) {
        let (sent, received) = self.meter.take();
        let bytes = Bytes { sent, received };
        self.budget().used(Traffic::Other, bytes, self.now());
    }

    fn last_request(&self, what: &'static str, cost: &Cost) {
        let cost = CostView {
            what,
            sent: cost.sent,
            received: cost.received,
            took_ms: u64::try_from(cost.took.as_millis()).unwrap_or(u64::MAX),
        };
        self.collect();
        self.status.line(|line| line.last_request = Some(cost));
    }

    fn show(&self, budget: &Budget) {
        let (month, start) = (budget.this_month(), budget.since_start());
        let traffic = TRAFFIC.map(|traffic| {
            let month = month.get(&traffic).copied().unwrap_or_default();
            let start = start.get(&traffic).copied().unwrap_or_default();
            TrafficView {
                what: name(traffic),
                month_sent: month.sent,
                month_received: month.received,
                start_sent: start.sent,
                start_received: start.received,
            }
        });
        let month_ms = budget.month_ms();
        let forecast = budget.forecast(self.now());
        let all = budget.since_start().values();
        let (sent, received) = all.fold((0, 0), |(sent, received), bytes| {
            (sent + bytes.sent, received + bytes.received)
        });
        self.status.show(|shown| {
            shown.bytes_sent = sent;
            shown.bytes_received = received;
            let line = &mut shown.line;
            line.metered = self.config.metered;
            line.month_since_ms = month_ms.map(|(since, _)| since);
            line.month_until_ms = month_ms.map(|(_, until)| until);
            line.traffic = traffic.to_vec();
            line.used_bytes = budget.used_bytes();
            line.budget_bytes = budget.monthly();
            line.forecast_bytes = forecast.map(|forecast| forecast.total);
            line.level = budget.level();
            line.spread_s = self.config.spread.as_secs();
        });
    }

    fn now(&self) -> Moment {
        let now = self.clock.now();
        Moment {
            wall_ms: (now.quality != TimeQuality::Unknown).then_some(now.wall_ms),
            tick_ms: now.tick_ms,
        }
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The word for a kind of traffic.
#[must_use]
pub fn name(traffic: Traffic) -> &'static str {
    match traffic {
        Traffic::Lane(lane) => lane.name(),
        Traffic::Downlink => "downlink",
        Traffic::Other => "other",
    }
}

fn of(cost: &Cost) -> Bytes {
    Bytes {
        sent: cost.sent,
        received: cost.received,
    }
}

/// Parts a request's bytes among its lanes; the parts add up to the whole.
fn shares(batch: &Batch, cost: &Cost) -> Vec<(Lane, Bytes)> {
    if batch.lanes.len() == 1 {
        return batch.lanes.keys().map(|lane| (*lane, of(cost))).collect();
    }
    let weights: Vec<_> = batch
        .lanes
        .iter()
        .map(|(lane, part)| {
            let encoded = part
                .items
                .iter()
                .map(|item| item.to_value().to_cbor().len());
            (*lane, encoded.sum::<usize>() as u64)
        })
        .collect();
    let mut left = of(cost);
    let mut weight_left: u64 = weights.iter().map(|(_, weight)| weight).sum();
    weights
        .into_iter()
        .map(|(lane, weight)| {
            let part = |bytes: u64| match weight_left {
                0 => bytes,
                all => (u128::from(bytes) * u128::from(weight) / u128::from(all)) as u64,
            };
            let share = Bytes {
                sent: part(left.sent),
                received: part(left.received),
            };
            left.sent -= share.sent;
            left.received -= share.received;
            weight_left -= weight;
            (lane, share)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloud_protocol::{Chain, Item, LaneBatch, Report};
    use proptest::prelude::*;

    fn part(items: usize) -> LaneBatch {
        let item = |seq: usize| Item {
            seq: seq as u64 + 1,
            at: 1_760_000_000_000,
            report: Report::Health([("events".to_string(), 7)].into()),
        };
        LaneBatch {
            after: 0,
            chain: Chain::default(),
            items: (0..items).map(item).collect(),
        }
    }

    fn cost(sent: u64, received: u64) -> Cost {
        Cost {
            sent,
            received,
            took: Duration::from_millis(3),
        }
    }

    proptest! {
        #[test]
        fn the_shares_of_the_lanes_add_up_to_the_request(
            items in prop::collection::vec(0_usize..5, 1..=3),
            sent in 0_u64..1 << 40,
            received in 0_u64..1 << 40,
        ) {
            let lanes = Lane::ALL.into_iter().zip(items.iter().map(|n| part(*n))).collect();
            let shares = shares(&Batch { epoch: 1, lanes }, &cost(sent, received));
            prop_assert_eq!(shares.len(), items.len());
            prop_assert_eq!(shares.iter().map(|(_, b)| b.sent).sum::<u64>(), sent);
            prop_assert_eq!(shares.iter().map(|(_, b)| b.received).sum::<u64>(), received);
        }
    }

    #[test]
    fn a_request_is_parted_by_the_size_of_the_items() {
        let lanes = [(Lane::Health, part(1)), (Lane::Demand, part(3))].into();
        let shares = shares(&Batch { epoch: 1, lanes }, &cost(1000, 400));
        let sent: Vec<_> = shares.iter().map(|(lane, b)| (*lane, b.sent)).collect();
        assert_eq!(sent, [(Lane::Health, 250), (Lane::Demand, 750)]);
        assert_eq!(shares[0].1.received, 100);
    }
}
