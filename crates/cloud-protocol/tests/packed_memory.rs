//! What a packed body may cost at most: the memory of a body and the time of a second, whatever its
//! frames say of themselves. In a program of its own, as the peak is the process's.
#![cfg(all(feature = "secure", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod vector_file;

use std::fs;
use std::time::Instant;

use cloud_protocol::BODY_MAX_BYTES;
use cloud_protocol::secure::compressed::unpack;
use vector_file::{bytes, list, text, vectors};

/// A body, its buffer shrunk beside it, and the decoder.
const MOST_KIB: u64 = 4 * 1024;

#[test]
fn no_packed_body_needs_more_than_a_body() {
    let mut bodies: Vec<(String, Vec<u8>)> = list(&vectors(), "packed")
        .iter()
        .map(|vector| (text(vector, "name").to_string(), bytes(vector, "packed")))
        .collect();
    let magic = b"\x28\xb5\x2f\xfd";
    // The window descriptor 0xff: 3.75 TiB; 0xa0: 1 GiB. Then a raw block that breaks off.
    for window in [0xff, 0xa8, 0xa0, 0x70] {
        let frame = [magic.as_slice(), &[0x00, window], b"\x08\xff\x0fx"].concat();
        bodies.push((format!("the window {window:#x}"), frame));
    }
    // Frames of nothing, each with a window of 8 MiB: as many as fit, and skippable ones.
    let nothing = [magic.as_slice(), b"\x00\x68\x01\x00\x00"].concat();
    let skipped = b"\x50\x2a\x4d\x18\x00\x00\x00\x00";
    for frame in [nothing.as_slice(), skipped] {
        let many = frame.repeat(BODY_MAX_BYTES / frame.len());
        bodies.push(("many frames of nothing".to_string(), many));
    }
    let _ = unpack(&bodies[0].1);
    for (name, packed) in bodies {
        fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = peak_kib();
        let began = Instant::now();
        let body = unpack(&packed);
        let took = began.elapsed();
        let grown = peak_kib().saturating_sub(before);
        println!(
            "{name:<45} {grown:>6} KiB {took:>10.1?} {:?}",
            body.map(|b| b.len())
        );
        assert!(grown <= MOST_KIB, "{name}: {grown} KiB");
        assert!(took.as_secs() < 10, "{name}: {took:?}");
    }
}

/// The most that was resident since `clear_refs` was last written.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}
