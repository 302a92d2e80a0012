use super::*;
use alloc::vec;

fn one(json: &str) -> Result<Event, Malformed> {
    decode(json.as_bytes())?.remove(0).map_err(|e| e.why)
}

fn reason(json: &str) -> String {
    one(json).unwrap_err().0
}

#[test]
fn every_kind_survives_the_wire_in_both_forms() {
    let ident = |text| Ident::new(text).unwrap();
    let kinds = [
        Kind::Access {
            door: ident("gate"),
            outcome: Outcome::HeldOpen,
            direction: Some(Direction::In),
            method: Some(Method::Card),
            credential: Some(Secret::new("04:a2:19")),
        },
        Kind::Reading {
            senml: Value::Array(vec![map([
                ("n", Some("t".into())),
                ("v", Some(Value::Float(21.5))),
            ])]),
        },
        Kind::Keypad {
            code: Secret::new("004711"),
            opened: None,
        },
        Kind::Keypad {
            code: Secret::new("004711"),
            opened: Some(65_535),
        },
        Kind::Scan {
            symbol: Secret::new("SF1234"),
        },
        Kind::Compartment {
            compartment: 65_535,
            door: Door::Unknown,
            occupied: None,
        },
        Kind::Intent {
            item: "白菜".to_string(),
            quantity: 2,
            household: None,
        },
        Kind::Result {
            command: "c-1".to_string(),
            outcome: Done::Refused,
            reason: Some("expired".to_string()),
        },
        Kind::Rating {
            score: 10,
            parcel: Some("p-1".to_string()),
        },
        Kind::Alarm {
            alarm: "jammed".to_string(),
            text: None,
        },
        Kind::Hello {
            model: "m".to_string(),
            firmware: "1.2".to_string(),
            capabilities: vec!["codes".to_string()],
        },
    ];
    let events: Vec<Event> = kinds
        .into_iter()
        .zip(
            [When::Unsaid, When::Age(5), When::At(1_780_000_000_000)]
                .into_iter()
                .cycle(),
        )
        .zip(1..)
        .map(|((kind, when), seq)| Event {
            boot: 9,
            seq,
            when,
            kind,
        })
        .collect();
    for form in [Form::Cbor, Form::Json] {
        let back = decode(&encode(&events, form)).unwrap();
        let back: Vec<Event> = back.into_iter().map(Result::unwrap).collect();
        assert_eq!(back, events);
    }
}

#[test]
fn senml_labels_are_the_same_in_both_encodings() {
    // RFC 8428 § 6.1 with integer labels: [{-2: "dev:", -3: 1.0, 0: "t", 1: "Cel", 2: 23.5}]
    let pack = b"\x81\xa5\x21\x64dev:\x22\xf9\x3c\x00\x00\x61t\x01\x63Cel\x02\xf9\x4d\xe0";
    let pack = senml::normalise(&Value::from_cbor(pack).unwrap()).unwrap();
    assert_eq!(
        pack.to_json(),
        r#"[{"bn":"dev:","bt":1.0,"n":"t","u":"Cel","v":23.5}]"#
    );
    let unknown = Value::from_json(br#"[{"n":"t","v":1,"must_":1}]"#).unwrap();
    assert!(senml::normalise(&unknown).is_err());
}

#[test]
fn what_is_wrong_is_named() {
    assert_eq!(
        reason(r#"{"kind":"access","boot":1,"seq":1,"door":"Gate","outcome":"granted"}"#),
        "field 'door': 'Gate' is not a valid identifier: use 1 to 63 of a-z, 0-9 and '-', not starting with '-'"
    );
    assert_eq!(
        reason(r#"{"kind":"access","boot":1,"seq":1,"door":"gate","outcome":"open"}"#),
        "field 'outcome': expected one of granted, denied, forced, held-open, presented, got 'open'"
    );
    assert_eq!(reason(r#"{"boot":1,"seq":1}"#), "field 'kind' is missing");
    assert_eq!(
        reason(r#"{"kind":"alarm","boot":1,"seq":0,"alarm":"x"}"#),
        "field 'seq': expected an integer from 1 to 18446744073709551615, got 0"
    );
    assert_eq!(
        reason(r#"{"kind":"teleport","boot":1,"seq":1}"#),
        "unknown kind 'teleport': see the events of linli/v1"
    );
    assert_eq!(
        reason(r#"{"kind":"alarm","boot":1,"seq":1,"at":1,"age":1,"alarm":"x"}"#),
        "'at' and 'age' exclude each other"
    );
    assert!(one(r#"{"kind":"alarm","boot":4294967296,"seq":1,"alarm":"x"}"#).is_err());
    assert_eq!(
        reason(r#"{"kind":"keypad","boot":1,"seq":1,"code":"123456","opened":0}"#),
        "field 'opened': expected an integer from 1 to 65535, got 0"
    );
    assert!(one(r#"{"kind":"rating","boot":1,"seq":1,"score":11}"#).is_err());
    assert!(one(r#"{"kind":"rating","boot":1,"seq":1.5,"score":1}"#).is_err());
}

#[test]
fn a_code_is_never_repeated_in_an_error() {
    let text = reason(r#"{"kind":"keypad","boot":1,"seq":1,"code":"12a456"}"#);
    assert!(!text.contains("12a456"), "{text}");
    let event = one(r#"{"kind":"keypad","boot":1,"seq":1,"code":"123456"}"#).unwrap();
    assert!(!format!("{event:?}").contains("123456"));
}

#[test]
fn one_bad_event_leaves_the_others() {
    let payload = br#"[{"kind":"alarm","boot":1,"seq":1,"alarm":"x"},{"kind":"alarm"},7]"#;
    let events = decode(payload).unwrap();
    assert_eq!(events.iter().filter(|e| e.is_ok()).count(), 1);
    assert_eq!(events.len(), 3);
}

#[test]
fn an_unreadable_event_keeps_its_number_if_it_has_one() {
    let payload = br#"[{"kind":"x","boot":3,"seq":8},{"kind":"x","boot":3},7]"#;
    let numbers: Vec<_> = decode(payload)
        .unwrap()
        .into_iter()
        .map(|event| event.unwrap_err().number)
        .collect();
    assert_eq!(numbers, [Some((3, 8)), None, None]);
}

#[test]
fn sizes_are_bounded() {
    assert!(decode(&vec![b' '; PAYLOAD_MAX_BYTES + 1]).is_err());
    assert!(decode(b"[]").is_err());
    let many = format!("[{}]", vec!["1"; 257].join(","));
    assert!(decode(many.as_bytes()).is_err());
}
