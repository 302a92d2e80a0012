use super::*;
use ring::signature::KeyPair as _;

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap()
}

fn public(key: &Ed25519KeyPair) -> [u8; 32] {
    key.public_key().as_ref().try_into().unwrap()
}

const URI: &str = "https://cloud.example/v1/gateways/g-1/uplink";

fn signed() -> SignedHeaders {
    sign(&key(), ("POST", URI), b"{}", "g-1", (1_700_000_000, "n0"))
}

fn read_as(headers: &SignedHeaders, method: &str, uri: &str) -> Result<Stated, Unsigned> {
    read(Request {
        method,
        target_uri: uri,
        field: &|name| match name {
            CONTENT_DIGEST => Some(headers.content_digest.clone()),
            SIGNATURE_INPUT => Some(headers.signature_input.clone()),
            SIGNATURE => Some(headers.signature.clone()),
            _ => None,
        },
    })
}

#[test]
fn what_is_signed_is_read_and_holds_for_its_own_request_only() {
    let headers = signed();
    let stated = read_as(&headers, "POST", URI).unwrap();
    assert_eq!(
        (stated.keyid.as_str(), stated.created, stated.nonce.as_str()),
        ("g-1", 1_700_000_000, "n0")
    );
    assert!(stated.is_by(&public(&key())));
    assert!(!stated.is_by(&[9; 32]));
    for (method, uri) in [("PUT", URI), ("POST", "https://cloud.example/v1/enrol")] {
        let stated = read_as(&headers, method, uri).unwrap();
        assert!(!stated.is_by(&public(&key())), "{method} {uri}");
    }
    assert_eq!(check_content(&headers.content_digest, b"{}"), Ok(()));
    assert_eq!(
        check_content(&headers.content_digest, b"{ }"),
        Err(Unsigned::Content)
    );
}

#[test]
fn a_signature_that_leaves_something_out_is_refused() {
    let mut headers = signed();
    headers.signature_input = headers.signature_input.replace("\"content-digest\"", "");
    assert_eq!(
        read_as(&headers, "POST", URI),
        Err(Unsigned::Uncovered(CONTENT_DIGEST))
    );
    let mut headers = signed();
    headers.signature_input = headers.signature_input.replace(";nonce=\"n0\"", "");
    assert_eq!(
        read_as(&headers, "POST", URI),
        Err(Unsigned::Parameter("nonce"))
    );
}

/// RFC 9421 appendix B.2.6: the key of B.1.4, the request of B.2.
#[test]
fn the_vector_of_the_rfc_holds() {
    let input = "sig-b26=(\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \
                 \"content-length\");created=1618884473;keyid=\"test-key-ed25519\"";
    let signature = "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5\
                     lIp5WPpBKRCw==";
    let public = URL_SAFE_NO_PAD
        .decode("JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs")
        .unwrap();
    let request = Request {
        method: "POST",
        target_uri: "https://example.com/foo?param=Value&Pet=dog",
        field: &|name| {
            let value = match name {
                "date" => "Tue, 20 Apr 2021 02:07:55 GMT",
                "content-type" => "application/json",
                "content-length" => "18",
                _ => return None,
            };
            Some(value.to_string())
        },
    };
    let inputs = parsed(SIGNATURE_INPUT, input).unwrap();
    let Some(ListEntry::InnerList(input)) = inputs.get("sig-b26") else {
        panic!("no input")
    };
    let stated = Stated {
        keyid: String::new(),
        created: 0,
        nonce: String::new(),
        base: base(request, input).unwrap(),
        signature: STANDARD.decode(signature).unwrap(),
    };
    assert!(stated.is_by(&public.try_into().unwrap()), "{}", stated.base);
}
