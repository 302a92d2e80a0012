//! The seeds of what comes over serial lines: the vectors of the locker boards and of the Linli link.

use std::fs;
use std::path::Path;

use serde_json::Value as Json;

use super::{put, unhex};

/// Frames and streams of the link's vectors; and histories, each byte what happens next.
pub fn link(corpus: &Path) {
    let vectors =
        fs::read(crate::corpus().join("../../firmware-protocols/link-vectors.json")).unwrap();
    let vectors: Json = serde_json::from_slice(&vectors).unwrap();
    for group in ["frames", "streams"] {
        for vector in vectors[group].as_array().unwrap() {
            let name = format!("{group} {}", vector["name"].as_str().unwrap());
            let wire = unhex(vector["wire"].as_str().unwrap());
            put(corpus, "link_frame", &name, &wire);
        }
    }
    // Low half of a byte: 0, 1 lose; 2, 3 repeat; 4, 5 damage; 6, 7 noise; 8 the disk refuses; 9 it
    // sleeps; 10 hold; 11 a restart; 12 a command; 13 events; 14 nothing. High half: how, and how long.
    let histories: [(&str, &[u8]); 10] = [
        ("nothing happens", &[0x0e, 0x1e, 0x2e]),
        ("events", &[0x0e, 0x2e, 0xfd, 0x2e, 0x3d, 0x2e]),
        (
            "lost both ways",
            &[0x0e, 0x2e, 0x2d, 0x10, 0x2d, 0x11, 0x2e, 0x30],
        ),
        (
            "repeated and damaged",
            &[0x0e, 0x2e, 0x4d, 0x02, 0x03, 0x14, 0x25, 0x2d, 0x3e],
        ),
        ("noise", &[0x0e, 0x2e, 0x26, 0x17, 0x2d, 0xf6, 0xf7, 0x2e]),
        (
            "the disk refuses and sleeps",
            &[0x0e, 0x2e, 0x28, 0x7d, 0x2e, 0x09, 0x2d, 0x5e, 0x09],
        ),
        (
            "over the limit",
            &[0x0e, 0x2e, 0x0a, 0xfd, 0x6e, 0x0a, 0x2e],
        ),
        (
            "the device restarts",
            &[0x0e, 0x2e, 0x7d, 0x0b, 0x2d, 0x1b, 0x2e],
        ),
        (
            "the gateway restarts",
            &[0x0e, 0x2e, 0x7d, 0x6b, 0x2d, 0x5b, 0x2e],
        ),
        (
            "commands and a list",
            &[0x0e, 0x2e, 0xfc, 0x2c, 0x10, 0x9c, 0x2e, 0x1c, 0x6e],
        ),
    ];
    for (name, history) in histories {
        for (mode, first) in [("free", 0x0e), ("polled", 0x0f), ("small", 0x10)] {
            let mut history = history.to_vec();
            history[0] = first;
            put(corpus, "link_session", &format!("{mode} {name}"), &history);
        }
    }
}

/// Each frame of the boards' vectors, and two behind noise that begins like one.
pub fn boards(corpus: &Path) {
    let vectors = crate::corpus().join("../../firmware-protocols/board-vectors.json");
    let vectors: Json = serde_json::from_slice(&fs::read(vectors).unwrap()).unwrap();
    let protocols = ["kerong-cu16", "kerong-cu48", "8a", "wkly"];
    for group in ["frames", "no_frames"] {
        for vector in vectors[group].as_array().unwrap() {
            let protocol = vector["protocol"].as_str().unwrap();
            let model = protocols.iter().position(|p| *p == protocol).unwrap();
            let way = match vector["direction"].as_str() {
                Some("to-boards") => 0,
                _ => 4,
            };
            let mut bytes = vec![u8::try_from(model).unwrap() | way];
            bytes.extend(unhex(&vector["hex"].as_str().unwrap().replace(' ', "")));
            let name = format!("{protocol} {}", vector["name"].as_str().unwrap());
            put(corpus, "board_frame", &name, &bytes);
        }
    }
    let noise: [&[u8]; 4] = [
        b"\x04\xff\x02\x10\x35\x02\x00\x30\x03\x35",
        b"\x05\x02\x01\x00\x75\x06\x02\x01\x05\x75\x00\x7d",
        b"\x06\x80\x01\x00\x33\xb2\x80\x01\x00\x33\xb2\x33\x33",
        b"\x07WKLY\x7fWKLYWKLY\x09\x0a\x82\x01\x89",
    ];
    for (protocol, bytes) in protocols.iter().zip(noise) {
        put(
            corpus,
            "board_frame",
            &format!("{protocol} behind noise"),
            bytes,
        );
    }
}
