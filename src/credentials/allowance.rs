//! How many slow hashes an address may still cause: a token bucket per address.
//!
//! Only failures cost, so a thousand devices behind one router may all log in at once. The table is
//! bounded: past [`ADDRESSES_MAX`] those whose allowance is full again are dropped, and if there
//! are none, newcomers share one bucket.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

/// Wrong passwords an address may send in a row.
pub(super) const BURST: u32 = 20;

/// How long until one more is allowed.
const REFILL: Duration = Duration::from_secs(2);

/// How many addresses are told apart.
const ADDRESSES_MAX: usize = 1024;

const CROWD: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

#[derive(Default)]
pub(super) struct Allowances {
    buckets: HashMap<IpAddr, Bucket>,
}

struct Bucket {
    spent: u32,
    since: Instant,
}

impl Allowances {
    /// Whether `from` may cause a hash now.
    pub(super) fn any(&mut self, from: IpAddr, now: Instant) -> bool {
        let from = self.place(from, now);
        self.buckets.get_mut(&from).is_none_or(|bucket| {
            bucket.refill(now);
            bucket.spent < BURST
        })
    }

    /// Charges `from` for a wrong password.
    pub(super) fn spend(&mut self, from: IpAddr, now: Instant) {
        let from = self.place(from, now);
        let bucket = self.buckets.entry(from).or_insert(Bucket {
            spent: 0,
            since: now,
        });
        bucket.refill(now);
        bucket.spent = (bucket.spent + 1).min(BURST);
    }

    fn place(&mut self, from: IpAddr, now: Instant) -> IpAddr {
        if self.buckets.contains_key(&from) || self.buckets.len() < ADDRESSES_MAX {
            return from;
        }
        self.buckets.retain(|_, bucket| {
            bucket.refill(now);
            bucket.spent > 0
        });
        if self.buckets.len() < ADDRESSES_MAX {
            from
        } else {
            CROWD
        }
    }
}

impl Bucket {
    fn refill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since);
        let tokens = u32::try_from(elapsed.as_millis() / REFILL.as_millis()).unwrap_or(u32::MAX);
        if tokens == 0 {
            return;
        }
        self.spent = self.spent.saturating_sub(tokens);
        self.since = if self.spent == 0 {
            now
        } else {
            self.since + REFILL * tokens
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn an_allowance_runs_out_and_grows_again() {
        let mut allowances = Allowances::default();
        let start = Instant::now();
        for _ in 0..BURST {
            assert!(allowances.any(HERE, start));
            allowances.spend(HERE, start);
        }
        assert!(!allowances.any(HERE, start));
        assert!(!allowances.any(HERE, start + REFILL - Duration::from_millis(1)));
        assert!(allowances.any(HERE, start + REFILL));
        allowances.spend(HERE, start + REFILL);
        assert!(!allowances.any(HERE, start + REFILL));
    }

    #[test]
    fn the_table_is_bounded_and_newcomers_still_get_a_share() {
        let mut allowances = Allowances::default();
        let now = Instant::now();
        for n in 0..10_000_u32 {
            allowances.spend(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n)), now);
        }
        assert!(allowances.buckets.len() <= ADDRESSES_MAX + 1);
        let later = now + REFILL * (BURST + 1);
        assert!(allowances.any(HERE, later));
        allowances.spend(HERE, later);
        assert_eq!(
            allowances.buckets.len(),
            1,
            "those with a full allowance are forgotten"
        );
    }
}
