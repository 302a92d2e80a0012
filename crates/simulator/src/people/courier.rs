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
const COME_BACK_MS: u64 = 420_000;

/// Lives through a round. Returns the parcels that stay in the van.
pub async fn deliver(world: Arc<World>, round: Round, random: Random) -> Vec<String> {
    for (parcel, _) in &round.parcels {
        world.moved(parcel, Whereabouts::Van);
    }
    world.tempo.until(round.from_ms).await;
    world.saw(Sight::CourierCame {
        courier: round.courier.clone(),
        parcels: round.parcels.len(),
    });
    let mut left: VecDeque<(String, Ident)> = round.parcels.iter().cloned().collect();
    let mut courier = Courier {
        world: &world,
        round: &round,
        random: random.fork(&round.courier),
        badge_shown: BTreeMap::new(),
    };
    let mut refused_in_a_row = 0;
    while let Some((parcel, point)) = left.pop_front() {
        if courier.bring(&parcel, &point).await {
            refused_in_a_row = 0;
            continue;
        }
        left.push_back((parcel, point));
        refused_in_a_row += 1;
        if world.tempo.now_ms() >= round.until_ms {
            break;
        }
        if refused_in_a_row >= left.len() {
            world.tempo.pass(COME_BACK_MS).await;
            refused_in_a_row = 0;
        }
    }
    world.saw(Sight::CourierWent {
        courier: round.courier.clone(),
        undelivered: left.len(),
    });
    left.into_iter().map(|(parcel, _)| parcel).collect()
}

struct Courier<'a> {
    world: &'a World,
    round: &'a Round,
    random: Random,
    badge_shown: BTreeMap<Ident, i64>,
}

impl Courier<'_> {
    /// Brings one parcel to its point; false if the point doesn't take it now.
    async fn bring(&mut self, parcel: &str, point: &Ident) -> bool {
        let world = self.world;
        let Some(at) = world.points.get(point) else {
            return false;
        };
        take_time(world, &mut self.random, 15, 45).await;
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
                true
            }
            (answer, _) => {
                self.badge_shown.remove(point);
                let said = match answer {
                    Answer::No(said) | Answer::Yes(said) => said,
                    Answer::Opened(_) | Answer::Silence => String::new(),
                };
                world.saw(Sight::NotTaken {
                    parcel: parcel.to_string(),
                    point: point.clone(),
                    said,
                });
                false
            }
        }
    }

    /// Scans badge, if it isn't fresh, and waybill, in one turn.
    async fn scan<'p>(&mut self, at: &'p Point, parcel: &str) -> (Answer, &'p Point) {
        let turn = at.turn().await;
        let now_ms = self.world.tempo.now_ms();
        let shown = self.badge_shown.get(at.id());
        if shown.is_none_or(|then| now_ms - then > BADGE_FRESH_MS) {
            match turn.scan_badge(&self.round.badge).await {
                Answer::Yes(_) => {}
                other => return (other, at),
            }
        }
        self.badge_shown.insert(at.id().clone(), now_ms);
        (turn.scan_waybill(parcel).await, at)
    }

    /// In front of the open compartment. False if the parcel isn't in it in the end.
    async fn put_in(&mut self, bank: &Bank, compartment: u16, parcel: &str) -> bool {
        let world = self.world;
        let point = bank.id().clone();
        match self.random.chance(self.round.slow_percent) {
            true => take_time(world, &mut self.random, 60, 100).await,
            false => take_time(world, &mut self.random, 6, 20).await,
        }
        let forgets = self.random.chance(self.round.forgets_percent);
        let put = !forgets && bank.put(compartment, parcel);
        bank.turn().await.close(|| bank.close(compartment)).await;
        if put {
            let to = Whereabouts::Compartment(point.clone(), compartment);
            world.moved(parcel, to);
        }
        let parcel = parcel.to_string();
        world.saw(match (put, forgets) {
            (true, _) => Sight::Brought {
                parcel,
                point,
                compartment: Some(compartment),
            },
            (false, true) => Sight::Forgotten {
                parcel,
                point,
                compartment,
            },
            (false, false) => Sight::WrongDoor { point, compartment },
        });
        put
    }
}
