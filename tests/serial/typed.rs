//! Scanners and keypads that type lines: each line is one event, once, whatever the disk does, and
//! what was typed is nowhere to be read.

use std::fs;
use std::time::Duration;

use firmware_protocols::topic::Channel;
use firmware_protocols::{Command, Form, Ident, Order, Tone};
use linli::links::ToDevice;
use linli::store::read::EventRow;
use rusqlite::Connection;

use super::bed::{Bed, Wire};

/// A bank's keypad and scanner, each on a port.
fn keypad_and_scanner(keypad: &Wire, scanner: &Wire) -> String {
    format!(
        "[[port]]\nid = \"p1\"\npath = {:?}\nprotocol = \"lines\"\n\
         [[port]]\nid = \"p2\"\npath = {:?}\nprotocol = \"lines\"\n\
         [[bank]]\nid = \"bank-a\"\nbuilding = \"b1\"\naddress = \"Gate 1\"\n\
         compartments = [{{ count = 2, size = \"S\" }}]\n\
         [[device]]\nid = \"keypad-1\"\nbuilding = \"b1\"\npoint = \"bank-a\"\n\
         serial = {{ port = \"p1\", says = \"keypad\", terminator = \"#\" }}\n\
         [[device]]\nid = \"scanner-1\"\nbuilding = \"b1\"\npoint = \"bank-a\"\n\
         serial = {{ port = \"p2\", says = \"scan\", prefix = \"]\" }}\n",
        keypad.path(),
        scanner.path()
    )
}

struct Typed {
    keypad: Wire,
    scanner: Wire,
    bed: Bed,
}

impl Typed {
    async fn start() -> Self {
        let (keypad, scanner) = (Wire::new(), Wire::new());
        let bed = Bed::start(&keypad_and_scanner(&keypad, &scanner)).await;
        bed.port_is("p1", "open", |port| port.up).await;
        bed.port_is("p2", "open", |port| port.up).await;
        Self {
            keypad,
            scanner,
            bed,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_one_event_and_numbers_go_on_over_a_restart_in_another_boot() {
    let mut typed = Typed::start().await;
    typed.scanner.say(b"]SF1\r\n]SF2\r\n").await;
    typed.keypad.say(b"8041").await;
    typed.keypad.say(b"7733#").await;
    let scans = typed.bed.said("scanner-1", "scan", 2).await;
    let keys = typed.bed.said("keypad-1", "keypad", 1).await;
    assert_eq!((scans.len(), keys.len()), (2, 1));
    without_gap(&typed.bed.events("scanner-1"));
    typed.bed.restart().await;
    typed.bed.port_is("p2", "open", |port| port.up).await;
    typed.scanner.say(b"]SF2\r").await;
    let scans = typed.bed.said("scanner-1", "scan", 3).await;
    assert_eq!(scans.len(), 3);
    assert!(scans[2].boot > scans[1].boot);
    assert_eq!(typed.bed.events_of("scanner-1", "hello").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_one_event_although_the_disk_refuses_it_at_first() {
    let mut typed = Typed::start().await;
    typed.bed.said("scanner-1", "hello", 1).await;
    // Somebody holds the store's lock for longer than the journal waits.
    let held = Connection::open(typed.bed.store()).unwrap();
    held.execute_batch("BEGIN IMMEDIATE").unwrap();
    typed.scanner.say(b"]SF1\r").await;
    loop {
        let status = typed.bed.linli(&["status", "--json"]).await;
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        if status["journal"]["writing"] == false {
            break;
        }
    }
    typed.scanner.say(b"]SF2\r]SF3\r").await;
    held.execute_batch("ROLLBACK").unwrap();
    let scans = typed.bed.said("scanner-1", "scan", 3).await;
    assert!(scans.iter().map(|scan| scan.seq).eq(2..=4), "{scans:?}");
    typed.scanner.say(b"]SF4\r").await;
    let scans = typed.bed.said("scanner-1", "scan", 4).await;
    assert_eq!(scans.len(), 4);
    typed.bed.stop().await;
    without_gap(&typed.bed.events("scanner-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_typed_just_before_the_stop_is_on_disk() {
    let mut typed = Typed::start().await;
    let (tap, _) = typed.bed.daemon().ports.tap("p2").unwrap();
    let mut tap = tap.listen();
    // The disk takes nothing for a moment, so that all of it waits when the stop comes.
    let held = Connection::open(typed.bed.store()).unwrap();
    held.execute_batch("BEGIN IMMEDIATE").unwrap();
    for n in 0..20 {
        typed.scanner.say(format!("]SF{n}\r").as_bytes()).await;
    }
    let mut ends = 0;
    while ends < 20 {
        let read = tap.recv().await.unwrap().bytes;
        assert!(!contains(&read, b"SF"), "what is typed is masked");
        ends += read.iter().filter(|byte| **byte == b'\r').count();
    }
    let release = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        held.execute_batch("ROLLBACK").unwrap();
    };
    let (took, ()) = tokio::join!(typed.bed.stop(), release);
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(typed.bed.events_of("scanner-1", "scan").len(), 20);
    without_gap(&typed.bed.events("scanner-1"));
}

/// Their numbers are 1 and so on, each once.
fn without_gap(events: &[EventRow]) {
    assert!(
        events
            .iter()
            .map(|event| event.seq)
            .eq(1..=events.len() as u64),
        "{events:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_line_of_theirs_is_counted_and_is_no_event() {
    let mut typed = Typed::start().await;
    typed.keypad.say(b"12AB34#5550#").await;
    typed.scanner.say(b"no prefix\r]SF9\r").await;
    typed.bed.said("keypad-1", "keypad", 1).await;
    typed.bed.said("scanner-1", "scan", 1).await;
    let note = |port, device| {
        let slave = typed.bed.slave(port, device).unwrap();
        (slave.answers, slave.note.unwrap())
    };
    let (answers, keypad) = note("p1", "keypad-1");
    assert_eq!(answers, Some(true));
    assert!(keypad.contains("passed over since the start: 1") && keypad.contains("digits"));
    assert!(!keypad.contains("12AB34"), "{keypad}");
    assert!(note("p2", "scanner-1").1.contains("prefix"));
    assert_eq!(typed.bed.events_of("keypad-1", "keypad").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn digits_are_in_no_file_and_no_status() {
    let mut typed = Typed::start().await;
    typed.keypad.say(b"80417733#80417733x#").await;
    typed.scanner.say(b"]BADGE-80417733\r80417733\r").await;
    typed.bed.said("keypad-1", "keypad", 1).await;
    typed.bed.said("scanner-1", "scan", 1).await;
    let status = typed.bed.linli(&["status", "--json"]).await;
    assert!(status.status.success());
    assert!(!contains(&status.stdout, b"80417733"));
    typed.bed.stop().await;
    let mut files = vec![typed.bed.state()];
    let mut looked = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(
                fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if let Ok(bytes) = fs::read(&path) {
            looked += bytes.len();
            assert!(!contains(&bytes, b"80417733"), "{}", path.display());
        }
    }
    assert!(looked > 10_000);
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_refused_as_it_can_do_nothing() {
    let mut typed = Typed::start().await;
    let show = |id: &str| ToDevice {
        device: Ident::new("keypad-1").unwrap(),
        channel: Channel::Command,
        payload: Command {
            id: id.to_owned(),
            expires: i64::MAX / 2,
            ttl_ms: 5_000,
            order: Order::Show {
                text: "hello".to_owned(),
                tone: Tone::Info,
            },
        }
        .encode(Form::Cbor)
        .into(),
        expiry_ms: None,
        open: None,
    };
    assert!(typed.bed.daemon().ports.send(show("c-1")).is_none());
    let results = typed.bed.said("keypad-1", "result", 1).await;
    assert_eq!(results[0].body["outcome"], "refused");
    assert_eq!(results[0].body["reason"], "it has no display");
    // And when it is away, that is what is said.
    typed.keypad = Wire::new();
    typed.bed.port_is("p1", "away", |port| !port.up).await;
    assert!(typed.bed.daemon().ports.send(show("c-2")).is_none());
    let results = typed.bed.said("keypad-1", "result", 2).await;
    assert_eq!(results[1].body["outcome"], "failed");
    assert!(
        results[1].body["reason"]
            .as_str()
            .unwrap()
            .contains("unplugged")
    );
}
