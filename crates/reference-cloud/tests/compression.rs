//! zstd both ways, and its bounds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
mod gateway;

use cloud_protocol::secure::compressed::{pack, unpack};
use cloud_protocol::{BODY_MAX_BYTES, Downlink, DownlinkItem, JSON, Lane, ProblemType};
use firmware_protocols::Form;
use gateway::{Call, Gateway, parcels, problem, read};
use reference_cloud::{Cloud, Config};
use reqwest::Response;

async fn pair() -> (Cloud, Gateway) {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let gateway = Gateway::of(&cloud);
    gateway.view().await;
    (cloud, gateway)
}

async fn sent(gateway: &Gateway, coding: &str, content: Vec<u8>) -> Response {
    let call = Call::post(gateway.path("/uplink"), gateway.media_type(), content);
    let call = call.with("content-encoding", coding);
    gateway.try_call(call).await.unwrap()
}

#[tokio::test]
async fn a_packed_batch_is_taken_in_both_encodings() {
    let (cloud, mut gateway) = pair().await;
    let ledger = parcels(40);
    for (form, after) in [(Form::Cbor, 0), (Form::Json, 20)] {
        gateway.form = form;
        let body = ledger.batch(1, after, after + 20).to_value().write(form);
        let packed = pack(&body).unwrap();
        assert!(packed.len() < body.len());
        assert_eq!(sent(&gateway, "zstd", packed).await.status(), 200);
    }
    let plain = ledger.batch(1, 40, 40).to_value().write(gateway.form);
    assert_eq!(sent(&gateway, "identity", plain).await.status(), 200);
    let lane = cloud.lanes(&gateway.id).await.unwrap().lanes[&Lane::Fulfilment];
    assert_eq!(lane.items, 40);
}

#[tokio::test]
async fn bombs_rubbish_and_other_codings_are_refused() {
    let (cloud, gateway) = pair().await;
    let zeros = pack(&vec![0; BODY_MAX_BYTES]).unwrap();
    // Frames may follow each other: three of them are over the bound together.
    let bomb = [zeros.as_slice(); 3].concat();
    let body = parcels(1).batch(1, 0, 1).to_value().write(gateway.form);
    for (coding, content, status, kind) in [
        ("zstd", bomb, 413, ProblemType::TooLarge),
        ("zstd", zeros, 400, ProblemType::Malformed),
        ("zstd", body.clone(), 400, ProblemType::Malformed),
        ("zstd, zstd", body.clone(), 415, ProblemType::Malformed),
        ("gzip", body, 415, ProblemType::Malformed),
    ] {
        let answer = sent(&gateway, coding, content).await;
        let accepts = answer.headers().get("accept-encoding").cloned();
        assert_eq!(accepts.is_some_and(|v| v == "zstd"), status == 415);
        let told = problem(answer).await;
        assert_eq!((told.status, told.kind), (status, Some(kind)), "{coding}");
    }
    assert!(cloud.lanes(&gateway.id).await.unwrap().lanes.is_empty());
}

#[tokio::test]
async fn answers_are_packed_for_those_who_ask() {
    let (cloud, gateway) = pair().await;
    for n in 0..50 {
        let parcel = format!("P-{n}");
        let item = Downlink::ParcelCancelled { parcel };
        cloud.push(&gateway.id, &item).await.unwrap();
    }
    let poll = |after: u64| Call::get(gateway.path(&format!("/downlink?after={after}")));
    let plain = gateway.try_call(poll(0)).await.unwrap();
    assert!(!plain.headers().contains_key("content-encoding"));
    let plain = DownlinkItem::read_all(&read(plain).await).unwrap();

    let asked = poll(0).with("accept-encoding", "gzip, zstd");
    let packed = gateway.try_call(asked).await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], "zstd");
    assert_eq!(packed.headers()["content-type"], JSON);
    let body = unpack(&packed.bytes().await.unwrap()).unwrap();
    let body = firmware_protocols::Value::from_json(&body).unwrap();
    assert_eq!(DownlinkItem::read_all(&body).unwrap(), plain);

    // Too small to be worth it.
    let asked = poll(50).with("accept-encoding", "zstd");
    let small = gateway.try_call(asked).await.unwrap();
    assert!(!small.headers().contains_key("content-encoding"));
    assert_eq!(small.text().await.unwrap(), r#"{"items":[]}"#);
}
