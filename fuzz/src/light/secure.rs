//! What a cloud and a gateway take from strangers: signature headers, packed bodies, and the bodies
//! of enrolment.

use std::sync::OnceLock;

use cloud_protocol::secure::compressed::{pack, unpack};
use cloud_protocol::secure::signed::{
    CONTENT_DIGEST, NONCE_MAX, Request, SIGNATURE, SIGNATURE_INPUT, check_content, read,
};
use cloud_protocol::{BODY_MAX_BYTES, Enrolment, GatewayView, KeyChange};
use firmware_protocols::event::Secret;
use firmware_protocols::{Form, Value};
use serde_json::Value as Json;

use super::disguise::disguised;
use super::sound_reason;

/// Five lines: method, target URI, `content-digest`, `signature-input`, `signature`. What is read has
/// bounds; by the key of the contract's vectors are only the vectors' own requests, and by any other
/// key none.
pub fn signature_headers(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.splitn(5, '\n').collect();
    let [method, target_uri, digest, input, signature] = lines[..] else {
        return;
    };
    let _ = check_content(digest, b"");
    let request = Request {
        method,
        target_uri,
        field: &|name| {
            let value = match name {
                CONTENT_DIGEST => digest,
                SIGNATURE_INPUT => input,
                SIGNATURE => signature,
                _ => return None,
            };
            Some(value.to_owned())
        },
    };
    let stated = match read(request) {
        Ok(stated) => stated,
        Err(refused) => {
            let reason = refused.to_string();
            assert!(!reason.is_empty() && reason.len() < 4_096);
            return;
        }
    };
    assert!((1..=NONCE_MAX).contains(&stated.nonce.len()));
    assert!(!stated.is_by(&[9; 32]), "signed by nobody");
    let (key, requests) = vectors();
    if stated.is_by(key) {
        let made = (method, target_uri, stated.created, stated.nonce.as_str());
        let found = requests.iter().any(|request| {
            let text = |name: &str| request[name].as_str();
            made == (
                text("method").unwrap_or_default(),
                text("target_uri").unwrap_or_default(),
                request["created"].as_i64().unwrap_or_default(),
                text("nonce").unwrap_or_default(),
            )
        });
        assert!(found, "a signature holds for what was never signed");
    }
}

/// The public key of the contract's requests, and they.
fn vectors() -> &'static ([u8; 32], Vec<Json>) {
    static VECTORS: OnceLock<([u8; 32], Vec<Json>)> = OnceLock::new();
    VECTORS.get_or_init(|| {
        let vectors = include_str!("../../../crates/cloud-protocol/vectors.json");
        let vectors: Json = serde_json::from_str(vectors).expect("our own vectors");
        let requests = vectors["requests"].as_array().expect("requests").clone();
        let hex = requests[0]["public_key"].as_str().expect("a key");
        let mut key = [0; 32];
        for (byte, at) in key.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        }
        (key, requests)
    })
}

/// What comes out is no longer than a body, in no more memory, and comes out again of its own packing.
pub fn packed_body(bytes: &[u8]) {
    let Ok(body) = unpack(bytes) else {
        return;
    };
    assert!(body.len() <= BODY_MAX_BYTES && body.capacity() <= BODY_MAX_BYTES);
    if let Some(packed) = pack(&body) {
        assert!(packed.len() < body.len());
        assert_eq!(unpack(&packed).as_ref(), Ok(&body));
    }
}

/// The bodies of enrolment and of keys come out of both forms as they went in; no token is printed or
/// repeated in a refusal.
pub fn enrol(bytes: &[u8]) {
    for body in [Value::from_cbor(bytes), Value::from_json(bytes)]
        .into_iter()
        .flatten()
    {
        enrolment(&body);
        both_forms(&body, KeyChange::from_value, KeyChange::to_value);
        both_forms(&body, GatewayView::from_value, GatewayView::to_value);
    }
}

fn enrolment(body: &Value) {
    both_forms(body, Enrolment::from_value, Enrolment::to_value);
    match Enrolment::from_value(body) {
        Ok(enrolment) => {
            let other = Enrolment {
                token: Secret::new("another"),
                ..enrolment.clone()
            };
            assert_eq!(
                format!("{enrolment:?}"),
                format!("{other:?}"),
                "a token is printed"
            );
        }
        Err(refused) => {
            if let Some(other) = disguised(body, &["token"]) {
                assert_eq!(
                    Enrolment::from_value(&other),
                    Err(refused),
                    "a token is told"
                );
            }
        }
    }
}

fn both_forms<T: PartialEq + std::fmt::Debug>(
    body: &Value,
    read: fn(&Value) -> Result<T, firmware_protocols::fields::Malformed>,
    write: fn(&T) -> Value,
) {
    match read(body) {
        Ok(taken) => {
            for form in [Form::Cbor, Form::Json] {
                let again = Value::read(&write(&taken).write(form)).expect("our own body is read");
                assert_eq!(read(&again).as_ref(), Ok(&taken), "{form:?}");
            }
        }
        Err(malformed) => sound_reason(&malformed.0),
    }
}
