//! What goes on in between: people at doors, wishes to buy, sensors.

use std::sync::Arc;

use firmware_protocols::event::{Direction, Method, Outcome, Secret};
use firmware_protocols::{Form, Ident, Kind};

use crate::witness::Sight;
use crate::{Device, Random, World, reading};

/// What is bought together here.
const ITEMS: [&str; 6] = ["青菜", "番茄", "土鸡蛋", "草莓", "鲜牛奶", "大米"];

/// Reports through a device; an event that a full outbox loses is told in the log.
fn report(device: &Device, kind: Kind) {
    if let Err(error) = device.report(kind) {
        tracing::warn!(%error, device = %device.id(), "an event is lost");
    }
}

/// Somebody of `household` at `door`, at `at_ms`; a card that isn't known is turned away.
pub async fn come_and_go(
    world: Arc<World>,
    door: Ident,
    household: String,
    at_ms: i64,
    direction: Direction,
    known: bool,
) {
    if world
        .before_the_end(world.tempo.until(at_ms))
        .await
        .is_none()
    {
        return;
    }
    let Some(device) = world.devices.get(&door) else {
        return;
    };
    let outcome = match known {
        true => Outcome::Granted,
        false => Outcome::Denied,
    };
    report(
        device,
        Kind::Access {
            door: door.clone(),
            outcome,
            direction: Some(direction),
            method: Some(Method::Card),
            credential: Some(Secret::new(household)),
        },
    );
    world.saw(Sight::AtDoor {
        door,
        granted: known,
    });
}

/// A household wishes to buy something, at the terminal in the yard, at `at_ms`.
pub async fn wish(
    world: Arc<World>,
    terminal: Ident,
    household: String,
    at_ms: i64,
    random: Random,
) {
    let mut random = random.fork(&household);
    if world
        .before_the_end(world.tempo.until(at_ms))
        .await
        .is_none()
    {
        return;
    }
    let Some(device) = world.devices.get(&terminal) else {
        return;
    };
    let item = random.pick(&ITEMS).copied().unwrap_or("大米").to_string();
    let quantity = u32::try_from(random.between(1, 4)).unwrap_or(1);
    report(
        device,
        Kind::Intent {
            item: item.clone(),
            quantity,
            household: Some(Secret::new(household)),
        },
    );
    world.saw(Sight::Wish { item, quantity });
}

/// A sensor in a chilled compartment or a yard reads every `every_ms` until `until_ms`.
pub async fn read_climate(
    world: Arc<World>,
    sensor: Ident,
    form: Form,
    around_celsius: f64,
    every_ms: u64,
    until_ms: i64,
    random: Random,
) {
    let mut random = random.fork(sensor.as_str());
    world.tempo.pass(random.below(every_ms)).await;
    let device = world.devices.get(&sensor);
    let probe = world.probes.get(&sensor);
    while world.tempo.now_ms() < until_ms {
        let celsius = around_celsius + random.below(20) as f64 / 10.0 - 1.0;
        let humidity = 55.0 + random.below(100) as f64 / 10.0;
        if let Some(device) = device {
            report(device, reading::climate(&sensor, form, celsius, humidity));
        }
        if let Some(probe) = probe {
            probe.feel(celsius, humidity);
        }
        let pause = world.tempo.pass(every_ms);
        if world.before_the_end(pause).await.is_none() {
            return;
        }
    }
}
