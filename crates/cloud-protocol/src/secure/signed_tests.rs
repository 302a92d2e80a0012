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

/// The request of RFC 9421 § 2.5 and appendix B.2.
fn of_the_rfc(name: &str) -> Option<String> {
    let value = match name {
        "date" => "Tue, 20 Apr 2021 02:07:55 GMT",
        "content-type" => "application/json",
        "content-length" => "18",
        "content-digest" => {
            "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHW\
             XvJwew==:"
        }
        _ => return None,
    };
    Some(value.to_string())
}

const POST: Request<'static> = Request {
    method: "POST",
    target_uri: "https://example.com/foo?param=Value&Pet=dog",
    field: &of_the_rfc,
};

/// The base of the only signature in a `Signature-Input`.
fn base_of(request: Request<'_>, input: &str) -> Result<String, Unsigned> {
    let inputs = parsed(SIGNATURE_INPUT, input)?;
    let Some((_, ListEntry::InnerList(input))) = inputs.iter().next() else {
        panic!("no input")
    };
    base(request, input)
}

/// Whether the key `test-key-ed25519` of RFC 9421 appendix B.1.4 signed the base.
fn by_the_rfc(base: String, signature: &str) -> bool {
    let public = URL_SAFE_NO_PAD.decode("JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs");
    let stated = Stated {
        keyid: String::new(),
        created: 0,
        nonce: String::new(),
        base,
        signature: STANDARD.decode(signature).unwrap(),
    };
    stated.is_by(&public.unwrap().try_into().unwrap())
}

/// RFC 9421 appendix B.2.6.
#[test]
fn the_signature_of_the_rfc_holds() {
    let input = "sig-b26=(\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \
                 \"content-length\");created=1618884473;keyid=\"test-key-ed25519\"";
    let signature = "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5\
                     lIp5WPpBKRCw==";
    assert!(by_the_rfc(base_of(POST, input).unwrap(), signature));
}

/// RFC 9421 appendix B.4: a field that was sent in two lines; of the altered requests there one that
/// still holds and two that don't.
#[test]
fn the_transformed_requests_of_the_rfc_hold_as_far_as_they_are_the_same() {
    let input = "transform=(\"@method\" \"@path\" \"@authority\" \"accept\")\
                 ;created=1618884473;keyid=\"test-key-ed25519\"";
    let signature = "ZT1kooQsEHpZ0I1IjCqtQppOmIqlJPeo7DHR3SoMn0s5JZ1eRGS0A+vyYP9t/LXlh5QMFFQ6cp\
                     Lt2m0pmj3NDA==";
    let sent = |method: &str, target_uri: &str, accept: &str| {
        let request = Request {
            method,
            target_uri,
            field: &|name| (name == "accept").then(|| accept.to_string()),
        };
        by_the_rfc(base_of(request, input).unwrap(), signature)
    };
    let both = "application/json, */*";
    let uri = "https://example.org/demo?name1=Value1&Name2=value2";
    assert!(sent("GET", uri, both));
    assert!(sent("GET", "https://example.org:443/demo", both));
    assert!(!sent("POST", uri, both));
    assert!(!sent("GET", uri, "*/*, application/json"));
}

/// RFC 9421 § 2.5, and appendix B.2 as far as it is about what is built here.
#[test]
fn signature_bases_are_those_of_the_rfc() {
    let digest = of_the_rfc(CONTENT_DIGEST).unwrap();
    let cases = [
        (
            "sig1=(\"@method\" \"@authority\" \"@path\" \"content-digest\" \"content-length\" \
             \"content-type\");created=1618884473;keyid=\"test-key-rsa-pss\"",
            format!(
                "\"@method\": POST\n\"@authority\": example.com\n\"@path\": /foo\n\"content-digest\": \
                 {digest}\n\"content-length\": 18\n\"content-type\": application/json\n"
            ),
        ),
        (
            "sig-b21=();created=1618884473;keyid=\"test-key-rsa-pss\";nonce=\"b3k2pp5k7z-50gnwp.yemd\"",
            String::new(),
        ),
        (
            "sig-b23=(\"date\" \"@method\" \"@path\" \"@query\" \"@authority\" \"content-type\" \
             \"content-digest\" \"content-length\");created=1618884473;keyid=\"test-key-rsa-pss\"",
            format!(
                "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\"@method\": POST\n\"@path\": /foo\n\
                 \"@query\": ?param=Value&Pet=dog\n\"@authority\": example.com\n\"content-type\": \
                 application/json\n\"content-digest\": {digest}\n\"content-length\": 18\n"
            ),
        ),
    ];
    for (input, lines) in cases {
        let params = input.split_once('=').unwrap().1;
        let expected = format!("{lines}\"@signature-params\": {params}");
        assert_eq!(base_of(POST, input).unwrap(), expected);
    }
}

/// RFC 9421 appendix B.2.5: the base is right if the HMAC over it is.
#[test]
fn the_hmac_of_the_rfc_holds() {
    let input = "sig-b25=(\"date\" \"@authority\" \"content-type\");created=1618884473;\
                 keyid=\"test-shared-secret\"";
    let key =
        "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &STANDARD.decode(key).unwrap());
    let tag = STANDARD.decode("pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=");
    let base = base_of(POST, input).unwrap();
    assert!(ring::hmac::verify(&key, base.as_bytes(), &tag.unwrap()).is_ok());
}

/// RFC 9421 appendix B.2.2 has a component with a parameter; that, one named twice and an unknown one
/// aren't built.
#[test]
fn a_base_with_anything_else_is_refused() {
    for input in [
        "sig-b22=(\"@authority\" \"content-digest\" \"@query-param\";name=\"Pet\")",
        "sig=(\"@method\" \"@method\")",
        "sig=(\"@status\")",
        "sig=(\"x-not-there\")",
        "sig=(\"content-type\";bs)",
        "sig=(method)",
    ] {
        let base = base_of(POST, input);
        assert!(
            matches!(base, Err(Unsigned::Unknown(_))),
            "{input}: {base:?}"
        );
    }
}

/// RFC 9421 § 2.2: the examples of derived components.
#[test]
fn components_are_derived_as_in_the_rfc() {
    let derived = |target_uri: &str, name: &str| {
        let request = Request {
            method: "GET",
            target_uri,
            field: &|_| None,
        };
        component(request, name)
    };
    let cases = [
        (
            "https://www.example.com/path?param=value",
            "@target-uri",
            "https://www.example.com/path?param=value",
        ),
        (
            "https://www.example.com/path?param=value",
            "@authority",
            "www.example.com",
        ),
        (
            "https://WWW.Example.com:443/path",
            "@authority",
            "www.example.com",
        ),
        (
            "http://www.example.com:80/path",
            "@authority",
            "www.example.com",
        ),
        ("http://127.0.0.1:8080/path", "@authority", "127.0.0.1:8080"),
        ("http://www.example.com/path?param=value", "@scheme", "http"),
        ("https://www.example.com/path?param=value", "@path", "/path"),
        ("https://www.example.com", "@path", "/"),
        ("https://www.example.com?a=/b", "@path", "/"),
        (
            "https://www.example.com/path?param=value&foo=bar&baz=bat%2Dman",
            "@query",
            "?param=value&foo=bar&baz=bat%2Dman",
        ),
        (
            "https://www.example.com/path?queryString",
            "@query",
            "?queryString",
        ),
        ("https://www.example.com/path", "@query", "?"),
    ];
    for (uri, name, value) in cases {
        assert_eq!(
            derived(uri, name).as_deref(),
            Some(value),
            "{name} of {uri}"
        );
    }
}

/// The contents of RFC 9530's examples and their digests by `sha-256`.
#[test]
fn digests_are_those_of_the_rfc() {
    let cases: [(&[u8], &str); 4] = [
        (
            b"{\"hello\": \"world\"}\n",
            "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:",
        ),
        (
            b"",
            "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
        ),
        (
            b"\"world\"}\n",
            "sha-256=:jjcgBDWNAtbYUXI37CVG3gRuGOAjaaDRGpIUFsdyepQ=:",
        ),
        (
            b"{\"title\": \"New Title\"}\n",
            "sha-256=:mEkdbO7Srd9LIOegftO0aBX+VPTVz7/CSHes2Z27gc4=:",
        ),
    ];
    for (content, header) in cases {
        assert_eq!(content_digest(content), header);
        assert_eq!(check_content(header, content), Ok(()));
        let with_another = format!("sha-512=:AAAA:, {header}");
        assert_eq!(check_content(&with_another, content), Ok(()));
        assert_eq!(check_content(header, b"another"), Err(Unsigned::Content));
    }
}

#[test]
fn a_digest_without_sha_256_is_none() {
    let only = of_the_rfc(CONTENT_DIGEST).unwrap();
    for header in [
        only.as_str(),
        "sha-256=\"text\"",
        "sha-256",
        "",
        "sha-256=(:AA==:)",
        "=:",
    ] {
        let checked = check_content(header, b"{\"hello\": \"world\"}");
        assert!(
            matches!(checked, Err(Unsigned::Unreadable(..))),
            "{header}: {checked:?}"
        );
    }
}

/// As a client of another library may send it: its own label, other order, more covered, and another
/// signature beside.
#[test]
fn the_same_is_taken_however_it_is_written() {
    let input = "other=(\"date\");created=1, mine=(\"content-digest\" \"@target-uri\" \"date\" \
                 \"@method\");keyid=\"g-1\";alg=\"ed25519\";nonce=\"n\";created=5;tag=\"x\"";
    let digest = content_digest(b"");
    let params = input.split_once("mine=").unwrap().1;
    let base = format!(
        "\"content-digest\": {digest}\n\"@target-uri\": {URI}\n\"date\": today\n\"@method\": GET\n\
         \"@signature-params\": {params}"
    );
    let signature = STANDARD.encode(key().sign(base.as_bytes()));
    let read = |input: &str| {
        read(Request {
            method: "GET",
            target_uri: URI,
            field: &|name| match name {
                CONTENT_DIGEST => Some(digest.clone()),
                SIGNATURE_INPUT => Some(input.to_string()),
                SIGNATURE => Some(format!("other=:AAAA:, mine=:{signature}:")),
                "date" => Some("today".to_string()),
                _ => None,
            },
        })
    };
    let stated = read(input).unwrap();
    assert_eq!((stated.created, stated.keyid.as_str()), (5, "g-1"));
    assert!(stated.is_by(&public(&key())));
    for (change, refused) in [
        (("alg=\"ed25519\"", "alg=\"rsa\""), "alg"),
        (("alg=\"ed25519\"", "alg=7"), "alg"),
        (("created=5;tag", "created=\"5\";tag"), "created"),
        (("nonce=\"n\"", "nonce=\"\""), "nonce"),
        (("keyid=\"g-1\"", "keyid=g"), "keyid"),
    ] {
        let stated = read(&input.replace(change.0, change.1));
        assert_eq!(stated, Err(Unsigned::Parameter(refused)), "{change:?}");
    }
    let long = format!("nonce=\"{}\"", "n".repeat(NONCE_MAX + 1));
    let stated = read(&input.replace("nonce=\"n\"", &long));
    assert_eq!(stated, Err(Unsigned::Parameter("nonce")));
    let stated = read(&format!("{input};x=\"{}\"", "x".repeat(HEADER_MAX)));
    assert!(matches!(
        stated,
        Err(Unsigned::Unreadable(SIGNATURE_INPUT, _))
    ));
}
