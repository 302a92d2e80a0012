//! Nobody is heard who hasn't signed: what is refused, how, and how little it costs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
mod gateway;

use std::time::Duration;

use cloud_protocol::secure::signed::{SIGNATURE_INPUT, SignedHeaders, nonce};
use cloud_protocol::{JSON, Lane, Problem, ProblemType};
use gateway::{Call, Gateway, ident, key, now_s, parcels, problem};
use reference_cloud::{Cloud, Config};
use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A cloud and a gateway that is enrolled at it.
async fn pair() -> (Cloud, Gateway) {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let gateway = Gateway::of(&cloud);
    gateway.view().await;
    (cloud, gateway)
}

fn batch_call(gateway: &Gateway) -> Call {
    let body = parcels(1).batch(1, 0, 1).to_value().to_json();
    Call::post(gateway.path("/uplink"), JSON, body.into())
}

async fn refused(gateway: &Gateway, call: Call, signature: SignedHeaders) -> Problem {
    let answer = gateway.try_call_signed(call, signature).await.unwrap();
    if answer.status() == 401 {
        assert_eq!(answer.headers()["www-authenticate"], "Signature");
        assert!(answer.headers().contains_key("accept-signature"));
    }
    problem(answer).await
}

fn assert_is(problem: &Problem, kind: ProblemType, status: u16, words: &str) {
    assert_eq!((problem.kind, problem.status), (Some(kind), status));
    let detail = problem.detail.as_deref().unwrap();
    assert!(detail.contains(words), "{detail}");
}

#[tokio::test]
async fn a_request_must_be_signed_by_its_own_gateway_over_all_of_it() {
    let (cloud, mut gateway) = pair().await;
    let unsigned = gateway.send_as_it_is(batch_call(&gateway)).await.unwrap();
    let missing = problem(unsigned).await;
    assert_is(
        &missing,
        ProblemType::Signature,
        401,
        "'signature-input' is missing",
    );

    let sign = |gateway: &Gateway, call: &Call| gateway.sign(call, now_s(), &nonce().unwrap());
    let call = batch_call(&gateway);
    let other_method = Call {
        method: Method::PUT,
        ..batch_call(&gateway)
    };
    let other_target = Call {
        path: gateway.path("/uplink?x=1"),
        ..batch_call(&gateway)
    };
    for other in [other_method, other_target] {
        let told = refused(&gateway, batch_call(&gateway), sign(&gateway, &other)).await;
        assert_is(
            &told,
            ProblemType::Signature,
            401,
            "/v1/gateways/estate-1/uplink",
        );
    }

    let mut changed = batch_call(&gateway);
    changed.content.push(b' ');
    let told = refused(&gateway, changed, sign(&gateway, &call)).await;
    assert_is(
        &told,
        ProblemType::Signature,
        401,
        "isn't the one that was signed",
    );

    let mut uncovered = sign(&gateway, &call);
    uncovered.signature_input = uncovered.signature_input.replace("\"@target-uri\" ", "");
    let told = refused(&gateway, batch_call(&gateway), uncovered).await;
    assert_is(
        &told,
        ProblemType::Signature,
        401,
        "doesn't cover '@target-uri'",
    );

    let long = gateway.sign(&call, now_s(), &"n".repeat(65));
    let told = refused(&gateway, batch_call(&gateway), long).await;
    assert_is(
        &told,
        ProblemType::Signature,
        401,
        "'nonce' is missing or wrong",
    );

    // Another gateway of the same cloud, and one that has the name and not the key.
    let own = gateway.id.clone();
    gateway.id = ident("estate-2");
    gateway.view().await;
    let others = sign(&gateway, &call);
    gateway.id = own;
    let told = refused(&gateway, batch_call(&gateway), others).await;
    assert_is(
        &told,
        ProblemType::Signature,
        401,
        "'keyid' must be the gateway of the path",
    );
    gateway.key = key(8);
    for _ in 0..3 {
        let forged = sign(&gateway, &call);
        let told = refused(&gateway, batch_call(&gateway), forged).await;
        assert_is(
            &told,
            ProblemType::Signature,
            401,
            "isn't by this gateway's key",
        );
    }
    assert!(cloud.lanes(&gateway.id).await.unwrap().lanes.is_empty());
}

#[tokio::test]
async fn every_call_of_an_unknown_gateway_is_refused() {
    let (_cloud, mut gateway) = pair().await;
    for name in ["estate-9", "estate-9", "Not%20a%20name", "%ff"] {
        let path = format!("/v1/gateways/{name}");
        gateway.id = ident("estate-9");
        for call in [
            Call::get(&path),
            Call::get(format!("{path}/downlink")),
            Call::post(format!("{path}/uplink"), JSON, b"{}".to_vec()),
            Call::post(format!("{path}/key"), JSON, b"{}".to_vec()),
        ] {
            let told = problem(gateway.try_call(call).await.unwrap()).await;
            assert_is(
                &told,
                ProblemType::UnknownGateway,
                404,
                "enrolled at this cloud",
            );
        }
    }
}

#[tokio::test]
async fn a_request_is_taken_once() {
    let (cloud, gateway) = pair().await;
    let calls: [fn(&Gateway) -> Call; 3] = [
        |gateway| Call::get(gateway.path("")),
        |gateway| Call::get(gateway.path("/downlink")),
        batch_call,
    ];
    for call in calls {
        let signature = gateway.sign(&call(&gateway), now_s(), &nonce().unwrap());
        let first = gateway.try_call_signed(call(&gateway), signature.clone());
        assert_eq!(first.await.unwrap().status(), 200);
        let told = refused(&gateway, call(&gateway), signature).await;
        assert_is(
            &told,
            ProblemType::Replay,
            401,
            "sign it again with a new one",
        );
    }
    // A nonce is spent for its gateway, not for one call or for others.
    let (at, nonce) = (now_s(), nonce().unwrap());
    let view = Call::get(gateway.path(""));
    let signature = gateway.sign(&view, at, &nonce);
    assert_eq!(
        gateway
            .try_call_signed(view, signature)
            .await
            .unwrap()
            .status(),
        200
    );
    let signature = gateway.sign(&batch_call(&gateway), at, &nonce);
    let told = refused(&gateway, batch_call(&gateway), signature).await;
    assert_eq!(told.kind, Some(ProblemType::Replay));
    let lane = cloud.lanes(&gateway.id).await.unwrap().lanes[&Lane::Fulfilment];
    assert_eq!((lane.items, lane.duplicates), (1, 0));
    let mut other = Gateway::of(&cloud);
    other.id = ident("estate-2");
    other.view().await;
    let view = Call::get(other.path(""));
    let signature = other.sign(&view, at, &nonce);
    assert_eq!(
        other
            .try_call_signed(view, signature)
            .await
            .unwrap()
            .status(),
        200
    );
}

#[tokio::test]
async fn a_request_is_taken_while_its_time_is_near_the_clouds() {
    let (_cloud, gateway) = pair().await;
    for off in [-290, 290] {
        let call = Call::get(gateway.path(""));
        let signature = gateway.sign(&call, now_s() + off, &nonce().unwrap());
        let answer = gateway.try_call_signed(call, signature).await.unwrap();
        assert_eq!(answer.status(), 200, "{off}");
    }
    for (off, words) in [
        (-310, " s behind"),
        (310, " s ahead of"),
        (i64::MIN / 2, ""),
    ] {
        let created = if off < -1_000 { 0 } else { now_s() + off };
        let call = Call::get(gateway.path(""));
        let signature = gateway.sign(&call, created, &nonce().unwrap());
        let answer = gateway.try_call_signed(call, signature).await.unwrap();
        assert!(answer.headers().contains_key("date"), "{off}");
        assert_is(&problem(answer).await, ProblemType::Clock, 401, words);
    }
}

/// A proxy in front of the cloud has another name than the cloud itself.
#[tokio::test]
async fn what_is_signed_is_the_public_url() {
    let config = Config {
        public_url: Some("https://cloud.example/linli/".to_string()),
        ..Config::in_memory()
    };
    let cloud = reference_cloud::serve(config).await.unwrap();
    assert_eq!(cloud.url(), "https://cloud.example/linli");
    let mut gateway = Gateway::of(&cloud);
    let inside = format!("http://{}", cloud.address());
    let send = async |gateway: &mut Gateway, call: Call, url: &str| {
        gateway.url = url.to_string();
        let signature = gateway.sign(&call, now_s(), &nonce().unwrap());
        gateway.url = inside.clone();
        gateway.try_call_signed(call, signature).await.unwrap()
    };
    let body = format!(
        r#"{{"token":"t","gateway":"estate-1","public_key":"{}"}}"#,
        base64url(&gateway::public(&gateway.key))
    );
    let enrol = || Call::post("/v1/enrol", JSON, body.clone().into());
    let told = problem(send(&mut gateway, enrol(), &inside).await).await;
    assert_is(
        &told,
        ProblemType::Signature,
        401,
        "over POST https://cloud.example/linli/v1/enrol",
    );
    let taken = send(&mut gateway, enrol(), "https://cloud.example/linli").await;
    assert_eq!(taken.status(), 200);
    for wrong in [
        "cloud.example",
        "https://",
        "ftp://cloud.example",
        "https://c/?x",
    ] {
        let config = Config {
            public_url: Some(wrong.to_string()),
            ..Config::in_memory()
        };
        assert!(reference_cloud::serve(config).await.is_err(), "{wrong}");
    }
}

fn base64url(bytes: &[u8]) -> String {
    let json = firmware_protocols::Value::Bytes(bytes.to_vec()).to_json();
    json.trim_matches('"').to_string()
}

/// The head says enough to refuse it: who waits for a word before the body needn't send it.
#[tokio::test]
async fn a_strangers_body_is_not_asked_for() {
    let (cloud, gateway) = pair().await;
    let mut stranger = TcpStream::connect(cloud.address()).await.unwrap();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
         content-length: 1000000\r\nexpect: 100-continue\r\n\r\n",
        gateway.path("/uplink"),
        cloud.address()
    );
    stranger.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let answered = stranger.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(5), answered)
        .await
        .expect("refused without the body")
        .unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(answer.contains(SIGNATURE_INPUT), "{answer}");
}

#[tokio::test]
async fn what_is_no_call_is_refused_in_words() {
    let (_cloud, gateway) = pair().await;
    let nowhere = gateway.call(Method::GET, "/v2/enrol", "").await;
    assert_eq!(problem(nowhere).await.status, 404);
    let answer = gateway
        .call(Method::DELETE, &gateway.path("/uplink"), "")
        .await;
    assert_eq!(answer.headers()["allow"], "POST");
    assert_eq!(problem(answer).await.status, 405);
}

/// A copy of the store doesn't know which requests came after it was made.
#[tokio::test]
async fn a_restored_cloud_takes_nothing_that_was_signed_before() {
    let (cloud, gateway) = pair().await;
    let old = gateway.sign(&batch_call(&gateway), now_s(), &nonce().unwrap());
    cloud.shutdown().await;
    let config = Config {
        listen: cloud.address(),
        restored: true,
        ..Config::in_memory()
    };
    let cloud = reference_cloud::serve(config).await.unwrap();
    let told = refused(&gateway, batch_call(&gateway), old).await;
    assert_is(&told, ProblemType::Clock, 401, "sign it anew");
    let gateway = Gateway::of(&cloud);
    let until = now_s() + 2;
    while now_s() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    gateway.view().await;
}
