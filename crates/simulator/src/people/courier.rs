//! A courier: badge, waybill, parcel in, door shut; now and then slow, now and then forgetful.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use firmware_protocols::Ident;

use super::take_time;
use crate::front::Answer;
use crate::witness::Sight;
use crate::world::{Point, Whereabouts};
use crate::{Bank, Random, World};

/// What a courier has to do this evening.
#[derive(Debug, Clone)]
pub struct Round {
    /// Who: an opaque name.
    pub courier: String,
    /// The symbol on the badge.
    pub badge: String,
    /// When the round begins, ms since the Unix epoch by the clock of the play.
    pub from_ms: i64,
    /// When what isn't delivered goes back.
    pub until_ms: i64,
    /// The parcels and their points, in the order of the round.
    pub parcels: Vec<(String, Ident)>,
    /// How many in a hundred times the courier is slow at a compartment.
    pub slow_percent: u64,
    /// How many in a hundred times the courier closes a compartment without putting anything in.
    pub forgets_percent: u64,
}

/// A badge counts for three minutes after the last scan; couriers scan it again before.
const BADGE_FRESH_MS: i64 = 120_000;
/// How long a courier goes elsewhere when a point doesn't take a parcel.
const COME_BACK_MS: u64 = 1_080_000;
/// How often a courier tries to deliver one parcel.
const TRIES_MAX: u32 = 4;

/// Lives through a round. Returns the parcels that stay in the van.
pub async fn deliver(world: Arc<World>, round: Round, random: Random) -> Vec<String> {
    for (parcel, _) in &round.parcels {
        world.moved(parcel, Whereabouts::Van);
    }
    let on_time = world.before_the_end(world.tempo.until(round.from_ms));
    if on_time.await.is_none() {
        return round
            .parcels
            .into_iter()
            .map(|(parcel, _)| parcel)
            .collect();
    }
    world.saw(Sight::CourierCame {
        courier: round.courier.clone(),
        parcels: round.parcels.len(),
    });
    let mut courier = Courier {
        world: &world,
        round: &round,
        random: random.fork(&round.courier),
        badge_shown: BTreeMap::new(),
    };
    let undelivered = courier.go_round().await;
    world.saw(Sight::CourierWent {
        courier: round.courier.clone(),
        undelivered: undelivered.len(),
    });
    undelivered
}

/// What came of bringing a parcel to its point.
enum Brought {
    There,
    /// The compartment was closed empty; the courier notices at once.
    Forgotten,
    /// The point doesn't take it now.
    NotTaken,
}

struct Courier<'a> {
    world: &'a World,
    round: &'a Round,
    random: Random,
    badge_shown: BTreeMap<Ident, i64>,
}

impl Courier<'_> {
    /// From parcel to parcel, and back to those that weren't taken, until all is delivered or it is
    /// late. Returns what stays in the van.
    async fn go_round(&mut self) -> Vec<String> {
        let world = self.world;
        let parcels = self.round.parcels.iter();
        let mut left: VecDeque<_> = parcels.map(|(parcel, point)| (parcel, point, 1)).collect();
        let mut in_van = Vec::new();
        let mut refused_in_a_row = 0;
        while let Some((parcel, point, tries)) = left.pop_front() {
            match self.bring(parcel, point).await {
                Brought::There => {
                    refused_in_a_row = 0;
                    continue;
                }
                Brought::Forgotten => {
                    left.push_front((parcel, point, tries));
                    continue;
                }
                Brought::NotTaken => {}
            }
            if tries >= TRIES_MAX || world.tempo.now_ms() >= self.round.until_ms {
                in_van.push(parcel.clone());
                continue;
            }
            left.push_back((parcel, point, tries + 1));
            refused_in_a_row += 1;
            if refused_in_a_row >= left.len() {
                refused_in_a_row = 0;
                let pause = world.tempo.pass(COME_BACK_MS);
                if world.before_the_end(pause).await.is_none() {
                    break;
                }
            }
        }
        in_van.extend(left.into_iter().map(|(parcel, ..)| parcel.clone()));
        in_van
    }

    /// Brings one parcel to its point.
    async fn bring(&mut self, parcel: &str, point: &Ident) -> Brought {
        let world = self.world;
        let Some(at) = world.points.get(point) else {
            return Brought::NotTaken;
        };
        let walk = take_time(world, &mut self.random, 40, 90);
        if world.before_the_end(walk).await.is_none() {
            return Brought::NotTaken;
        }
        match self.scan(at, parcel).await {
            (Answer::Opened(compartment), Point::Bank(bank)) => {
                self.put_in(bank, compartment, parcel).await
            }
            (Answer::Yes(_), Point::Desk(desk)) => {
                desk.put(parcel);
                world.moved(parcel, Whereabouts::Shelf(point.clone()));
                world.saw(Sight::Brought {
                    parcel: parcel.to_string(),
                    point: point.clone(),
                    compartment: None,
                });
                Brought::There
            }
            (answer, _) => {
                self.badge_shown.remove(point);
                world.saw(Sight::NotTaken {
                    parcel: parcel.to_string(),
                    point: point.clone(),
                    said: answer.words().to_string(),
                });
                Brought::NotTaken
            }
        }
    }

    /// Scans the badge, if it isn't fresh, and the waybill, in one turn. A word that is neither yes
    /// nor no is an invitation to scan the badge again.
    async fn scan<'p>(&mut self, at: &'p Point, parcel: &str) -> (Answer, &'p Point) {
        let turn = at.turn().await;
        for again in [false, true] {
            let now_ms = self.world.tempo.now_ms();
            let shown = self.badge_shown.get(at.id());
            if again || shown.is_none_or(|then| now_ms - then > BADGE_FRESH_MS) {
                match turn.scan_badge(&self.round.badge).await {
                    Answer::Yes(_) => {}
                    other => return (other, at),
                }
            }
            self.badge_shown.insert(at.id().clone(), now_ms);
            match turn.scan_waybill(parcel).await {
                Answer::Word(_) if !again => {}
                // With a fresh badge it can only mean: this parcel is registered already.
                Answer::Word(said) if matches!(at, Point::Desk(_)) => {
                    return (Answer::Yes(said), at);
                }
                other => return (other, at),
            }
        }
        (Answer::Silence, at)
    }

    /// Whether all that is inside is for the same recipient, as the labels say.
    fn may_put(&self, bank: &Bank, compartment: u16, parcel: &str) -> bool {
        let inside = bank.inside(compartment);
        inside
            .iter()
            .all(|other| self.world.same_recipient(other, parcel))
    }

    /// In front of the open compartment.
    async fn put_in(&mut self, bank: &Bank, compartment: u16, parcel: &str) -> Brought {
        let world = self.world;
        let point = bank.id().clone();
        match self.random.chance(self.round.slow_percent) {
            true => take_time(world, &mut self.random, 60, 100).await,
            false => take_time(world, &mut self.random, 6, 20).await,
        }
        let forgets = self.random.chance(self.round.forgets_percent);
        let put = !forgets && self.may_put(bank, compartment, parcel);
        let put = put && bank.put(compartment, parcel);
        bank.turn().await.close(|| bank.close(compartment)).await;
        if put {
            let to = Whereabouts::Compartment(point.clone(), compartment);
            world.moved(parcel, to);
        }
        let parcel = parcel.to_string();
        let (sight, brought) = match (put, forgets) {
            (true, _) => (
                Sight::Brought {
                    parcel,
                    point,
                    compartment: Some(compartment),
                },
                Brought::There,
            ),
            (false, true) => (
                Sight::Forgotten {
                    parcel,
                    point,
                    compartment,
                },
                Brought::Forgotten,
            ),
            (false, false) => (Sight::WrongDoor { point, compartment }, Brought::NotTaken),
        };
        world.saw(sight);
        brought
    }
}
