//! The sync client against the real reference cloud over real HTTP.
//!
//! The faults: the cloud refuses and resets connections, loses answers after taking a batch, answers
//! 500 or 429; the ledger fails. The promise: every item is at the cloud once and in order, every
//! downlink item at the ledger once and in order, as soon as the cloud is there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
#[path = "sync/gateway.rs"]
mod gateway;
#[allow(dead_code)]
#[path = "sync/ledger.rs"]
mod ledger;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cloud_protocol::uplink::ParcelState;
use cloud_protocol::{Batch, Downlink, Lane, LaneBatch, SealingKey};
use firmware_protocols::Form;
use gateway::{Papers, Sync, config, ident, patient, until};
use ledger::{EPOCH, Memory};
use linli::cloud::{CloudConfig, ConfigError, Ledger as _, Seal};
use reference_cloud::{Cloud, Config, Refusal};

async fn cloud() -> Cloud {
    reference_cloud::serve(Config::in_memory()).await.unwrap()
}

fn cancelled(n: u64) -> Downlink {
    Downlink::ParcelCancelled {
        parcel: format!("P-{n}"),
    }
}

/// What the cloud has of a lane: items stored, last number, duplicates seen.
async fn has(cloud: &Cloud, lane: Lane) -> (u64, u64, u64) {
    let lanes = cloud.lanes(&ident("estate-1")).await.unwrap().lanes;
    let view = lanes.get(&lane).copied().unwrap_or_default();
    (view.items, view.last, view.duplicates)
}

#[tokio::test]
async fn everything_reaches_the_cloud_once_in_both_encodings() {
    for form in [Form::Cbor, Form::Json] {
        let cloud = cloud().await;
        let ledger = Arc::new(Memory::default());
        ledger.add_parcels(1234);
        ledger.add_health(1);
        ledger.add_demand(1);
        let config = CloudConfig {
            form,
            batch_items: 100,
            ..config(&cloud.url())
        };
        let sync = Sync::start(config, &ledger);
        sync.all_acked().await;
        assert_eq!(has(&cloud, Lane::Fulfilment).await, (1234, 1234, 0));
        assert_eq!(has(&cloud, Lane::Health).await, (1, 1, 0));
        assert_eq!(has(&cloud, Lane::Demand).await, (1, 1, 0));
        sync.until("the status shows it", |s| s.items_sent == 1236)
            .await;
        let status = sync.status();
        assert_eq!(status.acked["fulfilment"], 1234);
        // Parcels by the hundred; health and demand on their own track.
        assert!((14..=15).contains(&status.batches_sent));
        assert!(status.connected_since_ms.is_some() && status.uplink.last_success_ms.is_some());
        // Packed, and each with a signed head.
        assert!(status.bytes_sent > 14 * 400);
        sync.stop().await;
    }
}

#[tokio::test]
async fn a_nudge_sends_at_once() {
    let cloud = cloud().await;
    let ledger = Arc::new(Memory::default());
    let sync = Sync::start(config(&cloud.url()), &ledger);
    sync.until("connected", |s| s.connected_since_ms.is_some())
        .await;
    for n in 1..=5 {
        let started = Instant::now();
        ledger.add_parcels(1);
        until("it is acknowledged", || ledger.acked(Lane::Fulfilment) == n).await;
        assert!(
            started.elapsed() < Duration::from_secs(1),
            "{:?}",
            started.elapsed()
        );
    }
    sync.stop().await;
}

#[tokio::test]
async fn a_cloud_that_goes_and_comes_loses_and_doubles_nothing() {
    let cloud = cloud().await;
    let ledger = Arc::new(Memory::default());
    let config = CloudConfig {
        batch_items: 20,
        ..config(&cloud.url())
    };
    let sync = Sync::start(config, &ledger);
    let mut pushed = 0;
    for outage in 0..12 {
        ledger.add_parcels(150);
        ledger.add_health(outage);
        for _ in 0..7 {
            pushed += 1;
            cloud
                .push(&ident("estate-1"), &cancelled(pushed))
                .await
                .unwrap();
        }
        if outage % 3 == 0 {
            cloud.faults().lose_next_answers(2);
        }
        let some = ledger.acked(Lane::Fulfilment) + 30;
        until("it gets on", || ledger.acked(Lane::Fulfilment) >= some).await;
        cloud.faults().set_reachable(false);
        ledger.add_parcels(10);
        sync.until("it notices", |s| s.uplink.failures > 0).await;
        cloud.faults().set_reachable(true);
    }
    sync.all_acked().await;
    until("the downlink is through", || ledger.taken().len() >= 84).await;
    let (items, last, duplicates) = has(&cloud, Lane::Fulfilment).await;
    assert_eq!((items, last), (1920, 1920));
    assert!(duplicates > 0, "lost answers made it send again");
    assert_eq!(cloud.parcels(&ident("estate-1")).await.unwrap().len(), 1920);
    let numbers: Vec<_> = ledger.taken().iter().map(|item| item.seq).collect();
    assert_eq!(numbers, (1..=84).collect::<Vec<_>>());
    sync.stop().await;
}

#[tokio::test]
async fn lost_answers_cost_a_resend_and_nothing_else() {
    let cloud = cloud().await;
    let ledger = Arc::new(Memory::default());
    ledger.add_parcels(40);
    cloud.faults().lose_next_answers(5);
    let sync = Sync::start(config(&cloud.url()), &ledger);
    sync.all_acked().await;
    assert_eq!(has(&cloud, Lane::Fulfilment).await, (40, 40, 5 * 40));
    sync.stop().await;
}

#[tokio::test]
async fn an_unwell_cloud_is_left_alone_and_tried_again() {
    let cloud = cloud().await;
    let ledger = Arc::new(Memory::default());
    ledger.add_parcels(3);
    for status in [500, 503, 408] {
        cloud.faults().answer_with(Some(Refusal {
            status,
            retry_after_s: None,
        }));
        let sync = Sync::start(config(&cloud.url()), &ledger);
        sync.until("some failures", |s| {
            s.uplink.failures >= 3 && s.downlink.failures >= 3
        })
        .await;
        let error = sync.status().uplink.last_error.unwrap();
        assert_eq!(
            error,
            format!("the cloud is busy or unwell: The cloud is unwell (HTTP {status})")
        );
        assert_eq!(ledger.acked(Lane::Fulfilment), 0);
        sync.stop().await;
    }
    cloud.faults().answer_with(None);
    let sync = Sync::start(config(&cloud.url()), &ledger);
    sync.all_acked().await;
    sync.until("the failures are over", |s| s.uplink.failures == 0)
        .await;
    sync.stop().await;
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let cloud = cloud().await;
    let ledger = Arc::new(Memory::default());
    ledger.add_parcels(3);
    cloud.faults().answer_with(Some(Refusal {
        status: 429,
        retry_after_s: Some(2),
    }));
    let asked = Instant::now();
    let sync = Sync::start(config(&cloud.url()), &ledger);
    sync.until("one was told, which holds all", |s| {
        s.uplink.failures + s.downlink.failures >= 1 && s.line.quiet_until_ms.is_some()
    })
    .await;
    cloud.faults().answer_with(None);
    ledger.nudge.notify_one();
    sync.all_acked().await;
    assert!(
        asked.elapsed() >= Duration::from_secs(2),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(sync.status().uplink.failures, 0);
    sync.stop().await;
}

#[tokio::test]
async fn a_long_poll_delivers_within_a_second() {
    let cloud = cloud().await;
    let ledger = Arc::new(Memory::default());
    let sync = Sync::start(config(&cloud.url()), &ledger);
    for n in 1..=5 {
        until("the long poll waits", || cloud.long_polls() == 1).await;
        let pushed = Instant::now();
        cloud.push(&ident("estate-1"), &cancelled(n)).await.unwrap();
        let n = usize::try_from(n).unwrap();
        until("it is taken", || ledger.taken().len() == n).await;
        assert!(
            pushed.elapsed() < Duration::from_secs(1),
            "{:?}",
            pushed.elapsed()
        );
    }
    sync.until("the cursor is shown", |s| s.downlink_cursor == 5)
        .await;
    assert_eq!(sync.status().items_received, 5);
    sync.stop().await;
}

/// The pauses here last for minutes: it is the opening of the way that brings both loops back.
#[tokio::test]
async fn when_the_network_returns_it_goes_on_at_once() {
    let cloud = cloud().await;
    cloud.faults().set_reachable(false);
    let ledger = Arc::new(Memory::default());
    ledger.add_parcels(3);
    let sync = Sync::start(patient(&cloud.url()), &ledger);
    sync.until("both notice", |s| {
        s.uplink.failures == 1 && s.downlink.failures == 1
    })
    .await;
    let status = sync.status();
    assert_eq!(status.connected_since_ms, None);
    let host = cloud.address();
    let error = status.uplink.last_error.unwrap();
    assert!(
        error.starts_with(&format!("cannot connect to {host}: ")),
        "{error}"
    );
    let returned = Instant::now();
    cloud.faults().set_reachable(true);
    sync.all_acked().await;
    sync.until("both are back", |s| {
        s.uplink.failures == 0 && s.downlink.failures == 0
    })
    .await;
    assert!(
        returned.elapsed() < Duration::from_secs(8),
        "{:?}",
        returned.elapsed()
    );
    sync.stop().await;
}

#[tokio::test]
async fn shutdown_sends_what_waits_and_leaves_the_long_poll() {
    let cloud = cloud().await;
    let ledger = Arc::new(Memory::default());
    let sync = Sync::start(config(&cloud.url()), &ledger);
    until("the long poll waits", || cloud.long_polls() == 1).await;
    ledger.add_parcels(1500);
    let took = sync.stop().await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(ledger.all_acked());
    assert_eq!(has(&cloud, Lane::Fulfilment).await, (1500, 1500, 0));
}

#[tokio::test]
async fn shutdown_does_not_wait_for_a_cloud_that_is_away() {
    let cloud = cloud().await;
    cloud.faults().set_reachable(false);
    let ledger = Arc::new(Memory::default());
    ledger.add_parcels(10);
    let sync = Sync::start(patient(&cloud.url()), &ledger);
    sync.until("it notices", |s| s.uplink.failures == 1).await;
    assert!(sync.stop().await < Duration::from_millis(500));
}

/// Another gateway under the same name: its lane stops and is shown, the others go on.
#[tokio::test]
async fn a_fork_stops_its_lane_only() {
    let cloud = cloud().await;
    let other = Arc::new(Memory::default());
    other.add_parcel("OTHER", ParcelState::Expected);
    let sync = Sync::start(config(&cloud.url()), &other);
    sync.all_acked().await;
    sync.stop().await;

    let ledger = Arc::new(Memory::default());
    ledger.add_parcels(3);
    ledger.add_health(1);
    let sync = Sync::start(patient(&cloud.url()), &ledger);
    for n in 1..=3 {
        until("health goes on", || ledger.acked(Lane::Health) == n).await;
        ledger.add_health(n);
    }
    sync.until("the fork is shown", |s| s.held.len() == 1).await;
    let held = sync.status().held.remove(0);
    assert_eq!(held.lane, "fulfilment");
    assert!(
        held.what.starts_with("The gateway's history differs"),
        "{}",
        held.what
    );
    assert!(held.remedy.starts_with("two gateways send under this name"));
    assert_eq!(ledger.acked(Lane::Fulfilment), 0);
    assert_eq!(has(&cloud, Lane::Fulfilment).await, (1, 1, 0));
    sync.stop().await;
}

/// The cloud lost what it had acknowledged: a gap. When it has it again, the lane goes on by itself.
#[tokio::test]
async fn a_gap_holds_its_lane_until_it_is_filled() {
    let cloud = cloud().await;
    let ledger = Arc::new(Memory::default());
    ledger.add_parcels(5);
    let whole = ledger.next_batch(linli::cloud::BatchLimits {
        items: 5,
        bytes: 1 << 20,
        held: Vec::new(),
        seal: Seal {
            key: SealingKey {
                id: "k".to_string(),
                public_key: [9; 32],
            },
            gateway: ident("estate-1"),
        },
        demand_minutes: None,
    });
    let whole = whole.await.unwrap().unwrap();
    let lanes = [(Lane::Fulfilment, 4)].into();
    linli::cloud::Ledger::acked(&*ledger, EPOCH, cloud_protocol::Acked(lanes))
        .await
        .unwrap();
    let papers = enrolled(&cloud).await;
    let sync = Sync::start_with(&papers, config(&cloud.url()), &ledger);
    sync.until("the gap is shown", |s| s.held.len() == 1).await;
    let held = sync.status().held.remove(0);
    assert_eq!(
        held.what,
        "Items are missing: the batch starts after 4, the last item here is 0"
    );

    papers.post(&cloud.url(), &first(&whole, 4)).await;
    sync.all_acked().await;
    sync.until("nothing is held", |s| s.held.is_empty()).await;
    sync.stop().await;
}

/// The first items of a batch.
fn first(batch: &Batch, items: usize) -> Batch {
    let mut part: LaneBatch = batch.lanes[&Lane::Fulfilment].clone();
    part.items.truncate(items);
    let lanes = [(Lane::Fulfilment, part)].into();
    Batch {
        epoch: batch.epoch,
        lanes,
    }
}

/// Enrolled at the cloud, with nothing sent.
async fn enrolled(cloud: &Cloud) -> Arc<Papers> {
    let sync = Sync::start(config(&cloud.url()), &Arc::new(Memory::default()));
    sync.until("it is enrolled", |s| s.connected_since_ms.is_some())
        .await;
    let papers = Arc::clone(&sync.papers);
    sync.stop().await;
    papers
}

#[tokio::test]
async fn an_old_store_is_told_so_and_the_downlink_goes_on() {
    let cloud = cloud().await;
    let newer = Batch {
        epoch: EPOCH + 1,
        lanes: Default::default(),
    };
    let papers = enrolled(&cloud).await;
    papers.post(&cloud.url(), &newer).await;

    let ledger = Arc::new(Memory::default());
    ledger.add_parcels(2);
    let sync = Sync::start_with(&papers, config(&cloud.url()), &ledger);
    sync.until("it is told", |s| s.uplink.remedy.is_some())
        .await;
    let uplink = sync.status().uplink;
    assert!(uplink.remedy_since_ms.is_some());
    assert!(
        uplink
            .last_error
            .unwrap()
            .contains("the last known is 1760000001")
    );
    assert!(
        uplink
            .remedy
            .unwrap()
            .contains("stop the gateway that runs on the old copy")
    );
    cloud.push(&ident("estate-1"), &cancelled(1)).await.unwrap();
    until("the downlink goes on", || ledger.taken().len() == 1).await;
    sync.stop().await;
}

/// Over 1 MiB at once: the cloud would refuse it, so it is halved before it is sent.
#[tokio::test]
async fn a_batch_over_the_bound_is_halved() {
    let cloud = cloud().await;
    let ledger = Arc::new(Memory::default());
    for i in 0..6000 {
        ledger.add_parcel(&format!("{i:0>128}"), ParcelState::Expected);
    }
    let config = CloudConfig {
        batch_items: 10_000,
        batch_bytes: 8 * 1024 * 1024,
        ..config(&cloud.url())
    };
    let sync = Sync::start(config, &ledger);
    sync.all_acked().await;
    assert_eq!(has(&cloud, Lane::Fulfilment).await, (6000, 6000, 0));
    assert!(sync.status().held.is_empty());
    sync.stop().await;
}

#[tokio::test]
async fn a_ledger_that_fails_is_asked_again() {
    let cloud = cloud().await;
    let ledger = Arc::new(Memory::default());
    ledger.broken.store(true, Ordering::SeqCst);
    ledger.add_parcels(2);
    cloud.push(&ident("estate-1"), &cancelled(1)).await.unwrap();
    let sync = Sync::start(config(&cloud.url()), &ledger);
    sync.until("both are told", |s| {
        s.uplink.failures >= 2 && s.downlink.failures >= 2
    })
    .await;
    let error = sync.status().uplink.last_error.unwrap();
    assert_eq!(
        error,
        "the gateway's own store can't answer: broken for the test"
    );
    ledger.broken.store(false, Ordering::SeqCst);
    sync.all_acked().await;
    until("the downlink is taken", || ledger.taken().len() == 1).await;
    sync.stop().await;
}

/// Many items, more than an answer holds, and one that nobody can read: in order, once, all of them.
#[tokio::test]
async fn the_downlink_catches_up_in_order() {
    let cloud = cloud().await;
    for n in 1..=250 {
        let item = match n {
            77 => firmware_protocols::value::map([("kind", Some("weather".into()))]),
            _ => cloud_protocol::DownlinkItem {
                seq: n,
                what: Ok(cancelled(n)),
            }
            .to_value(),
        };
        cloud.push_value(&ident("estate-1"), item).await.unwrap();
    }
    let ledger = Arc::new(Memory::default());
    let sync = Sync::start(config(&cloud.url()), &ledger);
    until("all are taken", || ledger.taken().len() >= 250).await;
    for (n, item) in (1..=250).zip(ledger.taken()) {
        assert_eq!(item.seq, n);
        assert_eq!(item.what.is_err(), n == 77);
    }
    sync.stop().await;
}

#[tokio::test]
async fn plain_http_over_a_network_is_refused_before_anything_is_sent() {
    let e = CloudConfig::new("http://192.168.1.9:8470", ident("estate-1"), "unused").unwrap_err();
    assert_eq!(e, ConfigError::PlainHttp("192.168.1.9".to_string()));
    assert!(
        e.to_string()
            .ends_with("but this one is on 192.168.1.9: use https")
    );
}
