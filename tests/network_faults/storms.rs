//! Storms: the faults of every way at random, one after the other, while the cloud announces, people
//! bring and fetch, and the doors report. At the end the same reckoning as after each fault alone.
//!
//! Two estates at a time, one with the embedded broker and one with somebody else's, which is also
//! killed. `LINLI_STORMS` rounds each (ten in the short form), drawn from `LINLI_STORMS_SEED`:
//! `LINLI_STORMS=200 cargo test --release --test network_faults -- --nocapture`.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use simulator::Random;

use crate::cloud::{MEMORY_MAX_KIB, until_acknowledged};
use crate::common::mosquitto::Mosquitto;
use crate::common::proxy::{Fault, says};
use crate::estate::{Estate, Plan, run, side_by_side, story};

const SHORT: u64 = 10;
/// Parcels that may wait to be handed over; beyond it nothing is announced.
const WAITING_MAX: usize = 10;

#[test]
fn storms_lose_and_double_nothing() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let rounds = number("LINLI_STORMS").unwrap_or(SHORT);
    let seed = number("LINLI_STORMS_SEED").unwrap_or_else(now_s);
    println!(
        "{rounds} rounds of seed {seed}; again: {}",
        again(rounds, seed)
    );
    let embedded = || Some(None);
    let external = || Mosquitto::start().map(Some);
    type Broker = fn() -> Option<Option<Mosquitto>>;
    let kinds: [(_, Broker); 2] = [("embedded", embedded), ("external", external)];
    side_by_side(kinds.map(|(name, broker)| {
        story(name, move || {
            if let Some(broker) = broker() {
                run(storm(name, broker, rounds, Random::new(seed).fork(name)));
            }
        })
    }));
}

fn again(rounds: u64, seed: u64) -> String {
    format!(
        "LINLI_STORMS={rounds} LINLI_STORMS_SEED={seed} cargo test --test network_faults storms -- --nocapture"
    )
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

async fn storm(name: &str, mut broker: Option<Mosquitto>, rounds: u64, random: Random) {
    let began = Instant::now();
    let estate = Estate::begin(Plan {
        broker: broker.as_ref().map(|broker| broker.address),
        ..Plan::default()
    })
    .await;
    let over = Cell::new(false);
    let weather = async {
        let memory = weather(name, &estate, &mut broker, rounds, random).await;
        over.set(true);
        memory
    };
    let (memory, (), ()) = tokio::join!(
        weather,
        people(&estate, &over),
        announcements(&estate, &over)
    );
    estate.all_have_their_codes().await;
    until_acknowledged(&estate, estate.acknowledged() + 20).await;
    while estate.hand_over_one().await {}
    let sums = estate.reckoning().await;
    let (first, last) = flat(&memory);
    println!(
        "{name}: {rounds} rounds in {:.0?}, {sums:?}, memory {first} KiB then {last} KiB",
        began.elapsed()
    );
    let fewest = usize::try_from(rounds / 4).unwrap();
    assert!(
        sums.handed_over >= fewest,
        "hardly anything was handed over: {sums:?}"
    );
    estate.end().await;
}

async fn people(estate: &Estate, over: &Cell<bool>) {
    while !over.get() {
        if !estate.hand_over_one().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn announcements(estate: &Estate, over: &Cell<bool>) {
    while !over.get() {
        if estate.told().to_hand_over.len() < WAITING_MAX {
            estate.announce_four().await;
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
}

/// One fault after the other. Returns the gateway's memory after each, KiB.
async fn weather(
    name: &str,
    estate: &Estate,
    broker: &mut Option<Mosquitto>,
    rounds: u64,
    mut random: Random,
) -> Vec<u64> {
    let mut memory = Vec::new();
    for round in 1..=rounds {
        let cloud = to_cloud(&mut random);
        let device = to_a_broker(&mut random);
        let gateway = to_a_broker(&mut random);
        let lasts = Duration::from_millis(random.between(300, 2_500));
        let shown = match &cloud {
            Fault::Says(answer) => String::from_utf8_lossy(&answer[9..12]).into_owned(),
            fault => format!("{fault:?}"),
        };
        estate.to_cloud.set(cloud);
        estate.from_devices.set(device.clone());
        let mut broker_does = "";
        if let (Some(proxy), Some(broker)) = (&estate.to_broker, broker.as_mut()) {
            proxy.set(gateway.clone());
            broker_does = harass(broker, &mut random);
        }
        println!(
            "{name} {round}: cloud {shown}, devices {device:?}, broker {gateway:?} {broker_does}, {lasts:?}"
        );
        tokio::time::sleep(lasts).await;
        estate.to_cloud.set(Fault::None);
        estate.from_devices.set(Fault::None);
        if let Some(proxy) = &estate.to_broker {
            proxy.set(Fault::None);
        }
        tokio::time::sleep(Duration::from_millis(random.between(0, 1_500))).await;
        memory.push(estate.memory_kib());
    }
    memory
}

fn to_cloud(random: &mut Random) -> Fault {
    const HTML: &str = "content-type: text/html\r\n";
    match random.below(16) {
        0 => Fault::Refuse,
        1 | 2 => Fault::Silence,
        3 | 4 => Fault::SwallowAnswer,
        5 => Fault::Reset {
            up: random.below(2_000),
            down: u64::MAX,
        },
        6 => Fault::Reset {
            up: u64::MAX,
            down: random.below(600),
        },
        7 => Fault::HalfAnswer,
        8 => says("500 Internal Server Error", "", ""),
        9 => says("429 Too Many Requests", "retry-after: 1\r\n", ""),
        10 => says("302 Found", "location: http://192.0.2.1/\r\n", ""),
        11 => says("200 OK", HTML, "<html>"),
        12 => Fault::Slow {
            bytes_per_s: random.between(200, 4_000),
        },
        13 => Fault::Delay(Duration::from_millis(random.between(50, 1_500))),
        _ => cut(random),
    }
}

fn to_a_broker(random: &mut Random) -> Fault {
    match random.below(12) {
        0..6 => Fault::None,
        6 => Fault::Refuse,
        7 => Fault::Silence,
        8 => Fault::SwallowAnswer,
        9 => Fault::Delay(Duration::from_millis(random.between(5, 200))),
        _ => cut(random),
    }
}

fn cut(random: &mut Random) -> Fault {
    Fault::CutAtRandom {
        seed: random.number(),
        mean_bytes: random.between(200, 6_000),
    }
}

/// What befalls the broker itself now and then.
fn harass(broker: &mut Mosquitto, random: &mut Random) -> &'static str {
    match random.below(10) {
        0 => {
            broker.stop();
            broker.start_again();
            "restarts"
        }
        1 => {
            broker.kill();
            broker.start_again();
            "is killed"
        }
        2 => {
            crate::broker::kick(broker.address, random.chance(50));
            "kicks"
        }
        _ => "",
    }
}

/// The medians of the first and the last third; fails if it grows by more than a tenth and 2 MiB.
fn flat(memory: &[u64]) -> (u64, u64) {
    let median = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part[part.len() / 2]
    };
    let third = (memory.len() / 3).max(1);
    let (first, last) = (
        median(&memory[..third]),
        median(&memory[memory.len() - third..]),
    );
    // In a short storm the first third is still the start.
    assert!(last < MEMORY_MAX_KIB, "{last} KiB in memory");
    let slack = if memory.len() < 60 { 16 << 10 } else { 2 << 10 };
    assert!(
        last <= first + first / 10 + slack,
        "memory grows: {memory:?}"
    );
    (first, last)
}
