//! The load generator against a real Mosquitto.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::gateway::Gateway;
use common::{Mosquitto, wait_for};
use firmware_protocols::{Form, Ident};
use simulator::load::{Until, read_record};
use simulator::{Load, Login, Promise, Tempo, Version};

fn logins(count: usize) -> Vec<Login> {
    (0..count)
        .map(|n| Login {
            device: Ident::new(&format!("door-{n}")).unwrap(),
            password: None,
        })
        .collect()
}

async fn silent(broker: &Mosquitto) -> Gateway {
    Gateway::start(broker.addr(), Tempo::real(), Arc::new(|_, _| None)).await
}

#[tokio::test]
async fn everything_published_is_acknowledged_recorded_and_arrives_in_both_versions() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    for (version, form) in [(Version::V311, Form::Json), (Version::V5, Form::Cbor)] {
        let gateway = silent(&broker).await;
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("record");
        let mut load = Load::new(broker.addr(), logins(4));
        (load.version, load.form) = (version, form);
        (load.window, load.per_payload) = (20, 3);
        load.until = Until::Events(500);
        load.record = Some(record.clone());
        let figures = load.run().await.unwrap();
        assert_eq!((figures.published, figures.acknowledged), (2_000, 2_000));
        assert_eq!((figures.lost, figures.resent, figures.refused), (0, 0, 0));
        let recorded = read_record(&record).unwrap();
        assert_eq!(recorded.len(), 4);
        for seqs in recorded.values() {
            assert_eq!(*seqs, (1..=500).collect::<Vec<u64>>());
        }
        wait_for("all events at the gateway", || {
            gateway.kept.lock().unwrap().events.len() == 2_000
        })
        .await;
    }
}

#[tokio::test]
async fn with_receipts_only_what_the_gateway_has_counts_also_after_a_power_cut_of_the_broker() {
    let Some(mut broker) = Mosquitto::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("record");
    let mut load = Load::new(broker.addr(), logins(3));
    load.promise = Promise::Receipt;
    load.window = 50;
    load.record = Some(record.clone());
    let gateway = silent(&broker).await;
    let running = load.start().unwrap();
    wait_for("some receipts", || running.acknowledged() > 1_000).await;
    broker.power_cut();
    let before = running.acknowledged();
    wait_for("more receipts", || running.acknowledged() > before + 1_000).await;
    running.stop();
    let figures = running.finish().await.unwrap();
    assert!(figures.lost >= 3, "{figures:?}");
    assert!(figures.resent > 0, "{figures:?}");
    assert_eq!(figures.published, figures.acknowledged, "{figures:?}");

    let kept = gateway.kept.lock().unwrap();
    let mut stored: BTreeMap<(String, u32), Vec<u64>> = BTreeMap::new();
    for (device, event) in &kept.events {
        let key = (device.to_string(), event.boot);
        stored.entry(key).or_default().push(event.seq);
    }
    for (key, seqs) in read_record(&record).unwrap() {
        let stored = stored.get_mut(&key).unwrap();
        stored.sort_unstable();
        assert_eq!(*stored, seqs, "each once, and in the record in order");
    }
}

#[tokio::test]
async fn a_rate_is_kept_and_a_stopped_load_ends() {
    let Some(broker) = Mosquitto::start() else {
        return;
    };
    let mut load = Load::new(broker.addr(), logins(2));
    load.rate = Some(400.0);
    load.until = Until::Elapsed(Duration::from_millis(500));
    let figures = load.run().await.unwrap();
    assert!((150..=202).contains(&figures.acknowledged), "{figures:?}");
}

#[tokio::test]
async fn nobody_at_home_is_a_lost_connection_not_a_hang() {
    let addr = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut load = Load::new(addr, logins(1));
    load.reconnect = false;
    let figures = load.run().await.unwrap();
    assert_eq!((figures.lost, figures.acknowledged), (1, 0));
}
