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

/// Found by the fuzz target `mqtt_packets`: where sums are checked it panicked, and elsewhere such a
/// client got no answer.
#[test]
fn a_client_that_takes_little_gets_what_fits() {
    let told = |packet_max_bytes, out| {
        let mut bytes = BytesMut::from(&b"-"[..]);
        let mut wire = Wire::new(&Connect {
            packet_max_bytes: Some(packet_max_bytes),
            ..client(Version::V5)
        });
        let written = wire.write(out, &mut bytes);
        assert_eq!(written, bytes.len() > 1);
        bytes.split_off(1)
    };
    let refused = || Out::Ack {
        id: NonZeroU16::MIN,
        qos: QoS::AtLeastOnce,
        code: AckReason::NotAuthorized,
        reason: Some("why".to_owned()),
    };
    assert_eq!(told(5, refused()), b""[..]);
    assert_eq!(told(6, refused()), b"\x40\x04\x00\x01\x87\x00"[..]);
    assert_eq!(told(11, refused()), b"\x40\x04\x00\x01\x87\x00"[..]);
    let whole = b"\x40\x0a\x00\x01\x87\x06\x1f\x00\x03why";
    assert_eq!(told(12, refused()), whole[..]);
    let codes = |count| Out::Suback(NonZeroU16::MIN, vec![SubReason::NotAuthorized; count]);
    assert_eq!(told(20, codes(13_000)), b""[..]);
    assert_eq!(told(6, codes(1)), b"\x90\x04\x00\x01\x00\x87"[..]);
}

/// Found by the fuzz target `mqtt_packets`: the reason names a key of the payload, and a client that
/// keeps to the standard closes the connection at a NUL, and sends the payload again for ever.
#[test]
fn a_reason_holds_no_control_character() {
    let mut bytes = BytesMut::new();
    let told = Out::Ack {
        id: NonZeroU16::MIN,
        qos: QoS::AtLeastOnce,
        code: AckReason::PayloadFormatInvalid,
        reason: Some("key '\0\n'".to_owned()),
    };
    assert!(Wire::new(&client(Version::V5)).write(told, &mut bytes));
    let packet = b"\x40\x13\x00\x01\x99\x0f\x1f\x00\x0ckey '\xef\xbf\xbd\xef\xbf\xbd'";
    assert_eq!(bytes, packet[..]);
}
