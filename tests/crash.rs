//! kill -9 under load, in both broker modes: no acknowledged event missing, none twice, no door opened by
//! a command that isn't on disk or that came again, the history whole.
//!
//! The daemon is killed under load after a random number of acknowledgements, which is mostly within a
//! commit, and, every other time, once more or several times a random moment (0 to 400 ms) after its
//! start. With the embedded broker parcels are brought and collected meanwhile.
//!
//! `LINLI_KILLS=300 cargo test --release --test crash -- --nocapture` kills more often: three fifths
//! with parcels, a fifth over MQTT 3.1.1, a fifth behind an external broker. `LINLI_SEED` chooses the
//! moments.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "common/locker.rs"]
mod locker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::mosquitto::Mosquitto;
use common::{Setup, ident, text, wait_until};
use locker::Locker;
use reference_cloud::Config;
use simulator::load::{Figures, Running, Until, read_record};
use simulator::{Load, Login, Promise, Version};

/// How often the daemon is killed in all, if nobody says more.
const KILLS: u32 = 20;
/// Within this time after its start a daemon is killed, ms.
const STARTING_MS: u64 = 400;

/// A part of the kills asked for, at least 2.
fn kills(fifths: u32) -> u32 {
    let asked = std::env::var("LINLI_KILLS").ok();
    let asked = asked.and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    (asked * fifths).div_ceil(5).max(2)
}

/// Small numbers from a seed.
struct Dice(u64);

impl Dice {
    fn new(salt: u64) -> Self {
        let seed = std::env::var("LINLI_SEED").ok();
        let seed = seed.map_or_else(
            || u64::from(std::process::id()),
            |seed| seed.parse().expect("LINLI_SEED is a number"),
        );
        println!("LINLI_SEED={seed}");
        Self(seed.wrapping_mul(31).wrapping_add(salt))
    }

    fn below(&mut self, end: u64) -> u64 {
        let step = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = step.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kill_9_while_parcels_are_brought_and_collected() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let cloud = Arc::new(cloud);
    let mut setup = Setup::new();
    setup.cloud = Some(cloud.url());
    setup.more = "[rules]\ncommand_retry_s = 600\n".to_owned();
    let mut gateway = setup.start();
    let locker = Locker::start(&cloud, &ident("test-site"), setup.address()).await;
    let running = load(&setup, Version::V5, Promise::Puback);
    let over = AtomicBool::new(false);
    let parcels = async {
        let mut collected = 0;
        while !over.load(Ordering::SeqCst) {
            let parcel = format!("p-{collected}");
            locker.announce(&parcel).await;
            if locker.bring(&parcel, &over).await && locker.collect(&parcel, &over).await {
                collected += 1;
            }
        }
        collected
    };
    let killing = async {
        let killed = kill_under_load(&mut setup, gateway, &running, kills(3), 1).await;
        over.store(true, Ordering::SeqCst);
        killed
    };
    let (collected, (killed, last)) = tokio::join!(parcels, killing);
    gateway = last;
    let figures = end(running).await;
    wait_until("the bank's events to be taken", async || {
        (locker.device.waiting() == 0).then_some(())
    })
    .await;
    locker.device.stop().await;
    locker.opened_only_what_is_on_disk(&setup);
    let verified = setup.cli(&["audit", "verify"]);
    assert!(verified.status.success(), "{}", text(&verified.stderr));
    gateway.stop();
    let stored = setup.stored();
    for event in locker.device.record() {
        let key = ("bank-a".to_owned(), event.boot, event.seq);
        assert!(stored.contains_key(&key), "acknowledged and gone: {key:?}");
    }
    println!(
        "{collected} parcels brought and collected, {} doors opened, each by a command on disk",
        locker.opened()
    );
    check(&setup, &killed, &figures);
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_over_mqtt_3_loses_nothing_acknowledged() {
    let mut setup = Setup::new();
    let gateway = setup.start();
    let running = load(&setup, Version::V311, Promise::Puback);
    let (killed, gateway) = kill_under_load(&mut setup, gateway, &running, kills(1), 2).await;
    let figures = end(running).await;
    gateway.stop();
    check(&setup, &killed, &figures);
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_behind_an_external_broker_loses_nothing_receipted() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    let mut setup = Setup::new();
    setup.external = Some(broker.address);
    let gateway = setup.start();
    let running = load(&setup, Version::V5, Promise::Receipt);
    let (killed, gateway) = kill_under_load(&mut setup, gateway, &running, kills(1), 3).await;
    let figures = end(running).await;
    gateway.stop();
    check(&setup, &killed, &figures);
}

fn load(setup: &Setup, version: Version, promise: Promise) -> Running {
    let logins = setup.devices.iter().map(|device| Login {
        device: ident(device),
        password: None,
    });
    let mut load = Load::new(setup.address(), logins.collect());
    load.version = version;
    load.promise = promise;
    load.window = 20;
    load.until = Until::Stopped;
    load.record = Some(setup.dir.path().join("acknowledged"));
    load.drain = Duration::from_secs(30);
    load.start().unwrap()
}

async fn end(running: Running) -> Figures {
    running.stop();
    running.finish().await.unwrap()
}

/// How often it was killed.
struct Killed {
    in_all: u32,
    while_starting: u32,
    took: Duration,
}

/// Kills the daemon `times` times; the one that runs at the end has taken events.
async fn kill_under_load(
    setup: &mut Setup,
    mut gateway: common::Gateway,
    running: &Running,
    times: u32,
    salt: u64,
) -> (Killed, common::Gateway) {
    let (mut dice, began) = (Dice::new(salt), Instant::now());
    let (mut in_all, mut while_starting) = (0, 0);
    while in_all < times {
        some_more(running, 1 + dice.below(300)).await;
        gateway.kill();
        in_all += 1;
        while in_all < times && dice.below(2) == 0 {
            let mut child = setup.spawn();
            tokio::time::sleep(Duration::from_millis(dice.below(STARTING_MS))).await;
            let early = child.try_wait().unwrap();
            assert_eq!(early, None, "it ended by itself: {}", setup.log_text());
            child.kill().unwrap();
            child.wait().unwrap();
            in_all += 1;
            while_starting += 1;
        }
        gateway = tokio::task::block_in_place(|| setup.start());
    }
    some_more(running, 200).await;
    let killed = Killed {
        in_all,
        while_starting,
        took: began.elapsed(),
    };
    (killed, gateway)
}

async fn some_more(running: &Running, events: u64) {
    let at_least = running.acknowledged() + events;
    wait_until("some events to be acknowledged", async || {
        (running.acknowledged() >= at_least).then_some(())
    })
    .await;
}

/// Holds the store to the client's own record.
fn check(setup: &Setup, killed: &Killed, figures: &Figures) {
    let stored = setup.stored();
    let twice: Vec<_> = stored.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "stored twice: {twice:?}");
    let mut acknowledged = 0;
    let record = setup.dir.path().join("acknowledged");
    for ((device, boot), seqs) in read_record(&record).unwrap() {
        for seq in seqs {
            acknowledged += 1;
            let key = (device.clone(), boot, seq);
            assert!(stored.contains_key(&key), "acknowledged and gone: {key:?}");
        }
    }
    assert!(acknowledged >= 200, "the load was no load: {figures:?}");
    let log = setup.log_text();
    assert!(!log.contains("panicked"), "{log}");
    println!(
        "{} kills, {} of them while it started; {acknowledged} acknowledged, {} stored, {} sent again; {:.0?}",
        killed.in_all,
        killed.while_starting,
        stored.len(),
        figures.resent,
        killed.took,
    );
}
