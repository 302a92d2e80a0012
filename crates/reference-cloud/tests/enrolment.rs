//! Tokens, enrolment, and the change of a key: over real HTTP, lost answers included.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
mod gateway;

use cloud_protocol::enrol::{GatewayView, KeyChange};
use cloud_protocol::secure::signed::nonce;
use cloud_protocol::{Chain, JSON, Lane, ProblemType};
use firmware_protocols::Form;
use firmware_protocols::event::Secret;
use gateway::{Call, Gateway, ident, key, now_s, problem, public, read};
use reference_cloud::{Cloud, Config};
use reqwest::{Method, Response};

async fn closed() -> (Cloud, Gateway) {
    let config = Config {
        open: false,
        ..Config::in_memory()
    };
    let cloud = reference_cloud::serve(config).await.unwrap();
    let gateway = Gateway::of(&cloud);
    (cloud, gateway)
}

async fn is_refused(answer: Response, kind: ProblemType) {
    let problem = problem(answer).await;
    assert_eq!(problem.kind, Some(kind), "{problem}");
}

/// Whether the gateway's key is taken at the cloud.
async fn is_heard(gateway: &Gateway) -> bool {
    let answer = gateway.try_call(Call::get(gateway.path(""))).await.unwrap();
    if answer.status() == 200 {
        return true;
    }
    is_refused(answer, ProblemType::Signature).await;
    false
}

#[tokio::test]
async fn a_token_enrols_once_and_the_same_again_is_the_same() {
    let (cloud, mut gateway) = closed().await;
    is_refused(
        gateway.enrol(&Secret::new("guessed")).await.unwrap(),
        ProblemType::Token,
    )
    .await;
    let token = cloud.issue_token(&gateway.id).await.unwrap();
    for form in [Form::Cbor, Form::Json] {
        gateway.form = form;
        let answer = gateway.enrol(&token).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], gateway.media_type());
        let view = GatewayView::from_value(&read(answer).await).unwrap();
        assert_eq!(view.sealing_key, cloud.sealing_key());
        assert_eq!((view.epoch, view.lanes.len()), (None, 0));
        assert!((view.time / 1_000 - now_s()).abs() < 60);
    }
    assert!(is_heard(&gateway).await);
    gateway.key = key(9);
    is_refused(gateway.enrol(&token).await.unwrap(), ProblemType::Token).await;
    assert!(!is_heard(&gateway).await);
    gateway.id = ident("estate-2");
    is_refused(gateway.enrol(&token).await.unwrap(), ProblemType::Token).await;
}

/// A new box of the same gateway: its lanes go on, the old box isn't heard any more.
#[tokio::test]
async fn a_fresh_token_replaces_the_key_and_the_lanes_stay() {
    let (cloud, mut gateway) = closed().await;
    let token = cloud.issue_token(&gateway.id).await.unwrap();
    gateway.enrol(&token).await.unwrap();
    let ledger = gateway.parcels(3);
    let sent = ledger.batch(5, 0, 3).to_value().to_json();
    let call = Call::post(gateway.path("/uplink"), JSON, sent.into());
    assert_eq!(gateway.try_call(call).await.unwrap().status(), 200);

    gateway.key = key(9);
    let second = cloud.issue_token(&gateway.id).await.unwrap();
    assert_eq!(gateway.enrol(&second).await.unwrap().status(), 200);
    let view = gateway.view().await;
    assert_eq!(view.epoch, Some(5));
    let lane = view.lanes[&Lane::Fulfilment];
    assert_eq!((lane.last, lane.chain), (3, ledger.chain(3)));
    assert_ne!(lane.chain, Chain::default());
    gateway.key = key(7);
    assert!(!is_heard(&gateway).await);
    // The first token is spent: the old box can't come back with it.
    let again = gateway.enrol(&token).await.unwrap();
    if again.status() == 200 {
        assert!(!is_heard(&gateway).await);
    }
    gateway.key = key(9);
    assert!(is_heard(&gateway).await);
}

#[tokio::test]
async fn an_enrolment_whose_answer_is_lost_is_made_good_by_the_same_again() {
    let (cloud, gateway) = closed().await;
    let token = cloud.issue_token(&gateway.id).await.unwrap();
    cloud.faults().lose_next_key_answers(1);
    assert!(gateway.enrol(&token).await.is_err());
    assert_eq!(gateway.enrol(&token).await.unwrap().status(), 200);
    assert!(is_heard(&gateway).await);
}

#[tokio::test]
async fn an_enrolment_is_signed_by_the_key_that_it_names_and_taken_once() {
    let (cloud, mut gateway) = closed().await;
    let token = cloud.issue_token(&gateway.id).await.unwrap();
    let body = |key: u8, name: &str| {
        let enrolment = cloud_protocol::Enrolment {
            token: token.clone(),
            gateway: ident(name),
            public_key: public(&gateway::key(key)),
        };
        Call::post("/v1/enrol", JSON, enrolment.to_value().to_json().into())
    };
    for (key, name) in [(8, "estate-1"), (7, "estate-2")] {
        let answer = gateway.try_call(body(key, name)).await.unwrap();
        is_refused(answer, ProblemType::Signature).await;
    }
    let signature = gateway.sign(&body(7, "estate-1"), now_s(), &nonce().unwrap());
    for status in [200, 401] {
        let answer = gateway.try_call_signed(body(7, "estate-1"), signature.clone());
        assert_eq!(answer.await.unwrap().status(), status);
    }
    // Captured and sent again after the key was changed it changes nothing.
    let next = key(8);
    assert_eq!(gateway.change_key(&next).await.unwrap().status(), 200);
    gateway.key = next;
    assert!(is_heard(&gateway).await);
    gateway
        .try_call_signed(body(7, "estate-1"), signature)
        .await
        .unwrap();
    assert!(is_heard(&gateway).await);

    let long = Call::post("/v1/enrol", JSON, vec![b' '; 20_000]);
    let answer = gateway.try_call(long).await.unwrap();
    is_refused(answer, ProblemType::TooLarge).await;
}

#[tokio::test]
async fn the_old_key_is_good_until_the_new_one_speaks() {
    let (cloud, mut gateway) = closed().await;
    let token = cloud.issue_token(&gateway.id).await.unwrap();
    gateway.enrol(&token).await.unwrap();
    cloud.faults().lose_next_key_answers(1);
    assert!(
        gateway.change_key(&key(8)).await.is_err(),
        "the answer is lost"
    );
    assert!(is_heard(&gateway).await, "the old key is good");
    for form in [Form::Json, Form::Cbor] {
        gateway.form = form;
        let again = gateway.change_key(&key(8)).await.unwrap();
        assert_eq!(again.status(), 200);
        assert!(is_heard(&gateway).await, "and stays so");
    }
    gateway.key = key(8);
    assert!(is_heard(&gateway).await, "the new key speaks");
    let again = gateway.change_key(&key(8)).await.unwrap();
    assert_eq!(again.status(), 200, "the key that it has");
    gateway.key = key(7);
    assert!(!is_heard(&gateway).await, "the old one is dead");
    gateway.key = key(8);
    assert!(is_heard(&gateway).await);
}

#[tokio::test]
async fn a_new_key_is_taken_only_with_its_own_proof() {
    let cloud = reference_cloud::serve(Config::in_memory()).await.unwrap();
    let mut gateway = Gateway::of(&cloud);
    gateway.view().await;
    let body = KeyChange {
        public_key: public(&key(8)),
        proof: [1; 64],
    };
    let body = body.to_value().to_json();
    let call = Call::post(gateway.path("/key"), JSON, body.into());
    let answer = gateway.try_call(call).await.unwrap();
    is_refused(answer, ProblemType::Signature).await;
    gateway.key = key(8);
    assert!(!is_heard(&gateway).await);
}

/// As a stranger with curl would.
#[tokio::test]
async fn an_operator_makes_tokens_with_a_name_and_a_time() {
    let (cloud, mut gateway) = closed().await;
    let make = async |body: &str| {
        let call = Call::post("/v1/admin/tokens", JSON, body.into());
        gateway.send_as_it_is(call).await.unwrap()
    };
    let text = |value: &firmware_protocols::Value| match value.get("token") {
        Some(firmware_protocols::Value::Text(token)) => Secret::new(token.clone()),
        other => panic!("{other:?}"),
    };
    let for_another = make(r#"{"gateway":"estate-2"}"#).await;
    assert_eq!(for_another.status(), 201);
    let for_another = text(&read(for_another).await);
    let for_any = text(&read(make(r#"{"good_for_s":60}"#).await).await);
    for wrong in [r#"{"gateway":"Not a name"}"#, r#"{"good_for_s":0}"#, "[]"] {
        is_refused(make(wrong).await, ProblemType::Malformed).await;
    }
    let short = text(&read(make(r#"{"good_for_s":1}"#).await).await);
    is_refused(
        gateway.enrol(&for_another).await.unwrap(),
        ProblemType::Token,
    )
    .await;
    assert_eq!(gateway.enrol(&for_any).await.unwrap().status(), 200);
    gateway.id = ident("estate-2");
    assert_eq!(gateway.enrol(&for_another).await.unwrap().status(), 200);
    // Its time passes.
    gateway.id = ident("estate-3");
    let until = now_s() + 2;
    while now_s() < until {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    is_refused(gateway.enrol(&short).await.unwrap(), ProblemType::Token).await;
    assert_eq!(cloud.lanes(&gateway.id).await.unwrap().epoch, None);
    let gone = gateway.call(Method::GET, "/v1/admin/tokens", "").await;
    assert_eq!(gone.status(), 405);
}
