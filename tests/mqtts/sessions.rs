//! Sessions over TLS: what a plain one gets, one over TLS gets too.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use firmware_protocols::topic::Channel;
use linli::links::ToDevice;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bed::*;
use crate::embedded::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_password_lets_in_over_both_versions_of_tls_and_of_mqtt() {
    let bed = Bed::start("").await;
    for tls in [&TLS12, &TLS13] {
        for version in [Version::V3, Version::V5] {
            let config = config(&bed.authority(), None, &[tls]);
            let connect = Connect::new(version, "door-1");
            let mut client = Tls::login(bed.address(), config, &connect).await.unwrap();
            client.is_served_as(version, "door-1").await;
            let (_, session) = client.stream.get_ref();
            assert_eq!(session.protocol_version(), Some(tls.version));
        }
    }
    let mut wrong = Connect::new(Version::V5, "door-1");
    wrong.password = Some(b"wrong".to_vec());
    assert_eq!(
        bed.login(None, &wrong).await.unwrap_err(),
        Failed::Connack(0x86)
    );
    let nothing = bare(Version::V3, "door-1");
    assert_eq!(
        bed.login(None, &nothing).await.unwrap_err(),
        Failed::Connack(4)
    );
    bed.broker.stop().await;
}

impl Tls {
    async fn is_served_as(&mut self, version: Version, device: &str) {
        let topic = format!("linli/v1/{device}/event");
        self.send(&publish(version, &topic, 1, b"well")).await;
        assert_eq!(self.packet().await.unwrap().kind(), 4, "no PUBACK");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_comes_over_tls() {
    let bed = Bed::start("").await;
    let broker = rumqttc::Broker::tcp(bed.address().ip().to_string(), bed.address().port());
    let mut options = rumqttc::MqttOptions::new("bank-a", broker);
    options.set_credentials("bank-a", PASSWORD);
    let tls = rumqttc::TlsConfiguration::Rustls(bed.client(None));
    options.set_transport(rumqttc::Transport::tls_with_config(tls));
    let (client, mut events) = rumqttc::AsyncClient::builder(options).capacity(200).build();
    let qos = rumqttc::QoS::AtLeastOnce;
    for n in 0..100 {
        let publish = rumqttc::PublishOptions::new(qos);
        let topic = "linli/v1/bank-a/event";
        client
            .publish(topic, format!("{n}"), publish)
            .await
            .unwrap();
    }
    let mut acknowledged = 0;
    while acknowledged < 100 {
        use rumqttc::mqttbytes::v5::Packet;
        let event = tokio::time::timeout(LONG, events.poll()).await.unwrap();
        if let rumqttc::Event::Incoming(Packet::PubAck(_)) = event.unwrap() {
            acknowledged += 1;
        }
    }
    let expected: Vec<_> = (0..100).map(|n| Bytes::from(format!("{n}"))).collect();
    assert_eq!(bed.broker.intake.payloads(), expected);
    bed.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_in_one_record_and_in_single_bytes_is_all_heard() {
    let bed = Bed::start("").await;
    let mut all = Connect::new(Version::V5, "door-1").packet();
    all.extend(subscribe(Version::V5, "linli/v1/door-1/command"));
    all.extend(publish(Version::V5, "linli/v1/door-1/event", 1, b"first"));
    let kinds = [2, 9, 4];

    let mut client = Tls::open(bed.address(), bed.client(None)).await.unwrap();
    client.send(&all).await;
    for kind in kinds {
        assert_eq!(client.packet().await.unwrap().kind(), kind);
    }
    // The largest that fits: several records each way.
    let large = vec![b'x'; 64 * 1024];
    let topic = "linli/v1/door-1/event";
    client.send(&publish(Version::V5, topic, 1, &large)).await;
    assert_eq!(client.packet().await.unwrap().kind(), 4);
    let message = ToDevice {
        device: ident("door-1"),
        channel: Channel::Command,
        payload: Bytes::from(vec![b'y'; 60_000]),
        expiry_ms: None,
        open: None,
    };
    bed.broker.outbound.send(message).await.unwrap();
    let (_, payload) = client.packet().await.unwrap().message(Version::V5);
    assert_eq!(payload, vec![b'y'; 60_000]);

    let mut slow = Tls::open(bed.address(), bed.client(None)).await.unwrap();
    for byte in &all {
        slow.send(&[*byte]).await;
    }
    for kind in kinds {
        assert_eq!(slow.packet().await.unwrap().kind(), kind);
    }
    let heard = bed.broker.intake.payloads();
    assert_eq!(heard.len(), 3);
    assert_eq!(heard[1].len(), large.len());
    bed.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ways_of_leaving_are_noticed() {
    let bed = Bed::start("").await;
    let here = || bed.broker.roster.connected();
    let connect = Connect::new(Version::V5, "door-1");
    for politely in [true, false] {
        let mut client = bed.login(None, &connect).await.unwrap();
        client.is_served("door-1").await;
        assert_eq!(here(), 1);
        if politely {
            client.stream.shutdown().await.unwrap();
        } else {
            client.stream.get_ref().0.set_zero_linger().unwrap();
        }
        let end = client;
        if !politely {
            drop(end);
            until("the broken connection is noticed", || here() == 0).await;
        } else {
            until("the end in TLS is noticed", || here() == 0).await;
            drop(end);
        }
    }
    // Who sends bytes that aren't TLS in the middle is out at once.
    let mut client = bed.login(None, &connect).await.unwrap();
    let (tcp, _) = client.stream.get_mut();
    tcp.write_all(&[0; 64]).await.unwrap();
    until("the nonsense is noticed", || here() == 0).await;
    bed.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_nothing_holds_a_bounded_amount() {
    let bed = Bed::start("").await;
    let connect = Connect::new(Version::V5, "bank-a");
    let mut client = bed.login(None, &connect).await.unwrap();
    client
        .send(&subscribe(Version::V5, "linli/v1/bank-a/command"))
        .await;
    assert_eq!(client.packet().await.unwrap().kind(), 9);
    let message = || ToDevice {
        device: ident("bank-a"),
        channel: Channel::Command,
        payload: Bytes::from(vec![b'y'; 60_000]),
        expiry_ms: None,
        open: None,
    };
    // Far more than sockets, window and queue take.
    for _ in 0..400 {
        bed.broker.outbound.send(message()).await.unwrap();
    }
    let mut got = 0;
    // What was kept comes whole and in order, once it is read; the rest was dropped.
    while let Ok(packet) = tokio::time::timeout(Duration::from_secs(2), client.packet()).await {
        assert_eq!(packet.unwrap().message(Version::V5).1.len(), 60_000);
        got += 1;
    }
    assert!((1..=130).contains(&got), "{got}");
    bed.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_resumed_by_tickets() {
    let bed = Bed::start("").await;
    let config = bed.client(None);
    let connect = Connect::new(Version::V5, "door-1");
    let mut kinds = Vec::new();
    for _ in 0..3 {
        let config = Arc::clone(&config);
        let mut client = Tls::login(bed.address(), config, &connect).await.unwrap();
        client.is_served("door-1").await;
        kinds.push(client.stream.get_ref().1.handshake_kind().unwrap());
    }
    use rustls::HandshakeKind::{Full, Resumed};
    assert_eq!(kinds, [Full, Resumed, Resumed]);
    bed.broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handshake_fits_into_a_small_device() {
    let bed = Bed::start("names = [\"box-7.local\", \"192.168.7.9\", \"127.0.0.1\"]").await;
    let paper = bed.paper("door-1");
    for tls in [&TLS12, &TLS13] {
        let config = config(&bed.authority(), Some(&paper), &[tls]);
        let mut session = rustls::ClientConnection::new(config, bed.address().ip().into()).unwrap();
        let mut tcp = tokio::net::TcpStream::connect(bed.address()).await.unwrap();
        let (mut sent, mut received, mut largest) = (0, 0, 0);
        while session.is_handshaking() {
            let mut out = Vec::new();
            while session.wants_write() {
                sent += session.write_tls(&mut out).unwrap();
            }
            tcp.write_all(&out).await.unwrap();
            if !session.is_handshaking() {
                break;
            }
            let mut record = vec![0; 5];
            tcp.read_exact(&mut record).await.unwrap();
            let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
            record.resize(5 + length, 0);
            tcp.read_exact(&mut record[5..]).await.unwrap();
            received += record.len();
            largest = largest.max(length);
            session.read_tls(&mut record.as_slice()).unwrap();
            session.process_new_packets().unwrap();
        }
        // Its last flight, which holds its certificate in TLS 1.3.
        let mut out = Vec::new();
        while session.wants_write() {
            sent += session.write_tls(&mut out).unwrap();
        }
        println!(
            "{:?}: {sent} bytes sent, {received} received, largest record {largest}",
            tls.version
        );
        assert!(sent < 1_800 && received < 1_800 && largest < 1_024);
    }
    bed.broker.stop().await;
}
