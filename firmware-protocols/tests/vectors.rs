//! What firmware authors are given is what the gateway does: `vectors.json` byte by byte in both
//! directions, and every example in `DEVICES.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use firmware_protocols::command::BANK_CODES_MAX;
use firmware_protocols::event::{self, Unreadable};
use firmware_protocols::fields::Malformed;
use firmware_protocols::{
    Command, EVENTS_PER_PAYLOAD_MAX, Event, Form, Order, PAYLOAD_MAX_BYTES, Receipt, Value,
};
use serde_json::Value as Json;

const KINDS: [&str; 10] = [
    "access",
    "reading",
    "keypad",
    "scan",
    "compartment",
    "intent",
    "result",
    "rating",
    "alarm",
    "hello",
];
const ORDERS: [&str; 4] = ["open", "show", "codes", "identify"];

#[test]
fn events_are_read_and_written_byte_by_byte() {
    let mut kinds = BTreeSet::new();
    for vector in vectors("events") {
        let events = both_ways(&vector, event_payload, event::encode);
        assert_eq!(events.len(), 1, "{}", vector.name);
        kinds.insert(events[0].kind.name());
    }
    assert_eq!(kinds, BTreeSet::from(KINDS));
    for vector in vectors("arrays") {
        let events = both_ways(&vector, event_payload, event::encode);
        assert!(events.len() > 1, "{}", vector.name);
    }
}

#[test]
fn commands_are_read_and_written_byte_by_byte() {
    let mut orders = BTreeSet::new();
    for vector in vectors("commands") {
        let command = both_ways(&vector, command_payload, |c, form| c.encode(form));
        orders.insert(command.order.name());
    }
    assert_eq!(orders, BTreeSet::from(ORDERS));
}

/// What a bank that checks codes by itself must reckon, by an HMAC that isn't ours.
#[test]
fn digests_of_codes_are_hmac_sha256_with_the_salt_as_the_key() {
    let mut digests = BTreeMap::new();
    for vector in vectors("bank_codes") {
        let digits = vector.text("digits");
        let digest = hmac_sha256(&unhex(vector.text("salt")), digits);
        assert_eq!(digest.to_vec(), unhex(vector.text("digest")), "{digits}");
        digests.entry(digits.to_owned()).or_insert(digest);
    }
    let examples = examples(include_str!("../DEVICES.md"));
    let mut listed = BTreeSet::new();
    for (_, text) in examples.iter().filter(|(what, _)| *what == "command") {
        if let Order::Codes { salt, digests } = command_payload(text.as_bytes()).order {
            assert_eq!(salt, (0..32).collect::<Vec<u8>>());
            listed.extend(digests.iter().map(|code| (code.digest, code.compartment)));
        }
    }
    let worked = [(digests["004711"], 7), (digests["123456"], 3)];
    assert_eq!(listed, BTreeSet::from(worked), "the worked example");
    assert_eq!(BANK_CODES_MAX, 700);
}

#[test]
fn receipts_are_read_and_written_byte_by_byte() {
    for vector in vectors("receipts") {
        both_ways(&vector, receipt_payload, |r, form| r.encode(form));
    }
}

#[test]
fn variants_mean_what_they_are_said_to_mean() {
    for vector in vectors("variants") {
        let means = event_payload(vector.text("means").as_bytes());
        let means = event::encode(&means, Form::Cbor);
        let forms = vector.forms();
        assert!(!forms.is_empty(), "{}", vector.name);
        for payload in forms {
            let said = event::encode(&event_payload(&payload), Form::Cbor);
            assert_eq!(said, means, "{}", vector.name);
        }
    }
}

#[test]
fn malformed_payloads_are_refused_for_the_stated_reason() {
    for vector in vectors("malformed") {
        let whole = vector.body["whole"].as_bool() == Some(true);
        let forms = vector.forms();
        assert!(!forms.is_empty(), "{}", vector.name);
        for payload in forms {
            let refused = match event::decode(&payload) {
                Err(why) if whole => Unreadable { why, number: None },
                Ok(mut events) if !whole && events.len() == 1 => events
                    .remove(0)
                    .expect_err("a malformed event is not an event"),
                other => panic!("{}: {other:?}", vector.name),
            };
            vector.says(&refused.why);
            assert_eq!(refused.number, number(&vector.body), "{}", vector.name);
        }
    }
}

#[test]
fn each_event_of_a_payload_is_judged_on_its_own() {
    for vector in vectors("mixed") {
        let outcomes = vector.body["outcomes"].as_array().unwrap();
        for payload in vector.forms() {
            let events = event::decode(&payload).unwrap();
            assert_eq!(events.len(), outcomes.len(), "{}", vector.name);
            for (event, outcome) in events.iter().zip(outcomes) {
                match event {
                    Ok(event) => {
                        let taken = outcome["taken"].as_str().unwrap().as_bytes();
                        assert_eq!(event_payload(taken).first(), Some(event));
                    }
                    Err(refused) => {
                        assert_eq!(refused.why.0, outcome["reason"].as_str().unwrap());
                        assert_eq!(refused.number, number(outcome));
                    }
                }
            }
        }
    }
}

#[test]
fn malformed_commands_and_receipts_are_refused_for_the_stated_reason() {
    for vector in vectors("malformed_commands") {
        for payload in vector.forms() {
            vector.says(&Command::decode(&payload).unwrap_err());
        }
    }
    for vector in vectors("malformed_receipts") {
        for payload in vector.forms() {
            vector.says(&Receipt::decode(&payload).unwrap_err());
        }
    }
}

/// The edges that are too long to be written down as vectors.
#[test]
fn sizes_are_taken_up_to_their_edge_and_not_beyond() {
    let alarm = r#"{"kind":"alarm","boot":9,"seq":1,"alarm":"power"}"#;
    let padded = |bytes: usize| format!("{alarm}{}", " ".repeat(bytes - alarm.len()));
    assert_eq!(PAYLOAD_MAX_BYTES, 65_536);
    assert_eq!(event_payload(padded(65_536).as_bytes()).len(), 1);
    assert_eq!(
        event::decode(padded(65_537).as_bytes()).unwrap_err().0,
        "payload of 65537 bytes, at most 65536 are taken"
    );
    assert_eq!(EVENTS_PER_PAYLOAD_MAX, 256);
    let full = format!("[{}]", vec![alarm; 256].join(","));
    assert_eq!(event_payload(full.as_bytes()).len(), 256);
    let deep = format!("{}{}", "[".repeat(16), "]".repeat(16));
    assert!(Value::read(deep.as_bytes()).is_ok());
}

#[test]
fn every_example_in_the_document_is_taken() {
    let mut shown = BTreeSet::new();
    for (what, text) in examples(include_str!("../DEVICES.md")) {
        match what {
            "event" => shown.extend(event_payload(text.as_bytes()).iter().map(|e| e.kind.name())),
            "command" => {
                shown.insert(command_payload(text.as_bytes()).order.name());
            }
            "receipt" => {
                receipt_payload(text.as_bytes());
                shown.insert("receipt");
            }
            other => panic!("a json example of what? '{other}':\n{text}"),
        }
    }
    let expected = KINDS.into_iter().chain(ORDERS).chain(["receipt"]).collect();
    assert_eq!(shown, expected, "every kind has an example");
}

/// One entry of `vectors.json`.
struct Vector {
    name: String,
    body: Json,
}

impl Vector {
    fn text(&self, field: &str) -> &str {
        self.body[field].as_str().expect(&self.name)
    }

    fn cbor(&self) -> Option<Vec<u8>> {
        self.body["cbor"].as_str().map(unhex)
    }

    fn json(&self) -> Option<Vec<u8>> {
        self.body["json"]
            .as_str()
            .map(|text| text.as_bytes().to_vec())
    }

    fn forms(&self) -> Vec<Vec<u8>> {
        self.cbor().into_iter().chain(self.json()).collect()
    }

    /// The whole reason where it is ours; where a library worded the rest of it, its beginning.
    fn says(&self, why: &Malformed) {
        match self.body["reason_begins"].as_str() {
            Some(begins) => assert!(why.0.starts_with(begins), "{}: {why}", self.name),
            None => assert_eq!(why.0, self.text("reason"), "{}", self.name),
        }
    }
}

fn vectors(list: &str) -> Vec<Vector> {
    let all: Json = serde_json::from_str(include_str!("../vectors.json")).unwrap();
    let list = all[list].as_array().expect(list);
    assert!(!list.is_empty());
    list.iter()
        .map(|body| Vector {
            name: body["name"].as_str().unwrap().to_owned(),
            body: body.clone(),
        })
        .collect()
}

/// Both forms say the same, and what was read is written as it was.
fn both_ways<T: AsRef<U>, U: ?Sized>(
    vector: &Vector,
    read: impl Fn(&[u8]) -> T,
    write: impl Fn(&U, Form) -> Vec<u8>,
) -> T {
    let (cbor, json) = (vector.cbor().unwrap(), vector.json().unwrap());
    assert_eq!((Form::of(&cbor), Form::of(&json)), (Form::Cbor, Form::Json));
    let said = read(&json);
    let again = String::from_utf8(write(said.as_ref(), Form::Json)).unwrap();
    assert_eq!(again, vector.text("json"), "{}", vector.name);
    for said in [said.as_ref(), read(&cbor).as_ref()] {
        assert_eq!(write(said, Form::Cbor), cbor, "{}", vector.name);
    }
    said
}

fn event_payload(payload: &[u8]) -> Vec<Event> {
    let text = String::from_utf8_lossy(payload);
    let events = event::decode(payload).unwrap_or_else(|e| panic!("{e}: {text}"));
    events
        .into_iter()
        .map(|event| event.unwrap_or_else(|e| panic!("{}: {text}", e.why)))
        .collect()
}

fn command_payload(payload: &[u8]) -> Box<Command> {
    let text = String::from_utf8_lossy(payload);
    Box::new(Command::decode(payload).unwrap_or_else(|e| panic!("{e}: {text}")))
}

fn receipt_payload(payload: &[u8]) -> Box<Receipt> {
    let text = String::from_utf8_lossy(payload);
    Box::new(Receipt::decode(payload).unwrap_or_else(|e| panic!("{e}: {text}")))
}

fn hmac_sha256(key: &[u8], digits: &str) -> [u8; 32] {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
    let tag = ring::hmac::sign(&key, digits.as_bytes());
    tag.as_ref().try_into().unwrap()
}

fn number(body: &Json) -> Option<(u32, u64)> {
    let number = body.get("number")?;
    let boot = u32::try_from(number["boot"].as_u64()?).unwrap();
    Some((boot, number["seq"].as_u64()?))
}

fn unhex(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "{hex}");
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect(hex))
        .collect()
}

/// The fenced blocks that open with `json` and say what they are: an event, a command, a receipt.
fn examples(document: &str) -> Vec<(&str, String)> {
    let mut examples = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(fence) = line.strip_prefix("```") else {
            continue;
        };
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if let Some(what) = fence.strip_prefix("json") {
            examples.push((what.trim(), body.join("\n")));
        }
    }
    examples
}
