//! What is said when a body can't be read, and what is taken although it is new.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cloud_protocol::downlink::Proof;
use cloud_protocol::uplink::Acked;
use cloud_protocol::{
    Batch, Chain, Downlink, DownlinkItem, Enrolment, GatewayView, KeyChange, Lane, Problem,
    ProblemType, Received, Report,
};
use firmware_protocols::Value;
use firmware_protocols::event::Secret;

const ZERO: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn json(text: &str) -> Value {
    Value::from_json(text.as_bytes()).unwrap()
}

/// A batch with one fulfilment item that has these fields.
fn with_item(fields: &str) -> Value {
    json(&format!(
        r#"{{"epoch":1,"lanes":{{"fulfilment":{{"after":0,"chain":"{ZERO}","items":[{{{fields}}}]}}}}}}"#
    ))
}

fn refused(fields: &str) -> String {
    let refused = Received::from_value(&with_item(fields)).unwrap_err();
    assert_eq!(refused.lane.as_deref(), Some("fulfilment"));
    refused.to_string()
}

#[test]
fn an_unreadable_item_is_named_with_lane_number_and_field() {
    let cases = [
        (
            r#""seq":2,"at":1"#,
            "field 'seq': expected 1 (items are numbered from after + 1 without a gap), got 2",
        ),
        (r#""seq":1"#, "field 'at' is missing"),
        (
            r#""seq":1,"at":-5"#,
            "field 'at': expected an integer from 0 to 9007199254740991, got -5",
        ),
        (r#""seq":1,"at":1"#, "field 'kind' is missing"),
        (
            r#""seq":1,"at":1,"kind":"parcel","state":"expected""#,
            "field 'parcel' is missing",
        ),
        (
            r#""seq":1,"at":1,"kind":"parcel","parcel":"P","state":"lost","since":1"#,
            "field 'state': expected one of expected, deposited, overdue, refused, claimed, collected, retrieved, cancelled, got 'lost'",
        ),
        (
            r#""seq":1,"at":1,"kind":"parcel","parcel":"P","state":"expected","since":1,"bank":"Bank A""#,
            "field 'bank': 'Bank A' is not a valid identifier: use 1 to 63 of a-z, 0-9 and '-', not starting with '-'",
        ),
        (
            r#""seq":1,"at":1,"kind":"parcel","parcel":"P","state":"expected","since":1,"compartment":0"#,
            "field 'compartment': expected an integer from 1 to 65535, got 0",
        ),
        (
            r#""seq":1,"at":1,"kind":"parcel","parcel":"P","state":"expected","since":1,"code":7"#,
            "field 'code': expected a map, got an integer",
        ),
        (
            r#""seq":1,"at":1,"kind":"parcel","parcel":"P","state":"expected","since":1,"code":{"key":"k","enc":"AAAA","ct":"AAAA"}"#,
            "field 'code': field 'enc': expected 32 bytes (in JSON: base64url without padding), got 3 bytes",
        ),
        (
            r#""seq":1,"at":1,"kind":"unplaceable","parcel":"P","point":"bank-a","size":"XL","zone":"chilled""#,
            "field 'size': expected one of S, M, L, got 'XL'",
        ),
        (
            r#""seq":1,"at":1,"kind":"claim","parcel":"P","claim":"late","operator":"Li","desk":"d","note":"n","keeps":true"#,
            "field 'claim': expected one of refused, damaged, got 'late'",
        ),
        (
            r#""seq":1,"at":1,"kind":"claim","parcel":"P","claim":"damaged","operator":"Li","desk":"d","note":"n","keeps":true,"compensation_fen":-5"#,
            "field 'compensation_fen': expected an integer from 0 to 9007199254740991, got -5",
        ),
        (
            r#""seq":1,"at":1,"kind":"claim","parcel":"P","claim":"damaged","operator":"Li","desk":"d","note":"n""#,
            "field 'keeps' is missing",
        ),
        (
            r#""seq":1,"at":1,"kind":"health","counters":{}"#,
            "field 'kind': expected a kind of the lane 'fulfilment', got 'health'",
        ),
    ];
    for (fields, reason) in cases {
        assert_eq!(
            refused(fields),
            format!("lane 'fulfilment': item 1: {reason}")
        );
    }
}

/// As an old gateway would send it, or one that mistakes the field.
#[test]
fn an_error_never_repeats_the_digits_of_a_code() {
    for (code, reason) in [
        (
            r#"{"digits":"123456","salt":"AAECAwQFBgcICQoLDA0ODw"}"#.to_string(),
            "field 'code': field 'key' is missing",
        ),
        (
            format!(r#"{{"key":"k","enc":"{ZERO}","ct":"123456"}}"#),
            "field 'code': field 'ct': expected 17 to 32 bytes (in JSON: base64url without padding), got text",
        ),
    ] {
        let item = format!(
            r#""seq":1,"at":1,"kind":"parcel","parcel":"P","state":"expected","since":1,"code":{code}"#
        );
        assert_eq!(
            refused(&item),
            format!("lane 'fulfilment': item 1: {reason}")
        );
    }
}

#[test]
fn an_unreadable_batch_is_named_with_its_field() {
    let lane = |part: &str| format!(r#"{{"epoch":1,"lanes":{{"demand":{part}}}}}"#);
    let cases = [
        ("[]".to_string(), "expected a map, got an array"),
        ("{}".to_string(), "field 'epoch' is missing"),
        (r#"{"epoch":1}"#.to_string(), "field 'lanes' is missing"),
        (
            r#"{"epoch":9007199254740992,"lanes":{}}"#.to_string(),
            "field 'epoch': expected an integer from 0 to 9007199254740991, got 9007199254740992",
        ),
        (
            r#"{"epoch":1,"lanes":[]}"#.to_string(),
            "field 'lanes': expected a map by lane, got an array",
        ),
        (
            r#"{"epoch":1,"lanes":{"news":{}}}"#.to_string(),
            "unknown lane 'news'",
        ),
        (lane("{}"), "lane 'demand': field 'after' is missing"),
        (
            lane(r#"{"after":0,"chain":"AAAA","items":[]}"#),
            "lane 'demand': field 'chain': expected 32 bytes (in JSON: base64url without padding), got 3 bytes",
        ),
        (
            lane(r#"{"after":0,"chain":7,"items":[]}"#),
            "lane 'demand': field 'chain': expected 32 bytes (in JSON: base64url without padding), got an integer",
        ),
        (
            lane(&format!(r#"{{"after":0,"chain":"{ZERO}","items":{{}}}}"#)),
            "lane 'demand': field 'items': expected an array, got a map",
        ),
    ];
    for (body, reason) in cases {
        let refused = Received::from_value(&json(&body)).unwrap_err();
        assert_eq!(refused.to_string(), reason);
        assert_eq!(Batch::from_value(&json(&body)).unwrap_err().0, reason);
    }
}

#[test]
fn a_demand_is_for_one_building_or_for_the_site() {
    let read = |scope: &str| {
        let item = format!(
            r#"{{"seq":1,"at":1,"kind":"demand","scope":{scope},"start":0,"minutes":60,"revision":1,"series":{{"comings":9}}}}"#
        );
        cloud_protocol::Item::from_value(&json(&item))
    };
    for (scope, building) in [
        (r#"{"building":"b1"}"#, Some("b1")),
        (r#"{"site":true}"#, None),
    ] {
        let Report::Demand(demand) = read(scope).unwrap().report else {
            panic!("not a demand");
        };
        assert_eq!(demand.building.as_ref().map(|id| id.as_str()), building);
    }
    for scope in [
        "{}",
        r#"{"site":false}"#,
        r#"{"site":true,"building":"b1"}"#,
    ] {
        assert_eq!(
            read(scope).unwrap_err().0,
            "field 'scope': expected either {building: ID} or {site: true}, got neither or both"
        );
    }
}

/// A newer gateway may say more: its fields are in the chain, and a new kind doesn't block a lane.
#[test]
fn fields_and_kinds_of_a_newer_gateway_are_kept() {
    let known = r#""seq":1,"at":1,"kind":"parcel","parcel":"P","state":"expected","since":1"#;
    let chain = |fields: &str| {
        let received = Received::from_value(&with_item(fields)).unwrap();
        let item = received.lanes[&Lane::Fulfilment].items[0].clone();
        (Chain::default().then_encoded(&item.encoded()), item)
    };
    let (plain, _) = chain(known);
    let (newer, item) = chain(&format!(r#"{known},"leader":"L-1""#));
    assert_ne!(plain, newer);
    assert_eq!(item.value.get("leader"), Some(&"L-1".into()));
    assert!(matches!(item.report, Some(Report::Parcel(_))));

    let (_, unknown) = chain(r#""seq":1,"at":1,"kind":"forecast","x":[1]"#);
    assert_eq!(unknown.report, None);
    assert_eq!(unknown.into_item().unwrap_err().0, "item 1: unknown kind");
}

#[test]
fn an_unreadable_downlink_item_does_not_hide_the_next() {
    let body = json(
        r#"{"items":[{"seq":4,"kind":"weather"},{"seq":5,"kind":"parcel.expected","parcel":"P"},{"seq":6,"kind":"parcel.cancelled","parcel":"P"}]}"#,
    );
    let items = DownlinkItem::read_all(&body).unwrap();
    let reasons: Vec<_> = items.iter().map(|item| item.what.as_ref().err()).collect();
    assert_eq!(reasons[0].unwrap().0, "unknown kind 'weather'");
    assert_eq!(reasons[1].unwrap().0, "field 'recipient' is missing");
    assert_eq!(
        items[2].what,
        Ok(Downlink::ParcelCancelled {
            parcel: "P".to_string()
        })
    );
    assert_eq!(
        items.iter().map(|item| item.seq).collect::<Vec<_>>(),
        [4, 5, 6]
    );
}

/// A courier has a badge or a code; who has both or neither isn't known by either.
#[test]
fn a_courier_identifies_by_a_badge_or_by_a_code() {
    let read = |proof: &str| {
        let item =
            format!(r#"{{"seq":1,"kind":"courier","courier":"carl","valid_until":5{proof}}}"#);
        DownlinkItem::from_value(&json(&item)).unwrap().what
    };
    let by_code = read(r#","code":"00471147""#).unwrap();
    let Downlink::Courier { proof, .. } = by_code else {
        panic!("not a courier");
    };
    assert_eq!(proof, Proof::Code(Secret::new("00471147")));
    assert!(read(&format!(r#","badge":"{ZERO}""#)).is_ok());
    let cases = [
        (
            String::new(),
            "expected either 'badge' or 'code', got neither or both",
        ),
        (
            format!(r#","badge":"{ZERO}","code":"00471147""#),
            "expected either 'badge' or 'code', got neither or both",
        ),
        (
            r#","code":"0047114x""#.to_string(),
            "field 'code': expected digits 0 to 9, got other characters",
        ),
        (
            r#","code":471147"#.to_string(),
            "field 'code': expected text of 1 to 16 characters, got an integer",
        ),
    ];
    for (proof, reason) in cases {
        assert_eq!(read(&proof).unwrap_err().0, reason);
    }
}

#[test]
fn what_may_be_left_out_of_an_announcement_is_absent() {
    let read = |more: &str| {
        let item = format!(
            r#"{{"seq":1,"kind":"parcel.expected","parcel":"P-R","recipient":"r","size":"S","zone":"ambient","point":"bank-a","deadline":1,"consent":false{more}}}"#
        );
        match DownlinkItem::from_value(&json(&item)).unwrap().what {
            Ok(Downlink::ParcelExpected(parcel)) => (parcel.low, parcel.return_of),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(read(""), (false, None));
    assert_eq!(
        read(r#","low":true,"return_of":"P""#),
        (true, Some("P".to_string()))
    );
}

#[test]
fn a_downlink_without_numbers_is_malformed_as_a_whole() {
    for (body, reason) in [
        ("{}", "field 'items' is missing"),
        (
            r#"{"items":7}"#,
            "field 'items': expected an array, got an integer",
        ),
        (
            r#"{"items":[{"kind":"settings"}]}"#,
            "field 'seq' is missing",
        ),
        (
            r#"{"items":[{"seq":0}]}"#,
            "field 'seq': expected an integer from 1 to 9007199254740991, got 0",
        ),
    ] {
        assert_eq!(DownlinkItem::read_all(&json(body)).unwrap_err().0, reason);
    }
}

#[test]
fn an_answer_that_cannot_be_read_says_why() {
    for (body, reason) in [
        (
            r#"{"acked":{"demand":-1}}"#,
            "field 'acked': expected an unsigned integer, got a negative one",
        ),
        (
            r#"{"acked":{"demand":"9"}}"#,
            "field 'acked': expected an integer a lane, got text",
        ),
        (r#"{"acked":{"news":1}}"#, "unknown lane 'news'"),
        (
            r#"{"acked":[]}"#,
            "field 'acked': expected a map by lane, got an array",
        ),
    ] {
        assert_eq!(Acked::from_value(&json(body)).unwrap_err().0, reason);
    }
}

/// RFC 9457 § 3.1: a member of a wrong type counts as absent.
#[test]
fn problems_of_other_servers_are_read_as_far_as_they_go() {
    let problem = Problem::from_value(&json(
        r#"{"type":"https://example.com/out-of-credit","title":7,"status":"403","detail":"","extra":[1]}"#,
    ));
    let problem = problem.unwrap();
    assert_eq!((problem.kind, problem.status), (None, 500));
    assert_eq!(problem.to_string(), "refused");

    let text = format!(
        r#"{{"title":"\u001b[31mred","detail":"{}"}}"#,
        "x".repeat(2000)
    );
    let problem = Problem::from_value(&json(&text)).unwrap();
    assert_eq!(problem.title, "[31mred");
    assert_eq!(problem.detail.unwrap().len(), 1024);
}

#[test]
fn every_type_of_problem_has_its_own_urn() {
    for (urn, kind) in ProblemType::WORDS {
        assert_eq!(kind.urn(), *urn);
        assert!(urn.starts_with("urn:linli:problem:"));
    }
}

#[test]
fn an_unreadable_enrolment_or_change_is_named_with_its_field() {
    let cases = [
        (r#"{}"#.to_string(), "field 'token' is missing"),
        (
            r#"{"token":"","gateway":"g","public_key":"AA"}"#.to_string(),
            "field 'token': expected text of 1 to 256 characters, got 0 characters",
        ),
        (
            r#"{"token":"t","gateway":"G 1","public_key":"AA"}"#.to_string(),
            "field 'gateway': 'G 1' is not a valid identifier: use 1 to 63 of a-z, 0-9 and '-', not starting with '-'",
        ),
        (
            r#"{"token":"t","gateway":"g","public_key":"AA"}"#.to_string(),
            "field 'public_key': expected 32 bytes (in JSON: base64url without padding), got 1 bytes",
        ),
    ];
    for (body, reason) in cases {
        assert_eq!(Enrolment::from_value(&json(&body)).unwrap_err().0, reason);
    }
    let change = json(&format!(r#"{{"public_key":"{ZERO}","proof":"{ZERO}"}}"#));
    assert_eq!(
        KeyChange::from_value(&change).unwrap_err().0,
        "field 'proof': expected 64 bytes (in JSON: base64url without padding), got 32 bytes"
    );
}

/// A cloud of a later version may say more of a gateway; one before the first batch says less.
#[test]
fn what_a_cloud_says_of_a_gateway_is_read_as_far_as_it_goes() {
    let key = format!(r#""sealing_key":{{"id":"k","public_key":"{ZERO}"}}"#);
    let view = GatewayView::from_value(&json(&format!(r#"{{{key},"time":5}}"#))).unwrap();
    assert_eq!((view.time, view.epoch, view.lanes.len()), (5, None, 0));
    let more = format!(
        r#"{{{key},"time":5,"epoch":7,"news":1,"lanes":{{"demand":{{"last":3,"chain":"{ZERO}","x":1}},"later":{{"first":1}}}}}}"#
    );
    let view = GatewayView::from_value(&json(&more)).unwrap();
    assert_eq!(view.epoch, Some(7));
    assert_eq!(view.lanes[&Lane::Demand].last, 3);
    for (body, reason) in [
        (
            r#"{"time":5}"#.to_string(),
            "field 'sealing_key' is missing",
        ),
        (
            r#"{"sealing_key":{"id":"k","public_key":"AA"},"time":5}"#.to_string(),
            "field 'sealing_key': field 'public_key': expected 32 bytes (in JSON: base64url without padding), got 1 bytes",
        ),
        (
            format!(r#"{{{key},"time":5,"lanes":{{"demand":{{"last":-1}}}}}}"#),
            "demand: field 'last': expected an integer from 0 to 9007199254740991, got -1",
        ),
    ] {
        assert_eq!(GatewayView::from_value(&json(&body)).unwrap_err().0, reason);
    }
}

/// A body of the largest size whose names were compared each with each.
#[test]
fn a_demand_of_very_many_series_is_read_in_time() {
    let series: Vec<String> = (0..100_000).map(|n| format!("\"{n}\":1")).collect();
    let series = series.join(",");
    let body = json(&format!(
        r#"{{"epoch":1,"lanes":{{"demand":{{"after":0,"chain":"{ZERO}","items":[{{"seq":1,"at":1,"kind":"demand","scope":{{"site":true}},"start":1,"minutes":60,"revision":1,"series":{{{series}}}}}]}}}}}}"#
    ));
    let began = std::time::Instant::now();
    let received = Received::from_value(&body).unwrap();
    assert_eq!(received.lanes[&Lane::Demand].items.len(), 1);
    let took = began.elapsed();
    assert!(
        took.as_secs() < 10,
        "{took:?}: each with each takes minutes"
    );
}

/// 1 and "1" are two keys in CBOR and would be one name.
#[test]
fn an_integer_is_no_name() {
    let settings = Value::from_cbor(
        b"\xa1\x65items\x81\xa3\x63seq\x01\x64kind\x68settings\x68settings\xa2\x01\x02\x611\x03",
    );
    let items = DownlinkItem::read_all(&settings.unwrap()).unwrap();
    let refused = items[0].what.as_ref().unwrap_err();
    assert_eq!(
        refused.0,
        "field 'settings': expected names, got an integer"
    );
}

/// Found by the fuzz target `cloud_answer`: the reason is logged and shown in the status.
#[test]
fn an_unknown_lane_is_named_shortly_however_long_it_is() {
    let lane = "x".repeat(500_000);
    let refused = Acked::from_value(&json(&format!(r#"{{"acked":{{"{lane}":1}}}}"#)));
    let reason = format!("unknown lane '{}'", "x".repeat(32));
    assert_eq!(refused.unwrap_err().0, reason);
}
