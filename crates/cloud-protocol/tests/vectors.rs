//! The vectors of SYNC.md and vectors.json, which another implementation wrote (`vectors.py` beside
//! this file): encodings, chains, and everything that the document shows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod vector_file;

use cloud_protocol::downlink::{Size, Zone};
use cloud_protocol::uplink::{
    ClaimKind, ClaimReport, DemandReport, ParcelReport, ParcelState, Unplaceable,
};
use cloud_protocol::{
    Acked, Batch, Chain, DownlinkItem, Enrolment, GatewayView, Item, KeyChange, Lane, LaneBatch,
    Problem, ProblemType, Received, Report, badge_digest,
};
use firmware_protocols::{Form, Ident, Value};
use vector_file::{DOCUMENT, bytes, code, hex, list, text, vectors};

fn parcel(state: ParcelState, since: i64) -> ParcelReport {
    ParcelReport {
        parcel: "P-1".to_string(),
        state,
        since,
        bank: None,
        compartment: None,
        desk: None,
        code: None,
        unlisted: false,
        return_of: None,
    }
}

fn expected() -> Item {
    Item {
        seq: 1,
        at: 1_760_000_000_000,
        report: Report::Parcel(ParcelReport {
            code: Some(code()),
            ..parcel(ParcelState::Expected, 1_760_000_000_000)
        }),
    }
}

fn deposited() -> Item {
    Item {
        seq: 2,
        at: 1_760_000_123_456,
        report: Report::Parcel(ParcelReport {
            bank: Some(Ident::new("bank-a").unwrap()),
            compartment: Some(7),
            ..parcel(ParcelState::Deposited, 1_760_000_123_000)
        }),
    }
}

fn unplaceable() -> Item {
    Item {
        seq: 3,
        at: 1_760_000_200_000,
        report: Report::Unplaceable(Unplaceable {
            parcel: "P-2".to_string(),
            point: Ident::new("bank-a").unwrap(),
            size: Size::L,
            zone: Zone::Chilled,
            desk: Some(Ident::new("desk-1").unwrap()),
        }),
    }
}

fn claim() -> Item {
    Item {
        seq: 4,
        at: 1_760_000_300_000,
        report: Report::Claim(ClaimReport {
            parcel: "P-1".to_string(),
            claim: ClaimKind::Damaged,
            operator: "Li Na".to_string(),
            desk: Ident::new("desk-1").unwrap(),
            note: "鸡蛋碎了 eggs broken".to_string(),
            compensation_fen: Some(1_250),
            keeps: false,
            returned_as: Some("P-1-R".to_string()),
        }),
    }
}

fn the_return() -> Item {
    Item {
        seq: 5,
        at: 1_760_000_300_000,
        report: Report::Parcel(ParcelReport {
            parcel: "P-1-R".to_string(),
            desk: Some(Ident::new("desk-1").unwrap()),
            return_of: Some("P-1".to_string()),
            ..parcel(ParcelState::Deposited, 1_760_000_300_000)
        }),
    }
}

fn demand() -> Item {
    let counts = [("comings", 23), ("goings", 300), ("intent:eggs", 70_000)];
    Item {
        seq: 1,
        at: 1_760_003_600_000,
        report: Report::Demand(DemandReport {
            building: Some(Ident::new("b1").unwrap()),
            start: 1_760_000_400_000,
            minutes: 60,
            revision: 1,
            series: counts.map(|(name, n)| (name.to_string(), n)).into(),
        }),
    }
}

fn health() -> Item {
    let counters = [("events", 1 << 32), ("starts", 1)];
    Item {
        seq: 1,
        at: 1_760_000_000_000,
        report: Report::Health(counters.map(|(name, n)| (name.to_string(), n)).into()),
    }
}

fn audit() -> Item {
    let head = "969eaea871841ec35a0e4a7f010abbb27157ef89fe08e7794b5d537cad9bd22e";
    let bytes = (0..32).map(|at| u8::from_str_radix(&head[2 * at..2 * at + 2], 16).unwrap());
    Item {
        seq: 2,
        at: 1_760_000_000_000,
        report: Report::Audit {
            entries: 2,
            head: bytes.collect::<Vec<_>>().try_into().unwrap(),
        },
    }
}

/// The items of the vectors that this version knows, by lane.
fn known() -> [(Lane, Vec<Item>); 3] {
    [
        (
            Lane::Fulfilment,
            vec![
                expected(),
                deposited(),
                unplaceable(),
                claim(),
                the_return(),
            ],
        ),
        (Lane::Demand, vec![demand()]),
        (Lane::Health, vec![health(), audit()]),
    ]
}

/// The vectors of a lane.
fn of_lane(vectors: &Value, lane: Lane) -> &[Value] {
    let chains = list(vectors, "chains").iter();
    let mut found = chains.filter(|chain| text(chain, "lane") == lane.name());
    list(found.next().unwrap(), "items")
}

#[test]
fn items_have_one_encoding_and_chains_are_those_of_the_vectors() {
    let vectors = vectors();
    for (lane, items) in known() {
        let mut chain = Chain::default();
        for (item, vector) in items.iter().zip(of_lane(&vectors, lane)) {
            let name = text(vector, "name");
            chain = chain.then(item);
            assert_eq!(
                hex(&item.to_value().to_cbor()),
                text(vector, "cbor"),
                "{name}"
            );
            assert_eq!(hex(&chain.0), text(vector, "chain"), "{name}");
        }
    }
}

/// The receiving side finds the same chain, whatever the encoding was that the body came in, and
/// whether it knows the kinds or not.
#[test]
fn both_encodings_lead_to_the_same_chain() {
    let vectors = vectors();
    for lane in Lane::ALL {
        let items = of_lane(&vectors, lane);
        let of_json: Vec<_> = items
            .iter()
            .map(|vector| Value::from_json(text(vector, "json").as_bytes()).unwrap())
            .collect();
        let of_cbor: Vec<_> = items
            .iter()
            .map(|vector| Value::from_cbor(&bytes(vector, "cbor")).unwrap())
            .collect();
        for (values, form) in [(of_json, Form::Json), (of_cbor, Form::Cbor)] {
            let body = body_of(lane, values).write(form);
            let received = Received::from_value(&Value::read(&body).unwrap()).unwrap();
            let part = &received.lanes[&lane];
            let mut chain = part.chain;
            for (item, vector) in part.items.iter().zip(items) {
                assert_eq!(hex(&item.encoded()), text(vector, "cbor"), "{form:?}");
                chain = chain.then_encoded(&item.encoded());
                assert_eq!(hex(&chain.0), text(vector, "chain"), "{form:?}");
            }
            assert_eq!(part.items.len(), items.len());
        }
    }
    for (lane, items) in known() {
        let known = of_lane(&vectors, lane)[..items.len()].iter();
        let values = known.map(|vector| Value::from_json(text(vector, "json").as_bytes()).unwrap());
        let body = body_of(lane, values.collect());
        let batch = Batch::from_value(&body).unwrap();
        assert_eq!(batch.lanes[&lane].items, items);
    }
}

/// A batch from the start of an epoch.
fn body_of(lane: Lane, items: Vec<Value>) -> Value {
    let empty = Batch {
        epoch: 1_760_000_000,
        lanes: [(lane, LaneBatch::default())].into(),
    };
    let mut body = empty.to_value();
    let items = Value::Array(items);
    *at(at(at(&mut body, "lanes"), lane.name()), "items") = items;
    body
}

fn at<'a>(value: &'a mut Value, name: &str) -> &'a mut Value {
    let Value::Map(entries) = value else {
        panic!("no map");
    };
    let mut found = entries
        .iter_mut()
        .filter(|(key, _)| key.to_string() == name);
    &mut found.next().unwrap().1
}

#[test]
fn a_change_of_key_is_proved_over_these_bytes() {
    let vectors = vectors();
    for vector in list(&vectors, "key_changes") {
        let body = Value::from_json(text(vector, "json").as_bytes()).unwrap();
        let change = KeyChange::from_value(&body).unwrap();
        assert_eq!(hex(&change.public_key), text(vector, "public_key"));
        assert_eq!(hex(&change.proof), text(vector, "proof"));
        let message =
            cloud_protocol::enrol::key_change_proof(text(vector, "gateway"), &change.public_key);
        assert_eq!(hex(&message), text(vector, "message"));
    }
}

/// The blocks of the document in one language.
fn blocks(language: &str) -> Vec<&'static str> {
    let mut blocks = Vec::new();
    let mut parts = DOCUMENT.split("```");
    parts.next();
    while let (Some(block), Some(_)) = (parts.next(), parts.next()) {
        let (first, rest) = block.split_once('\n').unwrap();
        if first == language {
            blocks.push(rest);
        }
    }
    blocks
}

/// What the document shows of the vectors is what is in them, to the byte.
#[test]
fn the_document_shows_the_vectors() {
    let vectors = vectors();
    let request = &list(&vectors, "requests")[0];
    let content = String::from_utf8(bytes(request, "content")).unwrap();
    let sent = format!(
        "POST /v1/gateways/willow-court/uplink HTTP/1.1\nHost: cloud.example\n\
         Content-Type: application/json\nContent-Digest: {}\nSignature-Input: {}\nSignature: {}\n\n{content}\n",
        text(request, "content_digest"),
        text(request, "signature_input"),
        text(request, "signature"),
    );
    assert_eq!(blocks("http"), [sent]);

    let code = &list(&vectors, "sealed_codes")[0];
    let sealed: String = [
        ("seed", "seed"),
        ("private key", "private_key"),
        ("public key", "public_key"),
        ("gateway", "gateway"),
        ("parcel", "parcel"),
        ("info", "info"),
        ("aad", "aad"),
        ("enc", "enc"),
        ("ct", "ct"),
        ("digits", "digits"),
    ]
    .map(|(shown, name)| format!("{shown:<12}{}\n", text(code, name)))
    .concat();
    let mut chains = String::new();
    for chain in list(&vectors, "chains") {
        for (n, item) in (1..).zip(list(chain, "items")) {
            let place = format!("{} {n}", text(chain, "lane"));
            let (cbor, chain) = (text(item, "cbor"), text(item, "chain"));
            chains.push_str(&format!("{place:<13} {cbor}\n{:14}{chain}\n", ""));
        }
    }
    let base = format!("{}\n", text(request, "signature_base"));
    let message = format!("{}\n", text(&list(&vectors, "key_changes")[0], "message"));
    assert_eq!(blocks("text"), [base, message, sealed, chains]);
}

/// What the document shows as JSON is read by this crate, and says what the vectors say.
#[test]
fn the_examples_of_the_document_can_be_read() {
    let vectors = vectors();
    let examples: Vec<Value> = blocks("json")
        .into_iter()
        .map(|json| Value::from_json(json.as_bytes()).unwrap())
        .collect();
    let [enrolment, view, change, batch, acked, downlink, problem] = examples.as_slice() else {
        panic!("{} examples", examples.len());
    };
    let enrolment = Enrolment::from_value(enrolment).unwrap();
    let request = &list(&vectors, "requests")[5];
    assert_eq!(
        enrolment.to_value().write(Form::Json),
        bytes(request, "content")
    );
    assert_eq!(hex(&enrolment.public_key), text(request, "public_key"));
    let view = GatewayView::from_value(view).unwrap();
    let code = &list(&vectors, "sealed_codes")[0];
    assert_eq!(view.sealing_key.id, text(code, "key"));
    assert_eq!(hex(&view.sealing_key.public_key), text(code, "public_key"));
    assert_eq!(
        view.lanes[&Lane::Fulfilment].chain,
        Chain::default().then(&expected())
    );
    let change = KeyChange::from_value(change).unwrap();
    assert_eq!(
        hex(&change.proof),
        text(&list(&vectors, "key_changes")[0], "proof")
    );
    let batch = Batch::from_value(batch).unwrap();
    assert_eq!(batch.lanes[&Lane::Fulfilment].items, [expected()]);
    let acked = Acked::from_value(acked).unwrap();
    assert_eq!(acked.0[&Lane::Fulfilment], 1);
    let downlink = DownlinkItem::read_all(downlink).unwrap();
    assert!(downlink[0].what.is_ok());
    let problem = Problem::from_value(problem).unwrap();
    assert_eq!(
        (problem.kind, problem.expected),
        (Some(ProblemType::Gap), Some(2))
    );
}

/// Every word of the crate is in the document's tables, and every limit.
#[test]
fn the_document_names_every_state_problem_and_limit() {
    let states = DOCUMENT.split("### A parcel's states").nth(1).unwrap();
    for (word, _) in ParcelState::WORDS {
        assert!(states.contains(&format!("\n| `{word}`")), "{word}");
    }
    let problems = DOCUMENT.split("\n## Problems").nth(1).unwrap();
    for (urn, _) in ProblemType::WORDS {
        let word = urn.strip_prefix("urn:linli:problem:").unwrap();
        assert!(problems.contains(&format!("\n| `{word}` | ")), "{word}");
    }
    let limits = DOCUMENT.split("\n## Limits").nth(1).unwrap();
    for (what, limit) in [
        ("the digits of a code", "16".to_string()),
        (
            "a token",
            format!("{} characters", cloud_protocol::enrol::TOKEN_MAX),
        ),
        (
            "`nonce`; a sealing key's id",
            format!("{} characters", cloud_protocol::code::KEY_ID_MAX),
        ),
        ("`wait`", format!("{} s", cloud_protocol::WAIT_MAX_SECONDS)),
        (
            "nesting",
            format!("{} levels", firmware_protocols::value::DEPTH_MAX),
        ),
    ] {
        assert!(limits.contains(&format!("| {what} | {limit} |")), "{what}");
    }
}

#[test]
fn a_badge_has_one_digest() {
    // printf 'linli/v1/badge\0B-77' | sha256sum
    let digest = hex(&badge_digest("B-77"));
    assert_eq!(
        digest,
        "b8e4b96f1b0c33f385f308bfb8cad6b0cdf0c61b5429b4c626e1d0a892a3d5a1"
    );
    assert!(DOCUMENT.contains(&digest));
}
