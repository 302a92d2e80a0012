//! A resident who sends something back: the notice names a code, the code opens a compartment, the
//! parcel goes in.

use std::sync::Arc;

use firmware_protocols::Ident;

use super::resident::{notice, refused};
use super::take_time;
use crate::front::Answer;
use crate::witness::Sight;
use crate::world::{Point, Whereabouts};
use crate::{Random, World};

/// Something that a resident sends back.
#[derive(Debug, Clone)]
pub struct Return {
    /// The return's own id.
    pub parcel: String,
    /// Where it is to be put in.
    pub point: Ident,
    /// When they have time, ms since the Unix epoch by the clock of the play.
    pub from_ms: i64,
}

/// How long somebody who was refused goes away.
const TRY_AGAIN_MS: u64 = 75_000;

/// Lives through a return; says whether it was put in before the evening was over.
pub async fn send_back(world: Arc<World>, back: Return, random: Random) -> bool {
    let mut random = random.fork(&back.parcel);
    world.moved(&back.parcel, Whereabouts::Home);
    let ready = async {
        world.tempo.until(back.from_ms).await;
        notice(&world, &back.parcel).await
    };
    let (Some(code), Some(at)) = (
        world.before_the_end(ready).await,
        world.points.get(&back.point),
    ) else {
        return false;
    };
    loop {
        if put_in(&world, at, &back, &code, &mut random).await {
            return true;
        }
        let pause = world.tempo.pass(TRY_AGAIN_MS);
        if world.before_the_end(pause).await.is_none() {
            return false;
        }
    }
}

async fn put_in(world: &World, at: &Point, back: &Return, code: &str, random: &mut Random) -> bool {
    let turn = at.turn().await;
    let (to, compartment) = match (turn.type_code(code).await, at) {
        (Answer::Opened(compartment), Point::Bank(bank)) => {
            take_time(world, random, 4, 15).await;
            let free = bank.inside(compartment).is_empty();
            let put = free && bank.put(compartment, &back.parcel);
            turn.close(|| bank.close(compartment)).await;
            if !put {
                let point = back.point.clone();
                world.saw(Sight::WrongDoor { point, compartment });
                return false;
            }
            let to = Whereabouts::Compartment(back.point.clone(), compartment);
            (to, Some(compartment))
        }
        (Answer::Yes(_), Point::Desk(desk)) => {
            desk.put(&back.parcel);
            (Whereabouts::Shelf(back.point.clone()), None)
        }
        (answer, _) => {
            refused(world, &back.point, &answer);
            return false;
        }
    };
    world.moved(&back.parcel, to);
    world.saw(Sight::Brought {
        parcel: back.parcel.clone(),
        point: back.point.clone(),
        compartment,
    });
    true
}
