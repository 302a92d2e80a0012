use super::*;
use alloc::{format, vec};
use proptest::prelude::*;

fn cbor(hex: &str) -> Result<Value, ReadError> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    Value::from_cbor(&bytes)
}

/// RFC 8949, appendix A.
#[test]
fn the_rfcs_examples_are_read() {
    assert_eq!(cbor("1b ffffffffffffffff"), Ok(Value::Int(u64::MAX.into())));
    assert_eq!(cbor("3903e7"), Ok(Value::Int(-1000)));
    assert_eq!(cbor("f93c00"), Ok(Value::Float(1.0)));
    assert_eq!(cbor("f90001"), Ok(Value::Float(5.960_464_477_539_063e-8)));
    assert_eq!(cbor("f9c400"), Ok(Value::Float(-4.0)));
    assert_eq!(cbor("fa47c35000"), Ok(Value::Float(100_000.0)));
    assert_eq!(cbor("fb3ff199999999999a"), Ok(Value::Float(1.1)));
    assert_eq!(cbor("f97c00"), Ok(Value::Float(f64::INFINITY)));
    assert_eq!(
        cbor("5f42010243030405ff"),
        Ok(Value::Bytes(vec![1, 2, 3, 4, 5]))
    );
    assert_eq!(cbor("7f657374726561646d696e67ff"), Ok("streaming".into()));
    assert_eq!(
        cbor("9f018202039f0405ffff").unwrap().to_json(),
        "[1,[2,3],[4,5]]"
    );
    assert_eq!(
        cbor("bf61610161629f0203ffff").unwrap().to_json(),
        r#"{"a":1,"b":[2,3]}"#
    );
    assert_eq!(cbor("c11a514b67b0"), Ok(Value::Int(1_363_896_240)));
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    assert!(matches!(cbor("a2616101616102"), Err(ReadError::DuplicateKey(k)) if k == "a"));
    assert!(matches!(
        Value::from_json(br#"{"a":1,"a":2}"#),
        Err(ReadError::DuplicateKey(k)) if k == "a"
    ));
    assert!(matches!(cbor("0000"), Err(ReadError::Trailing(1))));
    assert!(matches!(Value::from_json(b"{} x"), Err(ReadError::Json(_))));
    assert!(matches!(cbor("62ff00"), Err(ReadError::Cbor(_))));
    assert!(matches!(cbor("a1f500"), Err(ReadError::Key(_))));
    assert_eq!(Value::read(b""), Err(ReadError::Empty));
}

/// Found by the fuzz target `senml`: a last bit more or less gives an item of the uplink another hash.
#[test]
fn a_float_comes_out_of_json_as_it_went_in() {
    for text in [
        "2.22507385850725e-308",
        "5e-324",
        "0.1",
        "8.41e21",
        "1.7976931348623157e308",
    ] {
        let value = Value::from_json(text.as_bytes()).unwrap();
        assert_eq!(value, Value::Float(text.parse().unwrap()), "{text}");
        assert_eq!(Value::from_json(value.to_json().as_bytes()), Ok(value));
    }
}

/// An empty array on the 17th level was read in CBOR only.
#[test]
fn both_forms_are_read_to_the_same_depth() {
    for (levels, read) in [(DEPTH_MAX, true), (DEPTH_MAX + 1, false)] {
        let json = ["[".repeat(levels), "]".repeat(levels)].concat();
        assert_eq!(Value::from_json(json.as_bytes()).is_ok(), read, "{levels}");
        let mut cbor = vec![0x81; levels - 1];
        cbor.push(0x80);
        assert_eq!(Value::from_cbor(&cbor).is_ok(), read, "{levels}");
        cbor.pop();
        cbor.push(0xa0);
        assert_eq!(Value::from_cbor(&cbor).is_ok(), read, "{levels}");
    }
    let mut full = vec![0x81; DEPTH_MAX];
    full.push(0x07);
    assert!(Value::from_cbor(&full).is_ok());
}

/// Found by the fuzz target `event_json`: a key of 60,000 characters was repeated whole, and kept.
#[test]
fn a_reason_is_short_however_long_the_key() {
    let key = "k".repeat(60_000);
    let twice = format!("{{\"{key}\":1,\"{key}\":2}}");
    let json = Value::from_json(twice.as_bytes()).unwrap_err();
    let entry = [&[0x79, 0xea, 0x60], key.as_bytes(), &[0x01]].concat();
    let cbor = Value::from_cbor(&[&[0xa2], &*entry, &*entry].concat()).unwrap_err();
    assert_eq!(json, cbor);
    assert_eq!(json, ReadError::DuplicateKey("k".repeat(KEY_SHOWN_MAX)));
}

#[test]
fn depth_and_length_are_bounded() {
    let deep = vec![b'['; 60_000];
    assert_eq!(Value::read(&deep), Err(ReadError::TooDeep));
    let deep = vec![0x81_u8; 60_000];
    assert_eq!(Value::read(&deep), Err(ReadError::TooDeep));
    let tags = vec![0xc1_u8; 60_000];
    assert_eq!(Value::read(&tags), Err(ReadError::TooDeep));
    // An array that claims 2^60 elements and has none must not reserve for them.
    assert!(cbor("9b1000000000000000").is_err());
    assert!(cbor("5b1000000000000000").is_err());
}

#[test]
fn many_keys_are_checked_for_duplicates_too() {
    let mut entries: Vec<(Key, Value)> = (0..5_000).map(|n| (Key::Int(n), Value::Null)).collect();
    assert!(unique(&entries).is_ok());
    entries.push((Key::Int(17), Value::Null));
    assert_eq!(unique(&entries), Err(&Key::Int(17)));
}

#[test]
fn deterministic_encoding_sorts_and_shortens() {
    let value = map([
        ("bb", Some(1_u8.into())),
        ("a", Some(Value::Float(1.5))),
        ("c", Some(Value::Float(1e300))),
    ]);
    let bytes = value.to_cbor();
    assert_eq!(
        bytes,
        b"\xa3\x61a\xf9\x3e\x00\x61c\xfb\x7e\x37\xe4\x3c\x88\x00\x75\x9c\x62bb\x01"
    );
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|n| Value::Int(n.into())),
        any::<u64>().prop_map(|n| Value::Int(n.into())),
        any::<f64>()
            .prop_filter("NaN isn't equal to itself", |x| !x.is_nan())
            .prop_map(Value::Float),
        any::<f32>()
            .prop_filter("NaN isn't equal to itself", |x| !x.is_nan())
            .prop_map(|x| Value::Float(x.into())),
        any::<i16>().prop_map(|n| Value::Float(f64::from(n) / 8.0)),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        ".{0,20}".prop_map(Value::Text),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
            prop::collection::btree_map(".{0,6}", inner, 0..8).prop_map(|m| {
                let mut entries: Vec<(Key, Value)> =
                    m.into_iter().map(|(k, v)| (Key::Text(k), v)).collect();
                entries.sort_by_key(|(key, _)| encoded_key(key));
                Value::Map(entries)
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn cbor_survives_the_round_trip(value in any_value()) {
        let bytes = value.to_cbor();
        let back = Value::from_cbor(&bytes).unwrap();
        prop_assert_eq!(&back, &value);
        prop_assert_eq!(back.to_cbor(), bytes);
    }

    #[test]
    fn halves_narrow_to_what_they_were(bits in any::<u16>()) {
        let wide = widen_half(bits);
        if wide.is_nan() {
            return Ok(());
        }
        prop_assert_eq!(narrow_to_half(wide), Some(bits));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = Value::read(&bytes);
        let _ = crate::event::decode(&bytes);
        let _ = crate::Command::decode(&bytes);
    }

    #[test]
    fn any_text_is_read_or_refused(text in r#"[\[\]{}",:0-9a-e.\-\\ ]{0,200}"#) {
        let _ = Value::from_json(text.as_bytes());
    }
}
