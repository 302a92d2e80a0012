//! The attacks of a client that has logged in.

use crate::attacks::Expected::*;
use crate::attacks::*;
use crate::embedded::*;

/// What is sent by a client that has logged in as `bank-a`.
pub fn after_login(version: Version) -> Vec<Attack> {
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
