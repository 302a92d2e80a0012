//! The cloud before those whom others wrote: a gateway in Python, schemathesis, and the document that tools read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
#[path = "../gateway/mod.rs"]
mod gateway;

mod document;
mod python;

use std::time::Instant;

use cloud_protocol::uplink::ParcelState;
use cloud_protocol::{Downlink, Lane};
use firmware_protocols::Value;
use firmware_protocols::event::Secret;
use firmware_protocols::value::map;
use gateway::ident;
use reference_cloud::{Cloud, Config};

async fn closed() -> Cloud {
    let config = Config {
        open: false,
        ..Config::in_memory()
    };
    reference_cloud::serve(config).await.unwrap()
}

fn told(cloud: &Cloud, gateway: &str, token: &Secret) -> [(&'static str, Option<Value>); 3] {
    [
        ("url", Some(cloud.url().into())),
        ("token", Some(token.reveal().into())),
        ("gateway", Some(gateway.into())),
    ]
}

/// Written from SYNC.md alone, on other libraries: enrolment, batches in JSON and CBOR, packed or not, codes
/// sealed, the downlink, a change of key, and what is refused.
#[tokio::test]
async fn a_gateway_in_python_gets_along_with_it() {
    let cloud = closed().await;
    let id = ident("stranger-1");
    let token = cloud.issue_token(&id).await.unwrap();
    for n in 0..30 {
        let parcel = format!("S-{n}");
        let item = Downlink::ParcelCancelled { parcel };
        cloud.push(&id, &item).await.unwrap();
    }
    let task = map(told(&cloud, "stranger-1", &token)).to_json();
    let Some(outcome) = python::run("stranger.py", task).await else {
        return;
    };
    assert!(outcome.well, "{}", outcome.err);
    let said = Value::from_json(outcome.out.as_bytes()).unwrap();

    let codes = cloud.codes(&id).await.unwrap();
    let codes = codes.iter().map(|(parcel, code)| (parcel.as_str(), code));
    let codes: Vec<_> = codes
        .map(|(parcel, code)| (parcel, code.reveal()))
        .collect();
    let Some(Value::Map(sealed)) = said.get("codes") else {
        panic!("{said:?}")
    };
    assert_eq!((codes.len(), sealed.len()), (40, 40));
    for (parcel, digits) in codes {
        let sealed = said.get("codes").unwrap().get(parcel);
        assert_eq!(sealed, Some(&digits.into()), "{parcel}");
    }
    let parcel = cloud.parcel(&id, "S-0").await.unwrap().unwrap();
    assert_eq!(parcel.state, Some(ParcelState::Deposited));
    let lane = cloud.lanes(&id).await.unwrap().lanes[&Lane::Fulfilment];
    assert_eq!((lane.items, lane.unknown, lane.duplicates), (42, 1, 42));
    let Some(Value::Array(items)) = said.get("downlink") else {
        panic!("{said:?}")
    };
    assert_eq!(items.len(), 3);
}

/// schemathesis invents requests by the document, right ones and wrong ones: no answer is outside of it, and none is a
/// fault of the server.
#[tokio::test]
async fn schemathesis_finds_nothing() {
    let cloud = closed().await;
    let id = ident("estate-1");
    let token = cloud.issue_token(&id).await.unwrap();
    let number = |name, default| std::env::var(name).map_or(default, |n| n.parse().unwrap());
    let examples = number("LINLI_SCHEMATHESIS_EXAMPLES", 25);
    let seed = number("LINLI_SCHEMATHESIS_SEED", 6);
    let mut task = told(&cloud, "estate-1", &token).to_vec();
    task.extend([
        ("document", Some(document::path().to_str().unwrap().into())),
        ("examples", Some(Value::Int(examples))),
        ("seed", Some(Value::Int(seed))),
    ]);
    let task: [_; 6] = task.try_into().unwrap();
    let started = Instant::now();
    let Some(outcome) = python::run("conforms.py", map(task).to_json()).await else {
        return;
    };
    assert!(outcome.well, "{}\n{}", outcome.out, outcome.err);
    println!("{}\n{:?}", outcome.out, started.elapsed());
    let lanes = cloud.lanes(&id).await.unwrap();
    assert!(lanes.epoch.is_some(), "batches got through");
}
