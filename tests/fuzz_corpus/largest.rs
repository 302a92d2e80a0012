//! Inputs as large as may come and built to be dear: for each decoder what would hurt it most.

use std::fmt::Write as _;

use cloud_protocol::BODY_MAX_BYTES;
use firmware_protocols::PAYLOAD_MAX_BYTES;
use linli::control::wire::REQUEST_MAX_BYTES;
use linli::links::embedded::limits::PACKET_MAX_BYTES;

/// What it is, its target, how it is made of a size, the largest size that may come.
type Largest = (&'static str, &'static str, fn(usize) -> Vec<u8>, usize);

/// Every such input.
pub const ALL: &[Largest] = &[
    ("nothing but nulls, CBOR", "value", nulls, BODY_MAX_BYTES),
    (
        "nested as deep as is read, CBOR",
        "value",
        nested,
        BODY_MAX_BYTES,
    ),
    (
        "one map of many keys, CBOR",
        "value",
        keys_cbor,
        BODY_MAX_BYTES,
    ),
    (
        "one map of many keys, JSON",
        "value",
        keys_json,
        BODY_MAX_BYTES,
    ),
    (
        "many keys, the last of them twice, JSON",
        "value",
        twice,
        BODY_MAX_BYTES,
    ),
    (
        "many keys with a common beginning, JSON",
        "value",
        alike,
        BODY_MAX_BYTES,
    ),
    (
        "text in pieces of nothing, CBOR",
        "value",
        pieces,
        BODY_MAX_BYTES,
    ),
    (
        "256 events that can't be read",
        "event_json",
        unreadable,
        PAYLOAD_MAX_BYTES,
    ),
    (
        "an event of many unknown keys",
        "event_json",
        unknown_keys,
        PAYLOAD_MAX_BYTES,
    ),
    (
        "a pack of records of many unknown labels",
        "senml",
        labels,
        PAYLOAD_MAX_BYTES,
    ),
    (
        "256 events that can't be read, kept",
        "intake",
        unreadable,
        PAYLOAD_MAX_BYTES,
    ),
    (
        "256 events that can be read",
        "intake",
        readable,
        PAYLOAD_MAX_BYTES,
    ),
    (
        "settings of many names",
        "downlink",
        settings,
        BODY_MAX_BYTES,
    ),
    (
        "a downlink of many items",
        "downlink",
        items,
        BODY_MAX_BYTES,
    ),
    (
        "a demand of many series",
        "uplink_item",
        series,
        BODY_MAX_BYTES,
    ),
    (
        "frames of nothing, with large windows",
        "packed_body",
        |size| b"\x28\xb5\x2f\xfd\x00\x68\x01\x00\x00".repeat(size / 9),
        BODY_MAX_BYTES,
    ),
    (
        "a signature of very many components",
        "signature_headers",
        components,
        BODY_MAX_BYTES,
    ),
    (
        "a gateway of very many settings",
        "enrol",
        gateway_settings,
        BODY_MAX_BYTES,
    ),
    (
        "a problem of one long text",
        "cloud_answer",
        problem,
        BODY_MAX_BYTES,
    ),
    (
        "a request of many unknown fields",
        "control",
        fields,
        REQUEST_MAX_BYTES,
    ),
    (
        "a configuration of many devices",
        "config",
        devices,
        1024 * 1024,
    ),
    (
        "13,000 filters, MQTT 3.1.1",
        "mqtt_packets",
        |size| packet(size, 0, 0x82, b"\x00\x09", b"\x00\x01#\x01"),
        PACKET_MAX,
    ),
    (
        "13,000 filters, MQTT 5",
        "mqtt_packets",
        |size| packet(size, 1, 0x82, b"\x00\x09\x00", b"\x00\x01#\x01"),
        PACKET_MAX,
    ),
    (
        "filters that are left",
        "mqtt_packets",
        |size| packet(size, 0, 0xa2, b"\x00\x09", b"\x00\x01a"),
        PACKET_MAX,
    ),
    (
        "9,000 user properties",
        "mqtt_packets",
        user_properties,
        PACKET_MAX,
    ),
    ("a topic of slashes", "mqtt_packets", slashes, PACKET_MAX),
    (
        "many small packets",
        "mqtt_packets",
        |size| [&[0, 0], b"\xc0\x00".repeat((size - 2) / 2).as_slice()].concat(),
        PACKET_MAX,
    ),
];

const PACKET_MAX: usize = PACKET_MAX_BYTES as usize;

/// As many of `part` as fit between `before` and `after`.
fn fill(size: usize, before: &str, after: &str, part: impl Fn(usize) -> String) -> Vec<u8> {
    let mut text = before.to_owned();
    for n in 0.. {
        let next = part(n);
        if text.len() + next.len() + after.len() > size {
            break;
        }
        text.push_str(&next);
    }
    if text.ends_with(',') {
        text.pop();
    }
    text.push_str(after);
    text.into_bytes()
}

fn with_head(major: u8, count: usize, mut body: Vec<u8>) -> Vec<u8> {
    let count = u32::try_from(count).unwrap();
    body.splice(0..0, count.to_be_bytes());
    body.insert(0, major << 5 | 26);
    body
}

fn nulls(size: usize) -> Vec<u8> {
    with_head(4, size - 5, vec![0xf6; size - 5])
}

fn nested(size: usize) -> Vec<u8> {
    let one = [[0x81_u8; 14].as_slice(), &[0xf6]].concat();
    let count = (size - 5) / one.len();
    with_head(4, count, one.repeat(count))
}

fn keys_cbor(size: usize) -> Vec<u8> {
    let count = (size - 5) / 6;
    let body = (0..count).flat_map(|n| {
        let key = u32::try_from(n).unwrap().reverse_bits().to_be_bytes();
        [0x1a, key[0], key[1], key[2], key[3], 0xf6]
    });
    with_head(5, count, body.collect())
}

fn keys_json(size: usize) -> Vec<u8> {
    fill(size, "{", "}", |n| format!("\"{n:x}\":0,"))
}

fn twice(size: usize) -> Vec<u8> {
    fill(size, "{", ",\"0\":0}", |n| format!("\"{n:x}\":0,"))
}

fn alike(size: usize) -> Vec<u8> {
    let common = "k".repeat(1_000);
    fill(size, "{", "}", |n| format!("\"{common}{n}\":0,"))
}

fn pieces(size: usize) -> Vec<u8> {
    let mut bytes = vec![0x60; size];
    bytes[0] = 0x7f;
    bytes[size - 1] = 0xff;
    bytes
}

fn unreadable(size: usize) -> Vec<u8> {
    let each = (size - 2) / 256 - 12;
    let text = "x".repeat(each);
    let one = format!("{{\"kind\":\"{text}\"}},");
    fill(size, "[", "]", |n| item(n, one.clone()))
}

fn unknown_keys(size: usize) -> Vec<u8> {
    let before = "{\"kind\":\"alarm\",\"boot\":1,\"seq\":1,\"alarm\":\"x\",";
    fill(size, before, "}", |n| format!("\"{n:x}\":0,"))
}

fn labels(size: usize) -> Vec<u8> {
    let mut record = "{\"n\":\"t\"".to_owned();
    for n in 0..size / 256 / 8 {
        let _ = write!(record, ",\"{n:x}\":0");
    }
    record.push_str("},");
    fill(size, "[", "]", |n| item(n, record.clone()))
}

fn readable(size: usize) -> Vec<u8> {
    let text = "x".repeat(((size - 2) / 256).saturating_sub(70).min(500));
    fill(size, "[", "]", |n| {
        let seq = n + 1;
        item(
            n,
            format!(
                "{{\"kind\":\"alarm\",\"boot\":1,\"seq\":{seq},\"alarm\":\"jammed\",\"text\":\"{text}x\"}},"
            ),
        )
    })
}

/// Item `n` of an array of 256, then white space.
fn item(n: usize, mut text: String) -> String {
    match n {
        0..255 => text,
        255 => {
            text.pop();
            text
        }
        _ => " ".to_owned(),
    }
}

fn settings(size: usize) -> Vec<u8> {
    let before = "{\"items\":[{\"seq\":1,\"kind\":\"settings\",\"settings\":{";
    fill(size, before, "}}]}", |n| format!("\"{n:x}\":0,"))
}

fn items(size: usize) -> Vec<u8> {
    fill(size, "{\"items\":[", "]}", |n| {
        format!("{{\"seq\":{},\"kind\":\"x\"}},", n + 1)
    })
}

fn series(size: usize) -> Vec<u8> {
    let zero = "A".repeat(43);
    let before = format!(
        "{{\"epoch\":1,\"lanes\":{{\"demand\":{{\"after\":0,\"chain\":\"{zero}\",\"items\":[{{\"seq\":1,\
         \"at\":1,\"kind\":\"demand\",\"scope\":{{\"site\":true}},\"start\":1,\"minutes\":60,\
         \"revision\":1,\"series\":{{"
    );
    fill(size, &before, "}}]}}}", |n| format!("\"{n:x}\":0,"))
}

/// Past the longest header that is read: refused before it is.
fn components(size: usize) -> Vec<u8> {
    let input = "linli=(\"@method\" \"@target-uri\" \"content-digest\"";
    let after = ");created=1;nonce=\"n\";keyid=\"g\"\nlinli=:AAAA:";
    fill(size, &format!("GET\nhttps://c/\nx\n{input}"), after, |n| {
        format!(" \"x{n:x}\"")
    })
}

fn gateway_settings(size: usize) -> Vec<u8> {
    let zero = "A".repeat(43);
    let before = format!(
        "{{\"sealing_key\":{{\"id\":\"k\",\"public_key\":\"{zero}\"}},\"time\":1,\"settings\":{{"
    );
    fill(size, &before, "}}", |n| format!("\"{n:x}\":0,"))
}

fn problem(size: usize) -> Vec<u8> {
    fill(size, "{\"title\":\"", "\"}", |_| "\\u0001é".to_owned())
}

fn fields(size: usize) -> Vec<u8> {
    fill(
        size,
        "{\"request\":\"act\",\"act\":\"reissue\",\"parcel\":\"P\",",
        "}",
        |n| format!("\"{n:x}\":[],"),
    )
}

fn devices(size: usize) -> Vec<u8> {
    fill(size, "site = 's'\nbuilding = [{ id = 'b' }]\n", "", |n| {
        format!("[[device]]\nid = 'd{n}'\nbuilding = 'b'\n")
    })
}

/// One packet of as many of `part` as fit, from a client that sends it in pieces of 256 bytes.
fn packet(size: usize, who: u8, first: u8, before: &[u8], part: &[u8]) -> Vec<u8> {
    let count = (size - before.len() - 6) / part.len();
    let body = [before, &part.repeat(count)].concat();
    [&[255, who, first], &length(body.len())[..], &body].concat()
}

fn user_properties(size: usize) -> Vec<u8> {
    let one = b"\x26\x00\x01k\x00\x01v";
    let all = one.repeat((size - 20) / one.len());
    packet(
        size,
        1,
        0x30,
        &[b"\x00\x01t", &length(all.len())[..], &all].concat(),
        b"x",
    )
}

fn slashes(size: usize) -> Vec<u8> {
    let topic = "/".repeat((size - 20).min(65_000));
    let length = u16::try_from(topic.len()).unwrap().to_be_bytes();
    packet(
        size,
        1,
        0x30,
        &[&length, topic.as_bytes(), b"\x00"].concat(),
        b"x",
    )
}

/// A length of MQTT, in three bytes.
fn length(length: usize) -> [u8; 3] {
    let low = |places: usize| u8::try_from(length >> places & 0x7f).unwrap();
    [low(0) | 0x80, low(7) | 0x80, low(14)]
}
