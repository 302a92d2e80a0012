//! A gateway's lanes: items wait, get their numbers when they are cut into a batch, and are sent again
//! as they were cut until they are acknowledged.

use std::collections::VecDeque;

use cloud_protocol::uplink::{Item, LaneBatch};
use cloud_protocol::{Chain, Lane, Report};

/// The most items of a lane that wait; while it is full nothing happens in the estate.
pub const WAITING_MAX: usize = 512;

/// One lane. A clone is a store that was copied: it has all of it, and goes its own way.
#[derive(Debug, Clone)]
pub struct LaneState {
    /// Which one.
    pub lane: Lane,
    waiting: VecDeque<(i64, Report)>,
    /// Numbered and not acknowledged.
    cut: Vec<Item>,
    acked: Position,
    last: Position,
    /// The cloud has another history: nothing more is sent.
    pub held: bool,
}

/// A place in a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The number of the item.
    pub seq: u64,
    /// The chain up to and including it.
    pub chain: Chain,
}

impl LaneState {
    /// At the start of an epoch.
    pub fn new(lane: Lane) -> Self {
        Self {
            lane,
            waiting: VecDeque::new(),
            cut: Vec::new(),
            acked: Position::default(),
            last: Position::default(),
            held: false,
        }
    }

    /// Whether one more item may wait.
    pub fn has_room(&self) -> bool {
        self.waiting.len() < WAITING_MAX
    }

    /// An item waits; `at`: ms since the Unix epoch.
    pub fn push(&mut self, at: i64, report: Report) {
        self.waiting.push_back((at, report));
    }

    /// Whether there is something to send.
    pub fn has_work(&self) -> bool {
        let is_empty = self.cut.is_empty() && self.waiting.is_empty();
        !self.held && !is_empty
    }

    /// What was acknowledged last.
    pub fn acked(&self) -> Position {
        self.acked
    }

    /// The lane's part of the next batch: what is cut and not acknowledged, as it was cut; else up to
    /// `max` items that wait.
    pub fn part(&mut self, max: usize) -> Option<LaneBatch> {
        if !self.has_work() {
            return None;
        }
        if self.cut.is_empty() {
            let n = max.min(self.waiting.len());
            for (at, report) in self.waiting.drain(..n) {
                let seq = self.last.seq + 1;
                let item = Item { seq, at, report };
                let chain = self.last.chain.then(&item);
                self.last = Position { seq, chain };
                self.cut.push(item);
            }
        }
        Some(LaneBatch {
            after: self.acked.seq,
            chain: self.acked.chain,
            items: self.cut.clone(),
        })
    }

    /// The cloud has the lane up to `seq`. False if that is less than was sent.
    pub fn acknowledge(&mut self, seq: u64) -> bool {
        if seq < self.last.seq {
            return false;
        }
        self.cut.clear();
        self.acked = self.last;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloud_protocol::{Batch, Received};
    use std::collections::BTreeMap;

    fn lane(items: u64) -> LaneState {
        let mut lane = LaneState::new(Lane::Health);
        for n in 0..items {
            let counters = BTreeMap::from([("n".to_string(), n)]);
            lane.push(1_700_000_000_000, Report::Health(counters));
        }
        lane
    }

    #[test]
    fn what_is_cut_is_sent_the_same_until_it_is_acknowledged() {
        let mut lane = lane(5);
        let first = lane.part(3).unwrap();
        assert_eq!(
            (first.after, first.chain, first.items.len()),
            (0, Chain::default(), 3)
        );
        lane.push(1, Report::Health(BTreeMap::new()));
        assert_eq!(lane.part(10).unwrap(), first);
        assert!(!lane.acknowledge(2), "less than was sent");
        assert!(lane.acknowledge(3));
        let next = lane.part(10).unwrap();
        let chain = first.items.iter().fold(first.chain, |c, i| c.then(i));
        assert_eq!((next.after, next.chain, next.items.len()), (3, chain, 3));
        assert!(lane.acknowledge(6));
        assert!(!lane.has_work());
    }

    #[test]
    fn a_cloud_reads_it_as_it_was_chained() {
        let mut lane = lane(4);
        let part = lane.part(4).unwrap();
        let batch = Batch {
            epoch: 7,
            lanes: BTreeMap::from([(Lane::Health, part)]),
        };
        let received = Received::from_value(&batch.to_value()).unwrap();
        let part = &received.lanes[&Lane::Health];
        let chain = part.items.iter();
        let chain = chain.fold(part.chain, |c, item| c.then_encoded(&item.encoded()));
        assert!(lane.acknowledge(4));
        assert_eq!(chain, lane.acked().chain);
    }

    #[test]
    fn a_copy_goes_its_own_way() {
        let mut lane = lane(1);
        let _ = lane.part(1);
        let mut copy = lane.clone();
        copy.push(2, Report::Health(BTreeMap::new()));
        assert_eq!(copy.part(9), lane.part(9), "what was cut is the same");
        assert!(copy.acknowledge(1) && lane.acknowledge(1));
        let _ = copy.part(9);
        assert!(copy.acknowledge(2));
        assert_ne!(copy.acked(), lane.acked());
    }
}
