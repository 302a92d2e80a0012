//! The embedded broker on real sockets: what a device can rely on.
//!
//! Most tests write exact bytes; in [`libraries`] `rumqttc` does what devices' libraries do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../embedded/mod.rs"]
mod embedded;
mod libraries;
mod logins;

use std::time::{Duration, Instant};

use bytes::Bytes;
use embedded::*;
use firmware_protocols::topic::Channel;
use linli::links::ToDevice;

const BOTH: [Version; 2] = [Version::V3, Version::V5];
const EVENT: &str = "linli/v1/bank-a/event";
const STATUS: &str = "linli/v1/bank-a/status";

#[tokio::test(flavor = "multi_thread")]
async fn puback_waits_for_the_commit() {
    for version in BOTH {
        let broker = Broker::with(Recorder::shut(), |_| {}).await;
        let mut client = Client::login(broker.address, version, "bank-a").await;
        client.send(&publish(version, EVENT, 1, b"one")).await;
        until("the event has arrived", || {
            broker.intake.payloads().len() == 1
        })
        .await;
        assert!(
            client.is_silent(Duration::from_millis(200)).await,
            "acknowledged before the commit"
        );
        broker.intake.gate.add_permits(1);
        assert_eq!(client.packet().await.unwrap().puback_code(), 0);
        broker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_is_acknowledged_with_its_reason() {
    let broker = Broker::start().await;
    for (version, code) in [(Version::V3, 0), (Version::V5, 0x99)] {
        let mut client = Client::login(broker.address, version, "bank-a").await;
        client.send(&publish(version, EVENT, 1, b"malformed")).await;
        assert_eq!(client.packet().await.unwrap().puback_code(), code);
        client.send(&publish(version, EVENT, 1, b"fine")).await;
        assert_eq!(client.packet().await.unwrap().puback_code(), 0);
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_stays_with_the_device() {
    let broker = Broker::start().await;
    let mut five = Client::login(broker.address, Version::V5, "bank-a").await;
    five.send(&publish(Version::V5, EVENT, 1, b"full")).await;
    assert_eq!(five.packet().await.unwrap().puback_code(), 0x97);
    five.send(&publish(Version::V5, EVENT, 1, b"again")).await;
    assert_eq!(five.packet().await.unwrap().puback_code(), 0);

    let mut three = Client::login(broker.address, Version::V3, "bank-a").await;
    three.send(&publish(Version::V3, EVENT, 1, b"full")).await;
    assert_eq!(three.packet().await, None, "3.1.1: closed, never a PUBACK");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redelivered_event_is_handed_over_again() {
    let broker = Broker::start().await;
    for version in BOTH {
        let mut client = Client::login(broker.address, version, "bank-a").await;
        for first in [0x32, 0x3a, 0x3a] {
            client
                .send(&publish_with(
                    version,
                    EVENT.as_bytes(),
                    first,
                    7,
                    &[],
                    b"same",
                ))
                .await;
            assert_eq!(client.packet().await.unwrap().puback_code(), 0);
        }
    }
    assert_eq!(broker.intake.payloads().len(), 6);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn qos_0_is_taken_and_many_in_flight_are_answered_in_order() {
    let broker = Broker::start().await;
    for version in BOTH {
        let mut client = Client::login(broker.address, version, "bank-a").await;
        let mut burst = publish(version, EVENT, 0, b"zero");
        for id in 1..=60_u16 {
            burst.extend(publish_with(
                version,
                EVENT.as_bytes(),
                0x32,
                id,
                &[],
                b"one",
            ));
        }
        client.send(&burst).await;
        for id in 1..=60_u16 {
            let ack = client.packet().await.unwrap();
            assert_eq!(ack.puback_code(), 0);
            assert_eq!(ack.body[..2], id.to_be_bytes());
        }
    }
    assert_eq!(broker.intake.payloads().len(), 122);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn qos_2_follows_the_commit_in_3_1_1_and_is_announced_as_missing_in_5() {
    let broker = Broker::with(Recorder::shut(), |_| {}).await;
    let mut three = Client::login(broker.address, Version::V3, "bank-a").await;
    three.send(&publish(Version::V3, EVENT, 2, b"two")).await;
    until("the event has arrived", || {
        broker.intake.payloads().len() == 1
    })
    .await;
    assert!(three.is_silent(Duration::from_millis(100)).await);
    broker.intake.gate.add_permits(9);
    assert_eq!(three.packet().await.unwrap().first, 0x50);
    three.send(&[0x62, 2, 0, 7]).await;
    assert_eq!(three.packet().await.unwrap().first, 0x70);

    let mut five = Client::open(broker.address).await;
    five.send(&Connect::new(Version::V5, "bank-a").packet())
        .await;
    let welcome = five.packet().await.unwrap();
    assert!(
        welcome.body.windows(2).any(|two| two == [0x24, 1]),
        "Maximum QoS 1 in {welcome:?}"
    );
    five.send(&publish(Version::V5, EVENT, 2, b"two")).await;
    let farewell = five.packet().await.unwrap();
    assert_eq!((farewell.first, farewell.body[0]), (0xe0, 0x9b));
    assert!(five.is_closed().await);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_hears_events_and_none_is_retained() {
    let broker = Broker::start().await;
    for version in BOTH {
        let mut client = Client::login(broker.address, version, "bank-a").await;
        let refused = if version == Version::V5 { 0x87 } else { 0x80 };
        for filter in [
            EVENT,
            "linli/v1/bank-a/#",
            "linli/v1/bank-a/+",
            "#",
            "+/+/+/+",
            "linli/v1/door-1/command",
            "linli/v1/+/command",
            "$share/g/linli/v1/bank-a/command",
            "$SYS/#",
            "linli/v1/bank-a/command/x",
        ] {
            assert_eq!(client.subscribe(version, filter).await, refused, "{filter}");
        }
        client
            .send(&publish_with(
                version,
                EVENT.as_bytes(),
                0x33,
                7,
                &[],
                b"retain me",
            ))
            .await;
        assert_eq!(client.packet().await.unwrap().puback_code(), 0);
        for channel in ["command", "receipt", "status"] {
            assert_eq!(
                client
                    .subscribe(version, &format!("linli/v1/bank-a/{channel}"))
                    .await,
                1
            );
        }
        assert!(client.is_silent(Duration::from_millis(100)).await);
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_and_receipts_reach_who_has_subscribed() {
    let broker = Broker::start().await;
    for version in BOTH {
        let mut client = Client::login(broker.address, version, "bank-a").await;
        assert_eq!(
            client.subscribe(version, "linli/v1/bank-a/command").await,
            1
        );
        for (channel, expiry_ms) in [
            (Channel::Receipt, None),
            (Channel::Command, Some(0)),
            (Channel::Command, Some(9_500)),
        ] {
            let message = ToDevice {
                device: ident("bank-a"),
                channel,
                payload: Bytes::from_static(b"open"),
                expiry_ms,
                open: None,
            };
            broker.outbound.send(message).await.unwrap();
        }
        let packet = client.packet().await.unwrap();
        assert_eq!(packet.first, 0x32, "QoS 1, not retained");
        assert_eq!(
            packet.message(version),
            ("linli/v1/bank-a/command".into(), b"open".to_vec())
        );
        if version == Version::V5 {
            assert!(
                packet.body.windows(5).any(|five| five == [2, 0, 0, 0, 10]),
                "expiry in {packet:?}"
            );
        }
        assert!(
            client.is_silent(Duration::from_millis(100)).await,
            "only what was subscribed and hasn't expired"
        );
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_for_a_device_that_is_away() {
    let broker = Broker::start().await;
    for version in BOTH {
        let mut asked = Connect::new(version, "bank-a");
        asked.clean = false;
        if version == Version::V5 {
            asked.properties = vec![0x11, 0, 0, 0xff, 0xff];
        }
        for _ in 0..2 {
            let mut client = Client::open(broker.address).await;
            client.send(&asked.packet()).await;
            let welcome = client.packet().await.unwrap();
            assert_eq!(welcome.body[..2], [0, 0], "no session from before");
            if version == Version::V5 {
                assert_eq!(welcome.body[3..8], [0x11, 0, 0, 0, 0], "and none after");
            }
            assert!(client.is_silent(Duration::from_millis(100)).await);
            assert_eq!(
                client.subscribe(version, "linli/v1/bank-a/command").await,
                1
            );
            drop(client);
            until("the device is gone", || broker.roster.connected() == 0).await;
            let message = ToDevice {
                device: ident("bank-a"),
                channel: Channel::Command,
                payload: Bytes::from_static(b"open"),
                expiry_ms: Some(60_000),
                open: None,
            };
            broker.outbound.send(message).await.unwrap();
        }
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_follows_the_link_the_status_and_the_will() {
    let broker = Broker::start().await;
    let offline = || {
        broker
            .intake
            .presence
            .lock()
            .unwrap()
            .iter()
            .filter(|(_, online)| !online)
            .count()
    };
    for version in BOTH {
        let mut asked = Connect::new(version, "bank-a");
        asked.will = Some((STATUS.into(), b"offline".to_vec()));
        let mut client = Client::open(broker.address).await;
        client.send(&asked.packet()).await;
        assert_eq!(client.packet().await.unwrap().body[1], 0);
        assert_eq!(broker.intake.last_presence("bank-a"), Some(true));
        assert!(broker.roster.is_connected(&ident("bank-a")));

        client
            .send(&publish_with(
                version,
                STATUS.as_bytes(),
                0x33,
                7,
                &[],
                b"offline",
            ))
            .await;
        assert_eq!(client.packet().await.unwrap().puback_code(), 0);
        assert_eq!(broker.intake.last_presence("bank-a"), Some(false));
        client
            .send(&publish_with(
                version,
                STATUS.as_bytes(),
                0x33,
                7,
                &[],
                b"online",
            ))
            .await;
        assert_eq!(client.packet().await.unwrap().puback_code(), 0);
        assert_eq!(broker.intake.last_presence("bank-a"), Some(true));

        let malformed = if version == Version::V5 { 0x99 } else { 0 };
        client
            .send(&publish_with(
                version,
                STATUS.as_bytes(),
                0x33,
                7,
                &[],
                b"on fire",
            ))
            .await;
        assert_eq!(client.packet().await.unwrap().puback_code(), malformed);

        assert_eq!(client.subscribe(version, STATUS).await, 1);
        let retained = client.packet().await.unwrap();
        assert_eq!(retained.first & 1, 1, "retained");
        assert_eq!(
            retained.message(version),
            (STATUS.into(), b"online".to_vec())
        );

        let before = offline();
        drop(client);
        until("its end and its will are reported", || {
            offline() == before + 2
        })
        .await;
        let mut after = Client::login(broker.address, version, "bank-a").await;
        assert_eq!(after.subscribe(version, STATUS).await, 1);
        assert_eq!(after.packet().await.unwrap().message(version).1, b"offline");
        after.send(&[0xe0, 0]).await;
        drop(after);
        until("it is gone", || broker.roster.connected() == 0).await;
    }
    let quarantined = broker.intake.foreign.lock().unwrap().clone();
    assert_eq!(
        quarantined.len(),
        2,
        "the malformed statuses: {quarantined:?}"
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_device_takes_its_place_over_and_stays_online() {
    let broker = Broker::start().await;
    for version in BOTH {
        let mut asked = Connect::new(version, "bank-a");
        asked.will = Some((STATUS.into(), b"offline".to_vec()));
        let mut former = Client::open(broker.address).await;
        former.send(&asked.packet()).await;
        former.packet().await.unwrap();
        for _ in 0..20 {
            let mut next = Client::open(broker.address).await;
            next.send(&asked.packet()).await;
            assert_eq!(next.packet().await.unwrap().body[1], 0);
            assert!(former.is_closed().await);
            next.send(&publish(version, EVENT, 1, b"here")).await;
            assert_eq!(next.packet().await.unwrap().puback_code(), 0);
            former = next;
        }
        assert_eq!(broker.intake.last_presence("bank-a"), Some(true));
        assert_eq!(broker.roster.connected(), 1);
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_topic_is_refused_and_kept_in_quarantine() {
    let broker = Broker::start().await;
    let long = vec![b'x'; 60_000];
    for topic in [
        "linli/v1/door-1/event",
        "linli/v1/bank-a/command",
        "linli/v1/bank-a/receipt",
        "linli/v1/bank-a/event/x",
        "other",
    ] {
        let mut five = Client::login(broker.address, Version::V5, "bank-a").await;
        five.send(&publish(Version::V5, topic, 1, &long)).await;
        assert_eq!(five.packet().await.unwrap().puback_code(), 0x87, "{topic}");
        let mut three = Client::login(broker.address, Version::V3, "bank-a").await;
        three.send(&publish(Version::V3, topic, 1, &long)).await;
        assert!(three.is_closed().await, "{topic}");
    }
    let kept = broker.intake.foreign.lock().unwrap().clone();
    assert_eq!(kept.len(), 10);
    assert!(
        kept.iter()
            .all(|(device, _, payload)| device.as_str() == "bank-a" && payload.len() == 4096)
    );
    assert!(broker.intake.payloads().is_empty());
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_run_side_by_side_and_one_after_the_other_on_one_port() {
    let one = Broker::start().await;
    let other = Broker::start().await;
    assert_ne!(one.address, other.address);
    let mut client = Client::login(one.address, Version::V5, "bank-a").await;
    let mut elsewhere = Client::login(other.address, Version::V5, "bank-a").await;
    client.send(&publish(Version::V5, EVENT, 1, b"x")).await;
    assert_eq!(client.packet().await.unwrap().puback_code(), 0);
    assert!(other.intake.payloads().is_empty());
    let address = one.address;
    let intake = std::sync::Arc::clone(&one.intake);
    one.stop().await;
    assert!(client.is_closed().await, "closed when the broker stops");
    assert_eq!(intake.last_presence("bank-a"), Some(false));
    for _ in 0..3 {
        let next = Broker::with(Recorder::open(), |config| config.listen = vec![address]).await;
        next.still_serves().await;
        next.stop().await;
    }
    elsewhere.send(&publish(Version::V5, EVENT, 1, b"x")).await;
    assert_eq!(elsewhere.packet().await.unwrap().puback_code(), 0);
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_answers_what_is_being_committed() {
    let broker = Broker::with(Recorder::shut(), |_| {}).await;
    let mut client = Client::login(broker.address, Version::V5, "bank-a").await;
    client.send(&publish(Version::V5, EVENT, 1, b"last")).await;
    let intake = std::sync::Arc::clone(&broker.intake);
    until("the event has arrived", || intake.payloads().len() == 1).await;
    let stopping = tokio::spawn(broker.stop());
    assert!(client.is_silent(Duration::from_millis(100)).await);
    intake.gate.add_permits(1);
    assert_eq!(client.packet().await.unwrap().puback_code(), 0);
    assert!(client.is_closed().await);
    stopping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn puback_comes_without_nagle() {
    let broker = Broker::start().await;
    let mut client = Client::login(broker.address, Version::V5, "bank-a").await;
    let packet = publish(
        Version::V5,
        EVENT,
        1,
        b"{\"kind\":\"hello\",\"boot\":1,\"seq\":1}",
    );
    let mut took = Vec::new();
    for _ in 0..2000 {
        let start = Instant::now();
        client.send(&packet).await;
        assert_eq!(client.packet().await.unwrap().puback_code(), 0);
        took.push(start.elapsed());
    }
    took.sort_unstable();
    let (median, p99) = (took[1000], took[1980]);
    println!(
        "PUBACK round trip, intake answering at once: median {median:?}, 99th percentile {p99:?}"
    );
    assert!(
        median < Duration::from_millis(10),
        "{median:?}: is nodelay off somewhere? Nagle costs 40 ms"
    );
    broker.stop().await;
}
