//! A ledger in memory: lanes with their chains, what was acknowledged, and what the downlink brought.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use cloud_protocol::uplink::{DemandReport, ParcelReport, ParcelState};
use cloud_protocol::{Acked, Batch, Chain, DownlinkItem, Item, Lane, LaneBatch, Report};
use firmware_protocols::Ident;
use linli::cloud::{BatchLimits, EpochAt, Ledger, LedgerError, LineUse};
use tokio::sync::Notify;

#[derive(Default)]
pub struct Memory {
    lanes: Mutex<BTreeMap<Lane, Made>>,
    taken: Mutex<Vec<DownlinkItem>>,
    line: Mutex<Vec<LineUse>>,
    asked: Mutex<Vec<BatchLimits>>,
    /// How many epochs were begun on top of the first.
    epochs: AtomicU64,
    /// How often a new one was asked for.
    pub epochs_asked: AtomicU64,
    /// A new epoch doesn't come about.
    pub epochs_hang: AtomicBool,
    pub nudge: Arc<Notify>,
    pub broken: AtomicBool,
}

#[derive(Default, Clone)]
struct Made {
    items: Vec<Item>,
    chains: Vec<Chain>,
    acked: u64,
}

pub const EPOCH: u64 = 1_760_000_000;

impl Memory {
    pub fn add(&self, report: Report) {
        let mut lanes = self.lanes.lock().unwrap();
        let made = lanes.entry(report.lane()).or_default();
        let item = Item {
            seq: made.items.len() as u64 + 1,
            at: 1_760_000_000_000,
            report,
        };
        let chain = made.chains.last().copied().unwrap_or_default();
        made.chains.push(chain.then(&item));
        made.items.push(item);
        self.nudge.notify_one();
    }

    pub fn add_parcel(&self, parcel: &str, state: ParcelState) {
        self.add(Report::Parcel(ParcelReport {
            parcel: parcel.to_string(),
            state,
            since: 1_760_000_000_000,
            bank: None,
            compartment: None,
            desk: None,
            code: None,
            unlisted: false,
            return_of: None,
        }));
    }

    pub fn add_parcels(&self, n: usize) {
        let first = self.made(Lane::Fulfilment);
        for i in first..first + n as u64 {
            self.add_parcel(&format!("P-{i:06}"), ParcelState::Expected);
        }
    }

    pub fn add_health(&self, events: u64) {
        self.add(Report::Health([("events".to_string(), events)].into()));
    }

    pub fn add_demand(&self, hour: i64) {
        self.add(Report::Demand(DemandReport {
            building: Some(Ident::new("b1").unwrap()),
            start: hour * 3_600_000,
            minutes: 60,
            revision: 1,
            series: [("comings".to_string(), 9)].into(),
        }));
    }

    pub fn made(&self, lane: Lane) -> u64 {
        let lanes = self.lanes.lock().unwrap();
        lanes.get(&lane).map_or(0, |made| made.items.len() as u64)
    }

    pub fn acked(&self, lane: Lane) -> u64 {
        let lanes = self.lanes.lock().unwrap();
        lanes.get(&lane).map_or(0, |made| made.acked)
    }

    pub fn all_acked(&self) -> bool {
        let lanes = self.lanes.lock().unwrap();
        lanes
            .values()
            .all(|made| made.acked == made.items.len() as u64)
    }

    pub fn taken(&self) -> Vec<DownlinkItem> {
        self.taken.lock().unwrap().clone()
    }

    /// What the line's use adds up to, by month and traffic.
    pub fn line(&self) -> Vec<LineUse> {
        self.line.lock().unwrap().clone()
    }

    /// As a former run would have left it.
    pub fn set_line(&self, uses: Vec<LineUse>) {
        *self.line.lock().unwrap() = uses;
    }

    /// The limits of every batch that was asked for.
    pub fn asked(&self) -> Vec<BatchLimits> {
        self.asked.lock().unwrap().clone()
    }

    fn epoch(&self) -> u64 {
        EPOCH + self.epochs.load(Ordering::SeqCst)
    }

    fn check(&self) -> Result<(), LedgerError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(LedgerError::Unavailable("broken for the test".to_string()));
        }
        Ok(())
    }
}

#[async_trait]
impl Ledger for Memory {
    async fn next_batch(&self, limits: BatchLimits) -> Result<Option<Batch>, LedgerError> {
        self.check()?;
        self.asked.lock().unwrap().push(limits.clone());
        let (mut items_left, mut bytes_left) = (limits.items, limits.bytes);
        let mut parts = BTreeMap::new();
        let lanes = self.lanes.lock().unwrap().clone();
        for lane in Lane::ALL
            .into_iter()
            .filter(|lane| !limits.held.contains(lane))
        {
            let Some(made) = lanes.get(&lane) else {
                continue;
            };
            let mut part = LaneBatch {
                after: made.acked,
                chain: match made.acked {
                    0 => Chain::default(),
                    n => made.chains[usize::try_from(n).unwrap() - 1],
                },
                items: Vec::new(),
            };
            for item in made.items.iter().skip(usize::try_from(made.acked).unwrap()) {
                let size = item.to_value().to_cbor().len();
                let first = parts.is_empty() && part.items.is_empty();
                if items_left == 0 || (size > bytes_left && !first) {
                    break;
                }
                items_left -= 1;
                bytes_left = bytes_left.saturating_sub(size);
                part.items.push(item.clone());
            }
            if !part.items.is_empty() {
                parts.insert(lane, part);
            }
        }
        Ok((!parts.is_empty()).then_some(Batch {
            epoch: self.epoch(),
            lanes: parts,
        }))
    }

    async fn acked(&self, epoch: u64, acked: Acked) -> Result<(), LedgerError> {
        self.check()?;
        assert_eq!(epoch, self.epoch());
        let mut lanes = self.lanes.lock().unwrap();
        for (lane, seq) in &acked.0 {
            let last = lanes.get(lane).map_or(0, |made| made.items.len() as u64);
            if *seq > last {
                return Err(LedgerError::Ahead {
                    lane: *lane,
                    acked: *seq,
                    last,
                });
            }
        }
        for (lane, seq) in acked.0 {
            let made = lanes.entry(lane).or_default();
            made.acked = made.acked.max(seq);
        }
        Ok(())
    }

    async fn downlink_cursor(&self) -> Result<u64, LedgerError> {
        self.check()?;
        Ok(self.taken.lock().unwrap().last().map_or(0, |item| item.seq))
    }

    async fn downlink(&self, items: Vec<DownlinkItem>) -> Result<(), LedgerError> {
        self.check()?;
        self.taken.lock().unwrap().extend(items);
        Ok(())
    }

    async fn new_epoch(&self, _: EpochAt) -> Result<u64, LedgerError> {
        self.check()?;
        self.epochs_asked.fetch_add(1, Ordering::SeqCst);
        if self.epochs_hang.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let mut lanes = self.lanes.lock().unwrap();
        if lanes.values().any(|made| made.acked > 0) {
            self.epochs.fetch_add(1, Ordering::SeqCst);
        }
        for made in lanes.values_mut() {
            made.acked = 0;
        }
        Ok(self.epoch())
    }

    async fn line_used(&self, uses: Vec<LineUse>) -> Result<(), LedgerError> {
        self.check()?;
        let mut line = self.line.lock().unwrap();
        for more in uses {
            let known = line
                .iter_mut()
                .find(|known| (known.month, known.traffic) == (more.month, more.traffic));
            match known {
                Some(known) => {
                    known.sent += more.sent;
                    known.received += more.received;
                }
                None => line.push(more),
            }
        }
        Ok(())
    }

    async fn line_use(&self) -> Result<Vec<LineUse>, LedgerError> {
        self.check()?;
        Ok(self.line())
    }

    async fn backlog(&self) -> Result<Option<BTreeMap<Lane, u64>>, LedgerError> {
        let lanes = self.lanes.lock().unwrap();
        let waiting = lanes.iter();
        Ok(Some(
            waiting
                .map(|(lane, made)| (*lane, made.items.len() as u64 - made.acked))
                .collect(),
        ))
    }
}
