//! The sync client against things that answer HTTP but aren't a good cloud. Whatever they say, nothing
//! counts as acknowledged that isn't, nobody is hammered, and a person is told what to do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
#[path = "sync/gateway.rs"]
mod gateway;
#[allow(dead_code)]
#[path = "sync/ledger.rs"]
mod ledger;
#[allow(dead_code)]
#[path = "sync/strange_cloud.rs"]
mod strange_cloud;

use std::sync::Arc;
use std::time::Duration;

use cloud_protocol::{Acked, BODY_MAX_BYTES, Batch, CBOR, JSON, Lane, PROBLEM_JSON};
use firmware_protocols::Value;
use gateway::{Sync, config, patient};
use ledger::Memory;
use linli::cloud::CloudConfig;
use strange_cloud::{Answer, Asked, StrangeCloud, answer, no_news};

fn batch(asked: &Asked) -> Batch {
    Batch::from_value(&Value::from_cbor(&asked.body).unwrap()).unwrap()
}

/// The answer of a good cloud.
fn taken(batch: &Batch) -> Answer {
    let last = |(lane, part): (&Lane, &cloud_protocol::LaneBatch)| {
        (*lane, part.after + part.items.len() as u64)
    };
    let acked = Acked(batch.lanes.iter().map(last).collect());
    answer(200, CBOR, acked.to_value().to_cbor())
}

fn some_of_each() -> Arc<Memory> {
    let ledger = Arc::new(Memory::default());
    ledger.add_parcels(3);
    ledger.add_health(1);
    ledger.add_demand(1);
    ledger
}

#[tokio::test]
async fn what_is_no_cloud_is_named_and_acknowledges_nothing() {
    let redirect = || Answer {
        status: 302,
        headers: "location: http://127.0.0.1:9/\r\n".to_string(),
        body: Vec::new(),
    };
    type Case = (fn() -> Answer, &'static str);
    let cases: [Case; 6] = [
        (
            || answer(200, "text/html", "<html>log in</html>"),
            "what answers isn't the cloud: a web page",
        ),
        (
            || answer(200, JSON, "{"),
            "the cloud's answer can't be read: not well-formed JSON",
        ),
        (|| answer(200, JSON, r#"{"ok":true}"#), "the cloud's "),
        (
            || answer(200, JSON, vec![b' '; BODY_MAX_BYTES + 1]),
            "the cloud's answer is over 1048576 bytes",
        ),
        (
            || answer(204, JSON, ""),
            "what answers isn't the cloud: HTTP 204",
        ),
        (
            || answer(404, "text/plain", "nothing here"),
            "the cloud refuses: Not Found (HTTP 404)",
        ),
    ];
    for (say, words) in cases {
        let cloud = StrangeCloud::that(move |_| say()).await;
        expect_odd(&cloud, words).await;
    }
    let cloud = StrangeCloud::that(move |_| redirect()).await;
    expect_odd(
        &cloud,
        "what answers isn't the cloud: it sends elsewhere to 127.0.0.1 (HTTP 302 Found)",
    )
    .await;
}

async fn expect_odd(cloud: &StrangeCloud, words: &str) {
    let ledger = some_of_each();
    let sync = Sync::start(patient(&cloud.url()), &ledger);
    sync.until(words, |s| {
        s.uplink.failures == 1 && s.downlink.failures == 1
    })
    .await;
    let status = sync.status();
    for direction in [status.uplink, status.downlink] {
        let error = direction.last_error.unwrap();
        assert!(error.starts_with(words), "{error}");
        assert!(
            direction.remedy.unwrap().starts_with("check the"),
            "{error}"
        );
    }
    assert_eq!(ledger.acked(Lane::Fulfilment), 0);
    sync.stop().await;
}

/// A cloud that refuses a batch without naming the lane: the lanes are tried alone, the bad one is held.
#[tokio::test]
async fn an_unnamed_refusal_is_traced_to_its_lane() {
    let cloud = StrangeCloud::that(|asked| {
        if !asked.is_uplink() {
            return no_news();
        }
        let batch = batch(asked);
        if batch.lanes.contains_key(&Lane::Demand) {
            return answer(400, PROBLEM_JSON, r#"{"title":"I don't understand"}"#);
        }
        taken(&batch)
    })
    .await;
    let ledger = some_of_each();
    let sync = Sync::start(patient(&cloud.url()), &ledger);
    sync.until("demand is held", |s| s.held.len() == 1).await;
    assert_eq!(sync.status().held[0].lane, "demand");
    ledger.add_parcels(2);
    gateway::until("the others go on", || {
        ledger.acked(Lane::Fulfilment) == 5 && ledger.acked(Lane::Health) == 1
    })
    .await;
    assert_eq!(ledger.acked(Lane::Demand), 0);
    sync.stop().await;
}

/// A cloud with a smaller bound than the contract's: batches are halved until they fit.
#[tokio::test]
async fn batches_become_as_small_as_the_cloud_wants() {
    let cloud = StrangeCloud::that(|asked| {
        if !asked.is_uplink() {
            return no_news();
        }
        match asked.body.len() {
            0..2000 => taken(&batch(asked)),
            _ => answer(
                413,
                PROBLEM_JSON,
                r#"{"type":"urn:linli:problem:too-large","status":413}"#,
            ),
        }
    })
    .await;
    let ledger = Arc::new(Memory::default());
    ledger.add_parcels(300);
    let sync = Sync::start(config(&cloud.url()), &ledger);
    sync.all_acked().await;
    assert!(sync.status().held.is_empty());
    sync.stop().await;
}

/// One item that alone is too large: its lane is held, the others go on.
#[tokio::test]
async fn an_item_too_large_for_the_cloud_holds_its_lane() {
    let cloud = StrangeCloud::that(|asked| {
        if !asked.is_uplink() {
            return no_news();
        }
        let batch = batch(asked);
        if batch.lanes.contains_key(&Lane::Demand) {
            return answer(
                413,
                PROBLEM_JSON,
                r#"{"type":"urn:linli:problem:too-large","status":413}"#,
            );
        }
        taken(&batch)
    })
    .await;
    let ledger = some_of_each();
    let sync = Sync::start(patient(&cloud.url()), &ledger);
    sync.until("demand is held", |s| s.held.len() == 1).await;
    gateway::until("the others go on", || {
        ledger.acked(Lane::Fulfilment) == 3 && ledger.acked(Lane::Health) == 1
    })
    .await;
    sync.stop().await;
}

/// The cloud claims to have more than this store ever made: the store is an old copy.
#[tokio::test]
async fn a_cloud_that_has_more_than_was_made_is_a_problem_of_the_lane() {
    let cloud = StrangeCloud::that(|asked| match asked.is_uplink() {
        true => answer(
            200,
            JSON,
            r#"{"acked":{"fulfilment":99,"health":1,"demand":1}}"#,
        ),
        false => no_news(),
    })
    .await;
    let ledger = some_of_each();
    let sync = Sync::start(patient(&cloud.url()), &ledger);
    sync.until("fulfilment is held", |s| s.held.len() == 1)
        .await;
    let held = sync.status().held.remove(0);
    assert_eq!(
        held.what,
        "the cloud has fulfilment items up to 99, this store made only 3"
    );
    gateway::until("the others go on", || ledger.acked(Lane::Demand) == 1).await;
    assert_eq!(ledger.acked(Lane::Fulfilment), 0);
    sync.stop().await;
}

/// Answers that invite a busy loop: a cloud that takes nothing, one that never waits.
#[tokio::test]
async fn nobody_is_hammered() {
    let cloud = StrangeCloud::that(|asked| match asked.is_uplink() {
        true => answer(200, JSON, r#"{"acked":{}}"#),
        false => no_news(),
    })
    .await;
    let ledger = some_of_each();
    let config = CloudConfig {
        wait: Duration::from_secs(50),
        ..patient(&cloud.url())
    };
    let sync = Sync::start(config, &ledger);
    // The uplink has two tracks.
    sync.until("all have asked", |s| {
        s.uplink.failures == 1 && cloud.uplinks() == 2 && cloud.polls() >= 2
    })
    .await;
    for _ in 0..50 {
        ledger.add_health(1);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((cloud.uplinks(), cloud.polls()), (2, 2));
    sync.stop().await;
}

/// A refused lane is tried again with growing pauses, however often the nudge comes.
#[tokio::test]
async fn a_held_lane_is_not_tried_at_every_nudge() {
    let cloud = StrangeCloud::that(|asked| match asked.is_uplink() {
        true => answer(
            409,
            PROBLEM_JSON,
            r#"{"type":"urn:linli:problem:fork","status":409,"lane":"fulfilment"}"#,
        ),
        false => no_news(),
    })
    .await;
    let ledger = Arc::new(Memory::default());
    let sync = Sync::start(patient(&cloud.url()), &ledger);
    ledger.add_parcels(1);
    sync.until("it is held", |s| s.held.len() == 1).await;
    for _ in 0..50 {
        ledger.add_parcels(1);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(cloud.uplinks(), 1);
    sync.stop().await;
}

/// Known items in an answer are left out; an answer out of order is refused as a whole.
#[tokio::test]
async fn a_downlink_that_repeats_itself_is_taken_once() {
    let cloud = StrangeCloud::that(|asked| match asked.is_uplink() {
        true => answer(500, JSON, ""),
        false => answer(
            200,
            JSON,
            r#"{"items":[{"seq":1,"kind":"code.reissue","parcel":"P"},{"seq":2,"kind":"code.reissue","parcel":"P"}]}"#,
        ),
    })
    .await;
    let ledger = Arc::new(Memory::default());
    let sync = Sync::start(patient(&cloud.url()), &ledger);
    sync.until("it is refused", |s| s.downlink.failures == 1)
        .await;
    assert_eq!(ledger.taken().len(), 2);
    assert_eq!(
        sync.status().downlink.last_error.unwrap(),
        "the cloud's downlink is out of order: it sends only what was asked to be left out"
    );
    sync.stop().await;
}

/// The URL says https, but what listens doesn't speak TLS.
#[tokio::test]
async fn a_cloud_without_tls_is_named() {
    let cloud = StrangeCloud::that(|_| no_news()).await;
    let ledger = some_of_each();
    let url = format!("https://{}", cloud.address);
    let sync = Sync::start(patient(&url), &ledger);
    sync.until("it notices", |s| s.uplink.failures == 1).await;
    let uplink = sync.status().uplink;
    let error = uplink.last_error.unwrap();
    assert!(
        error.starts_with(&format!(
            "what listens on {} doesn't speak TLS",
            cloud.address
        )),
        "{error}"
    );
    assert!(uplink.remedy.unwrap().contains("captive portal"));
    assert_eq!(cloud.asked().len(), 0);
    sync.stop().await;
}
