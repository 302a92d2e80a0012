//! Packets after login that the standards forbid, or that would cost more than they should.

use super::*;

const BOTH: [Version; 2] = [Version::V3, Version::V5];

fn client(version: Version) -> Connect {
    Connect {
        version,
        client_id: "bank-a".to_owned(),
        username: None,
        password: None,
        will: None,
        keep_alive_s: 60,
        receive_max: None,
        packet_max_bytes: None,
        problem_info: true,
        keeps_session: false,
    }
}

fn heard(version: Version, packet: &[u8]) -> Result<Option<Heard>, Reason> {
    Wire::new(&client(version)).next(&mut BytesMut::from(packet))
}

/// Found by the fuzz target `mqtt_packets`: three bytes were enough to take 70,000 of memory.
#[test]
fn what_is_only_announced_takes_no_room() {
    for version in BOTH {
        let mut wire = Wire::new(&client(version));
        let mut bytes = BytesMut::from(&b"\x32\xf0\xa2\x04lin"[..]);
        let held = bytes.capacity();
        assert!(matches!(wire.next(&mut bytes), Ok(None)));
        assert_eq!(bytes.capacity(), held);
        let too_large = heard(version, b"\x32\xf1\xa2\x04");
        assert!(matches!(too_large, Err(Reason::PacketTooLarge)));
        let endless = heard(version, b"\x32\xff\xff\xff\xff");
        assert!(matches!(endless, Err(Reason::MalformedPacket)));
        assert!(matches!(heard(version, b"\x32\xff\xff\xff"), Ok(None)));
    }
}

/// Found by the fuzz target `mqtt_packets`: they were heard as if the rest of them weren't there.
#[test]
fn a_body_where_there_is_none_and_reserved_bits_are_refused() {
    let cases: [(&[u8], &[Version]); 4] = [
        (b"\xc0\x01x", &BOTH),
        (b"\xe0\x01\x00", &BOTH[..1]),
        (b"\x82\x06\x00\x09\x00\x01#\x05", &BOTH[..1]),
        (b"\x82\x0a\x00\x09\x00\x01a\x01\x00\x01b\x41", &BOTH[..1]),
    ];
    for (packet, versions) in cases {
        for version in versions {
            let heard = heard(*version, packet);
            assert!(matches!(heard, Err(Reason::MalformedPacket)), "{packet:x?}");
        }
    }
    let sound = heard(Version::V3, b"\x82\x0a\x00\x09\x00\x01a\x01\x00\x01b\x02");
    assert!(matches!(sound, Ok(Some(Heard::Subscribe(_, filters))) if filters.len() == 2));
}

/// Found by the fuzz target `mqtt_packets`: MQTT 5 took them.
#[test]
fn an_empty_filter_is_refused() {
    let cases: [(Version, &[u8]); 4] = [
        (Version::V3, b"\x82\x05\x00\x09\x00\x00\x01"),
        (Version::V3, b"\xa2\x04\x00\x09\x00\x00"),
        (Version::V5, b"\x82\x06\x00\x09\x00\x00\x00\x01"),
        (Version::V5, b"\xa2\x05\x00\x09\x00\x00\x00"),
    ];
    for (version, packet) in cases {
        let heard = heard(version, packet);
        assert!(
            matches!(heard, Err(Reason::TopicFilterInvalid)),
            "{packet:x?}"
        );
    }
}

/// 9,000 of them, which fit into a packet, took 576 KB, and 64 such publications may wait.
#[test]
fn properties_are_not_kept() {
    let said = heard(Version::V5, b"\x30\x0c\x00\x01t\x07\x26\x00\x01k\x00\x01vx");
    let Ok(Some(Heard::Publish(publish))) = said else {
        panic!("it is a publication");
    };
    assert!(publish.properties.is_none());
    assert_eq!(publish.payload, b"x"[..]);
}
