//! The Linli link: framing, and both sides against each other over channels that lose and repeat.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use firmware_protocols::frame::{Found, Framing};
use firmware_protocols::link::{Frame, Kind, Link, cobs};

#[test]
fn a_frame_is_found_again() {
    let mut frame = Frame::new(false, 3, Kind::Events);
    frame.payload = vec![0; 1_024];
    let bytes = frame.encode();
    let used = bytes.len();
    assert_eq!(Link.find(&bytes), Found::Frame { frame, used });
    let mut coded = Vec::new();
    cobs::encode(&[1; 254], &mut coded);
    assert_eq!(coded.len(), 255);
}
