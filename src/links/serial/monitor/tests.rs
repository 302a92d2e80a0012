//! A line in words: pieces, pauses, noise, and nothing personal.

use firmware_protocols::event::{self, Event, Secret, When};
use firmware_protocols::link::{Frame, Kind};
use firmware_protocols::{Form, Kind as Says};

use super::*;

struct Bench {
    monitor: Monitor,
    now: Instant,
    heard: Vec<Heard>,
}

impl Bench {
    fn new(protocol: Protocol, mixed: bool) -> Self {
        let now = Instant::now();
        Self {
            monitor: Monitor::new(protocol, mixed, true, now, 1_000),
            now,
            heard: Vec::new(),
        }
    }

    fn take(&mut self, after_ms: u64, ours: bool, bytes: &[u8]) {
        self.now += Duration::from_millis(after_ms);
        self.monitor.take(self.now, ours, bytes, &mut self.heard);
    }

    fn rest(&mut self) {
        self.now += IDLE;
        self.monitor.idle(self.now, &mut self.heard);
    }

    fn words(&self) -> Vec<(&str, &str)> {
        let heard = self.heard.iter();
        heard
            .map(|heard| (heard.from.as_str(), heard.words.as_str()))
            .collect()
    }
}

const ASK: [u8; 5] = [0x02, 0x10, 0x30, 0x03, 0x45];
const REPLY: [u8; 9] = [0x02, 0x10, 0x35, 0xfe, 0xff, 0x00, 0x00, 0x03, 0x47];

#[test]
fn frames_come_whole_with_their_times_however_they_were_cut() {
    let mut bench = Bench::new(Protocol::KerongCu16, false);
    bench.take(0, true, &ASK);
    bench.take(7, false, &REPLY[..4]);
    bench.take(3, false, &REPLY[4..]);
    let wanted = [
        ("gateway", "board 1: status of all channels?"),
        (
            "device",
            "board 1: lock bits set: 2-16; occupancy bits set: none",
        ),
    ];
    assert_eq!(bench.words(), wanted);
    let reply = &bench.heard[1];
    assert_eq!((reply.at_ms, reply.gap_ms, reply.bytes), (1_007, 7.0, 9));
    assert_eq!(reply.hex.as_deref(), Some("02 10 35 fe ff 00 00 03 47"));
}

#[test]
fn a_wrong_check_and_half_a_frame_are_named() {
    let mut bench = Bench::new(Protocol::KerongCu16, false);
    let mut damaged = ASK;
    damaged[4] ^= 1;
    bench.take(0, false, &damaged);
    bench.take(1, false, &ASK);
    bench.take(500, false, &REPLY[..5]);
    bench.rest();
    let words = bench.words();
    assert!(
        words[0]
            .1
            .starts_with("NO FRAME: 5 bytes; like one with a wrong check"),
        "{words:?}"
    );
    assert_eq!(words[1].1, "board 1: status of all channels?");
    assert!(words[2].1.starts_with("NO FRAME: 5 bytes"), "{words:?}");
    assert_eq!(bench.heard[2].gap_ms, 500.0);
    assert!(
        bench.heard[2].hex.is_some(),
        "nothing personal can be in it"
    );
}

#[test]
fn both_directions_on_one_wire_are_told_by_the_frames() {
    let mut bench = Bench::new(Protocol::KerongCu16, true);
    bench.take(0, false, &[&ASK[..], &REPLY].concat());
    let from: Vec<&str> = bench.words().iter().map(|(from, _)| *from).collect();
    assert_eq!(from, ["gateway", "device"]);
}

fn events(kind: Says) -> Vec<u8> {
    let event = Event {
        boot: 1,
        seq: 7,
        when: When::Unsaid,
        kind,
    };
    let frame = Frame {
        payload: event::encode(&[event], Form::Cbor),
        ..Frame::new(false, 2, Kind::Events)
    };
    frame.encode()
}

#[test]
fn digits_symbols_and_cards_are_never_shown() {
    let secret = || Secret::new("482915");
    let personal = [
        Says::Keypad {
            code: secret(),
            opened: None,
        },
        Says::Scan { symbol: secret() },
        Says::Access {
            door: "door-1".parse().unwrap(),
            outcome: event::Outcome::Granted,
            direction: None,
            method: None,
            credential: Some(secret()),
        },
    ];
    for kind in personal {
        let mut bench = Bench::new(Protocol::Linli, false);
        let frame = events(kind);
        bench.take(0, false, &frame);
        // Damaged, it is noise: its bytes aren't shown either.
        let mut damaged = frame.clone();
        damaged[10] ^= 0x55;
        bench.take(200, false, &damaged);
        bench.rest();
        assert!(bench.heard.len() >= 2, "{:?}", bench.heard);
        let shown = serde_json::to_string(&bench.heard).unwrap();
        assert!(
            !shown.contains("482915") && !shown.contains("34 38 32"),
            "{shown}"
        );
        assert!(
            bench.heard.iter().all(|heard| heard.hex.is_none()),
            "{shown}"
        );
    }
    let mut bench = Bench::new(Protocol::Lines, false);
    bench.take(0, false, b"482915\r\n48");
    bench.rest();
    let shown = serde_json::to_string(&bench.heard).unwrap();
    assert!(
        bench.words()[0].1.starts_with("a line of 6 characters"),
        "{shown}"
    );
    assert!(
        !shown.contains("482") && !shown.contains("34 38"),
        "{shown}"
    );
}

#[test]
fn what_is_not_personal_is_shown_in_words_and_bytes() {
    let mut bench = Bench::new(Protocol::Linli, false);
    let door = Says::Compartment {
        compartment: 7,
        door: event::Door::Open,
        occupied: Some(false),
    };
    bench.take(0, false, &events(door));
    let words = bench.words()[0].1;
    assert!(
        words.starts_with("2: events: #7 compartment 7 open, empty (session 0"),
        "{words}"
    );
    assert!(bench.heard[0].hex.is_some());
}

#[test]
fn a_reader_s_cards_and_keys_are_not_shown() {
    for (code, name) in [(0x50, "a card"), (0x53, "keys")] {
        let mut frame = vec![0x53, 0x81, 11, 0, 1, code, 0x12, 0x34, 0x56, 0x78];
        let sum = frame.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
        frame.push(sum);
        let mut bench = Bench::new(Protocol::Osdp, true);
        bench.take(0, false, &frame);
        let words = bench.words();
        assert_eq!(words[0].0, "device");
        assert!(
            words[0].1.starts_with(&format!("reader 1: {name}")),
            "{words:?}"
        );
        assert_eq!(bench.heard[0].hex, None);
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_in_any_pieces_come_out_counted(
        pieces in proptest::collection::vec(
            (0_u64..100, proptest::bool::ANY, proptest::collection::vec(proptest::num::u8::ANY, 0..80)),
            0..40,
        ),
        which in 0_usize..8,
        mixed in proptest::bool::ANY,
    ) {
        let mut bench = Bench::new(Protocol::ALL[which], mixed);
        let mut bytes = 0;
        for (after, ours, piece) in &pieces {
            bytes += piece.len();
            bench.take(*after, *ours, piece);
        }
        bench.rest();
        let out: usize = bench.heard.iter().map(|heard| heard.bytes).sum();
        proptest::prop_assert_eq!(out, bytes);
        proptest::prop_assert_eq!(bench.monitor.due(), None);
    }

    #[test]
    fn a_frame_after_noise_is_found(noise in proptest::collection::vec(proptest::num::u8::ANY, 0..40)) {
        let mut bench = Bench::new(Protocol::KerongCu16, false);
        bench.take(0, true, &noise);
        // One frame may fall to noise that looked like its beginning.
        bench.take(1, true, &ASK);
        bench.take(1, true, &ASK);
        bench.rest();
        let found = bench.heard.iter().filter(|heard| heard.frame).count();
        proptest::prop_assert!(found >= 1);
    }
}
