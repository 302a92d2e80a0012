//! Hostile clients against the embedded broker, over raw sockets.
//!
//! Each attack has the answer it must get, and after each a device that keeps to the rules must
//! still get its event acknowledged. Attackers before the login know nothing; those after it hold
//! the password of `bank-a`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attacks;
mod attacks_inside;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/controller.rs"]
mod controller;
#[path = "../embedded/mod.rs"]
mod embedded;
mod held;
mod siege;

use std::time::Duration;

use attacks::Expected::*;
use attacks::*;
use attacks_inside::after_login;
use embedded::*;
use linli::links::embedded::limits;

async fn meets(client: &mut Client, version: Version, attack: &Attack) {
    let name = attack.name;
    let answer = client.packet().await;
    match (attack.expected, answer) {
        (Closed, None) => {}
        (Closed, Some(packet)) if packet.kind() == 14 => {
            assert!(client.is_closed().await, "{name}")
        }
        (Connack(code), Some(packet)) => {
            assert_eq!((packet.first, packet.body[1]), (0x20, code), "{name}");
            assert!(client.is_closed().await, "{name}");
        }
        (Puback(code), Some(packet)) => assert_eq!(packet.puback_code(), code, "{name}"),
        (Suback(code), Some(packet)) => {
            assert_eq!(packet.kind(), 9, "{name}");
            let codes = &packet.body[if version == V5 { 3 } else { 2 }..];
            assert!(!codes.is_empty(), "{name}");
            assert!(codes.iter().all(|got| *got == code), "{name}: {codes:?}");
        }
        (Unsuback, Some(packet)) => assert_eq!(packet.kind(), 11, "{name}"),
        (expected, answer) => panic!("{name}: expected {expected:?}, got {answer:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_login() {
    let broker = Broker::start().await;
    let attacks = before_login();
    for attack in &attacks {
        let mut client = Client::open(broker.address).await;
        client.send(&attack.bytes).await;
        meets(&mut client, V5, attack).await;
        broker.still_serves().await;
    }
    println!("{} attacks before the login", attacks.len());
    assert!(
        broker
            .intake
            .presence
            .lock()
            .unwrap()
            .iter()
            .all(|(device, _)| device.as_str() == "door-1")
    );
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_login() {
    let broker = Broker::start().await;
    let mut count = 0;
    for version in [V3, V5] {
        for attack in after_login(version) {
            let mut client = Client::login(broker.address, version, "bank-a").await;
            client.send(&attack.bytes).await;
            meets(&mut client, version, &attack).await;
            broker.still_serves().await;
            count += 1;
        }
    }
    println!("{count} attacks after the login");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_may_hold_is_bounded() {
    let broker = Broker::start().await;
    let mut client = Client::login(broker.address, V5, "bank-a").await;
    for filter in ["command", "receipt", "status"] {
        assert_eq!(
            client
                .subscribe(V5, &format!("linli/v1/bank-a/{filter}"))
                .await,
            1
        );
    }
    for n in 0..100 {
        let code = client.subscribe(V5, &format!("linli/v1/bank-a/{n}")).await;
        assert_eq!(code, 0x87);
    }
    let message = || linli::links::ToDevice {
        device: ident("bank-a"),
        channel: firmware_protocols::topic::Channel::Receipt,
        payload: bytes::Bytes::from_static(b"r"),
        expiry_ms: None,
        open: None,
    };
    for _ in 0..1000 {
        broker.outbound.send(message()).await.unwrap();
    }
    let mut got = 0;
    while got < usize::from(limits::IN_FLIGHT) {
        assert_eq!(client.packet().await.unwrap().first, 0x32);
        got += 1;
    }
    assert!(
        client.is_silent(Duration::from_millis(200)).await,
        "more in flight than announced"
    );
    broker.still_serves().await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_connect_is_not_waited_for() {
    let limit = Duration::from_millis(300);
    let broker = Broker::with(Recorder::open(), |config| config.connect_timeout = limit).await;
    let whole = Connect::new(V5, "bank-a").packet();
    for length in [0, 1, 2, 5, 11, whole.len() - 1] {
        let mut client = Client::open(broker.address).await;
        let start = std::time::Instant::now();
        client.send(&whole[..length]).await;
        assert!(client.is_closed().await);
        assert!(
            start.elapsed() < limit * 10,
            "{length} bytes, then silence: {:?}",
            start.elapsed()
        );
        broker.still_serves().await;
    }
    let mut slow = Client::open(broker.address).await;
    let start = std::time::Instant::now();
    for byte in &whole {
        if slow.stream.try_write(&[*byte]).is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(slow.is_closed().await, "a byte now and then");
    assert!(start.elapsed() < limit * 10);
    broker.still_serves().await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_keep_nobody_out() {
    let broker = Broker::with(Recorder::open(), |config| config.waiting_max = 100).await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(Client::open(broker.address).await);
    }
    broker.still_serves().await;
    let mut halves = Vec::new();
    for _ in 0..90 {
        let mut client = Client::open(broker.address).await;
        client
            .send(&Connect::new(V5, "bank-a").packet()[..20])
            .await;
        halves.push(client);
    }
    broker.still_serves().await;
    for client in silent.iter_mut().chain(&mut halves) {
        assert!(client.is_closed().await);
    }
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_a_session_without_its_password() {
    let broker = Broker::start().await;
    let mut owner = Client::login(broker.address, V5, "bank-a").await;
    for _ in 0..40 {
        let mut thief = Client::open(broker.address).await;
        thief
            .send(&connect(V5, |c| c.password = Some(b"guess".to_vec())))
            .await;
        let code = thief.packet().await.unwrap().body[1];
        assert!(code == 0x86 || code == 0x9f, "{code:x}");
        owner.send(&publish(V5, EVENT, 1, b"still here")).await;
        assert_eq!(owner.packet().await.unwrap().puback_code(), 0);
    }
    let mut thief = Client::open(broker.address).await;
    thief
        .send(&connect(V5, |c| c.password = Some(b"guess".to_vec())))
        .await;
    assert_eq!(
        thief.packet().await.unwrap().body[1],
        0x9f,
        "throttled by now"
    );
    drop(owner);
    Client::login(broker.address, V5, "bank-a").await;
    broker.still_serves().await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_inside_are_counted() {
    let broker = Broker::with(Recorder::open(), |config| config.connections_max = 2).await;
    let _one = Client::login(broker.address, V5, "bank-a").await;
    let two = Client::login(broker.address, V5, "door-1").await;
    let mut third = Client::open(broker.address).await;
    third.send(&Connect::new(V3, "open-1").packet()).await;
    assert_eq!(third.packet().await.unwrap().body[1], 3);
    drop(two);
    until("the place is free", || broker.roster.connected() == 1).await;
    broker.still_serves().await;
    broker.stop().await;
}
