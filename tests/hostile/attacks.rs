//! The attacks: what is sent, and what must come back.

use Expected::*;

use crate::embedded::*;

pub const V3: Version = Version::V3;
pub const V5: Version = Version::V5;
pub const EVENT: &str = "linli/v1/bank-a/event";

/// What the attacker must see.
#[derive(Debug, Clone, Copy)]
pub enum Expected {
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

pub struct Attack {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub expected: Expected,
}

pub fn attack(name: &'static str, bytes: impl Into<Vec<u8>>, expected: Expected) -> Attack {
    Attack {
        name,
        bytes: bytes.into(),
        expected,
    }
}

/// A CONNECT of `bank-a` with something changed.
pub fn connect(version: Version, change: impl FnOnce(&mut Connect)) -> Vec<u8> {
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

/// What is sent in place of a CONNECT, or is one.
pub fn before_login() -> Vec<Attack> {
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
