//! A resident: waits for the notice, goes, types the code, takes the parcel, closes the door.

use std::sync::Arc;

use firmware_protocols::Ident;

use super::take_time;
use crate::front::Answer;
use crate::witness::Sight;
use crate::world::{Point, Whereabouts};
use crate::{Bank, Desk, Random, World};

/// What a resident has to do this evening.
#[derive(Debug, Clone)]
pub struct Errand {
    /// The parcel.
    pub parcel: String,
    /// Where it is brought.
    pub point: Ident,
    /// When they have time, ms since the Unix epoch by the clock of the play.
    pub from_ms: i64,
    /// They type a wrong digit at first.
    pub mistypes: bool,
    /// They close the door without taking the parcel at first.
    pub forgets: bool,
}

/// How long somebody waits before they look for the notice again.
const LOOK_AGAIN_MS: u64 = 20_000;
/// How long somebody who was refused goes away.
const TRY_AGAIN_MS: u64 = 75_000;

/// Lives through an errand; returns when the parcel is at home, or the evening is over.
pub async fn collect(world: Arc<World>, errand: Errand, random: Random) {
    let mut random = random.fork(&errand.parcel);
    let ready = async {
        world.tempo.until(errand.from_ms).await;
        world.until_brought(&errand.parcel).await;
        notice(&world, &errand.parcel).await
    };
    let Some(code) = world.before_the_end(ready).await else {
        return;
    };
    if errand.mistypes {
        type_wrong(&world, &errand, &code).await;
        take_time(&world, &mut random, 5, 15).await;
    }
    let mut forgets = errand.forgets;
    loop {
        // Taken out together with another of the household's.
        if world.is_home(&errand.parcel) {
            return;
        }
        let brought = match world.points.get(&errand.point) {
            None => return,
            Some(Point::Bank(bank)) => {
                at_bank(&world, bank, &errand, &code, &mut forgets, &mut random).await
            }
            Some(Point::Desk(desk)) => at_desk(&world, desk, &errand, &code).await,
        };
        let pause = world.tempo.pass(TRY_AGAIN_MS);
        if brought || world.before_the_end(pause).await.is_none() {
            return;
        }
    }
}

/// Waits for the operator's message with the code.
pub(super) async fn notice(world: &World, parcel: &str) -> String {
    let mut told = false;
    loop {
        if let Some(code) = world.code(parcel) {
            return code;
        }
        if !told {
            told = true;
            world.saw(Sight::NoNotice {
                parcel: parcel.to_string(),
            });
        }
        world.tempo.pass(LOOK_AGAIN_MS).await;
    }
}

async fn type_wrong(world: &World, errand: &Errand, code: &str) {
    let Some(point) = world.points.get(&errand.point) else {
        return;
    };
    let answer = point.turn().await.type_code(&mistyped(code)).await;
    refused(world, &errand.point, &answer);
    // Somebody else's code, by a chance of one in a hundred thousand: nothing is taken.
    if let (Answer::Opened(compartment), Point::Bank(bank)) = (answer, point) {
        bank.turn().await.close(|| bank.close(compartment)).await;
    }
}

async fn at_bank(
    world: &World,
    bank: &Bank,
    errand: &Errand,
    code: &str,
    forgets: &mut bool,
    random: &mut Random,
) -> bool {
    let answer = bank.turn().await.type_code(code).await;
    let Answer::Opened(compartment) = answer else {
        refused(world, &errand.point, &answer);
        return false;
    };
    take_time(world, random, 4, 15).await;
    let point = errand.point.clone();
    let parcel = errand.parcel.clone();
    let mine =
        |inside: &str| inside == errand.parcel || world.same_recipient(inside, &errand.parcel);
    let all_mine = || std::iter::from_fn(|| bank.take(compartment, mine)).collect::<Vec<_>>();
    let taken = if *forgets {
        *forgets = false;
        world.saw(Sight::LeftInside {
            parcel,
            point,
            compartment,
        });
        false
    } else if let parcels = all_mine()
        && !parcels.is_empty()
    {
        for parcel in parcels {
            world.moved(&parcel, Whereabouts::Home);
            world.saw(Sight::Collected {
                parcel,
                point: point.clone(),
                compartment: Some(compartment),
            });
        }
        true
    } else {
        world.saw(Sight::WrongDoor { point, compartment });
        false
    };
    bank.turn().await.close(|| bank.close(compartment)).await;
    taken
}

async fn at_desk(world: &World, desk: &Desk, errand: &Errand, code: &str) -> bool {
    let answer = desk.turn().await.type_code(code).await;
    if !matches!(answer, Answer::Yes(_)) || !desk.take(&errand.parcel) {
        refused(world, &errand.point, &answer);
        return false;
    }
    world.moved(&errand.parcel, Whereabouts::Home);
    world.saw(Sight::Collected {
        parcel: errand.parcel.clone(),
        point: errand.point.clone(),
        compartment: None,
    });
    true
}

pub(super) fn refused(world: &World, point: &Ident, answer: &Answer) {
    if matches!(answer, Answer::Opened(_)) {
        return;
    }
    world.saw(Sight::Refused {
        point: point.clone(),
        stranger: false,
        said: answer.words().to_string(),
    });
}

/// The code with its last digit off by one.
fn mistyped(code: &str) -> String {
    let mut digits: Vec<char> = code.chars().collect();
    if let Some(last) = digits.last_mut() {
        *last = match *last {
            '9' => '0',
            digit => char::from_u32(u32::from(digit) + 1).unwrap_or('0'),
        };
    }
    digits.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_changes_one_digit() {
        assert_eq!(mistyped("123456"), "123457");
        assert_eq!(mistyped("99"), "90");
        assert_eq!(mistyped(""), "");
    }
}
