//! What a scan asks, in which order, and how long it takes at most.
//!
//! Rate by rate, those that devices leave the factory with first; for each rate protocol by protocol,
//! address by address. Modbus devices are asked with an even parity bit, too, as the standard has it.

use std::time::Duration;

use super::Rate;
use super::request::{self, Probe};
use crate::config::serial::Protocol;

/// The protocols that can be asked, in the order in which that is done.
const ASKED: [Protocol; 7] = [
    Protocol::KerongCu16,
    Protocol::KerongCu48,
    Protocol::EightA,
    Protocol::Wkly,
    Protocol::Osdp,
    Protocol::Modbus,
    Protocol::Linli,
];

/// The rates that are tried when none is asked for, the likeliest first.
pub const BAUDS: [u32; 5] = [9_600, 19_200, 115_200, 38_400, 57_600];

/// How many addresses of each protocol are tried when none is asked for.
pub const ADDRESSES: u8 = 32;

/// How long the line rests between two requests, beside four characters: so that no two are taken
/// for one frame.
const REST: Duration = Duration::from_millis(5);

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Only these protocols; all if empty.
    pub protocols: Vec<Protocol>,
    /// Only these rates; the usual ones if empty.
    pub bauds: Vec<u32>,
    /// Only these addresses; the first ones if none are named.
    pub addresses: Option<Vec<u8>>,
    /// How long an answer may take, beside the frames' own time.
    pub timeout: Duration,
    /// How long to listen first.
    pub listen: Duration,
}

/// All requests of one protocol at one rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// The protocol.
    pub protocol: Protocol,
    /// The rate.
    pub rate: Rate,
    /// The requests of each address. The second of an address is sent if the first isn't answered.
    pub asked: Vec<Vec<Probe>>,
}

/// The plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is asked, in this order.
    pub passes: Vec<Pass>,
    /// How long an answer may take, beside the frames' own time.
    pub timeout: Duration,
    /// How long to listen first.
    pub listen: Duration,
    /// Every rate is tried, even if devices were found at one.
    pub all_rates: bool,
}

impl Plan {
    /// Plans.
    pub fn new(wanted: &Wanted) -> Self {
        let bauds: &[u32] = match wanted.bauds.is_empty() {
            true => &BAUDS,
            false => &wanted.bauds,
        };
        let asks = |protocol: &Protocol| {
            wanted.protocols.is_empty() || wanted.protocols.contains(protocol)
        };
        let mut passes: Vec<Pass> = Vec::new();
        for &baud in bauds {
            let plain = ASKED.into_iter().filter(asks);
            let plain = plain.map(|protocol| (protocol, Rate::plain(baud)));
            let even = (Protocol::Modbus, Rate { baud, even: true });
            let even = Some(even).filter(|(protocol, _)| asks(protocol));
            for (protocol, rate) in plain.chain(even) {
                let pass = pass(protocol, rate, wanted);
                if !pass.asked.is_empty() && !passes.contains(&pass) {
                    passes.push(pass);
                }
            }
        }
        Self {
            passes,
            timeout: wanted.timeout,
            listen: wanted.listen,
            all_rates: !wanted.bauds.is_empty(),
        }
    }

    /// How long it takes at most: if nothing answers.
    pub fn longest(&self) -> Duration {
        let passes = self.passes.iter();
        passes
            .map(|pass| pass.longest(self.timeout))
            .sum::<Duration>()
            + self.listen
    }

    /// How many requests it has at most.
    pub fn requests(&self) -> u64 {
        let asked = self.passes.iter().flat_map(|pass| &pass.asked);
        asked.map(|probes| probes.len() as u64).sum()
    }

    /// The rates, in their order.
    pub fn rates(&self) -> Vec<Rate> {
        let mut rates: Vec<Rate> = self.passes.iter().map(|pass| pass.rate).collect();
        let mut seen = std::collections::BTreeSet::new();
        rates.retain(|rate| seen.insert(*rate));
        rates
    }
}

impl Pass {
    /// How long it takes at most.
    pub fn longest(&self, timeout: Duration) -> Duration {
        let each = self.asked.iter().flatten();
        each.map(|probe| rest(self.rate) + answer_time(self.rate, probe, timeout))
            .sum()
    }
}

/// How long the line rests before a request.
pub fn rest(rate: Rate) -> Duration {
    REST + time_of(rate, 4)
}

/// How long to wait for the answer to a request, from its first byte on.
pub fn answer_time(rate: Rate, probe: &Probe, timeout: Duration) -> Duration {
    // The adapter may hand over an echo first.
    time_of(rate, probe.bytes.len() + probe.answer_bytes) + timeout
}

fn time_of(rate: Rate, bytes: usize) -> Duration {
    let bits = 10 + u64::from(rate.even);
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    Duration::from_micros(bytes.saturating_mul(bits * 1_000_000) / u64::from(rate.baud.max(1)))
}

fn pass(protocol: Protocol, rate: Rate, wanted: &Wanted) -> Pass {
    let first = protocol.addresses().map_or(0, |(least, _)| least);
    let usual: Vec<u8> = (first..).take(usize::from(ADDRESSES)).collect();
    let addresses = wanted.addresses.as_deref().unwrap_or(&usual);
    let asked = addresses
        .iter()
        .map(|address| request::probes(protocol, *address));
    Pass {
        protocol,
        rate,
        asked: asked.filter(|probes| !probes.is_empty()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            protocols: Vec::new(),
            bauds: Vec::new(),
            addresses: None,
            timeout: Duration::from_millis(60),
            listen: Duration::from_millis(1_500),
        }
    }

    #[test]
    fn everything_usual_takes_a_few_minutes_at_most() {
        let plan = Plan::new(&wanted());
        assert_eq!(plan.passes.len(), 5 * 8);
        assert_eq!(plan.passes[0].rate, Rate::plain(9_600));
        assert_eq!(plan.passes[0].asked.len(), 16, "CU16 boards have no more");
        let longest = plan.longest();
        assert!(longest < Duration::from_secs(240), "{longest:?}");
        assert!(longest > Duration::from_millis(60) * u32::try_from(plan.requests()).unwrap());
    }

    #[test]
    fn what_is_asked_for_is_asked_and_no_more() {
        let plan = Plan::new(&Wanted {
            protocols: vec![Protocol::Modbus, Protocol::Lines],
            bauds: vec![19_200],
            addresses: Some(vec![0, 1, 7]),
            ..wanted()
        });
        assert_eq!(
            plan.rates(),
            [
                Rate::plain(19_200),
                Rate {
                    baud: 19_200,
                    even: true
                }
            ]
        );
        assert_eq!(plan.passes[0].asked.len(), 2, "0 is no slave");
        assert_eq!(plan.requests(), 2 * 2 * 2);
        assert!(plan.all_rates);
    }

    #[test]
    fn addresses_that_do_not_exist_are_left_out() {
        let plan = Plan::new(&Wanted {
            protocols: vec![Protocol::KerongCu16],
            addresses: Some(vec![200]),
            ..wanted()
        });
        assert!(plan.passes.is_empty());
        assert_eq!(plan.requests(), 0);
    }
}
