//! Hostile clients against the embedded broker, over raw sockets.
//!
//! Each attack has the answer it must get, and after each a device that keeps to the rules must
//! still get its event acknowledged. Attackers before the login know nothing; those after it hold
//! the password of `bank-a`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod embedded;

use std::time::Duration;

use Expected::*;
use embedded::*;
use linli::links::embedded::limits;

const V3: Version = Version::V3;
const V5: Version = Version::V5;
const EVENT: &str = "linli/v1/bank-a/event";

/// What the attacker must see.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// The connection ends without a packet (but a DISCONNECT).
    Closed,
    /// A CONNACK with this code, then the end.
    Connack(u8),
    /// A PUBACK with this code.
    Puback(u8),
    /// A SUBACK whose every code is this.
    Suback(u8),
    /// An UNSUBACK.
    Unsuback,
}

struct Attack {
    name: &'static str,
    bytes: Vec<u8>,
    expected: Expected,
}

fn attack(name: &'static str, bytes: impl Into<Vec<u8>>, expected: Expected) -> Attack {
    Attack {
        name,
        bytes: bytes.into(),
        expected,
    }
}

/// A CONNECT of `bank-a` with something changed.
fn connect(version: Version, change: impl FnOnce(&mut Connect)) -> Vec<u8> {
    let mut connect = Connect::new(version, "bank-a");
    change(&mut connect);
    connect.packet()
}

/// The body of a right CONNECT with one byte changed.
fn poked(version: Version, at: usize, byte: u8) -> Vec<u8> {
    let mut body = Connect::new(version, "bank-a").body();
    body[at] = byte;
    framed(0x10, &body)
}

async fn meets(client: &mut Client, attack: &Attack) {
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
            let codes = &packet.body[packet.body.len() - 1..];
            assert!(codes.iter().all(|got| *got == code), "{name}: {packet:?}");
        }
        (Unsuback, Some(packet)) => assert_eq!(packet.kind(), 11, "{name}"),
        (expected, answer) => panic!("{name}: expected {expected:?}, got {answer:?}"),
    }
}

fn before_login() -> Vec<Attack> {
    let mut attacks = framing_before_login();
    attacks.extend(connects_against_the_standard());
    attacks.extend(connects_in_a_false_name());
    attacks
}

fn framing_before_login() -> Vec<Attack> {
    let huge = framed(
        0x10,
        &[b"\x00\x04MQTT\x04\x02\x00\x3c".as_slice(), &vec![0; 60_000]].concat(),
    );
    vec![
        attack("an HTTP request", *b"GET / HTTP/1.1\r\n\r\n", Closed),
        attack(
            "a TLS hello",
            *b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            Closed,
        ),
        attack("zeroes", vec![0; 64], Closed),
        attack(
            "PUBLISH before CONNECT",
            publish(V5, EVENT, 1, b"x"),
            Closed,
        ),
        attack("SUBSCRIBE before CONNECT", subscribe(V3, "#"), Closed),
        attack("PINGREQ before CONNECT", *b"\xc0\x00", Closed),
        attack("AUTH before CONNECT", *b"\xf0\x00", Closed),
        attack(
            "a large packet before CONNECT",
            publish(V3, EVENT, 0, &vec![0; 69_000]),
            Closed,
        ),
        attack(
            "CONNECT with flags in its first byte",
            framed(0x11, &Connect::new(V3, "bank-a").body()),
            Closed,
        ),
        attack(
            "a length of five bytes",
            *b"\x10\xff\xff\xff\xff\x7f",
            Closed,
        ),
        attack(
            "the longest length there is",
            *b"\x10\xff\xff\xff\x7f\x00\x04MQTT",
            Closed,
        ),
        attack("CONNECT of 60 KB", huge, Closed),
        attack("CONNECT of no length", *b"\x10\x00", Closed),
        attack(
            "CONNECT cut short",
            framed(0x10, b"\x00\x04MQTT\x04\x02\x00"),
            Closed,
        ),
        attack(
            "a protocol name longer than the packet",
            framed(0x10, b"\xff\xffMQTT\x04\x02\x00\x3c\x00\x00"),
            Closed,
        ),
        attack(
            "another protocol's name",
            framed(0x10, b"\x00\x04HTTP\x04\x02\x00\x3c\x00\x01a"),
            Closed,
        ),
    ]
}

fn connects_against_the_standard() -> Vec<Attack> {
    let trailing = |version| {
        framed(
            0x10,
            &[Connect::new(version, "bank-a").body(), vec![0]].concat(),
        )
    };
    let users = |count: usize| vec![b"\x26\x00\x01k\x00\x01v".to_vec(); count].concat();
    vec![
        attack(
            "MQTT 3.1",
            framed(0x10, b"\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a"),
            Connack(1),
        ),
        attack("MQTT 6", poked(V3, 6, 6), Connack(1)),
        attack("level 0", poked(V3, 6, 0), Connack(1)),
        attack("the reserved flag, 3.1.1", poked(V3, 7, 0xc3), Closed),
        attack("the reserved flag, 5", poked(V5, 7, 0xc3), Connack(0x81)),
        attack("bytes after the CONNECT, 3.1.1", trailing(V3), Closed),
        attack("bytes after the CONNECT, 5", trailing(V5), Connack(0x81)),
        attack(
            "a will of QoS 3, 3.1.1",
            connect(V3, |c| {
                c.will = Some((b"a".to_vec(), vec![]));
                c.will_bits = 0x18;
            }),
            Closed,
        ),
        attack(
            "a will of QoS 3, 5",
            connect(V5, |c| {
                c.will = Some((b"a".to_vec(), vec![]));
                c.will_bits = 0x18;
            }),
            Connack(0x81),
        ),
        attack(
            "a password without a name, 3.1.1",
            connect(V3, |c| c.username = None),
            Closed,
        ),
        attack(
            "NUL in the client id, 3.1.1",
            connect(V3, |c| c.client_id = b"bank-a\0".to_vec()),
            Closed,
        ),
        attack(
            "NUL in the client id, 5",
            connect(V5, |c| c.client_id = b"bank-a\0".to_vec()),
            Connack(0x81),
        ),
        attack(
            "invalid UTF-8 in the client id",
            connect(V5, |c| c.client_id = b"bank\xff\xfe".to_vec()),
            Connack(0x81),
        ),
        attack(
            "a surrogate in the user name",
            connect(V5, |c| c.username = Some(b"\xed\xa0\x80".to_vec())),
            Connack(0x81),
        ),
        attack(
            "a property twice",
            connect(V5, |c| c.properties = b"\x21\x00\x05\x21\x00\x05".to_vec()),
            Connack(0x81),
        ),
        attack(
            "receive maximum 0",
            connect(V5, |c| c.properties = b"\x21\x00\x00".to_vec()),
            Connack(0x81),
        ),
        attack(
            "maximum packet size 0",
            connect(V5, |c| c.properties = b"\x27\x00\x00\x00\x00".to_vec()),
            Connack(0x81),
        ),
        attack(
            "a property that isn't for CONNECT",
            connect(V5, |c| c.properties = b"\x23\x00\x01".to_vec()),
            Connack(0x81),
        ),
        attack(
            "a property nobody knows",
            connect(V5, |c| c.properties = b"\x7e\x00".to_vec()),
            Connack(0x81),
        ),
        attack(
            "properties longer than the packet",
            framed(0x10, b"\x00\x04MQTT\x05\x02\x00\x3c\xff\x7f\x00\x01a"),
            Connack(0x81),
        ),
        attack(
            "a length of properties without an end",
            framed(0x10, b"\x00\x04MQTT\x05\x02\x00\x3c\xff\xff\xff\xff\xff"),
            Connack(0x81),
        ),
        attack(
            "authentication data without a method",
            connect(V5, |c| c.properties = b"\x16\x00\x01x".to_vec()),
            Connack(0x81),
        ),
        attack(
            "another method of authentication",
            connect(V5, |c| c.properties = b"\x15\x00\x05SCRAM".to_vec()),
            Connack(0x8c),
        ),
        attack(
            "ten thousand user properties",
            connect(V5, |c| c.properties = users(9000)),
            Closed,
        ),
    ]
}

fn connects_in_a_false_name() -> Vec<Attack> {
    let will = |topic: &'static [u8]| {
        move |c: &mut Connect| c.will = Some((topic.to_vec(), b"offline".to_vec()))
    };
    vec![
        attack(
            "no client id, 3.1.1",
            connect(V3, |c| c.client_id.clear()),
            Connack(2),
        ),
        attack(
            "no client id, no clean session",
            connect(V3, |c| {
                c.client_id.clear();
                c.clean = false;
            }),
            Connack(2),
        ),
        attack(
            "no client id, 5",
            connect(V5, |c| c.client_id.clear()),
            Connack(0x85),
        ),
        attack(
            "a client id of 1,000 characters",
            connect(V5, |c| c.client_id = vec![b'a'; 1000]),
            Connack(0x85),
        ),
        attack(
            "a client id with a wildcard",
            connect(V5, |c| c.client_id = b"+".to_vec()),
            Connack(0x85),
        ),
        attack(
            "a client id with a slash",
            connect(V3, |c| c.client_id = b"bank-a/event".to_vec()),
            Connack(2),
        ),
        attack(
            "a device nobody knows",
            connect(V5, |c| {
                c.client_id = b"x".to_vec();
                c.username = Some(b"x".to_vec());
            }),
            Connack(0x86),
        ),
        attack(
            "its password in another's session",
            connect(V5, |c| c.client_id = b"door-1".to_vec()),
            Connack(0x86),
        ),
        attack(
            "a wrong password",
            connect(V3, |c| c.password = Some(b"guess".to_vec())),
            Connack(4),
        ),
        attack(
            "a password of 1,000 bytes",
            connect(V3, |c| c.password = Some(vec![b'x'; 1000])),
            Connack(4),
        ),
        attack(
            "no password",
            connect(V5, |c| c.password = None),
            Connack(0x86),
        ),
        attack(
            "a device's id alone",
            connect(V5, |c| {
                c.username = None;
                c.password = None;
            }),
            Connack(0x86),
        ),
        attack(
            "an anonymous device with a password",
            connect(V5, |c| {
                c.client_id = b"open-1".to_vec();
                c.username = Some(b"open-1".to_vec());
            }),
            Connack(0x86),
        ),
        attack(
            "a will on a wildcard, 3.1.1",
            connect(V3, will(b"linli/v1/+/status")),
            Connack(5),
        ),
        attack(
            "a will on a wildcard, 5",
            connect(V5, will(b"#")),
            Connack(0x87),
        ),
        attack(
            "a will on another's topic",
            connect(V5, will(b"linli/v1/door-1/status")),
            Connack(0x87),
        ),
        attack(
            "a will among commands",
            connect(V5, will(b"linli/v1/bank-a/command")),
            Connack(0x87),
        ),
        attack("a will on no topic", connect(V5, will(b"")), Connack(0x87)),
        attack(
            "a will with a NUL in its topic",
            connect(V5, will(b"linli/v1/bank-a/status\0")),
            Connack(0x81),
        ),
        attack(
            "a will of QoS 2",
            connect(V5, |c| {
                c.will = Some((b"linli/v1/bank-a/status".to_vec(), b"offline".to_vec()));
                c.will_bits = 0x30;
            }),
            Connack(0x9b),
        ),
    ]
}

fn after_login(version: Version) -> Vec<Attack> {
    let mut attacks = publications(version);
    attacks.extend(subscriptions(version));
    attacks.extend(packets_against_the_standard(version));
    if version == V5 {
        attacks.extend(properties_of_publications());
    }
    attacks
}

fn publications(version: Version) -> Vec<Attack> {
    let deep = vec!["a"; 30_000].join("/");
    let foreign = if version == V5 { Puback(0x87) } else { Closed };
    vec![
        attack(
            "a topic of 30,000 levels",
            publish(version, &deep, 1, b"x"),
            foreign,
        ),
        attack(
            "a topic of slashes",
            publish(version, &"/".repeat(65_000), 1, b"x"),
            foreign,
        ),
        attack(
            "another's events",
            publish(version, "linli/v1/door-1/event", 1, b"x"),
            foreign,
        ),
        attack(
            "its own commands",
            publish(version, "linli/v1/bank-a/command", 1, b"x"),
            foreign,
        ),
        attack(
            "the broker's own topics",
            publish(version, "$SYS/broker", 1, b"x"),
            foreign,
        ),
        attack(
            "one level too many",
            publish(version, "linli/v1/bank-a/event/x", 1, b"x"),
            foreign,
        ),
        attack(
            "a wildcard in the topic",
            publish(version, "linli/v1/+/event", 1, b"x"),
            Closed,
        ),
        attack(
            "a hash in the topic",
            publish(version, "#", 0, b"x"),
            Closed,
        ),
        attack(
            "NUL in the topic",
            publish(version, "linli/v1/bank-a/event\0", 1, b"x"),
            Closed,
        ),
        attack("no topic", publish(version, "", 1, b"x"), Closed),
        attack(
            "invalid UTF-8 in the topic",
            publish_with(version, b"linli/\xff", 0x32, 7, &[], b"x"),
            Closed,
        ),
        attack(
            "packet id 0",
            publish_with(version, EVENT.as_bytes(), 0x32, 0, &[], b"x"),
            Closed,
        ),
        attack(
            "QoS 3",
            publish_with(version, EVENT.as_bytes(), 0x36, 7, &[], b"x"),
            Closed,
        ),
        attack(
            "a packet over the limit",
            publish(version, EVENT, 1, &vec![0; 70_001]),
            Closed,
        ),
        attack(
            "a packet said to be 256 MB",
            b"\x32\xff\xff\xff\x7f\x00\x15linli".to_vec(),
            Closed,
        ),
        attack(
            "a topic longer than its packet",
            framed(0x32, b"\xff\xfflinli"),
            Closed,
        ),
        attack("a PUBLISH of no length", b"\x32\x00".to_vec(), Closed),
    ]
}

fn properties_of_publications() -> Vec<Attack> {
    let with = |properties: &[u8]| publish_with(V5, EVENT.as_bytes(), 0x32, 7, properties, b"x");
    let users = vec![b"\x26\x00\x01k\x00\x01v".to_vec(); 9000].concat();
    vec![
        attack(
            "a topic alias, though the maximum is 0",
            with(b"\x23\x00\x01"),
            Closed,
        ),
        attack(
            "an alias in place of a topic",
            publish_with(V5, b"", 0x32, 7, b"\x23\x00\x01", b"x"),
            Closed,
        ),
        attack("alias 0", with(b"\x23\x00\x00"), Closed),
        attack("alias 65,535", with(b"\x23\xff\xff"), Closed),
        attack("an alias twice", with(b"\x23\x00\x01\x23\x00\x02"), Closed),
        attack("a subscription identifier", with(b"\x0b\x01"), Closed),
        attack("subscription identifier 0", with(b"\x0b\x00"), Closed),
        attack(
            "a property that isn't for PUBLISH",
            with(b"\x11\x00\x00\x00\x00"),
            Closed,
        ),
        attack(
            "properties longer than the packet",
            framed(0x32, b"\x00\x01a\x00\x07\xff\x7f"),
            Closed,
        ),
        attack(
            "9,000 user properties, which the standard allows",
            with(&users),
            Puback(0),
        ),
        attack(
            "QoS 2 above the announced maximum",
            publish(V5, EVENT, 2, b"x"),
            Closed,
        ),
    ]
}

fn subscriptions(version: Version) -> Vec<Attack> {
    let refused = if version == V5 { 0x87 } else { 0x80 };
    let empty: &[u8] = if version == V5 { b"\x00" } else { b"" };
    let subscription = |filter: &[u8], options: u8| {
        framed(
            0x82,
            &[b"\x00\x09", empty, &string(filter), &[options]].concat(),
        )
    };
    let many = |count: usize| {
        framed(
            0x82,
            &[
                b"\x00\x09",
                empty,
                &[string(b"#"), vec![1]].concat().repeat(count),
            ]
            .concat(),
        )
    };
    let unsubscribe = |filter: &[u8]| framed(0xa2, &[b"\x00\x09", empty, &string(filter)].concat());
    let deep = vec!["a"; 30_000].join("/");
    let mut attacks = vec![
        attack(
            "SUBSCRIBE to 30,000 levels",
            subscription(deep.as_bytes(), 1),
            Suback(0x80),
        ),
        attack(
            "SUBSCRIBE to 30,000 wildcards",
            subscription(vec!["+"; 30_000].join("/").as_bytes(), 1),
            Suback(0x80),
        ),
        attack(
            "UNSUBSCRIBE from 30,000 levels",
            unsubscribe(deep.as_bytes()),
            Unsuback,
        ),
        attack("everything", subscription(b"#", 1), Suback(refused)),
        attack(
            "everybody's commands",
            subscription(b"linli/v1/+/command", 1),
            Suback(refused),
        ),
        attack(
            "another's commands",
            subscription(b"linli/v1/door-1/command", 1),
            Suback(refused),
        ),
        attack(
            "a shared subscription",
            subscription(b"$share/g/linli/v1/bank-a/command", 1),
            Suback(refused),
        ),
        attack(
            "the broker's own topics",
            subscription(b"$SYS/#", 1),
            Suback(refused),
        ),
        attack("13,000 filters at once", many(13_000), Suback(refused)),
        attack(
            "a filter with NUL",
            subscription(b"linli/v1/bank-a/command\0", 1),
            Suback(refused),
        ),
        attack(
            "SUBSCRIBE with packet id 0",
            framed(0x82, &[b"\x00\x00", empty, &string(b"#"), &[1]].concat()),
            Closed,
        ),
        attack(
            "SUBSCRIBE to nothing",
            framed(0x82, &[b"\x00\x09", empty].concat()),
            Closed,
        ),
        attack(
            "SUBSCRIBE with flags 0",
            framed(0x80, &[b"\x00\x09", empty, &string(b"#"), &[1]].concat()),
            Closed,
        ),
        attack("SUBSCRIBE with QoS 3", subscription(b"#", 3), Closed),
        attack(
            "a filter with invalid UTF-8",
            subscription(b"\xff\xff", 1),
            Closed,
        ),
        attack(
            "a filter without its options",
            framed(0x82, &[b"\x00\x09", empty, &string(b"#")].concat()),
            Closed,
        ),
        attack(
            "UNSUBSCRIBE from nothing",
            framed(0xa2, &[b"\x00\x09", empty].concat()),
            Closed,
        ),
    ];
    if version == V5 {
        attacks.push(attack(
            "subscription identifier 0 in SUBSCRIBE",
            framed(0x82, b"\x00\x09\x02\x0b\x00\x00\x01#\x01"),
            Closed,
        ));
    }
    attacks
}

fn packets_against_the_standard(version: Version) -> Vec<Attack> {
    vec![
        attack(
            "CONNECT a second time",
            Connect::new(version, "bank-a").packet(),
            Closed,
        ),
        attack(
            "CONNECT a second time, as another",
            Connect::new(version, "door-1").packet(),
            Closed,
        ),
        attack("a CONNACK", b"\x20\x02\x00\x00".to_vec(), Closed),
        attack("a SUBACK", b"\x90\x03\x00\x01\x00".to_vec(), Closed),
        attack("a PINGRESP", b"\xd0\x00".to_vec(), Closed),
        attack("packet type 0", b"\x00\x00".to_vec(), Closed),
        attack("PUBREL with flags 0", b"\x60\x02\x00\x01".to_vec(), Closed),
        attack(
            "PUBACK with packet id 0",
            b"\x40\x02\x00\x00".to_vec(),
            Closed,
        ),
        attack("AUTH", b"\xf0\x00".to_vec(), Closed),
        attack(
            "a length of five bytes",
            b"\xc0\xff\xff\xff\xff\x01".to_vec(),
            Closed,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_login() {
    let broker = Broker::start().await;
    let attacks = before_login();
    for attack in &attacks {
        let mut client = Client::open(broker.address).await;
        client.send(&attack.bytes).await;
        meets(&mut client, attack).await;
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
            meets(&mut client, &attack).await;
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
