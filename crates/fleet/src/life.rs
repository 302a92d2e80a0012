//! What happens in an estate: parcels are announced, brought and collected; hours of demand close; the
//! gateway says how it is. Drawn from a seed, so that the codes can be told again when they are checked.

use std::collections::{BTreeMap, VecDeque};

use anyhow::Context as _;
use cloud_protocol::downlink::{Size, Zone};
use cloud_protocol::secure::sealed;
use cloud_protocol::uplink::{DemandReport, ParcelReport, ParcelState, Unplaceable};
use cloud_protocol::{CodeForResident, Report, SealingKey};
use firmware_protocols::Ident;
use firmware_protocols::event::Secret;
use simulator::Random;

/// Parcels of a gateway that aren't collected yet, at most.
const LIVE_MAX: usize = 12;
/// Buildings with a demand of their own.
const BUILDINGS: u64 = 4;
/// The first hour of demand, ms since the Unix epoch.
const FIRST_HOUR_MS: i64 = 1_760_000_400_000;
const HOUR_MS: i64 = 3_600_000;

/// The parcels of one gateway.
#[derive(Debug, Clone)]
pub struct Parcels {
    gateway: Ident,
    bank: Ident,
    random: Random,
    /// Announced so far: they are `GATEWAY-0`, `GATEWAY-1`, …
    pub announced: u64,
    /// The numbers of those that aren't collected, oldest first, with their states.
    pub live: VecDeque<(u64, ParcelState)>,
}

/// The demand of one gateway.
#[derive(Debug, Clone)]
pub struct Demand {
    random: Random,
    buildings: Vec<Ident>,
    /// Hours that were told.
    pub hours: i64,
}

/// The id of a gateway's parcel.
pub fn parcel_id(gateway: &Ident, number: u64) -> String {
    format!("{gateway}-{number}")
}

/// The pickup code of a parcel.
pub fn digits_of(seed: u64, parcel: &str) -> String {
    Random::new(seed).fork(parcel).digits(8)
}

impl Parcels {
    /// None yet.
    pub fn new(gateway: Ident, random: Random) -> anyhow::Result<Self> {
        Ok(Self {
            gateway,
            bank: Ident::new("bank-a").context("a bank's name")?,
            random,
            announced: 0,
            live: VecDeque::new(),
        })
    }

    /// The copy of a store lives on in another world.
    pub fn diverge(&mut self) {
        self.random = self.random.fork("copy");
    }

    /// Something happens: what there is to report of it. `seal`: the seed of the codes and the key
    /// that they are sealed to; `now`: ms since the Unix epoch.
    pub fn step(&mut self, seal: (u64, &SealingKey), now: i64) -> anyhow::Result<Vec<Report>> {
        if self.random.chance(5) {
            return Ok(vec![self.unplaceable()]);
        }
        let deposited = self.position(ParcelState::Deposited);
        let expected = self.position(ParcelState::Expected);
        let full = self.live.len() >= LIVE_MAX;
        let report = match (expected, deposited) {
            (_, Some(index)) if full || self.random.chance(40) => self.collect(index, now),
            (Some(index), _) if full || self.random.chance(60) => self.deposit(index, now),
            _ => self.announce(seal, now)?,
        };
        Ok(vec![report])
    }

    fn position(&self, state: ParcelState) -> Option<usize> {
        self.live.iter().position(|(_, one)| *one == state)
    }

    /// A parcel is announced; its code is sealed, which is never the same twice.
    pub fn announce(
        &mut self,
        (seed, key): (u64, &SealingKey),
        now: i64,
    ) -> anyhow::Result<Report> {
        let number = self.announced;
        self.announced += 1;
        self.live.push_back((number, ParcelState::Expected));
        let parcel = parcel_id(&self.gateway, number);
        let digits = Secret::new(digits_of(seed, &parcel));
        let code = sealed::seal(key, self.gateway.as_str(), &parcel, &digits)?;
        let mut report = self.report(number, ParcelState::Expected, now);
        report.code = Some(CodeForResident::Sealed(code));
        report.bank = None;
        report.compartment = None;
        Ok(Report::Parcel(report))
    }

    fn deposit(&mut self, index: usize, now: i64) -> Report {
        self.live[index].1 = ParcelState::Deposited;
        let number = self.live[index].0;
        Report::Parcel(self.report(number, ParcelState::Deposited, now))
    }

    fn collect(&mut self, index: usize, now: i64) -> Report {
        let number = self.live.remove(index).map_or(0, |(number, _)| number);
        Report::Parcel(self.report(number, ParcelState::Collected, now))
    }

    fn report(&self, number: u64, state: ParcelState, now: i64) -> ParcelReport {
        ParcelReport {
            parcel: parcel_id(&self.gateway, number),
            state,
            since: now,
            bank: Some(self.bank.clone()),
            compartment: u16::try_from(number % 60 + 1).ok(),
            desk: None,
            code: None,
            unlisted: false,
            return_of: None,
        }
    }

    fn unplaceable(&mut self) -> Report {
        Report::Unplaceable(Unplaceable {
            parcel: format!("{}-big", self.gateway),
            point: self.bank.clone(),
            size: Size::L,
            zone: Zone::Chilled,
            desk: None,
        })
    }
}

impl Demand {
    /// None yet.
    pub fn new(random: Random) -> anyhow::Result<Self> {
        let buildings = (1..=BUILDINGS).map(|n| Ident::new(&format!("b{n}")));
        let buildings = buildings
            .collect::<Result<_, _>>()
            .context("a building's name")?;
        Ok(Self {
            random,
            buildings,
            hours: 0,
        })
    }

    /// The copy of a store lives on in another world.
    pub fn diverge(&mut self) {
        self.random = self.random.fork("copy");
    }

    /// An hour closes: a bucket for each building.
    pub fn hour(&mut self) -> Vec<Report> {
        let start = FIRST_HOUR_MS + self.hours * HOUR_MS;
        self.hours += 1;
        let random = &mut self.random;
        let mut series = || {
            [
                "comings",
                "goings",
                "deposits",
                "collections",
                "intent:cabbage",
                "intent:eggs",
            ]
            .map(|name| (name.to_string(), random.below(200)))
            .into()
        };
        let buckets = self.buildings.iter().map(|building| {
            Report::Demand(DemandReport {
                building: Some(building.clone()),
                start,
                minutes: 60,
                revision: 1,
                series: series(),
            })
        });
        buckets.collect()
    }

    /// Buckets that were told.
    pub fn buckets(&self) -> u64 {
        self.hours.unsigned_abs() * BUILDINGS
    }

    /// The same, and how the gateway is.
    pub fn hour_and_health(&mut self) -> Vec<Report> {
        let mut reports = self.hour();
        reports.push(self.health());
        reports
    }

    fn health(&mut self) -> Report {
        let names = [
            "events_stored",
            "events_duplicate",
            "uptime_s",
            "disk_free_mib",
        ];
        let counters = names.map(|name| (name.to_string(), self.random.below(1 << 30)));
        Report::Health(BTreeMap::from(counters))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloud_protocol::secure::sealed::OpeningKey;

    #[test]
    fn parcels_come_and_go_and_their_codes_open() {
        let opening = OpeningKey::from_seed(&[7; 32]);
        let key = SealingKey {
            id: "k".to_string(),
            public_key: opening.public_key(),
        };
        let gateway = Ident::new("g-1").unwrap();
        let mut parcels = Parcels::new(gateway, Random::new(1)).unwrap();
        let mut states: BTreeMap<String, Vec<ParcelState>> = BTreeMap::new();
        for _ in 0..500 {
            for report in parcels.step((3, &key), 5).unwrap() {
                let Report::Parcel(report) = report else {
                    continue;
                };
                if let Some(CodeForResident::Sealed(code)) = &report.code {
                    let digits = opening.open("g-1", &report.parcel, code).unwrap();
                    assert_eq!(digits.reveal(), digits_of(3, &report.parcel));
                }
                let code = report.code.is_some();
                assert_eq!(code, report.state == ParcelState::Expected);
                states.entry(report.parcel).or_default().push(report.state);
            }
            assert!(parcels.live.len() <= LIVE_MAX);
        }
        let whole = [
            ParcelState::Expected,
            ParcelState::Deposited,
            ParcelState::Collected,
        ];
        assert!(states.values().all(|states| whole.starts_with(states)));
        assert!(parcels.announced > 50);
        assert_eq!(states.len() as u64, parcels.announced);
    }

    #[test]
    fn every_hour_is_told_once_for_each_building() {
        let mut demand = Demand::new(Random::new(1)).unwrap();
        let told: Vec<Report> = (0..10).flat_map(|_| demand.hour()).collect();
        let mut buckets = std::collections::BTreeSet::new();
        for report in told {
            let Report::Demand(d) = report else { panic!() };
            assert!(buckets.insert((d.building.map(|b| b.to_string()), d.start)));
        }
        assert_eq!(buckets.len() as u64, demand.buckets());
    }
}
