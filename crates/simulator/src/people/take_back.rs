//! A courier who takes back what goes back: badge or code, then `0` for one compartment after the
//! other.

use std::collections::BTreeSet;
use std::sync::Arc;

use firmware_protocols::Ident;
use firmware_protocols::event::Secret;

use super::take_time;
use crate::front::Answer;
use crate::witness::Sight;
use crate::world::{Point, Whereabouts};
use crate::{Bank, Random, World};

/// The key that opens the next compartment with something that goes back.
const NEXT: &str = "0";
/// How often a courier presses it in vain before giving up: what is said may be meant for the door
/// closed just before.
const IN_VAIN_MAX: u32 = 2;

/// What a courier identifies with.
#[derive(Debug, Clone)]
pub enum Proof {
    /// The symbol on a badge.
    Badge(String),
    /// Digits to type.
    Code(Secret),
}

/// What a courier has to fetch at a point.
#[derive(Debug, Clone)]
pub struct Pickup {
    /// With what the courier identifies.
    pub proof: Proof,
    /// The bank or desk.
    pub point: Ident,
    /// When, ms since the Unix epoch by the clock of the play.
    pub from_ms: i64,
    /// What goes back, by the courier's own list: nothing else is taken.
    pub parcels: BTreeSet<String>,
}

/// Lives through a pickup. Returns what was taken back.
pub async fn take_back(world: Arc<World>, pickup: Pickup, random: Random) -> BTreeSet<String> {
    let mut random = random.fork("pickup");
    let mut taken = BTreeSet::new();
    let on_time = world.before_the_end(world.tempo.until(pickup.from_ms));
    let (Some(()), Some(at)) = (on_time.await, world.points.get(&pickup.point)) else {
        return taken;
    };
    let turn = at.turn().await;
    let identified = match &pickup.proof {
        Proof::Badge(symbol) => turn.scan_badge(symbol).await,
        Proof::Code(digits) => turn.type_code(digits.reveal()).await,
    };
    // A word that is neither yes nor no may be meant for the one before.
    if matches!(identified, Answer::No(_) | Answer::Silence) {
        return taken;
    }
    let mut in_vain = 0;
    while in_vain < IN_VAIN_MAX {
        let before = taken.len();
        match (turn.type_code(NEXT).await, at) {
            (Answer::Opened(compartment), Point::Bank(bank)) => {
                take_time(&world, &mut random, 4, 12).await;
                taken.extend(empty(&world, bank, compartment, &pickup));
                turn.close(|| bank.close(compartment)).await;
            }
            (Answer::Yes(said), Point::Desk(desk)) => {
                // The one that is named, if one is.
                let mut list: Vec<&String> = pickup.parcels.iter().collect();
                list.sort_by_key(|parcel| !said.contains(parcel.as_str()));
                if let Some(parcel) = list.into_iter().find(|parcel| desk.take(parcel)) {
                    took(&world, &pickup.point, None, parcel);
                    taken.insert(parcel.clone());
                }
            }
            _ => {}
        }
        in_vain = if taken.len() > before { 0 } else { in_vain + 1 };
    }
    taken
}

/// Takes out what goes back, and leaves the rest.
fn empty(world: &World, bank: &Bank, compartment: u16, pickup: &Pickup) -> Vec<String> {
    let goes_back = |parcel: &str| pickup.parcels.contains(parcel);
    let taken: Vec<String> = std::iter::from_fn(|| bank.take(compartment, goes_back)).collect();
    if taken.is_empty() {
        world.saw(Sight::WrongDoor {
            point: bank.id().clone(),
            compartment,
        });
    }
    for parcel in &taken {
        took(world, bank.id(), Some(compartment), parcel);
    }
    taken
}

fn took(world: &World, point: &Ident, compartment: Option<u16>, parcel: &str) {
    world.moved(parcel, Whereabouts::Van);
    world.saw(Sight::TakenBack {
        parcel: parcel.to_string(),
        point: point.clone(),
        compartment,
    });
}
