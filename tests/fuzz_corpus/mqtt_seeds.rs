//! Seeds of the two targets of the embedded broker: a client's first packet, and what it says after it.

use std::path::Path;

use super::put;

/// A first byte that says how the rest is cut, then a CONNECT with its fixed header.
pub fn door(corpus: &Path) {
    let rest = b"\x00\x06bank-a\x00\x06bank-a\x00\x02pw".as_slice();
    let will =
        b"\x00\x06bank-a\x00\x16linli/v1/bank-a/status\x00\x07offline\x00\x06bank-a\x00\x02pw"
            .as_slice();
    let wishes =
        b"\x18\x11\x00\x00\x00\x05\x17\x00\x19\x01\x21\x00\x0a\x22\x00\x00\x26\x00\x01a\x00\x01b"
            .as_slice();
    let will_five = b"\x00\x06bank-a\x0c\x01\x01\x02\x00\x00\x00\x05\x03\x00\x03t/p\x00\x16linli/v1/bank-a/status\x00\x07offline\x00\x06bank-a\x00\x02pw".as_slice();
    let connects: [(&str, &[&[u8]]); 12] = [
        ("3 plain", &[b"\x00\x04MQTT\x04\xc2\x00\x3c", rest]),
        ("3 nobody", &[b"\x00\x04MQTT\x04\x02\x00\x00\x00\x00"]),
        ("3 with a will", &[b"\x00\x04MQTT\x04\xee\x00\x3c", will]),
        (
            "3 a password without a name",
            &[b"\x00\x04MQTT\x04\x42\x00\x3c\x00\x01a\x00\x01p"],
        ),
        (
            "3 bytes left over",
            &[b"\x00\x04MQTT\x04\xc2\x00\x3c", rest, b"x"],
        ),
        ("5 plain", &[b"\x00\x04MQTT\x05\xc2\x00\x3c\x00", rest]),
        (
            "5 with wishes",
            &[b"\x00\x04MQTT\x05\xc2\x00\x3c", wishes, rest],
        ),
        (
            "5 with a will",
            &[b"\x00\x04MQTT\x05\xee\x00\x3c\x00", will_five],
        ),
        (
            "5 with authentication",
            &[
                b"\x00\x04MQTT\x05\xc2\x00\x3c\x0b\x15\x00\x05SCRAM\x16\x00\x00",
                rest,
            ],
        ),
        (
            "5 a property twice",
            &[
                b"\x00\x04MQTT\x05\xc2\x00\x3c\x06\x21\x00\x01\x21\x00\x01",
                rest,
            ],
        ),
        (
            "5 a length longer than needed",
            &[b"\x00\x04MQTT\x05\xc2\x00\x3c\x80\x00", rest],
        ),
        ("an old version", &[b"\x00\x06MQIsdp\x03\xc2\x00\x3c", rest]),
    ];
    for (n, (name, parts)) in connects.iter().enumerate() {
        let packet = parts.concat();
        let head = [
            u8::try_from(n).unwrap(),
            0x10,
            u8::try_from(packet.len()).unwrap(),
        ];
        put(
            corpus,
            "mqtt_door",
            name,
            &[&head[..], &packet, b"more"].concat(),
        );
    }
    put(
        corpus,
        "mqtt_door",
        "a length without end",
        b"\x01\x10\xff\xff\xff\xff\x7f",
    );
    put(corpus, "mqtt_door", "another packet", b"\x01\xc0\x00");
}

const EVENT: &str = "linli/v1/bank-a/event";
const COMMAND: &str = "linli/v1/bank-a/command";

/// A first byte that says how the rest is cut, a second that says who the client is, then its packets.
pub fn packets(corpus: &Path) {
    for (name, stream) in of_both(b"").into_iter().chain(of_three()) {
        put_packets(corpus, &format!("3 {name}"), 0, &stream);
    }
    for (name, stream) in of_both(b"\x00").into_iter().chain(of_five()) {
        put_packets(corpus, &format!("5 {name}"), 1, &stream);
    }
    // Clients of MQTT 5 that take next to nothing, and one that wants no reasons.
    let (_, usual) = of_both(b"\x00").swap_remove(0);
    for (name, who) in [
        ("1 byte", 5),
        ("4 bytes", 9),
        ("9 bytes", 13),
        ("36 bytes", 25),
    ] {
        put_packets(corpus, &format!("5 takes {name}"), who, &usual);
    }
    put_packets(corpus, "5 without reasons", 3, &usual);
}

fn put_packets(corpus: &Path, name: &str, who: u8, stream: &[u8]) {
    let cut = u8::try_from(stream.len() % 5).unwrap();
    put(
        corpus,
        "mqtt_packets",
        name,
        &[&[cut, who], stream].concat(),
    );
}

type Streams = Vec<(&'static str, Vec<u8>)>;

/// What both versions have, with `none` where MQTT 5 has its properties.
fn of_both(none: &[u8]) -> Streams {
    let subscribe = |filter: &str, options: u8| {
        framed(
            0x82,
            &[b"\x00\x09", none, &text(filter), &[options]].concat(),
        )
    };
    let unsubscribe = |filter: &str| framed(0xa2, &[b"\x00\x09", none, &text(filter)].concat());
    let publish = |first: u8, topic: &str, id: &[u8], payload: &[u8]| {
        framed(first, &[&text(topic), id, none, payload].concat())
    };
    let event = publish(0x32, EVENT, b"\x00\x07", b"{\"kind\":\"hello\"}");
    let usual = [
        &event[..],
        &subscribe(COMMAND, 1),
        b"\x40\x02\x00\x07\xc0\x00",
        &unsubscribe(COMMAND),
        b"\xe0\x00",
    ];
    vec![
        ("the usual", usual.concat()),
        ("again", publish(0x3a, EVENT, b"\x00\x07", b"x")),
        ("at most once", publish(0x31, EVENT, b"", b"online")),
        (
            "exactly once",
            [
                &publish(0x34, EVENT, b"\x00\x07", b"x")[..],
                b"\x62\x02\x00\x07",
            ]
            .concat(),
        ),
        ("QoS 3", publish(0x36, EVENT, b"\x00\x07", b"x")),
        ("packet id 0", publish(0x32, EVENT, b"\x00\x00", b"x")),
        ("no topic", publish(0x30, "", b"", b"x")),
        ("a wildcard", publish(0x30, "linli/v1/+/event", b"", b"x")),
        ("NUL", publish(0x30, "linli/v1/\0", b"", b"x")),
        (
            "no text",
            framed(0x30, &[b"\x00\x02\xff\xff", none, b"x"].concat()),
        ),
        (
            "a topic longer than its packet",
            framed(0x32, b"\xff\xfflinli"),
        ),
        ("a PUBLISH of no length", b"\x32\x00".to_vec()),
        (
            "256 MB announced",
            b"\x32\xff\xff\xff\x7f\x00\x15linli".to_vec(),
        ),
        ("70,000 announced", b"\xc0\x00\x32\xf0\xa2\x04lin".to_vec()),
        ("70,001 announced", b"\xc0\x00\x32\xf1\xa2\x04lin".to_vec()),
        (
            "a length of five bytes",
            b"\xc0\xff\xff\xff\xff\x01".to_vec(),
        ),
        ("a length longer than needed", b"\xc0\x80\x00".to_vec()),
        ("half a packet", event[..event.len() / 2].to_vec()),
        (
            "all filters",
            [
                subscribe("#", 0),
                subscribe("$share/g/a", 1),
                subscribe("+/+", 2),
            ]
            .concat(),
        ),
        ("an empty filter", subscribe("", 1)),
        ("no filter", framed(0x82, &[b"\x00\x09", none].concat())),
        (
            "a filter without options",
            framed(0x82, &[b"\x00\x09", none, &text("#")].concat()),
        ),
        ("reserved options", subscribe("#", 0x41)),
        (
            "SUBSCRIBE with flags 0",
            framed(0x80, &[b"\x00\x09", none, &text("#"), b"\x01"].concat()),
        ),
        (
            "unsubscribe from nothing",
            framed(0xa2, &[b"\x00\x09", none].concat()),
        ),
        ("unsubscribe from an empty filter", unsubscribe("")),
        ("a ping with a body", b"\xc0\x01x".to_vec()),
        ("a goodbye with a body", b"\xe0\x03\x00\x00x".to_vec()),
        (
            "a second CONNECT",
            framed(0x10, b"\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01a"),
        ),
        ("a SUBACK", b"\x90\x03\x00\x01\x00".to_vec()),
        ("packet type 0", b"\x00\x00".to_vec()),
        ("AUTH", b"\xf0\x00".to_vec()),
        ("PUBREL with flags 0", b"\x60\x02\x00\x01".to_vec()),
        ("PUBACK with packet id 0", b"\x40\x02\x00\x00".to_vec()),
    ]
}

fn of_three() -> Streams {
    let options = framed(0x82, &[b"\x00\x09", &text("#")[..], b"\x05"].concat());
    vec![("options of MQTT 5", options)]
}

fn of_five() -> Streams {
    let with = |properties: &[u8]| {
        let length = [u8::try_from(properties.len()).unwrap()];
        framed(
            0x32,
            &[&text(EVENT)[..], b"\x00\x07", &length, properties, b"x"].concat(),
        )
    };
    let filter = [&text(COMMAND)[..], b"\x2d"].concat();
    let all = b"\x01\x01\x02\x00\x00\x00\x05\x03\x00\x01t\x08\x00\x01r\x09\x00\x01c\x26\x00\x01a\x00\x01b";
    vec![
        ("all properties", with(all)),
        ("a property twice", with(b"\x01\x01\x01\x01")),
        (
            "a property of another packet",
            with(b"\x11\x00\x00\x00\x00"),
        ),
        ("a topic alias", with(b"\x23\x00\x01")),
        ("a subscription identifier", with(b"\x0b\x01")),
        ("no expiry", with(b"\x02\x00\x00\x00\x00")),
        (
            "properties longer than the packet",
            framed(0x32, b"\x00\x01a\x00\x07\xff\x7f"),
        ),
        (
            "properties of a length longer than needed",
            framed(0x30, b"\x00\x01a\x80\x00x"),
        ),
        (
            "all options",
            framed(
                0x82,
                &[
                    b"\x00\x09\x09\x0b\xff\xff\xff\x7f\x26\x00\x00\x00\x00",
                    &filter[..],
                ]
                .concat(),
            ),
        ),
        (
            "subscription identifier 0",
            framed(0x82, &[b"\x00\x09\x02\x0b\x00", &filter[..]].concat()),
        ),
        (
            "a PUBACK with a reason",
            b"\x40\x0c\x00\x07\x10\x08\x1f\x00\x01r\x26\x00\x00\x00\x00".to_vec(),
        ),
        ("a goodbye with its will", b"\xe0\x01\x04".to_vec()),
        (
            "a goodbye with properties",
            b"\xe0\x0b\x00\x09\x11\x00\x00\x00\x05\x1f\x00\x01r".to_vec(),
        ),
    ]
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

/// A packet of less than 128 bytes after its header.
fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len() < 128);
    [&[first, u8::try_from(body.len()).unwrap()], body].concat()
}
