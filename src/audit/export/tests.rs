//! The signed file there and back, and each way to forge it.

use super::*;

/// A parcel with three steps, another parcel's between them.
fn payload(key: &SigningKey) -> Payload {
    let mut chain = Chain::default();
    let mut steps = Vec::new();
    for n in 1..=4_u64 {
        let (parcel, detail) = match n {
            2 => ("P-2", None),
            _ => ("P-1", (n == 3).then_some("bank-a/7")),
        };
        let entry = Entry {
            n,
            parcel,
            at_ms: 1_795_330_000_000 + 1_000 * n as i64,
            quality: "synchronised",
            tick_ms: 1_000 * n,
            step: "deposited",
            who: "courier sf-22",
            detail,
        };
        let previous = chain;
        chain = entry.chain(previous);
        if n != 2 {
            steps.push(Step::from(&ChainedStep {
                n,
                at_ms: entry.at_ms,
                quality: "synchronised",
                tick_ms: entry.tick_ms,
                step: entry.step.to_owned(),
                who: entry.who.to_owned(),
                detail: detail.map(str::to_owned),
                previous,
                chain,
            }));
        }
    }
    Payload {
        format: FORMAT.to_owned(),
        site: "willow-court".to_owned(),
        version: "0.1.0".to_owned(),
        exported: utc(1_795_338_201_000),
        exported_ms: 1_795_338_201_000,
        exported_quality: "synchronised".to_owned(),
        public_key: hex(&key.public()),
        recipient: Some("token-of-li".to_owned()),
        parcel: serde_json::json!({"parcel": "P-1", "state": "deposited"}),
        parcel_id: "P-1".to_owned(),
        steps,
        head: TraceHead { entries: 4, chain }.into(),
    }
}

fn keys() -> (SigningKey, SigningKey) {
    let dir = tempfile::tempdir().unwrap();
    let key = |name: &str| SigningKey::open(&dir.path().join(name)).unwrap();
    (key("one"), key("two"))
}

#[test]
fn what_is_sealed_is_what_is_checked() {
    let (key, _) = keys();
    let payload = payload(&key);
    let file = seal(&payload, &key).unwrap();
    assert_eq!(check(&file, None), Ok(payload.clone()));
    assert_eq!(check(&file, Some(&key.public())), Ok(payload));
    assert!(
        file.contains("\"time\": \"2026-11-22T06:46:41.000Z\""),
        "{file}"
    );
}

#[test]
fn a_changed_byte_anywhere_is_refused() {
    let (key, _) = keys();
    let file = seal(&payload(&key), &key).unwrap();
    for at in 0..file.len() {
        let mut bytes = file.clone().into_bytes();
        bytes[at] ^= 1;
        let text = String::from_utf8(bytes).unwrap();
        assert!(check(&text, None).is_err(), "byte {at}");
    }
}

#[test]
fn what_is_cut_added_or_not_an_export_is_refused() {
    let (key, _) = keys();
    let file = seal(&payload(&key), &key).unwrap();
    let cut = &file[..file.len() - 1];
    let crlf = file.replace('\n', "\r\n");
    let signature_at = file.find(SIGNATURE_BEGIN).unwrap();
    for text in [
        "",
        "{}",
        cut,
        &crlf,
        &file[..signature_at],
        &file[signature_at..],
    ] {
        assert!(matches!(check(text, None), Err(Forged::Form(_))), "{text}");
    }
    assert!(matches!(
        check(&format!("{file}more"), None),
        Err(Forged::Form(_))
    ));
    assert!(check(&format!("\n{file}"), None).is_err());
    assert!(check(&format!("{file}{file}"), None).is_err());
}

#[test]
fn a_signature_of_another_key_is_refused() {
    let (key, other) = keys();
    let theirs = seal(&payload(&other), &other).unwrap();
    // It holds by itself: whose it is must be asked for.
    assert!(check(&theirs, None).is_ok());
    let refused = check(&theirs, Some(&key.public())).unwrap_err();
    assert!(matches!(refused, Forged::Key { .. }), "{refused}");
    // Naming one key and carrying another.
    let posing = seal(&payload(&key), &other).unwrap();
    assert!(matches!(check(&posing, None), Err(Forged::Form(_))));
    // The true signature beside another key.
    let file = seal(&payload(&key), &key).unwrap();
    let at = file.find(KEY_BEGIN).unwrap();
    let mixed = format!(
        "{}{}",
        &file[..at],
        &theirs[theirs.find(KEY_BEGIN).unwrap()..]
    );
    assert_eq!(check(&mixed, None), Err(Forged::Signature));
}

#[test]
fn a_signer_that_bends_the_history_is_refused() {
    let (key, _) = keys();
    type Bend = fn(&mut Payload);
    let bends: [(u64, Bend); 8] = [
        (3, |p| p.steps[1].detail = Some("bank-a/8".to_owned())),
        (1, |p| p.steps[0].at += 1),
        (1, |p| p.steps[0].time = utc(0)),
        (1, |p| p.parcel_id = "P-9".to_owned()),
        (4, |p| p.steps.swap(0, 2)),
        (3, |p| p.steps[1].previous = "00".to_owned()),
        (4, |p| p.head.entries = 3),
        (4, |p| p.head.chain = hex(&[0; 32])),
    ];
    for (index, (wanted, bend)) in bends.into_iter().enumerate() {
        let mut bent = payload(&key);
        bend(&mut bent);
        let file = seal(&bent, &key).unwrap();
        match check(&file, None) {
            // The first entry out of its order is the one that stands after the swapped one.
            Err(Forged::Chain { n, .. }) if index == 4 => assert!(n < wanted),
            Err(Forged::Chain { n, .. }) => assert_eq!(n, wanted, "bend {index}"),
            other => panic!("bend {index}: {other:?}"),
        }
    }
}

#[test]
fn a_history_that_is_too_long_for_a_file_is_not_sealed() {
    let (key, _) = keys();
    let mut long = payload(&key);
    long.steps[1].detail = Some("x".repeat(FILE_MAX_BYTES));
    assert_eq!(seal(&long, &key), None);
    let mut bent = payload(&key);
    bent.head.chain = "\nSigned by the gateway".to_owned();
    let refused = check(&seal(&bent, &key).unwrap(), None).unwrap_err();
    assert!(matches!(refused, Forged::Form(_)), "{refused}");
}

#[test]
fn steps_that_follow_each_other_must_fit() {
    let (key, _) = keys();
    let mut bent = payload(&key);
    // Entry 4 is rebuilt on another predecessor than entry 3's chain.
    let last = bent.steps.last_mut().unwrap();
    last.previous = hex(&[5; 32]);
    let entry = Entry {
        n: 4,
        parcel: "P-1",
        at_ms: last.at,
        quality: "synchronised",
        tick_ms: last.tick,
        step: "deposited",
        who: "courier sf-22",
        detail: None,
    };
    last.chain = hex(&entry.chain(Chain([5; 32])).0);
    bent.head.chain.clone_from(&last.chain);
    let refused = check(&seal(&bent, &key).unwrap(), None).unwrap_err();
    assert!(matches!(refused, Forged::Chain { n: 4, .. }), "{refused}");
}
