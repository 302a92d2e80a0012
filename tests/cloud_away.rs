//! The cloud away and back, the answers lost, the daemon killed in between: every state of every
//! parcel reaches the cloud, once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use cloud_protocol::Lane;
use cloud_protocol::downlink::{ExpectedParcel, Size, Zone};
use cloud_protocol::uplink::ParcelState;
use common::{Setup, ident, wait_until};
use reference_cloud::{Cloud, Config};

fn parcel(n: u32) -> ExpectedParcel {
    ExpectedParcel {
        parcel: format!("p-{n}"),
        recipient: format!("r-{n}"),
        size: Size::S,
        zone: Zone::Ambient,
        point: ident("bank-a"),
        deadline: 4_000_000_000_000,
        consent: true,
        items: None,
        low: false,
        return_of: None,
    }
}

/// Waits until the cloud knows these parcels as expected, with a code each.
async fn announced(cloud: &Cloud, upto: u32) {
    let site = ident("test-site");
    wait_until(
        "the cloud to have every parcel's state and code",
        async || {
            let parcels = cloud.parcels(&site).await.unwrap();
            let known = parcels
                .iter()
                .filter(|p| p.state == Some(ParcelState::Expected) && p.code.is_some())
                .count();
            (known == upto as usize).then_some(())
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_when_the_cloud_comes_and_goes() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let site = ident("test-site");
    let mut setup = Setup::new();
    setup.cloud = Some(cloud.url());
    let gateway = tokio::task::block_in_place(|| setup.start());
    for n in 1..=10 {
        cloud.announce(&site, &parcel(n)).await.unwrap();
    }
    announced(&cloud, 10).await;

    // Away: what the cloud has to say waits there, what the gateway has to say waits here.
    cloud.faults().set_reachable(false);
    for n in 11..=30 {
        cloud.announce(&site, &parcel(n)).await.unwrap();
    }
    cloud.faults().lose_next_answers(2);
    cloud.faults().set_reachable(true);
    announced(&cloud, 30).await;

    // Killed with items under way, and started again.
    cloud.faults().lose_next_answers(1);
    for n in 31..=60 {
        cloud.announce(&site, &parcel(n)).await.unwrap();
    }
    gateway.kill();
    let gateway = tokio::task::block_in_place(|| setup.start());
    announced(&cloud, 60).await;

    let lanes = cloud.lanes(&site).await.unwrap();
    let fulfilment = &lanes.lanes[&Lane::Fulfilment];
    assert_eq!(fulfilment.items, 60, "one item a parcel: {fulfilment:?}");
    assert_eq!(fulfilment.last, 60);
    // The gateway knows that the cloud has everything.
    wait_until("the last acknowledgement", async || {
        let sync = setup.json(&["sync"]);
        sync.to_string().contains("\"acked_seq\":60").then_some(())
    })
    .await;
    // Each step once in the history, over the kill too.
    let history = setup.json(&["audit", "verify"]);
    assert_eq!(history["unbroken"], true, "{history}");
    assert!(history["entries"].as_u64().unwrap() >= 120, "{history}");
    gateway.stop();
    cloud.shutdown().await;
}
