//! kill -9 under load, in both broker modes: no acknowledged event missing, none twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::mosquitto::Mosquitto;
use common::{Setup, ident, wait_until};
use simulator::load::{Until, read_record};
use simulator::{Load, Login, Promise, Version};

/// How often the daemon is killed in one run. Heavy runs set more.
fn kills() -> u32 {
    let more = std::env::var("LINLI_KILLS")
        .ok()
        .and_then(|n| n.parse().ok());
    more.unwrap_or(4)
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_broker_kill_9_loses_nothing_acknowledged() {
    for version in [Version::V5, Version::V311] {
        let mut setup = Setup::new();
        kill_under_load(&mut setup, version, Promise::Puback).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn external_broker_kill_9_loses_nothing_receipted() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    let mut setup = Setup::new();
    setup.external = Some(broker.address);
    kill_under_load(&mut setup, Version::V5, Promise::Receipt).await;
}

async fn kill_under_load(setup: &mut Setup, version: Version, promise: Promise) {
    let record = setup.dir.path().join("acknowledged");
    let mut gateway = setup.start();
    let logins = setup.devices.iter().map(|device| Login {
        device: ident(device),
        password: None,
    });
    let mut load = Load::new(setup.address(), logins.collect());
    load.version = version;
    load.promise = promise;
    load.window = 20;
    load.until = Until::Stopped;
    load.record = Some(record.clone());
    load.drain = Duration::from_secs(30);
    let running = load.start().unwrap();
    for _ in 0..kills() {
        let at_least = running.acknowledged() + 500;
        wait_until("some events to be acknowledged", async || {
            (running.acknowledged() >= at_least).then_some(())
        })
        .await;
        gateway.kill();
        gateway = setup.start();
    }
    let at_least = running.acknowledged() + 200;
    wait_until("events after the last start", async || {
        (running.acknowledged() >= at_least).then_some(())
    })
    .await;
    running.stop();
    let figures = running.finish().await.unwrap();
    gateway.stop();

    let stored = setup.stored();
    let twice: Vec<_> = stored.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "stored twice: {twice:?}");
    let mut acknowledged = 0;
    for ((device, boot), seqs) in read_record(&record).unwrap() {
        for seq in seqs {
            acknowledged += 1;
            let key = (device.clone(), boot, seq);
            assert!(stored.contains_key(&key), "acknowledged and gone: {key:?}");
        }
    }
    assert!(acknowledged >= 700, "the load was no load: {figures:?}");
    println!(
        "{acknowledged} acknowledged over {} kills, {} stored, {} sent again",
        kills(),
        stored.len(),
        figures.resent
    );
}
