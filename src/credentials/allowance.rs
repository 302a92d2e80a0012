//! How many slow hashes may be wasted on wrong passwords: token buckets.
//!
//! Two must have something left: the one of the device at that address, so that guessing at one
//! device doesn't keep its neighbours behind the same router out, and the larger one of the
//! address, so that guessing at many devices doesn't pay either. Only failures cost: a thousand
//! devices behind one router may all log in at once. The table is bounded: past [`BUCKETS_MAX`]
//! those that are full again are dropped, and if there are none, newcomers share a pair of buckets.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use firmware_protocols::Ident;

/// Wrong passwords for one device from one address in a row, and how long until one more.
pub(super) const DEVICE: Allowance = Allowance {
    burst: 10,
    refill: Duration::from_secs(5),
};

/// Wrong passwords from one address in a row, and how long until one more.
pub(super) const ADDRESS: Allowance = Allowance {
    burst: 100,
    refill: Duration::from_millis(500),
};

const BUCKETS_MAX: usize = 4096;

const CROWD: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

pub(super) struct Allowance {
    pub(super) burst: u32,
    refill: Duration,
}

#[derive(Default)]
pub(super) struct Allowances {
    buckets: HashMap<Key, Bucket>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    address: IpAddr,
    device: Option<Ident>,
}

struct Bucket {
    spent: u32,
    since: Instant,
}

impl Allowances {
    /// Whether a password for `device` from `address` may cost a hash now.
    pub(super) fn any(&mut self, address: IpAddr, device: &Ident, now: Instant) -> bool {
        self.keys(address, device, now).iter().all(|key| {
            let allowance = key.allowance();
            self.buckets.get_mut(key).is_none_or(|bucket| {
                bucket.refill(allowance, now);
                bucket.spent < allowance.burst
            })
        })
    }

    /// Takes back what was charged for a password that was right.
    pub(super) fn give_back(&mut self, address: IpAddr, device: &Ident) {
        let shared = Key::pair(CROWD, None);
        let own = Key::pair(address, Some(device.clone()));
        let known = own.iter().all(|key| self.buckets.contains_key(key));
        for key in if known { own } else { shared } {
            if let Some(bucket) = self.buckets.get_mut(&key) {
                bucket.spent = bucket.spent.saturating_sub(1);
            }
        }
    }

    /// Charges a password that may be wrong for `device` to `address`.
    pub(super) fn spend(&mut self, address: IpAddr, device: &Ident, now: Instant) {
        for key in self.keys(address, device, now) {
            let allowance = key.allowance();
            let fresh = Bucket {
                spent: 0,
                since: now,
            };
            let bucket = self.buckets.entry(key).or_insert(fresh);
            bucket.refill(allowance, now);
            bucket.spent = (bucket.spent + 1).min(allowance.burst);
        }
    }

    fn keys(&mut self, address: IpAddr, device: &Ident, now: Instant) -> [Key; 2] {
        let keys = Key::pair(address, Some(device.clone()));
        let known =
            |buckets: &HashMap<Key, Bucket>| keys.iter().all(|key| buckets.contains_key(key));
        if self.buckets.len() + 3 <= BUCKETS_MAX || known(&self.buckets) {
            return keys;
        }
        self.buckets.retain(|key, bucket| {
            bucket.refill(key.allowance(), now);
            bucket.spent > 0
        });
        if self.buckets.len() + 3 <= BUCKETS_MAX || known(&self.buckets) {
            keys
        } else {
            Key::pair(CROWD, None)
        }
    }
}

impl Key {
    fn pair(address: IpAddr, device: Option<Ident>) -> [Self; 2] {
        [
            Self { address, device },
            Self {
                address,
                device: None,
            },
        ]
    }

    fn allowance(&self) -> &'static Allowance {
        if self.device.is_some() {
            &DEVICE
        } else {
            &ADDRESS
        }
    }
}

impl Bucket {
    fn refill(&mut self, allowance: &Allowance, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since);
        let tokens = elapsed.as_millis() / allowance.refill.as_millis();
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
        if tokens >= self.spent {
            self.spent = 0;
            self.since = now;
        } else {
            self.spent -= tokens;
            self.since += allowance.refill * tokens;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn device(n: u32) -> Ident {
        Ident::new(&format!("device-{n}")).unwrap()
    }

    #[test]
    fn an_allowance_runs_out_and_grows_again() {
        let mut allowances = Allowances::default();
        let start = Instant::now();
        for _ in 0..DEVICE.burst {
            assert!(allowances.any(HERE, &device(1), start));
            allowances.spend(HERE, &device(1), start);
        }
        assert!(!allowances.any(HERE, &device(1), start));
        let almost = start + DEVICE.refill - Duration::from_millis(1);
        assert!(!allowances.any(HERE, &device(1), almost));
        let grown = start + DEVICE.refill;
        assert!(allowances.any(HERE, &device(1), grown));
        allowances.spend(HERE, &device(1), grown);
        assert!(!allowances.any(HERE, &device(1), grown));
    }

    #[test]
    fn guessing_at_one_device_leaves_its_neighbours_alone() {
        let mut allowances = Allowances::default();
        let now = Instant::now();
        for _ in 0..DEVICE.burst {
            allowances.spend(HERE, &device(1), now);
        }
        assert!(allowances.any(HERE, &device(2), now));
        let elsewhere = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));
        assert!(allowances.any(elsewhere, &device(1), now));
    }

    #[test]
    fn guessing_at_many_devices_exhausts_the_address() {
        let mut allowances = Allowances::default();
        let now = Instant::now();
        for n in 0..ADDRESS.burst {
            assert!(allowances.any(HERE, &device(n), now));
            allowances.spend(HERE, &device(n), now);
        }
        assert!(!allowances.any(HERE, &device(ADDRESS.burst), now));
        assert!(allowances.any(HERE, &device(ADDRESS.burst), now + ADDRESS.refill));
    }

    #[test]
    fn the_table_is_bounded_and_is_cleared_in_time() {
        let mut allowances = Allowances::default();
        let now = Instant::now();
        for n in 0..20_000_u32 {
            let address = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n));
            allowances.spend(address, &device(n), now);
        }
        assert!(allowances.buckets.len() <= BUCKETS_MAX);
        let later = now + Duration::from_secs(3600);
        assert!(allowances.any(HERE, &device(1), later));
        allowances.spend(HERE, &device(1), later);
        assert_eq!(
            allowances.buckets.len(),
            2,
            "those full again are forgotten"
        );
    }
}
