//! The vectors of SYNC.md, as bytes: encodings and chains computed by another implementation
//! (Python, hand-written deterministic CBOR and hashlib).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cloud_protocol::downlink::{Size, Zone};
use cloud_protocol::uplink::{
    ClaimKind, ClaimReport, CodeForResident, DemandReport, ParcelReport, ParcelState, Unplaceable,
};
use cloud_protocol::{
    Acked, Batch, Chain, DownlinkItem, Item, Lane, LaneBatch, Problem, ProblemType, Received,
    Report, badge_digest,
};
use firmware_protocols::event::Secret;
use firmware_protocols::{Form, Ident, Value};

const EXPECTED: &str = "a76261741b00000199c82cc000637365710164636f6465a26473616c7450000102030405060708090a0b0c0d0e0f6664696769747366303034373131646b696e646670617263656c6573696e63651b00000199c82cc0006573746174656865787065637465646670617263656c63502d31";
const DEPOSITED: &str = "a86261741b00000199c82ea24063736571026462616e6b6662616e6b2d61646b696e646670617263656c6573696e63651b00000199c82ea078657374617465696465706f73697465646670617263656c63502d316b636f6d706172746d656e7407";
const UNPLACEABLE: &str = "a86261741b00000199c82fcd406373657103646465736b666465736b2d31646b696e646b756e706c61636561626c656473697a65614c647a6f6e65676368696c6c656465706f696e746662616e6b2d616670617263656c63502d32";
const CLAIM: &str = "ab6261741b00000199c83153e06373657104646465736b666465736b2d31646b696e6465636c61696d646e6f74657818e9b8a1e89b8be7a28ee4ba8620656767732062726f6b656e65636c61696d6764616d61676564656b65657073f46670617263656c63502d31686f70657261746f72654c69204e616b72657475726e65645f617365502d312d5270636f6d70656e736174696f6e5f66656e1904e2";
const RETURN: &str = "a86261741b00000199c83153e06373657105646465736b666465736b2d31646b696e646670617263656c6573696e63651b00000199c83153e0657374617465696465706f73697465646670617263656c65502d312d526972657475726e5f6f6663502d31";
const DEMAND: &str = "a86261741b00000199c863ae806373657101646b696e646664656d616e646573636f7065a1686275696c64696e676262316573746172741b00000199c832da8066736572696573a366676f696e677319012c67636f6d696e6773176b696e74656e743a656767731a00011170676d696e75746573183c687265766973696f6e01";
const HEALTH: &str = "a46261741b00000199c82cc0006373657101646b696e64666865616c746868636f756e74657273a2666576656e74731b00000001000000006673746172747301";
const AUDIT: &str = "a56261741b00000199c82cc000637365710264686561645820969eaea871841ec35a0e4a7f010abbb27157ef89fe08e7794b5d537cad9bd22e646b696e6465617564697467656e747269657302";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

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
            code: Some(CodeForResident {
                digits: Secret::new("004711"),
                salt: (0..16).collect(),
            }),
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

#[test]
fn items_have_one_encoding() {
    for (item, encoding) in [
        (expected(), EXPECTED),
        (deposited(), DEPOSITED),
        (unplaceable(), UNPLACEABLE),
        (claim(), CLAIM),
        (the_return(), RETURN),
        (demand(), DEMAND),
        (health(), HEALTH),
        (audit(), AUDIT),
    ] {
        assert_eq!(hex(&item.to_value().to_cbor()), encoding);
    }
}

#[test]
fn chains_are_those_of_the_document() {
    let one = Chain::default().then(&expected());
    let two = one.then(&deposited());
    assert_eq!(
        hex(&one.0),
        "46399a198cf46841850b5d97ab9b91fe037944649dfd38548cabb3173ceccb62"
    );
    assert_eq!(
        hex(&two.0),
        "d884477a92c00e90a204530a8fe04c0d0ee645d3aecf3235222a93363c07b688"
    );
    let three = two.then(&unplaceable());
    let four = three.then(&claim());
    let five = four.then(&the_return());
    assert_eq!(
        [three, four, five].map(|chain| hex(&chain.0)),
        [
            "7dad21202b13d8c07cd0c74fe2d0391b958f93de5b4af2f1294ee7711bddc4a6",
            "42cfa832c96f225ff9fa3dd4be93f9132a856ee0322ca8eecb163ce0f9ad031e",
            "d9b38971ff653dfc5d30576d54c40d06a5909fcfb810e1ca50ba319d348a382f",
        ]
    );
    assert_eq!(
        hex(&Chain::default().then(&demand()).0),
        "68b62c07951d6a5458a885368565ec6eff0034ba3d59487d36d366202239c609"
    );
    assert_eq!(
        hex(&Chain::default().then(&health()).0),
        "cc0c12a773609ea4230a5bd7f72336970bb7e3139a7c537e83b1f9a802e98d08"
    );
    assert_eq!(
        hex(&Chain::default().then(&health()).then(&audit()).0),
        "c6618dd4b21b719832a14dfa0d08a620f718ce7b1ecd14dce44ee54589c0d606"
    );
}

/// The receiving side finds the same chain, whatever the encoding was that the body came in.
#[test]
fn both_encodings_lead_to_the_same_chain() {
    let batch = Batch {
        epoch: 1_760_000_000,
        lanes: [
            (
                Lane::Fulfilment,
                LaneBatch {
                    items: vec![
                        expected(),
                        deposited(),
                        unplaceable(),
                        claim(),
                        the_return(),
                    ],
                    ..LaneBatch::default()
                },
            ),
            (
                Lane::Health,
                LaneBatch {
                    items: vec![health(), audit()],
                    ..LaneBatch::default()
                },
            ),
        ]
        .into(),
    };
    for form in [Form::Cbor, Form::Json] {
        let body = batch.to_value().write(form);
        let received = Received::from_value(&Value::read(&body).unwrap()).unwrap();
        let items = &received.lanes[&Lane::Fulfilment].items;
        let encoded: Vec<_> = items.iter().map(|item| hex(&item.encoded())).collect();
        let vectors = [EXPECTED, DEPOSITED, UNPLACEABLE, CLAIM, RETURN];
        assert_eq!(encoded, vectors, "{form:?}");
        let items = &received.lanes[&Lane::Health].items;
        assert_eq!(hex(&items[1].encoded()), AUDIT, "{form:?}");
        assert_eq!(received.into_batch().unwrap(), batch);
    }
}

/// What the document shows is what the code does.
#[test]
fn the_document_holds_these_vectors_and_examples_that_can_be_read() {
    let document = include_str!("../SYNC.md");
    let states = document.split("### A parcel's states").nth(1).unwrap();
    for (word, _) in ParcelState::WORDS {
        assert!(states.contains(&format!("\n| `{word}`")), "{word}");
    }
    for vector in [
        EXPECTED,
        DEPOSITED,
        UNPLACEABLE,
        CLAIM,
        RETURN,
        DEMAND,
        HEALTH,
        AUDIT,
        BADGE,
    ] {
        assert!(document.contains(vector), "{vector}");
    }
    let examples: Vec<Value> = document
        .split("```json\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .map(|json| Value::from_json(json.as_bytes()).unwrap())
        .collect();
    let [batch, acked, downlink, problem] = examples.as_slice() else {
        panic!("{} examples", examples.len());
    };
    let batch = Batch::from_value(batch).unwrap();
    assert_eq!(batch.lanes[&Lane::Fulfilment].items.len(), 1);
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

#[test]
fn a_badge_has_one_digest() {
    // printf 'linli/v1/badge\0B-77' | sha256sum
    assert_eq!(hex(&badge_digest("B-77")), BADGE);
}

const BADGE: &str = "b8e4b96f1b0c33f385f308bfb8cad6b0cdf0c61b5429b4c626e1d0a892a3d5a1";
