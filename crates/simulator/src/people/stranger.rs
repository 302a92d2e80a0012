//! A stranger who tries codes at a keypad until the keypad doesn't take any more, and a bit longer.

use std::sync::Arc;

use firmware_protocols::Ident;

use super::take_time;
use crate::front::Answer;
use crate::witness::Sight;
use crate::world::Point;
use crate::{Random, World};

/// Tries `tries` random codes of `digits` digits at `point` from `from_ms` on. Returns how many
/// opened a compartment: by the rules for codes, none but by the rarest chance.
pub async fn try_codes(
    world: Arc<World>,
    point: Ident,
    from_ms: i64,
    tries: u32,
    digits: usize,
    random: Random,
) -> u32 {
    let mut random = random.fork("stranger");
    if world
        .before_the_end(world.tempo.until(from_ms))
        .await
        .is_none()
    {
        return 0;
    }
    let mut opened = 0;
    for _ in 0..tries {
        let Some(at) = world.points.get(&point) else {
            return opened;
        };
        let answer = at.turn().await.type_code(&random.digits(digits)).await;
        match answer {
            Answer::Opened(compartment) => {
                opened += 1;
                world.saw(Sight::WrongDoor {
                    point: point.clone(),
                    compartment,
                });
                if let Point::Bank(bank) = at {
                    bank.turn().await.close(|| bank.close(compartment)).await;
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
