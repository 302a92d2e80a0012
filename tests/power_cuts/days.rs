//! What people do while a gateway is being recorded.

use linli::journal::Work;
use tokio::sync::oneshot;

use crate::mark::{Mark, Moved, NewEvent, Place, Say};
use crate::site::{BADGE, BANKS, DOORS};
use crate::world::World;

const HOUR_MS: u64 = 3_600_000;

/// So many things happen, one after the other.
pub async fn live(mut world: World, happenings: u32) -> World {
    for n in 0..happenings {
        match world.rng.below(100) {
            0..22 => deposit(&mut world).await,
            22..44 => collect(&mut world).await,
            44..60 => sensors(&mut world).await,
            60..72 => announce(&mut world).await,
            72..80 => world.uplink().await,
            80..84 => second_thoughts(&mut world).await,
            84..88 => by_hand(&mut world).await,
            88..90 => wrong_code(&mut world).await,
            90..92 => new_boot(&mut world).await,
            92..95 => long_while(&mut world),
            95..97 if n > 10 => world = world.restart().await,
            _ => disable(&mut world).await,
        }
        world.obey_all().await;
        let ms = 1_000 + world.rng.below(20_000);
        world.pass(ms);
    }
    world
}

/// The cloud announces what will come; it also announces the courier.
async fn announce(world: &mut World) {
    for _ in 0..=world.rng.below(4) {
        let n = world.memory.cloud.says.len();
        let now_ms = world.now_ms();
        let in_hours = |hours: u64| now_ms + (hours * HOUR_MS) as i64;
        let say = match n % 12 {
            0 => Say::Courier {
                valid_until: in_hours(24 * 30),
            },
            _ => Say::Parcel {
                parcel: format!("p-{n}"),
                point: BANKS[world.rng.below(2) as usize].to_owned(),
                size: *world.rng.pick(&['S', 'S', 'M', 'L']).unwrap_or(&'S'),
                deadline: in_hours(2 + world.rng.below(46)),
            },
        };
        world.mark(Mark::Says { say });
    }
    world.downlink().await;
}

/// The cloud takes something back, prolongs it, or gives a new code.
async fn second_thoughts(world: &mut World) {
    let settled = world.memory.settled();
    let ids: Vec<_> = settled
        .filter(|(_, parcel)| !parcel.cancelled && parcel.place != Place::Gone)
        .map(|(id, parcel)| (id.clone(), parcel.clone()))
        .collect();
    let Some((id, known)) = world.rng.pick(&ids).cloned() else {
        return;
    };
    let hours = world.rng.below(24);
    let say = match world.rng.below(3) {
        0 if known.place == Place::Outside => Say::Cancelled { parcel: id },
        1 if known.code.is_some() => Say::Reissue { parcel: id },
        _ => Say::Extended {
            parcel: id,
            deadline: known.deadline + (hours * HOUR_MS) as i64,
        },
    };
    world.mark(Mark::Says { say });
    if world.rng.one_in(2) {
        world.downlink().await;
    }
}

/// A courier brings a parcel.
async fn deposit(world: &mut World) {
    let now_ms = world.now_ms();
    let parcels = world.memory.parcels.iter();
    let taken = world.memory.cloud.taken;
    let coming: Vec<_> = parcels
        .filter(|(_, p)| p.place == Place::Outside && !p.cancelled && p.n <= taken)
        .filter(|(_, p)| p.deadline > now_ms + 600_000)
        .map(|(id, p)| (id.clone(), p.point.clone()))
        .collect();
    let Some((parcel, bank)) = world.rng.pick(&coming).cloned() else {
        return;
    };
    world.mark(Mark::Touched {
        parcel: parcel.clone(),
    });
    let badge = format!("\"symbol\":\"{BADGE}\"");
    world.tell(&bank, "scan", &badge).await;
    let waybill = format!("\"symbol\":\"{parcel}\"");
    world.tell(&bank, "scan", &waybill).await;
    let Some(opening) = world.opening(&bank).await else {
        return;
    };
    let inside = world.memory.inside(&bank, opening.compartment);
    if let Some(inside) = inside.map(str::to_owned) {
        if !world.memory.parcels[&inside].touched {
            let n = opening.compartment;
            world.wrong(format!(
                "{bank}/{n} holds {inside}, and is given to {parcel}"
            ));
        }
        return world.obey(&opening, None).await;
    }
    // Sometimes he changes his mind.
    let moved = (!world.rng.one_in(8)).then_some(Moved {
        parcel,
        to: Place::In(opening.compartment),
    });
    world.obey(&opening, moved).await;
}

/// A resident comes with a code.
async fn collect(world: &mut World) {
    let now_ms = world.now_ms();
    let waiting: Vec<_> = world
        .memory
        .settled()
        .filter(|(_, p)| !p.cancelled && p.deadline > now_ms + 60_000)
        .filter_map(|(id, p)| match p.place {
            Place::In(n) => Some((id.clone(), p.point.clone(), n, p.code.clone()?)),
            _ => None,
        })
        .collect();
    let Some((parcel, bank, n, code)) = world.rng.pick(&waiting).cloned() else {
        return;
    };
    world.mark(Mark::Touched {
        parcel: parcel.clone(),
    });
    let typed = format!("\"code\":\"{code}\"");
    world.tell(&bank, "keypad", &typed).await;
    let Some(opening) = world.opening(&bank).await else {
        return;
    };
    if opening.compartment != n {
        world.wrong(format!(
            "{parcel} is in {bank}/{n}, its code opens {opening:?}"
        ));
    }
    let to = match world.rng.one_in(8) {
        true => Place::In(n),
        false => Place::Gone,
    };
    world.obey(&opening, Some(Moved { parcel, to })).await;
}

/// Doors and meters report, several at once.
async fn sensors(world: &mut World) {
    let mut payloads = Vec::new();
    for device in DOORS {
        for _ in 0..world.rng.below(3) {
            let count = 1 + world.rng.below(4);
            let events = (0..count).map(|_| sensed(world, device)).collect();
            payloads.push(events);
        }
    }
    world.deliver_all(payloads).await;
}

fn sensed(world: &mut World, device: &str) -> NewEvent {
    let n = world.rng.below(30);
    let (kind, body) = match world.rng.below(10) {
        0..5 => (
            "access",
            format!(
                "\"door\":\"{device}\",\"outcome\":\"granted\",\"direction\":\"in\",\
                 \"method\":\"card\",\"credential\":\"card-{n}\""
            ),
        ),
        5..7 => ("reading", format!("\"senml\":[{{\"n\":\"t\",\"v\":{n}}}]")),
        7..9 => (
            "intent",
            format!(
                "\"item\":\"pears\",\"quantity\":{},\"household\":\"h-{n}\"",
                n + 1
            ),
        ),
        _ => ("nonsense", String::new()),
    };
    world.note(device, kind, &body, None)
}

/// A technician opens a compartment that nobody uses.
async fn by_hand(world: &mut World) {
    let compartment = 1 + world.rng.below(40) as u16;
    let bank = BANKS[1];
    if world.memory.inside(bank, compartment).is_some() {
        return;
    }
    let (reply, answer) = oneshot::channel();
    world.gateway.opened.journal.inbox.submit(Work::Open {
        slot: format!("{bank}/{compartment}").parse().expect("a slot"),
        operator: "technician".to_owned(),
        reason: "looks into it".to_owned(),
        reply,
    });
    // Refused if somebody is at it.
    let _ = answer.await;
    if let Some(opening) = world.opening(bank).await {
        world.obey(&opening, None).await;
    }
}

/// A technician takes a compartment out of use, or back into it.
async fn disable(world: &mut World) {
    let compartment = 38 + world.rng.below(3) as u16;
    let (reply, answer) = oneshot::channel();
    world.gateway.opened.journal.inbox.submit(Work::Disable {
        slot: format!("{}/{compartment}", BANKS[1])
            .parse()
            .expect("a slot"),
        operator: "technician".to_owned(),
        reason: world.rng.one_in(2).then(|| "the hinge".to_owned()),
        reply,
    });
    let _ = answer.await;
}

/// A stranger guesses.
async fn wrong_code(world: &mut World) {
    let code = format!("\"code\":\"{:06}\"", world.rng.below(1_000_000));
    world.tell(BANKS[1], "keypad", &code).await;
}

/// A device starts anew.
async fn new_boot(world: &mut World) {
    let device = DOORS[world.rng.below(5) as usize].to_owned();
    world.mark(Mark::Boot {
        device: device.clone(),
    });
    let hello = "\"model\":\"m\",\"firmware\":\"1\",\"capabilities\":[]";
    world.tell(&device, "hello", hello).await;
}

fn long_while(world: &mut World) {
    let ms = HOUR_MS / 6 + world.rng.below(5 * HOUR_MS);
    world.pass(ms);
}
