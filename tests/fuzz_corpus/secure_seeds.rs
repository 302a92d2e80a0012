//! The seeds of what strangers send to a cloud: signature headers, packed bodies, enrolment.

use std::fs;
use std::path::Path;

use cloud_protocol::enrol::{Enrolment, GatewayView, KeyChange, LaneView};
use cloud_protocol::{Chain, Lane, SealingKey};
use firmware_protocols::event::Secret;
use serde_json::Value as Json;

use super::{both, ident, put, unhex};

/// All of them, most from the contract's vectors.
pub fn all(corpus: &Path) {
    let vectors = crate::corpus().join("../../crates/cloud-protocol/vectors.json");
    let vectors: Json = serde_json::from_slice(&fs::read(vectors).unwrap()).unwrap();
    signed(corpus, &vectors);
    for vector in vectors["packed"].as_array().unwrap() {
        let packed = unhex(vector["packed"].as_str().unwrap());
        put(
            corpus,
            "packed_body",
            vector["name"].as_str().unwrap(),
            &packed,
        );
    }
    enrol(corpus, &vectors);
}

/// Five lines: method, target URI, and the three headers.
fn signed(corpus: &Path, vectors: &Json) {
    let requests = vectors["requests"].as_array().unwrap();
    for vector in requests {
        put(
            corpus,
            "signature_headers",
            vector["name"].as_str().unwrap(),
            lines(vector).as_bytes(),
        );
    }
    let good = lines(&requests[0]);
    let changes = [
        (
            "another order of parameters",
            ";alg=\"ed25519\"",
            ";tag=\"x\"",
        ),
        (
            "two labels",
            "linli=(",
            "other=(\"date\");created=1, linli=(",
        ),
        (
            "a component with a parameter",
            "\"@method\"",
            "\"@method\";req",
        ),
        (
            "a component twice",
            "\"@method\"",
            "\"@method\" \"@method\"",
        ),
        (
            "more derived components",
            "(\"@method\"",
            "(\"@scheme\" \"@authority\" \"@path\" \"@query\" \"@method\"",
        ),
        ("another algorithm", "ed25519", "rsa-pss-sha512"),
        (
            "created that isn't a number",
            "created=1760000000",
            "created=?1",
        ),
        ("no nonce", ";nonce=", ";n="),
        ("a sha-512 beside", "sha-256=", "sha-512=:AAAA:, sha-256="),
    ];
    for (name, from, to) in changes {
        let changed = good.replace(from, to);
        assert_ne!(changed, good, "{name}");
        put(corpus, "signature_headers", name, changed.as_bytes());
    }
}

fn lines(vector: &Json) -> String {
    let fields = [
        "method",
        "target_uri",
        "content_digest",
        "signature_input",
        "signature",
    ];
    fields.map(|name| vector[name].as_str().unwrap()).join("\n")
}

fn enrol(corpus: &Path, vectors: &Json) {
    let enrolment = Enrolment {
        token: Secret::new("7Q4N-PSXE-2M9K"),
        gateway: ident("willow-court"),
        public_key: [7; 32],
    };
    both(corpus, "enrol", "enrolment", &enrolment.to_value());
    let change = KeyChange {
        public_key: [7; 32],
        proof: [9; 64],
    };
    both(corpus, "enrol", "a change of key", &change.to_value());
    let change = vectors["key_changes"][0]["json"].as_str().unwrap();
    put(
        corpus,
        "enrol",
        "json the change of the vectors",
        change.as_bytes(),
    );
    let mut view = GatewayView {
        sealing_key: SealingKey {
            id: "k-1".into(),
            public_key: [3; 32],
        },
        settings: [("retention_h".to_owned(), -48)].into(),
        time: 1_780_000_000_000,
        epoch: Some(1_780_000_000),
        lanes: [(
            Lane::Fulfilment,
            LaneView {
                last: 9,
                chain: Chain([1; 32]),
            },
        )]
        .into(),
    };
    both(corpus, "enrol", "a gateway", &view.to_value());
    view.lanes.clear();
    view.settings.clear();
    view.epoch = None;
    both(corpus, "enrol", "a new gateway", &view.to_value());
    put(
        corpus,
        "enrol",
        "json a token that is a number",
        br#"{"token":482915,"gateway":"G 1","public_key":"AA"}"#,
    );
}
