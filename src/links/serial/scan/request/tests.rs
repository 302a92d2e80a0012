//! Answers of each protocol, echoes, noise; and that nothing asked can open or set anything.

use firmware_protocols::boards::Model;
use std::sync::LazyLock;

use super::*;
use crate::links::serial::monitor::modbus::closed;

fn probe(protocol: Protocol, address: u8) -> Probe {
    probes(protocol, address).swap_remove(0)
}

fn says(probe: &Probe, came: &[u8]) -> String {
    match probe.judge(came) {
        Reply::Answer(words) => words,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cu16_board_answers_with_its_locks() {
    let cu16 = probe(Protocol::KerongCu16, 1);
    assert_eq!(cu16.bytes, [0x02, 0x10, 0x30, 0x03, 0x45]);
    let reply = [0x02, 0x10, 0x35, 0xff, 0x01, 0x00, 0x00, 0x03, 0x4a];
    assert_eq!(
        says(&cu16, &reply),
        "board 1: lock bits set: 1-9; occupancy bits set: none"
    );
    let echoed = [&cu16.bytes[..], &reply].concat();
    assert!(cu16.is_echoed(&echoed));
    assert!(matches!(cu16.judge(&echoed), Reply::Answer(_)));
    assert_eq!(cu16.judge(&cu16.bytes), Reply::Nothing, "only the echo");
    assert_eq!(cu16.judge(&[]), Reply::Nothing);
    let other = probe(Protocol::KerongCu16, 2);
    assert_eq!(other.judge(&reply), Reply::Unreadable(9), "another board");
    let mut damaged = reply;
    damaged[3] ^= 4;
    assert_eq!(cu16.judge(&damaged), Reply::Unreadable(9));
}

#[test]
fn a_modbus_exception_is_an_answer() {
    let modbus = probe(Protocol::Modbus, 17);
    assert_eq!(
        says(&modbus, &closed(vec![17, 3, 2, 1, 2])),
        "holding register 0 is 258"
    );
    assert_eq!(
        says(&modbus, &closed(vec![17, 0x83, 2])),
        "answers function 3, register 0: no such address"
    );
    assert!(matches!(
        modbus.judge(&closed(vec![18, 3, 2, 1, 2])),
        Reply::Unreadable(7)
    ));
    assert!(probes(Protocol::Modbus, 0).is_empty() && probes(Protocol::Modbus, 248).is_empty());
}

#[test]
fn a_reader_says_what_it_is_or_that_it_will_not() {
    let osdp = probe(Protocol::Osdp, 5);
    // The same frame, as any other implementation would check it: length, address, CRC over all.
    assert_eq!(osdp.bytes[..7], [0x53, 5, 9, 0, 4, 0x61, 0]);
    assert!(matches!(osdp.judge(&osdp.bytes), Reply::Nothing));
    let sum = |frame: &[u8]| frame.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
    let mut refusal = vec![0xff, 0x53, 0x85, 8, 0, 0, 0x41, 6];
    refusal.push(sum(&refusal[1..]));
    assert_eq!(
        says(&osdp, &refusal),
        "reader that refuses to say more (needs a secure channel)"
    );
}

#[test]
fn a_link_device_says_its_id() {
    let link = probe(Protocol::Linli, 3);
    let mut hello = Hello::new(9);
    hello.device = Some("bank-b".parse().unwrap());
    let frame = Frame {
        payload: hello.encode(),
        ..Frame::new(false, 3, Kind::Hello)
    };
    assert_eq!(says(&link, &frame.encode()), "device bank-b, boot 9");
}

/// Every request of every protocol, in the order of a scan.
static EVERYTHING: LazyLock<Vec<Probe>> = LazyLock::new(|| {
    let all = Protocol::ALL.into_iter();
    all.flat_map(|protocol| (0..=255).flat_map(move |address| probes(protocol, address)))
        .collect()
});

/// Whether bytes hold something that opens, switches or sets.
fn acts(bytes: &[u8]) -> bool {
    let boards = Model::ALL.into_iter().any(|model| {
        let direction = Direction::ToBoards;
        (0..bytes.len()).any(|from| {
            matches!(
                BoardLine { model, direction }.find(&bytes[from..]),
                Found::Frame {
                    frame: BoardFrame::Request(Request::Unlock { .. }) | BoardFrame::Foreign { .. },
                    ..
                }
            )
        })
    });
    let modbus = (0..bytes.len()).any(|from| {
        let rest = &bytes[from..bytes.len().min(from + 24)];
        let writes = matches!(rest.get(1), Some(5 | 6 | 15 | 16 | 22 | 23));
        writes && (8..=rest.len()).any(|length| modbus::is_whole(&rest[..length]))
    });
    boards || modbus
}

#[test]
fn nothing_that_is_asked_can_open_or_set_anything() {
    let unlock = Request::Unlock {
        address: 0,
        channel: 1,
    };
    let unlock = unlock.encode(Model::KerongCu16).unwrap();
    assert!(
        acts(&[&[9, 9], &unlock[..]].concat()),
        "the test would see it"
    );
    assert!(EVERYTHING.len() > 1_500);
    for pair in EVERYTHING.windows(2) {
        let both = [&pair[0].bytes[..], &pair[1].bytes].concat();
        assert!(!acts(&both), "{pair:?}");
    }
}

proptest::proptest! {
    #[test]
    fn any_two_requests_together_are_harmless_too(
        one in 0_usize..1_500, other in 0_usize..1_500, cut in 0_usize..8,
    ) {
        let (one, other) = (&EVERYTHING[one].bytes, &EVERYTHING[other].bytes);
        let both = [&one[cut.min(one.len())..], other].concat();
        proptest::prop_assert!(!acts(&both));
    }

    #[test]
    fn any_bytes_may_come_back(came: Vec<u8>, which in 0_usize..1_500) {
        let probe = &EVERYTHING[which];
        match probe.judge(&came) {
            Reply::Nothing => proptest::prop_assert!(came.is_empty() || came == probe.bytes),
            Reply::Answer(_) | Reply::Unreadable(_) => {}
        }
    }
}
