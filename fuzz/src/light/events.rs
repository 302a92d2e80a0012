//! What devices report: payloads, events, SenML packs.

use firmware_protocols::event::{self, Event, Kind, Secret, Unreadable};
use firmware_protocols::fields::Malformed;
use firmware_protocols::value::Key;
use firmware_protocols::{EVENTS_PER_PAYLOAD_MAX, Form, PAYLOAD_MAX_BYTES, Value};

use super::disguise::{PERSONAL, disguised};
use super::sound_reason;
use super::tree::is_plain;

type Decoded = Result<Vec<Result<Event, Unreadable>>, Malformed>;

/// A device's payload as the gateway decodes it. Bounds are kept; what is read survives both forms;
/// both forms mean the same; nothing that is printed depends on anything personal.
pub fn event(payload: &[u8]) {
    let decoded = event::decode(payload);
    if let Err(malformed) = &decoded {
        sound_reason(&malformed.0);
    }
    if let Ok(events) = &decoded {
        assert!(payload.len() <= PAYLOAD_MAX_BYTES);
        assert!((1..=EVENTS_PER_PAYLOAD_MAX).contains(&events.len()));
        events.iter().for_each(judge);
        survives(events);
    }
    if let Ok(tree) = Value::read(payload) {
        means_the_same(payload, &tree, &decoded);
        says_nothing(&tree);
    }
}

fn judge(event: &Result<Event, Unreadable>) {
    match event {
        Ok(event) => {
            assert!(event.seq >= 1);
            let printed = format!("{event:?}");
            let other = Event {
                kind: masked(event.kind.clone()),
                ..event.clone()
            };
            assert_eq!(printed, format!("{other:?}"), "a secret is printed");
        }
        Err(unreadable) => {
            sound_reason(&unreadable.why.0);
            assert!(unreadable.number.is_none_or(|(_, seq)| seq >= 1));
        }
    }
}

/// The same with other secrets.
fn masked(kind: Kind) -> Kind {
    let other = || Secret::new("something else");
    match kind {
        Kind::Keypad { opened, .. } => Kind::Keypad {
            code: other(),
            opened,
        },
        Kind::Scan { .. } => Kind::Scan { symbol: other() },
        Kind::Access {
            door,
            outcome,
            direction,
            method,
            credential,
        } => Kind::Access {
            door,
            outcome,
            direction,
            method,
            credential: credential.map(|_| other()),
        },
        Kind::Intent {
            item,
            quantity,
            household,
        } => Kind::Intent {
            item,
            quantity,
            household: household.map(|_| other()),
        },
        kind => kind,
    }
}

/// Each event by itself and all together come out of both forms as they went in.
fn survives(events: &[Result<Event, Unreadable>]) {
    let good: Vec<Event> = events.iter().flatten().cloned().collect();
    let all = (good.len() > 1).then_some(good.as_slice());
    for part in good.chunks(1).chain(all) {
        for form in [Form::Cbor, Form::Json] {
            let payload = event::encode(part, form);
            // Control characters grow in JSON.
            if payload.len() > PAYLOAD_MAX_BYTES {
                continue;
            }
            let back = event::decode(&payload).expect("our own payload is read");
            let back: Vec<Event> = back
                .into_iter()
                .map(|e| e.expect("and its event"))
                .collect();
            let same = back.len() == part.len() && back.iter().zip(part).all(|(x, y)| same(x, y));
            assert!(same, "{form:?}: {back:?} came out of {part:?}");
        }
    }
}

/// Whether two events say the same; a SenML record's labels have no order.
fn same(one: &Event, other: &Event) -> bool {
    match (&one.kind, &other.kind) {
        (Kind::Reading { senml: x }, Kind::Reading { senml: y }) => {
            let envelope = |e: &Event| (e.boot, e.seq, e.when);
            envelope(one) == envelope(other) && super::tree::same(x, y)
        }
        _ => one == other,
    }
}

/// The same tree in the other form is decoded to the same.
fn means_the_same(payload: &[u8], tree: &Value, decoded: &Decoded) {
    let other = match Form::of(payload) {
        Form::Json => tree.to_cbor(),
        Form::Cbor if is_plain(tree) => tree.to_json().into_bytes(),
        Form::Cbor => return,
    };
    let collection = matches!(tree, Value::Array(_) | Value::Map(_));
    if collection && other.len() <= PAYLOAD_MAX_BYTES && payload.len() <= PAYLOAD_MAX_BYTES {
        let other = event::decode(&other);
        assert!(
            both_mean(decoded, &other),
            "{decoded:?} here, {other:?} in the other form"
        );
    }
}

/// Of a record with two faults the first is named, and the order may be another.
fn both_mean(one: &Decoded, other: &Decoded) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => {
            let mut pairs = one.iter().zip(other);
            let alike = pairs.all(|pair| match pair {
                (Ok(one), Ok(other)) => same(one, other),
                (Err(one), Err(other)) => one.number == other.number,
                _ => false,
            });
            one.len() == other.len() && alike
        }
        _ => one == other,
    }
}

/// Other digits in the personal fields are refused in the same words.
fn says_nothing(tree: &Value) {
    let Some(other) = disguised(tree, PERSONAL) else {
        return;
    };
    let words = |tree: &Value| -> Vec<String> {
        match event::decode(&tree.to_cbor()) {
            Err(malformed) => vec![malformed.0],
            Ok(events) => {
                let refused = events.into_iter().filter_map(Result::err);
                refused.map(|unreadable| unreadable.why.0).collect()
            }
        }
    };
    assert_eq!(words(tree), words(&other), "a refusal tells what was typed");
}

/// A SenML pack: what is taken has text labels only, no more than was said, and is taken again as it
/// is, out of both forms.
pub fn senml(bytes: &[u8]) {
    let Ok(tree) = Value::read(bytes) else {
        return;
    };
    let pack = match firmware_protocols::senml::normalise(&tree) {
        Ok(pack) => pack,
        Err(malformed) => return sound_reason(&malformed.0),
    };
    let (Value::Array(said), Value::Array(records)) = (&tree, &pack) else {
        panic!("a pack is an array");
    };
    assert_eq!(said.len(), records.len());
    assert!((1..=firmware_protocols::senml::RECORDS_MAX).contains(&records.len()));
    for (said, record) in said.iter().zip(records) {
        let (Value::Map(said), Value::Map(fields)) = (said, record) else {
            panic!("a record is a map");
        };
        assert!((1..=said.len()).contains(&fields.len()));
        assert!(fields.iter().all(|(key, _)| matches!(key, Key::Text(_))));
    }
    for form in [Form::Cbor, Form::Json] {
        let back = Value::read(&pack.write(form)).expect("our own pack is read");
        let back = firmware_protocols::senml::normalise(&back).expect("and taken");
        assert!(
            super::tree::same(&back, &pack),
            "{form:?}: {back:?} came out of {pack:?}"
        );
    }
}
