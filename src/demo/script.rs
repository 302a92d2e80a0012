//! Who does what, and when: a farm day's evening, decided by its seed before it begins.

use anyhow::Context as _;
use cloud_protocol::downlink::{ExpectedParcel, Size, Zone};
use firmware_protocols::Ident;
use firmware_protocols::event::Direction;
use simulator::Random;
use simulator::people::{Errand, Round};

use super::plan::{BANKS, COMPARTMENTS, DESK, DOORS, Run, compartments, id};

/// 16:50 on Friday, 12 June 2026, in China: the evening begins.
pub(super) const BEGIN_MS: i64 = 1_781_254_200_000;
/// 20:00: the evening ends.
pub(super) const END_MS: i64 = at(20, 0);
/// What a parcel's waybill begins with.
const WAYBILL: &str = "P0612-";
/// Retention: the next day at 17:00.
const DEADLINE_MS: i64 = at(17, 0) + 86_400_000;
const MINUTE_MS: u64 = 60_000;

/// A time of the evening, ms since the Unix epoch.
pub(super) const fn at(hour: i64, minute: i64) -> i64 {
    BEGIN_MS + ((hour - 16) * 60 + minute - 50) * 60_000
}

/// The whole evening.
pub(super) struct Script {
    /// Announced before 17:00.
    pub(super) early: Vec<ExpectedParcel>,
    /// Announced when the couriers are on their way already.
    pub(super) late: Vec<ExpectedParcel>,
    /// Announced at the very moment at which the cloud goes: its code can't go out.
    pub(super) stuck: ExpectedParcel,
    /// Announced early, then cancelled before its deposit.
    pub(super) cancelled: String,
    pub(super) rounds: Vec<Round>,
    pub(super) errands: Vec<Errand>,
    pub(super) comings: Vec<Coming>,
    pub(super) wishes: Vec<Wish>,
    /// The bank at which a stranger tries codes, and from when on.
    pub(super) stranger: (Ident, i64),
    /// When the cloud can't be reached: from, to. A third of the evening.
    pub(super) unreachable: [(i64, i64); 2],
}

/// Somebody at a door.
pub(super) struct Coming {
    pub(super) door: Ident,
    pub(super) household: String,
    pub(super) at_ms: i64,
    pub(super) direction: Direction,
    /// False for a card that isn't known.
    pub(super) known: bool,
}

/// A household that wishes to buy.
pub(super) struct Wish {
    pub(super) household: String,
    pub(super) at_ms: i64,
}

impl Script {
    /// The evening of a seed, for so many households.
    pub(super) fn write(households: u32, seed: u64) -> anyhow::Result<Self> {
        let random = Random::new(seed);
        let parcels = parcels(households, &random)?;
        let of = |part| {
            let own = parcels
                .iter()
                .enumerate()
                .filter(move |(n, _)| part_of(*n) == part);
            own.map(|(_, parcel)| parcel.clone())
        };
        let only = |part| of(part).next().context("a script has at least ten parcels");
        let script = Self {
            rounds: rounds(&parcels)?,
            errands: errands(&parcels, &random),
            comings: comings(households, &random)?,
            wishes: wishes(households, &random),
            stranger: (id("bank-b")?, at(18, 22)),
            unreachable: [(at(17, 14), at(17, 46)), (at(18, 36), at(19, 7))],
            early: of(Part::Early).chain(of(Part::Cancelled)).collect(),
            late: of(Part::Late).collect(),
            stuck: only(Part::Stuck)?,
            cancelled: only(Part::Cancelled)?.parcel,
        };
        Ok(script)
    }
}

/// What happens to a parcel before its deposit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Early,
    Stuck,
    Late,
    Cancelled,
}

/// The part of parcel number `n`, from 0.
fn part_of(n: usize) -> Part {
    match n {
        3 => Part::Cancelled,
        4 => Part::Stuck,
        n if n % 9 == 8 => Part::Late,
        _ => Part::Early,
    }
}

/// Two parcels for every five households; a third of them to the desk.
fn parcels(households: u32, random: &Random) -> anyhow::Result<Vec<ExpectedParcel>> {
    let mut random = random.fork("parcels");
    let count = (households * 2 / 5).clamp(10, 2_000);
    let mut out = Vec::new();
    for n in 1..=count {
        let household = random.between(1, u64::from(households.max(1)));
        let (point, size, zone) = match random.below(10) {
            0..=2 => (DESK, Size::M, Zone::Ambient),
            _ => locker(&mut random),
        };
        out.push(ExpectedParcel {
            parcel: format!("{WAYBILL}{n:03}"),
            recipient: format!("r-{household:04}"),
            size,
            zone,
            point: id(point)?,
            deadline: DEADLINE_MS,
            consent: true,
            items: u32::try_from(random.between(1, 5)).ok(),
            low: false,
            return_of: None,
        });
    }
    Ok(out)
}

/// A bank with the size and zone of one of its compartments, each as likely as there are.
fn locker(random: &mut Random) -> (&'static str, Size, Zone) {
    let total: u16 = BANKS.iter().map(|bank| compartments(bank)).sum();
    let mut left = random.below(u64::from(total));
    for Run {
        bank,
        count,
        size,
        zone,
    } in &COMPARTMENTS
    {
        match left.checked_sub(u64::from(*count)) {
            None => return (bank, *size, *zone),
            Some(rest) => left = rest,
        }
    }
    (BANKS[0], Size::S, Zone::Ambient)
}

/// Two couriers from 17:00 on, each with 28 parcels at most, first to the banks; whoever has more
/// to bring comes again later with a third, a fourth, …
fn rounds(parcels: &[ExpectedParcel]) -> anyhow::Result<Vec<Round>> {
    const PARCELS_MAX: usize = 28;
    let mut by_point: Vec<(String, Ident)> = Vec::new();
    for point in BANKS.into_iter().chain([DESK]) {
        let own = parcels.iter().filter(|p| p.point.as_str() == point);
        by_point.extend(own.map(|p| (p.parcel.clone(), p.point.clone())));
    }
    let part = |parcel: &str| {
        let n = parcels.iter().position(|p| p.parcel == parcel);
        n.map_or(Part::Early, part_of)
    };
    let couriers = by_point.len().div_ceil(PARCELS_MAX).max(2);
    let each = by_point.len().div_ceil(couriers).max(1);
    let rounds = by_point.chunks(each).enumerate().map(|(n, parcels)| {
        let wave = i64::try_from(n / 2).unwrap_or(0);
        let mut parcels = parcels.to_vec();
        parcels.sort_by_key(|(parcel, _)| part(parcel));
        Round {
            courier: format!("courier-{}", n + 1),
            badge: format!("BADGE-{:04}", 4711 + n),
            from_ms: (at(17, 0) + wave * 35 * 60_000).min(at(19, 0)),
            until_ms: at(19, 40),
            parcels,
            slow_percent: 8,
            forgets_percent: 5,
        }
    });
    Ok(rounds.collect())
}

/// Residents have time from 17:30 on, the last of them at 19:40; some not at all today. Whoever gets
/// the parcel whose code is stuck is there at once.
fn errands(parcels: &[ExpectedParcel], random: &Random) -> Vec<Errand> {
    let mut random = random.fork("errands");
    let mut out = Vec::new();
    for (n, parcel) in parcels.iter().enumerate() {
        let stuck = part_of(n) == Part::Stuck;
        let errand = Errand {
            parcel: parcel.parcel.clone(),
            point: parcel.point.clone(),
            from_ms: match stuck {
                true => at(17, 15),
                false => at(17, 30) + minutes(random.below(80) + random.below(50)),
            },
            mistypes: random.chance(12),
            forgets: random.chance(5),
        };
        if stuck || !random.chance(8) {
            out.push(errand);
        }
    }
    out
}

fn comings(households: u32, random: &Random) -> anyhow::Result<Vec<Coming>> {
    let mut random = random.fork("comings");
    let mut out = Vec::new();
    for household in 1..=households {
        for _ in 0..random.between(1, 3) {
            let door = random.pick(&DOORS).copied().unwrap_or(DOORS[0]);
            out.push(Coming {
                door: id(door)?,
                household: format!("card-{household:04}"),
                at_ms: at(16, 55) + minutes(random.below(90) + random.below(90)),
                direction: match random.chance(70) {
                    true => Direction::In,
                    false => Direction::Out,
                },
                known: true,
            });
        }
    }
    for (n, door) in DOORS.into_iter().take(3).enumerate() {
        out.push(Coming {
            door: id(door)?,
            household: format!("lost-card-{n}"),
            at_ms: at(17, 20) + minutes(random.below(140)),
            direction: Direction::In,
            known: false,
        });
    }
    Ok(out)
}

/// A household in three has a wish.
fn wishes(households: u32, random: &Random) -> Vec<Wish> {
    let mut random = random.fork("wishes");
    let mut out = Vec::new();
    for household in 1..=households {
        if random.chance(34) {
            out.push(Wish {
                household: format!("h-{household:04}"),
                at_ms: at(17, 0) + minutes(random.below(170)),
            });
        }
    }
    out
}

fn minutes(count: u64) -> i64 {
    i64::try_from(count * MINUTE_MS).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_the_script_is_chinas() {
        let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(8));
        let shown = |ms| {
            let time = jiff::Timestamp::from_millisecond(ms).unwrap();
            time.to_zoned(zone.clone()).strftime("%F %T").to_string()
        };
        assert_eq!(shown(BEGIN_MS), "2026-06-12 16:50:00");
        assert_eq!(shown(END_MS), "2026-06-12 20:00:00");
    }

    #[test]
    fn a_seed_decides_the_evening_and_every_parcel_has_one_courier() {
        for households in [1, 120, 900] {
            let script = Script::write(households, 7).unwrap();
            let again = Script::write(households, 7).unwrap();
            assert_eq!(script.rounds.len(), again.rounds.len());
            assert_eq!(script.early, again.early);
            let mut carried: Vec<&String> = script
                .rounds
                .iter()
                .flat_map(|r| r.parcels.iter().map(|(p, _)| p))
                .collect();
            carried.sort();
            let early = script
                .early
                .iter()
                .chain(&script.late)
                .chain([&script.stuck]);
            let mut announced: Vec<&String> = early.map(|p| &p.parcel).collect();
            assert!(announced.contains(&&script.cancelled));
            announced.sort();
            assert_eq!(carried, announced);
        }
        let third: i64 = Script::write(120, 7)
            .unwrap()
            .unreachable
            .iter()
            .map(|(a, b)| b - a)
            .sum();
        assert!((third as f64 / (END_MS - BEGIN_MS) as f64 - 1.0 / 3.0).abs() < 0.02);
    }
}
