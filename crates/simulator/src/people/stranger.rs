//! A stranger who tries codes at a keypad until the keypad doesn't take any more, and a bit longer.

use std::sync::Arc;

use firmware_protocols::Ident;

use super::take_time;
use crate::front::Answer;
use crate::witness::Sight;
use crate::world::Point;
use crate::{Random, World};

/// Tries `tries` random codes of `digits` digits at `point` from `from_ms` on, without letting
/// anybody else to the keypad. Returns how many opened a compartment: by the rules for codes, none
/// but by the rarest chance.
pub async fn try_codes(
    world: Arc<World>,
    point: Ident,
    from_ms: i64,
    tries: u32,
    digits: usize,
    random: Random,
) -> u32 {
    let mut random = random.fork("stranger");
    let waited = world.before_the_end(world.tempo.until(from_ms)).await;
    let (Some(()), Some(at)) = (waited, world.points.get(&point)) else {
        return 0;
    };
    let turn = at.turn().await;
    let mut opened = 0;
    for _ in 0..tries {
        match turn.type_code(&random.digits(digits)).await {
            Answer::Opened(compartment) => {
                opened += 1;
                world.saw(Sight::WrongDoor {
                    point: point.clone(),
                    compartment,
                });
                if let Point::Bank(bank) = at {
                    turn.close(|| bank.close(compartment)).await;
                }
            }
            other => world.saw(Sight::Refused {
                point: point.clone(),
                stranger: true,
                said: other.words().to_string(),
            }),
        }
        take_time(&world, &mut random, 3, 6).await;
    }
    opened
}
