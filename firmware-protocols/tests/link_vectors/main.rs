//! What authors of firmware are given is what the gateway does: `link-vectors.json` byte by byte in both
//! directions, every example in `LINK.md`, and the names in `link.cddl`.
//!
//! The file is written again with `LINLI_WRITE_VECTORS=1 cargo test -p firmware-protocols --test
//! link_vectors`; whoever does it looks at what has changed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use firmware_protocols::frame::{Found, Framing};
use firmware_protocols::link::{Frame, Hello, Kind, Link, cobs};
use serde_json::Value as Json;

mod made;

fn file() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("link-vectors.json")
}

fn vectors() -> Json {
    serde_json::from_slice(&std::fs::read(file()).unwrap()).unwrap()
}

fn group(name: &str) -> Vec<Json> {
    let group = vectors()[name].as_array().unwrap().clone();
    assert!(!group.is_empty(), "{name}");
    group
}

#[test]
fn the_file_is_what_the_code_does() {
    let written = made::file();
    if std::env::var_os("LINLI_WRITE_VECTORS").is_some() {
        std::fs::write(file(), &written).unwrap();
    }
    let kept = std::fs::read_to_string(file()).unwrap();
    assert!(
        kept == written,
        "link-vectors.json says something else than the code does: LINLI_WRITE_VECTORS=1 writes it again"
    );
}

/// Values that stand in the literature, so that both of ours can't be wrong together.
#[test]
fn the_checks_are_those_that_everybody_knows() {
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    assert_eq!(
        crc.checksum(b"123456789"),
        0xcbf4_3926,
        "the catalogue's check value"
    );
    // Cheshire and Baker, and the examples that everybody copies.
    for (plain, coded) in [
        ("", "01"),
        ("00", "0101"),
        ("0000", "010101"),
        ("11220033", "0311220233"),
        ("11223344", "0511223344"),
        ("11000000", "0211010101"),
    ] {
        let mut out = Vec::new();
        cobs::encode(&unhex(plain), &mut out);
        assert_eq!(hex(&out), coded);
    }
    let long: Vec<u8> = (1..=254).collect();
    let mut out = Vec::new();
    cobs::encode(&long, &mut out);
    assert_eq!(out, [&[0xff][..], &long].concat());
}

#[test]
fn frames_are_read_and_written_byte_by_byte() {
    let mut kinds = BTreeSet::new();
    for vector in group("frames") {
        let (name, bytes) = (text(&vector, "name"), unhex(text(&vector, "wire")));
        let frame = frame_of(&vector);
        assert_eq!(frame.encode(), bytes, "{name}");
        let used = bytes.len();
        assert_eq!(Link.find(&bytes), Found::Frame { frame, used }, "{name}");
        kinds.insert(text(&vector, "kind").to_owned());
    }
    let all = ["hello", "welcome", "ask", "events", "command", "ack"];
    assert_eq!(kinds, all.map(str::to_owned).into());
}

#[test]
fn frames_are_found_in_streams() {
    let frames: BTreeMap<String, Frame> = group("frames")
        .iter()
        .map(|vector| (text(vector, "name").to_owned(), frame_of(vector)))
        .collect();
    for vector in group("streams") {
        let wanted: Vec<&Frame> = names(&vector).map(|name| &frames[name]).collect();
        let (found, noise) = read(&unhex(text(&vector, "wire")));
        assert_eq!(
            found.iter().collect::<Vec<_>>(),
            wanted,
            "{}",
            vector["name"]
        );
        assert_eq!(
            noise as u64,
            vector["noise"].as_u64().unwrap(),
            "{}",
            vector["name"]
        );
    }
}

#[test]
fn malformed_hellos_are_refused_for_the_stated_reason() {
    for vector in group("malformed") {
        let why = Hello::decode(&unhex(text(&vector, "payload"))).unwrap_err();
        assert_eq!(why.0, text(&vector, "reason"), "{}", vector["name"]);
    }
}

/// Every hex example in LINK.md is a vector of that name.
#[test]
fn the_document_shows_the_vectors() {
    let known: BTreeMap<String, String> = ["frames", "streams", "hellos", "welcomes"]
        .into_iter()
        .flat_map(group)
        .map(|vector| {
            let bytes = vector["wire"].as_str().or(vector["payload"].as_str());
            (text(&vector, "name").to_owned(), bytes.unwrap().to_owned())
        })
        .collect();
    let dialogues: BTreeSet<String> = group("dialogues")
        .iter()
        .flat_map(|dialogue| dialogue["frames"].as_array().unwrap().clone())
        .map(|frame| text(&frame, "wire").to_owned())
        .collect();
    let document = include_str!("../../LINK.md");
    let (mut shown, mut spoken) = (0, 0);
    for block in document
        .split("\n```")
        .filter_map(|block| block.strip_prefix("bytes "))
    {
        let (name, bytes) = block.split_once('\n').unwrap();
        let bytes: String = bytes.split_whitespace().collect();
        assert_eq!(known.get(name), Some(&bytes), "{name}");
        shown += 1;
    }
    for line in document.lines().filter(|line| line.starts_with("    00 ")) {
        let bytes: String = line.split_whitespace().collect();
        assert!(dialogues.contains(&bytes), "no dialogue says {line}");
        spoken += 1;
    }
    assert!(shown >= 4 && spoken >= 6, "{shown} and {spoken} examples");
}

/// Each field of a hello and a welcome stands in the grammar, and nothing else does.
#[test]
fn the_grammar_names_every_field() {
    let cddl = include_str!("../../link.cddl");
    for (rule, group_name) in [("hello", "hellos"), ("welcome", "welcomes")] {
        let body = cddl.split(&format!("\n{rule} = {{")).nth(1).unwrap();
        let body = body.split("\n}").next().unwrap();
        let named: BTreeSet<String> = body
            .lines()
            .map(|line| line.trim().trim_start_matches("? "))
            .filter(|line| !line.starts_with('*') && !line.starts_with(';'))
            .filter_map(|line| Some(line.split_once(':')?.0.to_owned()))
            .collect();
        let said: BTreeSet<String> = group(group_name)
            .iter()
            .flat_map(|vector| {
                vector["says"]
                    .as_object()
                    .unwrap()
                    .keys()
                    .cloned()
                    .collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(named, said, "{rule}");
    }
}

fn frame_of(vector: &Json) -> Frame {
    let kind = match text(vector, "kind") {
        "hello" => Kind::Hello,
        "welcome" => Kind::Welcome,
        "ask" => Kind::Ask,
        "events" => Kind::Events,
        "command" => Kind::Command,
        "ack" => Kind::Ack,
        other => panic!("{other}"),
    };
    let number = |key: &str| u16::try_from(vector[key].as_u64().unwrap()).unwrap();
    let address = u8::try_from(number("address")).unwrap();
    let mut frame = Frame::new(text(vector, "from") == "gateway", address, kind);
    let flag = |word: &str| vector["flags"].as_array().unwrap().contains(&word.into());
    frame.over = flag("over");
    frame.busy = flag("busy");
    frame.again = flag("again");
    frame.withheld = flag("withheld");
    (frame.session, frame.seq, frame.ack) = (number("session"), number("seq"), number("ack"));
    frame.payload = unhex(text(vector, "payload"));
    frame
}

fn read(stream: &[u8]) -> (Vec<Frame>, usize) {
    let (mut found, mut noise, mut rest) = (Vec::new(), 0, stream);
    loop {
        let used = match Link.find(rest) {
            Found::Frame { frame, used } => {
                found.push(frame);
                used
            }
            Found::Noise(bytes) => {
                noise += bytes;
                bytes
            }
            Found::More => return (found, noise),
        };
        rest = &rest[used..];
    }
}

fn names(vector: &Json) -> impl Iterator<Item = &str> {
    vector["frames"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
}

fn text<'a>(vector: &'a Json, key: &str) -> &'a str {
    vector[key]
        .as_str()
        .unwrap_or_else(|| panic!("{key} of {vector}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |c: u8| u8::try_from(char::from(c).to_digit(16).unwrap()).unwrap();
    text.as_bytes()
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}
