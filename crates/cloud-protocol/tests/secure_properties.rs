//! What always holds of signatures, sealed codes and packed bodies, whatever comes.
#![cfg(feature = "secure")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cloud_protocol::secure::compressed::{pack, unpack};
use cloud_protocol::secure::sealed::{OpeningKey, seal};
use cloud_protocol::secure::signed::{
    CONTENT_DIGEST, NONCE_MAX, Request, SIGNATURE, SIGNATURE_INPUT, SignedHeaders, Stated,
    Unsigned, check_content, nonce, read, sign,
};
use cloud_protocol::{BODY_MAX_BYTES, SealedCode, SealingKey};
use firmware_protocols::event::Secret;
use proptest::collection::vec;
use proptest::prelude::*;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

const URI: &str = "https://cloud.example/v1/gateways/g-1/uplink";

fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn public(seed: u8) -> [u8; 32] {
    key(seed).public_key().as_ref().try_into().unwrap()
}

fn read_as(headers: &SignedHeaders, method: &str, target_uri: &str) -> Result<Stated, Unsigned> {
    read(Request {
        method,
        target_uri,
        field: &|name| match name {
            CONTENT_DIGEST => Some(headers.content_digest.clone()),
            SIGNATURE_INPUT => Some(headers.signature_input.clone()),
            SIGNATURE => Some(headers.signature.clone()),
            _ => None,
        },
    })
}

/// Text of the bytes that these headers are made of.
fn header() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,120}",
        "\\PC{0,60}",
        r#"[a-z0-9]{1,3}=\(("@method"|"@target-uri"|"content-digest"|"@path"|"date"| )*\)(;created=[0-9]{1,16}|;nonce="[ -~]{0,9}"|;keyid="g-1"|;alg="ed25519"){0,4}"#,
        "[a-z]{1,2}=:[A-Za-z0-9+/]{0,88}={0,2}:",
    ]
}

proptest! {
    #[test]
    fn any_headers_are_read_or_refused_and_never_hold(
        content_digest in header(),
        signature_input in header(),
        signature in header(),
        method in "[A-Z]{0,6}",
        uri in prop_oneof![Just(URI.to_string()), "\\PC{0,40}"],
        content in vec(any::<u8>(), 0..40),
    ) {
        let headers = SignedHeaders { content_digest, signature_input, signature };
        if let Ok(stated) = read_as(&headers, &method, &uri) {
            prop_assert!((1..=NONCE_MAX).contains(&stated.nonce.len()));
            prop_assert!(!stated.is_by(&public(3)));
        }
        let _ = check_content(&headers.content_digest, &content);
    }

    /// What is signed holds; with one character changed anywhere it doesn't, or says the same.
    #[test]
    fn a_changed_header_does_not_hold(
        content in vec(any::<u8>(), 0..60),
        created in 0..4_000_000_000_i64,
        which in 0..3_usize,
        at in any::<prop::sample::Index>(),
        with in "[ -~]",
    ) {
        let fresh = nonce().unwrap();
        let good = sign(&key(3), ("POST", URI), &content, "g-1", (created, &fresh));
        let before = read_as(&good, "POST", URI).unwrap();
        prop_assert!(before.is_by(&public(3)) && !before.is_by(&public(4)));
        prop_assert_eq!((before.created, &before.nonce), (created, &fresh));
        prop_assert_eq!(check_content(&good.content_digest, &content), Ok(()));

        let mut changed = good.clone();
        let header = [
            &mut changed.content_digest,
            &mut changed.signature_input,
            &mut changed.signature,
        ].into_iter().nth(which).unwrap();
        let at = at.index(header.len());
        header.replace_range(at..=at, &with);
        if let Ok(after) = read_as(&changed, "POST", URI) {
            // Another label, or another way to write the same, is the same signature.
            prop_assert!(!after.is_by(&public(3)) || after == before, "{changed:?}");
        }
    }

    #[test]
    fn a_signature_is_for_one_method_uri_and_content(
        method in "(GET|PUT|PATCH|DELETE|post)",
        uri in "https://cloud\\.example/v1/[a-z0-9/?=&%]{0,30}",
        content in vec(any::<u8>(), 0..60),
        other in vec(any::<u8>(), 0..60),
    ) {
        let headers = sign(&key(3), ("POST", URI), &content, "g-1", (1, "n"));
        prop_assert!(!read_as(&headers, &method, URI).unwrap().is_by(&public(3)));
        prop_assert!(uri == URI || !read_as(&headers, "POST", &uri).unwrap().is_by(&public(3)));
        prop_assert_eq!(check_content(&headers.content_digest, &other).is_ok(), content == other);
    }

    #[test]
    fn a_code_opens_with_its_own_key_gateway_and_parcel(
        seed in any::<[u8; 32]>(),
        gateway in "[a-z0-9][a-z0-9-]{0,62}",
        parcel in "[^\\x00]{1,128}",
        digits in "[0-9]{1,16}",
    ) {
        let opening = OpeningKey::from_seed(&seed);
        let to = SealingKey { id: "k".to_string(), public_key: opening.public_key() };
        let code = seal(&to, &gateway, &parcel, &Secret::new(&*digits)).unwrap();
        let opened = opening.open(&gateway, &parcel, &code).unwrap();
        prop_assert_eq!(opened.reveal(), &digits);
        let other = format!("{parcel}x");
        prop_assert!(opening.open(&gateway, &other, &code).is_err());
        prop_assert_eq!(SealedCode::from_value(&code.to_value()).unwrap(), code);
    }

    #[test]
    fn any_sealed_code_opens_or_not(enc in any::<[u8; 32]>(), ct in vec(any::<u8>(), 0..40)) {
        let code = SealedCode { key: "k".to_string(), enc, ct };
        prop_assert!(OpeningKey::from_seed(&[7; 32]).open("g", "P", &code).is_err());
    }

    #[test]
    fn what_is_packed_comes_out_again(
        piece in vec(any::<u8>(), 1..300),
        times in 1..2_000_usize,
    ) {
        let mut body = piece.repeat(times);
        body.truncate(BODY_MAX_BYTES);
        match pack(&body) {
            Some(packed) => {
                prop_assert!(packed.len() < body.len());
                prop_assert_eq!(unpack(&packed).unwrap(), body);
            }
            None => prop_assert!(body.len() < 256 || times == 1 || piece.len() > 100),
        }
    }

    /// Any bytes, and a good frame with some of its bytes changed.
    #[test]
    fn any_bytes_unpack_to_no_more_than_a_body(
        bytes in vec(any::<u8>(), 0..200),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        piece in vec(any::<u8>(), 1..40),
    ) {
        let mut packed = pack(&piece.repeat(400)).unwrap_or_default();
        for (at, with) in changes {
            if !packed.is_empty() {
                let at = at.index(packed.len());
                packed[at] = with;
            }
        }
        let magic = [b"\x28\xb5\x2f\xfd".as_slice(), &bytes].concat();
        for bytes in [bytes, magic, packed] {
            if let Ok(body) = unpack(&bytes) {
                prop_assert!(body.len() <= BODY_MAX_BYTES);
                prop_assert!(body.capacity() <= BODY_MAX_BYTES);
            }
        }
    }
}
