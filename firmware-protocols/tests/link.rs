//! The Linli link: framing, and both sides against each other over a channel that loses, damages and
//! repeats, with restarts and a disk that refuses. The properties are those of the fuzz targets
//! `link_frame` and `link_session`; here they get random histories.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::collection::vec;
use proptest::prelude::*;

#[path = "../../fuzz/src/light/link.rs"]
mod link;
#[path = "../../fuzz/src/light/link_session.rs"]
mod link_session;

/// Asked of every reason by the fuzz targets.
fn sound_reason(reason: &str) {
    assert!((1..=400).contains(&reason.chars().count()));
}

/// Bytes with many zeros, and now and then a frame.
fn streams() -> impl Strategy<Value = Vec<u8>> {
    use firmware_protocols::link::{Frame, Kind};
    let bytes = vec(prop_oneof![Just(0), any::<u8>()], 0..40);
    let frame =
        (any::<bool>(), 0u8..8, vec(any::<u8>(), 0..1_025)).prop_map(|(from, kind, payload)| {
            let kinds = [
                Kind::Hello,
                Kind::Welcome,
                Kind::Ask,
                Kind::Events,
                Kind::Command,
                Kind::Ack,
            ];
            let kind = kinds
                .get(usize::from(kind))
                .copied()
                .unwrap_or(Kind::Other(200));
            let mut frame = Frame::new(from, 3, kind);
            frame.payload = payload;
            frame.encode()
        });
    let long = vec(1u8..=255, 900..2_300);
    vec(prop_oneof![4 => bytes, 4 => frame, 1 => long], 0..6).prop_map(|parts| parts.concat())
}

proptest! {
    // No file beside the tests for what was found: it becomes a test.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn frames_are_found_in_any_stream(stream in streams()) {
        link::link_frame(&stream);
    }

    #[test]
    fn every_history_ends_with_all_events_on_disk_and_each_command_once(history in vec(any::<u8>(), 1..300)) {
        link_session::link_session(&history);
    }

    /// Much to do, and little that goes wrong.
    #[test]
    fn so_does_a_long_quiet_one(
        first in any::<u8>(),
        history in vec(prop_oneof![3 => Just(0x1fu8), 2 => Just(0x3d), 1 => Just(0x2c), 1 => Just(0xfc), 1 => Just(0x10), 1 => Just(0x11)], 1..200),
    ) {
        let history: Vec<u8> = [first].into_iter().chain(history).collect();
        link_session::link_session(&history);
    }
}
