//! Lines with and without an echo, for every protocol that asks and is answered: what the driver
//! reads is what the slave said, however the bytes are cut.

use super::*;
use proptest::prelude::*;

fn sum(mut frame: Vec<u8>) -> Vec<u8> {
    frame.push(
        frame
            .iter()
            .fold(0, |sum: u8, byte| sum.wrapping_add(*byte)),
    );
    frame
}

fn xor(mut frame: Vec<u8>) -> Vec<u8> {
    frame.push(frame.iter().fold(0, |sum, byte| sum ^ byte));
    frame
}

/// A status request, with an answer to it; what varies comes from `v`.
fn asked(protocol: Protocol, v: [u8; 4]) -> (Vec<u8>, Vec<u8>) {
    let [a, b, c, d] = v;
    match protocol {
        Protocol::KerongCu16 => (
            sum(vec![2, a, 0x30, 3]),
            sum(vec![2, a, 0x35, b, c, d, 0, 3]),
        ),
        Protocol::KerongCu48 => (
            sum(vec![2, a, 0, 0x60, 3]),
            sum(vec![2, a, 0, 0x75, 6, b, c, d, b, c, d]),
        ),
        Protocol::EightA => (
            xor(vec![0x80, a, 0, 0x33]),
            xor(vec![0x80, a, b, c, d, 0x33]),
        ),
        Protocol::Wkly => (
            xor(vec![0x57, 0x4B, 0x4C, 0x59, 9, a, 0x83, b]),
            xor(vec![0x57, 0x4B, 0x4C, 0x59, 11, a, 0x83, 0, b, c]),
        ),
        Protocol::Osdp => (
            vec![0x53, a & 0x7F, 8, 0, 4, 0x60, b, c],
            vec![0x53, a | 0x80, 7, 0, 4, b, c],
        ),
        _ => (vec![a, 3, 0, b, 0, 1, c, d], vec![a, 3, 2, b, c, d, 0]),
    }
}

/// A request to open, which may be answered by its own bytes.
fn opened(protocol: Protocol, a: u8) -> Vec<u8> {
    match protocol {
        Protocol::KerongCu16 => sum(vec![2, a, 0x31, 3]),
        Protocol::KerongCu48 => sum(vec![2, a, 0, 0x61, 3]),
        Protocol::EightA => xor(vec![0x8A, a, 1, 0x11]),
        Protocol::Wkly => xor(vec![0x57, 0x4B, 0x4C, 0x59, 9, a, 0x82, 1]),
        _ => vec![a, 5, 2, 0, 0, 7, 9, 9],
    }
}

const ASKING: [Protocol; 6] = [
    Protocol::KerongCu16,
    Protocol::KerongCu48,
    Protocol::EightA,
    Protocol::Wkly,
    Protocol::Modbus,
    Protocol::Osdp,
];

/// One exchange over an adapter. Returns what the driver reads.
fn exchange(echo: &mut Echo, echoes: bool, request: &[u8], answer: &[u8], cut: usize) -> Vec<u8> {
    let mut read = Vec::new();
    echo.settle(&mut read);
    read.clear();
    echo.sent(request);
    let mut line = if echoes { request.to_vec() } else { Vec::new() };
    line.extend_from_slice(answer);
    for chunk in line.chunks(cut.max(1)) {
        echo.came(chunk, &mut read);
    }
    read
}

proptest! {
    #[test]
    fn the_driver_reads_what_the_slave_said(
        protocol in prop::sample::select(&ASKING[..]),
        rounds in prop::collection::vec((any::<[u8; 4]>(), any::<bool>(), any::<bool>(), 1_usize..12), 1..30),
        echoes in any::<bool>(),
        set in any::<bool>(),
    ) {
        let mut echo = Echo::new(protocol, set.then_some(echoes));
        // Drivers ask for status first: one answer proves it.
        let (request, answer) = asked(protocol, [1, 0xF0, 0xF1, 0xF2]);
        let read = exchange(&mut echo, echoes, &request, &answer, 3);
        prop_assert_eq!(&read, &answer);
        for (v, opens, answers, cut) in rounds {
            let (request, answer) = if opens && protocol != Protocol::Osdp {
                (opened(protocol, v[0]), opened(protocol, v[0]))
            } else {
                asked(protocol, v)
            };
            let answer = if answers { answer } else { Vec::new() };
            let read = exchange(&mut echo, echoes, &request, &answer, cut);
            prop_assert_eq!(&read, &answer);
            if echoes {
                prop_assert_eq!(echo.is(), Some(true));
            } else {
                prop_assert_ne!(echo.is(), Some(true));
            }
        }
    }

    #[test]
    fn without_an_echo_no_byte_is_lost(
        protocol in prop::sample::select(&Protocol::ALL[..]),
        rounds in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..20), prop::collection::vec(any::<u8>(), 0..40)), 0..20),
    ) {
        let mut echo = Echo::new(protocol, None);
        let (mut read, mut came) = (Vec::new(), Vec::new());
        for (request, answer) in rounds {
            echo.settle(&mut read);
            echo.sent(&request);
            prop_assume!(request.is_empty() || !answer.starts_with(&request));
            prop_assert_eq!(echo.came(&answer, &mut read), 0);
            came.extend(answer);
        }
        echo.settle(&mut read);
        prop_assert_eq!(read, came);
    }

    #[test]
    fn what_is_kept_is_bounded(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..20),
        protocol in prop::sample::select(&Protocol::ALL[..]),
        set in any::<Option<bool>>(),
    ) {
        let mut echo = Echo::new(protocol, set);
        for frame in frames {
            echo.sent(&frame);
            prop_assert!(echo.sent.len() <= SENT_MAX);
        }
    }
}

#[test]
fn a_request_that_may_be_answered_by_its_own_bytes_proves_nothing() {
    for protocol in ASKING {
        if protocol == Protocol::Osdp {
            continue;
        }
        let open = opened(protocol, 1);
        let mut echo = Echo::new(protocol, None);
        for _ in 0..5 {
            assert_eq!(exchange(&mut echo, false, &open, &open, 1), open);
        }
        assert_eq!(echo.is(), None, "{protocol:?}");
    }
}

#[test]
fn an_8a_board_whose_state_looks_like_the_request_is_heard() {
    // All of channels 17 to 24 in a state that makes the answer begin as the request does.
    let request = xor(vec![0x80, 1, 0, 0x33]);
    let answer = xor(vec![0x80, 1, 0, 0x33, request[4], 0x33]);
    assert!(answer.starts_with(&request));
    let mut echo = Echo::new(Protocol::EightA, None);
    for cut in 1..8 {
        assert_eq!(exchange(&mut echo, false, &request, &answer, cut), answer);
    }
    assert_ne!(echo.is(), Some(true));
    assert_eq!(exchange(&mut echo, true, &request, &answer, 2), answer);
    assert_eq!(echo.is(), Some(true));
}

#[test]
fn an_echo_that_ends_is_not_waited_for_any_more_and_a_setting_is_believed() {
    let (request, answer) = asked(Protocol::KerongCu16, [1, 2, 3, 4]);
    let open = opened(Protocol::KerongCu16, 1);
    for (set, stays) in [(None, false), (Some(true), true)] {
        let mut echo = Echo::new(Protocol::KerongCu16, set);
        exchange(&mut echo, true, &request, &answer, 9);
        for _ in 0..MISSES {
            assert_eq!(exchange(&mut echo, false, &request, &answer, 9), answer);
        }
        assert_eq!(echo.is(), Some(stays));
        // An answer to open isn't taken for an echo, unless the setting says there is one.
        let read = exchange(&mut echo, false, &open, &open, 9);
        assert_eq!(read.is_empty(), stays);
    }
}

#[test]
fn a_damaged_echo_is_passed_on_and_the_next_is_taken_out() {
    let (request, answer) = asked(Protocol::KerongCu16, [1, 2, 3, 4]);
    let mut echo = Echo::new(Protocol::KerongCu16, Some(true));
    echo.sent(&request);
    let mut damaged = request.clone();
    damaged[2] ^= 0x40;
    let mut read = Vec::new();
    echo.came(&damaged, &mut read);
    echo.came(&answer, &mut read);
    assert_eq!(read, [damaged, answer.clone()].concat());
    assert_eq!(exchange(&mut echo, true, &request, &answer, 2), answer);
}
