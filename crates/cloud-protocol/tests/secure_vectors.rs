//! What is in `vectors.json` of signatures, sealed codes and packed bodies, which another
//! implementation wrote (`vectors.py` beside this file).
#![cfg(feature = "secure")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod vector_file;

use std::time::Instant;

use cloud_protocol::code::{SEALING_INFO, sealing_aad};
use cloud_protocol::enrol::key_change_proof;
use cloud_protocol::secure::compressed::{Refused, pack, unpack};
use cloud_protocol::secure::sealed::{OpeningKey, SealError, seal};
use cloud_protocol::secure::signed::{
    CONTENT_DIGEST, CREATED_WITHIN_S, HEADER_MAX, NONCE_MAX, Request, SIGNATURE, SIGNATURE_INPUT,
    check_content, content_digest, read, sign,
};
use cloud_protocol::{BODY_MAX_BYTES, SealingKey};
use firmware_protocols::Value;
use firmware_protocols::event::Secret;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};
use vector_file::{DOCUMENT, bytes, exactly, hex, int, list, sealed, text, vectors};

fn key(vector: &Value, name: &str) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&bytes(vector, name)).unwrap()
}

#[test]
fn requests_are_signed_as_in_the_vectors() {
    for vector in list(&vectors(), "requests") {
        let name = text(vector, "name");
        let key = key(vector, "key_seed");
        assert_eq!(hex(key.public_key().as_ref()), text(vector, "public_key"));
        let (method, uri) = (text(vector, "method"), text(vector, "target_uri"));
        let content = bytes(vector, "content");
        let when = (int(vector, "created"), text(vector, "nonce"));
        let headers = sign(&key, (method, uri), &content, text(vector, "keyid"), when);
        assert_eq!(
            headers.content_digest,
            text(vector, "content_digest"),
            "{name}"
        );
        assert_eq!(
            headers.signature_input,
            text(vector, "signature_input"),
            "{name}"
        );
        assert_eq!(headers.signature, text(vector, "signature"), "{name}");
        let signature = UnparsedPublicKey::new(&ED25519, key.public_key().as_ref());
        let base = text(vector, "signature_base").as_bytes();
        let bytes = headers.signature.strip_prefix("linli=:").unwrap();
        assert!(signature.verify(base, &unbase64(bytes)).is_ok(), "{name}");
    }
}

fn unbase64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    let text = text.strip_suffix(':').unwrap();
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap()
}

#[test]
fn the_headers_of_the_vectors_hold_for_their_own_request_only() {
    let vectors = vectors();
    for vector in list(&vectors, "requests") {
        let name = text(vector, "name");
        let public = exactly(vector, "public_key");
        let read_as = |method: &str, target_uri: &str| {
            read(Request {
                method,
                target_uri,
                field: &|name| match name {
                    CONTENT_DIGEST => Some(text(vector, "content_digest").to_string()),
                    SIGNATURE_INPUT => Some(text(vector, "signature_input").to_string()),
                    SIGNATURE => Some(text(vector, "signature").to_string()),
                    _ => None,
                },
            })
        };
        let (method, uri) = (text(vector, "method"), text(vector, "target_uri"));
        let stated = read_as(method, uri).unwrap();
        assert!(stated.is_by(&public), "{name}");
        assert!(!stated.is_by(&[1; 32]), "{name}");
        assert_eq!(stated.keyid, text(vector, "keyid"));
        assert_eq!(stated.created, int(vector, "created"));
        assert_eq!(stated.nonce, text(vector, "nonce"));
        let content = bytes(vector, "content");
        assert_eq!(content_digest(&content), text(vector, "content_digest"));
        assert_eq!(
            check_content(text(vector, "content_digest"), &content),
            Ok(())
        );
        for (method, uri) in [
            ("PUT", uri),
            (method, "https://cloud.example/v1/enrol?"),
            (method, &uri.replace("https:", "http:")),
            (method, &format!("{uri}x")),
        ] {
            assert!(
                !read_as(method, uri).unwrap().is_by(&public),
                "{name}: {uri}"
            );
        }
    }
}

#[test]
fn codes_of_the_vectors_open() {
    for vector in list(&vectors(), "sealed_codes") {
        let opening = OpeningKey::from_seed(&exactly(vector, "seed"));
        assert_eq!(hex(&opening.public_key()), text(vector, "public_key"));
        let (gateway, parcel) = (text(vector, "gateway"), text(vector, "parcel"));
        assert_eq!(hex(SEALING_INFO), text(vector, "info"));
        assert_eq!(hex(&sealing_aad(gateway, parcel)), text(vector, "aad"));
        let digits = opening.open(gateway, parcel, &sealed(vector)).unwrap();
        assert_eq!(digits.reveal(), text(vector, "digits"));
        let elsewhere = opening.open(gateway, "P-9", &sealed(vector));
        assert_eq!(elsewhere, Err(SealError::Closed));
        // What is sealed here has the same shape, and opens as well.
        let to = SealingKey {
            id: text(vector, "key").to_string(),
            public_key: opening.public_key(),
        };
        let again = seal(&to, gateway, parcel, &Secret::new(text(vector, "digits"))).unwrap();
        assert_eq!(again.ct.len(), bytes(vector, "ct").len());
        assert_eq!(opening.open(gateway, parcel, &again), Ok(digits));
    }
}

#[test]
fn the_proof_of_a_new_key_is_the_one_of_the_vectors() {
    for vector in list(&vectors(), "key_changes") {
        let key = key(vector, "new_key_seed");
        let public: [u8; 32] = key.public_key().as_ref().try_into().unwrap();
        assert_eq!(hex(&public), text(vector, "public_key"));
        let proof = key.sign(&key_change_proof(text(vector, "gateway"), &public));
        assert_eq!(hex(proof.as_ref()), text(vector, "proof"));
    }
}

#[test]
fn packed_bodies_of_the_vectors_open_or_are_refused() {
    for vector in list(&vectors(), "packed") {
        let name = text(vector, "name");
        let began = Instant::now();
        let body = unpack(&bytes(vector, "packed"));
        assert!(
            began.elapsed().as_secs() < 5,
            "{name}: {:?}",
            began.elapsed()
        );
        let Some(Value::Text(refused)) = vector.get("refused") else {
            let body = body.unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(
                i64::try_from(body.len()).unwrap(),
                int(vector, "bytes"),
                "{name}"
            );
            assert_eq!(
                hex(&Sha256::digest(&body)),
                text(vector, "sha256"),
                "{name}"
            );
            continue;
        };
        match refused.as_str() {
            "too-large" => assert_eq!(body, Err(Refused::TooLarge), "{name}"),
            "malformed" => assert_eq!(body, Err(Refused::Damaged), "{name}"),
            _ => assert!(body.is_err(), "{name}"),
        }
    }
    let body = vec![7; BODY_MAX_BYTES];
    assert_eq!(unpack(&pack(&body).unwrap()).unwrap(), body);
}

#[test]
fn the_limits_of_the_document_are_those_of_the_code() {
    let limits = DOCUMENT.split("\n## Limits").nth(1).unwrap();
    for line in [
        "| a body, packed and unpacked | 1 MiB |".to_string(),
        format!(
            "each | {},{:03} bytes |",
            HEADER_MAX / 1_000,
            HEADER_MAX % 1_000
        ),
        format!("| `nonce`; a sealing key's id | {NONCE_MAX} characters |"),
        format!("| `created` off | {CREATED_WITHIN_S} s |"),
        format!("| nonces kept for, at least | {} s |", 2 * CREATED_WITHIN_S),
    ] {
        assert!(limits.contains(&line), "{line}");
    }
}
